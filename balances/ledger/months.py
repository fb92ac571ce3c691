"""The big tables by month: partitions are made ahead, and those of old calls are dropped whole (README.md).

Nothing is ever moved from one partition to another. What comes for a month that has no partition stands in
`<table>_other`; such a month gets none afterwards, and everything is found where it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import asyncpg

BIG: Final = ("calls", "usage_records", "ledger_entries")
AHEAD: Final = 3
"""Months after the present one that have partitions."""
KEPT_MONTHS: Final = 3
"""Whole months before the present one of which no usage and no entry is dropped. Requests that are repeated are known
for 30 days, use is reported up to eight days late, and a month is closed, proven and looked at once it is over."""
LOCK_MS: Final = 2_000
"""For a lock that a query may hold for long: then it is tried again later, so that nobody waits behind us."""


class Month(NamedTuple):
    """A calendar month in UTC."""

    year: int
    month: int

    @classmethod
    def at(cls, at_ms: int) -> Month:
        day = datetime.fromtimestamp(at_ms // 1_000, UTC)
        return cls(day.year, day.month)

    @classmethod
    def named(cls, name: str) -> Month:
        """2026-10. ValueError: it is none."""
        day = datetime.strptime(name, "%Y-%m").replace(tzinfo=UTC)
        return cls(day.year, day.month)

    @property
    def name(self) -> str:
        return f"{self.year:04}-{self.month:02}"

    @property
    def next(self) -> Month:
        return Month(self.year + self.month // 12, self.month % 12 + 1)

    @property
    def previous(self) -> Month:
        return Month(self.year - (self.month == 1), (self.month - 2) % 12 + 1)

    @property
    def from_ms(self) -> int:
        return int(datetime(self.year, self.month, 1, tzinfo=UTC).timestamp()) * 1_000

    def of(self, table: str) -> str:
        """The name of its partition."""
        return f"{table}_{self.year:04}_{self.month:02}"


async def make_ahead(pool: Any, now_ms: int) -> list[str]:
    """Make the partitions of this month and of those to come, where they are missing; returns those it made. Not that
    of a month of which something stands in `<table>_other`, nor one that is wholly before the first."""
    made = []
    first_ms = await pool.fetchval("SELECT months_from_ms FROM store")
    month = max(Month.at(now_ms), Month.at(first_ms))
    months = [month]
    while len(months) <= AHEAD:
        months.append(months[-1].next)
    missing = await pool.fetch(
        "SELECT name FROM unnest($1::text[]) name WHERE to_regclass(name) IS NULL",
        [month.of(table) for table in BIG for month in months],
    )
    wanted = {row["name"] for row in missing}
    for table in BIG:
        for month in months:
            if month.of(table) in wanted and await _make(pool, table, month):
                made.append(month.of(table))
    return made


async def _make(pool: Any, table: str, month: Month) -> bool:
    name = month.of(table)
    try:
        async with pool.acquire() as pg, pg.transaction():
            await pg.execute(f"SET LOCAL lock_timeout = {LOCK_MS}")
            await pg.execute(f"CREATE TABLE {name} (LIKE {table}_other INCLUDING DEFAULTS INCLUDING INDEXES)")
            bounds = f"FROM ({month.from_ms}) TO ({month.next.from_ms})"
            await pg.execute(f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES {bounds}")
    except (
        asyncpg.DuplicateTableError,  # another keeper was first
        asyncpg.UniqueViolationError,  # the same, at the same moment
        asyncpg.CheckViolationError,  # something of this month is in the other one
        asyncpg.LockNotAvailableError,
        asyncpg.DeadlockDetectedError,
    ):
        return False
    return True


async def unplaced(pool: Any) -> list[str]:
    """Tables of which rows stand in no month's partition."""
    return [table for table in BIG if await pool.fetchval(f"SELECT EXISTS (SELECT FROM {table}_other)")]


async def partitions(pg: Any, table: str) -> list[tuple[str, Month]]:
    """The months of a table that have partitions, in order."""
    rows = await pg.fetch(
        "SELECT c.relname AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = to_regclass($1)",
        table,
    )
    found = []
    for row in rows:
        year, _, month = row["name"].removeprefix(f"{table}_").partition("_")
        if year.isdigit() and month.isdigit():
            found.append((row["name"], Month(int(year), int(month))))
    return sorted(found, key=lambda one: one[1])


async def drop_calls(pool: Any, before_ms: int, spared: Sequence[tuple[int, int, int]]) -> list[str]:
    """Drop months of calls that are over before that instant; returns their names.

    spared:  (shard, epoch, n): of each shard only what lies before goes; of one that is not named nothing does
    """
    dropped = []
    for name, month in await partitions(pool, "calls"):
        if month.next.from_ms > before_ms:
            break
        try:
            async with pool.acquire() as pg, pg.transaction():
                await pg.execute(f"SET LOCAL lock_timeout = {LOCK_MS}")
                await pg.execute(f"LOCK TABLE {name} IN SHARE MODE")  # nothing comes in between the look and the end
                needed = await pg.fetchval(
                    f"SELECT EXISTS (SELECT FROM {name} c LEFT JOIN unnest($1::smallint[], $2::bigint[], $3::bigint[])"
                    " AS spared(shard, epoch, n) USING (shard)"
                    " WHERE spared.shard IS NULL OR (c.epoch, c.n) >= (spared.epoch, spared.n))",
                    *([one[i] for one in spared] for i in range(3)),
                )
                if needed:
                    continue
                await pg.execute(f"DROP TABLE {name}")
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError, asyncpg.UndefinedTableError):
            continue
        dropped.append(name)
    return dropped
