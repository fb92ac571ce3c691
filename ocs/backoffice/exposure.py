"""Money at stake: what was granted and is not reported yet, what accounts owe, what is not in PostgreSQL yet, what was
used and not charged, and what came in that nothing was held for (docs/monitoring.md, "Money at stake").

Each part is asked for by itself and has a limit; of one that cannot be read the answer says so, and shows the others.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from balances.keys import SHARDS
from balances.ledger.debts import OwedMoney, owed
from balances.ledger.live_sessions import START, by_due
from balances.ledger.reader import STORE_AWAY, StreamReader
from balances.ledger.record import NewerFormat, RecordedCall, RecordId, Undecodable, decode
from balances.ledger.writer import read_cursors
from balances.redis.primaries import Primary
from balances.structs.session import SessionState
from ocs.backoffice.at_stake import AtStake
from ocs.backoffice.errors import Unavailable
from ocs.stores.bounded_postgres import within
from ocs.stores.unheld_money import UnheldMoney, lately
from tariffs.units import Kind

if TYPE_CHECKING:
    from balances.structs.account import Account
    from balances.structs.session import Session
    from ocs.backoffice.backoffice import BackOffice

SESSIONS_MAX: Final = 20_000
"""Open sessions that are read for one answer."""
RECORDS_MAX: Final = 2_000
"""Records that are read of those that are not copied."""
READ_S: Final = 5.0
"""For each part; they are read side by side."""

LATELY_SESSIONS_MAX: Final = 2_000
"""Likewise for the status."""
LATELY_READ_S: Final = 2.0

T = TypeVar("T")


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
    """None: not known, and `unknown` says why; likewise the others."""
    waiting: WaitingRecords | None
    set_aside: list[SetAside] | None
    unheld: list[UnheldMoney] | None
    """Of the last hours; it was charged, so it is not in the total."""
    unknown: list[str]
    """What could not be read, each with why."""

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


class _HeldSums:
    """Of one primary, as far as it was read."""

    def __init__(self) -> None:
        self.sessions, self.money = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
        self.on_credit: dict[str, tuple[str, int]] = {}
        self.complete = False


async def at_stake_lately(backoffice: BackOffice) -> AtStake | None:
    """Totals that are cheap enough for the status; None: no store answers in time."""
    return await backoffice.at_stake.seen(backoffice.now_ms, partial(_at_stake, backoffice))


async def _at_stake(backoffice: BackOffice, now_ms: int) -> AtStake | None:
    try:
        found = await _exposure(backoffice, LATELY_SESSIONS_MAX, LATELY_READ_S)
    except Unavailable:
        return None
    unheld = Counter[str]()
    for one in found.unheld or ():
        unheld[one.currency] += one.micro
    is_complete = found.complete and found.owed is not None and found.set_aside is not None
    return AtStake(found.total(), is_complete, now_ms, dict(sorted(unheld.items())), found.unknown)


async def exposure(backoffice: BackOffice) -> Exposure:
    """As it is now. Raises Unavailable where no store answers in time."""
    return await _exposure(backoffice, SESSIONS_MAX, READ_S)


async def _exposure(backoffice: BackOffice, sessions_max: int, read_s: float) -> Exposure:
    unknown: list[str] = []

    async def part(what: str, work: Awaitable[T]) -> T | None:
        try:
            return await within(read_s, work)
        except STORE_AWAY as why:  # PostgreSQL's Away too
            unknown.append(f"{what}: {str(why) or f'no answer within {read_s:g} s'}")
        return None

    await part("which servers have the live store", backoffice.primaries.look())
    primaries = backoffice.primaries.all()
    nobody = SHARDS - sum(len(primary.shards) for primary in primaries)
    if nobody:
        unknown.append(f"held money of {nobody} of {SHARDS} shards: no server has them now")
    sums = [_HeldSums() for _ in primaries]
    each_max = -(-sessions_max // max(len(primaries), 1))
    reads = [
        part(
            f"held money at {primary.name} ({len(primary.shards)} of {SHARDS} shards)",
            _held(primary, found, each_max, backoffice.now_ms()),
        )
        for primary, found in zip(primaries, sums, strict=True)
    ]
    _, (debts, waiting, aside, unheld) = await asyncio.gather(
        asyncio.gather(*reads),
        asyncio.gather(
            part("owed", owed(backoffice.pool)),
            part("not in PostgreSQL yet", _waiting(backoffice)),
            part("set aside", _set_aside(backoffice)),
            part("came in unheld", lately(backoffice.pool)),
        ),
    )
    if debts is None and aside is None and not any(one.complete or one.sessions for one in sums):
        raise Unavailable("no store can be read: " + "; ".join(unknown))
    sessions, money, on_credit = Counter[tuple[str, str]](), Counter[tuple[str, str]](), Counter[str]()
    for one in sums:
        sessions.update(one.sessions)
        money.update(one.money)
        for currency, micro in one.on_credit.values():
            on_credit[currency] += micro
    held = [HeldMoney(*key, count, money[key]) for key, count in sorted(sessions.items())]
    complete = not nobody and all(one.complete for one in sums)
    return Exposure(held, complete, dict(on_credit), debts, waiting, aside, unheld, sorted(unknown))


async def _held(primary: Primary, sums: _HeldSums, sessions_max: int, now_ms: int) -> None:
    seen = 0
    async for found in by_due(primary.client, START, sorted(primary.shards)):
        if seen == sessions_max:
            return
        seen += 1
        if found.session.state != SessionState.OPEN:
            continue
        account = found.account
        micro = money_held(account, found.session)
        sums.sessions[found.session.peer, account.currency] += 1
        sums.money[found.session.peer, account.currency] += micro
        if micro:
            sums.on_credit[account.id] = (account.currency, held_on_credit(account, now_ms))
    sums.complete = True


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
    for primary in backoffice.primaries.all():
        reader = StreamReader(primary)
        _, heads = await reader.heads(sorted(primary.shards))
        entries += (await reader.lag({shard: cursors[shard] for shard in heads}, heads)).entries
        for shard, head in heads.items():
            if head <= cursors[shard] or read >= RECORDS_MAX:
                continue
            read += await _debits(reader, shard, cursors[shard], RECORDS_MAX - read, debited)
    return WaitingRecords(entries, dict(debited), read >= entries)


async def _debits(reader: StreamReader, shard: int, cursor: RecordId, most: int, debited: Counter[str]) -> int:
    """Add what the records after the cursor debited; returns how many were read."""
    read = 0
    look = await reader.after({shard: cursor}, most)
    for call in _readable(look.entries.get(shard, ())):
        read += 1
        for entry in call.record.entries:
            if entry.kind == Kind.MONEY and entry.amount < 0:
                debited[call.record.currency] -= entry.amount
    return read


def _readable(entries: Iterable[Any]) -> Iterator[RecordedCall]:
    """Up to one that cannot be read: there the copy of its shard has stopped, for a person."""
    with contextlib.suppress(Undecodable, NewerFormat):
        yield from map(decode, entries)


async def _set_aside(backoffice: BackOffice) -> list[SetAside]:
    rows = await backoffice.pool.fetch(
        "SELECT currency, count(*) AS uses, COALESCE(sum(amount) FILTER (WHERE unit = $1), 0)::bigint AS micro"
        " FROM suspense WHERE state = 'open' GROUP BY currency ORDER BY currency",
        int(Kind.MONEY),
    )
    return [SetAside(row["currency"], row["uses"], row["micro"]) for row in rows]
