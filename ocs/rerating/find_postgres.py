"""Where PostgreSQL is: as configured, or the embedded one of a server that runs on the same data directory."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import quote

from ocs.config.tree import Config
from ocs.processes.embedded import USER

PORT_LINE: Final = 3
SOCKET_LINE: Final = 4
"""Of postmaster.pid, counted from 0 (PostgreSQL, miscadmin.h: LOCK_FILE_LINE_*)."""


class NotRunning(Exception):
    """The text is meant for the operator."""


def dsn_of(config: Config) -> str:
    return embedded_dsn(config.data) if config.postgres.embedded else config.postgres.dsn.reveal()


def embedded_dsn(data: Path) -> str:
    """A running PostgreSQL says in its lock file where its socket is."""
    lock = data / "postgres" / "data" / "postmaster.pid"
    try:
        lines = lock.read_text(encoding="utf-8").splitlines()
        port, sockets = lines[PORT_LINE].strip(), lines[SOCKET_LINE].strip()
    except (OSError, UnicodeDecodeError, IndexError):
        raise NotRunning(
            f"no PostgreSQL is configured, and none runs in {data}: is `ocs run` running? Name its data directory with"
            " --data"
        ) from None
    return f"postgresql://{USER}@/postgres?host={quote(sockets, safe='')}&port={port}"
