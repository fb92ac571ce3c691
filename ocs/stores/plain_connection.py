"""Connections to PostgreSQL that are reset only where something of them lasts longer than a transaction.

A pool resets a connection each time it comes back: four statements and a round trip, which was the largest cost of an
idle server. Nearly all who borrow one leave nothing behind; who does says so by the text of the statement.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

import asyncpg

_LASTS: Final = re.compile(
    r"set_config\s*\(|advisory_lock(_shared)?\s*\(|^\s*(SET|RESET|LISTEN|PREPARE|DECLARE|LOAD|DISCARD|CREATE\s+TEMP)\b"
    r"|;\s*(SET|LISTEN|PREPARE|DECLARE)\b|\bTEMP(ORARY)?\b|\bWITH\s+HOLD\b",
    re.IGNORECASE,
)

WAITS_FOR_DISK: Final = (
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
)
"""A commit of ours that was answered is on the disk of the server, whatever its configuration says: the live store
forgets what PostgreSQL has (rule 7 of durability.md). Who asks for more (remote_apply) keeps it."""


@lru_cache(4_096)
def outlasts(query: str) -> bool:
    """Whether a statement leaves in its session what the next borrower must not find: a setting, a lock that is of the
    session, a subscription, a name. Locks and settings of a transaction end with it."""
    return _LASTS.search(query) is not None


class PlainConnection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    """Reset by the pool only after a statement that `outlasts` its transaction. It knows how long it has been waiting,
    and which server it is to (`ocs/stores/moved_postgres.py`)."""

    __slots__ = ("_marked", "server", "waits_since_s")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._marked = False
        self.server: object = None
        self.waits_since_s: float | None = None

    def get_reset_query(self) -> str:
        """What the pool has the server do; "": nothing."""
        return f"{super().get_reset_query()};\n{WAITS_FOR_DISK};" if self._marked else ""

    async def reset(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - its own
        await super().reset(timeout=timeout)
        self._marked = False

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> Any:  # noqa: ASYNC109
        self._marked = self._marked or outlasts(query)
        with self._waiting():
            return await super().execute(query, *args, timeout=timeout)

    async def _execute(self, query: str, *args: Any, **kwargs: Any) -> Any:  # fetch, fetchrow, fetchval, listeners
        self._marked = self._marked or outlasts(query)
        with self._waiting():
            return await super()._execute(query, *args, **kwargs)

    async def _executemany(self, query: str, *args: Any, **kwargs: Any) -> Any:
        self._marked = self._marked or outlasts(query)
        with self._waiting():
            return await super()._executemany(query, *args, **kwargs)

    async def copy_records_to_table(self, table_name: str, **how: Any) -> Any:
        with self._waiting():
            return await super().copy_records_to_table(table_name, **how)

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        outer = self.waits_since_s
        if outer is None:
            self.waits_since_s = self._loop.time()
        try:
            yield
        except asyncpg.ReadOnlySQLTransactionError:
            self.terminate()  # it has become a standby: whoever asks next is to find another one
            raise
        finally:
            self.waits_since_s = outer
