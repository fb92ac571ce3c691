"""The events in their order, and those who read them.

A consumer (a webhook subscription, a Redis stream, somebody who follows server-sent events) is a row with a filter and
the number of the last event it is done with. It reads what comes after, a bounded batch at a time, and moves its number
when it is done: what it did and had not noted it does again, with the same ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from balances.ledger.event_filter import EventFilter
from balances.ledger.events import EventRow
from ocs.events.event import Event, event_of, source_of
from ocs.events.types import TYPES

LOOKED_MAX: Final = 1_000
"""Events looked at for one batch, asked for or not."""

LISTED_MAX: Final = 100_000
"""Events looked at for one page of a list."""

_ROW: Final = "id, type, account, service, subject, at_ms, data::text AS data"


class NumberedEvent(NamedTuple):
    """An event with its number, by which consumers count."""

    seq: int
    row: EventRow

    def event(self, source: str) -> Event:
        return event_of(self.row, source)


class EventBatch(NamedTuple):
    """What a consumer gets."""

    events: Sequence[NumberedEvent]
    """In order; those its filter takes."""
    upto: int
    """Everything up to this number was looked at: where its own number goes when it is done with these."""
    more: bool
    """There may be more already."""
    last: int
    """Number of the newest event there is."""


class EventConsumer(NamedTuple):
    """Who reads, and how far."""

    name: str
    kind: str
    filter: EventFilter
    seq: int
    holds: bool
    moved_ms: int


async def read(pg: Any, after: int, wanted: EventFilter | None, limit: int = LOOKED_MAX) -> EventBatch:
    """The next events after a number: looks at no more than `limit`. None: all there are."""
    rows = await pg.fetch(
        f"SELECT h.last, e.seq, {_ROW} FROM event_head h LEFT JOIN LATERAL ("
        "  SELECT * FROM events WHERE seq > $1 AND seq <= $1 + $2 AND ($3::text[] IS NULL OR type = ANY($3))"
        "  AND (cardinality($4::text[]) = 0 OR account = ANY($4))"
        "  AND (cardinality($5::text[]) = 0 OR service = ANY($5)) ORDER BY seq) e ON true",
        after,
        limit,
        None if wanted is None else wanted.of(TYPES),
        [] if wanted is None else list(wanted.accounts),
        [] if wanted is None else list(wanted.services),
    )
    last = rows[0]["last"]
    upto = min(after + limit, last)
    found = [NumberedEvent(row["seq"], EventRow(*tuple(row)[2:])) for row in rows if row["seq"] is not None]
    return EventBatch(found, max(upto, after), last > upto, last)


async def before(pg: Any, number: int | None, wanted: EventFilter, limit: int) -> tuple[list[NumberedEvent], int]:
    """The last events before a number (None: of all), newest first, and the number to go on with; 0 at the end. Looks
    at no more than LISTED_MAX."""
    last = await newest(pg) if number is None else number - 1
    lowest = max(last - LISTED_MAX, 0)
    rows = await pg.fetch(
        f"SELECT seq, {_ROW} FROM events WHERE seq > $1 AND seq <= $2 AND type = ANY($3::text[])"
        " AND (cardinality($4::text[]) = 0 OR account = ANY($4))"
        " AND (cardinality($5::text[]) = 0 OR service = ANY($5)) ORDER BY seq DESC LIMIT $6",
        lowest,
        last,
        wanted.of(TYPES),
        list(wanted.accounts),
        list(wanted.services),
        limit,
    )
    found = [NumberedEvent(row["seq"], EventRow(*tuple(row)[1:])) for row in rows]
    if len(found) == limit:
        return found, found[-1].seq
    oldest = await pg.fetchval("SELECT min(seq) FROM events") or last + 1
    return found, lowest + 1 if oldest <= lowest else 0


async def newest(pg: Any) -> int:
    """Number of the last event."""
    return int(await pg.fetchval("SELECT last FROM event_head"))


async def number_of(pg: Any, event_id: str) -> int | None:
    """Of the event with this id; None: it is not kept any more, or never was."""
    found = await pg.fetchval("SELECT seq FROM events WHERE id = $1", event_id)
    return None if found is None else int(found)


async def source(pg: Any) -> str:
    """`source` of the events of this installation."""
    return source_of(await pg.fetchval("SELECT installation FROM store"))


# --- consumers


async def subscribe(pg: Any, name: str, kind: str, wanted: EventFilter, *, holds: bool = True) -> int:
    """Enter a consumer, which begins with what comes from now on, or change the filter of one that is there; returns
    its number. In the caller's transaction."""
    return int(
        await pg.fetchval(
            "INSERT INTO event_consumers AS c (name, kind, types, accounts, services, seq, holds)"
            " SELECT $1, $2, $3::text[], $4::text[], $5::text[], last, $6 FROM event_head"
            " ON CONFLICT (name) DO UPDATE"
            " SET kind = $2, types = $3, accounts = $4, services = $5, holds = $6, until = NULL"
            " RETURNING seq",
            name,
            kind,
            list(wanted.types),
            list(wanted.accounts),
            list(wanted.services),
            holds,
        )
    )


async def unsubscribe(pg: Any, name: str) -> bool:
    """Remove a consumer; nothing is kept for it any more."""
    return bool((await pg.execute("DELETE FROM event_consumers WHERE name = $1", name)) != "DELETE 0")


async def advance(pg: Any, name: str, was: int, now: int) -> bool:
    """Note that a consumer is done with everything up to `now`; False: it was not at `was` any more, because another
    process has done this batch, or it is gone. In the caller's transaction, with what was done where that is in
    PostgreSQL too: then it was done exactly once."""
    done = await pg.execute(
        "UPDATE event_consumers SET seq = $3, moved_at = now() WHERE name = $1 AND seq = $2", name, was, now
    )
    return bool(done == "UPDATE 1")


async def consumers(pg: Any, kind: str | None = None) -> list[EventConsumer]:
    """All of them, or those of a kind."""
    rows = await pg.fetch(
        "SELECT name, kind, types, accounts, services, seq, holds,"
        " (extract(epoch FROM moved_at) * 1000)::bigint AS moved_ms FROM event_consumers"
        " WHERE ($1::text IS NULL OR kind = $1) AND (until IS NULL OR until > now()) ORDER BY name",
        kind,
    )
    return [
        EventConsumer(
            row["name"],
            row["kind"],
            EventFilter(tuple(row["types"]), tuple(row["accounts"]), tuple(row["services"])),
            row["seq"],
            row["holds"],
            row["moved_ms"],
        )
        for row in rows
    ]
