"""Assignments with recurring fees in PostgreSQL: those that are due, and what came of looking at them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ocs.fees.assignment import FeeAssignment, FeeLook, assignment_of, write_progress

if TYPE_CHECKING:
    from asyncpg import Connection, Pool

_FIELDS: Final = """
    f.id, f.account, f.subscriber, f.tariff, f.began_ms, f.ended_ms, f.begins_by_change, f.ends_by_change,
    f.published_ms, f.progress::text AS progress, f.waiting, f.due_ms, f.hurry, a.currency, a.time_zone, a.billing_day,
    coalesce(s.attributes, f.attributes)::text AS attributes, coalesce(s.tags, f.tags) AS tags,
    coalesce((SELECT json_agg(json_build_array(tariff, from_ms, until_ms) ORDER BY place)
              FROM assignments x WHERE x.subscriber = f.subscriber), '[]')::text AS assignments
"""
_FROM: Final = """
    FROM fee_assignments f JOIN accounts a ON a.id = f.account LEFT JOIN subscribers s ON s.id = f.subscriber
"""
CLAIM_MS: Final = 10_000
"""Whoever claims some has so long to say what came of them; then they are due again. What two do at once is done once:
the store knows which days are settled."""
HURRIED_MS: Final = 1
"""`due_ms` of who waited for money, and got some."""
# `waiting` as long as it is claimed: money that comes in meanwhile makes it due again (fees_waiting.py).
_DUE: Final = f"""
    SELECT {_FIELDS} {_FROM} WHERE f.due_ms <= $1 AND f.change <= $2
    ORDER BY f.due_ms, f.id LIMIT $3 FOR UPDATE OF f SKIP LOCKED
"""
_CLAIM: Final = """
    UPDATE fee_assignments SET due_ms = $2, waiting = true, hurry = hurry OR due_ms = $3 WHERE id = ANY($1)
"""
# What is due at another instant than it was claimed until was changed meanwhile, or claimed anew: it is looked at
# again.
_LOOKED: Final = """
    UPDATE fee_assignments f SET progress = b.progress::jsonb, due_ms = b.due_ms, waiting = b.waiting, why = b.why,
        published_ms = NULL, hurry = false
    FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::boolean[], $5::text[], $6::bigint[])
        AS b(id, progress, due_ms, waiting, why, claimed_ms)
    WHERE f.id = b.id AND f.due_ms = b.claimed_ms
"""


async def claim(pool: Pool, now_ms: int, version: int, limit: int) -> list[FeeAssignment]:
    """Some that are due, the earliest first, and nobody else's for CLAIM_MS; not those that need a newer catalog than
    `version`. No lock is held when this returns."""
    until_ms = now_ms + CLAIM_MS
    async with pool.acquire() as db, db.transaction():
        due = [assignment_of(row) for row in await db.fetch(_DUE, now_ms, version, limit)]
        await db.execute(_CLAIM, [one.id for one in due], until_ms, HURRIED_MS)
    return [one._replace(due_ms=until_ms, hurry=one.hurry or one.due_ms == HURRIED_MS) for one in due]


async def looked(db: Connection, came: Sequence[tuple[FeeAssignment, FeeLook]]) -> None:
    """Write what came of it."""
    await db.execute(
        _LOOKED,
        [one.id for one, _ in came],
        [write_progress(one.progress).decode() for one, _ in came],
        [look.due_ms for _, look in came],
        [look.waiting for _, look in came],
        [look.why for _, look in came],
        [one.due_ms for one, _ in came],
    )


async def next_due_ms(pool: Pool) -> int | None:
    found: int | None = await pool.fetchval("SELECT min(due_ms) FROM fee_assignments WHERE due_ms IS NOT NULL")
    return found


async def page(pool: Pool, at_ms: int, after: tuple[int, int], limit: int) -> list[FeeAssignment]:
    """Some of those that are due then, the earliest first; not locked. after: (due_ms, id) of the last one"""
    query = (
        f"SELECT {_FIELDS} {_FROM} WHERE f.due_ms <= $1 AND (f.due_ms, f.id) > ($2, $3)"
        " ORDER BY f.due_ms, f.id LIMIT $4"
    )
    return [assignment_of(row) for row in await pool.fetch(query, at_ms, *after, limit)]


async def of_subscriber(pool: Pool, subscriber: str) -> list[FeeAssignment]:
    """Also those that have ended."""
    rows = await pool.fetch(f"SELECT {_FIELDS} {_FROM} WHERE f.subscriber = $1 ORDER BY f.id", subscriber)
    return [assignment_of(row) for row in rows]
