"""What a process of the API spends on each charging request of sessions of four, from its octets to its answer,
sockets and the store left out: by the application, and by templates of its kind. Both ask the store the same and answer
the same, which is checked first. `octets.py` is the same of a worker and Diameter.

    python -m tests.bench.platform_octets [profile]
"""

from __future__ import annotations

import asyncio
import cProfile
import gc
import pstats
import sys
import time
from types import SimpleNamespace
from typing import Any, Final, NamedTuple, cast

import msgspec
import uvicorn
import uvloop
from uvicorn.server import ServerState

from balances.keys import NUMBERS
from balances.model.store import Model
from balances.packing import fresh_account, pack
from balances.redis.connection import RedisConnection
from balances.redis.fence import Pass
from balances.redis.news import NewsTeller
from balances.redis.pending import Pending
from balances.structs.blob import raw_of
from balances.structs.charge import Charge, Phase, Reply
from balances.structs.posting import AccountOpening
from ocs.api.auth import Callers
from ocs.api.http_connection import HttpConnection
from ocs.api.server import application
from ocs.backoffice.charging import ChargingDesk
from ocs.backoffice.charging_templates import PlatformTemplates
from ocs.charging.handle import ChargingContext
from ocs.config.access import Access
from ocs.config.http import Http
from ocs.net.admission import Admission
from ocs.net.room import ConnectionRoom
from ocs.stores.metered import MeteredStore
from ocs.stores.witness import Witness
from ocs.telemetry.log import logger
from ocs.telemetry.metrics import Meter
from tests.bench.micro import World
from tests.bench.octets import AT_ONCE, respond
from tests.bench.platform import UPDATES, BenchPlatform

STEPS: Final = ("start", "first update", "update", "stop")
TRIES: Final = 150
TOKEN: Final = "bench-token"


class RecordedStore:
    """The model as a store, and what the live store would have written."""

    opened_ms = 0

    def __init__(self, model: Model) -> None:
        self._model, self.said = model, list[bytes]()

    def charge(self, charge: Charge, context: bytes, _of: Any = None) -> Pending[Reply]:
        reply = self._model.charge(msgspec.msgpack.decode(pack(charge), type=Charge), context)
        assert reply.status == "ok", reply
        placed = b"+OK\r\n" if charge.phase == Phase.START else b""  # of the key that says where the session is
        self.said.append(placed + respond([b"ok", reply.outcome]))
        pending = Pending[Reply]()
        pending.resolve(reply)
        return pending


class ApiProcess:
    """All of it that serves charging, between transports that keep what is written to them."""

    def __init__(self, world: World, templates_max: int, store: Any = None) -> None:
        self.answered: list[bytes] = []
        self.sent: list[bytes] = []
        meter, http = Meter(), Http()
        self._store = RedisConnection("unix:///nowhere", now_ms=lambda: world.now_ms)
        never: Any = lambda *_: None  # noqa: E731
        self._store.news = NewsTeller(never, never)  # it would ask the store between the turns
        self._store._take(Pass.of(dict.fromkeys(NUMBERS, b"7"), ""))
        self._store._transport = cast(Any, SimpleNamespace(write=self.sent.append, get_write_buffer_size=lambda: 0))
        names = [world.sessions[number].subscriber.identities[0].decode() for number in range(AT_ONCE)]
        profiles = {(f"msisdn:{name}",): world.profiles[number] for number, name in enumerate(names)}
        context = ChargingContext(
            catalog=world.catalog,
            profiles=cast(Any, SimpleNamespace(of=profiles.get)),
            store=store or MeteredStore(self._store, meter, Witness(logger(), lambda _lost: None)),
            settings=world.settings,
            jitter=lambda: 0,
            **dict.fromkeys(("restore", "session_known", "request_known", "event_known"), cast(Any, None)),
        )
        self.templates = PlatformTemplates(templates_max)
        desk = ChargingDesk(context, Admission(10_000, 10_000), lambda: world.now_ms, meter, templates=self.templates)
        backoffice: Any = SimpleNamespace(charging=desk, tags=(), access=Access())
        app = application(backoffice, Callers({TOKEN: "admin"}), http, meter)
        config = uvicorn.Config(
            app, lifespan="off", log_config=None, access_log=False, server_header=False, date_header=False
        )
        config.load()
        room = ConnectionRoom[HttpConnection](most=1_000, silent_max=1_000)
        options = {"config": config, "server_state": ServerState(), "app_state": {}}
        self._connections = [
            HttpConnection(room, http, frozenset[str](), app.charging, **options) for _ in range(AT_ONCE)
        ]
        for one in self._connections:
            one.connection_made(self._transport())

    def _transport(self) -> Any:
        nothing: Any = lambda *_: None  # noqa: E731
        return SimpleNamespace(
            write=self.answered.append,
            is_closing=lambda: False,
            abort=nothing,
            close=nothing,
            get_extra_info=nothing,
            pause_reading=nothing,
            resume_reading=nothing,
        )

    async def turn(self, asked: list[bytes], said: bytes = b"") -> int:
        """Requests in, calls out, replies in, answers out. Nanoseconds of CPU."""
        began_ns = time.thread_time_ns()
        for connection, octets in zip(self._connections, asked, strict=True):
            connection.data_received(octets)
        if said:
            while len(self._store._flying) < AT_ONCE:
                await asyncio.sleep(0)
            self._store._flush()
            self._store.data_received(said)
        while any(not one.cycle.response_complete for one in self._connections):
            await asyncio.sleep(0)
        return time.thread_time_ns() - began_ns


class PlatformTraffic(NamedTuple):
    """Requests of some sessions, one of each, and what the store says to them, by step of their course."""

    world: World
    asked: list[list[bytes]]
    said: list[bytes]


async def recorded() -> PlatformTraffic:
    world, model, platform = World(), Model(), BenchPlatform(TOKEN, UPDATES)
    for number in range(AT_ONCE):
        account = fresh_account(f"a-{number:07d}", "EUR")
        account.buckets[0].amount = 10**14
        model.open(account.id, AccountOpening(raw_of(pack(account)), [], [], world.now_ms, "open"))
    store = RecordedStore(model)
    process = ApiProcess(world, 0, store)
    asked, said = [], []
    for _ in STEPS:
        asked.append([platform.request(number) for number in range(AT_ONCE)])
        await process.turn(asked[-1])
        said.append(b"".join(store.said))
        store.said.clear()
    return PlatformTraffic(world, asked, said)


async def _processes() -> tuple[PlatformTraffic, ApiProcess, ApiProcess]:
    traffic = await recorded()
    general, template = ApiProcess(traffic.world, 0), ApiProcess(traffic.world, 100)
    for process in (general, template):
        for _ in range(3):
            process.answered.clear()
            for asked, said in zip(traffic.asked, traffic.said, strict=True):
                await process.turn(asked, said)
    assert template.templates.served >= AT_ONCE
    assert b"".join(general.answered) == b"".join(template.answered)
    assert b"".join(general.sent) == b"".join(template.sent)
    return traffic, general, template


async def measure() -> dict[str, float]:
    """Microseconds by way and step: the least of many turns."""
    traffic, *both = await _processes()
    best = [[10**12] * len(STEPS), [10**12] * len(STEPS)]
    gc.collect()
    gc.disable()
    try:
        for way in (0, 1, 0, 1):
            for _ in range(TRIES):
                for step, (asked, said) in enumerate(zip(traffic.asked, traffic.said, strict=True)):
                    best[way][step] = min(best[way][step], await both[way].turn(asked, said))
                both[way].answered.clear()
                both[way].sent.clear()
    finally:
        gc.enable()
    found = {}
    for least, name in zip(best, ("application", "template"), strict=True):
        us = [one / AT_ONCE / 1_000 for one in least]
        for what, spent in zip(STEPS, us, strict=True):
            found[f"API, octets to octets: {name}, {what}"] = round(spent, 2)
        found[f"API, octets to octets: {name}, mean"] = round(sum(us) / len(us), 2)
    return found


async def _profile() -> None:
    traffic, _, template = await _processes()
    profile = cProfile.Profile()
    for _ in range(TRIES):
        for asked, said in zip(traffic.asked, traffic.said, strict=True):
            profile.enable()
            await template.turn(asked, said)
            profile.disable()
    pstats.Stats(profile).sort_stats("tottime").print_stats(50)


if __name__ == "__main__":
    if sys.argv[1:2] == ["profile"]:
        uvloop.run(_profile())
    else:
        for what, took in uvloop.run(measure()).items():
            print(f"{what:50}{took:8.2f}")
