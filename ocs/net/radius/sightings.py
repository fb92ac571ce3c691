"""What those who trace see of RADIUS: packets with their answers."""

from __future__ import annotations

from typing import Final, Protocol

from balances.keys import session_key
from ocs.charging.radius.calls import VOICE, call_name
from ocs.charging.radius.identities import identities_at
from ocs.charging.radius.names import nas_name, session_name
from ocs.clock import monotonic_us
from ocs.net.own_address import seen_from
from ocs.net.radius.clients import NasClient
from ocs.tracing.hidden import radius_hidden
from ocs.tracing.matching import WhoAndWhat
from ocs.tracing.traced_request import TracedRequest
from ocs.tracing.tracer import Tracer
from protocol.radius.codes import PacketCode
from protocol.radius.dictionary.standard import ACCT_SESSION_ID
from protocol.radius.packet import Packet
from protocol.radius.refused import RadiusError

PROTOCOL: Final = "radius"


class TracedBy(Protocol):
    """The socket that a packet came by (`server.RadiusSocket`)."""

    @property
    def codes(self) -> tuple[PacketCode, ...]: ...
    @property
    def is_secure(self) -> bool: ...
    @property
    def ours(self) -> tuple[str, int]: ...
    def send(self, octets: bytes, source: tuple[str, int]) -> None: ...


class RadiusSightings:
    def __init__(self, tracer: Tracer) -> None:
        self.tracer = tracer

    def request(
        self, octets: bytes, client: NasClient, source: tuple[str, int], ours: tuple[str, int]
    ) -> TracedRequest | None:
        """None: nobody wants to see it."""

        def about() -> WhoAndWhat | None:
            try:
                packet = Packet.decode(octets)
                session = packet.get(ACCT_SESSION_ID)
                if client.profile.service == VOICE:
                    named = call_name(packet, client.profile)
                else:
                    named = session_name(client.profile, packet, session) if session else ""
                return identities_at(packet, client.profile), session_key(named)
            except (RadiusError, ValueError):
                return None

        names = (client.name, source[0], client.over + client.block, _nas(octets))
        watched = self.tracer.wanting(octets, names, about)
        if not watched:
            return None
        trace = self.tracer.request(watched, PROTOCOL, client.name, seen_from(ours, source), source, monotonic_us())
        trace.received(radius_hidden(octets, self.tracer.known))
        found = about()
        if found is not None:
            trace.understood(*found)
        return trace


def _nas(octets: bytes) -> str:
    try:
        return nas_name(Packet.decode(octets))
    except (RadiusError, ValueError):
        return ""


class TracedSocket:
    """The socket of a traced packet: its answer is noted on the way out."""

    def __init__(self, by: TracedBy, trace: TracedRequest, tracer: Tracer) -> None:
        self._by, self._trace, self._known = by, trace, tracer.known
        self.codes, self.is_secure, self.ours = by.codes, by.is_secure, by.ours

    def send(self, octets: bytes, source: tuple[str, int]) -> None:
        self._trace.answered(radius_hidden(octets, self._known))
        self._by.send(octets, source)
