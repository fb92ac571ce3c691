"""Charging for platforms that speak neither Diameter nor RADIUS: sessions and events (docs/http-charging.md)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import msgspec

from balances.keys import idempotency_key
from balances.structs.charge import Phase
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.problems import CHARGING, PROBLEMS, Problem
from ocs.backoffice.charging import Plain
from ocs.backoffice.errors import BackOfficeError, Invalid, Unavailable
from ocs.charging.http import translate
from ocs.charging.http.messages import ChargingEvent, ChargingReply, ChargingStart, ChargingStop, ChargingUpdate
from ocs.charging.http.template import FORMS, ChargingForm
from ocs.charging.http.translate import PlatformCall, UnusableBody
from ocs.charging.outcomes import OUTCOMES
from ocs.charging.request import ChargingAnswer, ChargingRequest
from ocs.clock import monotonic_us

REFUSALS: Final = ("key-reused", "conflict", "fate-unknown", *(kind for kind in PROBLEMS if kind.startswith(CHARGING)))


async def start_charging(call: ApiCall) -> ApiReply:
    return await _charged(call, FORMS[Phase.START])


async def update_charging(call: ApiCall) -> ApiReply:
    return await _charged(call, FORMS[Phase.UPDATE])


async def stop_charging(call: ApiCall) -> ApiReply:
    return await _charged(call, FORMS[Phase.STOP])


async def charge_event(call: ApiCall) -> ApiReply:
    return await _charged(call, FORMS[Phase.EVENT])


async def _charged(call: ApiCall, form: ChargingForm) -> ApiReply:
    desk, heard_us = call.backoffice.charging, monotonic_us()
    if desk is None:
        raise Unavailable("this process does not charge")
    key = idempotency_key(call.key) if call.key else ""
    platform = PlatformCall(call.caller, key, call.path.get("id", ""), call.backoffice.tags)
    try:
        request = form.to_request(call.body, platform, desk.services)
    except UnusableBody as why:
        raise Invalid(why.field, str(why)) from None
    trace = desk.traced(request, call.body, call.authority.address, heard_us)
    plain: Plain = []
    try:
        answer = await desk.charge(request, trace, plain)
        reply = translate.reply_of(translate.id_of(call.body, platform), request, answer)
        if trace is not None:
            trace.answered(msgspec.json.encode(reply))
    except BackOfficeError as error:
        if trace is not None:
            trace.silent(error.detail)
        raise
    finally:
        if trace is not None:
            trace.over()
    desk.learn(form, platform, call.octets, call.body, request, plain, reply)
    return replied(reply, request, answer, form.status)


def replied(reply: ChargingReply, request: ChargingRequest, answer: ChargingAnswer, status: int) -> ApiReply:
    """A refusal of all of it is a Problem that has the members of the answer too."""
    if OUTCOMES[answer.result].http >= HTTPStatus.BAD_REQUEST:
        raise Problem(f"{CHARGING}{reply.result}", translate.why_not(request, answer), **msgspec.structs.asdict(reply))
    return ApiReply(reply, status)


BOX: Final = {"service": "generic", "identity": "msisdn:491700000001"}
CALL: Final = {"service": "voice", "identity": "msisdn:491700000001"}
FACTS: Final = {"calling": "+491700000001", "called": "+493012345", "node": "pbx-1"}
STARTS: Final = {
    "IPTV: a channel by time": BOX
    | {"id": "box-7-1730", "lines": [{"rating_group": 30, "requested": {"seconds": 3600}}]},
    "PBX: a call": CALL | {"id": "pbx-1-4711", "facts": FACTS, "lines": [{"requested": {"seconds": 300}}]},
}
UPDATES: Final = {
    "IPTV: another channel": BOX
    | {
        "number": 1,
        "lines": [
            {"rating_group": 30, "used": {"seconds": 412}, "reason": "final"},
            {"rating_group": 20, "requested": {"seconds": 600}},
        ],
    },
    "PBX: the call goes on": CALL | {"number": 1, "lines": [{"used": {"seconds": 300}, "requested": {}}]},
}
STOPS: Final = {
    "IPTV: the box is switched off": BOX | {"number": 2, "lines": [{"rating_group": 20, "used": {"seconds": 95}}]},
    "PBX: they hang up": CALL | {"number": 2, "lines": [{"used": {"seconds": 42}}]},
}
EVENTS: Final = {
    "IPTV: a title is bought": BOX
    | {
        "time": "2026-11-30T20:15:00+01:00",
        "lines": [{"rating_group": 40, "service_id": 31, "requested": {"units": 1}}],
    },
    "IPTV: it did not play, the money goes back": BOX
    | {"action": "refund", "refund_token": "event http:admin;event;order-991 0", "lines": [{"rating_group": 40}]},
    "PBX: what would a call cost": CALL
    | {"action": "price", "facts": FACTS, "lines": [{"requested": {"seconds": 60}}]},
}

OPERATIONS: Final = (
    Operation(
        "POST",
        "/v1/charging/sessions",
        start_charging,
        "A session begins: hold the first grant",
        "charging.charge",
        answer=ChargingReply,
        status=201,
        body=ChargingStart,
        examples=STARTS,
        keyed=True,
        problems=REFUSALS,
        description="The grant may be used until the next report. An `id` is used once; the same start again gets the"
        " same answer.",
    ),
    Operation(
        "POST",
        "/v1/charging/sessions/{id}/update",
        update_charging,
        "Report what was used, and ask for more",
        "charging.charge",
        answer=ChargingReply,
        body=ChargingUpdate,
        examples=UPDATES,
        problems=REFUSALS,
        description="`number` is its key: the same number again gets the same answer, and charges nothing. A line that"
        " gets no grant says why in its `result`; what it reports is charged all the same.",
    ),
    Operation(
        "POST",
        "/v1/charging/sessions/{id}/stop",
        stop_charging,
        "The session is over: report the rest, release what is held",
        "charging.charge",
        answer=ChargingReply,
        body=ChargingStop,
        examples=STOPS,
        problems=REFUSALS,
        description="`number` is its key. `cost` is what all of the session cost.",
    ),
    Operation(
        "POST",
        "/v1/charging/events",
        charge_event,
        "Debit something at once, give it back, ask for its price or whether there is enough",
        "charging.charge",
        answer=ChargingReply,
        body=ChargingEvent,
        examples=EVENTS,
        keyed=True,
        problems=REFUSALS,
        description="All or nothing for each line. With a `time`, which a repeat has to state again, it costs one call"
        " to the live store; without one PostgreSQL is asked first whether it is a repeat.",
    ),
)
