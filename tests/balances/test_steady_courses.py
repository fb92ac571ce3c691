"""The steady path of a client that runs its session by itself and reports by counters (charging.md section 8).

What a NAS says again and again is taken; at its edges nothing differs, which `Twins` asserts at every call.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import msgspec
import pytest

from balances.structs.account import MAIN, Bucket
from balances.structs.blob import raw_of
from balances.structs.charge import Ask, Course, Cumulative, Phase, UsageReport
from balances.structs.session import SessionState
from tariffs.ladder import Ladder, Step
from tariffs.units import EXACT_MAX, SECONDS_MAX, Kind
from tests.balances.test_steady import ACCOUNT, DATA, FREE, ODD, START_MS, VOICE, Network
from tests.balances.test_steady_edges import LARGE, SMALL

PHASES = {Course.BEGINS: Phase.START, Course.GOES_ON: Phase.UPDATE, Course.ENDS: Phase.STOP}
RATE = 1_000
"""Octets a second that a line can carry."""
WRAP = 2**32
HIT_RATE_LEAST = 0.85
HOLD = "radius-hold;p"


class CourseLine:
    """What the counters of one line show, by place."""

    def __init__(self, group: int, by: Ladder, unit: Kind = Kind.OCTETS, *shown: int, **counter: int) -> None:
        self.group, self.by, self.unit, self.counter = group, by, unit, {"per_second": RATE} | counter
        self.shown = dict(enumerate(shown or (0, 0), 1))

    def ask(self, asked: int, at_ms: int, *, reports: bool, **others: Any) -> Ask:
        found = []
        for place, amount in self.shown.items() if reports else ():
            said = [-1, -1, -1, -1]
            said[self.unit] = amount
            found.append(UsageReport(said[0], said[1], said[2], said[3], at_ms, 0, [Cumulative(place, **self.counter)]))
        if reports and self.unit == Kind.OCTETS:  # time goes along
            found.append(UsageReport(-1, -1, 60, -1, at_ms, 0, [Cumulative(3, 0, 1)]))
        fields: dict[str, Any] = {"default": 500, "minimum": 10, "maximum": 0, "validity_ms": 600_000}
        made = Ask(self.group, -1, self.unit, found, asked, priority=0, ladder=blob(self.by), **fields)
        for name, value in others.items():
            setattr(made, name, value)
        return made


def blob(by: Ladder) -> Any:
    return raw_of(msgspec.msgpack.encode(by))


class CourseNas:
    """A session of the one account that its client runs."""

    def __init__(self, network: Network, *lines: CourseLine, session: str = "nas;1", recorded: bool = False) -> None:
        self.network, self.session, self.recorded = network, session, recorded
        self.lines = lines or (CourseLine(-1, DATA),)
        self.began_ms, self.token, self.packets = network.now_ms, "" if recorded else "a1b2", 0

    def send(self, course: Course, *asks: Ask, reports: bool = True, **others: Any) -> bool:
        network = self.network
        self.packets += 1
        asked = -1 if course is Course.ENDS or self.recorded else 300
        at_ms = others.get("event_ms", network.now_ms - 300)
        said = asks or tuple(line.ask(asked, at_ms, reports=reports) for line in self.lines)
        phase = others.pop("phase", Phase.RECORD if self.recorded else PHASES.get(course))
        key = f"{int(phase)}:0:{self.packets}"
        began_ms = max(self.began_ms, 0)
        fields: dict[str, Any] = {
            "key": key,
            "number": 0,
            "countable": False,
            "course": course,
            "token": self.token,
            "began_ms": began_ms,
            "lasted_s": max(at_ms - began_ms, 0) // 1_000,
            "event_ms": at_ms,
            "adopts": "" if self.recorded else HOLD,
            "identification": "01ff",
            "origin_state": began_ms // 1_000,
            "seek": course is not Course.BEGINS,
        }
        return network.send(phase, *said, session=self.session, **(fields | others))

    def start(self, **others: Any) -> bool:
        return self.send(Course.BEGINS, reports=False, **others)

    def grow(self, *units: int) -> None:
        for line in self.lines:
            for place, more in enumerate(units, 1):
                line.shown[place] = line.shown.get(place, 0) + more

    def interim(self, *units: int, **others: Any) -> bool:
        self.network.now_ms += 60_000
        self.grow(*units)
        return self.send(others.pop("course", Course.GOES_ON), **others)

    def stop(self, *units: int, **others: Any) -> bool:
        self.network.now_ms += 60_000
        self.grow(*units)
        return self.send(Course.ENDS, **others)

    @property
    def balance(self) -> int:
        return self.network.twins.model.accounts[ACCOUNT].buckets[0].amount


@pytest.fixture
def network(redis_url: str) -> Iterator[Network]:
    made = Network(redis_url)
    yield made
    made.twins.close()


# --- what is usual


@pytest.mark.parametrize("by", [DATA, FREE, ODD], ids=lambda one: one.tag)
@pytest.mark.parametrize("lines", [1, 2, 3])
def test_a_session_from_its_start_to_its_stop(network: Network, by: Ladder, lines: int) -> None:
    """Within what is held, beyond it, and nothing at all."""
    nas = CourseNas(network, *(CourseLine(group, by) for group in range(lines)))
    assert nas.start()
    for units in ((100, 200), (0, 0), (5_000, 20_000), (0, 300), (1, 0)):
        assert nas.interim(*units)
    assert nas.stop(50, 7)
    assert network.twins.sessions(ACCOUNT)[nas.session].state == SessionState.CLOSED


def test_use_by_time(network: Network) -> None:
    """Its counter is the third."""
    nas = CourseNas(network, CourseLine(-1, VOICE, Kind.SECONDS, per_second=1))
    nas.lines[0].shown = {3: 0}
    assert nas.start()
    for _ in range(3):
        nas.lines[0].shown[3] += 60
        network.now_ms += 60_000
        assert nas.send(Course.GOES_ON, nas.lines[0].ask(120, network.now_ms, reports=True))


def test_what_a_client_only_records(network: Network) -> None:
    nas = CourseNas(network, recorded=True)
    nas.start()
    for units in ((100, 200), (0, 0), (5_000, 20_000)):
        assert nas.interim(*units)
    assert nas.stop(5, 6)


def test_a_hold_of_the_authorisation_is_adopted(network: Network) -> None:
    held = [CourseLine(-1, DATA).ask(2_000, network.now_ms, reports=False)]
    assert network.start(*held, session=HOLD)
    nas = CourseNas(network)
    assert nas.start()
    assert HOLD not in network.twins.sessions(ACCOUNT)
    assert network.start(*held, session=HOLD), "somebody logged in at the port since"
    assert not nas.interim(5, 5)
    assert HOLD in network.twins.sessions(ACCOUNT)


def test_a_session_of_another_incarnation_goes_on(network: Network) -> None:
    """Its name was used before: what is kept of that stays as it is."""
    nas = CourseNas(network)
    assert nas.start()
    assert nas.interim(500, 500)
    nas.began_ms, nas.token = network.now_ms + 600_000, "c3d4"
    network.now_ms += 600_500
    for line in nas.lines:
        line.shown = {1: 0, 2: 0}
    assert not nas.start()
    assert nas.interim(30, 30)
    [session] = network.twins.sessions(ACCOUNT).values()
    assert (session.incarnation, len(session.bygone)) == (2, 1)


# --- what is not


@pytest.mark.parametrize("counter", [{}, {"wraps_at": WRAP}], ids=["plain", "wraps"])
def test_a_counter_that_fell_and_one_that_wrapped(network: Network, counter: dict[str, int]) -> None:
    nas = CourseNas(network, CourseLine(-1, ODD, Kind.OCTETS, WRAP - 20, 0, **counter, per_second=10**9))
    assert nas.start()
    assert nas.interim()
    assert not nas.interim(-WRAP + 50)
    assert nas.interim(5, 5) == bool(counter), "it is below what was counted for as long as that takes"


def test_more_than_the_line_can_carry(network: Network) -> None:
    nas = CourseNas(network)
    assert nas.start()
    assert not nas.interim(10**7, 5)
    assert nas.interim(0, 5) == (network.now_ms - nas.began_ms > 10**7), "it is counted, and not believed yet"


def test_where_nobody_knows_since_when_the_grant_bounds_it(network: Network) -> None:
    nas = CourseNas(network, CourseLine(-1, DATA, per_second=0))
    assert nas.start()
    assert nas.interim(1_000, 2_000)
    assert not nas.interim(3_001, 0), "more than ten times what was granted"


@pytest.mark.parametrize(
    "others",
    [
        {"token": "ffff"},
        {"token": "", "began_ms": START_MS + 400_000},
        {"countable": True},
        {"course": Course.BEGINS, "phase": Phase.START},
        {"course": Course.NONE, "phase": Phase.UPDATE},
        {"subscriber": "other"},
        {"key": "1:0:1"},
        {"key": "2:0:2"},
    ],
    ids=str,
)
def test_another_request(network: Network, others: dict[str, Any]) -> None:
    nas = CourseNas(network)
    assert nas.start()
    assert nas.interim(5, 5)
    assert not nas.interim(5, 5, **others)
    nas.interim(5, 5)


def test_a_late_one(network: Network) -> None:
    """Overtaken: its counters are below what was counted."""
    nas = CourseNas(network)
    assert nas.start()
    assert nas.interim(5, 5)
    assert nas.interim(5, 5)
    assert not nas.interim(-5, -5, event_ms=network.now_ms)
    assert nas.stop(10, 10)
    assert not nas.interim(0, 1), "after the Stop"


def test_one_that_waits_for_money(redis_url: str) -> None:
    network = Network(redis_url)
    network.change.buckets[0].amount = 700
    nas = CourseNas(network, CourseLine(-1, Ladder((Step(Kind.MONEY, "data", 1, 1),), tag="one@1")))
    nas.start()
    for _ in range(4):
        nas.interim(150, 60)
    assert nas.balance < 0
    network.twins.close()


# --- much of it


class Courses:
    """A life of one account, whose sessions are those of NASes; each step may be usual or, by `oddness`, just not."""

    def __init__(self, url: str, rng: Random, *, oddness: float, is_large: bool = False) -> None:
        self.rng, self.oddness, self.is_large = rng, oddness, is_large
        self.ladders = (LARGE if is_large else SMALL) if oddness else (DATA, ODD, FREE)
        self.network = Network(url, credit_limit=rng.choice((0, 10**6)))
        change = self.network.change
        if oddness:
            change.buckets[0].amount = rng.choice((500, 5_000, 10**9, EXACT_MAX // 2 if is_large else 10**9))
            if rng.random() < 0.2:
                change.buckets.append(Bucket(MAIN + 1, Kind.OCTETS, 500, until_ms=START_MS + 200_000, name="b"))
        self.open: list[CourseNas] = []
        self.network.open()

    def odd(self, usual: Any, *others: Any) -> Any:
        return self.rng.choice(others) if self.rng.random() < self.oddness else usual

    def nas(self, number: int) -> CourseNas:
        rng, lines = self.rng, []
        for group in range(rng.choice((1, 1, 1, 2, 3))):
            counter: dict[str, int] = {"per_second": rng.choice((RATE, RATE, self.odd(RATE, 0)))}
            if rng.random() < 0.3:
                counter["wraps_at"] = self.odd(WRAP, 500)
            base = self.odd(0, EXACT_MAX - 900, WRAP - 500) if self.oddness else 0
            lines.append(
                CourseLine(group - 1, rng.choice(self.ladders), Kind.OCTETS, *[base] * rng.choice((1, 2)), **counter)
            )
        if rng.random() < 0.15:
            lines = [CourseLine(-1, rng.choice(self.ladders), Kind.SECONDS, 0, per_second=1)]
        recorded = rng.random() < 0.2
        return CourseNas(self.network, *lines, session=f"nas;{number}", recorded=recorded)

    def asks(self, nas: CourseNas, course: Course, at_ms: int) -> list[Ask]:
        rng, network, odd = self.rng, self.network, self.odd
        wants = course is not Course.ENDS and not nas.recorded
        reports = course is not Course.BEGINS or odd(False, True)
        return [
            line.ask(
                rng.choice((0, 60, 400, odd(60, 10**6))) if odd(wants, not wants) else -1,
                at_ms,
                reports=reports,
                unit=odd(line.unit, Kind.UNITS),
                free=line.by is FREE,
                default=rng.choice((100, 500)),
                minimum=rng.choice((1, 10)),
                maximum=odd(0, 300),
                until_ms=odd(0, 0, network.now_ms + 20_000),
                ladder=blob(odd(line.by, rng.choice(self.ladders))),
            )
            for line in nas.lines
            if rng.random() > self.oddness
        ] or [line.ask(-1, at_ms, reports=False) for line in nas.lines[:1]]

    def grow(self, nas: CourseNas, seconds: int) -> None:
        rng, odd = self.rng, self.odd
        for line in nas.lines:
            most = seconds if line.unit == Kind.SECONDS else seconds * RATE // 4
            for place, shown in list(line.shown.items()):
                more = odd(rng.choice((0, 1, rng.randint(0, most))), -rng.randint(1, 600), 10**7, EXACT_MAX // 3)
                value = max(shown + more, 0)
                wraps_at = line.counter.get("wraps_at", 0)
                can_show = SECONDS_MAX if line.unit == Kind.SECONDS else EXACT_MAX
                line.shown[place] = min(value % wraps_at if wraps_at else value, can_show)
            if rng.random() < self.oddness:
                line.shown[rng.choice((1, 2, 5))] = rng.randrange(100)

    def step(self, number: int) -> None:
        rng, network, odd = self.rng, self.network, self.odd
        seconds = rng.choice((1, 20, 60))
        network.now_ms += seconds * 1_000
        roll = rng.random()
        at_ms = network.now_ms - rng.choice((0, 300, odd(300, 90_000, -5_000)))
        others: dict[str, Any] = {
            "event_ms": at_ms,
            "peer": odd("nas", "nas2"),
            "identification": rng.choice(("01ff", odd("01ff", ""))),
            "origin_state": odd(0, 7),
            "idle_ms": rng.choice((60_000, 172_800_000)),
            "overrun_factor": rng.choice((1, 10)),
        }
        if roll < 0.15 or not self.open:
            nas = self.nas(number)
            if not nas.recorded and rng.random() < 0.5:
                held = [line.ask(200, at_ms, reports=False) for line in nas.lines]
                network.start(*held, session=HOLD, course=Course.NONE)
            nas.send(Course.BEGINS, *self.asks(nas, Course.BEGINS, at_ms), **others)
            self.open.append(nas)
            return
        nas = rng.choice(self.open)
        course = Course.ENDS if roll < 0.22 else odd(Course.GOES_ON, Course.BEGINS)
        self.grow(nas, seconds)
        if rng.random() < self.oddness:
            nas.token = rng.choice(("", "ee", "ff"))
        if rng.random() < self.oddness:
            nas.began_ms = network.now_ms - rng.choice((0, 59_999, 60_001, 10**6))
        if rng.random() < self.oddness:
            nas.packets -= 1  # a repeat, or another one under its name
        if rng.random() < self.oddness / 2:
            nas.recorded = not nas.recorded
        nas.send(course, *self.asks(nas, course, at_ms), **others)
        if course is Course.ENDS and rng.random() > self.oddness:
            self.open.remove(nas)


def tell(url: str, seed: int, steps: int, oddness: float) -> tuple[int, int]:
    rng = Random(seed)
    courses = Courses(url, rng, oddness=oddness, is_large=seed % 3 == 2)
    try:
        for number in range(steps):
            courses.step(number)
    finally:
        courses.network.twins.close()
    return courses.network.taken, courses.network.sent


@pytest.mark.parametrize("seed", range(3))
def test_nearly_all_of_usual_accounting_is_taken(redis_url: str, seed: int) -> None:
    taken, sent = tell(redis_url, seed, 120, 0.0)
    assert taken >= HIT_RATE_LEAST * sent, (taken, sent)


@pytest.mark.parametrize("seed", range(4))
def test_at_the_edges(redis_url: str, seed: int) -> None:
    taken, sent = tell(redis_url, 20 + seed, 80, 0.03)
    assert taken >= sent // 10, (taken, sent)


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", range(100, 400))
def test_at_the_edges_for_long(redis_url: str, seed: int) -> None:
    tell(redis_url, seed, 100, (0.01, 0.03, 0.1)[seed % 3])
