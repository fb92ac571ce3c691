"""One connection to the server, and the requests that wait on it.

CER, watchdog and DPR are the peer machine's of `protocol`; credit-control answers are matched here, by Hop-by-Hop
Identifier, because that must be cheap: a request and its answer cost this process some 15 microseconds.
"""

import asyncio
import random
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol, cast

from loadtest.answers import AnswerReader, LoadAnswer, UnreadableError
from loadtest.templates import APPLICATION, again
from protocol.diameter.dictionary import DICTIONARY
from protocol.diameter.dictionary.base import (
    AbortSessionAnswer,
    AbortSessionRequest,
    DisconnectCause,
    ReAuthAnswer,
)
from protocol.diameter.dictionary.credit_control import ReAuthRequest
from protocol.diameter.frames import FrameBuffer
from protocol.diameter.message import DiameterCommand
from protocol.diameter.peer import (
    Action,
    Close,
    DeliverRequest,
    LocalPeer,
    PeerConnection,
    PeerDown,
    PeerLeaving,
    PeerTable,
    PeerUp,
    Send,
    Timers,
)
from protocol.diameter.types import HostAddress
from protocol.errors import FrameError, ResultCode

CCA = (272).to_bytes(3, "big")
RECONNECT_S_MIN, RECONNECT_S_MAX = 0.05, 1.0


class Target(NamedTuple):
    host: str
    port: int
    destination: str = "example.net"  # realm
    origin: str = "load.example.net"  # connection n is n.load.example.net
    realm: str = "example.net"


class Request:
    """One CCR until its answer: `frame` whole, and who wants to know."""

    __slots__ = ("answer", "done", "frame", "planned_ns", "sent_ns", "session", "tries")

    def __init__(self, frame: bytes, session: bytes, done: "Done", planned_ns: int) -> None:
        self.frame, self.session, self.done, self.planned_ns = frame, session, done, planned_ns
        self.sent_ns = 0
        self.tries = 0
        self.answer: LoadAnswer | None = None


Done = Callable[[Request, LoadAnswer, int], None]
"""Called with the first answer and the monotonic nanosecond it came in."""


class WireCounts:
    """What went over the wires, and what should not have happened."""

    def __init__(self) -> None:
        self.sent = self.answered = self.resent = self.lost_connections = 0
        self.ended_connections = 0
        """By the server, in order: it stops."""
        self.surplus = 0
        """Answers to nothing we wait for: second answers to what was sent twice."""
        self.misaddressed = 0
        """Answers with another Session-Id than the request of that Hop-by-Hop Identifier: never right."""
        self.unreadable = 0
        self.reauths = self.aborts = 0


class Owner(Protocol):
    """What a link needs to know of the client it belongs to."""

    target: Target
    timeout_s: float
    rng: random.Random
    reader: AnswerReader
    counts: WireCounts
    answered: list[Request] | None
    pushed: Callable[[DiameterCommand], None]

    def next_number(self) -> int: ...

    def link_is_up(self) -> None: ...


class LoadConnection(asyncio.Protocol):
    """One connection to the server and the requests that wait on it; comes back up by itself."""

    def __init__(self, owner: "Owner", origin: str) -> None:
        self.owner, self.origin = owner, origin
        self.is_open = False
        self.why_down = "never connected"
        """Of the last time it did not come up, or ended."""
        self.waiting: dict[int, Request] = {}
        """By Hop-by-Hop Identifier, oldest first."""
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._frames = FrameBuffer()
        self._out: list[bytes] = []
        self._pause_s = RECONNECT_S_MIN
        self._ended = False
        self._dialling: asyncio.Task[None] | None = None
        local = LocalPeer(
            origin_host=origin,
            origin_realm=owner.target.realm,
            host_ip_addresses=(HostAddress.of("127.0.0.1"),),
            product_name="ocs-load",
            auth_applications=(APPLICATION,),
        )
        self._peers = PeerTable(
            local,
            Timers(),
            admit=lambda cer: True,
            several=lambda host: True,
            jitter_ms=lambda: owner.rng.randint(-2_000, 2_000),
            end_to_end=owner.rng.getrandbits(32),
        )
        self._peer: PeerConnection | None = None

    # ---- what its owner asks of it

    def send(self, request: Request, hop_by_hop: int) -> None:
        """Send now, or when the connection is up."""
        self.waiting[hop_by_hop] = request
        if self.is_open:
            self._write(request)

    def dial(self) -> None:
        self._dialling = self._loop.create_task(self._connect())

    def cut(self) -> None:
        """Abort the connection: no DPR, nothing flushed."""
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        self._ended = True
        if self._dialling is not None:
            self._dialling.cancel()
        if self._peer is not None and self.is_open:
            self._act(self._peer.stop(DisconnectCause.REBOOTING, _now_ms()))
            for _ in range(100):  # the DPA, then the end of the connection
                if self._transport is None:
                    return
                await asyncio.sleep(0.01)
        self.cut()

    def sweep(self, now_ns: int) -> None:
        """Timers of the peer machine, and a second try for what waits too long (RFC 8506 section 13, Tx)."""
        due = self._peers.next_tick_ms
        if due is not None and due <= now_ns // 1_000_000:
            self._act(self._peers.tick(now_ns // 1_000_000))
        if not self.is_open:
            return
        late_ns = now_ns - int(self.owner.timeout_s * 1e9)
        late = []
        for hop_by_hop, request in self.waiting.items():
            if request.sent_ns > late_ns:
                break
            late.append(hop_by_hop)
        self._resend(late)

    # ---- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass; it sets TCP_NODELAY itself
        self._frames = FrameBuffer()
        self._peer = self._peers.dial(self.owner.target.host, _now_ms())
        self._act(self._peer.connected(_now_ms()))

    def data_received(self, data: bytes) -> None:
        try:
            frames = self._frames.feed(data)
        except FrameError:
            self.owner.counts.unreadable += 1
            self.cut()
            return
        now_ns = time.monotonic_ns()
        waiting, read, counts = self.waiting, self.owner.reader.read, self.owner.counts
        for frame in frames:
            if frame[4] & 0x80 or frame[5:8] != CCA:
                assert self._peer is not None
                self._act(self._peer.received(frame, now_ns // 1_000_000))
                continue
            request = waiting.pop(int.from_bytes(frame[12:16], "big"), None)
            if request is None:
                counts.surplus += 1
                continue
            try:
                answer = read(frame)
            except UnreadableError:
                counts.unreadable += 1
                continue
            if answer.session != request.session and not frame[4] & 0x20:  # E bit: Session-Id may be missing
                counts.misaddressed += 1
            counts.answered += 1
            request.answer = answer
            if self.owner.answered is not None:
                self.owner.answered.append(request)
            request.done(request, answer, now_ns)

    def connection_lost(self, exc: Exception | None) -> None:
        was_open, self.is_open, self._transport = self.is_open, False, None
        self._out.clear()
        if self._peer is not None:
            self._act(self._peer.lost(_now_ms()))
        if not self._ended:
            self.owner.counts.lost_connections += was_open
            self._loop.call_later(self._pause_s, self.dial)
            self._pause_s = min(RECONNECT_S_MAX, self._pause_s * 2)

    # ---- inside

    async def _connect(self) -> None:
        if self._ended:
            return
        try:
            await self._loop.create_connection(lambda: self, self.owner.target.host, self.owner.target.port)
        except OSError as why:
            self.why_down = why.strerror or str(why)
            self._loop.call_later(self._pause_s, self.dial)
            self._pause_s = min(RECONNECT_S_MAX, self._pause_s * 2)

    def _act(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Send(octets=octets):
                    self._push(octets)
                case Close(why=why, detail=detail):
                    self.why_down = f"{why} {detail}".strip()
                    if self._transport is not None:
                        self._flush()
                        self._transport.close()
                case PeerUp():
                    self.is_open, self._pause_s = True, RECONNECT_S_MIN
                    self._resend(list(self.waiting))
                    self.owner.link_is_up()
                case PeerDown() | PeerLeaving():
                    if isinstance(action, PeerLeaving):
                        self.owner.counts.ended_connections += 1
                    self.is_open = False  # what waits goes out on the next connection
                case DeliverRequest(frame=frame):
                    self._pushed(frame)
                case _:
                    pass

    def _pushed(self, frame: bytes) -> None:
        """Answer RAR and ASR with success, and tell the owner of the session."""
        message = DICTIONARY.decode(frame)
        host, realm = self.origin, self.owner.target.realm
        if isinstance(message, ReAuthRequest):
            self.owner.counts.reauths += 1
            # 2002: a credit-control request follows (RFC 8506 section 5.5)
            raa = ReAuthAnswer(
                session_id=message.session_id,
                result_code=ResultCode.LIMITED_SUCCESS,
                origin_host=host,
                origin_realm=realm,
            )
            self._push(raa.answer(message))
        elif isinstance(message, AbortSessionRequest):
            self.owner.counts.aborts += 1
            asa = AbortSessionAnswer(
                session_id=message.session_id, result_code=ResultCode.SUCCESS, origin_host=host, origin_realm=realm
            )
            self._push(asa.answer(message))
        self.owner.pushed(message)

    def _resend(self, hops: list[int]) -> None:
        for hop in hops:
            request = self.waiting.pop(hop)
            new = hop
            if request.tries:  # it may have arrived: say so, and do not let two answers have one name
                new = self.owner.next_number()
                request.frame = again(request.frame, new)
                self.owner.counts.resent += 1
            self.waiting[new] = request
            self._write(request)

    def _write(self, request: Request) -> None:
        request.tries += 1
        request.sent_ns = time.monotonic_ns()
        self.owner.counts.sent += 1
        self._push(request.frame)

    def _push(self, octets: bytes) -> None:
        """One write per turn of the loop, however many requests it holds."""
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(octets)

    def _flush(self) -> None:
        if self._out and self._transport is not None:
            self._transport.write(b"".join(self._out))
            self._out.clear()


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
