"""A folder in memory for what the tests write, on a machine that has the memory.

A disk would prove nothing more: a process that is killed leaves to the kernel what it wrote, there and on a disk alike,
and where the power is cut, drills/power.py itself keeps what an fsync covered. TMPDIR chooses another place.
"""

import os
import re
from pathlib import Path

MEMORY_DISK = Path("/dev/shm")
FREE_BYTES = 6 << 30
"""What has to be free, of the disk and of memory. `make test` uses up to a third of it."""


def memory_disk() -> Path | None:
    """Where Linux has one that is large enough, writable, and lets binaries be copied there and run."""
    try:
        disk = os.statvfs(MEMORY_DISK)
        memory = re.search(r"^MemAvailable:\s+(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    except OSError:
        return None
    free_bytes = min(disk.f_bavail * disk.f_frsize, int(memory[1]) << 10 if memory else 0)
    usable = os.access(MEMORY_DISK, os.W_OK | os.X_OK) and not disk.f_flag & (os.ST_NOEXEC | os.ST_RDONLY)
    return MEMORY_DISK if usable and free_bytes >= FREE_BYTES else None
