"""Home servers that are slow, silent, dead and back again; and answers that nobody should believe."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from ocs.clock import monotonic_us
from ocs.config.radius import HomeServerConfig, RadiusHome
from ocs.config.values import Listen, Secret
from ocs.net.radius.home_pool import HomePool, TooManyRelayed
from ocs.net.radius.home_server import HomeState
from ocs.telemetry.metrics import Meter
from protocol.radius.authenticator import answer, check_request, signed_request
from protocol.radius.codes import PacketCode
from protocol.radius.dictionary import ATTRIBUTES
from protocol.radius.dictionary.standard import EAP_MESSAGE, PROXY_STATE, STATE, USER_NAME
from protocol.radius.packet import Packet
from tests.ocs.net.world import until

SECRET = "home-secret"
NAS_SECRET = b"nas"


class Home(asyncio.DatagramProtocol):
    """One home server; `mute`: it says nothing. `spoils`: what becomes of its answers."""

    def __init__(self) -> None:
        self.got: list[Packet] = []
        self.mute, self.port = False, 0
        self.spoils: Any = lambda octets: octets
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: Any) -> None:
        packet = Packet.decode(data)
        assert check_request(packet, SECRET.encode())
        if packet.code == PacketCode.ACCESS_REQUEST:
            self.got.append(packet)
        if self.mute:
            return
        body, code = b"", PacketCode.ACCESS_ACCEPT
        if packet.code == PacketCode.ACCESS_REQUEST and not packet.has(STATE):
            body, code = STATE.pack(b"of %d" % self.port) + EAP_MESSAGE.pack(b"\1\2\0\4"), PacketCode.ACCESS_CHALLENGE
        self._transport.sendto(self.spoils(answer(packet, code, SECRET.encode(), body)), addr)


@contextlib.asynccontextmanager
async def pooled(count: int = 2, **settings: Any) -> AsyncIterator[tuple[HomePool, list[Home]]]:
    loop, homes = asyncio.get_running_loop(), [Home() for _ in range(count)]
    probe = settings.pop("probe", True)
    for home in homes:
        await loop.create_datagram_endpoint(partial(_itself, home), local_addr=("127.0.0.1", 0))
    servers = tuple(
        HomeServerConfig(address=Listen(f"127.0.0.1:{home.port}"), secret=Secret(SECRET), probe=probe, probe_s=1)
        for home in homes
    )
    config = RadiusHome(servers=servers, **{"within_ms": 600} | settings)
    async with HomePool(config, ATTRIBUTES, Meter(), lambda: monotonic_us() / 1_000_000).open() as pool:
        yield pool, homes
    for home in homes:
        home._transport.close()


def _itself(home: Home) -> Home:
    return home


def login(user: str = "anna", state: bytes = b"", identifier: int = 1) -> Packet:
    packet = Packet(PacketCode.ACCESS_REQUEST, identifier, bytes(16)).add(USER_NAME, user).add(EAP_MESSAGE, b"\2\1\0\4")
    packet.add(PROXY_STATE, b"of the NAS")
    if state:
        packet.add(STATE, state)
    return Packet.decode(signed_request(packet, NAS_SECRET))


async def challenged(pool: HomePool, user: str = "anna") -> bytes:
    """The State of a conversation that has begun."""
    said = await pool.ask(login(user), NAS_SECRET)
    assert said is not None
    assert said.code is PacketCode.ACCESS_CHALLENGE
    reply = Packet(said.code, attributes=said.attributes)
    assert not reply.has(PROXY_STATE)
    state = reply.get(STATE)
    assert state is not None
    return state


async def test_a_conversation_stays_where_it_began_and_the_others_are_spread() -> None:
    async with pooled(3) as (pool, homes):
        for number in range(30):
            state = await challenged(pool, f"user{number}")
            said = await pool.ask(login(f"other{number}", state), NAS_SECRET)
            assert said is not None
            assert said.code is PacketCode.ACCESS_ACCEPT
            home = next(one for one in homes if b"of %d" % one.port in state)
            assert home.got[-1].get(STATE) == b"of %d" % home.port
            theirs, _ours = home.got[-1].get_all(PROXY_STATE)
            assert theirs == b"of the NAS"
        assert all(len(home.got) >= 4 for home in homes)


async def test_one_that_is_silent_is_passed_over_found_dead_and_back_again() -> None:
    async with pooled(2, within_ms=3_000) as (pool, homes):
        state = await challenged(pool)
        first = next(home for home in homes if home.got)
        other = next(home for home in homes if not home.got)
        first.mute = True
        assert b"of %d" % other.port in await challenged(pool)
        server = next(one for one in pool.servers if str(first.port) in one.address)
        await until(lambda: server.state is HomeState.DEAD)
        before = len(first.got)
        assert b"of %d" % other.port in await challenged(pool)
        assert len(first.got) == before, "who is dead is not asked"
        assert await pool.ask(login(state=state), NAS_SECRET) is None, "what began there cannot go on elsewhere"
        asked = first.got[before:]
        assert len(asked) == 3
        assert len({packet.octets for packet in asked}) == 1, "the same octets again"
        first.mute = False
        await until(lambda: server.state is HomeState.UP)
        assert b"of %d" % first.port in await challenged(pool)


async def test_one_that_cannot_be_probed_is_dead_by_what_it_leaves_unanswered() -> None:
    async with pooled(1, probe=False) as (pool, homes):
        homes[0].mute = True
        assert await pool.ask(login(), NAS_SECRET) is None
        assert not pool.servers[0].up()
        homes[0].mute = False
        await challenged(pool)
        assert pool.servers[0].up()


def forged(octets: bytes) -> bytes:
    return octets[:-1] + bytes((octets[-1] ^ 1,))


def other_code(octets: bytes) -> bytes:
    return bytes((PacketCode.ACCESS_ACCEPT,)) + octets[1:]


@pytest.mark.parametrize("spoils", [forged, other_code], ids=["octet", "code"])
async def test_what_is_not_proven_is_not_believed(spoils: Any) -> None:
    async with pooled(1) as (pool, homes):
        homes[0].spoils = spoils
        assert await pool.ask(login(), NAS_SECRET) is None
        assert pool.servers[0].counts["forged"] >= 3


async def test_as_many_wait_as_may_and_nothing_stays_behind() -> None:
    async with pooled(1, outstanding_max=2) as (pool, homes):
        homes[0].mute = True
        waiting = [asyncio.ensure_future(pool.ask(login(f"user{number}"), NAS_SECRET)) for number in range(2)]
        await until(lambda: len(homes[0].got) == 2)
        with pytest.raises(TooManyRelayed):
            await pool.ask(login("user3"), NAS_SECRET)
        assert await asyncio.gather(*waiting) == [None, None]
        await until(lambda: pool.servers[0].outstanding() <= 1)  # a probe
        homes[0].mute = False
        await challenged(pool)
