"""Figures of the kernel about this process, and free disk space."""

from __future__ import annotations

import resource
import shutil
from pathlib import Path
from typing import Final

_PAGE: Final = resource.getpagesize()
_STATM: Final = Path("/proc/self/statm")
_FILES: Final = Path("/proc/self/fd")


def resident_bytes() -> int:
    """Memory that is in use now; 0 where the kernel does not say (other systems than Linux)."""
    try:
        return int(_STATM.read_bytes().split()[1]) * _PAGE
    except OSError:
        return 0


def open_files() -> int:
    """Open file descriptors; 0 where the kernel does not say."""
    try:
        return sum(1 for _ in _FILES.iterdir()) - 1  # without the one that lists them
    except OSError:
        return 0


def disk_free_bytes(directory: Path) -> int:
    """What can still be written there; 0 where it is gone."""
    try:
        return shutil.disk_usage(directory).free
    except OSError:
        return 0
