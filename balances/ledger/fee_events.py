"""Events that follow from the record of a recurring fee (charging.md section 21)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from balances.keys import FeeKey, fee_chain
from balances.ledger import event_data
from balances.ledger.in_words import money, quantity, time_of
from balances.ledger.record import RecordedCall
from balances.structs.account import Account

_ACCOUNT: Final = msgspec.msgpack.Decoder(Account)


def of_fee(call: RecordedCall) -> Iterator[tuple[str, msgspec.Struct]]:
    """Type and data of each, in order."""
    record, key = call.record, FeeKey.of(call.record.key)
    account = call.account_after or _ACCOUNT.decode(call.account_state or b"")
    chain = fee_chain(key.subscriber, key.tariff, key.began_ms, key.fee)
    mark = next(mark for mark in account.fees if mark.chain == chain)
    of = record.account, key.subscriber, key.tariff, key.fee
    days, currency = (key.from_day, key.until_day), record.currency
    outstanding = max(key.amount - sum(take.amount for take in mark.paid), 0) if mark.short else 0
    taken = -sum(entry.amount for entry in record.entries if entry.why == "fee")
    if mark.ended_ms:
        if taken < 0:
            yield "fee.returned", event_data.FeeReturned(*of, currency, money(-taken))
        return
    if taken > 0:
        yield "fee.charged", event_data.FeeCharged(*of, *days, currency, money(taken), money(outstanding))
    elif not mark.short and not mark.paid and key.amount:
        yield "fee.lapsed", event_data.FeeLapsed(*of, *days, currency, money(key.amount))
    elif mark.short:
        yield "fee.failed", event_data.FeeFailed(*of, *days, currency, money(outstanding))
    buckets = {bucket.id: bucket for bucket in account.buckets}
    for entry in record.entries:
        if entry.why == "allowance" and (bucket := buckets.get(entry.bucket)):
            until = time_of(bucket.until_ms) if bucket.until_ms else None
            amount = quantity(entry.kind, entry.amount)
            kind = event_data.KIND_WORDS[entry.kind]
            yield (
                "allowance.renewed",
                event_data.AllowanceRenewed(*of, entry.bucket, bucket.name, kind, currency, amount, until),
            )
