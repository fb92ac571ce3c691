"""The only file that reads a clock. All other code is given the time, in the unit that the name of the argument
says."""

import time
from math import floor
from typing import Final

SKEW_MS_MAX: Final = 2_000
"""A clock further off those of the stores than this must not date charges (durability.md)."""


GRID_S: Final = 0.5
"""Of `turn_s`."""


def skew(whose: str, offset_ms: int) -> str:
    """How our clock differs too much from another one, in words; "" when it does not.

    offset_ms:  the other one less ours
    """
    if abs(offset_ms) <= SKEW_MS_MAX:
        return ""
    which = "behind" if offset_ms > 0 else "ahead of"
    return f"our clock is {abs(offset_ms)} ms {which} that of {whose}; at most {SKEW_MS_MAX} are allowed"


def now_ms() -> int:
    """Wall time, Unix milliseconds: what charging and answers carry."""
    return time.time_ns() // 1_000_000


def monotonic_ms() -> int:
    """For timers: never jumps."""
    return time.monotonic_ns() // 1_000_000


def monotonic_us() -> int:
    """For durations."""
    return time.monotonic_ns() // 1_000


def turn_s(now_s: float, every_s: float) -> float:
    """When work is due again that is done every so many seconds: at whole multiples of half a second, so that a process
    is woken once for all that is due then. Less than half a second is taken as it is."""
    if every_s < GRID_S:
        return now_s + every_s
    return max(floor((now_s + every_s) / GRID_S), floor(now_s / GRID_S) + 1) * GRID_S


def cpu_us() -> int:
    """CPU time of this process, user and system."""
    return time.process_time_ns() // 1_000
