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
    """The same movement again counts once: of all attempts the largest amount."""


# What other movements of the day come to, and what attempts at this one have counted.
_COUNTED: Final = """
    SELECT coalesce(sum(most) FILTER (WHERE NOT this), 0)::bigint AS others,
        coalesce(max(most) FILTER (WHERE this), 0)::bigint AS this
    FROM (SELECT account = $5 AND key = $6 AS this, max(amount) AS most FROM moved_by_day
        WHERE caller = $1 AND permission = $2 AND unit = $3 AND day = $4 GROUP BY account, key) AS movements
"""


async def add(pool: Any, movement: DayMovement, amount: int, most: int) -> tuple[int | None, int]:
    """Count an amount, where the day stays within `most`: its attempt; else None, and the sum that is there already.

    Requests under one key may be under way at once, and one of them may be refused and another one done: each has an
    attempt of its own to take back.
    """
    async with pool.acquire() as pg, pg.transaction():
        group = "|".join(str(part) for part in movement[:4])
        await pg.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", group)
        counted = await pg.fetchrow(_COUNTED, *movement)
        if counted["others"] + max(counted["this"], amount) > most:
            return None, counted["others"]
        attempt = await pg.fetchval(
            "INSERT INTO moved_by_day (caller, permission, unit, day, account, key, amount)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING attempt",
            *movement,
            amount,
        )
        return int(attempt), counted["others"]


async def take_back(pool: Any, movement: DayMovement, attempt: int) -> None:
    """It was refused."""
    await pool.execute(
        "DELETE FROM moved_by_day WHERE caller = $1 AND permission = $2 AND unit = $3 AND day = $4 AND account = $5"
        " AND key = $6 AND attempt = $7",
        *movement,
        attempt,
    )


async def purge(pool: Any, today: date) -> None:
    await pool.execute("DELETE FROM moved_by_day WHERE day < $1::date - $2::int", today, KEPT_DAYS)
