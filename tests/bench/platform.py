"""Charging over HTTP of the whole server: CPU per update by process at saturation, beside a CCR-U of the same server;
latency at fixed rates. Sessions have one line of octets, as those of the load test.

    python -m tests.bench platform
"""

from __future__ import annotations

import asyncio
import itertools
import random
import re
import time
from typing import Final, cast

from loadtest.api import Api
from loadtest.client import LoadClient
from loadtest.link import Target
from loadtest.pace import Pacer, plan
from loadtest.provision import Provision
from loadtest.runner import LoadRun, calm_collector
from loadtest.scenario import load
from loadtest.subscriber import subscriber
from tests.bench.radius import spent
from tests.bench.server import running

CONNECTIONS: Final = 64
LENGTH: Final = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
RATES: Final = (1_000, 3_000)
SUBSCRIBERS: Final = 1_000
OCTETS: Final = 1_500_000
UPDATES: Final = 2
"""Of a session, between its start and its stop, where whole sessions are measured."""


class BenchConnection(asyncio.Protocol):
    """One connection that is kept alive, with one request under way."""

    def __init__(self, owner: BenchPlatform) -> None:
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._planned_ns = 0
        self._heard = b""
        self.free = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._heard += data
        head, _, body = self._heard.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if length is None or len(body) < int(length[1]):
            return
        if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 201")):
            self._owner.refused += 1
            self._owner.refusal = self._heard
        self._heard, self.free = b"", True
        self._owner.answered_in(time.monotonic_ns() - self._planned_ns, self)

    def send(self, octets: bytes, planned_ns: int) -> None:
        assert self._transport is not None
        self.free, self._planned_ns = False, planned_ns
        self._transport.write(octets)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class BenchPlatform:
    """Sessions of many subscribers, one request after the other of each.

    updates:  of a session, after which it ends and another one begins; None: it never ends
    """

    def __init__(self, token: str, updates: int | None = None) -> None:
        self.answered, self.refused, self.refill, self.refusal = 0, 0, False, b""
        self.latencies_ns: list[int] = []
        self._updates, self._token = updates, token
        self._numbers = [0] * SUBSCRIBERS
        self._ids = [f"bench-{updates}-{number}" for number in range(SUBSCRIBERS)]
        self._names = itertools.count()
        self._users = [f"{subscriber(number).identities[0].decode()}" for number in range(SUBSCRIBERS)]
        self._connections: list[BenchConnection] = []
        self._turn = itertools.cycle(range(SUBSCRIBERS))

    async def open(self, port: int) -> None:
        """Anew: the server closes what is idle for some seconds."""
        self.close()
        loop = asyncio.get_running_loop()
        for _ in range(CONNECTIONS):
            made = BenchConnection(self)
            await loop.create_connection(lambda made=made: made, "127.0.0.1", port)  # type: ignore[misc]
            self._connections.append(made)

    def close(self) -> None:
        for one in self._connections:
            one.close()
        self._connections.clear()

    def request(self, index: int) -> bytes:
        """The next one of a session, as a client of ours writes it."""
        number, who = self._numbers[index], self._users[index]
        self._numbers[index] += 1
        begin = f'{{"service":"data","identity":"msisdn:{who}",'
        asked = f'"requested":{{"octets":{2 * OCTETS}}}'
        used = f'"used":{{"octets":{OCTETS + number % 1000}}}'
        if number == 0:
            self._ids[index] = f"bench-{self._updates}-{next(self._names)}"
            what = f'"id":"{self._ids[index]}","lines":[{{"rating_group":10,{asked}}}]}}'
            return self._octets("", begin + what, f"Idempotency-Key: {self._ids[index]}\r\n")
        if self._updates is not None and number > self._updates:
            self._numbers[index] = 0
            what = f'"number":{number},"lines":[{{"rating_group":10,{used}}}]}}'
            return self._octets(f"/{self._ids[index]}/stop", begin + what)
        what = f'"number":{number},"lines":[{{"rating_group":10,{used},{asked}}}]}}'
        return self._octets(f"/{self._ids[index]}/update", begin + what)

    def _octets(self, path: str, body: str, more: str = "") -> bytes:
        return (
            f"POST /v1/charging/sessions{path} HTTP/1.1\r\nHost: ocs.example.net\r\nUser-Agent: bench/1\r\n"
            f"Accept: */*\r\nAuthorization: Bearer {self._token}\r\nContent-Type: application/json\r\n{more}"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode()

    def send(self, planned_ns: int) -> bool:
        for one in self._connections:
            if one.free:
                one.send(self.request(next(self._turn)), planned_ns)
                return True
        return False

    def answered_in(self, ns: int, by: BenchConnection) -> None:
        self.answered += 1
        self.latencies_ns.append(ns)
        if self.refill:
            by.send(self.request(next(self._turn)), time.monotonic_ns())

    async def begin(self) -> None:
        """Every session has its start."""
        before = self.answered
        for _ in range(SUBSCRIBERS):
            async with asyncio.timeout(10):
                while not self.send(time.monotonic_ns()):
                    await asyncio.sleep(0.001)
        async with asyncio.timeout(10):
            while self.answered - before < SUBSCRIBERS:
                await asyncio.sleep(0.001)

    async def saturate(self, port: int, seconds: float) -> float:
        """Answers in a second."""
        await self.open(port)
        self.refill, self.answered = True, 0
        started = time.monotonic()
        for one in self._connections:
            one.send(self.request(next(self._turn)), time.monotonic_ns())
        await asyncio.sleep(seconds)
        self.refill = False
        rate = self.answered / (time.monotonic() - started)
        await asyncio.sleep(0.3)
        if self.refused:
            raise SystemExit(f"{self.refused} refused: {self.refusal!r}")
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


async def measure(seconds: float, in_flight: int = CONNECTIONS) -> dict[str, float]:
    """Microseconds of CPU, and what they are multiples of."""
    scenario = load("data", subscribers=SUBSCRIBERS, sessions=SUBSCRIBERS)
    found: dict[str, float] = {}
    async with running("durability=always", "workers=1") as server:
        async with Api(server.url, server.token) as api:
            await Provision(api, scenario).run()
        calm_collector()
        diameter = LoadClient(Target("127.0.0.1", server.diameter_port), connections=4, timeout_s=5)
        await diameter.start()
        load_run = LoadRun(diameter, scenario, seed=1)
        platform, whole = BenchPlatform(server.token), BenchPlatform(server.token, UPDATES)
        port = server.http_port
        await platform.open(port)
        await platform.begin()
        await platform.saturate(port, 1.0)
        await whole.saturate(port, 1.0)
        await load_run.saturate(in_flight, 1.0)
        taken: dict[str, dict[str, float]] = {}
        for _ in range(2):
            for name, of, count in (
                ("CCR", lambda: load_run.saturate(in_flight, seconds / 2), lambda: load_run.turn_page().answered),
                ("update", lambda: platform.saturate(port, seconds / 2), lambda: platform.answered),
                ("request of whole sessions", lambda: whole.saturate(port, seconds / 2), lambda: whole.answered),
            ):
                rate, us = await spent(server, of(), count)
                found[f"{name}: a second"] = round(rate)
                before = taken.get(name, us)
                taken[name] = {role: (us[role] + before[role]) / 2 for role in us}
        await load_run.finish()
        await diameter.stop()
        ccr = taken["CCR"]
        for name, us in taken.items():
            serves = "worker" if name == "CCR" else "api"
            found[f"{name}: {serves} us"] = round(us[serves], 1)
            found[f"{name}: all us"] = round(sum(us.values()), 1)
            if name != "CCR":
                found[f"{name} / CCR: the process that serves it"] = round(us[serves] / ccr["worker"], 2)
                found[f"{name} / CCR: all"] = round(sum(us.values()) / sum(ccr.values()), 2)
        await platform.open(port)
        for rate in RATES:
            p50, p99, reached = await platform.pace(rate, seconds / 2)
            found[f"p50 at {rate}/s ms"], found[f"p99 at {rate}/s ms"] = round(p50, 2), round(p99, 2)
            if reached < 0.97 * rate:
                found[f"reached {rate}"] = round(reached)
        platform.close()
        whole.close()
    return found
