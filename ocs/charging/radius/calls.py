"""Calls of a voice gateway: what an Access-Request asks for and what its legs report -> ChargingRequest (charging.md
section 8, docs/radius.md). Pure.

A call is one session of all its legs and gateways, named by h323-conf-id. What it used is a counter of it: how long it
was connected. The second leg that reports shows the same counter, and gains nothing.
"""

from __future__ import annotations

from typing import Final

import msgspec

from balances.structs.charge import Course, Cumulative, Phase
from ocs.charging.identity import party
from ocs.charging.radius.accounting import PHASES, STEPS, TIME, believed_ms_of, message_of, status_of
from ocs.charging.radius.asterisk import call_detail
from ocs.charging.radius.h323 import between_ms, call_times, clock_reading, conference
from ocs.charging.radius.identities import identities_at, identities_named
from ocs.charging.radius.names import (
    SessionReference,
    client_name,
    identification_of,
    reference_in,
    session_name,
)
from ocs.charging.radius.nas import NasProfile
from ocs.charging.radius.rating_inputs import inputs_of
from ocs.charging.request import AskedLine, ChargingRequest, Origin, RequestKey, SessionCourse, Style, Units, Used
from ocs.charging.services import Service
from ocs.charging.settings import ChargingSettings
from protocol.radius.dictionary.standard import ACCT_SESSION_ID, ACCT_SESSION_TIME
from protocol.radius.dictionary.values import AcctStatusType
from protocol.radius.packet import Packet
from protocol.radius.refused import PacketFault, RadiusError

VOICE: Final = "voice"
"""The row of services whose clients are voice gateways."""
RINGS_S: Final = 180
"""So long a hold waits for the Start of a call, which some gateways send when it is answered (Q.931 T301)."""


def call_name(packet: Packet, nas: NasProfile) -> str:
    """The session that a call is: of all gateways of a group by its conference, else by its Acct-Session-Id; "" where
    neither is said."""
    named = conference(packet)
    if named:
        return f"radius:{nas.group};call;{named}"
    session_id = packet.get(ACCT_SESSION_ID)
    return session_name(nas, packet, session_id) if session_id else ""


def to_call(
    packet: Packet, nas: NasProfile, service: Service, reference: SessionReference, via: str, arrival_ms: int
) -> ChargingRequest:
    """What is held for a call before it is made: all that it is told that it may last.

    reference:  its hold, where the call has no name yet; its token tells a call from the one before of the same name
    """
    name = call_name(packet, nas)
    return ChargingRequest(
        origin=Origin(
            client_name(nas, packet),
            via=via,
            restarts=arrival_ms // 1_000,
            identification=identification_of(packet, nas),
        ),
        key=RequestKey(name or reference.hold, number=arrival_ms // 1_000, message=message_of(packet)),
        phase=Phase.START,
        identities=identities_at(packet, nas),
        event_ms=arrival_ms,
        lines=(AskedLine(None, None, Units(seconds=service.seconds.maximum)),),
        style=Style.LINES,
        inputs=inputs_of(packet, nas),
        course=SessionCourse(Course.BEGINS, reference.token) if name else None,
        held_s=RINGS_S,
    )


def to_leg(
    packet: Packet, nas: NasProfile, service: Service, via: str, arrival_ms: int, settings: ChargingSettings
) -> ChargingRequest:
    """Of a Start, Interim-Update or Stop of a leg. RadiusError: it names no call, or says nothing of how long it was
    connected."""
    name = call_name(packet, nas)
    if not name:
        raise RadiusError(PacketFault.ATTRIBUTE, "an Accounting-Request without h323-conf-id and Acct-Session-Id")
    step = STEPS[AcctStatusType(status_of(packet))]
    detail = call_detail(packet)
    event_ms = ended_ms(detail.ended if detail else call_times(packet).disconnect, arrival_ms, settings)
    if event_ms is None or step is not Course.ENDS:
        event_ms = believed_ms_of(packet, arrival_ms, settings)
    connected_s = detail.connected_s if detail else connected_s_of(packet, step, event_ms)
    identities, inputs = identities_at(packet, nas), inputs_of(packet, nas)
    if detail is not None:
        identities = identities_named(detail.account, detail.calling)
        inputs = msgspec.structs.replace(inputs, calling=party(detail.calling), called=party(detail.called))
    used = (Used(Units(seconds=connected_s), counter=Cumulative(TIME, 0, 1)),) if connected_s else ()
    wanted = None if step is Course.ENDS else Units(seconds=max(service.seconds.maximum - connected_s, 1))
    reference = None if conference(packet) else reference_in(packet)
    return ChargingRequest(
        origin=Origin(
            client_name(nas, packet),
            via=via,
            restarts=(event_ms - connected_s * 1_000) // 1_000,
            identification=identification_of(packet, nas),
        ),
        key=RequestKey(name, message=message_of(packet)),
        phase=Phase.UPDATE if step is Course.BEGINS else PHASES[step],  # of a call that is held for already, or is not
        identities=identities,
        event_ms=event_ms,
        lines=(AskedLine(None, None, wanted, used),),
        style=Style.LINES,
        inputs=inputs,
        # Nothing of when it began: legs of one call begin at different instants.
        course=SessionCourse(step, adopts=reference.hold if reference else ""),
        held_s=service.seconds.maximum + RINGS_S,
    )


def ended_ms(text: str, arrival_ms: int, settings: ChargingSettings) -> int | None:
    """When the call ended, by a clock that is synchronised; None where nobody knows or it cannot be."""
    reading = clock_reading(text)
    if reading is None or not reading.is_set or reading.at_ms is None:
        return None
    earliest, latest = arrival_ms - settings.event_behind_ms, arrival_ms + settings.event_ahead_ms
    return reading.at_ms if earliest <= reading.at_ms <= latest else None


def connected_s_of(packet: Packet, step: Course, event_ms: int) -> int:
    """How long the call is connected, in whole seconds: one that has only begun does not count, so that a call that is
    cut at its end costs what it was told; the first one does. One that never connected: 0. By the instants of setup,
    connect and disconnect where the gateway says them, else by Acct-Session-Time."""
    setup, connect, disconnect = call_times(packet)
    stated = packet.get(ACCT_SESSION_TIME)
    if not connect:
        return 0 if setup or disconnect else stated or 0
    began = clock_reading(connect)
    if step is Course.ENDS:
        ended = clock_reading(disconnect)
        passed_ms = between_ms(began, ended) if began and ended else None
        was_set = began is not None and ended is not None and began.is_set != ended.is_set  # inside the call
        if passed_ms is not None and (stated is None or not was_set):
            return max(passed_ms // 1_000, 1) if passed_ms else 0
    passed_ms = None if began is None or began.at_ms is None else max(event_ms - began.at_ms, 0)
    known_s = [one for one in (stated, None if passed_ms is None else passed_ms // 1_000) if one is not None]
    if step is Course.ENDS and stated is not None:
        return stated
    if not known_s:
        if step is Course.ENDS:
            why = f"{connect!r} and {disconnect!r}: expected two instants of one clock, or Acct-Session-Time"
            raise RadiusError(PacketFault.VALUE, f"h323-connect-time, h323-disconnect-time: {why}")
        return 0  # the Stop will say it
    return min(known_s)
