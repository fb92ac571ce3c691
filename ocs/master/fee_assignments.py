"""Assignments of tariffs with recurring fees, in PostgreSQL: which there are, from when until when, and when each is
looked at. Written by the transactions that change subscribers, accounts and tariffs (charging.md section 21)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from balances.keys import fee_chain

if TYPE_CHECKING:
    from asyncpg import Connection

_OPEN: Final = "(f.ended_ms = 0 OR f.ended_ms > $2)"

_WANTED: Final = """
    SELECT DISTINCT ON (s.id, a.tariff, a.from_ms) s.account, s.id AS subscriber, a.tariff, a.from_ms, a.until_ms
    FROM subscribers s JOIN assignments a ON a.subscriber = s.id
    WHERE {whose} AND EXISTS (SELECT FROM tariffs t WHERE t.id = a.tariff AND t.fees)
    ORDER BY s.id, a.tariff, a.from_ms, a.place
"""
_SAME: Final = "w.subscriber = f.subscriber AND w.account = f.account AND w.tariff = f.tariff AND w.from_ms = f.from_ms"

_END: Final = f"""
    WITH w AS ({_WANTED.format(whose="s.id = ANY($1)")})
    UPDATE fee_assignments f SET ended_ms = greatest($2, f.began_ms), due_ms = $2,
        (attributes, tags) = (SELECT s.attributes, s.tags FROM subscribers s WHERE s.id = f.subscriber)
    WHERE f.subscriber = ANY($1) AND {_OPEN} AND NOT EXISTS (SELECT FROM w WHERE {_SAME})
"""
_MOVE_END: Final = f"""
    WITH w AS ({_WANTED.format(whose="s.id = ANY($1)")})
    UPDATE fee_assignments f
    SET ended_ms = CASE WHEN w.until_ms = 0 THEN 0 ELSE greatest(w.until_ms, f.began_ms) END, due_ms = $2
    FROM w WHERE {_SAME} AND {_OPEN} AND f.ended_ms <> w.until_ms
"""
_BEGIN: Final = f"""
    WITH w AS ({_WANTED})
    INSERT INTO fee_assignments (account, subscriber, tariff, from_ms, began_ms, ended_ms, change, due_ms)
    SELECT w.account, w.subscriber, w.tariff, w.from_ms, greatest(w.from_ms, $2), w.until_ms,
        (SELECT max(t.change) FROM tariffs t WHERE t.id = w.tariff), greatest(w.from_ms, $2)
    FROM w WHERE (w.until_ms = 0 OR w.until_ms > greatest(w.from_ms, $2))
        AND NOT EXISTS (SELECT FROM fee_assignments f WHERE {_SAME} AND {_OPEN})
"""
_BY_CHANGE: Final = """
    UPDATE fee_assignments f
    SET begins_by_change = f.began_ms >= $2 AND EXISTS (
            SELECT FROM fee_assignments g WHERE g.subscriber = f.subscriber AND g.account = f.account AND g.id <> f.id
            AND g.ended_ms = f.began_ms) OR f.began_ms < $2 AND f.begins_by_change,
        ends_by_change = EXISTS (
            SELECT FROM fee_assignments g WHERE g.subscriber = f.subscriber AND g.account = f.account AND g.id <> f.id
            AND g.began_ms = f.ended_ms)
    WHERE f.subscriber = ANY($1) AND (f.began_ms >= $2 OR f.ended_ms >= $2)
"""


async def follow_subscribers(db: Connection, subscribers: Collection[str], now_ms: int) -> None:
    """Some subscribers have other tariffs, or another account, from this instant on. One that is deleted is called for
    while its row is there, and its assignments are not."""
    who = list(subscribers)
    if not await db.fetchval("SELECT EXISTS (SELECT FROM tariffs WHERE fees)"):
        return
    await db.execute(_END, who, now_ms)
    await db.execute(_MOVE_END, who, now_ms)
    await db.execute(_BEGIN.format(whose="s.id = ANY($1)"), who, now_ms)
    await db.execute(_BY_CHANGE, who, now_ms)


async def follow_tariff(db: Connection, tariff: str, now_ms: int, number: int, *, fees: bool) -> None:
    """A version of a tariff was published: its assignments are looked at, by the catalog that has it."""
    if fees:
        await db.execute(_BEGIN.format(whose="a.tariff = $1"), tariff, now_ms)
    await db.execute(
        "UPDATE fee_assignments f SET due_ms = $2, change = $3, published_ms = coalesce(f.published_ms, $2)"
        f" WHERE f.tariff = $1 AND {_OPEN}",
        tariff,
        now_ms,
        number,
    )


async def follow_account(db: Connection, account: str, now_ms: int) -> None:
    """Its days begin at other instants, or its billing month does."""
    await db.execute(
        "UPDATE fee_assignments SET due_ms = least(due_ms, $2) WHERE account = $1 AND due_ms IS NOT NULL",
        account,
        now_ms,
    )


# --- brought from another server


class OpeningFee(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far a recurring fee was before the account was opened, and what was paid of the period that runs."""

    chain: str
    """See FeeMark; so are the others."""
    day: int
    from_day: int
    given: bool = False
    suspends: bool = False
    paid: tuple[tuple[int, int], ...] = ()
    """Number of a bucket as the account is opened (-1: one that is gone), and the amount in micro-units."""
    units: tuple[tuple[str, int], ...] = ()
    """Name of included units, and the number of their bucket."""
    price: str = ""


class BegunFee(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far one fee is: fields of ocs.fees.assignment.FeeProgress, which is kept."""

    start_ms: int
    day: int = 0
    """First day that is not settled; 0: none is."""
    from_day: int = 0
    """The following say what was paid of the period that runs; of an import the account says it."""
    paid: int = 0
    short: bool = False
    known_day: int = 0
    price: str = ""


class BegunFees(msgspec.Struct, frozen=True):
    """An assignment with fees that began elsewhere, or before."""

    tariff: str
    from_ms: int
    """As the assignment says."""
    began_ms: int
    fees: Mapping[str, BegunFee]


_GO_ON: Final = """
    UPDATE fee_assignments SET began_ms = least(began_ms, $4), progress = $5::text::jsonb, begins_by_change = false
    WHERE subscriber = $1 AND tariff = $2 AND from_ms = $3
"""
_BEGUN: Final = """
    SELECT subscriber, tariff, from_ms, began_ms, progress::text AS progress FROM fee_assignments
    WHERE subscriber = ANY($1) AND (ended_ms = 0 OR ended_ms > $2) AND began_ms <= $2 ORDER BY id
"""
_MARKS: Final = """
    SELECT opening_fees::text FROM accounts WHERE id = (SELECT account FROM subscribers WHERE id = $1)
"""
_marks: Final = msgspec.json.Decoder(tuple[OpeningFee, ...]).decode
_progress: Final = msgspec.json.Decoder(dict[str, BegunFee]).decode


async def go_on(db: Connection, subscriber: str, begun: BegunFees) -> None:
    """Fees of an assignment that was just made go on from where they were: what is settled is not taken again. What was
    paid of the period that runs says the account, if it was opened with it."""
    marks = {one.chain: one for one in _marks(await db.fetchval(_MARKS, subscriber) or "[]")}
    progress: dict[str, BegunFee] = {}
    for name, fee in begun.fees.items():
        mark = marks.get(fee_chain(subscriber, begun.tariff, begun.began_ms, name))
        if mark is not None and mark.day == fee.day:
            paid = sum(amount for _, amount in mark.paid)
            short = mark.day == mark.from_day
            fee = BegunFee(fee.start_ms, fee.day, mark.from_day, paid, short, mark.day, mark.price)
        progress[name] = fee
    fees = msgspec.json.encode(progress).decode()
    await db.execute(_GO_ON, subscriber, begun.tariff, begun.from_ms, begun.began_ms, fees)


async def begun_of(pool: Any, subscribers: Collection[str], now_ms: int) -> dict[str, list[BegunFees]]:
    """How far the fees of some subscribers are, as the store said last."""
    found: dict[str, list[BegunFees]] = {}
    for row in await pool.fetch(_BEGUN, list(subscribers), now_ms):
        fees = _progress(row["progress"])
        if fees:
            one = BegunFees(row["tariff"], row["from_ms"], row["began_ms"], fees)
            found.setdefault(row["subscriber"], []).append(one)
    return found


class NamedFee(NamedTuple):
    """A recurring fee that runs, by what its chain is made of."""

    subscriber: str
    tariff: str
    began_ms: int
    name: str


_RUNNING: Final = """
    SELECT account, subscriber, tariff, began_ms, progress::text AS progress FROM fee_assignments
    WHERE account = ANY($1) AND (ended_ms = 0 OR ended_ms > $2) AND began_ms <= $2
"""


async def running_of(pool: Any, accounts: Collection[str], now_ms: int) -> dict[str, dict[str, NamedFee]]:
    """Of each account what the chains of its fees are of."""
    found: dict[str, dict[str, NamedFee]] = {}
    for row in await pool.fetch(_RUNNING, list(accounts), now_ms):
        for name in _progress(row["progress"]):
            fee = NamedFee(row["subscriber"], row["tariff"], row["began_ms"], name)
            found.setdefault(row["account"], {})[fee_chain(*fee)] = fee
    return found
