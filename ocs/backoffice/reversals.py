"""What was posted by hand taken back, whole and once (charging.md section 17)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from balances import keys
from balances.ledger import refunds
from balances.ledger.kept import gone
from balances.ledger.restore import find_once
from balances.ledger.terms import given_tax
from balances.packing import pack
from balances.structs.account import MAIN
from balances.structs.blob import NO_BLOB, raw_of
from balances.structs.posting import CounterReturn, Post, Posting, PostingOutcome, return_of
from balances.structs.record import CounterAccount
from ocs.backoffice import accounts, postings
from ocs.backoffice.errors import Conflict, InsufficientFunds, KeyReused, Unresolved
from ocs.backoffice.postings import REMEMBER_MS, Moved, Order
from tariffs.units import Kind

if TYPE_CHECKING:
    from ocs.backoffice.backoffice import BackOffice
    from ocs.master.accounts import AccountRow

REVERSIBLE: Final = frozenset({"top-up", "bonus", "adjustment", "payout", "write-off", "transfer", "refund"})
"""Why entries were made that may be taken back."""

# All entries of the call that made one of them; what expired in the same call is no part of what was posted.
_POSTED: Final = """
    SELECT e.epoch, e.n, e.seq, e.bucket, e.kind, e.amount, e.tax, e.counter_account, e.why, e.request_key,
        EXISTS (SELECT FROM ledger_entries r WHERE r.account = e.account AND r.original_account = e.account
            AND r.original_seq = e.seq AND r.why = 'reversal') AS reversed
    FROM ledger_entries named JOIN ledger_entries e ON e.account = named.account AND e.epoch = named.epoch
        AND e.n = named.n AND e.seq BETWEEN named.seq - 200 AND named.seq + 200
    WHERE named.account = $1 AND named.seq = $2 AND e.why <> 'expiry' ORDER BY e.seq
"""


async def reverse(
    backoffice: BackOffice, account: str, seq: int, order: Order, *, permit_debt: bool
) -> tuple[AccountRow, PostingOutcome]:
    """Take back a posting with all its entries, of which this is one.

    permit_debt: also what was spent: that makes debt; what is held is taken by nobody
    """
    row = await accounts.find(backoffice, account)
    posted: Sequence[Any] = await backoffice.pool.fetch(_POSTED, row.id, seq)
    if not posted and (why := await gone(backoffice.pool, row.id, seq)):
        raise Unresolved(f"entry: account {row.id} has no entry {seq} any more: {why}")
    _check(row.id, seq, posted)
    once = keys.reversal_key(posted[0]["seq"])
    # The key is the posting's: whoever else reverses it finds it reversed.
    fingerprint = hashlib.sha256(f"{order.key}\n{order.fingerprint}".encode()).hexdigest()

    async def check() -> None:
        if any(entry["reversed"] for entry in posted):
            await _free_again(backoffice, row.id, posted)
            raise Conflict(f"entry {seq} is reversed already")

    wanted = Post(
        account=row.id,
        key=once,
        fingerprint=fingerprint,
        now_ms=backoffice.now_ms(),
        remember_ms=REMEMBER_MS,
        actor=order.actor,
        reason=order.reason,
        reference=order.reference,
        postings=[_back(entry, permit_debt=permit_debt) for entry in posted],
        own_only=not permit_debt,
        keeps_held=permit_debt,
        permits_debt=permit_debt,
        tags=order.tags,
        returns=await _counted_again(backoffice, row.id, posted),
    )
    await _of_event(backoffice, row.id, posted, wanted)
    try:
        outcome = await postings.post(backoffice, row, wanted, check, _moved(posted, order))
    except InsufficientFunds as why:
        if permit_debt:
            raise
        raise InsufficientFunds(f"{why}; permit_debt (--permit-debt) takes it all the same, into debt") from None
    except KeyReused:
        await _free_again(backoffice, row.id, posted)
        raise Conflict(f"entry {seq} is reversed already") from None
    await _free_again(backoffice, row.id, posted)
    return row, outcome


async def _free_again(backoffice: BackOffice, account: str, posted: Sequence[Any]) -> None:
    """What refunds gave that were taken back may be given again. Also by who finds that done: the process that took
    them back may have ended before it said so."""
    for entry in posted:
        if entry["why"] == "refund":
            await refunds.taken_back(backoffice.pool, account, entry["request_key"])


_REFUND_OF: Final = "SELECT refund_of FROM calls WHERE shard = $1 AND epoch = $2 AND n = $3"


async def _of_event(backoffice: BackOffice, account: str, posted: Sequence[Any], wanted: Post) -> None:
    """What the refund of an event gave back may be given back again with its reversal, and its counters count it again;
    while the stores know both, for 30 days."""
    first = posted[0]
    if first["why"] != "refund":
        return
    shard = keys.shard_of(account)
    event = await backoffice.pool.fetchval(_REFUND_OF, shard, first["epoch"], first["n"])
    refund = await postings.recall(backoffice, account, first["request_key"]) if event else None
    if refund is None or not refund.takes:  # of a version before
        return
    original = await find_once(backoffice.pool, account, event)
    wanted.refund_of, wanted.refund = event, raw_of(pack(refund))
    wanted.original = raw_of(bytes(original)) if original is not None else NO_BLOB
    wanted.returns += [return_of(one, -one.amount) for one in refund.counted if one.amount]


async def _counted_again(backoffice: BackOffice, account: str, posted: Sequence[Any]) -> list[CounterReturn]:
    """What refunds turned back of counters counts again."""
    requests = [entry["request_key"] for entry in posted if entry["why"] == "refund"]
    turned = [one for request in requests for one in await refunds.turned(backoffice.pool, account, request)]
    return [msgspec.structs.replace(one, amount=-one.amount) for one in turned]


def _check(account: str, seq: int, posted: Sequence[Any]) -> None:
    if not posted:
        raise Unresolved(f"entry: account {account} has no entry {seq}, or it has expired")
    for entry in posted:
        if entry["why"] not in REVERSIBLE:
            raise Unresolved(f"entry: a posting with an entry {entry['why']!r} is not taken back by a reversal")
    if posted[0]["why"] == "refund" and not posted[0]["request_key"].startswith("http "):
        raise Unresolved("entry: the network asked for that refund")
    if sum(entry["amount"] for entry in posted if entry["counter_account"] == CounterAccount.TRANSIT):
        raise Unresolved("entry: it is a leg of a transfer between accounts: transfer it back")


def _moved(posted: Sequence[Any], order: Order) -> Moved:
    """What the caller's limits are compared with: all its money, or else the first of it."""
    money = [entry["amount"] for entry in posted if entry["kind"] == Kind.MONEY]
    return Moved(order.warrant, {Kind.MONEY if money else posted[0]["kind"]: sum(money) or posted[0]["amount"]})


def _back(entry: Any, *, permit_debt: bool) -> Posting:
    """Its opposite. What a bucket beside the main one has not any more cannot become debt."""
    amount = -entry["amount"]
    return Posting(
        entry["bucket"],
        entry["kind"],
        amount,
        entry["counter_account"],
        "reversal",
        original=entry["seq"],
        terms="".join(given_tax(None if entry["tax"] is None else -entry["tax"])),
        up_to=permit_debt and amount < 0 and entry["bucket"] != MAIN,
    )
