"""Writes what an import takes: the lines of NDJSON, and the rows of CSV that stand for them.

An account is as it is at that moment; what its sessions hold is part of its balances. Not part of it are what only this
server knows: sessions, entries, answers under keys, revisions. Buckets with nothing in them
or that have ended, are left out, and thresholds that tariffs bring come with the tariffs.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, Final, Literal

import msgspec

from balances.ledger.events import reasons_of, word_of
from balances.ledger.in_words import time_of
from balances.structs.account import MAIN, Bucket, Counter, CounterWindow, FeeMark, SuspendReasons
from balances.structs.thresholds import Threshold
from ocs.api.schema import AssignmentView
from ocs.api.schema_import import (
    ImportAccount,
    ImportBucket,
    ImportCounter,
    ImportFee,
    ImportFeePart,
    ImportFees,
    ImportFeeUnits,
    ImportLimit,
    ImportLine,
    ImportPaidFee,
    ImportRedeemed,
    ImportServiceLine,
    ImportSubscriber,
    ImportThreshold,
    ImportVoucherBatch,
    ImportVouchers,
)
from ocs.api.texts import hours_in_words, time_or_none
from ocs.api.views import threshold
from ocs.backoffice.amounts import KINDS, money, quantity
from ocs.backoffice.exports import ExportedAccount, ExportedSubscriber
from ocs.master import opened
from ocs.master.brought_vouchers import BroughtLot
from ocs.master.fee_assignments import BegunFees, NamedFee
from ocs.master.voucher_codes import CodeAlphabet
from ocs.master.vouchers import BatchRow
from tariffs.limits import SpendingLimit

_json: Final = msgspec.json.Encoder().encode


def account_line(found: ExportedAccount, now_ms: int) -> ImportLine:
    row, account, limits, fees = found
    main = next(bucket for bucket in account.buckets if bucket.id == MAIN)
    word = word_of(account.state)
    suspends = account.suspend_below != account.resume_at
    is_short = opened.is_short(opened.settled_of(account, now_ms), account.suspend_below, account.resume_at)
    by_balance = SuspendReasons.CREDIT if is_short else SuspendReasons.ACTIVE
    says_state = account.state != by_balance
    parts = {one.part_of: one for one in account.buckets if one.part_of and (one.amount or one.blocker)}
    there = {one.id for one in account.buckets if one.id != MAIN and (one.amount or one.blocker or one.id in parts)}
    buckets = sorted((one for one in account.buckets if one.id in there and one.part_of not in there), key=_by_id)
    buckets = [one for one in buckets if not 0 < one.until_ms <= now_ms]
    marks = {one.chain: one for one in account.fees if one.from_day and not one.ended_ms}
    numbers = {MAIN: 0}
    for bucket in buckets:
        for one in (bucket, parts.get(bucket.id)):
            if one is not None:
                numbers[one.id] = len(numbers)
    return ImportLine(
        account=ImportAccount(
            id=row.id,
            currency=account.currency,
            time_zone=row.time_zone,
            billing_day=row.billing_day if row.billing_day != 1 else None,
            credit_limit=money(account.credit_limit) if account.credit_limit else None,
            suspend_below=threshold(account.suspend_below),
            resume_at=threshold(account.resume_at) if suspends else None,
            balance=money(main.amount) if main.amount else None,
            filled=money(main.filled) if main.filled != max(main.amount, 0) else None,
            created=True if word == "suspended" and account.state & SuspendReasons.CREATED else None,
            state=word if says_state else None,
            suspended_for=reasons_of(account.state) if says_state and word == "suspended" else None,
            grace_until=time_or_none(account.grace_until_ms),
            customer=row.customer or None,
            tags=[*row.tags] or None,
            buckets=[_bucket(one, parts.get(one.id)) for one in buckets] or None,
            thresholds=[_threshold(one) for one in account.thresholds if not one.tariff] or None,
            services=[
                ImportServiceLine(
                    service=one.service, suspend_below=money(one.suspend_below), resume_at=money(one.resume_at)
                )
                for one in account.services
            ]
            or None,
            limits=[_limit(one) for one in limits] or None,
            counters=[_counter(one) for one in sorted(account.counters, key=_by_key) if _counts(one, now_ms)] or None,
            fees=[
                _paid_fee(of, marks[chain], numbers)
                for chain, of in sorted(fees.items(), key=_by_name)
                if chain in marks
            ]
            or None,
        )
    )


def _by_name(fee: tuple[str, NamedFee]) -> NamedFee:
    return fee[1]


def _paid_fee(of: NamedFee, mark: FeeMark, numbers: Mapping[int, int]) -> ImportPaidFee:
    """numbers: of buckets, as the account is opened with them"""
    return ImportPaidFee(
        subscriber=of.subscriber,
        tariff=of.tariff,
        began=time_of(of.began_ms),
        name=of.name,
        from_=_day(mark.from_day),
        settled=_day(mark.day),
        paid=[ImportFeePart(money(one.amount), numbers.get(one.bucket, -1)) for one in mark.paid],
        price=mark.price,
        given=mark.given,
        suspends=mark.suspends,
        units=[ImportFeeUnits(one.name, numbers[one.bucket]) for one in mark.buckets if one.bucket in numbers],
    )


def _day(ordinal: int) -> str:
    return date.fromordinal(ordinal).isoformat()


def _counts(counter: Counter, now_ms: int) -> bool:
    """Whether what it says still matters: nothing was used of it, or its period is over."""
    is_over = 0 < counter.until_ms <= now_ms
    return counter.window == CounterWindow.ONCE if is_over else counter.used > 0


def _by_key(counter: Counter) -> str:
    return counter.key


WINDOWS: Final[dict[int, Literal["renews", "once"] | None]] = {
    CounterWindow.NONE: None,
    CounterWindow.RENEWS: "renews",
    CounterWindow.ONCE: "once",
}


def _counter(one: Counter) -> ImportCounter:
    return ImportCounter(one.key, one.used, time_or_none(one.until_ms), WINDOWS[one.window])


def _by_id(bucket: Bucket) -> int:
    return bucket.id


def _bucket(bucket: Bucket, part: Bucket | None) -> ImportBucket:
    """part: money of its units"""
    # One that is in use since its window began has an end, and begins no other window.
    begun = bucket.until_ms > 0
    return ImportBucket(
        amount=quantity(bucket.kind, bucket.amount),
        kind=KINDS[bucket.kind],
        name=bucket.name,
        scope=bucket.scope,
        priority=bucket.priority,
        valid_from=time_or_none(bucket.from_ms),
        valid_until=time_or_none(bucket.until_ms),
        valid_for_s=None if begun else bucket.window_ms // 1_000 or None,
        bonus=bucket.bonus,
        member=bucket.member or None,
        filled=quantity(bucket.kind, bucket.filled) if bucket.filled != bucket.amount else None,
        blocker=bucket.blocker or (part is not None and part.blocker),
        hours=hours_in_words(bucket.hours),
        money=None if part is None else money(part.amount),
        money_filled=None if part is None or part.filled == part.amount else money(part.filled),
        price=money(bucket.price) if bucket.price else None,
        per=bucket.per,
    )


def _threshold(one: Threshold) -> ImportThreshold:
    kind, percent = one.kind, one.percent
    return ImportThreshold(
        name=one.name,
        kind=KINDS[kind],
        below=None if percent else quantity(kind, one.below),
        percent=percent or None,
        rearm=None if percent else quantity(kind, one.rearm),
        rearm_percent=one.rearm if percent else None,
        bucket=one.bucket,
        service=one.service or None,
    )


def _limit(limit: SpendingLimit) -> ImportLimit:
    return ImportLimit(
        name=limit.name,
        amount=quantity(limit.kind, limit.amount),
        kind=KINDS[limit.kind],
        period=limit.period,
        services=[*limit.services],
        visited=[*limit.visited],
        not_visited=[*limit.not_visited],
    )


def subscriber_line(found: ExportedSubscriber) -> ImportLine:
    one, password, limits, fees = found
    return ImportLine(
        subscriber=ImportSubscriber(
            id=one.id,
            account=one.account,
            identities=[*one.identities] or None,
            tariffs=[
                AssignmentView(
                    tariff=given.tariff, from_=time_or_none(given.from_ms), until=time_or_none(given.until_ms)
                )
                for given in one.tariffs
            ]
            or None,
            stored_password=password,
            barred=one.barred or None,
            attributes=one.attributes or None,
            payers=one.payers or None,
            tags=one.tags or None,
            limits=[_limit(limit) for limit in limits] or None,
            fees=[_fees(begun) for begun in fees] or None,
        )
    )


def _fees(begun: BegunFees) -> ImportFees:
    fees = [
        ImportFee(name=name, began=time_of(one.start_ms), settled=_day(one.day) if one.day else None)
        for name, one in begun.fees.items()
    ]
    return ImportFees(tariff=begun.tariff, from_=time_or_none(begun.from_ms), began=time_of(begun.began_ms), fees=fees)


def voucher_line(row: BatchRow, lot: BroughtLot | None) -> ImportLine:
    """Of a batch, or of a lot of it. Nothing of a code in clear."""
    return ImportLine(voucher_batch=_batch(row)) if lot is None else ImportLine(vouchers=_lot(lot))


def _batch(row: BatchRow) -> ImportVoucherBatch:
    kind = row["kind"]
    return ImportVoucherBatch(
        id=row["id"],
        state=row["moved_state"] or row["state"],
        exported=time_or_none(row["exported_ms"] or 0),
        amount=quantity(kind, row["amount"]),
        kind=KINDS[kind],
        currency=row["currency"] or None,
        valid_for_s=row["valid_for_s"],
        from_first_use=row["from_first_use"],
        priority=row["priority"],
        scope=[*row["scope"]],
        name=row["name"],
        expires=time_or_none(row["expires_ms"] or 0),
        count=row["count"],
        codes=row["alphabet"],
        length=None if row["alphabet"] == CodeAlphabet.IMPORTED else row["length"],
        reference=row["reference"],
        offer=row["offer"] or None,
    )


def _lot(lot: BroughtLot) -> ImportVouchers:
    return ImportVouchers(
        batch=lot.batch,
        first=lot.first,
        digests=[digest.hex() for digest in lot.digests],
        blocked=[*lot.blocked],
        redeemed=[ImportRedeemed(one.serial, time_of(one.redeemed_ms), one.account) for one in lot.redeemed],
        sealed=lot.sealed,
    )


# --- the two spellings


def as_ndjson(lines: Sequence[ImportLine]) -> bytes:
    return b"".join(_json(line) + b"\n" for line in lines)


def _of(part: str, member: str, write: Callable[[Any], str] = str) -> Callable[[dict[str, Any]], str]:
    def cell(line: dict[str, Any]) -> str:
        value = line.get(part, {}).get(member)
        return "" if value is None else write(value)

    return cell


def _as_json(value: Any) -> str:
    return _json(value).decode()


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _account_id(line: dict[str, Any]) -> str:
    return str(line["account"]["id"] if "account" in line else line["subscriber"]["account"])


CELLS: Final[dict[str, Callable[[dict[str, Any]], str]]] = {
    "account": _account_id,
    **{
        name: _of("account", name)
        for name in (
            *("currency", "time_zone", "billing_day", "credit_limit", "suspend_below", "resume_at", "balance"),
            *("filled", "state"),
        )
    },
    "created": _of("account", "created", _flag),
    "suspended_for": _of("account", "suspended_for", " ".join),
    "grace_until": _of("account", "grace_until"),
    "customer": _of("account", "customer"),
    "tags": _of("account", "tags", " ".join),
    **{name: _of("account", name, _as_json) for name in ("buckets", "thresholds", "services", "limits", "counters")},
    "account.fees": _of("account", "fees", _as_json),
    "subscriber": _of("subscriber", "id"),
    "identities": _of("subscriber", "identities", " ".join),
    "assignments": _of("subscriber", "tariffs", _as_json),
    "payers": _of("subscriber", "payers", lambda payers: " ".join(f"{name}={one}" for name, one in payers.items())),
    "barred": _of("subscriber", "barred", _flag),
    "stored_password": _of("subscriber", "stored_password"),
    "subscriber.limits": _of("subscriber", "limits", _as_json),
    "fees": _of("subscriber", "fees", _as_json),
    "attributes": _of("subscriber", "attributes", _as_json),
    "subscriber.tags": _of("subscriber", "tags", _as_json),
}
"""By column of CSV, its cell for a line."""


def as_csv(lines: Sequence[ImportLine]) -> bytes:
    """Without the header."""
    return _rows([[cell(line) for cell in CELLS.values()] for line in map(msgspec.to_builtins, lines)])


def csv_header() -> bytes:
    return _rows([[*CELLS]])


def _rows(rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)  # RFC 4180
    return text.getvalue().encode()
