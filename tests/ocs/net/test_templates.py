"""Two workers get the same octets, one of which learns templates: their answers, their calls to the store and their
metrics are the same, whatever the store says and whenever it says it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from itertools import count
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balances.keys import AccountKeys
from balances.redis.calls import Lost, NotSent
from balances.redis.pending import Pending
from balances.structs.charge import Charge, Flag, Reply
from ocs.charging import request_template
from ocs.clock import now_ms
from ocs.net.admission import Admission
from ocs.net.diameter import connection, exchange, templates
from ocs.net.diameter.connection import DiameterConnection
from ocs.net.diameter.credit_control import CreditControl
from ocs.net.diameter.exchange import CreditControlExchange
from ocs.net.diameter.origins import Origins
from ocs.net.diameter.peers import Peers
from ocs.net.diameter.sightings import DiameterSightings
from ocs.net.diameter.templates import LAYOUTS_MAX, TemplateExchange, Templates
from ocs.telemetry import metrics
from ocs.telemetry.metrics import Meter
from ocs.tracing.sighting import Sighting, read_sighting
from ocs.tracing.tracer import Tracer
from ocs.tracing.wish import TraceWish, pack_wish
from protocol.diameter.answers import error_answer
from protocol.diameter.dictionary.credit_control import CreditControlRequest
from protocol.diameter.frames import FrameBuffer
from protocol.diameter.peer import DeliverRequest
from protocol.radius.dictionary import ATTRIBUTES
from tests.ocs.charging.test_template import MB, NOW_S, avps, report
from tests.ocs.charging.wire import MSISDN, I, T, U, ccr, lines, mscc
from tests.ocs.charging.world import EURO, NOW_MS, World
from tests.ocs.net.world import LISTED, LOCAL


class Worker(World):
    """Charging side of a worker and one connection to it; the store answers at once, or when told (`hold`)."""

    def __init__(self, templates_max: int) -> None:
        super().__init__()
        self.account("a1", 10**6 * EURO)
        self.meter = Meter()
        self.calls: list[tuple[Charge, bytes]] = []
        self.hold = False
        self.held_calls: list[tuple[Charge, bytes, Pending[Reply]]] = []
        self.replies: list[Reply | Exception] = []
        """What the store says next instead of what it would."""
        self.mark = Flag(0)
        """What it finds unusual about each request."""
        self.templates = Templates(templates_max)
        self.published: list[Sighting] = []
        self.tracer = Tracer(SimpleNamespace(command=self._publish), "worker 0", ATTRIBUTES)
        self.refused: list[tuple[str, ...]] = []
        seen = {"sightings": DiameterSightings(self.tracer), "refused": lambda *one: self.refused.append(one)}
        self.node = SimpleNamespace(
            **seen, local=LOCAL, meter=self.meter, message_bytes_max=65_536, has_output=lambda _link: None,
            peers=Peers(LISTED), error=self._error, lost=lambda *_: None,
        )  # fmt: skip
        self.admission = Admission(1_000, 500)
        self.origins = Origins(self, lambda _host: False)
        self.node.service = self.service = CreditControl(
            cast(Any, self.node), self.admission, self.context, self.origins, self.templates
        )
        self.links = [self.link("gw.example.net"), self.link("dra.example.net")]
        self.jittered = 0
        self.context.jitter = self._jitter

    def link(self, host: str) -> DiameterConnection:
        machine = SimpleNamespace(ignored=frozenset())
        machine.received = lambda frame, _ms: [DeliverRequest(cast(Any, machine), frame)]
        link = DiameterConnection(cast(Any, self.node), cast(Any, machine), 1, "127.0.0.1", dialled=True)
        link.open, link.peer = True, cast(Any, SimpleNamespace(origin_host=host))
        return link

    def _jitter(self) -> int:
        self.jittered = (self.jittered + 619) % 1_001
        return self.jittered

    def _error(self, request: bytes, error: Any, why: str = "") -> bytes:
        return error_answer(request, error, origin_host="ocs.example.net", origin_realm="example.net", why=why)

    def command(self, *words: str | bytes | int) -> Pending[Any]:
        self.seen.append(" ".join(map(str, words)))
        return Pending()

    def _publish(self, *words: Any) -> Pending[Any]:
        self.published.append(read_sighting(words[2]))
        pending = Pending[Any]()
        pending.resolve(1)
        return pending

    def trace(self) -> None:
        """Somebody watches the subscriber."""
        wish = TraceWish("t1", "anna", 0, now_ms() + 600_000, identities=("msisdn:491700000001",))
        self.tracer.looked([[b"t1", pack_wish(wish)]])

    def charge(self, charge: Charge, context: bytes, of: AccountKeys | None = None) -> Pending[Reply]:
        assert of is not None
        assert of.account == AccountKeys(charge.account).account
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

    def feed(self, frame: bytes, link: int = 0) -> None:
        self.links[link].data_received(frame)

    def answers(self) -> list[bytes]:
        found = []
        for link in self.links:
            found += FrameBuffer().feed(b"".join(link._out))
            link._out.clear()
        return found

    def counted(self) -> dict[tuple[str, tuple[str, ...]], int]:
        """Every metric; of durations how many there were."""
        found = {}
        for series in self.meter.snapshot():
            if series.name != metrics.BY_TEMPLATE.name:
                values = series.values[:-1] if len(series.values) > 1 else series.values
                found[series.name, series.labels] = sum(values)
        return found


class Pair:
    """The same for both."""

    def __init__(self) -> None:
        self.plain, self.learning = Worker(0), Worker(1_000)

    def both(self, what: Callable[[Worker], object]) -> None:
        what(self.plain)
        what(self.learning)
        self.compare()

    def feed(self, asked: CreditControlRequest | bytes, link: int = 0) -> bool:
        """Whether a template served it."""
        frame = asked if isinstance(asked, bytes) else asked.frame
        before = self.served
        self.both(lambda worker: worker.feed(frame, link))
        return self.served > before

    @property
    def served(self) -> int:
        return self.learning.templates.served

    def compare(self) -> None:
        plain, learning = self.plain, self.learning
        assert learning.calls == plain.calls
        self.last = plain.answers()
        assert learning.answers() == self.last
        assert learning.counted() == plain.counted()
        assert learning.seen == plain.seen
        assert learning.jittered == plain.jittered
        assert [link.in_flight for link in learning.links] == [link.in_flight for link in plain.links]
        for what in ("in_flight", "settling"):
            assert getattr(learning.admission, what) == getattr(plain.admission, what)
        assert list(learning.context.facts._facts.items()) == list(plain.context.facts._facts.items())
        assert learning.model.ledger == plain.model.ledger


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "now_ms", lambda: NOW_MS)


def learnt() -> Pair:
    pair = Pair()
    pair.feed(ccr(I, **lines(mscc(10, ask={}))))
    pair.feed(report(1))
    assert len(pair.learning.templates) == 2
    return pair


def ended(number: int, used: int = MB, **fields: Any) -> CreditControlRequest:
    return ccr(T, cc_request_number=number, **lines(mscc(10, used={"cc_total_octets": used})), **fields)


def whole() -> Pair:
    """Templates of all that a session sends are learnt, and another one is open."""
    pair = learnt()
    pair.feed(ended(2))
    assert len(pair.learning.templates) == 3
    assert pair.feed(ccr(I, session_id=OTHER, **lines(mscc(10, ask={}))))
    return pair


OTHER = "gw.example.net;1700000000;2"
ASKED: dict[str, Callable[[], CreditControlRequest]] = {
    "INITIAL": lambda: ccr(I, session_id="gw.example.net;1700000000;3", **lines(mscc(10, ask={}))),
    "UPDATE": lambda: report(1, session_id=OTHER),
    "TERMINATION": lambda: ended(1, session_id=OTHER),
}


def test_the_next_report_is_served_by_it() -> None:
    pair = learnt()
    assert all(pair.feed(report(number, used=number)) for number in range(2, 20))
    assert pair.plain.counted()["ocs_lines_total", ("diameter", "data", "2001")] == 20
    assert not pair.feed(ended(20))


def test_whole_sessions_are_served() -> None:
    pair = whole()
    assert pair.feed(report(1, session_id=OTHER))
    assert pair.feed(ended(2, session_id=OTHER))
    counted = pair.plain.counted()
    for kind, times in (("INITIAL", 2), ("UPDATE", 2), ("TERMINATION", 2)):
        assert counted["ocs_requests_total", ("diameter", "CCR", kind, "2001")] == times
    assert not pair.learning.context.facts._facts


async def test_one_that_is_watched_is_charged_and_answered_the_same_and_shown() -> None:
    pair = learnt()
    pair.learning.trace()
    assert not any(pair.feed(report(number, used=number)) for number in range(2, 6))
    assert not pair.feed(ccr(T, cc_request_number=6, **lines(mscc(10, used={"cc_total_octets": 1}))))
    await asyncio.sleep(0)
    seen = pair.learning.published
    assert len(seen) == 5
    assert [one.calls[0].charge.number for one in seen] == [2, 3, 4, 5, 6]
    assert {(len(one.calls), one.calls[0].status, one.calls[0].charge.account) for one in seen} == {(1, "ok", "a1")}
    assert all(one.request is not None and one.answer is not None for one in seen)
    assert not pair.plain.published


async def test_when_nobody_watches_any_more_templates_serve_again() -> None:
    pair = learnt()
    pair.learning.trace()
    assert not pair.feed(report(2))
    pair.learning.tracer.looked([[]])
    assert pair.feed(report(3))


# ---- whatever the store says

SAID: dict[str, list[Reply | Exception]] = {
    "not sent": [NotSent("no pass")],
    "lost": [Lost("cut")],
    "fenced": [Reply("fenced")],
    "full": [Reply("full")],
    "absent": [Reply("absent")],
    "absent for ever": [Reply("absent")] * 6,
    "stale": [Reply("stale")],
    "facts": [Reply("facts", b"")],
    "longer": [Reply("longer", str(NOW_MS).encode())],
    "elsewhere": [Reply("elsewhere")],
    "other": [Reply("other", b"s1")],
    "stale, then lost": [Reply("stale"), Lost("cut")],
    "nothing that can be read": [Reply("ok", b"\xc1")],
    "a fault": [ValueError("of ours")],
}


@pytest.mark.parametrize("what", SAID)
@pytest.mark.parametrize(
    ("asked", "later", "watched"),
    [("UPDATE", False, False), ("UPDATE", True, False), ("UPDATE", False, True), ("UPDATE", True, True),
     ("INITIAL", True, False), ("TERMINATION", True, False)],
)  # fmt: skip
async def test_whatever_the_store_says(what: str, asked: str, later: bool, watched: bool) -> None:
    pair = whole()
    if watched:
        pair.learning.trace()
    for worker in (pair.plain, pair.learning):
        worker.hold, worker.replies = later, list(SAID[what])
    assert pair.feed(ASKED[asked]()) is not watched
    pair.both(Worker.release)
    for worker in (pair.plain, pair.learning):
        worker.hold = False
    pair.feed(report(3, session_id=OTHER))
    assert len(pair.last) == 1


@pytest.mark.parametrize("said", [Lost("cut"), Reply("fenced"), ValueError("of ours"), Reply("ok", b"\xc1")])
def test_an_initial_that_came_to_nothing(said: Reply | Exception) -> None:
    """What says where its session is goes too, as it does the general way."""
    pair = whole()
    session = "gw.example.net;1700000000;3"
    for worker in (pair.plain, pair.learning):
        worker.replies = [said]
        worker.wheres[session] = "a1", "s1"
    assert pair.feed(ASKED["INITIAL"]())
    assert session not in pair.plain.wheres
    assert pair.learning.wheres == pair.plain.wheres


@pytest.mark.parametrize("flag", [Flag.LATE, Flag.CONFLICT, Flag.OTHER_SUBSCRIBER, Flag.EQUAL])
def test_a_mark_is_counted_for_the_peer(flag: Flag) -> None:
    pair = learnt()
    for worker in (pair.plain, pair.learning):
        worker.mark = flag
    assert pair.feed(report(2))
    assert pair.plain.counted()["ocs_peer_marks_total", ("guest", str(flag.name).lower())] == 1


def test_replies_out_of_an_older_price() -> None:
    """Tariffs are published while the store is asked: the answer is of what was asked."""
    pair = learnt()
    for worker in (pair.plain, pair.learning):
        worker.hold = True
    assert pair.feed(report(2))

    def publish(worker: Worker) -> None:
        worker.context.catalog = World().catalog
        worker.replies = [Reply("stale")]
        worker.hold = False
        worker.release()

    pair.both(publish)
    assert len(pair.last) == 1


def test_two_requests_of_a_session_at_once() -> None:
    pair = learnt()
    for worker in (pair.plain, pair.learning):
        worker.hold = True
    assert pair.feed(report(2))
    assert pair.feed(report(3))
    assert pair.plain.links[0].in_flight == 2
    pair.both(Worker.release)
    assert len(pair.last) == 2


def test_an_answer_too_late_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = learnt()
    monkeypatch.setattr(exchange, "WANTED_US", -1)
    assert pair.feed(report(2))
    assert pair.last == []
    assert pair.plain.counted()["ocs_requests_unanswered_total", ("diameter", "too late")] == 1


def test_a_connection_that_ended_meanwhile() -> None:
    pair = learnt()
    for worker in (pair.plain, pair.learning):
        worker.hold = True
    assert pair.feed(report(2))
    pair.both(lambda worker: worker.links[0].connection_lost(None))
    pair.both(Worker.release)
    assert pair.last == []


@pytest.mark.parametrize("asked", ASKED)
def test_a_store_that_cannot_be_asked(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = whole()

    def broken(*_: object) -> Pending[Reply]:
        raise ValueError("of ours")

    for worker in (pair.plain, pair.learning):
        monkeypatch.setattr(worker, "charge", broken)
        worker.wheres["gw.example.net;1700000000;3"] = "a1", "s1"
    assert pair.feed(ASKED[asked]())
    assert pair.plain.counted()["ocs_invariant_violations_total", ("exception",)] == 1
    assert pair.learning.wheres == pair.plain.wheres


def test_a_fault_of_learning_harms_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("of ours")

    monkeypatch.setattr(templates, "learn", broken)
    pair = Pair()
    for worker in (pair.plain, pair.learning):
        worker.feed(ccr(I, **lines(mscc(10, ask={}))).frame)
    assert pair.learning.answers() == pair.plain.answers()
    assert pair.learning.counted()["ocs_invariant_violations_total", ("exception",)] == 1


# ---- who asks


def test_the_same_session_by_another_connection() -> None:
    pair = learnt()
    assert not pair.feed(report(2), link=1)
    assert pair.feed(report(3), link=1), "learnt"
    assert pair.feed(report(4), link=0), "not forgotten"


def test_vendors_that_are_passed_over_for_another_peer() -> None:
    pair = learnt()
    for worker in (pair.plain, pair.learning):
        worker.links[0].machine.ignored = frozenset({4_242})
    assert not pair.feed(report(2))


def test_an_origin_state_that_was_not_heard_yet() -> None:
    pair = Pair()
    pair.feed(ccr(I, origin_state_id=5, **lines(mscc(10, ask={}))))
    pair.feed(report(1, origin_state_id=5))
    assert pair.feed(report(2, origin_state_id=5))
    for worker in (pair.plain, pair.learning):
        worker.origins.heard.clear()
    assert not pair.feed(report(3, origin_state_id=5)), "it is noted"
    assert pair.feed(report(4, origin_state_id=5))
    assert not pair.feed(report(5, origin_state_id=6))


def test_under_overload_it_is_taken_on_like_any_report() -> None:
    pair = learnt()
    for worker in (pair.plain, pair.learning):
        worker.hold = True
        worker.admission.peer_in_flight_max, worker.admission.peer_free_below = 3, 2
    assert [pair.feed(report(number)) for number in range(2, 7)] == [True, True, True, False, False]
    assert len(pair.last) == 1 or pair.plain.links[0].in_flight == 3


# ---- how many


COUNT = count()


def begun(number: int, group: int = 10) -> CreditControlRequest:
    wish = {"cc_total_octets": (number + 1) * MB}
    return ccr(I, session_id=f"gw.example.net;1;{next(COUNT):05}", **lines(mscc(group, ask=wish)))


def test_it_keeps_as_many_as_it_may_and_those_that_are_used() -> None:
    pair = Pair()
    pair.learning.templates.most = 3
    for number in (0, 1, 2):
        assert not pair.feed(begun(number))
    for number in (3, 4, 5, 6):  # each takes the place of the oldest that is not used
        assert pair.feed(begun(0))
        assert not pair.feed(begun(number))
        assert len(pair.learning.templates) == 3
    assert pair.feed(begun(6))
    assert not pair.feed(begun(2))


def test_layouts_and_lengths_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "LENGTHS_MAX", 5)
    pair = Pair()
    for number in range(20):
        for order in range(LAYOUTS_MAX + 2):
            reorders = tuple({"rating_group": 10 + place} for place in range(order % 3))
            group = [mscc(one["rating_group"], ask={}) for one in reorders] or [mscc(10, ask={})]
            pair.feed(ccr(I, session_id="s" * (5 + number), user_name="u" * order, **lines(*group)))
    shelves = pair.learning.templates._shelves
    assert len(shelves) <= 5
    assert all(len(shelf) <= LAYOUTS_MAX for shelf in shelves.values())
    kept = [one for shelf in shelves.values() for by_fixed in shelf.values() for one in by_fixed.values()]
    assert len(kept) == len(pair.learning.templates) > 0


def test_layouts_of_one_length() -> None:
    """The same AVPs in another order each time: no more of them are compared than is worth it."""
    pair = Pair()
    turns = len(avps(begun(1).frame))
    for turn in range(1, turns):
        plain = begun(1).frame
        places = avps(plain)  # of which Session-Id stays the first
        moved = places[1:]
        moved = moved[turn:] + moved[:turn]
        frame = plain[: places[0][1]] + b"".join(plain[start:end] for start, end in moved)
        assert not pair.feed(frame)
    (shelf,) = pair.learning.templates._shelves.values()
    assert len(shelf) == LAYOUTS_MAX < turns
    assert len(pair.learning.templates) >= LAYOUTS_MAX


def test_a_client_that_never_does_the_same_twice_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is learnt costs more than it can save; what comes again is learnt all the same, later."""
    monkeypatch.setattr(request_template, "LESSONS_MAX", 10)
    pair = Pair()
    for number in range(40):
        assert not pair.feed(begun(1, 10 + number))
    assert len(pair.learning.templates) == 10
    assert any(pair.feed(begun(1, 9)) for _ in range(150))


def test_nothing_stays_of_a_request_that_was_answered() -> None:
    """Also without the garbage collector, which does not look into what a template keeps."""
    gc.collect()
    gc.disable()
    try:
        before = exchanges()
        pair = Pair()
        for worker in (pair.plain, pair.learning):
            worker.hold = True
        for asked in (ccr(I, cc_request_number=0, **lines(mscc(10, ask={}))), report(1), report(2), report(3)):
            pair.feed(asked)
            pair.both(Worker.release)
        assert len(pair.learning.templates) == 2
        assert pair.served == 2
        assert exchanges() == before
    finally:
        gc.enable()


def exchanges() -> int:
    return sum(isinstance(one, CreditControlExchange | TemplateExchange) for one in gc.get_objects())


# ---- at random

REQUEST = st.tuples(
    st.sampled_from(["U", "U", "U", "U", "U", "U", "again", "resend", "I", "T"]),
    st.integers(0, 3 * MB),
    st.sampled_from([10, 10, 10, 20]),
    st.sampled_from(["s1", "s1", "s2"]),
    st.sampled_from([None, None, None, "stale", "absent", "fenced", "lost", "late"]),
    st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(REQUEST, min_size=5, max_size=25))
def test_any_traffic(requests: list[tuple[str, int, int, str, str | None, bool]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "now_ms", lambda: NOW_MS)
        pair = Pair()
        last = report(1, session_id="s1")
        for number, (kind, used, group, session, said, hold) in enumerate(requests):
            replies: dict[str | None, list[Reply | Exception]] = {
                None: [], "stale": [Reply("stale")], "absent": [Reply("absent")],
                "fenced": [Reply("fenced")], "lost": [Lost("cut")], "late": [],
            }  # fmt: skip
            for worker in (pair.plain, pair.learning):
                worker.hold, worker.replies = hold, list(replies[said])
            reported = lines(mscc(group, ask={"cc_total_octets": 3 * MB}, used={"cc_total_octets": used}))
            told: dict[str, Any] = {"session_id": session, "event_timestamp": NOW_S, "subscription_id": (MSISDN,)}
            match kind:
                case "U":
                    last = ccr(U, cc_request_number=number, **reported, **told)
                case "resend":
                    last = CreditControlRequest.decode(last.frame[:4] + b"\xd0" + last.frame[5:])
                case "I":
                    last = ccr(I, cc_request_number=0, **lines(mscc(group, ask={})), **told)
                case "T":
                    last = ccr(T, cc_request_number=number, **reported, **told)
            pair.feed(last)
            if said != "late":
                pair.both(Worker.release)
        pair.both(Worker.release)
