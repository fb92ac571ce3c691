"""CoA and Disconnect: requests of ours to a NAS, and what it says (RFC 5176).

A request that is not answered is sent again, the same octets from the same socket, so that the NAS knows it again
(section 2.3); its Event-Timestamp stays that of the first time. Identifiers are counted for each NAS: 256 requests are
on their way to it at most, and one more waits.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, NamedTuple

from ocs.net.radius.clients import plain
from ocs.net.radius.identifiers import IDENTIFIERS, Identifiers
from protocol.radius.authenticator import check_response, signed_request
from protocol.radius.codes import PacketCode
from protocol.radius.dictionary.standard import ERROR_CAUSE, EVENT_TIMESTAMP
from protocol.radius.dictionary.values import ErrorCause
from protocol.radius.packet import Packet
from protocol.radius.refused import RadiusError
from protocol.radius.vendor import tlvs

WAITS_S: Final = (1.0, 2.0, 4.0)
"""Waits for an answer; between two of them the request is sent again."""
ACKS: Final = frozenset({PacketCode.COA_ACK, PacketCode.DISCONNECT_ACK})
NASES_MAX: Final = 65_536

NasAddress = tuple[str, int]


class NasReply(NamedTuple):
    """What became of a request."""

    code: PacketCode | None
    """None: nothing came back."""
    error_cause: int = 0
    """Of a NAK, 0: it did not say."""

    @property
    def is_ack(self) -> bool:
        return self.code in ACKS

    @property
    def result(self) -> str:
        """In words, for attempts that are shown."""
        if self.code is None:
            return "timeout"
        name = self.code.name.replace("_", "-")
        if not self.error_cause:
            return name
        known = ErrorCause._value2member_map_.get(self.error_cause)
        return f"{name} {self.error_cause}" + (f" {known.name.lower().replace('_', ' ')}" if known is not None else "")


class _Awaited:
    """A request that is on its way."""

    __slots__ = ("octets", "reply", "secret")

    def __init__(self, octets: bytes, secret: bytes) -> None:
        self.octets, self.secret = octets, secret
        self.reply: asyncio.Future[NasReply] = asyncio.get_running_loop().create_future()


class _Lane(Identifiers[_Awaited]):
    """One NAS: its identifiers, and what is on its way to it."""

    __slots__ = ("free",)

    def __init__(self) -> None:
        super().__init__()
        self.free = asyncio.Semaphore(IDENTIFIERS)


class DynamicAuthorizer(asyncio.DatagramProtocol):
    """now_s: Unix seconds, for Event-Timestamp

    `async with authorizer.open():` first.
    """

    def __init__(self, now_s: Callable[[], int]) -> None:
        self.strays = 0
        """Datagrams that answer nothing, or prove nothing."""
        self._now_s = now_s
        self._lanes: dict[NasAddress, _Lane] = {}
        self._sockets: dict[int, asyncio.DatagramTransport] = {}

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[DynamicAuthorizer]:
        loop = asyncio.get_running_loop()
        try:
            for version, anywhere in ((4, "0.0.0.0"), (6, "::")):
                with contextlib.suppress(OSError):  # no IPv6 here
                    socket, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(anywhere, 0))
                    self._sockets[version] = socket
            yield self
        finally:
            for socket in self._sockets.values():
                socket.close()
            self._sockets.clear()

    async def ask(self, code: PacketCode, body: bytes, nas: NasAddress, secret: bytes) -> NasReply:
        """
        code:  COA_REQUEST or DISCONNECT_REQUEST
        body:  attributes as octets: those that name the session, and what is to change
        nas:   address and port; the address as numbers
        ValueError for a body that is no attributes, or more than a packet holds.
        """
        attributes = tlvs(body)
        if attributes is None:
            raise ValueError("the body of a request is no list of attributes")
        socket = self._sockets.get(plain(nas[0]).version)
        if socket is None:
            return NasReply(None)
        lane = self._lane(nas)
        async with lane.free:
            identifier = lane.next()
            packet = Packet(code, identifier, attributes=attributes)
            if not packet.has(EVENT_TIMESTAMP):
                packet.add(EVENT_TIMESTAMP, self._now_s())
            awaited = lane.awaited[identifier] = _Awaited(signed_request(packet, secret), secret)
            try:
                for wait_s in WAITS_S:
                    socket.sendto(awaited.octets, nas)
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(wait_s):
                            return await asyncio.shield(awaited.reply)
                return NasReply(None)
            finally:
                del lane.awaited[identifier]

    def _lane(self, nas: NasAddress) -> _Lane:
        lane = self._lanes.get(nas)
        if lane is None:
            if len(self._lanes) >= NASES_MAX:  # those of a network that is long gone
                self._lanes = {other: one for other, one in self._lanes.items() if one.awaited}
            lane = self._lanes[nas] = _Lane()
        return lane

    # ---- asyncio

    def datagram_received(self, data: bytes, addr: Any) -> None:
        lane = self._lanes.get((str(plain(addr[0])), addr[1]))
        try:
            reply = Packet.decode(data)
            awaited = lane.awaited.get(reply.identifier) if lane is not None else None
            if awaited is None or awaited.reply.done():
                self.strays += 1  # a second answer, or one that is too late
                return
            check_response(reply, awaited.octets, awaited.secret)
            awaited.reply.set_result(NasReply(PacketCode(reply.code), reply.get(ERROR_CAUSE) or 0))
        except RadiusError:
            self.strays += 1

    def error_received(self, exc: Exception) -> None:
        """Nobody listens there now; the next attempt may find somebody."""
