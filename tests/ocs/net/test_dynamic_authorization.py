"""CoA and Disconnect as a NAS sees them: a NAS of the test's own, and FreeRADIUS as one we did not write."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from ocs.net.radius import dynamic_authorization
from ocs.net.radius.dynamic_authorization import DynamicAuthorizer, NasReply
from protocol.radius.authenticator import answer, check_request
from protocol.radius.codes import PacketCode
from protocol.radius.dictionary.standard import ACCT_SESSION_ID, ERROR_CAUSE, EVENT_TIMESTAMP, USER_NAME
from protocol.radius.packet import Packet
from tests.bench.server import free_ports

SECRET = b"testing123"
NAMES = USER_NAME.pack("joe") + ACCT_SESSION_ID.pack("s/1+=")
Decide = Callable[[Packet], tuple[PacketCode, bytes] | None]


class Nas(asyncio.DatagramProtocol):
    """Proves what it gets, and answers as it is told to."""

    def __init__(self, decide: Decide, secret: bytes) -> None:
        self.decide, self.secret = decide, secret
        self.got: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.got.append(data)
        packet = Packet.decode(data)
        assert check_request(packet, SECRET), "it is signed"
        decided = self.decide(packet)
        if decided is not None:
            code, body = decided
            self.transport.sendto(answer(packet, code, self.secret, body), addr)

    @property
    def where(self) -> tuple[str, int]:
        host, port = self.transport.get_extra_info("sockname")[:2]
        return host, port


@asynccontextmanager
async def nas(decide: Decide, secret: bytes = SECRET, host: str = "127.0.0.1") -> AsyncIterator[Nas]:
    loop = asyncio.get_running_loop()
    transport, made = await loop.create_datagram_endpoint(lambda: Nas(decide, secret), local_addr=(host, 0))
    try:
        yield made
    finally:
        transport.close()


@pytest.fixture
async def authorizer() -> AsyncIterator[DynamicAuthorizer]:
    async with DynamicAuthorizer(lambda: 1_700_000_000).open() as opened:
        yield opened


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dynamic_authorization, "WAITS_S", (0.1, 0.2, 0.2))


def ack(packet: Packet) -> tuple[PacketCode, bytes]:
    return (PacketCode.COA_ACK if packet.code == PacketCode.COA_REQUEST else PacketCode.DISCONNECT_ACK), b""


async def test_what_names_the_session_arrives_as_it_is(authorizer: DynamicAuthorizer) -> None:
    async with nas(ack) as there:
        reply = await authorizer.ask(PacketCode.COA_REQUEST, NAMES, there.where, SECRET)
    assert reply == NasReply(PacketCode.COA_ACK)
    assert (reply.is_ack, reply.result) == (True, "COA-ACK")
    packet = Packet.decode(there.got[0])
    assert (packet.get(USER_NAME), packet.get(ACCT_SESSION_ID)) == ("joe", "s/1+=")
    assert packet.get(EVENT_TIMESTAMP) == 1_700_000_000


async def test_a_refusal_says_why(authorizer: DynamicAuthorizer) -> None:
    async with nas(lambda _: (PacketCode.DISCONNECT_NAK, ERROR_CAUSE.pack(503))) as there:
        reply = await authorizer.ask(PacketCode.DISCONNECT_REQUEST, NAMES, there.where, SECRET)
    assert (reply.is_ack, reply.error_cause) == (False, 503)
    assert reply.result == "DISCONNECT-NAK 503 session context not found"


async def test_a_repeat_is_the_same_octets(authorizer: DynamicAuthorizer, quick: None) -> None:
    """RFC 5176 section 2.3: same Identifier, authenticator and source port."""
    seen: list[int] = []

    def third_time(packet: Packet) -> tuple[PacketCode, bytes] | None:
        seen.append(packet.identifier)
        return ack(packet) if len(seen) == 3 else None

    async with nas(third_time) as there:
        reply = await authorizer.ask(PacketCode.COA_REQUEST, NAMES, there.where, SECRET)
    assert reply.is_ack
    assert len(there.got) == 3
    assert len(set(there.got)) == 1


async def test_silence_ends(authorizer: DynamicAuthorizer, quick: None) -> None:
    async with nas(lambda _: None) as there:
        reply = await authorizer.ask(PacketCode.COA_REQUEST, NAMES, there.where, SECRET)
        assert (reply.code, reply.result) == (None, "timeout")
        assert len(there.got) == 3
    assert (await authorizer.ask(PacketCode.COA_REQUEST, NAMES, there.where, SECRET)).result == "timeout", (
        "nobody there"
    )


async def test_an_answer_made_without_the_secret_is_none(authorizer: DynamicAuthorizer, quick: None) -> None:
    async with nas(ack, secret=b"forged") as there:
        reply = await authorizer.ask(PacketCode.COA_REQUEST, NAMES, there.where, SECRET)
    assert reply.result == "timeout"
    assert authorizer.strays == 3


async def test_an_answer_to_something_else_is_none(authorizer: DynamicAuthorizer, quick: None) -> None:
    async with nas(lambda _: (PacketCode.DISCONNECT_ACK, b"")) as there:
        assert (await authorizer.ask(PacketCode.COA_REQUEST, NAMES, there.where, SECRET)).result == "timeout"


async def test_more_requests_than_identifiers_are_all_answered(authorizer: DynamicAuthorizer) -> None:
    """Each by its own answer, and no identifier twice at a time."""
    under_way: set[int] = set()

    def in_turn(packet: Packet) -> tuple[PacketCode, bytes]:
        assert packet.identifier not in under_way
        under_way.add(packet.identifier)
        asyncio.get_running_loop().call_soon(under_way.discard, packet.identifier)
        cause = int((packet.get(USER_NAME) or "0")[1:])
        return PacketCode.COA_NAK, ERROR_CAUSE.pack(cause)

    async with nas(in_turn) as there:
        asked = [
            authorizer.ask(PacketCode.COA_REQUEST, USER_NAME.pack(f"u{number}"), there.where, SECRET)
            for number in range(1, 601)
        ]
        replies = await asyncio.gather(*asked)
    assert [reply.error_cause for reply in replies] == [*range(1, 601)]


async def test_rubbish_comes_to_nothing(authorizer: DynamicAuthorizer) -> None:
    async with nas(ack) as there:
        (socket, *_) = authorizer._sockets.values()
        port = socket.get_extra_info("sockname")[1]
        for rubbish in (b"", b"\x2c", bytes(20), bytes(5_000)):
            there.transport.sendto(rubbish, ("127.0.0.1", port))
        assert (await authorizer.ask(PacketCode.COA_REQUEST, NAMES, there.where, SECRET)).is_ack


async def test_by_ipv6_too(authorizer: DynamicAuthorizer) -> None:
    try:
        async with nas(ack, host="::1") as there:
            assert (await authorizer.ask(PacketCode.COA_REQUEST, NAMES, there.where, SECRET)).is_ack
    except OSError:
        pytest.skip("no IPv6 here")


async def test_what_is_no_attributes_is_refused_before_it_is_sent(authorizer: DynamicAuthorizer) -> None:
    with pytest.raises(ValueError, match="no list of attributes"):
        await authorizer.ask(PacketCode.COA_REQUEST, b"\1\1", ("127.0.0.1", 9), SECRET)


FREERADIUS = """
prefix = /usr
name = radiusd
raddbdir = {home}
logdir = {home}
run_dir = {home}
libdir = /usr/lib/freeradius
security {{
  allow_vulnerable_openssl = yes
}}
client localhost {{
  ipaddr = 127.0.0.1
  secret = testing123
}}
modules {{
  always ok {{
    rcode = ok
  }}
  always reject {{
    rcode = reject
  }}
}}
server coa {{
  listen {{
    type = coa
    ipaddr = 127.0.0.1
    port = {port}
  }}
  recv-coa {{
    if (&User-Name == "gone") {{
      update reply {{
        Error-Cause := Session-Context-Not-Found
      }}
      reject
    }}
    ok
  }}
  send-coa {{
    ok
  }}
}}
"""


@pytest.mark.skipif(shutil.which("freeradius") is None, reason="no freeradius here")
async def test_freeradius_takes_what_we_send(authorizer: DynamicAuthorizer, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    (tmp_path / "radiusd.conf").write_text(FREERADIUS.format(home=tmp_path, port=port))
    (tmp_path / "dictionary").write_text("$INCLUDE /usr/share/freeradius/dictionary\n")
    server = await asyncio.create_subprocess_exec(
        "freeradius",
        "-f",
        "-d",
        str(tmp_path),
        "-l",
        "stdout",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        until, reply = time.monotonic() + 30, NasReply(None)
        while reply.code is None and time.monotonic() < until:
            assert server.returncode is None, (await server.communicate())[0].decode()
            reply = await authorizer.ask(PacketCode.COA_REQUEST, NAMES, ("127.0.0.1", port), SECRET)
        assert reply.result == "COA-ACK"
        assert (await authorizer.ask(PacketCode.DISCONNECT_REQUEST, NAMES, ("127.0.0.1", port), SECRET)).is_ack
        gone = USER_NAME.pack("gone") + ACCT_SESSION_ID.pack("1")
        reply = await authorizer.ask(PacketCode.COA_REQUEST, gone, ("127.0.0.1", port), SECRET)
        assert (reply.code, reply.error_cause) == (PacketCode.COA_NAK, 503)
    finally:
        if server.returncode is None:
            server.kill()
            await server.wait()
