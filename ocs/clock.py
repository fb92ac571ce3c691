"""The only file that reads a clock. All other code is given the time, in the unit that the name of the argument
says."""

import time
from typing import Final

SKEW_MS_MAX: Final = 2_000
"""A clock further off those of the stores than this must not date charges (durability.md)."""


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


def cpu_us() -> int:
    """CPU time of this process, user and system."""
    return time.process_time_ns() // 1_000
