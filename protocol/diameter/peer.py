"""Peers without I/O: what to do when something happens on a connection. The tables are in `peer_machine.py`.

The caller owns sockets and clock. It tells a connection what happened and does the actions it gets back, in order:

    connection = table.accepted(now_ms)
    for frame in buffer.feed(data):
        for action in connection.received(frame, now_ms): ...

Requests are delivered from the moment the CER is accepted, in the order they came, also those in its segment.
"""

from collections.abc import Callable

from protocol.diameter.dictionary.base import CapabilitiesExchangeRequest, DisconnectCause
from protocol.diameter.local_node import LocalNode, OriginStates
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

# Whom a newcomer has to wait for, first the one that is waiting itself: of three, the third is rejected.
RIVALS = (PeerState.ELECTING, PeerState.OPEN, PeerState.WAIT_CEA, PeerState.CONNECTING)


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
        self.node = LocalNode(local, timers, admit, jitter_ms, end_to_end)
        self.several = several
        self.connections: set[PeerConnection] = set()

    def accepted(self, now_ms: int) -> PeerConnection:
        """Somebody connected; who it is, its CER will say."""
        due_ms = now_ms + self.node.timers.capabilities_ms
        return self._add(PeerConnection(self.node, self, PeerState.WAIT_CER, None, due_ms, reopened=False))

    def dial(self, origin_host: str, now_ms: int, *, reopened: bool = False) -> PeerConnection:
        """We connect. `reopened`: the watchdog gave this peer up before, so it is trusted after three DWAs only."""
        due_ms = now_ms + self.node.timers.connect_ms
        return self._add(PeerConnection(self.node, self, PeerState.CONNECTING, origin_host, due_ms, reopened=reopened))

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

    def _add(self, connection: PeerConnection) -> PeerConnection:
        self.connections.add(connection)
        return connection

    # ---- for its connections: Rivals

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

    def ended(self, connection: PeerConnection) -> None:
        self.connections.discard(connection)

    def elect(self, rival: PeerConnection, now_ms: int, actions: Actions) -> None:
        """Decide between a connection and its challenger as far as it can be decided now (section 5.6.4)."""
        challenger = rival.challenger
        if challenger is None or challenger.peer is None:
            return
        match rival.state:
            case PeerState.ELECTING:  # a third one: R-Reject
                rival.challenger = challenger.rival = None
                challenger.step(PeerEvent.YIELDED, b"", now_ms, actions)
            case PeerState.WAIT_CEA if is_elected(self.node.local.origin_host, challenger.peer.origin_host):
                rival.step(PeerEvent.YIELDED, b"", now_ms, actions)  # Win-Election: its end lets the challenger in
            case PeerState.OPEN:
                # By the letter the newcomer is rejected; a client that crashed would be locked out for a minute.
                actions.append(Send(rival, rival.watchdog()))
            case _:
                pass  # Wait-Conn-Ack/Elect, Wait-Returns: the connection we dialled is not there yet


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
