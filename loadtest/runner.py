"""The run: sessions wait in a queue; whenever a request may be sent, the next session sends its own.

Open loop: the pacer says when. Closed loop (saturation): each answer starts the next request, and N are in flight.
Memory is bounded by the sessions open at once and the number of subscribers, not by how long it runs.
"""

import asyncio
import gc
import random
import time
from collections import Counter, deque
from collections.abc import Callable

from hdrh.histogram import HdrHistogram

from loadtest.answers import LoadAnswer
from loadtest.client import LoadClient
from loadtest.faults import PlantedFaults
from loadtest.link import LoadConnection, Request
from loadtest.obedience import Obedience
from loadtest.pace import Pacer, plan
from loadtest.pricing import micro
from loadtest.scenario import Scenario
from loadtest.subscriber import INITIAL, TRANSIENT, LoadSession, LoadSubscriber, Role, subscriber
from loadtest.templates import ids, session_id, stamp
from protocol.diameter.dictionary.credit_control import CcRequestType

LATENCY_US_MAX = 120_000_000
BACK_OFF_S = 0.05  # after "too busy"
DRAIN_S = 30.0


class LoadStats:
    """What is measured between two instants."""

    def __init__(self) -> None:
        self.latency_us = HdrHistogram(1, LATENCY_US_MAX, 3)
        self.results: Counter[tuple[CcRequestType, int]] = Counter()
        self.line_results: Counter[int] = Counter()
        self.since_ns = time.monotonic_ns()
        self.until_ns = 0

    @property
    def answered(self) -> int:
        return self.results.total()

    @property
    def seconds(self) -> float:
        return ((self.until_ns or time.monotonic_ns()) - self.since_ns) / 1e9

    @property
    def rate(self) -> float:
        return self.answered / max(1e-9, self.seconds)

    def ms(self, percentile: float) -> float:
        return float(self.latency_us.get_value_at_percentile(percentile)) / 1_000

    def add(self, other: "LoadStats") -> None:
        self.latency_us.add(other.latency_us)
        self.results += other.results
        self.line_results += other.line_results


class AuditDues:
    """What each account owes by our own arithmetic, and what may or may not have been taken."""

    def __init__(self, accounts: int) -> None:
        self.micro = [0] * accounts
        self.left_open: dict[int, list[int]] = {}
        """Sessions that could not be ended, by account, and what a request without an answer may have cost."""
        self.reports = 0


class LoadRun:
    """Plays a scenario with a started client."""

    def __init__(
        self,
        client: LoadClient,
        scenario: Scenario,
        *,
        seed: int = 0,
        faults: PlantedFaults | None = None,
        subscribers: Callable[[int, int], LoadSubscriber] = subscriber,
        balances: Callable[[int], int] | None = None,
    ) -> None:
        self.client, self.scenario, self.faults = client, scenario, faults
        self.rng = random.Random(seed)
        self.recent, self.total = LoadStats(), LoadStats()
        self.dues = AuditDues(-(-scenario.subscribers // scenario.accounts_shared_by))
        self.open: dict[bytes, tuple[LoadSession, LoadConnection]] = {}
        """By Session-Id."""
        self.obedience = Obedience(self, scenario, balances or (lambda _account: micro(scenario.balance)))
        client.pushed = lambda message: self.obedience.pushed(message, time.monotonic_ns())
        self.given_up: Counter[int] = Counter()
        self._make = subscribers
        self._idle: deque[tuple[LoadSession, LoadConnection]] = deque()
        self._free = deque(range(scenario.subscribers))
        target = client.target
        self._roles: dict[LoadConnection, list[Role]] = {
            link: [
                Role(scenario, play, host=link.origin, realm=target.realm, destination=target.destination)
                for play in scenario.plays
            ]
            for link in client.links
        }
        self._weights = [play.weight for play in scenario.plays]
        self._turn = 0
        # More often than sessions end, until as many are open as may be: the mix of phases is even from the start.
        self._fresh = min(1.0, 1.5 / scenario.requests_per_session)
        self._stamp, self._stamp_until_ns = b"", 0
        self._closed_loop = False
        self._ending = False

    # ---- the ways to run

    async def saturate(self, in_flight: int, seconds: float) -> None:
        """Closed loop: that many in flight, always."""
        self._closed_loop = True
        for _ in range(in_flight):
            self._fire(time.monotonic_ns())
        await asyncio.sleep(seconds)
        self._closed_loop = False

    async def pace(self, rate: float, pacing: str, seconds: float) -> None:
        """Open loop: that many requests per second, whatever comes back."""
        pacer = Pacer(plan(rate, pacing, self.rng), self._fire)
        pacer.start()
        try:
            await asyncio.sleep(seconds)
        finally:
            pacer.stop()

    async def finish(self, wait_s: float = DRAIN_S) -> None:
        """Ends every open session and waits for the answers. What stays unanswered is in doubt."""
        self._ending, end = True, time.monotonic() + wait_s
        while self.open and time.monotonic() < end:
            for _ in range(min(len(self._idle), max(0, 256 - self.client.in_flight))):
                self._fire(time.monotonic_ns())
            await asyncio.sleep(0.005)
        await self.client.quiet(max(0.0, end - time.monotonic()))
        waiting = {request.session for request in self.client.unanswered}
        for session, _ in self.open.values():
            in_doubt = session.due_if_taken() if session.id in waiting else 0
            self.dues.left_open.setdefault(session.subscriber.account, []).append(in_doubt)
        if self.faults is not None:
            self.faults.compare()
        self.turn_page()

    def turn_page(self) -> LoadStats:
        """What happened since the last call."""
        recent, self.recent = self.recent, LoadStats()
        recent.until_ns = self.recent.since_ns
        self.total.add(recent)
        return recent

    # ---- one request, one answer

    def _fire(self, planned_ns: int) -> bool:
        """Sends the next request of somebody; False when nobody has one."""
        idle, full = self._idle, len(self.open) >= self.scenario.sessions or self._ending
        if not full and self._free and (not idle or self.rng.random() < self._fresh):
            session, link = self._open()
        elif idle:
            session, link = idle.popleft()
        else:
            return False
        self._send(session, link, planned_ns)
        return True

    def hurry(self, session: LoadSession, link: LoadConnection) -> None:
        """Send the next request of a session now. One that has a request on its way reports with that."""
        if (session, link) in self._idle:
            self._idle.remove((session, link))
            self._send(session, link, time.monotonic_ns())

    def _send(self, session: LoadSession, link: LoadConnection, planned_ns: int) -> None:
        if self._ending:
            session.finish()
        if session.result not in TRANSIENT:  # else what it reports is what it reported
            session.plan(self.rng)
        now_ns = time.monotonic_ns()
        if now_ns > self._stamp_until_ns:
            self._stamp, self._stamp_until_ns = stamp(time.time()), now_ns + 1_000_000_000
        number = self.client.next_number()

        def done(request: Request, answer: LoadAnswer, at_ns: int) -> None:
            self._answered(session, link, request, answer, at_ns)

        request = Request(session.frame(ids(number), self._stamp), session.id, done, planned_ns)
        link.send(request, number)
        if self.faults is not None:
            self.faults.after_send(link, request, now_ns)

    def _answered(
        self, session: LoadSession, link: LoadConnection, request: Request, answer: LoadAnswer, at_ns: int
    ) -> None:
        recent, phase = self.recent, session.phase
        recent.latency_us.record_value(max(1, (at_ns - request.planned_ns) // 1_000))
        assert phase is not None
        recent.results[phase, answer.result] += 1
        for line in answer.lines:
            if line.result is not None and line.result != answer.result:
                recent.line_results[line.result] += 1
        due = session.answered(answer)
        if due:
            self.dues.micro[session.subscriber.account] += due
        self.obedience.answered(session, request, due, at_ns)
        if phase is not INITIAL:
            self.dues.reports += 1
        if answer.result in TRANSIENT:
            asyncio.get_running_loop().call_later(BACK_OFF_S, self._idle.append, (session, link))
        elif session.phase is None:
            del self.open[session.id]
            self._free.append(session.subscriber.place)
        else:
            self._idle.append((session, link))
        if self._closed_loop and not self._ending:
            self._fire(at_ns)

    def _open(self) -> tuple[LoadSession, LoadConnection]:
        links = self.client.links
        self._turn = (self._turn + 1) % len(links)
        link = links[self._turn]
        role = self.rng.choices(self._roles[link], self._weights)[0]
        name = session_id(link.origin, self.client.started, self.client.next_session())
        who = self._make(self._free.popleft(), self.scenario.accounts_shared_by)
        session = LoadSession(role, who, name.encode(), updates=self.rng.randint(*role.play.updates))
        self.open[session.id] = session, link
        return session, link


def calm_collector() -> None:
    """What stands when the run begins is not looked at again: no pauses of our own in the latencies."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 50)
