"""What the API gives about events, and how they are asked for."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from ocs.api.schema import ONE_LINE, Id
from ocs.events.event import Event
from ocs.patterns import looks

Types = Annotated[
    str,
    looks(
        r"[a-z_]+\.([a-z_]+|\*)(,[a-z_]+\.([a-z_]+|\*))*",
        "types of events, such as session.opened or session.*, with commas between",
        max_length=1_000,
    ),
]


class EventsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    type: Types | None = None
    """Some, with commas between, `session.*` for all that begin so. Left out: all but `balance.changed`."""
    account: Id | None = None
    service: Annotated[str, looks(r"[^\x00-\x1f]+", ONE_LINE, max_length=64)] | None = None
    before: Annotated[int, Meta(ge=1, le=2**62)] | None = None
    """`next` of the page before."""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    last_event_id: Annotated[str, Meta(max_length=1_000)] | None = None
    """For followers that cannot send the header Last-Event-ID."""


class EventPage(Struct, frozen=True):
    items: list[Event]
    """Newest first."""
    next: int | None
    """Give it as `before` for the next page; null at the end. A page may be empty and have a next one."""
