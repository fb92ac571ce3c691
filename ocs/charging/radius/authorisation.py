"""Access-Request -> the hold that is placed for it, and what a NAS is told of that (charging.md section 8). Pure."""

from __future__ import annotations

from typing import Final

from balances.structs.charge import Course, Phase, Result
from ocs.charging.radius.accounting import PERIODS_HELD, message_of
from ocs.charging.radius.affordable import Affordable
from ocs.charging.radius.delivery import served, walled_garden
from ocs.charging.radius.identities import identities_at
from ocs.charging.radius.names import SessionReference, client_name
from ocs.charging.radius.nas import NasProfile
from ocs.charging.radius.rating_inputs import inputs_of
from ocs.charging.radius.vendor_profile import TIMEOUT_MAX, VendorProfile
from ocs.charging.request import (
    AskedLine,
    ChargingAnswer,
    ChargingRequest,
    Origin,
    RequestKey,
    SessionCourse,
    Style,
    Units,
)
from ocs.charging.services import Service
from protocol.radius.dictionary.standard import ACCT_INTERIM_INTERVAL, CLASS, REPLY_MESSAGE, SESSION_TIMEOUT
from protocol.radius.packet import Packet

ADOPTED_WITHIN_S: Final = 60
"""So long a hold waits for the Start of its session."""
INTERIM_S_MIN: Final = 60
"""RFC 2869 section 5.16."""
DEPLETED_IN: Final = 3
"""So many reports come before the money ends, where that is soon."""
TEXT_MAX: Final = 253


def to_hold(
    packet: Packet,
    nas: NasProfile,
    reference: SessionReference,
    via: str,
    arrival_ms: int,
    sessions_max: int | None = None,
    replaces: tuple[str, ...] = (),
) -> ChargingRequest:
    """What is held from now on, until the accounting session adopts it. Each one of a port replaces the one before.

    sessions_max, replaces:  as of a ChargingRequest
    """
    return ChargingRequest(
        origin=Origin(client_name(nas, packet), via=via),
        key=RequestKey(reference.hold, number=arrival_ms // 1_000, message=message_of(packet)),
        phase=Phase.START,
        identities=identities_at(packet, nas),
        event_ms=arrival_ms,
        lines=lines_of(nas),
        style=Style.LINES,
        inputs=inputs_of(packet, nas),
        held_s=ADOPTED_WITHIN_S,
        sessions_max=sessions_max,
        replaces=replaces,
    )


def to_continue(
    packet: Packet, nas: NasProfile, session: str, reference: SessionReference, via: str, arrival_ms: int
) -> ChargingRequest:
    """Authenticated again inside a session that is open: it goes on, with what it holds anew."""
    return ChargingRequest(
        origin=Origin(client_name(nas, packet), via=via),
        key=RequestKey(session, message=message_of(packet)),
        phase=Phase.UPDATE,
        identities=identities_at(packet, nas),
        event_ms=arrival_ms,
        lines=lines_of(nas),
        style=Style.LINES,
        inputs=inputs_of(packet, nas),
        course=SessionCourse(Course.GOES_ON),
        held_s=PERIODS_HELD * nas.interim_s,
    )


def lines_of(nas: NasProfile) -> tuple[AskedLine, ...]:
    wanted = Units(octets=0, seconds=PERIODS_HELD * nas.interim_s)
    groups = (nas.input_group, nas.output_group)
    apart = tuple(AskedLine(group, None, wanted) for group in groups if group is not None)
    return apart if None not in groups else (AskedLine(None, None, wanted), *apart)


def refusal_of(answer: ChargingAnswer) -> Result | None:
    """Why nothing can be used, None where something can: of several lines the first one's reason."""
    results = [line.result for line in answer.lines] or [answer.result]
    served = (Result.OK, Result.NOT_APPLICABLE, Result.NO_GRANT, Result.REMEMBERED)
    return None if any(result in served for result in results) else results[0]


def stays_in_the_garden(answer: ChargingAnswer) -> int | None:
    """How many seconds a subscriber without money may stay in the walled garden; None where there is no such."""
    return next((line.validity_s for line in answer.lines if line.final is not None and line.granted is None), None)


def accepted(
    reference: SessionReference,
    nas: NasProfile,
    vendor: VendorProfile,
    service: Service,
    grade: str,
    left: Affordable,
) -> bytes:
    """Attributes of an Access-Accept, but for those of the subscriber.

    grade:  it is served by, "" for none
    left:   what the account can pay for
    """
    body = CLASS.pack(reference.octets) + served(vendor, service, grade, left)
    return body + ACCT_INTERIM_INTERVAL.pack(interim_of(nas, left, service.octets.default))


def let_into_the_garden(
    reference: SessionReference, nas: NasProfile, vendor: VendorProfile, service: Service, stays_s: int
) -> bytes:
    """Attributes of an Access-Accept without money; nothing where this maker has no words for a walled garden."""
    garden = walled_garden(vendor, service.final)
    if not garden:
        return b""
    ends = SESSION_TIMEOUT.pack(max(1, min(stays_s, TIMEOUT_MAX))) + ACCT_INTERIM_INTERVAL.pack(nas.interim_s)
    return CLASS.pack(reference.octets) + garden + ends


def interim_of(nas: NasProfile, left: Affordable, default_octets: int) -> int:
    """Seconds between reports: as it is configured, or less where the money ends sooner than a few of these."""
    ends_s = [nas.interim_s * DEPLETED_IN]
    if left.seconds is not None:
        ends_s.append(left.seconds)
    if left.octets is not None:
        ends_s.append(left.octets * PERIODS_HELD * nas.interim_s // max(default_octets, 1))
    return max(min(ends_s) // DEPLETED_IN, INTERIM_S_MIN)


def said(words: str) -> bytes:
    return REPLY_MESSAGE.pack(words[:TEXT_MAX]) if words else b""
