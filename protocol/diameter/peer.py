"""Peers without I/O: what to do when something happens on a connection. The tables are in `peer_machine.py`.

The caller owns sockets and clock. It tells a connection what happened and does the actions it gets back, in order:

    connection = table.accepted(now_ms)
    for frame in buffer.feed(data):
        for action in connection.received(frame, now_ms): ...

Requests are delivered from the moment the CER is accepted, in the order they came, also those in its segment.
"""

from collections.abc import Callable
from typing import Any

from protocol.diameter.answers import error_answer
from protocol.diameter.dictionary.base import (
    RELAY,
    CapabilitiesExchangeAnswer,
    CapabilitiesExchangeRequest,
    DisconnectCause,
    VendorSpecificApplicationId,
)
from protocol.diameter.peer_actions import (
    Action,
    Actions,
    Close,
    DeliverAnswer,
    DeliverRequest,
    Dropped,
    LocalPeer,
    PeerDown,
    PeerLeaving,
    PeerUp,
    Recovered,
    RemotePeer,
    Restarted,
    Send,
    Suspect,
    Timers,
)
from protocol.diameter.peer_connection import PeerConnection
from protocol.diameter.peer_machine import PeerEvent, PeerState, is_elected
from protocol.errors import ProtocolError, ResultCode

MAX_ORIGINS = 4096  # hosts whose Origin-State-Id is remembered

# Whom a newcomer has to wait for, first the one that is waiting itself: of three, the third is rejected.
RIVALS = (PeerState.ELECTING, PeerState.OPEN, PeerState.WAIT_CEA, PeerState.CONNECTING)


class OriginStates:
    """The greatest Origin-State-Id seen of each host (RFC 6733 section 8.16). Also of use for hosts behind a relay."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def rose(self, origin_host: str, origin_state_id: int) -> bool:
        """Whether the host restarted: a greater value than before. 0 says nothing, the first one neither."""
        host = origin_host.lower()
        before = self._seen.get(host)
        if origin_state_id == 0 or (before is not None and origin_state_id <= before):
            return False
        if before is None and len(self._seen) >= MAX_ORIGINS:
            self._seen.pop(next(iter(self._seen)))
        self._seen[host] = origin_state_id
        return before is not None


class PeerTable:
    """All connections of a process, and who gives way when a peer connects twice.

    admit(cer)            whether this peer is known
    several(origin_host)  whether it may hold more than one connection
    jitter_ms()           -2000..2000, drawn anew by the caller each time
    end_to_end            the first End-to-End Identifier (RFC 6733 section 3: time and randomness, so the caller's)
    """

    def __init__(
        self,
        local: LocalPeer,
        timers: Timers,
        *,
        admit: Callable[[CapabilitiesExchangeRequest], bool],
        several: Callable[[str], bool],
        jitter_ms: Callable[[], int],
        end_to_end: int,
    ) -> None:
        self.local, self.timers, self.admit, self.several, self.jitter_ms = local, timers, admit, several, jitter_ms
        self.connections: set[PeerConnection] = set()
        self.origins = OriginStates()
        self._end_to_end = end_to_end
        self.capabilities: dict[str, Any] = {
            "origin_host": local.origin_host,
            "origin_realm": local.origin_realm,
            "host_ip_address": local.host_ip_addresses,
            "vendor_id": local.vendor_id,
            "product_name": local.product_name,
            "origin_state_id": local.origin_state_id,
            "supported_vendor_id": local.supported_vendors,
            "auth_application_id": local.auth_applications,
            "acct_application_id": local.acct_applications,
            "vendor_specific_application_id": tuple(
                VendorSpecificApplicationId(vendor_id=vendor, auth_application_id=application)
                for vendor, application in local.vendor_specific
            ),
            "firmware_revision": local.firmware_revision,
        }

    def accepted(self, now_ms: int) -> PeerConnection:
        """Somebody connected; who it is, its CER will say."""
        return self._add(
            PeerConnection(self, PeerState.WAIT_CER, None, now_ms + self.timers.capabilities_ms, reopened=False)
        )

    def dial(self, origin_host: str, now_ms: int, *, reopened: bool = False) -> PeerConnection:
        """We connect. `reopened`: the watchdog gave this peer up before, so it is trusted after three DWAs only."""
        return self._add(
            PeerConnection(self, PeerState.CONNECTING, origin_host, now_ms + self.timers.connect_ms, reopened=reopened)
        )

    def tick(self, now_ms: int) -> Actions:
        actions: Actions = []
        for connection in [c for c in self.connections if c.due_ms <= now_ms]:
            if connection in self.connections:  # an election may have ended it meanwhile
                connection.tick(now_ms, actions)
        return actions

    @property
    def next_tick_ms(self) -> int | None:
        return min((connection.due_ms for connection in self.connections), default=None)

    def stop(self, cause: DisconnectCause, now_ms: int) -> Actions:
        """DPR to everyone who is open; the others are closed."""
        return [action for connection in list(self.connections) for action in connection.stop(cause, now_ms)]

    def usable(self, origin_host: str) -> list[PeerConnection]:
        """Where new requests for this peer may go."""
        host = origin_host.lower()
        return [c for c in self.connections if c.is_usable and c.peer and c.peer.origin_host.lower() == host]

    def next_end_to_end(self) -> int:
        self._end_to_end = self._end_to_end + 1 & 0xFFFFFFFF
        return self._end_to_end

    # ---- for its connections

    def _add(self, connection: PeerConnection) -> PeerConnection:
        self.connections.add(connection)
        return connection

    def peer_of(self, said: CapabilitiesExchangeRequest | CapabilitiesExchangeAnswer) -> RemotePeer:
        theirs = {*said.auth_application_id, *said.acct_application_id}
        for one in said.vendor_specific_application_id:  # the vendor inside does not count (section 6.11)
            theirs |= {one.auth_application_id, one.acct_application_id} - {None}  # type: ignore[arg-type]
        ours = self.local.applications
        return RemotePeer(
            origin_host=said.origin_host,
            origin_realm=said.origin_realm,
            applications=ours if RELAY in theirs or RELAY in ours else ours & theirs,
            is_relay=RELAY in theirs,
            origin_state_id=said.origin_state_id,
            product_name=said.product_name,
            vendor_id=said.vendor_id,
            supported_vendors=said.supported_vendor_id,
            host_ip_addresses=said.host_ip_address,
        )

    def rival_of(self, newcomer: PeerConnection) -> PeerConnection | None:
        """The connection that keeps this newcomer from being opened at once."""
        assert newcomer.peer is not None
        host = newcomer.peer.origin_host.lower()
        if self.several(newcomer.peer.origin_host):
            return None
        rivals = [
            other
            for other in self.connections
            if other is not newcomer
            and other.state in RIVALS
            and (other.peer.origin_host if other.peer else other.dialled or "").lower() == host
        ]
        return min(rivals, key=lambda rival: RIVALS.index(rival.state), default=None)

    def elect(self, rival: PeerConnection, now_ms: int, actions: Actions) -> None:
        """Decide between a connection and its challenger as far as it can be decided now (section 5.6.4)."""
        challenger = rival.challenger
        if challenger is None or challenger.peer is None:
            return
        match rival.state:
            case PeerState.ELECTING:  # a third one: R-Reject
                rival.challenger = challenger.rival = None
                challenger.step(PeerEvent.YIELDED, b"", now_ms, actions)
            case PeerState.WAIT_CEA if is_elected(self.local.origin_host, challenger.peer.origin_host):
                rival.step(PeerEvent.YIELDED, b"", now_ms, actions)  # Win-Election: its end lets the challenger in
            case PeerState.OPEN:
                # By the letter the newcomer is rejected; a client that crashed would be locked out for a minute.
                actions.append(Send(rival, rival.watchdog()))
            case _:
                pass  # Wait-Conn-Ack/Elect, Wait-Returns: the connection we dialled is not there yet

    def error(self, request: bytes, error: ProtocolError | ResultCode) -> bytes:
        return error_answer(
            request,
            error,
            origin_host=self.local.origin_host,
            origin_realm=self.local.origin_realm,
            origin_state_id=self.local.origin_state_id,
            why="" if isinstance(error, ProtocolError) else error.name,
        )


__all__ = (
    "Action",
    "Actions",
    "Close",
    "DeliverAnswer",
    "DeliverRequest",
    "Dropped",
    "LocalPeer",
    "OriginStates",
    "RemotePeer",
    "PeerConnection",
    "PeerDown",
    "PeerLeaving",
    "PeerTable",
    "PeerUp",
    "Recovered",
    "Restarted",
    "Send",
    "Suspect",
    "Timers",
)
