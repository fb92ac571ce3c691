"""A NAS made of octets: one socket for each subscriber, which sends a packet again until it is answered."""

from __future__ import annotations

import asyncio
import itertools
import os
from typing import Any, Final

from protocol.radius.authenticator import check_response, signed_request
from protocol.radius.codes import PacketCode
from protocol.radius.dictionary import ATTRIBUTES
from protocol.radius.dictionary.standard import USER_PASSWORD
from protocol.radius.dictionary.values import AcctStatusType
from protocol.radius.hidden import hide_password
from protocol.radius.packet import Packet

SECRET: Final = b"testing123"
AGAIN_S: Final = 1.0
GIVE_UP_S: Final = 90.0
GIGAWORD: Final = 2**32


class NasPort(asyncio.DatagramProtocol):
    """Where one subscriber is. `ask` returns the answer, however often it has to be asked for."""

    def __init__(self, user: str) -> None:
        self.user = user
        self.repeats = 0
        self._identifiers = itertools.cycle(range(256))
        self._waiting: dict[int, tuple[bytes, asyncio.Future[Packet]]] = {}
        self._transports: dict[int, asyncio.DatagramTransport] = {}

    @classmethod
    async def open(cls, user: str, *ports: int) -> NasPort:
        made, loop = cls(user), asyncio.get_running_loop()
        for port in ports:
            transport, _ = await loop.create_datagram_endpoint(lambda: made, remote_addr=("127.0.0.1", port))
            made._transports[port] = transport
        return made

    def close(self) -> None:
        for transport in self._transports.values():
            transport.close()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        reply = Packet.decode(data)
        octets, answered = self._waiting.get(reply.identifier, (b"", None))
        if answered is not None and not answered.done():
            check_response(reply, octets, SECRET)
            answered.set_result(reply)

    def error_received(self, exc: Exception) -> None:
        """Nobody listens just now."""

    async def ask(self, port: int, packet: Packet) -> Packet:
        octets = signed_request(packet, SECRET)
        answered: asyncio.Future[Packet] = asyncio.get_running_loop().create_future()
        self._waiting[packet.identifier] = octets, answered
        async with asyncio.timeout(GIVE_UP_S):
            while not answered.done():
                self._transports[port].sendto(octets)
                await asyncio.wait((answered,), timeout=AGAIN_S)
                self.repeats += not answered.done()
        del self._waiting[packet.identifier]
        return answered.result()

    def _packet(self, code: PacketCode, attributes: dict[str, Any]) -> Packet:
        packet = Packet(code, next(self._identifiers), os.urandom(16))
        given = {"User_Name": self.user, "NAS_Identifier": "bras1", "NAS_Port_Id": self.user}
        for name, value in (given | attributes).items():
            packet.add(ATTRIBUTES[name], value)
        return packet

    async def login(self, port: int, password: str = "demo") -> Packet:
        packet = self._packet(PacketCode.ACCESS_REQUEST, {})
        packet.add(USER_PASSWORD, hide_password(password.encode(), SECRET, packet.authenticator))
        return await self.ask(port, packet)

    async def account(
        self, port: int, status: AcctStatusType, session: str, lasted_s: int, octets: int, **attributes: Any
    ) -> Packet:
        shown = {
            "Acct_Status_Type": int(status),
            "Acct_Session_Id": session,
            "Acct_Session_Time": lasted_s,
            "Acct_Input_Octets": octets % GIGAWORD,
            "Acct_Input_Gigawords": octets // GIGAWORD,
        }
        return await self.ask(port, self._packet(PacketCode.ACCOUNTING_REQUEST, shown | attributes))
