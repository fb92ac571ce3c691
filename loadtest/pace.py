"""When to send. Open loop: a plan of instants that does not depend on the server; from these instants latency
is counted from. A server that stalls for a second then shows a second, and not one slow request and a pause
(coordinated omission).
"""

import asyncio
import random
import signal
import time
from collections.abc import Callable, Iterator

TICK_S = 0.0002  # a plan finer than this is sent in small bursts: a wake-up costs more than a request
BURST_MAX = 256  # sent in one go when behind, so that answers are read in between


def plan(rate: float, pacing: str, rng: random.Random) -> Iterator[float]:
    """Seconds since the start, without end: exponential gaps (Poisson) or equal ones."""
    at, count = 0.0, 0
    while True:
        yield at
        count += 1
        at = count / rate if pacing == "fixed" else at + rng.expovariate(rate)


class Pacer:
    """Calls `fire(planned_ns)` at the planned instants; False: nothing can be sent now, and the instant stays due."""

    def __init__(self, instants: Iterator[float], fire: Callable[[int], bool]) -> None:
        self._instants, self._fire = instants, fire
        self._zero_ns, self._next_ns = 0, 0
        self._timer = _Timer(self._tick)

    @property
    def behind_s(self) -> float:
        """How long the oldest unsent instant has been due."""
        return max(0.0, (time.monotonic_ns() - self._next_ns) / 1e9) if self._next_ns else 0.0

    def start(self) -> None:
        self._zero_ns = time.monotonic_ns()
        self._advance()
        self._tick()

    def stop(self) -> None:
        self._timer.close()

    def _advance(self) -> None:
        self._next_ns = self._zero_ns + int(next(self._instants) * 1e9)

    def _tick(self) -> None:
        now = time.monotonic_ns()
        for _ in range(BURST_MAX):
            if self._next_ns > now or not self._fire(self._next_ns):
                break
            self._advance()
        self._timer.after(max(TICK_S, (self._next_ns - time.monotonic_ns()) / 1e9))


class _Timer:
    """The loop's own timers count whole milliseconds and spin below one. The interval timer of the process does not;
    only the main thread may have it, elsewhere whole milliseconds must do."""

    def __init__(self, tick: Callable[[], None]) -> None:
        self._loop, self._tick = asyncio.get_running_loop(), tick
        self._handle: asyncio.TimerHandle | None = None
        self._fine = True
        try:
            self._loop.add_signal_handler(signal.SIGALRM, tick)
        except (NotImplementedError, RuntimeError, ValueError):
            self._fine = False

    def after(self, seconds: float) -> None:
        if self._fine:
            signal.setitimer(signal.ITIMER_REAL, seconds)
        else:
            self._handle = self._loop.call_later(max(0.001, seconds), self._tick)

    def close(self) -> None:
        if self._fine:
            signal.setitimer(signal.ITIMER_REAL, 0)
            # Not removed: a signal that is on its way to another thread would end the process.
            self._loop.add_signal_handler(signal.SIGALRM, lambda: None)
        if self._handle is not None:
            self._handle.cancel()
