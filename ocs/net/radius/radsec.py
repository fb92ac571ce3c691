"""RadSec (RFC 6614): authentication and accounting over one TLS connection, served as what comes by UDP is.

Who it is says the certificate, then the address; the secret is `radsec` for all. Each worker accepts for itself.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any, Final, cast

from ocs.clock import now_ms
from ocs.net.radius.clients import NasClient
from ocs.net.radius.server import UNKNOWN_ADDRESS, RadiusServer
from ocs.net.tls import certified_names, plainly
from ocs.processes.listeners import accept_some
from ocs.telemetry import metrics
from ocs.telemetry.log import Periodic, logger
from protocol.radius.codes import PacketCode
from protocol.radius.refused import RadiusError
from protocol.radius.stream import PacketBuffer

CODES: Final = (PacketCode.ACCESS_REQUEST, PacketCode.ACCOUNTING_REQUEST)
HANDSHAKE_S: Final = 5.0
HANDSHAKES_MAX: Final = 64
"""Under way at once in a worker; others wait to be accepted."""
CONNECTIONS_MAX: Final = 1_000
UNREAD_BYTES_MAX: Final = 1 << 20
"""Answers that a client does not read: then the connection ends."""
TOLD_MS: Final = 60_000
NOT_CONFIGURED: Final = "no client in radius.clients has that certificate or that address without one"


class RadSecListener:
    def __init__(
        self, server: RadiusServer, listener: socket.socket, tls: ssl.SSLContext, meter: metrics.Meter
    ) -> None:
        self.server = server
        self.connections: set[RadSecConnection] = set()
        self.disconnects = meter.counts(metrics.DISCONNECTS)
        self._listener, self._tls = listener, tls
        self._begun = meter.counts(metrics.CONNECTIONS)
        self._handshakes: set[asyncio.Task[None]] = set()
        self._told = Periodic(TOLD_MS)
        self._loop = asyncio.get_running_loop()
        self._is_accepting = False
        self._is_stopped = False
        meter.read(metrics.PEERS, "radsec", by=lambda: len(self.connections))
        self._accept_while_room()

    def stop(self) -> None:
        """Accept no more connections."""
        self._is_stopped = True
        self._accept_while_room()

    def close(self) -> None:
        for task in self._handshakes:
            task.cancel()
        for connection in list(self.connections):
            connection.end("stopping")

    def _accept_while_room(self) -> None:
        room = len(self._handshakes) < HANDSHAKES_MAX and not self._is_stopped
        if room and not self._is_accepting:
            self._loop.add_reader(self._listener.fileno(), self._accept)
        elif not room and self._is_accepting:
            self._loop.remove_reader(self._listener.fileno())
        self._is_accepting = room

    def _accept(self) -> None:
        accept_some(self._listener, self._take, HANDSHAKES_MAX - len(self._handshakes))
        self._accept_while_room()

    def _take(self, end: socket.socket, host: str, port: int) -> None:
        if not self.server.clients.sends_from(host):
            self.refuse(UNKNOWN_ADDRESS, host, NOT_CONFIGURED)
        elif len(self.connections) + len(self._handshakes) >= CONNECTIONS_MAX:
            self.refuse("too many", host, f"{CONNECTIONS_MAX} connections are open")
        else:
            task = self._loop.create_task(self._handshake(end.dup(), host))
            self._handshakes.add(task)
            task.add_done_callback(self._shaken)

    async def _handshake(self, end: socket.socket, host: str) -> None:
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # a client that is gone is found out some day
        try:
            await self._loop.connect_accepted_socket(
                lambda: RadSecConnection(self), end, ssl=self._tls, ssl_handshake_timeout=HANDSHAKE_S
            )
        except (OSError, asyncio.CancelledError) as why:
            end.close()
            self.refuse("tls failed", host, plainly(why))

    def _shaken(self, task: asyncio.Task[None]) -> None:
        self._handshakes.discard(task)
        self._accept_while_room()

    def refuse(self, outcome: str, host: str, why: str) -> None:
        self._begun["radsec", outcome] += 1
        times = self._told.times(outcome, now_ms())
        if times:
            logger().warning("radsec.refused", address=host, why=why, times=times)

    def begun(self, connection: RadSecConnection) -> None:
        self._begun["radsec", "open"] += 1
        self.connections.add(connection)


class RadSecConnection(asyncio.Protocol):
    """One client. A packet that is to be dropped is dropped as one by UDP is; a Length that no packet has ends the
    connection, for nothing behind it can be trusted (RFC 6613 section 2.6.4)."""

    codes = CODES
    is_secure = True

    def __init__(self, listener: RadSecListener) -> None:
        self._listener, self._server = listener, listener.server
        self._buffer = PacketBuffer()
        self._transport: asyncio.Transport | None = None
        self._client: NasClient | None = None
        self._source = self.ours = ("", 0)
        self._why = "closed by the client"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        made = cast(asyncio.Transport, transport)
        self._source, self.ours = made.get_extra_info("peername")[:2], made.get_extra_info("sockname")[:2]
        names = certified_names(made.get_extra_info("peercert"))
        self._client = self._server.clients.certified(names, self._source[0])
        if self._client is None:
            self._listener.refuse("unknown", self._source[0], f"{NOT_CONFIGURED}: {', '.join(sorted(names))}")
            made.abort()
            return
        self._transport = made
        self._listener.begun(self)

    def data_received(self, data: bytes) -> None:
        client, wrong = self._client, None
        if client is None or self._transport is None:
            return
        try:
            self._buffer.feed(data)
        except RadiusError as error:
            wrong = error
        for octets in self._buffer.whole:
            self._server.received_of(client, octets, self._source, self)
        if wrong is not None:
            self._server.drop(self._source, client, wrong.reason, wrong.why)
            self.end("framing")

    def send(self, octets: bytes, _source: tuple[str, int]) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.write(octets)
        if transport.get_write_buffer_size() > UNREAD_BYTES_MAX:
            self.end("does not read")

    def end(self, why: str) -> None:
        self._why = why
        if self._transport is not None:
            self._transport.abort() if why == "does not read" else self._transport.close()

    def connection_lost(self, _why: Any) -> None:
        if self in self._listener.connections:
            self._listener.connections.discard(self)
            self._listener.disconnects["radsec", self._why] += 1
        self._transport = None
