"""Money at stake: what was granted and is not reported yet, what accounts owe, what is not in PostgreSQL yet, and what
was used and not charged (docs/monitoring.md, "Money at stake")."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from balances.ledger.debts import OwedMoney, owed
from balances.ledger.live_sessions import START, by_due
from balances.ledger.reader import STORE_AWAY, StreamReader
from balances.ledger.writer import read_cursors
from balances.structs.session import SessionState
from ocs.backoffice.at_stake import AtStake
from ocs.backoffice.errors import Unavailable
from ocs.stores.bounded_postgres import Away, within
from tariffs.units import Kind

if TYPE_CHECKING:
    from balances.structs.account import Account
    from balances.structs.session import Session
    from ocs.backoffice.backoffice import BackOffice

SESSIONS_MAX: Final = 20_000
"""Open sessions that are read for one answer."""
RECORDS_MAX: Final = 2_000
"""Records that are read of those that are not copied."""
READ_S: Final = 20.0

LATELY_SESSIONS_MAX: Final = 2_000
"""Likewise for the status."""
LATELY_READ_S: Final = 2.0


class HeldMoney(NamedTuple):
    peer: str
    currency: str
    sessions: int
    micro: int


class WaitingRecords(NamedTuple):
    entries: int
    debited: dict[str, int]
    """Micro-units by currency, of those that were read."""
    complete: bool
    """All of them were."""


class SetAside(NamedTuple):
    currency: str
    uses: int
    micro: int
    """Of those that are amounts of money; other units have no price before a person decides."""


class Exposure(NamedTuple):
    held: list[HeldMoney]
    complete: bool
    """All open sessions were read."""
    on_credit: dict[str, int]
    """Of what is held, what is counted among `owed` too, by currency."""
    owed: dict[str, OwedMoney] | None
    """None: PostgreSQL does not answer; likewise the others."""
    waiting: WaitingRecords | None
    set_aside: list[SetAside] | None

    def total(self) -> dict[str, int]:
        """By currency, of all that is known and is money."""
        found = Counter[str]()
        for one in self.held:
            found[one.currency] += one.micro
        for currency, micro in self.on_credit.items():
            found[currency] -= micro
        for currency, debt in (self.owed or {}).items():
            found[currency] += debt.micro
        for aside in self.set_aside or ():
            found[aside.currency] += aside.micro
        return {currency: micro for currency, micro in sorted(found.items()) if micro}


async def at_stake_lately(backoffice: BackOffice) -> AtStake | None:
    """Totals that are cheap enough for the status; None: a store does not answer in time."""
    return await backoffice.at_stake.seen(backoffice.now_ms, partial(_at_stake, backoffice))


async def _at_stake(backoffice: BackOffice, now_ms: int) -> AtStake | None:
    try:
        held, complete, on_credit = await within(LATELY_READ_S, _held(backoffice, LATELY_SESSIONS_MAX))
        debts, aside = await owed(backoffice.pool), await _set_aside(backoffice)
    except STORE_AWAY:
        return None
    except Away:
        return None
    return AtStake(Exposure(held, complete, on_credit, debts, None, aside).total(), complete, now_ms)


async def exposure(backoffice: BackOffice) -> Exposure:
    """As it is now. Raises Unavailable where the live store does not answer in time."""
    try:
        held, complete, on_credit = await within(READ_S, _held(backoffice, SESSIONS_MAX))
    except STORE_AWAY as why:
        raise Unavailable(f"the live store cannot be read: {str(why) or type(why).__name__}") from None
    try:
        debts, waiting, aside = await owed(backoffice.pool), await _waiting(backoffice), await _set_aside(backoffice)
    except Away:
        return Exposure(held, complete, on_credit, None, None, None)
    return Exposure(held, complete, on_credit, debts, waiting, aside)


async def _held(backoffice: BackOffice, sessions_max: int) -> tuple[list[HeldMoney], bool, dict[str, int]]:
    sessions, money = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    on_credit: dict[str, tuple[str, int]] = {}
    seen, complete = 0, True
    async for found in by_due(backoffice.redis, START):
        if seen == sessions_max:
            complete = False
            break
        seen += 1
        if found.session.state != SessionState.OPEN:
            continue
        account = found.account
        micro = money_held(account, found.session)
        sessions[found.session.peer, account.currency] += 1
        money[found.session.peer, account.currency] += micro
        if micro:
            on_credit[account.id] = (account.currency, held_on_credit(account, backoffice.now_ms()))
    by_currency = Counter[str]()
    for currency, micro in on_credit.values():
        by_currency[currency] += micro
    held = [HeldMoney(*key, count, money[key]) for key, count in sorted(sessions.items())]
    return held, complete, dict(by_currency)


def money_held(account: Account, session: Session) -> int:
    """What a session holds of the money of its account."""
    of_money = {bucket.id for bucket in account.buckets if bucket.kind == Kind.MONEY}
    return sum(take.amount for line in session.lines for take in line.hold if take.bucket in of_money)


def held_on_credit(account: Account, now_ms: int) -> int:
    """What is held beyond the money that is there: `owed` counts it too, because it goes by what is free."""
    there = held = 0
    for bucket in account.buckets:
        is_valid = bucket.from_ms <= now_ms and (bucket.until_ms == 0 or bucket.until_ms > now_ms)
        if bucket.kind == Kind.MONEY and not bucket.scope and not bucket.member and is_valid:
            there += bucket.amount
            held += bucket.held
    return min(held, max(held - there, 0))


async def _waiting(backoffice: BackOffice) -> WaitingRecords:
    cursors = (await read_cursors(backoffice.pool)).at
    debited, entries, read = Counter[str](), 0, 0
    for primary in (await backoffice.primaries_now()).all():
        reader = StreamReader(primary)
        _, heads = await reader.heads(sorted(primary.shards))
        entries += (await reader.lag({shard: cursors[shard] for shard in heads}, heads)).entries
        for shard, head in heads.items():
            if head <= cursors[shard] or read >= RECORDS_MAX:
                continue
            for call in await reader.span(shard, cursors[shard], head, RECORDS_MAX - read):
                read += 1
                for entry in call.record.entries:
                    if entry.kind == Kind.MONEY and entry.amount < 0:
                        debited[call.record.currency] -= entry.amount
    return WaitingRecords(entries, dict(debited), read >= entries)


async def _set_aside(backoffice: BackOffice) -> list[SetAside]:
    rows = await backoffice.pool.fetch(
        "SELECT currency, count(*) AS uses, COALESCE(sum(amount) FILTER (WHERE unit = $1), 0)::bigint AS micro"
        " FROM suspense WHERE state = 'open' GROUP BY currency ORDER BY currency",
        int(Kind.MONEY),
    )
    return [SetAside(row["currency"], row["uses"], row["micro"]) for row in rows]
