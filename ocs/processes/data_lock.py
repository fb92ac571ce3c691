"""One server for one data directory: a lock on `run.lock` in it, with the number of the process that holds it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

NAME: Final = "run.lock"


class InUse(Exception):
    """The text is meant for the operator."""


@contextlib.contextmanager
def serving(data: Path, held: int | None = None) -> Iterator[int]:
    """Hold the lock while the block lasts. Raises InUse when another process holds it. The kernel releases it when the
    process ends, in whatever way. Yields the file that holds it; held: the one of who served before us in this
    process."""
    data.mkdir(parents=True, exist_ok=True)
    handle = os.open(data / NAME, os.O_RDWR | os.O_CREAT, 0o600) if held is None else held
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InUse(f"the data directory {data} is in use by another running server{_process(data)}") from None
        os.truncate(handle, 0)
        os.write(handle, f"{os.getpid()}\n".encode())
        yield handle
    finally:
        os.close(handle)


def is_served(data: Path) -> bool:
    """Whether a server runs on this data directory now."""
    try:
        handle = os.open(data / NAME, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(handle)


def _process(data: Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        return f" (process {int((data / NAME).read_text())})"
    return ""
