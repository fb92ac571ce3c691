"""How much is taken on at once, and who is refused when it is too much (charging.md 11, overload).

Pure: time is an argument, what the store does is told. A queued request is a late one, and its sender has another
server to go to; so what the store does not answer in time is refused at once with 3004.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

STEP_US: Final = 100_000
"""How often the limit is thought over."""
RATE_US: Final = 500_000
"""Time over which the answers of the store are averaged."""
LIMIT_MIN: Final = 16
"""Requests in flight that are always allowed: without any, nothing would be measured."""
LIMIT_FIRST: Final = 128
"""Before anything was measured."""
NEW_PERCENT: Final = 80
"""Part of the limit that new sessions and events may fill; the rest is kept for those that are open."""
REFUSING_PERCENT: Final = 10
"""Part of the CPU time that refusals may take."""
REFUSING_US_MAX: Final = 20_000
"""The most of it that is saved up for a burst: about a thousand refusals."""


class Waits:
    """Answers of the store since somebody last looked, and how long they took together; counted in place."""

    __slots__ = ("answers", "waited_us")

    def __init__(self) -> None:
        self.answers = self.waited_us = 0


class Limit:
    """How many requests may be in flight, so that the store answers them within `wait_us`.

    What waits in a queue is its rate times the wait (Little's law). Where answers take longer than `wait_us`, the limit
    is therefore what the store answers a second, times that; where they do not and the limit was reached, it grows by
    an eighth. The rate does not depend on the queue once there is one, so the limit comes to rest, and stays near what
    the store is best at, however much is offered.
    """

    __slots__ = ("_at_us", "_rate", "_wait_us", "most", "now", "pressed")

    def __init__(self, most: int, wait_us: int) -> None:
        self.most, self._wait_us = most, wait_us
        self.now = min(most, LIMIT_FIRST)
        self.pressed = False
        """It was reached since the last step."""
        self._rate = 0.0  # answers per microsecond
        self._at_us = 0

    def step(self, now_us: int, answers: int, waited_us: int, oldest_us: int) -> None:
        """answers, waited_us: since the last step; oldest_us: how long the oldest call has been waiting by now."""
        passed_us, self._at_us = now_us - (self._at_us or now_us), now_us
        if passed_us <= 0:  # nothing was measured before the first step
            return
        self._rate += (answers / passed_us - self._rate) * min(1.0, passed_us / RATE_US)
        waits_us = max(waited_us // answers if answers else 0, oldest_us)
        if waits_us > self._wait_us:
            self.now = max(LIMIT_MIN, min(self.now, int(self._rate * self._wait_us)))
        elif self.pressed:
            self.now += self.now // 8 + 1
        self.now = min(self.now, self.most)
        self.pressed = False


class Allowance:
    """CPU time that refusals may take: a part of what passes."""

    __slots__ = ("_at_us", "left_us")

    def __init__(self) -> None:
        self.left_us = float(REFUSING_US_MAX)
        self._at_us = 0

    def affords(self, now_us: int) -> bool:
        """Whether another one may be refused now."""
        saved = max(0, now_us - (self._at_us or now_us)) * REFUSING_PERCENT / 100  # from the first time it was asked
        self.left_us, self._at_us = min(self.left_us + saved, float(REFUSING_US_MAX)), max(now_us, self._at_us)
        return self.left_us > 0

    def spend(self, us: int) -> None:
        self.left_us -= us


class Admission:
    """`in_flight` and `settling` are changed by `take` and `off`, which who serves a request calls.

    in_flight_max, peer_in_flight_max: bounds whatever the store does, of all connections and of one
    wait_us:    how long the store may take on average; well below the time in which an answer is due
    waits:      counted up where the answers of the store arrive
    oldest_us:  how long the oldest call to the store has been waiting
    """

    def __init__(
        self,
        in_flight_max: int,
        peer_in_flight_max: int,
        *,
        wait_us: int = 400_000,
        waits: Waits | None = None,
        oldest_us: Callable[[], int] = lambda: 0,
    ) -> None:
        self.in_flight = 0
        self.settling = 0
        """Of those in flight, reports of sessions that are open."""
        self.peer_in_flight_max = peer_in_flight_max
        self.refusing = Allowance()
        self.limit = Limit(in_flight_max, wait_us)
        self.store_is_full = False
        """Memory of the store is nearly used up: what is left is for settlement."""
        self.free_below = 0
        """While fewer are in flight everything is admitted; above, it depends on the kind of request."""
        self.peer_free_below = max(1, peer_in_flight_max * NEW_PERCENT // 100)
        """The same of one connection."""
        self._waits, self._oldest_us = waits or Waits(), oldest_us
        self._step_us = 0
        self._measure()

    def step(self, now_us: int) -> None:
        """Called with each arrival; it thinks the limit over when it is time to."""
        if now_us < self._step_us:
            return
        self._step_us = now_us + STEP_US
        waits = self._waits
        self.limit.step(now_us, waits.answers, waits.waited_us, self._oldest_us())
        waits.answers = waits.waited_us = 0
        self._measure()

    def _measure(self) -> None:
        self.free_below = 0 if self.store_is_full else max(1, self.limit.now * NEW_PERCENT // 100)

    def admits(self, report: bool, of_peer: int) -> bool:
        """Whether a request may be taken on, a report of an open session or something new, from a peer that has
        `of_peer` in flight. Reports are counted against the limit by themselves: what is new makes room for them."""
        if report:
            free = self.settling < self.limit.now and of_peer < self.peer_in_flight_max
        else:
            free = self.in_flight < self.free_below and of_peer < self.peer_free_below
        if not free:
            self.limit.pressed = True
        return free

    def take(self, report: bool) -> None:
        self.in_flight += 1
        self.settling += report

    def off(self, report: bool) -> None:
        self.in_flight -= 1
        self.settling -= report
