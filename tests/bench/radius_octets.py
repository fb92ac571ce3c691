"""What a worker spends on an Interim-Update from its datagram to that of the answer, sockets and the store left out:
the general way, and by the template of its session. Both ask the store the same and answer the same, which is checked
first.

    python -m tests.bench.radius_octets [profile]
"""

from __future__ import annotations

import asyncio
import cProfile
import gc
import pstats
import sys
import time
from types import SimpleNamespace
from typing import Any, cast

from balances.keys import NUMBERS
from balances.model.store import Model
from balances.packing import fresh_account, pack
from balances.redis.connection import RedisConnection
from balances.redis.fence import Pass
from balances.structs.blob import raw_of
from balances.structs.posting import AccountOpening
from ocs.charging.handle import ChargingContext
from ocs.config.radius import Radius, RadiusClient
from ocs.config.values import Secret
from ocs.net.admission import Admission
from ocs.net.radius import interims, server
from ocs.net.radius.accounting import Accounting
from ocs.net.radius.clients import NasClients
from ocs.net.radius.duplicates import DuplicateWindow
from ocs.net.radius.interims import InterimTemplates
from ocs.net.radius.server import RadiusServer
from ocs.stores.metered import MeteredStore
from ocs.stores.witness import Witness
from ocs.telemetry.log import logger
from ocs.telemetry.metrics import Meter
from protocol.radius.codes import PacketCode
from protocol.radius.dictionary.values import AcctStatusType
from tests.bench.micro import World
from tests.bench.octets import AT_ONCE, TRIES, respond
from tests.bench.radius import SECRET, BenchBras

SOURCE = ("127.0.0.1", 50_000)


class RadiusTraffic:
    """Packets of one session, and what the store says to them."""

    def __init__(self) -> None:
        self.world, self.model, self.bras = World(), Model(), BenchBras()
        account = fresh_account("a-0000000", "EUR")
        account.buckets[0].amount = 10**14
        self.model.open("a-0000000", AccountOpening(raw_of(pack(account)), [], [], self.world.now_ms, "open"))
        self.start = self.bras.packet(AcctStatusType.START, 0, 0)
        self.asked = [self.bras.packet(AcctStatusType.INTERIM_UPDATE, 0, 1 + number) for number in range(AT_ONCE)]
        charge = self.world.charge(0)
        self.said = respond([b"ok", self.model.charge(*charge).outcome]) * AT_ONCE


class RadiusWorker:
    """The RADIUS side of a worker between two sockets that keep what is written to them."""

    is_secure = False
    codes = (PacketCode.ACCOUNTING_REQUEST,)

    def __init__(self, traffic: RadiusTraffic, templates_max: int) -> None:
        self._traffic, world = traffic, traffic.world
        self.answered: list[bytes] = []
        self.sent: list[bytes] = []
        self._store = RedisConnection("unix:///nowhere", now_ms=lambda: world.now_ms)
        self._store._take(Pass.of(dict.fromkeys(NUMBERS, b"7"), ""))
        self._store._transport = cast(Any, SimpleNamespace(write=self.sent.append, get_write_buffer_size=lambda: 0))
        self.meter = Meter()
        context = ChargingContext(
            catalog=world.catalog,
            profiles=cast(Any, SimpleNamespace(of=lambda _names: world.profiles[0])),
            store=MeteredStore(self._store, self.meter, Witness(logger(), lambda _lost: None)),
            settings=world.settings,
            jitter=lambda: 0,
            **dict.fromkeys(("restore", "session_known", "request_known", "event_known"), cast(Any, None)),
        )
        client = RadiusClient("127.0.0.0/8", Secret(SECRET.decode()), group="bras", rate_max=1_000_000)
        serves: dict[PacketCode, Any] = {}
        self.templates = templates = InterimTemplates(context, templates_max)
        self.server = RadiusServer(
            NasClients(Radius(clients=(client,))),
            Admission(10_000, 10_000),
            self.meter,
            serves,
            lambda *_: None,
            templates,
        )
        accounting = Accounting(
            context, cast(Any, None), cast(Any, None), templates, mark=self.server.mark, silence=self.server.silence
        )
        serves[PacketCode.ACCOUNTING_REQUEST] = accounting.serve

    def send(self, octets: bytes, _source: tuple[str, int]) -> None:
        self.answered.append(octets)

    def turn(self) -> None:
        """Packets in, calls out, replies in, answers out."""
        self.server.window = DuplicateWindow()  # else they are the same again
        for packet in self._traffic.asked:
            self.server.received(packet, SOURCE, cast(Any, self))
        self._store._flush()
        self._store.data_received(self._traffic.said)

    def us(self) -> float:
        """Of one packet, the least of many turns."""
        best = 10**12
        for _ in range(TRIES):
            began = time.thread_time_ns()
            self.turn()
            best = min(best, time.thread_time_ns() - began)
            self.answered.clear()
            self.sent.clear()
        return best / AT_ONCE / 1_000


async def measure() -> dict[str, float]:
    """Microseconds by way."""
    general, template = _workers()
    gc.collect()
    gc.disable()
    try:
        both = [(general.us(), template.us()) for _ in range(3)]
    finally:
        gc.enable()
    return {
        "worker, an Interim: general": round(min(one for one, _ in both), 2),
        "worker, an Interim: template": round(min(one for _, one in both), 2),
    }


def _workers() -> tuple[RadiusWorker, RadiusWorker]:
    traffic = RadiusTraffic()
    now_ms = traffic.world.now_ms
    for module in (interims, server):
        setattr(module, "now_ms", lambda: now_ms)  # noqa: B010
    general, template = RadiusWorker(traffic, 0), RadiusWorker(traffic, 100)
    for worker in (general, template):
        worker.turn()  # learns
        worker.turn()
    assert template.templates.served == AT_ONCE
    assert (general.templates.served, general.answered, general.sent) == (0, template.answered, template.sent)
    return general, template


async def _profile() -> None:
    _, template = _workers()
    profile = cProfile.Profile()
    profile.enable()
    for _ in range(TRIES):
        template.turn()
    profile.disable()
    pstats.Stats(profile).sort_stats("tottime").print_stats(30)


if __name__ == "__main__":
    if sys.argv[1:] == ["profile"]:
        asyncio.run(_profile())
    else:
        print(asyncio.run(measure()))
