"""Traces: requests of a subscriber, a peer or a session as they are served (docs/tracing.md)."""

from __future__ import annotations

import secrets
from typing import Final

from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.schema_traces import TracePage, TraceView, TraceWanted
from ocs.api.trace_stream import TraceStream
from ocs.api.trace_views import trace_view
from ocs.backoffice import traces
from ocs.backoffice.errors import Invalid


async def begin_trace(call: ApiCall) -> ApiReply:
    wanted: TraceWanted = call.body
    said = [one for one in (wanted.subscriber, wanted.peer, wanted.session) if one is not None]
    if len(said) != 1:
        raise Invalid("", "one of subscriber, peer and session")
    found = wanted.subscriber or "", wanted.peer or "", wanted.session or ""
    return ApiReply(
        trace_view(await traces.begin(call.backoffice, secrets.token_hex(8), call.caller, *found)), status=201
    )


async def list_traces(call: ApiCall) -> ApiReply:
    return ApiReply(TracePage([trace_view(one) for one in await traces.listed(call.backoffice)]))


async def get_trace(call: ApiCall) -> ApiReply:
    return ApiReply(trace_view(await traces.find(call.backoffice, call.path["id"])))


async def watch_trace(call: ApiCall) -> TraceStream:
    return TraceStream(call.backoffice, await traces.of_caller(call.backoffice, call.path["id"], call.caller))


async def end_trace(call: ApiCall) -> ApiReply:
    await traces.end(call.backoffice, call.path["id"])
    return ApiReply(None, status=204)


OPERATIONS: Final = (
    Operation(
        "POST",
        "/v1/traces",
        begin_trace,
        "Begin to watch requests of a subscriber, a peer or a session",
        "traces.watch",
        answer=TraceView,
        status=201,
        body=TraceWanted,
        problems=("conflict",),
        description="It ends by itself fifteen seconds after its viewer was last there. Who traces whom is on the audit"
        " trail: what is shown is personal data.",
    ),
    Operation("GET", "/v1/traces", list_traces, "Traces that are running", "traces.watch", answer=TracePage),
    Operation(
        "GET",
        "/v1/traces/{id}",
        get_trace,
        "A trace; with `Accept: text/event-stream` what it sees, as it happens",
        "traces.watch",
        answer=TraceView,
        live=watch_trace,
        problems=("not-found",),
        description="With `Accept: text/event-stream` the answer is a stream of server-sent events of type `seen`, the"
        " data of each a SightingView: a request decoded, its answer, what was decided and how long each step took."
        " Only who began the trace may watch it. What a viewer is too slow for is dropped and counted.",
    ),
    Operation(
        "DELETE",
        "/v1/traces/{id}",
        end_trace,
        "End a trace",
        "traces.watch",
        status=204,
        problems=("not-found",),
    ),
)
