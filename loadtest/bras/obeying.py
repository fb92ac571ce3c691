"""What the BRAS says to CoA and Disconnect (RFC 5176): it obeys, has forgotten the session, refuses, or says nothing.

A session is found by what the BRAS itself wrote: NAS-Identifier and Acct-Session-Id. One that obeys a Disconnect sends
its Stop at once; one that obeys a CoA goes on slowly. The answer to a repeat is that of the first time.
"""

import asyncio
import random
from collections import Counter
from typing import Any, Protocol

from loadtest.bras.session import BrasSession, Manner
from protocol.errors import ProtocolError
from protocol.radius.authenticator import answer, check_request
from protocol.radius.codes import PacketCode
from protocol.radius.dictionary.standard import ACCT_SESSION_ID, ERROR_CAUSE, NAS_IDENTIFIER, USER_NAME
from protocol.radius.dictionary.values import ErrorCause
from protocol.radius.packet import Packet

KEPT_MAX = 4_096
SLOWER = 64
"""A session that was told to change goes on at this part of its speed."""
ANSWERS = {
    PacketCode.DISCONNECT_REQUEST: (PacketCode.DISCONNECT_ACK, PacketCode.DISCONNECT_NAK),
    PacketCode.COA_REQUEST: (PacketCode.COA_ACK, PacketCode.COA_NAK),
}


class DynamicCounts:
    """Of CoA and Disconnect: answers by name, as `CoA-ACK` or `Disconnect-NAK 503`."""

    def __init__(self) -> None:
        self.disconnects = self.coas = self.repeats = self.unproven = 0
        self.answers: Counter[str] = Counter()


class ToldSessions(Protocol):
    """The part of run.BrasRun that is needed here."""

    open_sessions: dict[tuple[str, str], BrasSession]

    def hurry(self, session: BrasSession) -> None: ...
    def vanish(self, session: BrasSession) -> None: ...


class TellingServer(asyncio.DatagramProtocol):
    """The dynamic authorisation server of all NASes, on one UDP port."""

    def __init__(self, secret: bytes, run: ToldSessions, *, seed: int = 0) -> None:
        self.counts = DynamicCounts()
        self.port = 0
        self._secret, self._run, self._rng = secret, run, random.Random(seed)
        self._said: dict[tuple[object, int, bytes], bytes] = {}
        """By source, identifier and authenticator; empty: nothing was said."""
        self._transport: asyncio.DatagramTransport | None = None

    async def open(self, where: tuple[str, int]) -> None:
        """OSError where the port is taken."""
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, local_addr=where)
        self._transport = transport
        self.port = int(transport.get_extra_info("sockname")[1])

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        try:
            request = Packet.decode(data)
            check_request(request, self._secret)
            codes = ANSWERS[PacketCode(request.code)]
        except (ProtocolError, KeyError):
            self.counts.unproven += 1
            return
        key = (addr, request.identifier, request.authenticator)
        said = self._said.get(key)
        if said is None:
            said = self._obey(request, *codes)
            if len(self._said) >= KEPT_MAX:
                del self._said[next(iter(self._said))]
            self._said[key] = said
        else:
            self.counts.repeats += 1
        if said and self._transport is not None:
            self._transport.sendto(said, addr)

    def _obey(self, request: Packet, ack: PacketCode, nak: PacketCode) -> bytes:
        ends = request.code == PacketCode.DISCONNECT_REQUEST
        self.counts.disconnects += ends
        self.counts.coas += not ends
        name = "Disconnect" if ends else "CoA"
        session = self._run.open_sessions.get((request.get(NAS_IDENTIFIER) or "", request.get(ACCT_SESSION_ID) or ""))
        user = request.get(USER_NAME)
        if session is None or user not in (None, session.subscriber.user):
            return self._refuse(request, nak, name, ErrorCause.SESSION_CONTEXT_NOT_FOUND)
        session.told = True
        if session.manner is Manner.IGNORES:
            self.counts.answers[f"{name} ignored"] += 1
            return b""
        if session.manner is Manner.REFUSES:
            return self._refuse(request, nak, name, ErrorCause.NAS_IDENTIFICATION_MISMATCH)
        if session.manner is Manner.FORGETS:
            self._run.vanish(session)
            return self._refuse(request, nak, name, ErrorCause.SESSION_CONTEXT_NOT_FOUND)
        self.counts.answers[f"{name}-ACK"] += 1
        if ends:
            session.finish()
            self._run.hurry(session)
        else:
            session.speed //= SLOWER
        return answer(request, ack, self._secret)

    def _refuse(self, request: Packet, nak: PacketCode, name: str, cause: ErrorCause) -> bytes:
        self.counts.answers[f"{name}-NAK {cause.value}"] += 1
        return answer(request, nak, self._secret, ERROR_CAUSE.pack(int(cause)))
