"""What a worker spends on each request of sessions of four, from its octets to those of the answer, sockets and the
store left out: the general way, and with the templates of its sessions. Both ask the store the same and answer the
same, which is checked first.

    python -m tests.bench.octets [profile [I|U|T]]
"""

from __future__ import annotations

import asyncio
import cProfile
import gc
import pstats
import sys
import time
from types import SimpleNamespace
from typing import Any, Final, cast

from balances.keys import NUMBERS
from balances.model.store import Model
from balances.packing import fresh_account, pack
from balances.redis.connection import RedisConnection
from balances.redis.fence import Pass
from balances.structs.blob import raw_of
from balances.structs.posting import AccountOpening
from loadtest.subscriber import TERMINATION
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

AT_ONCE: Final = 16
"""Sessions whose requests come with one read, as at saturation."""
COURSE: Final = ("I", "first U", "U", "T")
"""Of a session."""
TRIES: Final = 150


def respond(words: list[Any]) -> bytes:
    """A reply as the store writes it."""
    parts = [b"$%d\r\n%s\r\n" % (len(w), w) if isinstance(w, bytes) else b":%d\r\n" % w for w in words]
    return b"*%d\r\n" % len(words) + b"".join(parts)


class Traffic:
    """Requests of some sessions, and what the store says to them, by step of their course."""

    def __init__(self) -> None:
        self.world, model = World(), Model()
        for number in range(AT_ONCE):
            account = fresh_account(f"a-{number:07d}", "EUR")
            account.buckets[0].amount = 10**14
            model.open(account.id, AccountOpening(raw_of(pack(account)), [], [], self.world.now_ms, "open"))
        self.asked: list[bytes] = []
        self.said: list[bytes] = []
        self.profiles: dict[tuple[str, ...], Any] = {}
        for step in COURSE:
            frames, replies = [], []
            for number in range(AT_ONCE):
                session = self.world.sessions[number]
                if step == "T":
                    session.phase = TERMINATION
                number_before, phase, used = session.number, session.phase, session.used
                charge = self.world.charge(number)
                session.number, session.phase, session.used = number_before, phase, used
                frames.append(self.world.frame(number))
                placed = b"+OK\r\n" if step == "I" else b""  # of the key that says where the session is
                replies.append(placed + respond([b"ok", model.charge(*charge).outcome]))
                msisdn, imsi = (name.decode() for name in session.subscriber.identities)
                self.profiles[f"msisdn:{msisdn}", f"imsi:{imsi}"] = self.world.profiles[number]
            self.asked.append(b"".join(frames))
            self.said.append(b"".join(replies))


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
        node.sightings = SimpleNamespace(tracer=SimpleNamespace(watched=()))
        profiles = SimpleNamespace(of=traffic.profiles.get)
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

    def turn(self, step: int) -> None:
        """Requests in, calls out, replies in, answers out."""
        self._link.data_received(self._traffic.asked[step])
        self._store._flush()
        self._store.data_received(self._traffic.said[step])
        self._link.flush()

    def course(self, best: list[int]) -> None:
        """Whole sessions; of each step the least nanoseconds that it took."""
        for step in range(len(COURSE)):
            began = time.thread_time_ns()
            self.turn(step)
            best[step] = min(best[step], time.thread_time_ns() - began)
        self.answered.clear()
        self.sent.clear()

    def us(self) -> list[float]:
        """Of one request, by step: the least of many turns."""
        best = [10**12] * len(COURSE)
        for _ in range(TRIES):
            self.course(best)
        return [one / AT_ONCE / 1_000 for one in best]


async def measure() -> dict[str, float]:
    """Microseconds by way and step."""
    general, template = _workers()
    gc.collect()
    gc.disable()
    try:
        both = [(general.us(), template.us()) for _ in range(3)]
    finally:
        gc.enable()
    found = {}
    for way, name in enumerate(("general", "template")):
        least = [min(steps) for steps in zip(*(one[way] for one in both), strict=True)]
        for step, us in zip(COURSE, least, strict=True):
            found[f"worker, octets to octets: {name}, {step}"] = round(us, 2)
        found[f"worker, octets to octets: {name}, mean"] = round(sum(least) / len(least), 2)
    return found


def _workers() -> tuple[Worker, Worker]:
    traffic = Traffic()
    now_ms = traffic.world.now_ms
    setattr(connection, "now_ms", lambda: now_ms)  # noqa: B010
    general, template = Worker(traffic, 0), Worker(traffic, 100)
    for worker in (general, template):
        for _ in range(3):
            for step in range(len(COURSE)):
                worker.turn(step)
    assert template.templates.served >= AT_ONCE
    assert (general.templates.served, general.answered, general.sent) == (0, template.answered, template.sent)
    return general, template


async def _profile(steps: str) -> None:
    _, template = _workers()
    profile = cProfile.Profile()
    for _ in range(TRIES):
        for step, name in enumerate(COURSE):
            if name[-1] in steps:
                profile.enable()
            template.turn(step)
            profile.disable()
    pstats.Stats(profile).sort_stats("tottime").print_stats(50)


if __name__ == "__main__":
    if sys.argv[1:2] == ["profile"]:
        asyncio.run(_profile(sys.argv[2] if len(sys.argv) > 2 else "IUT"))
    else:
        for name, spent in asyncio.run(measure()).items():
            print(f"{name:50}{spent:8.2f}")
