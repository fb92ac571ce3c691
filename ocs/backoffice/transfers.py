"""Transfers between accounts: own money out of one, and into another one on whatever shard (charging.md section 17)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from balances.ledger import transfers
from balances.ledger.transfers import TransferState
from balances.packing import unpack_posted
from balances.structs.account import MAIN, REFUSING, SuspendReasons
from balances.structs.charge import Result
from balances.structs.posting import Post, Posting
from balances.structs.record import CounterAccount
from ocs.backoffice import accounts, postings
from ocs.backoffice.amounts import micro_of
from ocs.backoffice.errors import (
    AccountClosed,
    Invalid,
    KeyReused,
    LimitPassed,
    NotFound,
    TransferReturned,
    Unavailable,
)
from ocs.backoffice.postings import REMEMBER_MS, Moved, Order
from ocs.master.clocks import keep_clock
from ocs.master.transfer_legs import next_leg
from tariffs.calendar import CounterPeriod, zone
from tariffs.ladder import Count, Counted
from tariffs.units import Kind

if TYPE_CHECKING:
    from ocs.backoffice.backoffice import BackOffice
    from ocs.master.accounts import AccountRow

WAIT_S: Final = 2.0
"""The answer waits so long for the second leg; then it says that it is on its way."""
LOOK_S: Final = 0.05
DAY: Final = CounterPeriod.read("day")

TransferRow = Mapping[str, Any]
"""By the columns of the table."""


class WantedTransferOut(NamedTuple):
    """Own money that is to leave `source` for `target`."""

    source: str
    target: str
    amount: int
    """In micro-units."""


async def send(backoffice: BackOffice, wanted: WantedTransferOut, order: Order) -> TransferRow:
    """Transfer, once per key of the order. The row says whether both legs are done; TransferReturned: the other account
    did not take it."""
    source, target = wanted.source, wanted.target
    if source == target:
        raise Invalid("to", "another account than from")
    payer, payee = await accounts.find(backoffice, source), await _payee(backoffice, target)
    if payer.currency != payee.currency:
        raise Invalid("to", f"an account in {payer.currency}, as {source} is; {target} is in {payee.currency}")
    rules, now_ms = backoffice.transfers, backoffice.now_ms()

    id_ = transfers.transfer_id(source, order.key)

    async def check() -> None:
        before = await transfers.read(backoffice.pool, id_)
        if before is not None and before["sent_ms"] < now_ms - REMEMBER_MS:
            raise KeyReused  # the stores forgot the key; what left again under this id would arrive nowhere
        if wanted.amount < micro_of(rules.minimum, "transfers.minimum"):
            raise Invalid("amount", f"at least {rules.minimum} (transfers.minimum)")
        if wanted.amount > micro_of(rules.limit, "transfers.limit"):
            raise LimitPassed(f"at most {rules.limit} at a time (transfers.limit)")
        if (await accounts.read(backoffice, payee))[0].state & SuspendReasons.CLOSED:
            raise AccountClosed(postings.closed(target))

    leg = Post(
        account=source,
        key=order.key,
        fingerprint=order.fingerprint,
        now_ms=now_ms,
        remember_ms=transfers.KEPT_MS,
        actor=order.actor,
        reason=order.reason,
        reference=order.reference,
        postings=[Posting(MAIN, Kind.MONEY, -wanted.amount, CounterAccount.TRANSIT, "transfer")],
        own_only=True,
        denied_in=REFUSING,
        transfer=id_,
        counterpart=target,
        counts=_counts(payer, now_ms, rules.day_count, micro_of(rules.day_limit, "transfers.day_limit")),
        tags=order.tags,
    )
    moved = Moved(order.warrant, {Kind.MONEY: -wanted.amount})
    posted = await postings.post(backoffice, payer, leg, check, moved)
    return await finish(backoffice, _sent(wanted, payer, id_, order, now_ms, posted.entries[-1].seq))


async def _payee(backoffice: BackOffice, target: str) -> AccountRow:
    try:
        return await accounts.find(backoffice, target)
    except NotFound:
        raise Invalid("to", f"there is no account {target}") from None


def _counts(payer: AccountRow, now_ms: int, day_count: int, day_limit: int) -> list[Count]:
    """What has left the account in this day of its time zone."""
    day, _, until_ms = DAY.at(zone(payer.time_zone or "UTC"), now_ms)
    return [
        Count(f"transfers {day}", Counted.UNITS, until_ms, limit=day_count),
        Count(f"transferred {day}", Counted.MONEY, until_ms, limit=day_limit),
    ]


def _sent(
    wanted: WantedTransferOut, payer: AccountRow, id_: str, order: Order, now_ms: int, seq: int
) -> dict[str, Any]:
    """The row as it will be when the first leg is copied."""
    return {
        "id": id_,
        "source": wanted.source,
        "target": wanted.target,
        "amount": wanted.amount,
        "currency": payer.currency,
        "state": TransferState.SENT,
        "sent_ms": now_ms,
        "ended_ms": None,
        "sent_seq": seq,
        "ended_seq": None,
        "refused": None,
        "merges": False,
        "moved": None,
        "actor": order.actor,
        "reason": order.reason,
        "reference": order.reference,
        "tags": order.tags,
    }


async def finish(backoffice: BackOffice, sent: TransferRow) -> TransferRow:
    """Make what legs are due, each when the one before is in PostgreSQL. What is not done in time is the keeper's."""
    deadline_s = asyncio.get_running_loop().time() + WAIT_S
    row: TransferRow = sent
    while asyncio.get_running_loop().time() < deadline_s:
        found = await transfers.read(backoffice.pool, sent["id"])
        if found is not None:
            row = found
            if row["state"] == TransferState.RETURNED:
                raise TransferReturned(f"{row['target']} {_why(row)}", transfer=row["id"])
            if row["state"] == TransferState.RECEIVED:
                return row
            try:
                done = await _leg(backoffice, row)
            except Unavailable:
                return row
            if done is not None:
                return done
        await asyncio.sleep(LOOK_S)
    return row


async def _leg(backoffice: BackOffice, row: TransferRow) -> TransferRow | None:
    """The row once the other account has taken it; None where that has to be copied first, or waits."""
    now_ms = backoffice.now_ms()
    leg = await next_leg(backoffice.pool, backoffice.store, row, now_ms)
    if leg is None:
        return None
    reply = await accounts.call(backoffice, leg.account, lambda: transfers.make(backoffice.store, leg), leg.key)
    if reply.status not in ("ok", "again"):
        return None
    if isinstance(leg, Post):
        await keep_clock(backoffice.pool, backoffice.store, leg.account, leg.clock, now_ms)
    posted = unpack_posted(reply.outcome)
    if posted.result != Result.OK or row["state"] != TransferState.SENT:
        return None
    return {**row, "state": TransferState.RECEIVED, "ended_ms": now_ms, "ended_seq": posted.entries[-1].seq}


def _why(row: TransferRow) -> str:
    return "is closed" if row["refused"] == Result.DENIED else "has no room for it"


async def get(backoffice: BackOffice, transfer: str) -> TransferRow:
    row = await transfers.read(backoffice.pool, transfer)
    if row is None:
        raise NotFound(f"there is no transfer {transfer}; one that was just made is known when its first leg is copied")
    return row


async def of_account(
    backoffice: BackOffice, account: str, before: tuple[int, str], limit: int
) -> Sequence[TransferRow]:
    """From and to an account, the newest first. before: (sent_ms, id) of the last one of the page before."""
    row = await accounts.find(backoffice, account)
    return await transfers.page(backoffice.pool, row.id, *before, limit)
