"""Where a follower of events begins: with what comes from now on, or after the last event it saw."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec

from balances.ledger.event_filter import EventFilter
from balances.ledger.events import ON_DEMAND
from ocs.events import log

FOLLOWED_S: Final = 3_600
"""So long after a follower went, types that are written on demand are still written for it."""
RENEWED_S: Final = 600.0
"""How often a follower says that it is still there."""
FILTERS_MAX: Final = 1_000
"""Of followers that ask for types on demand, those that went within the hour included."""
KIND: Final = "sse"


class EventForgotten(Exception):
    """What comes after the event that was seen last is not known in full any more; the text says why."""


class TooManyFilters(Exception):
    """There is no room for another one."""


def name_of(wanted: EventFilter) -> str:
    """Of the consumer for all who follow by this filter."""
    return f"{KIND}:{hashlib.sha256(msgspec.json.encode(wanted)).hexdigest()[:32]}"


async def ask(pg: Any, wanted: EventFilter) -> int:
    """Have types written that are written on demand, until an hour from now; returns the number from which on they are.
    Those who ask keep their own number, so nothing is kept for them."""
    if not wanted.of(ON_DEMAND):
        return 0
    since = await pg.fetchval(
        "INSERT INTO event_consumers AS c (name, kind, types, accounts, services, seq, holds, until)"
        " SELECT $1, $2, $3::text[], $4::text[], $5::text[], last, false, now() + make_interval(secs => $6)"
        " FROM event_head WHERE (SELECT count(*) FROM event_consumers WHERE kind = $2) < $7"
        " OR EXISTS (SELECT FROM event_consumers WHERE name = $1)"
        " ON CONFLICT (name) DO UPDATE SET until = EXCLUDED.until, moved_at = now(),"
        " seq = CASE WHEN c.until < now() THEN EXCLUDED.seq ELSE c.seq END RETURNING seq",
        name_of(wanted),
        KIND,
        list(wanted.types),
        list(wanted.accounts),
        list(wanted.services),
        FOLLOWED_S,
        FILTERS_MAX,
    )
    if since is None:
        raise TooManyFilters(f"{FILTERS_MAX} filters are followed already: try again in an hour")
    return int(since)


async def begin(pg: Any, wanted: EventFilter, last_id: str) -> int | None:
    """The number after which to send, for one who saw this event last; None: from now on. Raises EventForgotten."""
    since = await ask(pg, wanted)
    if not last_id:
        return None
    number = await log.number_of(pg, last_id)
    if number is None:
        raise EventForgotten(f"event {last_id[:200]} is not kept any more, or never was: begin without Last-Event-ID")
    if number < since:
        on_demand = ", ".join(wanted.of(sorted(ON_DEMAND)))
        raise EventForgotten(
            f"nobody asked for {on_demand} all the time since that event: some are missing. Ask for other types,"
            " or begin without Last-Event-ID"
        )
    return number
