"""How long events are kept, and who is behind: a consumer that is not done with an event keeps it."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

DELETED_MAX: Final = 5_000
"""In one transaction."""


class ConsumerLag(NamedTuple):
    """How far a consumer is behind."""

    name: str
    kind: str
    behind: int
    """Events it is not done with, those it did not ask for included."""
    oldest_ms: int
    """Of the oldest of them; 0: there is none."""


async def lags(pg: Any) -> list[ConsumerLag]:
    """Of consumers that events are kept for."""
    rows = await pg.fetch(
        "SELECT c.name, c.kind, h.last - c.seq AS behind,"
        " coalesce((SELECT at_ms FROM events e WHERE e.seq > c.seq ORDER BY e.seq LIMIT 1), 0) AS oldest_ms"
        " FROM event_consumers c, event_head h WHERE c.holds ORDER BY name"
    )
    return [ConsumerLag(*row) for row in rows]


async def delete_old(pg: Any, before_ms: int) -> int:
    """Delete some events older than this that everybody is done with; returns how many."""
    done = await pg.execute(
        "DELETE FROM events WHERE seq IN (SELECT seq FROM events ORDER BY seq LIMIT $2) AND at_ms < $1"
        " AND seq <= coalesce((SELECT min(seq) FROM event_consumers WHERE holds), 9223372036854775807)",
        before_ms,
        DELETED_MAX,
    )
    return int(done.split()[1])


async def drop_gone(pg: Any) -> None:
    """Forget those who followed and did not come again."""
    await pg.execute("DELETE FROM event_consumers WHERE until < now()")
