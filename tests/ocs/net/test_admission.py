"""Admission by simulation: a model store, clients that always have as much outstanding, time as a number."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import count

import pytest

from ocs.net.admission import LIMIT_FIRST, LIMIT_MIN, REFUSING_US_MAX, Admission, Allowance, Limit, Waits

DEADLINE_US = 800_000
SECOND = 1_000_000


class World:
    """Requests until `end_us`. The store takes up to `batch` calls at a time, for `batch_us + n * call_us`; whoever is
    refused or answered asks again after `again_us`. `new` of the clients ask for something new, the others report."""

    def __init__(
        self, outstanding: int, call_us: int, *, batch_us: int = 0, batch: int = 1, most: int = 2_000, new: int = 0
    ) -> None:
        self.outstanding, self.call_us, self.batch_us, self.batch = outstanding, call_us, batch_us, batch
        self.new, self.again_us, self.limited = new, 50_000, True
        self.now_us = 0
        self.queue: deque[tuple[int, bool]] = deque()
        self.waits = Waits()
        self.admission = Admission(most, most, waits=self.waits, oldest_us=self._oldest_us)
        self.in_time = self.late = self.reports_refused = self.new_refused = self.new_taken = 0
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()
        self._serving: list[tuple[int, bool]] = []

    def _oldest_us(self) -> int:
        oldest = self._serving or self.queue
        return self.now_us - oldest[0][0] if oldest else 0

    def _at(self, us: int, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (us, next(self._order), what))

    def run(self, seconds: float) -> World:
        for number in range(0 if self.now_us else self.outstanding):
            self._at(number * 10, partial(self._ask, number >= self.new))
        end_us = self.now_us + int(seconds * SECOND)
        while self._events and self._events[0][0] <= end_us:
            self.now_us, _, what = heapq.heappop(self._events)
            what()
        self.now_us = end_us
        return self

    def forget(self) -> World:
        self.in_time = self.late = self.reports_refused = self.new_refused = self.new_taken = 0
        return self

    def _ask(self, report: bool) -> None:
        self.admission.step(self.now_us)
        if not self.limited or self.admission.admits(report, 0):
            self.admission.take(report)
            self.new_taken += not report
            self.queue.append((self.now_us, report))
            self._serve()
        else:
            self.reports_refused += report
            self.new_refused += not report
            self._at(self.now_us + self.again_us, partial(self._ask, report))

    def _serve(self) -> None:
        if self._serving or not self.queue:
            return
        self._serving = [self.queue.popleft() for _ in range(min(self.batch, len(self.queue)))]
        self._at(self.now_us + self.batch_us + self.call_us * len(self._serving), self._answer)

    def _answer(self) -> None:
        served, self._serving = self._serving, []
        for asked_us, report in served:
            waited_us = self.now_us - asked_us
            self.waits.answers += 1
            self.waits.waited_us += waited_us
            self.admission.off(report)
            self.in_time += waited_us <= DEADLINE_US
            self.late += waited_us > DEADLINE_US
            self._at(self.now_us + self.again_us, partial(self._ask, report))
        self._serve()


STORES = {
    "fast": {"call_us": 200},
    "slow": {"call_us": 8_000},
    "a disk that syncs in 50 ms": {"call_us": 300, "batch_us": 50_000, "batch": 1_000},
}


@pytest.mark.parametrize("store", STORES)
def test_goodput_is_the_same_from_one_to_twenty_times_the_requests(store: str) -> None:
    """`goodput stays within 90 % of the peak from 1 to 20 x` (charging.md 11)."""
    found = [World(200 * times, **STORES[store]).run(3).forget().run(3).in_time for times in (1, 5, 20)]
    assert all(more >= 0.9 * max(found[:at]) for at, more in enumerate(found) if at), found


def test_without_a_limit_nothing_is_answered_in_time() -> None:
    """What the model would do otherwise: the test above sees something."""
    world = World(3_800, 8_000)
    world.limited = False
    assert world.run(5).forget().run(5).in_time == 0


def test_hardly_anything_is_late_under_twenty_times_the_load() -> None:
    world = World(2_000, 2_000).run(3).forget().run(3)
    assert world.late <= 0.01 * world.in_time


def test_what_is_new_is_refused_first() -> None:
    """`New sessions and events are refused first; U and T use a reserved share and are refused only when they alone
    exceed it`: the reports alone are far from filling the store."""
    world = World(1_000, 1_000, new=900).run(3).forget().run(5)
    assert world.new_refused > 1_000
    assert world.new_taken > 1_000
    assert world.reports_refused == 0


def test_reports_are_refused_only_when_they_alone_are_too_much() -> None:
    world = World(2_000, 8_000, new=200).run(3).forget().run(5)
    assert world.reports_refused > 0
    assert world.new_taken == 0  # what is new made room


def test_a_store_that_becomes_slow_and_fast_again() -> None:
    world = World(1_000, 500).run(2)
    world.call_us = 10_000
    world.run(12).forget().run(5)  # what was taken on while it was fast takes as long to be answered
    assert world.in_time >= 0.9 * 5 * 100
    world.call_us = 500
    world.run(4).forget().run(2)
    assert world.in_time >= 0.9 * 2 * 2_000


def test_a_store_that_is_silent_is_asked_little() -> None:
    world = World(500, 500).run(1)
    world.call_us = 10_000 * SECOND
    world.run(5)
    assert world.admission.limit.now == LIMIT_MIN


def test_a_quiet_time_does_not_widen_the_limit() -> None:
    world = World(10, 500)
    before = world.admission.limit.now
    assert world.run(20).admission.limit.now == before


def test_when_the_store_is_nearly_full_only_reports_are_taken() -> None:
    """`Stream high-water: new sessions and events refused, settlement continues.`"""
    admission = Admission(100, 100)
    admission.store_is_full = True
    admission.step(1)
    assert not admission.admits(False, 0)
    assert admission.admits(True, 0)
    admission.store_is_full = False
    admission.step(SECOND)
    assert admission.admits(False, 0)


def test_one_peer_has_a_bound_of_its_own() -> None:
    admission = Admission(1_000, 10)
    assert admission.admits(False, 7)
    assert not admission.admits(False, 8)
    assert admission.admits(True, 9)
    assert not admission.admits(True, 10)


def test_refusals_take_a_tenth_of_the_time() -> None:
    """`Refusing costs at most a tenth of the CPU`"""
    allowance, spent = Allowance(), 0
    for now_us in range(0, 10 * SECOND, 50):
        if allowance.affords(now_us):
            allowance.spend(45)
            spent += 45
    assert SECOND - REFUSING_US_MAX <= spent <= SECOND + 2 * REFUSING_US_MAX


def test_an_idle_time_saves_up_for_a_burst_and_no_more() -> None:
    allowance = Allowance()
    assert allowance.affords(3_600 * SECOND)
    allowance.spend(REFUSING_US_MAX)
    assert not allowance.affords(3_600 * SECOND)
    assert allowance.affords(3_600 * SECOND + 1)


def test_the_time_before_the_first_question_saves_nothing() -> None:
    """The clock counts from the start of the machine: weeks of it are no allowance, and no rate of nothing."""
    weeks_us = 10**13
    refusing = Allowance()
    refusing.spend(10**9)
    assert not refusing.affords(weeks_us)
    assert not refusing.affords(weeks_us + 10**9)
    limit = Limit(4_000, 400_000)
    limit.step(weeks_us, 100, 100 * 500_000, 0)
    assert limit.now == LIMIT_FIRST
