"""What a process saw of a request, in words."""

from __future__ import annotations

import base64
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from balances.structs.blob import blob_of
from balances.structs.charge import Ask, Flag, LineOutcome, Outcome, Phase, Result, UsageReport
from ocs.api.schema_traces import MessageView, SightingView, TracedCall, TracedLine, TraceTimes, TraceView
from ocs.api.texts import time_of
from ocs.tracing.sighting import SeenMessage, Sighting, StoreCall
from ocs.tracing.wish import TraceWish
from protocol.diameter.tree import dump as diameter_dump
from protocol.errors import ProtocolError
from protocol.radius.attribute_table import AttributeTable
from protocol.radius.dump import dump as radius_dump
from protocol.radius.refused import RadiusError
from tariffs import phrases
from tariffs.ladder import Ladder
from tariffs.units import Kind

UTC: Final = ZoneInfo("UTC")
NOT_SAID: Final = "not said by the process that served it"
_outcome: Final = msgspec.msgpack.Decoder(Outcome).decode
_ladder: Final = msgspec.msgpack.Decoder(Ladder).decode


def trace_view(wish: TraceWish) -> TraceView:
    return TraceView(
        wish.id,
        wish.caller,
        time_of(wish.began_ms),
        time_of(wish.until_ms),
        wish.subscriber or None,
        wish.peer or None,
        wish.session or None,
        list(wish.identities),
        wish.known,
    )


def sighting_view(seen: Sighting, missed: int, known: AttributeTable) -> SightingView:
    """
    missed:  how many the viewer was too slow for
    known:   attributes of RADIUS that have names
    """
    is_served = not seen.ours and seen.request is not None
    return SightingView(
        seen.host,
        seen.process,
        seen.dropped,
        missed,
        seen.protocol,  # type: ignore[arg-type]  # we wrote it
        seen.ours,
        seen.peer,
        seen.local,
        seen.remote,
        seen.session,
        list(seen.identities),
        _message(seen.request, seen.protocol, known),
        _message(seen.answer, seen.protocol, known),
        (seen.why or NOT_SAID) if is_served and seen.answer is None else None,
        [_call(one) for one in seen.calls],
        _times(seen),
    )


def _message(message: SeenMessage | None, protocol: str, known: AttributeTable) -> MessageView | None:
    if message is None:
        return None
    try:
        if protocol == "diameter":
            text = diameter_dump(message.octets)
        elif protocol == "radius":
            text = radius_dump(message.octets, known)
        else:
            text = message.octets.decode(errors="replace")
    except (ProtocolError, RadiusError, ValueError) as why:
        text = f"cannot be decoded: {why}"
    return MessageView(message.at_us, base64.b64encode(message.octets).decode(), text.split("\n"))


def _times(seen: Sighting) -> TraceTimes:
    replied = [one for one in seen.calls if one.replied_us >= 0]
    is_decoded, is_answered = seen.decoded_us >= 0, seen.answered_us >= 0
    last = replied[-1].replied_us if replied else seen.decoded_us
    return TraceTimes(
        wait=seen.began_us,
        decode=seen.decoded_us - seen.began_us if is_decoded else None,
        rate=seen.calls[0].sent_us - seen.decoded_us if seen.calls and is_decoded else None,
        store=sum(one.replied_us - one.sent_us for one in replied) if replied else None,
        encode=seen.answered_us - last if is_answered and last >= 0 else None,
        total=seen.answered_us if is_answered else None,
    )


def _call(call: StoreCall) -> TracedCall:
    charge = call.charge
    outcome = _outcome(call.outcome) if call.outcome else None
    lines = outcome.lines if outcome is not None else []
    found = {(line.rating_group, line.service_id, line.unit if line.secondary else -1): line for line in lines}
    return TracedCall(
        charge.account,
        charge.subscriber,
        charge.service,
        Phase(charge.phase).name.lower(),
        call.status,
        call.error or None,
        [str(flag.name).lower() for flag in Flag(call.marks)],
        _result(outcome.result) if outcome is not None else None,
        [
            _line(ask, found.get((ask.rating_group, ask.service_id, ask.unit if ask.secondary else -1)))
            for ask in charge.asks
        ],
        phrases.money(outcome.cost) if outcome is not None else None,
        phrases.money(outcome.balance) if outcome is not None else None,
        call.replied_us - call.sent_us if call.replied_us >= 0 else None,
    )


def _line(ask: Ask, outcome: LineOutcome | None) -> TracedLine:
    packed = blob_of(ask.ladder)
    ladder = _ladder(packed) if packed else None
    asked = None if ask.asked < 0 else phrases.quantity(ask.unit, ask.asked) if ask.asked else "default"
    is_granted = outcome is not None and outcome.granted > 0
    return TracedLine(
        ask.rating_group,
        ask.service_id,
        Kind(ask.unit).name.lower(),
        [_reported(report) for report in ask.reports],
        asked,
        ladder.tag if ladder is not None else None,
        phrases.ladder(ladder, ask.unit, UTC, "") if ladder is not None else [],
        _result(outcome.result) if outcome is not None else _result(ask.refusal) if ask.refusal else None,
        phrases.quantity(outcome.unit, outcome.granted) if outcome is not None and is_granted else None,
        outcome.validity_ms // 1_000 if outcome is not None and is_granted else None,
        outcome.final if outcome is not None else False,
        phrases.money(outcome.cost) if outcome is not None else None,
        phrases.money(outcome.debited) if outcome is not None else None,
    )


def _reported(report: UsageReport) -> str:
    amounts = ((Kind.MONEY, report.money), (Kind.OCTETS, report.octets), (Kind.SECONDS, report.seconds))
    said = [
        phrases.money(amount) if kind == Kind.MONEY else phrases.quantity(kind, amount)
        for kind, amount in (*amounts, (Kind.UNITS, report.units))
        if amount >= 0
    ]
    return ", ".join(said) + (" in all" if report.cumulative else "")


def _result(number: int) -> str:
    return Result(number).name.lower().replace("_", "-")
