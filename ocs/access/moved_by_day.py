"""What callers with a limit for the day have moved: counted before it is posted, so that two at once never pass it."""

from __future__ import annotations

from datetime import date
from typing import Any, Final, NamedTuple

KEPT_DAYS: Final = 3


class DayMovement(NamedTuple):
    """What is to be moved."""

    caller: str
    permission: str
    unit: str
    day: date
    account: str
    key: str
    """The same movement again counts once."""


async def add(pool: Any, movement: DayMovement, amount: int, most: int) -> int | None:
    """Count an amount, where the day stays within `most`; else the sum that is there already, which leaves no room."""
    async with pool.acquire() as pg, pg.transaction():
        group = "|".join(str(part) for part in movement[:4])
        await pg.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", group)
        there: int = await pg.fetchval(
            "SELECT coalesce(sum(amount), 0)::bigint FROM moved_by_day WHERE caller = $1 AND permission = $2 AND"
            " unit = $3 AND day = $4 AND NOT (account = $5 AND key = $6)",
            *movement,
        )
        if there + amount > most:
            return there
        await pg.execute(
            "INSERT INTO moved_by_day (caller, permission, unit, day, account, key, amount)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
            *movement,
            amount,
        )
        return None


async def take_back(pool: Any, movement: DayMovement) -> None:
    """It was refused."""
    await pool.execute(
        "DELETE FROM moved_by_day WHERE caller = $1 AND permission = $2 AND unit = $3 AND day = $4 AND account = $5"
        " AND key = $6",
        *movement,
    )


async def purge(pool: Any, today: date) -> None:
    await pool.execute("DELETE FROM moved_by_day WHERE day < $1::date - $2::int", today, KEPT_DAYS)
