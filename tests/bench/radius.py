"""RADIUS of the whole server: CPU per charged Interim-Update by process at saturation, beside a CCR-U of the same
server, latency at fixed rates beside a bare UDP echo, and logins by PAP and CHAP. All sessions are authorised here:
each Interim settles and holds anew.

    python -m tests.bench radius
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import secrets
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from typing import Any, Final, cast

from loadtest.api import Api
from loadtest.client import LoadClient
from loadtest.link import Target
from loadtest.pace import Pacer, plan
from loadtest.provision import Payee, Provision
from loadtest.runner import LoadRun, calm_collector
from loadtest.scenario import load
from loadtest.subscriber import subscriber
from protocol.radius.authenticator import signed_request
from protocol.radius.chap import chap_response
from protocol.radius.codes import PacketCode
from protocol.radius.dictionary.standard import (
    ACCT_INPUT_OCTETS,
    ACCT_OUTPUT_OCTETS,
    ACCT_SESSION_ID,
    ACCT_SESSION_TIME,
    ACCT_STATUS_TYPE,
    CHAP_PASSWORD,
    CLASS,
    NAS_IDENTIFIER,
    NAS_PORT_ID,
    USER_NAME,
    USER_PASSWORD,
)
from protocol.radius.dictionary.values import AcctStatusType
from protocol.radius.hidden import hide_password
from protocol.radius.packet import Packet
from tests.bench.server import BenchServer, free_ports, running

SECRET: Final = b"testing123"
PASSWORD: Final = b"wonderland"
REJECT: Final = int(PacketCode.ACCESS_REJECT)
SOCKETS: Final = 16
"""Of the NAS: the kernel spreads them over the workers."""
RATES: Final = (1_000, 5_000)
SUBSCRIBERS: Final = 1_000
SETTLE_S: Final = 2.0
LOST_NS: Final = 2_000_000_000


class BenchNas(asyncio.DatagramProtocol):
    """One socket, with so many in flight as identifiers allow."""

    def __init__(self, owner: BenchBras) -> None:
        self._owner = owner
        self._sent: dict[int, int] = {}
        self._identifiers = itertools.cycle(range(256))
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._owner.refused += data[0] == REJECT
        planned_ns = self._sent.pop(data[1], None)
        if planned_ns is not None:
            self._owner.answered_in(time.monotonic_ns() - planned_ns)

    def send(self, status: AcctStatusType, index: int, planned_ns: int) -> None:
        assert self._transport is not None
        identifier = next(self._identifiers)
        self._sent[identifier] = planned_ns
        self._transport.sendto(self._owner.packet(status, index, identifier))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class BenchBras:
    """Sessions of many subscribers, one packet after the other of each."""

    def __init__(self) -> None:
        self.answered, self.refused, self.refill = 0, 0, False
        self.latencies_ns: list[int] = []
        self._octets = [0] * SUBSCRIBERS
        self._began_s = time.monotonic()
        self._sockets: list[BenchNas] = []
        self._users = [subscriber(number).identities[0].decode() for number in range(SUBSCRIBERS)]
        self._turn = itertools.cycle(range(SUBSCRIBERS))

    async def open(self, port: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(SOCKETS):
            made = BenchNas(self)
            await loop.create_datagram_endpoint(lambda made=made: made, remote_addr=("127.0.0.1", port))  # type: ignore[misc]
            self._sockets.append(made)

    def close(self) -> None:
        for one in self._sockets:
            one.close()

    def packet(self, status: AcctStatusType, index: int, identifier: int) -> bytes:
        lasted_s = 0 if status is AcctStatusType.START else int(time.monotonic() - self._began_s) + 1
        self._octets[index] += 40_000
        packet = Packet(PacketCode.ACCOUNTING_REQUEST, identifier)
        user = self._users[index]
        packet.add(USER_NAME, user).add(NAS_IDENTIFIER, "bras1").add(NAS_PORT_ID, f"ge-0/0/1:{index}")
        packet.add(ACCT_STATUS_TYPE, int(status)).add(ACCT_SESSION_ID, f"s{index:08}").add(ACCT_SESSION_TIME, lasted_s)
        packet.add(ACCT_INPUT_OCTETS, self._octets[index] // 4).add(ACCT_OUTPUT_OCTETS, self._octets[index])
        packet.add(CLASS, f"ocs1.{index:020x}.0123456789ab".encode())
        return signed_request(packet, SECRET, sign=False)

    def send(self, planned_ns: int, status: AcctStatusType = AcctStatusType.INTERIM_UPDATE) -> bool:
        index = next(self._turn)
        self._sockets[index % SOCKETS].send(status, index, planned_ns)
        return True

    def answered_in(self, ns: int) -> None:
        self.answered += 1
        self.latencies_ns.append(ns)
        if self.refill:
            self.send(time.monotonic_ns())

    async def begin(self) -> None:
        """Every session has its Start."""
        for _ in range(SUBSCRIBERS):
            before = self.answered
            self.send(time.monotonic_ns(), AcctStatusType.START)
            async with asyncio.timeout(10):
                while self.answered == before:
                    await asyncio.sleep(0)

    async def saturate(self, in_flight: int, seconds: float) -> float:
        """Answers in a second."""
        self.refill, self.answered = True, 0
        started = time.monotonic()
        for _ in range(in_flight):
            self.send(time.monotonic_ns())
        await asyncio.sleep(seconds)
        self.refill = False
        rate = self.answered / (time.monotonic() - started)
        await asyncio.sleep(0.3)
        return rate

    async def pace(self, rate: float, seconds: float) -> tuple[float, float, float]:
        """p50 and p99 in ms, answers in a second."""
        self.latencies_ns.clear()
        self.answered = 0
        pacer = Pacer(plan(rate, "poisson", random.Random(1)), self.send)
        pacer.start()
        await asyncio.sleep(seconds)
        pacer.stop()
        await asyncio.sleep(0.3)
        found = sorted(self.latencies_ns) or [0]
        at = [found[min(len(found) - 1, len(found) * part // 100)] / 1e6 for part in (50, 99)]
        return at[0], at[1], self.answered / seconds


class LoginPasswords(Provision):
    """Subscribers that have a password."""

    def identified(self, who: Payee) -> dict[str, Any]:
        return {**super().identified(who), "password": PASSWORD.decode()}


class BenchLogins(BenchBras):
    """The same subscribers log in, by PAP or by CHAP."""

    is_chap = False

    def packet(self, status: AcctStatusType, index: int, identifier: int) -> bytes:
        random_octets = secrets.token_bytes(16)
        packet = Packet(PacketCode.ACCESS_REQUEST, identifier, random_octets)
        packet.add(USER_NAME, self._users[index]).add(NAS_IDENTIFIER, "bras1").add(NAS_PORT_ID, f"ge-0/0/1:{index}")
        if self.is_chap:
            packet.add(CHAP_PASSWORD, chap_response(1, PASSWORD, random_octets))
        else:
            packet.add(USER_PASSWORD, hide_password(PASSWORD, SECRET, random_octets))
        return signed_request(packet, SECRET)


ECHO: Final = """
import asyncio, sys
class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport): self.transport = transport
    def datagram_received(self, data, addr): self.transport.sendto(data[:20], addr)
async def serve():
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
    print(transport.get_extra_info("sockname")[1], flush=True)
    await asyncio.Event().wait()
import uvloop
uvloop.run(serve())
"""


@contextlib.asynccontextmanager
async def udp_echo() -> AsyncIterator[BenchBras]:
    """The same client before a server that answers each datagram with its head."""
    child = subprocess.Popen([sys.executable, "-c", ECHO], stdout=subprocess.PIPE)
    assert child.stdout is not None
    bras = BenchBras()
    try:
        await bras.open(int(child.stdout.readline()))
        yield bras
    finally:
        bras.close()
        child.kill()
        child.communicate()


async def measure(seconds: float, in_flight: int = 64, workers: int = 2) -> dict[str, float]:
    acct, auth = free_ports(2)
    client = 'radius.clients=[{address="127.0.0.0/8", secret="testing123", group="bras", interim_s=600}]'
    rated = "charging.services.data.rating_group=10"  # of a line that names none
    ports = f"radius.acct_listen=127.0.0.1:{acct}", f"radius.auth_listen=127.0.0.1:{auth}"
    listens = (*ports, client, rated)
    scenario = load("data", subscribers=SUBSCRIBERS, sessions=SUBSCRIBERS)
    found: dict[str, float] = {}
    async with running(*listens, "durability=always", f"workers={workers}") as server:
        async with Api(server.url, server.token) as api:
            await LoginPasswords(api, scenario).run()
        calm_collector()
        diameter = LoadClient(Target("127.0.0.1", server.diameter_port), connections=4, timeout_s=5)
        await diameter.start()
        load_run = LoadRun(diameter, scenario, seed=1)
        await load_run.saturate(in_flight, 1.0)
        ccr_s, ccr = await spent(server, load_run.saturate(in_flight, seconds), lambda: load_run.turn_page().answered)
        await load_run.finish()
        await diameter.stop()
        bras = BenchBras()
        await bras.open(acct)
        await bras.begin()
        await bras.saturate(in_flight, 1.0)
        before = bras.answered
        interim_s, interim = await spent(server, bras.saturate(in_flight, seconds), lambda: bras.answered)
        assert before > 0
        found["Interim/s"], found["CCR/s"] = round(interim_s), round(ccr_s)
        for role, us in interim.items():
            found[f"{role} us"] = round(us, 1)
        found["server us per Interim"] = round(sum(interim.values()), 1)
        found["server us per CCR"] = round(sum(ccr.values()), 1)
        found["Interim / CCR"] = round(sum(interim.values()) / sum(ccr.values()), 2)
        ours = [(rate, await bras.pace(rate, seconds)) for rate in RATES]
        bras.close()
        logins = BenchLogins()
        await logins.open(auth)
        for logins.is_chap in (False, True):
            await logins.saturate(in_flight, 1.0)  # also until it is known of whom signatures are demanded
            found[f"{'CHAP' if logins.is_chap else 'PAP'} logins/s"] = round(await logins.saturate(in_flight, seconds))
        assert not logins.refused
        logins.close()
    async with udp_echo() as echo:
        for rate, (p50, p99, reached) in ours:
            _, echo_p99, _ = await echo.pace(rate, seconds)
            found[f"p50 at {rate}/s ms"], found[f"p99 at {rate}/s ms"] = round(p50, 2), round(p99, 2)
            found[f"UDP echo p99 at {rate}/s ms"] = round(echo_p99, 2)
            if reached < 0.97 * rate:
                found[f"reached {rate}"] = round(reached)
    return found


async def spent(server: BenchServer, work: Any, answered: Any) -> tuple[float, dict[str, float]]:
    """Answers in a second, and microseconds of CPU for each by role, the copy to PostgreSQL included."""
    await asyncio.sleep(SETTLE_S)
    answered()
    before, started = await server.cpu_s(), time.monotonic()
    await work
    seconds = time.monotonic() - started
    await asyncio.sleep(SETTLE_S)
    after, count = await server.cpu_s(), max(1, answered())
    return count / seconds, {role: (after[role] - before.get(role, 0.0)) / count * 1e6 for role in after}
