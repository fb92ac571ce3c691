"""Dropping closed months: their usage records, or their ledger entries too (charging.md section 20).

First a row of `ledger_drops` says that the month is gone, in a transaction that has proven its closings; from then on
nobody counts its records. Then they are deleted, a partition at a time, in transactions of their own. Whoever is killed
in between has left records that nobody counts, and the next `delete` goes on with them.

A partition is dropped under a lock of its whole table, for a moment and not waited for long: DETACH CONCURRENTLY
is refused by PostgreSQL (14 to 18) where a table has a partition for what has no other one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

import asyncpg

from balances.ledger.closing import CHANGED_IN, DIGEST
from balances.ledger.kept import kept
from balances.ledger.months import KEPT_MONTHS, LOCK_MS, Month, partitions

What = Literal["usage", "entries"]

TABLES: Final[dict[What, str]] = {"usage": "usage_records", "entries": "ledger_entries"}
PAGES: Final = 2_000
"""Of a table that holds other months too, so many are looked through at once."""


class NotDroppable(Exception):
    """It cannot be dropped; the text says why, for the operator."""


class DroppedMonth(NamedTuple):
    """By the columns of ledger_drops."""

    what: str
    until_ms: int
    dropped_ms: int
    dropped_by: str
    deleted_ms: int | None


_DROPS: Final = "what, until_ms, dropped_ms, dropped_by, deleted_ms"


def droppable_until_ms(now_ms: int, months: int = KEPT_MONTHS) -> int:
    """What ends at this instant or before may go, where so many whole months before the present one are kept."""
    month = Month.at(now_ms)
    for _ in range(months):
        month = month.previous
    return month.from_ms


# A supervisor may be of another build than all of its processes, and counts nothing.
_BUILDS: Final = """
    SELECT COALESCE(array_agg(DISTINCT one->>'build' ORDER BY one->>'build'), '{}')
      FROM hosts CROSS JOIN jsonb_array_elements(told->'processes') one WHERE until_at > now() AND left_at IS NULL
"""
# From then on only a build that knows ledger_drops may start.
_NEEDED: Final = "UPDATE migrations SET needs = number WHERE name = '067_drops.sql' AND needs < number"


async def obstacles(pg: Any, month: Month, what: What, now_ms: int) -> list[str]:
    """Everything that stands in the way of dropping a month, for the operator."""
    until_ms = month.next.from_ms
    found = []
    period = await pg.fetchrow("SELECT from_ms, closed_ms FROM ledger_periods WHERE until_ms = $1", until_ms)
    if period is None:
        found.append(f"{month.name} is not closed: `ocs ledger close-period {month.name}`")
    if until_ms > droppable_until_ms(now_ms):
        found.append(
            f"{month.name} is too young: refunds, corrections and late reports go by {KEPT_MONTHS} whole months"
        )
    earlier_ms = await pg.fetchval(
        "SELECT min(until_ms) FROM ledger_periods p WHERE until_ms < $1 AND until_ms > (SELECT CASE WHEN $2 = 'usage'"
        " THEN usage_from_ms ELSE entries_from_ms END FROM ledger_kept)",
        until_ms,
        what,
    )
    if earlier_ms is not None:
        found.append(f"{Month.at(earlier_ms - 1).name} is not dropped: months are dropped one after the other")
    builds = await pg.fetchval(_BUILDS)
    if len(builds) > 1:
        found.append(
            f"processes of {len(builds)} builds are at work ({', '.join(builds)}): one that does not know of dropped"
            " months would count without them; wait until the upgrade has ended"
        )
    if await pg.fetchval(
        "SELECT EXISTS (SELECT FROM shards WHERE stopped <> '')"
        " OR EXISTS (SELECT FROM quarantined WHERE settled_at IS NULL)"
    ):
        found.append("records wait for a person, which may be of that month: `ocs ledger status`")
    if period is not None:
        found += await _unproven(pg, month, period["from_ms"], period["closed_ms"])
    return found


async def _unproven(pg: Any, month: Month, from_ms: int, closed_ms: int) -> list[str]:
    proof = await pg.fetchrow("SELECT began_ms, findings FROM verifications ORDER BY id DESC LIMIT 1")
    if proof is None or proof["began_ms"] < closed_ms:
        return [f"the ledger was not proven since {month.name} was closed: `ocs ledger verify`"]
    if proof["findings"]:
        return [f"the last proof of the ledger found {proof['findings']} things wrong: `ocs ledger verify`"]
    until_ms = month.next.from_ms
    if until_ms > (await kept(pg)).entries_from_ms:
        changed = await pg.fetchrow(CHANGED_IN, from_ms, until_ms)
        if changed is not None:
            return [f"{month.name} has other entries than it was closed with (account {changed['account']}): it stays"]
    return []


async def drop(pool: Any, month: Month, what: What, by: str, now_ms: int) -> list[DroppedMonth]:
    """Say that a month is gone; returns its rows. Where entries go, usage goes. One that is gone is as it went."""
    until_ms = month.next.from_ms
    async with pool.acquire() as pg, pg.transaction(isolation="repeatable_read"):
        # Entries first: see kept.py. Closing and dropping wait for each other.
        await pg.execute("LOCK TABLE ledger_entries IN ACCESS SHARE MODE")
        await pg.execute("LOCK TABLE ledger_periods, ledger_drops IN SHARE ROW EXCLUSIVE MODE")
        known = await pg.fetch(f"SELECT {_DROPS} FROM ledger_drops WHERE until_ms = $1", until_ms)
        if what not in {row["what"] for row in known}:
            if found := await obstacles(pg, month, what, now_ms):
                raise NotDroppable("; ".join(found))
            kinds: tuple[What, ...] = ("usage", "entries") if what == "entries" else ("usage",)
            for one in kinds:
                digest = await pg.fetchval(DIGEST, until_ms) if one == "entries" else ""
                await pg.execute(
                    "INSERT INTO ledger_drops (what, until_ms, dropped_ms, dropped_by, digest)"
                    " VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
                    *(one, until_ms, now_ms, by, digest),
                )
            await pg.execute(_NEEDED)
            known = await pg.fetch(f"SELECT {_DROPS} FROM ledger_drops WHERE until_ms = $1", until_ms)
        return [DroppedMonth(*row) for row in known]


async def drops(pg: Any) -> Sequence[DroppedMonth]:
    """All there were, the oldest first."""
    return [DroppedMonth(*row) for row in await pg.fetch(f"SELECT {_DROPS} FROM ledger_drops ORDER BY until_ms, what")]


# --- deleting what is gone


async def delete(pool: Any, now_ms: int) -> bool:
    """Delete the records of months that are gone. False: something is in the way for now, such as a
    long query; it is tried again."""
    done = True
    for what, table in TABLES.items():
        until_ms = await pool.fetchval(
            "SELECT max(until_ms) FROM ledger_drops WHERE what = $1 AND deleted_ms IS NULL", what
        )
        if until_ms is None:
            continue
        try:
            await _barrier(pool, table)
            if what == "entries":
                await _note_refunds(pool, until_ms)
            await _delete(pool, table, until_ms)
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            done = False
            continue
        await pool.execute(
            "UPDATE ledger_drops SET deleted_ms = $3 WHERE what = $1 AND until_ms <= $2 AND deleted_ms IS NULL",
            *(what, until_ms, now_ms),
        )
    return done


async def _barrier(pool: Any, table: str) -> None:
    """Whoever read the table before its months were gone has ended: what they went by has been written."""
    async with pool.acquire() as pg, pg.transaction():
        await pg.execute(f"SET LOCAL lock_timeout = {LOCK_MS}")
        await pg.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")


_OF_PERIOD: Final = r"""
UPDATE refunds r SET of_period = regexp_replace(e.request_key, '\|[^|]*\|[^|]*$', '|')
  FROM ledger_entries e
 WHERE e.account = r.account AND e.seq = r.seq AND e.at_ms < $1 AND e.why = 'fee' AND r.of_period IS NULL
"""
_POSTED: Final = """
UPDATE refunds r SET posted = true FROM ledger_entries e
 WHERE e.account = r.account AND e.why = 'refund' AND e.request_key = r.request AND e.at_ms < $1 AND NOT r.posted
"""


async def _note_refunds(pool: Any, until_ms: int) -> None:
    """What a refund is compared with later: that it was posted, and which period of a fee it gave back of."""
    await pool.execute(_OF_PERIOD, until_ms)
    await pool.execute(_POSTED, until_ms)


async def _delete(pool: Any, table: str, until_ms: int) -> None:
    whole = [name for name, month in await partitions(pool, table) if month.next.from_ms <= until_ms]
    shared = [f"{table}_other"]
    before_ms = await pool.fetchval("SELECT months_from_ms FROM store")
    if await pool.fetchval("SELECT to_regclass($1) IS NOT NULL", f"{table}_before"):
        (whole if before_ms <= until_ms else shared).append(f"{table}_before")
    for name in whole:
        async with pool.acquire() as pg, pg.transaction():
            await pg.execute(f"SET LOCAL lock_timeout = {LOCK_MS}")
            await pg.execute(f"DROP TABLE IF EXISTS {name}")
    for name in shared:
        await _delete_rows(pool, name, until_ms)


async def _delete_rows(pool: Any, table: str, until_ms: int) -> None:
    """Of a table that has other months too: some pages at a time, each in a transaction of its own."""
    pages = await pool.fetchval("SELECT pg_relation_size(to_regclass($1)) / current_setting('block_size')::int", table)
    for page in range(0, pages, PAGES):
        await pool.execute(
            f"DELETE FROM {table} WHERE ctid >= '({page},0)' AND ctid < '({page + PAGES},0)' AND at_ms < $1", until_ms
        )


class Size(NamedTuple):
    """About what a month takes up in a table."""

    rows: int
    octets: int
    shared: bool
    """It stands in one table with other months: its room is used again, and not given back."""


async def size(pg: Any, month: Month, what: What) -> Size:
    table = TABLES[what]
    own = await pg.fetchrow(
        "SELECT greatest(reltuples, 0)::bigint AS rows, pg_total_relation_size(oid) AS octets FROM pg_class"
        " WHERE oid = to_regclass($1)",
        month.of(table),
    )
    if own is not None:
        return Size(own["rows"], own["octets"], shared=False)
    rows = await pg.fetchval(
        f"SELECT count(*) FROM {table} WHERE at_ms >= $1 AND at_ms < $2", month.from_ms, month.next.from_ms
    )
    return Size(rows, 0, shared=True)
