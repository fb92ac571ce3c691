"""Accounting-Request -> ChargingRequest (charging.md section 8). Pure.

A packet shows all its session used since it began; what of that is new, the store says. What its service counts in, its
tariff says: octets and time go along side by side.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from msgspec.structs import replace

from balances.structs.charge import SAME_START_MS, Course, Cumulative, Phase
from ocs.charging.radius.identities import identities_at
from ocs.charging.radius.names import client_name, identification_of, reference_in, session_name
from ocs.charging.radius.nas import NasProfile
from ocs.charging.radius.rating_inputs import inputs_of
from ocs.charging.radius.service_sessions import ServiceSession, service_session
from ocs.charging.request import AskedLine, ChargingRequest, Origin, RequestKey, SessionCourse, Style, Units, Used
from ocs.charging.settings import ChargingSettings
from protocol.radius.counters import GIGAWORD, input_octets, output_octets
from protocol.radius.dictionary.standard import (
    ACCT_DELAY_TIME,
    ACCT_SESSION_ID,
    ACCT_SESSION_TIME,
    ACCT_STATUS_TYPE,
    EVENT_TIMESTAMP,
)
from protocol.radius.dictionary.values import AcctStatusType
from protocol.radius.packet import Packet
from protocol.radius.refused import PacketFault, RadiusError

STEPS: Final = {
    AcctStatusType.START: Course.BEGINS,
    AcctStatusType.INTERIM_UPDATE: Course.GOES_ON,
    AcctStatusType.STOP: Course.ENDS,
}
"""What is charged. The others are acknowledged: On and Off end sessions, of Failed and of tunnels nothing was used."""

PHASES: Final = {Course.BEGINS: Phase.START, Course.GOES_ON: Phase.UPDATE, Course.ENDS: Phase.STOP}
INPUT, OUTPUT, TIME = 1, 2, 3
"""Places of the counters of a line."""
PERIODS_HELD: Final = 2
"""Interim periods that a running session holds for."""
MESSAGE_OCTETS: Final = 6
"""Of the Request Authenticator: so many a script can count with."""


def status_of(packet: Packet) -> int:
    """Acct-Status-Type. RadiusError where there is none: it says nothing that could be done."""
    status = packet.get(ACCT_STATUS_TYPE)
    if status is None:
        raise RadiusError(PacketFault.ATTRIBUTE, "an Accounting-Request without Acct-Status-Type")
    return status


def event_ms_of(packet: Packet, arrival_ms: int) -> int:
    """When it was, by the clock of the NAS where it has one, else by ours."""
    return event_ms_at(packet.get(EVENT_TIMESTAMP), packet.get(ACCT_DELAY_TIME), arrival_ms)


def event_ms_at(stamp: int | None, delay_s: int | None, arrival_ms: int) -> int:
    """The same of Event-Timestamp and Acct-Delay-Time."""
    return arrival_ms - 1_000 * (delay_s or 0) if not stamp else stamp * 1_000


def believed_ms_of(packet: Packet, arrival_ms: int, settings: ChargingSettings) -> int:
    """The same, by our clock where that of the NAS cannot be right (charging.md section 6)."""
    event_ms = event_ms_of(packet, arrival_ms)
    if arrival_ms - settings.event_behind_ms <= event_ms <= arrival_ms + settings.event_ahead_ms:
        return event_ms
    return arrival_ms


def message_of(packet: Packet) -> int:
    """By which a packet is known again: the authenticator of a retransmission is the same."""
    return message_in(packet.authenticator)


def message_in(authenticator: bytes) -> int:
    return int.from_bytes(authenticator[:MESSAGE_OCTETS])


def to_charging(
    packet: Packet, nas: NasProfile, via: str, arrival_ms: int, settings: ChargingSettings
) -> ChargingRequest:
    """Of a Start, Interim-Update or Stop. RadiusError: it names no session.

    via:  the address it came from
    """
    session_id = packet.get(ACCT_SESSION_ID)
    if not session_id:
        raise RadiusError(PacketFault.ATTRIBUTE, "an Accounting-Request without Acct-Session-Id")
    step = STEPS[AcctStatusType(status_of(packet))]
    event_ms = believed_ms_of(packet, arrival_ms, settings)
    lasted_s = packet.get(ACCT_SESSION_TIME)
    if lasted_s is None and step is Course.BEGINS:
        lasted_s = 0
    began_ms = 0 if lasted_s is None else max(event_ms - lasted_s * 1_000, 0)
    reference = reference_in(packet)
    service = service_session(packet, session_id) if nas.services else None
    if service is not None and service.name not in nas.services:
        service = None  # a session of its own
    token, adopts = (reference.token, reference.hold) if reference else ("", "")
    course = SessionCourse(step, token, began_ms, -1 if lasted_s is None else lasted_s, adopts)
    shown = shown_by(packet, nas, step, lasted_s)
    lines = lines_of(shown)
    if service is not None:  # its begin and end are those of a line, and say nothing of the session
        session_id, began_ms, course = service.parent, 0, SessionCourse(Course.GOES_ON, token)
        lines = (line_of(shown, group=nas.services[service.name], service=service),)
    return ChargingRequest(
        origin=Origin(
            client_name(nas, packet),
            via=via,
            restarts=began_ms // 1_000,
            identification=identification_of(packet, nas, "" if service is None else service.parent),
        ),
        key=RequestKey(session_name(nas, packet, session_id), message=message_of(packet)),
        # Who was not authorised here is stopped by nobody: what was used is charged, and nothing is held.
        phase=PHASES[course.step] if reference else Phase.RECORD,
        identities=identities_at(packet, nas),
        event_ms=event_ms_of(packet, arrival_ms),
        lines=lines,
        style=Style.LINES,
        inputs=inputs_of(packet, nas),
        course=course,
        held_s=PERIODS_HELD * nas.interim_s,
    )


def is_mistakable(course: SessionCourse | None) -> bool:
    """Whether another session of this name, of before its NAS restarted, may have begun within the same minute."""
    if course is None or not course.began_ms:
        return False
    return course.step is Course.BEGINS or (not course.token and course.lasted_s * 1_000 <= SAME_START_MS)


def after_restart(request: ChargingRequest, restarted_ms: int) -> ChargingRequest:
    """restarted_ms: when its NAS last lost all that began before, 0 where it never said so."""
    assert request.course is not None
    if not restarted_ms:
        return request
    return replace(request, course=replace(request.course, restarted_ms=restarted_ms))


class Shown(NamedTuple):
    """What a packet shows, and whether more comes: something is held for that, or it is looked whether it is paid."""

    nas: NasProfile
    octets: dict[int, int]
    """By place of the counter, those that are there."""
    lasted_s: int | None
    goes_on: bool


def shown_by(packet: Packet, nas: NasProfile, step: Course, lasted_s: int | None) -> Shown:
    both = {INPUT: input_octets(packet), OUTPUT: output_octets(packet)}
    octets = {place: value for place, value in both.items() if value is not None}
    return Shown(nas, octets, lasted_s, step is not Course.ENDS)


def lines_of(shown: Shown) -> tuple[AskedLine, ...]:
    """The session, or the session and each direction that is rated by itself."""
    groups = {INPUT: shown.nas.input_group, OUTPUT: shown.nas.output_group}
    apart = [line_of(shown, (place,), group) for place, group in groups.items() if group is not None]
    rest = tuple(place for place, group in groups.items() if group is None)
    return (line_of(shown, (*rest, TIME)), *apart) if rest else tuple(apart)


def line_of(
    shown: Shown,
    places: tuple[int, ...] = (INPUT, OUTPUT, TIME),
    group: int | None = None,
    service: ServiceSession | None = None,
) -> AskedLine:
    """One line, with these counters."""
    nas, octets, lasted_s, goes_on = shown
    used = []
    for place in places:
        if place in octets:
            # One that comes with Gigawords has more than 32 bits, whatever is configured.
            wraps_at = GIGAWORD if nas.wraps and octets[place] < GIGAWORD else 0
            counter = Cumulative(place, wraps_at, nas.octets_per_s)
            used.append(Used(Units(octets=octets[place]), counter=counter))
    if TIME in places and lasted_s:
        used.append(Used(Units(seconds=lasted_s), counter=Cumulative(TIME, 0, 1)))
    wish = None
    if goes_on:
        total = sum(octets[place] for place in places if place in octets)
        wish = Units(octets=_expected(total, lasted_s, nas), seconds=PERIODS_HELD * nas.interim_s)
    return AskedLine(group, None if service is None else service.service_id, wish, tuple(used))


def _expected(octets: int, lasted_s: int | None, nas: NasProfile) -> int:
    """What two interim periods may use, as the session went so far; 0: nobody knows, the service says."""
    return octets * PERIODS_HELD * nas.interim_s // lasted_s if lasted_s else 0
