"""Two workers get the same packets, one of which learns templates: their answers, their calls to the store and their
metrics are the same, whatever the store says and whenever it says it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest

from balances.keys import AccountKeys
from balances.redis.calls import Lost, NotSent
from balances.redis.pending import Pending
from balances.structs.charge import Charge, Flag, Reply
from ocs.clock import now_ms as wall_ms
from ocs.config.radius import Radius, RadiusClient
from ocs.config.values import Secret
from ocs.net.admission import Admission
from ocs.net.radius import exchange, interims, server
from ocs.net.radius.accounting import Accounting
from ocs.net.radius.clients import NasClients
from ocs.net.radius.interims import TRIES_MAX, InterimTemplates
from ocs.net.radius.server import RadiusServer, Served
from ocs.telemetry import metrics
from ocs.telemetry.metrics import Meter
from ocs.tracing.sighting import Sighting, read_sighting
from ocs.tracing.tracer import Tracer
from ocs.tracing.wish import TraceWish, pack_wish
from protocol.radius.codes import PacketCode
from protocol.radius.dictionary import ATTRIBUTES
from protocol.radius.dictionary.values import AcctStatusType
from tariffs.load import load_tariff
from tests.ocs.charging.radius.nas import SECRET, USER, accounting, shown
from tests.ocs.charging.world import EURO, NOW_MS, World, ready

NOW_S = NOW_MS // 1_000
CLASS = b"ocs1.00112233445566778899.0123456789ab"
SOURCE = ("10.0.0.1", 4_000)
START, INTERIM, STOP = AcctStatusType.START, AcctStatusType.INTERIM_UPDATE, AcctStatusType.STOP
TARIFF = """tariff = "t"
currency = "EUR"
[[rows]]
when = {{ service = "data" }}
flat = {{ price = "0.01", per = "{per}" }}
"""
TARIFFS = {"octets": TARIFF.format(per="1 MB"), "seconds": TARIFF.format(per="1 min")}


class NasWorker(World):
    """The RADIUS side of a worker; the store answers at once, or when told (`hold`)."""

    is_secure = False
    codes = (PacketCode.ACCOUNTING_REQUEST,)
    ours = ("10.0.0.254", 1813)

    def __init__(self, templates_max: int, *documents: str, **client: Any) -> None:
        super().__init__(*documents)
        self.subscriber(f"username:{USER}", balance=10**6 * EURO)
        self.meter, self.admission = Meter(), Admission(1_000, 500)
        self.calls: list[tuple[Charge, bytes]] = []
        self.hold = False
        self.held_calls: list[tuple[Charge, bytes, Pending[Reply]]] = []
        self.replies: list[Reply | Exception] = []
        """What the store says next instead of what it would."""
        self.mark = Flag(0)
        """What it finds unusual about each request."""
        self.answered: list[tuple[bytes, tuple[str, int]]] = []
        self.templates = InterimTemplates(self.context, templates_max)
        block = RadiusClient("10.0.0.0/8", Secret(SECRET.decode()), **{"group": "bras"} | client)
        serves: dict[PacketCode, Served] = {}
        self.published: list[Sighting] = []
        self.tracer = Tracer(SimpleNamespace(command=self._publish), "worker 0", ATTRIBUTES)
        self.radius = RadiusServer(
            NasClients(Radius(clients=(block,))),
            self.admission,
            self.meter,
            serves,
            self.remark,
            self.templates,
            self.tracer,
        )
        told: dict[str, Any] = {"mark": self.radius.mark, "silence": self.radius.silence}
        accounting = Accounting(self.context, cast(Any, self), cast(Any, self), self.templates, **told)
        serves[PacketCode.ACCOUNTING_REQUEST] = accounting.serve
        self.radius.traced[PacketCode.ACCOUNTING_REQUEST] = lambda trace: (
            accounting.within(trace.context(self.context), trace.silent).serve
        )

    def _publish(self, *words: Any) -> Pending[Any]:
        self.published.append(read_sighting(words[2]))
        return ready(1)

    def trace(self) -> None:
        """Somebody watches the subscriber."""
        wish = TraceWish("t1", "anna", 0, wall_ms() + 600_000, identities=(f"username:{USER}",))
        self.tracer.looked([[b"t1", pack_wish(wish)]])

    async def newest_ms(self, _nas: str) -> int:
        """A NAS that never said that it restarted."""
        return 0

    def began(self, *_: object) -> Pending[None]:
        """A port."""
        return ready(None)

    ended = began

    def charge(self, charge: Charge, context: bytes, of: AccountKeys | None = None) -> Pending[Reply]:
        self.calls.append((charge, context))
        pending = Pending[Reply]()
        if self.hold:
            self.held_calls.append((charge, context, pending))
        else:
            self.settle(charge, context, pending)
        return pending

    def settle(self, charge: Charge, context: bytes, pending: Pending[Reply]) -> None:
        said = self.replies.pop(0) if self.replies else None
        if isinstance(said, Exception):
            pending.fail(said)
        elif said is not None:
            pending.resolve(said)
        else:
            super().charge(charge, context).then(lambda reply, _error: pending.resolve(self._marked(reply)))

    def _marked(self, reply: Reply) -> Reply:
        reply.marks |= self.mark
        return reply

    def release(self) -> None:
        while self.held_calls:
            self.settle(*self.held_calls.pop(0))

    def feed(self, octets: bytes, source: tuple[str, int] = SOURCE) -> None:
        self.radius.received(octets, source, cast(Any, self))

    def send(self, octets: bytes, source: tuple[str, int]) -> None:
        self.answered.append((octets, source))

    def counted(self) -> dict[tuple[str, tuple[str, ...]], int]:
        """Every metric; of durations how many there were."""
        found = {}
        for series in self.meter.snapshot():
            if series.name != metrics.BY_TEMPLATE.name:
                values = series.values[:-1] if len(series.values) > 1 else series.values
                found[series.name, series.labels] = sum(values)
        return found


class NasPair:
    """The same for both."""

    def __init__(self, *documents: str, **client: Any) -> None:
        self.plain, self.learning = NasWorker(0, *documents, **client), NasWorker(1_000, *documents, **client)

    def both(self, what: Callable[[NasWorker], object]) -> None:
        what(self.plain)
        what(self.learning)
        plain, learning = self.plain, self.learning
        assert learning.calls == plain.calls
        assert learning.answered == plain.answered
        assert learning.counted() == plain.counted()
        assert learning.seen == plain.seen
        assert len(learning.radius.window) == len(plain.radius.window)
        for one, other in zip(
            learning.radius.conducts._known.values(), plain.radius.conducts._known.values(), strict=True
        ):
            assert (one.address, one.in_flight, one.counts, one._room) == (
                other.address,
                other.in_flight,
                other.counts,
                other._room,
            )
        for name in ("in_flight", "settling"):
            assert getattr(learning.admission, name) == getattr(plain.admission, name)
        assert list(learning.context.facts._facts.items()) == list(plain.context.facts._facts.items())
        assert learning.model.ledger == plain.model.ledger

    def feed(self, octets: bytes, source: tuple[str, int] = SOURCE) -> bool:
        """Whether a template served it."""
        before = self.learning.templates.served
        self.both(lambda worker: worker.feed(octets, source))
        return self.learning.templates.served > before


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (interims, server):
        monkeypatch.setattr(module, "now_ms", lambda: NOW_MS)
    for module in (interims, server, exchange):
        monkeypatch.setattr(module, "monotonic_us", lambda: 5)


def packet(
    status: AcctStatusType = INTERIM, lasted_s: int = 60, octets: tuple[int, int] = (5, 9), **others: Any
) -> bytes:
    given = {"Class": CLASS, "NAS_Port_Id": "ge-0/0/1:7"} | shown(lasted_s, octets) | others
    return accounting(status, **given).octets


def learnt(*documents: str, **client: Any) -> NasPair:
    pair = NasPair(*documents, **client)
    pair.feed(packet(START, 0, (0, 0)))
    pair.feed(packet(lasted_s=1))
    assert len(pair.learning.templates) == 1
    return pair


def test_the_next_report_is_served_by_it() -> None:
    pair = learnt()
    assert all(pair.feed(packet(lasted_s=60 + n, octets=(n * 1_000, n * 50_000))) for n in range(20))
    assert not pair.feed(packet(STOP, 100, (10**6, 10**7)))
    assert len(pair.learning.templates) == 0, "its session is over"


async def test_one_that_is_watched_is_charged_and_answered_the_same_and_shown() -> None:
    pair = learnt()
    pair.learning.trace()
    octets = packet(lasted_s=70, octets=(10**6, 10**7))
    assert not pair.feed(octets)
    assert not pair.feed(octets)  # it comes again: the same answer, and no other call
    pair.feed(octets[:-1] + b"!")  # not proven
    await asyncio.sleep(0)
    again, forged, first = pair.learning.published  # the first one is over when its answer is out
    assert [call.status for call in first.calls] == ["ok"]
    assert first.answer is not None
    assert (first.peer, first.session, first.local) == ("bras", "radius:bras:bras1;s1", ("10.0.0.254", 1813))
    assert again.answer is not None
    assert not again.calls
    assert forged.answer is None
    assert forged.why.startswith("authenticator")
    pair.learning.tracer.looked([[]])
    assert pair.feed(packet(lasted_s=80, octets=(10**6, 10**7)))


@pytest.mark.parametrize("tariff", sorted(TARIFFS))
@pytest.mark.parametrize(
    "client",
    [{}, {"wraps": True}, {"input_group": 7}, {"input_group": 7, "output_group": 8}, {"profile": "mikrotik"}],
    ids=lambda one: ",".join(one) or "plain",
)
def test_much_of_it(tariff: str, client: dict[str, Any]) -> None:
    """Times, delays and counters of any size, some of them impossible; duplicates, other sources and secrets."""
    rng, pair = Random(tariff), learnt(TARIFFS[tariff], **client)
    octets, before = [0, 0], b""
    for step in range(80):
        octets = [n + rng.choice((0, 3, 10**6, rng.choice((-5, 2**32, 2**33)))) for n in octets]
        octets = [max(n, 0) for n in octets]
        others: dict[str, Any] = {}
        if rng.random() < 0.5:
            others["Event_Timestamp"] = NOW_S - rng.choice((0, 7, 10**7, -(10**6)))
        if rng.random() < 0.3:
            others["Acct_Delay_Time"] = rng.choice((0, 5, 2**32 - 1))
        if rng.random() < 0.1:
            others["Acct_Input_Packets"] = step
        if rng.random() < 0.05:
            others["NAS_Port_Id"] = "other"
        asked = packet(INTERIM, rng.choice((step, 0, 2**32 - 1, step)), (octets[0], octets[1]), **others)
        if rng.random() < 0.1:
            asked = before or asked
        if rng.random() < 0.05:
            asked = asked[:-1] + bytes([asked[-1] ^ 1])
        pair.feed(asked, rng.choice((SOURCE, SOURCE, (SOURCE[0], 4_001), ("10.0.0.2", 4_000))))
        before = asked
    assert pair.learning.templates.served >= 15


SAID: dict[str, list[Reply | Exception]] = {
    "not sent": [NotSent("no pass")],
    "lost": [Lost("cut")],
    "full": [Reply("full")],
    "absent": [Reply("absent")],
    "stale": [Reply("stale")],
    "elsewhere": [Reply("elsewhere")],
    "facts": [Reply("facts", b"")],
    "other": [Reply("other", b"s2")],
    "nonsense": [ValueError("nonsense")],
}


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
async def test_whatever_the_store_says(said: list[Reply | Exception], watched: bool) -> None:
    pair = learnt()
    if watched:
        pair.learning.trace()

    def says(worker: NasWorker) -> None:
        worker.replies = list(said)

    pair.both(says)
    assert pair.feed(packet(lasted_s=70)) is not watched
    pair.feed(packet(lasted_s=80, octets=(50, 70)))


def test_what_is_marked_goes_on_the_general_way() -> None:
    pair = learnt()
    pair.both(lambda worker: setattr(worker, "mark", Flag.LATE))
    assert pair.feed(packet(lasted_s=70))
    assert pair.plain.seen[-1] == "remark bras late"


def test_a_refusal_is_answered_as_before() -> None:
    """It is on record, and says so in the metrics."""
    pair = learnt()
    pair.both(lambda worker: setattr(worker.model.accounts["a1"].buckets[0], "amount", 0))
    assert pair.feed(packet(lasted_s=70, octets=(10**6, 10**8)))
    assert pair.feed(packet(lasted_s=80, octets=(10**6, 10**8)))


def test_many_under_way_at_once() -> None:
    pair = learnt()
    pair.both(lambda worker: setattr(worker, "hold", True))
    asked = [packet(lasted_s=70 + n, octets=(n, n)) for n in range(5)]
    for one in (*asked, *asked):  # each comes again while it is under way
        pair.feed(one, (SOURCE[0], 4_000 + len(one) % 2 + asked.index(one)))
    assert pair.plain.admission.in_flight == 5
    pair.both(lambda worker: worker.release())
    assert pair.plain.admission.in_flight == 0
    assert len(pair.plain.answered) == 7


CHANGES: dict[str, Callable[[NasWorker], object]] = {
    "catalog": lambda worker: setattr(
        worker.context, "catalog", type(worker.catalog)([load_tariff(TARIFFS["octets"], source="t")])
    ),
    "profile": lambda worker: worker.subscriber(f"username:{USER}", rev=2),
    "facts": lambda worker: worker.context.facts.forget("radius:bras:bras1;s1"),
    "draining": lambda worker: setattr(worker.radius, "draining", True),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_changed_meanwhile(change: Callable[[NasWorker], object]) -> None:
    pair = learnt()
    pair.both(change)
    assert not pair.feed(packet(lasted_s=70))
    pair.feed(packet(lasted_s=80))


def test_what_is_not_learnt() -> None:
    pair = NasPair()
    pair.feed(packet(START, 0, (0, 0)))
    for others in (
        {"Proxy_State": b"p"},
        {"Class": None},
        {"Event_Timestamp": NOW_S - 10**7},
        {"Acct_Session_Time": None},
    ):
        pair.feed(packet(**{"session": "x"} | others))
        assert len(pair.learning.templates) == 0, others


def test_one_that_never_serves_is_learnt_a_few_times() -> None:
    pair = learnt()
    for number in range(TRIES_MAX + 3):
        pair.feed(packet(NAS_Port_Id=f"port {number}"))
    assert not pair.feed(packet(NAS_Port_Id=f"port {number}"))


def test_those_of_the_sessions_served_last_are_kept() -> None:
    pair = NasPair()
    pair.learning.templates.most = 2
    for session in ("a", "b", "c"):
        pair.feed(packet(START, 0, (0, 0), session=session))
        pair.feed(packet(session=session))
    assert not pair.feed(packet(session="a", lasted_s=61)), "it is learnt again"
    assert pair.feed(packet(session="c", lasted_s=61))
    assert len(pair.learning.templates) == 2


def test_a_client_beyond_its_rate() -> None:
    pair = learnt(rate_max=6)
    for number in range(6):
        pair.feed(packet(lasted_s=70 + number))
    assert pair.plain.counted()[metrics.DROPPED.name, ("radius", "rate")]


def test_a_fault_of_ours_is_no_end_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = learnt()

    def fails(*_: Any, **__: Any) -> None:
        raise ValueError("ours")

    for worker in (pair.plain, pair.learning):
        monkeypatch.setattr(worker.radius.window, "done", fails)
    assert pair.feed(packet(lasted_s=70))
    assert pair.plain.admission.in_flight == 0
