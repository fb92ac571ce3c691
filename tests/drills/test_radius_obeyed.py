"""The network obeys the balance by RADIUS: the whole server, and a BRAS made of octets that takes CoA."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from loadtest.api import Api
from protocol.radius.authenticator import answer, check_request
from protocol.radius.codes import PacketCode
from protocol.radius.dictionary.mikrotik import MIKROTIK_ADDRESS_LIST, MIKROTIK_RATE_LIMIT
from protocol.radius.dictionary.standard import ACCT_SESSION_ID, CLASS, ERROR_CAUSE, NAS_IDENTIFIER, USER_NAME
from protocol.radius.dictionary.values import AcctStatusType
from protocol.radius.packet import Packet
from tests.bench.server import BenchServer, free_ports, running
from tests.drills.nas import SECRET, NasPort
from tests.drills.test_kill import the_keeper, until_ready, verify
from tests.drills.test_radius import provided

pytestmark = pytest.mark.serial

START, INTERIM, STOP = AcctStatusType.START, AcctStatusType.INTERIM_UPDATE, AcctStatusType.STOP
TOLD_S = 60.0
TARIFF: dict[str, Any] = {
    "tariff": "told",
    "currency": "EUR",
    "rows": [
        {
            "name": "data",
            "when": {"service": "data"},
            "flat": {"price": "0.001", "per": "1000 octets"},
            "grade": "fast",
        }
    ],
}
GRADES = "grades={fast={down_bps=50000000,up_bps=10000000}}"
GARDEN = 'final={action="redirect",address="https://portal.example.net/",filter_ids=["garden"]}'
Decide = Callable[[Packet], tuple[PacketCode, bytes] | None]


class Bras(asyncio.DatagramProtocol):
    """The port where it takes CoA and Disconnect."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[Packet] = asyncio.Queue()
        self.decide: Decide = lambda packet: (PacketCode(packet.code + 1), b"")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        packet = Packet.decode(data)
        assert check_request(packet, SECRET)
        self.told.put_nowait(packet)
        decided = self.decide(packet)
        if decided is not None:
            self._transport.sendto(answer(packet, decided[0], SECRET, decided[1]), addr)

    async def next(self, code: PacketCode, *, garden: bool | None = None) -> Packet:
        """The next request of that kind. Others are passed over: a look that came late may tell the session of the
        money that was there before it began."""
        async with asyncio.timeout(TOLD_S):
            while True:
                packet = await self.told.get()
                in_garden = packet.get(MIKROTIK_ADDRESS_LIST) == "garden"
                if packet.code == code and garden in (None, in_garden):
                    return packet


class Drill:
    """One subscriber with a session that holds, at a BRAS that listens."""

    def __init__(self, server: BenchServer, api: Api, bras: Bras, port: NasPort, auth: int, acct: int) -> None:
        self.server, self.api, self.bras, self.port, self.auth, self.acct = server, api, bras, port, auth, acct
        self.own: dict[str, Any] = {}

    async def begins(self) -> Packet:
        reply = await self.port.login(self.auth)
        assert reply.code is PacketCode.ACCESS_ACCEPT
        self.own = {"Class": reply.get(CLASS)}
        await self.port.account(self.acct, START, "s/1+=", 0, 0, **self.own)
        return reply

    async def uses(self, octets: int, lasted_s: int) -> None:
        await self.port.account(self.acct, INTERIM, "s/1+=", lasted_s, octets, **self.own)

    async def top_up(self, amount: str, key: str) -> None:
        await self.api.post("v1", "accounts", "a1", "topups", body={"amount": amount}, key=key)

    async def job(self, cause: str, state: str) -> dict[str, Any]:
        async with asyncio.timeout(TOLD_S):
            while True:
                page = await self.api.get("v1", "jobs", account="a1")
                for job in page["items"]:
                    if (job["cause"], job["state"]) == (cause, state):
                        return dict(job)
                await asyncio.sleep(0.1)


@asynccontextmanager
async def drill(*settings: str, service: str, money: str = "1.00") -> AsyncIterator[Drill]:
    auth, acct = free_ports(2)
    loop = asyncio.get_running_loop()
    transport, bras = await loop.create_datagram_endpoint(Bras, local_addr=("127.0.0.1", 0))
    coa = transport.get_extra_info("sockname")[1]
    client = (
        'radius.clients=[{address="127.0.0.0/8", secret="testing123", group="bras", interim_s=60,'
        f' profile="mikrotik", coa="127.0.0.1:{coa}"}}]'
    )
    listens = (f"radius.auth_listen=127.0.0.1:{auth}", f"radius.acct_listen=127.0.0.1:{acct}")
    rows = f"charging.services.data={{{service}, octets={{default=100000,minimum=1000,maximum=1000000}}}}"
    async with (
        running(*listens, client, rows, "durability=always", "workers=2", *settings) as server,
        Api(server.url, server.token) as api,
    ):
        await api.put("v1", "tariffs", "told", body=TARIFF)
        await provided(api, "a1", money, "4911")
        port = await NasPort.open("4911", auth, acct)
        try:
            yield Drill(server, api, bras, port, auth, acct)
            await verify(server)
        finally:
            port.close()
            transport.close()


async def test_out_of_money_into_the_garden_and_back_at_full_speed_after_a_top_up() -> None:
    async with drill(service=f"{GRADES}, {GARDEN}") as d:
        reply = await d.begins()
        assert reply.get(MIKROTIK_RATE_LIMIT) == "10000000/50000000"
        await d.uses(1_000_000, 60)  # all of 1.00
        told = await d.bras.next(PacketCode.COA_REQUEST, garden=True)
        # By the names that the BRAS gave it, and by nothing else.
        assert (told.get(USER_NAME), told.get(ACCT_SESSION_ID)) == ("4911", "s/1+=")
        assert told.get(NAS_IDENTIFIER) == "bras1"
        assert told.get(MIKROTIK_RATE_LIMIT) is None
        await d.top_up("5.00", "more")
        told = await d.bras.next(PacketCode.COA_REQUEST, garden=False)
        assert told.get(MIKROTIK_RATE_LIMIT) == "10000000/50000000"
        await d.uses(1_100_000, 120)
        await d.port.account(d.acct, STOP, "s/1+=", 121, 1_100_000, **d.own)
        account = await d.api.get("v1", "accounts", "a1")
        assert (account["balance"], account["held"]) == ("4.90", "0.00")


async def test_where_there_is_no_garden_it_is_cut_and_what_it_reports_then_is_charged() -> None:
    async with drill(service=GRADES) as d:
        await d.begins()
        await d.uses(1_000_000, 60)
        told = await d.bras.next(PacketCode.DISCONNECT_REQUEST)
        assert told.get(ACCT_SESSION_ID) == "s/1+="
        await d.port.account(d.acct, STOP, "s/1+=", 61, 1_002_000, **d.own)
        job = await d.job("depleted", "effective")
        assert job["action"] == "disconnect"
        account = await d.api.get("v1", "accounts", "a1")
        assert (account["balance"], account["held"]) == ("-0.002", "0.00")
        # One that carries no Class holds nothing, and ends with the money all the same: the account has no line of
        # suspension.
        await d.top_up("1.002", "more")
        await d.port.account(d.acct, START, "s/2", 0, 0)
        await d.port.account(d.acct, INTERIM, "s/2", 60, 1_000_000)
        told = await d.bras.next(PacketCode.DISCONNECT_REQUEST)
        assert told.get(ACCT_SESSION_ID) == "s/2"
        await d.port.account(d.acct, STOP, "s/2", 61, 1_000_000)


async def test_a_coa_that_is_refused_becomes_a_disconnect() -> None:
    async with drill(service=f"{GRADES}, {GARDEN}") as d:
        d.bras.decide = lambda packet: (
            (PacketCode.COA_NAK, ERROR_CAUSE.pack(401))
            if packet.code == PacketCode.COA_REQUEST
            else (PacketCode.DISCONNECT_ACK, b"")
        )
        await d.begins()
        await d.uses(1_000_000, 60)
        await d.bras.next(PacketCode.COA_REQUEST, garden=True)
        await d.bras.next(PacketCode.DISCONNECT_REQUEST)


async def test_a_session_that_its_bras_does_not_know_is_closed_here_too() -> None:
    async with drill(service=GRADES) as d:
        d.bras.decide = lambda _packet: (PacketCode.DISCONNECT_NAK, ERROR_CAUSE.pack(503))
        await d.begins()
        await d.uses(999_000, 60)
        await d.api.put("v1", "accounts", "a1", body={"currency": "EUR", "suspend_below": "0.50"}, match="*")
        await d.bras.next(PacketCode.DISCONNECT_REQUEST)
        async with asyncio.timeout(TOLD_S):
            while (await d.api.get("v1", "accounts", "a1"))["held"] != "0.00":
                await asyncio.sleep(0.1)


async def test_a_keeper_that_is_killed_before_it_is_heard_tells_again() -> None:
    async with drill(service=GRADES) as d:
        d.bras.decide = lambda _packet: None
        await d.begins()
        await d.uses(1_000_000, 60)
        first = await d.bras.next(PacketCode.DISCONNECT_REQUEST)
        await the_keeper(d.server)
        d.bras.decide = lambda packet: (PacketCode(packet.code + 1), b"")
        await until_ready(d.server)
        async with asyncio.timeout(TOLD_S):
            while (again := await d.bras.next(PacketCode.DISCONNECT_REQUEST)).authenticator == first.authenticator:
                pass
        assert again.get(ACCT_SESSION_ID) == "s/1+="
