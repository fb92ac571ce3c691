"""One transport connection of a peer: octets in, frames through the peer machine, answers out in one write per turn.

What the machine says is done is done here; what a request means is the service's business (credit_control.py).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol, cast

from ocs.clock import monotonic_ms, monotonic_us, now_ms
from ocs.net.diameter.peers import GUEST, Peers
from protocol.diameter.dictionary.base import ORIGIN_HOST, CapabilitiesExchangeRequest
from protocol.diameter.frames import FrameBuffer
from protocol.diameter.header import REQUEST
from protocol.diameter.peek import first
from protocol.diameter.peer import Action, DeliverRequest, RemotePeer
from protocol.diameter.peer import PeerConnection as Machine
from protocol.errors import FrameError, ProtocolError, ResultCode

CER: Final = CapabilitiesExchangeRequest.code.to_bytes(3, "big")
WRITE_HIGH_BYTES: Final = 262_144
"""What a peer may leave unread before we stop reading from it."""
SKIP_BYTES_MAX: Final = 4 << 20
"""A message that is longer than we read, and not than this, is refused by itself; a longer one ends the connection."""
LINGER_S: Final = 1.0
"""A connection that ends waits so long for answers under way."""
CLOSED_BY_PEER: Final = "closed by the peer"
HALF_OPEN_S: Final = 10.0
"""One whose client has said all it has to say, but still listens: an answer later than that is of no use to it."""


class ConnectionOwner(Protocol):
    """What a connection asks of the node it belongs to (`node.Node`)."""

    peers: Peers
    message_bytes_max: int
    service: Service

    def made(self, link: DiameterConnection, transport: asyncio.Transport) -> None: ...
    def lost(self, link: DiameterConnection, error: Exception | None) -> None: ...
    def garbage(self, link: DiameterConnection, error: FrameError) -> None: ...
    def admits(self, link: DiameterConnection, cer: CapabilitiesExchangeRequest) -> bool: ...
    def claim(self, link: DiameterConnection) -> None: ...
    def heard(self, frame: bytes, action: Action, link: DiameterConnection) -> None: ...
    def has_output(self, link: DiameterConnection) -> None: ...
    def error(self, request: bytes, error: ProtocolError | ResultCode, why: str = "") -> bytes: ...


class DiameterConnection(asyncio.Protocol):
    """`machine` is its half of the protocol, `in_flight` its requests without an answer."""

    def __init__(
        self, node: ConnectionOwner, machine: Machine, number: int, address: str, *, dialled: bool = False
    ) -> None:
        self.node, self.machine, self.number, self.address = node, machine, number, address
        self.certified: frozenset[str] | None = None
        self.in_flight = 0
        self.heard_us = self.heard_at_ms = 0  # when the octets now served arrived, on the running and the wall clock
        self.peer: RemotePeer | None = None
        self.peer_host = ""
        self.peer_name = GUEST
        """Of a configured peer, for what is counted."""
        self.admitted = False
        self.open = False
        self.ours, self.theirs = ("", 0), (address, 0)
        """Both ends of the transport: address and port."""
        self.gone = asyncio.Event()
        self._transport: asyncio.Transport | None = None
        self._frames = FrameBuffer(node.message_bytes_max, SKIP_BYTES_MAX)
        self._out: list[bytes] = []
        self._met = dialled  # who dials knows whom
        self._held: list[bytes] | None = None  # frames behind a CER whose claim is undecided
        self.waiting: deque[bytes] = deque()
        """Requests that were read and are neither served nor refused yet; while there are any, no more are read."""
        self._unread = False  # the peer does not read its answers
        self._tell_alive: Callable[[bool], None] | None = None
        self._ending = ""
        self._linger_s = LINGER_S
        self._said_all = False  # the peer shut its write side

    # ---- the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = self._transport = cast(asyncio.Transport, transport)  # uvloop's are not instances of it
        transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES)
        self.open = True
        ends = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
        if all(isinstance(end, tuple) for end in ends):  # a Unix socket has names
            self.ours, self.theirs = (end[:2] for end in ends)
        self.node.made(self, transport)

    def data_received(self, data: bytes) -> None:
        broken = None
        try:
            frames = self._frames.feed(data)
        except FrameError as error:
            broken, frames = error, error.frames
        if self._tell_alive is not None:
            self._tell(True)
        self.heard_us = monotonic_us()
        self.heard_at_ms = now_ms()
        ms = self.heard_us // 1_000
        if self._met and self._held is None:
            node, received = self.node, self.machine.received
            for frame in frames:
                for action in received(frame, ms):
                    if type(action) is DeliverRequest:
                        node.service(action.frame, self)
                    else:
                        node.heard(frame, action, self)
        else:
            for frame in frames:
                self._take(frame, ms)
        if broken is not None:
            # RFC 6733 section 2.1: the stream cannot be resynchronised.
            self.node.garbage(self, broken)

    def eof_received(self) -> bool:
        """The peer has shut its write side and may still wait for its answers (field-notes.md): the connection ends
        behind them. True: the transport stays open for writing. Over TLS it does not, whatever is said here."""
        self._said_all = True
        if self._held is None:  # else when its claim is decided and what it sent is served
            self.finish(CLOSED_BY_PEER, HALF_OPEN_S)
        return self._transport is not None and not self._transport.is_closing()

    def pause_writing(self) -> None:
        """The peer does not read its answers: then we do not read its requests."""
        self._unread = True
        if self._transport is not None and not self._ending:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._unread = False
        self._read_on()

    def wait(self, frame: bytes) -> None:
        """More than is taken on or may be refused now: kept until its turn, and the peer waits too."""
        self.waiting.append(frame)
        if self._transport is not None:
            self._transport.pause_reading()

    def waited(self) -> None:
        """No request of this connection waits any more."""
        self._read_on()
        if self._ending and not self.in_flight:
            self._close()

    def _read_on(self) -> None:
        held_up = self._ending or self._unread or self._held is not None or self.waiting
        if self._transport is not None and not held_up:
            self._transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self.open = False
        self.gone.set()
        self._transport = None
        self._out.clear()
        self.waiting.clear()
        if self._tell_alive is not None:
            self._tell(False)
        self.node.lost(self, error)

    # ---- before it is open

    def _take(self, frame: bytes, ms: int) -> None:
        if self._held is not None:
            self._held.append(frame)
        elif not self._met:
            self._met = True
            if not self._introduced(frame):
                self._take(frame, ms)
        else:
            for action in self.machine.received(frame, ms):
                if type(action) is DeliverRequest:
                    self.node.service(action.frame, self)
                else:
                    self.node.heard(frame, action, self)

    def _introduced(self, frame: bytes) -> bool:
        """Whether the frame is a CER that now waits for its claim; all others are the machine's."""
        if frame[5:8] != CER or not frame[4] & REQUEST:
            return False
        host = first(frame, ORIGIN_HOST.code).decode(errors="replace")
        self.machine.ignored = self.node.peers.profile(host).ignored
        try:
            cer = CapabilitiesExchangeRequest.decode(frame, self.machine.ignored)
        except ProtocolError:
            return False
        self.peer_host = cer.origin_host
        self.admitted = self.node.admits(self, cer)
        if not self.admitted:
            return False
        self._held = [frame]
        if self._transport is not None:
            self._transport.pause_reading()
        self.node.claim(self)
        return True

    def decided(self, granted: bool) -> None:
        """The claim is decided. What came with the CER, or right behind it, is served now, in order."""
        held, self._held = self._held or [], None
        if not self.open or not held:
            return
        if not granted:
            self.write(self.node.error(held[0], ResultCode.UNABLE_TO_COMPLY, "connected already, and that answers"))
            self.finish("a live connection of this peer exists")
            return
        for frame in held:
            self._take(frame, monotonic_ms())
        if self._said_all:
            self.finish(CLOSED_BY_PEER, HALF_OPEN_S)
        self._read_on()

    # ---- answers

    def write(self, octets: bytes) -> None:
        """Goes out at the end of the loop turn, with whatever else there is."""
        if self.open:
            if not self._out:
                self.node.has_output(self)
            self._out.append(octets)

    def flush(self) -> None:
        out, self._out = self._out, []
        if self._transport is not None and out:
            self._transport.write(b"".join(out) if len(out) > 1 else out[0])

    def answered(self) -> None:
        """One of its requests was answered."""
        self.in_flight -= 1
        if self._ending and self.in_flight == 0 and not self.waiting:
            self._close()

    # ---- its end

    def finish(self, why: str, linger_s: float = LINGER_S) -> None:
        """Close when the answers under way are out, after `linger_s` at the latest. Nothing is read any more."""
        if self._ending or self._transport is None:
            return
        self._ending = why
        self._linger_s = linger_s
        self._transport.pause_reading()
        if self.in_flight or self.waiting:
            asyncio.get_running_loop().call_later(linger_s, self._close)
        else:
            self._close()

    @property
    def ending(self) -> str:
        return self._ending

    def _close(self) -> None:
        if self._transport is not None:
            self.flush()
            self._transport.close()
            # should it never read what is left
            asyncio.get_running_loop().call_later(self._linger_s, self.abort, "")

    def abort(self, why: str) -> None:
        """Close without waiting for anybody: what is left unsent is lost."""
        self._ending = self._ending or why
        if self._transport is not None:
            self.flush()
            self._transport.abort()

    # ---- probing

    def probe(self, octets: bytes, within_s: float, tell: Callable[[bool], None]) -> None:
        """Send a DWR; anything heard within the time is an answer, silence ends the connection."""
        if not self.open or self._ending or self._tell_alive is not None:
            tell(self.open and not self._ending)  # one that ends is in nobody's way
            return
        self._tell_alive = tell
        self.write(octets)
        asyncio.get_running_loop().call_later(within_s, self._silent, tell)

    def _silent(self, tell: Callable[[bool], None]) -> None:
        if self._tell_alive is tell:
            self.abort("silent when its peer connected again")
            self._tell(False)

    def _tell(self, alive: bool) -> None:
        tell, self._tell_alive = self._tell_alive, None
        if tell is not None:
            tell(alive)


Service = Callable[[bytes, DiameterConnection], None]
"""Gets each request of an open connection; answers with `link.write`."""
