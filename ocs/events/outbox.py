"""Events that are no record of the ledger: put into the outbox by the transaction that does what they tell, so that
they are there if and only if it was done; moved to the others by the keeper.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from balances.ledger.events import EventRow, append, put_out
from ocs.events.types import TYPES

MOVED_MAX: Final = 500
"""Events moved in one transaction."""


async def emit(
    pg: Any,
    type_: str,
    data: msgspec.Struct,
    *,
    at_ms: int,
    key: str,
    subject: str,
    account: str = "",
    service: str = "",
) -> None:
    """Tell the world, if and only if the caller's transaction commits.

    type_:  one of ocs.events.types.TYPES; data: of its struct
    key:    makes the id, `<type>:<key>`: the same key again is the same event, and comes once. What happens several
            times needs a key for each (a job's id, a shard and an epoch, a version).
    """
    kind = TYPES[type_]
    if type(data) is not kind.data:
        raise TypeError(f"{type_}: expected {kind.data.__name__}, not {type(data).__name__}")
    named = {"account": account, "service": service}
    await put_out(pg, type_, data, at_ms=at_ms, key=key, subject=subject, **named)


async def move(pool: Any) -> int:
    """Move some to `events`; returns how many were taken out, 0 when there is none. Any number may run at once."""
    if not await pool.fetchval("SELECT EXISTS (SELECT FROM event_outbox)"):
        return 0
    async with pool.acquire() as pg, pg.transaction():
        # The number first: of two movers the second one waits here, so that none overtakes.
        await pg.execute("SELECT FROM event_head FOR UPDATE")
        taken = await pg.fetch(
            "DELETE FROM event_outbox WHERE place IN (SELECT place FROM event_outbox ORDER BY place LIMIT $1)"
            " RETURNING place, id, type, account, service, subject, at_ms, data",
            MOVED_MAX,
        )
        by_id: dict[str, EventRow] = {}
        for row in sorted(taken, key=lambda row: row["place"]):
            by_id.setdefault(row["id"], EventRow(*tuple(row)[1:]))
        known = await pg.fetch("SELECT id FROM events WHERE id = ANY($1)", list(by_id))
        for row in known:
            del by_id[row["id"]]
        await append(pg, list(by_id.values()))
        return len(taken)
