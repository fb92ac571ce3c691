"""Exchange rates: one for each pair of currencies and day, in force until the next day that has one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import TYPE_CHECKING, Final

import msgspec

from ocs.master.changes import change

if TYPE_CHECKING:
    from asyncpg import Connection, Pool, Record

KEPT_DAYS: Final = 40
"""What is older prices nothing any more: events come late, but not that late."""


class Rate(msgspec.Struct, frozen=True, array_like=True):
    """One unit of `of` in `into`, from 00:00 UTC of the day on."""

    of: str
    into: str
    day: str
    """YYYY-MM-DD."""
    rate: str
    """As it was given."""


FIELDS: Final = "of_currency AS of, into_currency AS into, day::text, rate"


def _rate(record: Record) -> Rate:
    return Rate(**dict(record))


async def put(pool: Pool, day: date, rates: Iterable[tuple[str, str, str]]) -> None:
    """Set the rates of a day, as (of, into, rate); pairs that are not named keep theirs."""
    async with change(pool) as (db, number):
        await db.executemany(
            "INSERT INTO exchange_rates AS r (of_currency, into_currency, day, rate, change)"
            " VALUES ($1, $2, $3, $4, $5)"
            " ON CONFLICT (of_currency, into_currency, day) DO UPDATE SET rate = $4, change = $5 WHERE r.rate <> $4",
            [(of, into, day, rate, number) for of, into, rate in rates],
        )


async def in_force(pool: Pool, day: date, of: str | None, into: str | None) -> Sequence[Rate]:
    """The rates in force on a day, of all pairs or of those with these currencies."""
    query = (
        f"SELECT DISTINCT ON (of_currency, into_currency) {FIELDS} FROM exchange_rates r"
        " WHERE r.day <= $1 AND ($2::text IS NULL OR of_currency = $2) AND ($3::text IS NULL OR into_currency = $3)"
        " ORDER BY of_currency, into_currency, r.day DESC"
    )
    return [_rate(record) for record in await pool.fetch(query, day, of, into)]


async def in_use(db: Connection) -> Sequence[Rate]:
    """The rates that may still be needed: of each pair the one in force this many days ago, and all later ones."""
    query = (
        f"SELECT {FIELDS} FROM exchange_rates r WHERE NOT EXISTS (SELECT FROM exchange_rates l"
        " WHERE l.of_currency = r.of_currency AND l.into_currency = r.into_currency AND l.day > r.day"
        " AND l.day <= (now() AT TIME ZONE 'UTC')::date - $1::integer) ORDER BY of_currency, into_currency, r.day"
    )
    return [_rate(record) for record in await db.fetch(query, KEPT_DAYS)]
