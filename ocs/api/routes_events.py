"""Events: pages of those that are kept, and server-sent events."""

from __future__ import annotations

from functools import partial
from typing import Final

from balances.ledger.event_filter import EventFilter
from ocs.api import schema_events
from ocs.api.live import EventStream
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.problems import Problem
from ocs.backoffice import events
from ocs.events.following import TooManyFilters


def _wanted(call: ApiCall) -> EventFilter:
    query: schema_events.EventsQuery = call.query
    types = tuple(query.type.split(",")) if query.type else ()
    accounts = (query.account,) if query.account else ()
    return events.filter_of(types, accounts, (query.service,) if query.service else ())


async def list_events(call: ApiCall) -> ApiReply:
    query: schema_events.EventsQuery = call.query
    found, rest = await events.page(call.backoffice, _wanted(call), query.before, query.limit)
    return ApiReply(schema_events.EventPage(found, rest or None))


async def follow_events(call: ApiCall) -> EventStream:
    query: schema_events.EventsQuery = call.query
    wanted, tail = _wanted(call), call.backoffice.tail
    if tail is None or tail.closed:
        raise Problem("busy", "this server is stopping, or does not serve events")
    if tail.full:
        raise Problem("busy", f"{tail.followers} follow the events already (events.followers_max)")
    try:
        first = await events.first(call.backoffice, wanted, call.last_event_id or query.last_event_id or "")
    except TooManyFilters as why:
        raise Problem("busy", str(why)) from None
    return EventStream(tail, wanted, first, partial(events.renew, call.backoffice, wanted))


OPERATIONS: Final = (
    Operation(
        "GET",
        "/v1/events",
        list_events,
        "Events, newest first; with `Accept: text/event-stream` as they come",
        "events.read",
        answer=schema_events.EventPage,
        query=schema_events.EventsQuery,
        live=follow_events,
        problems=("invalid", "forgotten"),
        description="With `Accept: text/event-stream` the answer is a stream of server-sent events: `id` is that of the"
        " event, `event` its type, `data` the event as CloudEvents 1.0. It begins now, or after the event that the"
        " header Last-Event-ID names. An event called `position` only tells an id to go on after. docs/events.md says"
        " more.",
    ),
)
