"""The only file that reads a clock. Everyone else is given the time, in the unit its name says."""

import time


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
