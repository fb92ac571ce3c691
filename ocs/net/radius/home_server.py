"""A home server: what authenticates the subscribers of others, asked by EAP logins (RFC 3579). Whether it is there says
whatever it answers; when it is silent, Status-Server asks it (RFC 5997)."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from enum import StrEnum
from hashlib import blake2b
from typing import Any, Final

from ocs.clock import now_ms
from ocs.config.radius import HomeServerConfig
from ocs.net.radius.clients import plain
from ocs.net.radius.identifiers import Identifiers
from ocs.telemetry.log import logger
from protocol.radius.authenticator import check_response, signed_request
from protocol.radius.codes import PacketCode
from protocol.radius.packet import Packet
from protocol.radius.proxy import TAG, passed_to
from protocol.radius.refused import RadiusError

SOCKETS: Final = 4
"""Of each server in a worker: 1,024 requests may be on their way."""
MISSED_MAX: Final = 3
"""So many times it may be silent in a row before it is dead."""
PROBE_WAIT_S: Final = 1.0
"""How long Status-Server waits for an answer."""
TRIED_AGAIN_S: Final = 30.0
"""One that cannot be probed, and is dead, gets a request again after so long."""
SIGNED: Final = frozenset((PacketCode.ACCESS_ACCEPT, PacketCode.ACCESS_CHALLENGE))
"""What nobody believes without Message-Authenticator (CVE-2024-3596)."""


class HomeState(StrEnum):
    UP = "up"
    SUSPECT = "suspect"
    """It left something unanswered, and nothing came since."""
    DEAD = "dead"


class HomeRequest:
    """A request that is on its way to a home server."""

    __slots__ = ("octets", "reply", "server", "socket")

    def __init__(self, server: HomeServer, socket: _HomeSocket, octets: bytes) -> None:
        self.server, self.socket, self.octets = server, socket, octets
        self.reply: asyncio.Future[Packet] = asyncio.get_running_loop().create_future()

    @property
    def authenticator(self) -> bytes:
        return self.octets[4:20]

    def send(self) -> None:
        self.socket.send(self.octets)

    def end(self) -> None:
        """Nobody waits for it any more."""
        self.socket.identifiers.awaited.pop(self.octets[1], None)


class _HomeSocket(asyncio.DatagramProtocol):
    """A connected socket: the kernel lets nothing in that comes from elsewhere."""

    def __init__(self, server: HomeServer) -> None:
        self.identifiers = Identifiers[HomeRequest]()
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def send(self, octets: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(octets)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        try:
            reply = Packet.decode(data)
            asked = self.identifiers.awaited.get(reply.identifier)
            if asked is None or asked.reply.done():
                return  # a second answer, or one that is too late
            signed = check_response(reply, asked.octets, self._server.secret)
        except RadiusError:
            self._server.counts["forged"] += 1
            return
        if reply.code in SIGNED and not signed and asked.octets[0] != PacketCode.STATUS_SERVER:
            self._server.counts["unsigned"] += 1
            return
        self._server.heard()
        asked.reply.set_result(reply)

    def error_received(self, exc: Exception) -> None:
        """Nobody listens there now."""

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class HomeServer:
    """`async with server.open():` first."""

    def __init__(self, config: HomeServerConfig, monotonic_s: Callable[[], float]) -> None:
        self.address: Final = str(config.address)
        self.secret: Final = config.secret.reveal().encode()
        self.tag: Final = blake2b(self.address.encode(), digest_size=TAG).digest()
        self.state, self.since_ms = HomeState.UP, now_ms()
        self.counts = {"answered": 0, "unanswered": 0, "unsigned": 0, "forged": 0}
        self._config, self._monotonic_s = config, monotonic_s
        self._heard_s = monotonic_s()
        self._missed = 0
        self._sockets: list[_HomeSocket] = []
        self._wake = asyncio.Event()

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[HomeServer]:
        """For as long as it may be asked."""
        loop, listen = asyncio.get_running_loop(), self._config.address
        watching = None
        try:
            for _ in range(SOCKETS):
                remote = (str(plain(listen.host)), listen.port)
                _, socket = await loop.create_datagram_endpoint(lambda: _HomeSocket(self), remote_addr=remote)
                self._sockets.append(socket)
            watching = asyncio.ensure_future(self._watch())
            yield self
        finally:
            if watching is not None:
                watching.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await watching
            for socket in self._sockets:
                socket.close()
            self._sockets = []

    def up(self) -> int:
        """1 where it is."""
        return int(self.state is HomeState.UP)

    def outstanding(self) -> int:
        return sum(len(socket.identifiers.awaited) for socket in self._sockets)

    def ask(self, packet: Packet) -> HomeRequest | None:
        """Pass a request on. None: as many are on their way as can be told apart. Raises ValueError where it has become
        too long; whoever asks ends it."""
        return self._ask(lambda identifier: passed_to(packet, self.tag, identifier, os.urandom(16)))

    def _ask(self, made: Callable[[int], Packet]) -> HomeRequest | None:
        socket = min(self._sockets, key=lambda one: len(one.identifiers.awaited), default=None)
        if socket is None or socket.identifiers.is_full:
            return None
        identifier = socket.identifiers.next()
        asked = HomeRequest(self, socket, signed_request(made(identifier), self.secret))
        socket.identifiers.awaited[identifier] = asked
        asked.send()
        return asked

    def heard(self) -> None:
        """It answered: it is there."""
        self._heard_s, self._missed = self._monotonic_s(), 0
        self._is(HomeState.UP)

    def missed(self) -> None:
        """It did not answer a request in time."""
        self.counts["unanswered"] += 1
        if self._config.probe:
            if self.state is HomeState.UP:
                self._is(HomeState.SUSPECT)
                self._wake.set()
            return
        self._silent()

    def _silent(self) -> None:
        self._missed += 1
        self._is(HomeState.DEAD if self._missed >= MISSED_MAX else HomeState.SUSPECT)

    def _is(self, state: HomeState) -> None:
        if state is self.state:
            return
        was, self.state, self.since_ms = self.state, state, now_ms()
        if HomeState.DEAD in (was, state):
            logger().warning("radius.home", server=self.address, state=state.value)

    async def _watch(self) -> None:
        """Is it there? HomeRequest when it was silent, and when nothing came from it for a while."""
        every_s = self._config.probe_s
        while True:
            self._wake.clear()
            if self.state is not HomeState.SUSPECT or not self._config.probe:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(every_s if self._config.probe else TRIED_AGAIN_S):
                        await self._wake.wait()
            if self._config.probe:
                if self.state is HomeState.SUSPECT or self._monotonic_s() - self._heard_s >= every_s:
                    await self._probe()
            elif self.state is HomeState.DEAD:
                self._missed = MISSED_MAX - 1  # one more silence, and it is dead again
                self._is(HomeState.SUSPECT)

    async def _probe(self) -> None:
        asked = self._ask(lambda identifier: Packet(PacketCode.STATUS_SERVER, identifier, os.urandom(16)))
        if asked is None:
            await asyncio.sleep(PROBE_WAIT_S)
            return
        try:
            await asyncio.wait((asked.reply,), timeout=PROBE_WAIT_S)
        finally:
            asked.end()
        if not asked.reply.done():
            self._silent()
