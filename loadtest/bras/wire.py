"""UDP towards a RADIUS server: requests wait for their answer and are sent again, the same octets, after waits that
double; and the faults of networks that are planted on the way.

    socket = await BrasSocket.open(where, network)
    identifier = socket.take()                     # None: 256 are in flight
    socket.send(BrasRequest(octets, answered, planned_ns))
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from protocol.errors import ProtocolError
from protocol.radius.authenticator import check_response
from protocol.radius.packet import Packet

IDENTIFIERS = 256
SWEEP_S = 0.05
WAIT_S_MAX = 8.0


class RadiusTarget(NamedTuple):
    """Where the server is, and what it shares with us."""

    host: str
    auth_port: int
    acct_port: int
    secret: bytes
    source: str = ""
    """The address that packets come from; "": the system says."""


class NetworkCounts:
    """What happened on the way."""

    def __init__(self) -> None:
        self.sent = self.resent = self.lost_requests = self.lost_answers = 0
        self.repeated = self.delayed = self.strays = self.unreadable = self.unsigned = self.given_up = 0


class BrasRequest:
    """A packet from its first transmission to its answer.

    answered:  called once with the answer, or None when it is given up, and the instant (monotonic ns)
    """

    __slots__ = ("again_ns", "answered", "octets", "planned_ns", "since_ns", "wait_s")

    def __init__(
        self, octets: bytes, answered: Callable[["BrasRequest", Packet | None, int], None], planned_ns: int
    ) -> None:
        self.octets, self.answered, self.planned_ns = octets, answered, planned_ns
        self.since_ns = self.again_ns = 0
        self.wait_s = 0.0


class BrasNetwork:
    """All sockets of a run, and the faults between them and the server. `seed` decides which packets it hits."""

    def __init__(
        self, secret: bytes, *, timeout_s: float, give_up_s: float, loss: float = 0.0, repeat: float = 0.0,
        late_s: float = 1.0, seed: int = 0,
    ) -> None:  # fmt: skip
        self.secret, self.timeout_s, self.give_up_s = secret, timeout_s, give_up_s
        self.loss, self.repeat, self.late_s = loss, repeat, late_s
        self.rng = random.Random(seed)
        self.counts = NetworkCounts()
        self.sockets: list[BrasSocket] = []
        self._sweeper: asyncio.Task[None] | None = None

    async def open(self, host: str, port: int, source: str = "") -> "BrasSocket":
        """source: the address that its packets come from."""
        socket, local = BrasSocket(self), (source, 0) if source else None
        await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: socket, remote_addr=(host, port), local_addr=local
        )
        self.sockets.append(socket)
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().create_task(self._sweep())
        return socket

    @property
    def in_flight(self) -> int:
        return sum(len(socket.waiting) for socket in self.sockets)

    def loses(self) -> bool:
        return bool(self.loss) and self.rng.random() < self.loss

    async def stop(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        for socket in self.sockets:
            socket.close()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            now_ns = time.monotonic_ns()
            for socket in self.sockets:
                socket.sweep(now_ns)


class BrasSocket(asyncio.DatagramProtocol):
    """One source port: 256 identifiers, each one used again as late as can be."""

    def __init__(self, network: BrasNetwork) -> None:
        self.waiting: dict[int, BrasRequest] = {}
        self._network, self._free = network, deque(range(IDENTIFIERS))
        self._transport: asyncio.DatagramTransport | None = None

    def take(self) -> int | None:
        """An identifier for the next request, which then must be sent."""
        return self._free.popleft() if self._free else None

    def send(self, request: BrasRequest, *, late_s: float = 0.0) -> None:
        """late_s: how long its first transmission is held back."""
        network = self._network
        now_ns = time.monotonic_ns()
        request.since_ns, request.wait_s = now_ns, network.timeout_s
        request.again_ns = now_ns + int((late_s + network.timeout_s) * 1e9)
        self.waiting[request.octets[1]] = request
        if late_s:
            network.counts.delayed += 1
            request.planned_ns += int(late_s * 1e9)
            asyncio.get_running_loop().call_later(late_s, self._transmit, request.octets)
        else:
            self._transmit(request.octets)
        network.counts.sent += 1
        if network.repeat and network.rng.random() < network.repeat:
            network.counts.repeated += 1
            after_s = late_s + network.rng.random() ** 2 * network.late_s
            asyncio.get_running_loop().call_later(after_s, self._transmit, request.octets)

    def sweep(self, now_ns: int) -> None:
        """Sends again what has waited long enough, and gives up what has waited too long."""
        due = [one for one in self.waiting.values() if one.again_ns <= now_ns]
        for request in due:
            if now_ns - request.since_ns > self._network.give_up_s * 1e9:
                self._network.counts.given_up += 1
                self._free_of(request)
                request.answered(request, None, now_ns)
                continue
            request.wait_s = min(2 * request.wait_s, WAIT_S_MAX)
            request.again_ns = now_ns + int(request.wait_s * 1e9)
            self._network.counts.resent += 1
            self._transmit(request.octets)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _transmit(self, octets: bytes) -> None:
        if self._network.loses():
            self._network.counts.lost_requests += 1
        elif self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(octets)

    def _free_of(self, request: BrasRequest) -> None:
        identifier = request.octets[1]
        del self.waiting[identifier]
        self._free.append(identifier)

    # ---- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        network, now_ns = self._network, time.monotonic_ns()
        if network.loses():
            network.counts.lost_answers += 1
            return
        request = self.waiting.get(data[1]) if len(data) > 1 else None
        if request is None:
            network.counts.strays += 1  # the second answer to what was sent twice
            return
        try:
            reply = Packet.decode(data)
        except ProtocolError:
            network.counts.unreadable += 1
            return
        try:
            signed = check_response(reply, request.octets, network.secret)
        except ProtocolError:
            network.counts.strays += 1  # of another request that had this identifier before
            return
        network.counts.unsigned += not signed and request.octets[0] == 1
        self._free_of(request)
        request.answered(request, reply, now_ns)

    def error_received(self, exc: Exception) -> None:
        """Nobody listens just now."""
