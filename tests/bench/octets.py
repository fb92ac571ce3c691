"""What a worker spends on a CCR-U from its octets to those of the answer, sockets and the store left out: the general
way, and by the template of its session. Both ask the store the same and answer the same, which is checked first.

    python -m tests.bench.octets [profile]
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
from ocs.net.admission import Admission
from ocs.net.diameter import connection
from ocs.net.diameter.connection import DiameterConnection
from ocs.net.diameter.credit_control import CreditControl
from ocs.net.diameter.templates import Templates
from ocs.stores.metered import MeteredStore
from ocs.stores.witness import Witness
from ocs.telemetry.log import logger
from ocs.telemetry.metrics import Meter
from protocol.diameter.peer import DeliverRequest
from tests.bench.micro import LOCAL, World

AT_ONCE = 16
"""Requests that come with one read, as at saturation."""
TRIES = 600


def respond(words: list[Any]) -> bytes:
    """A reply as the store writes it."""
    parts = [b"$%d\r\n%s\r\n" % (len(w), w) if isinstance(w, bytes) else b":%d\r\n" % w for w in words]
    return b"*%d\r\n" % len(words) + b"".join(parts)


class Traffic:
    """Reports of one session, and what the store says to them."""

    def __init__(self) -> None:
        self.world, model = World(), Model()
        account = fresh_account("a-0000000", "EUR")
        account.buckets[0].amount = 10**14
        model.open("a-0000000", AccountOpening(raw_of(pack(account)), [], [], self.world.now_ms, "open"))
        model.charge(*self.world.charge(0))
        frames, replies = [], []
        for _ in range(AT_ONCE):
            charge = self.world.charge(0)
            self.world.sessions[0].number -= 1
            frames.append(self.world.frame(0))
            replies.append(respond([b"ok", model.charge(*charge).outcome]))
        self.asked, self.said = b"".join(frames), b"".join(replies)


class Worker:
    """All of a worker between two transports that keep what is written to them."""

    def __init__(self, traffic: Traffic, templates_max: int) -> None:
        self._traffic, world = traffic, traffic.world
        self.answered: list[bytes] = []
        self.sent: list[bytes] = []
        self._store = RedisConnection("unix:///nowhere", now_ms=lambda: world.now_ms)
        self._store._take(Pass.of(dict.fromkeys(NUMBERS, b"7"), ""))
        self._store._transport = self._transport(self.sent)
        self.meter = Meter()
        node: Any = SimpleNamespace(
            local=LOCAL, meter=self.meter, message_bytes_max=65_536, has_output=lambda _link: None, peers=None
        )
        profiles = SimpleNamespace(of=lambda _names: world.profiles[0])
        context = ChargingContext(
            catalog=world.catalog,
            profiles=cast(Any, profiles),
            store=MeteredStore(self._store, self.meter, Witness(logger(), lambda _lost: None)),
            settings=world.settings,
            jitter=lambda: 0,
            **dict.fromkeys(("restore", "session_known", "request_known", "event_known"), cast(Any, None)),
        )
        machine: Any = SimpleNamespace(ignored=frozenset())
        machine.received = lambda frame, _ms: [DeliverRequest(machine, frame)]
        self.templates = Templates(templates_max)
        origins: Any = SimpleNamespace(heard={})
        node.service = CreditControl(node, Admission(10_000, 10_000), context, origins, self.templates)
        self._link = DiameterConnection(node, machine, 1, "127.0.0.1", dialled=True)
        self._link.open, self._link.peer = True, cast(Any, SimpleNamespace(origin_host="1.load.example.net"))
        self._link._transport = self._transport(self.answered)

    def _transport(self, into: list[bytes]) -> Any:
        return SimpleNamespace(write=into.append, get_write_buffer_size=lambda: 0)

    def turn(self) -> None:
        """Requests in, calls out, replies in, answers out."""
        self._link.data_received(self._traffic.asked)
        self._store._flush()
        self._store.data_received(self._traffic.said)
        self._link.flush()

    def us(self) -> float:
        """Of one request, the least of many turns."""
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
        "worker, octets to octets: general": round(min(one for one, _ in both), 2),
        "worker, octets to octets: template": round(min(one for _, one in both), 2),
    }


def _workers() -> tuple[Worker, Worker]:
    traffic = Traffic()
    now_ms = traffic.world.now_ms
    setattr(connection, "now_ms", lambda: now_ms)  # noqa: B010
    general, template = Worker(traffic, 0), Worker(traffic, 100)
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
