"""Queries to PostgreSQL for a caller that waits: each has a time limit, few run at once, and while PostgreSQL does not
answer they fail at once.

A PostgreSQL that is down says so at once. One that hangs (a frozen host, a full disk, a lock) says nothing, and whoever
asks it without a bound hangs too. After the first question without an answer, all others are refused until a question
of our own, asked again and again beside them, is answered.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from typing import Any, Final, TypeVar

from balances.ledger.writer import AWAY
from balances.redis.pending import ended
from ocs.audit.trail import SETTINGS, settings

T = TypeVar("T")

PROBE_S: Final = 0.25
"""Between our own questions while it does not answer."""
RELEASE_S: Final = 0.5
"""For a connection that goes back in the middle of a question: then it is cut."""
AT_ONCE_MAX: Final = 100
"""Questions under way; those given up and not ended yet count too."""


class Away(ConnectionError):
    """PostgreSQL was not asked, or did not answer; the text says why, in words."""


async def within(seconds: float, work: Awaitable[T]) -> T:
    """The result, or TimeoutError. It is not waited for beyond its time, not even to be cancelled: on a
    PostgreSQL that hangs, that may take as long as the answer."""
    task = asyncio.ensure_future(work)
    task.add_done_callback(_seen)
    try:
        await asyncio.wait((task,), timeout=seconds)
    finally:
        if not task.done():
            task.cancel()
    if not task.done():
        raise TimeoutError
    return task.result()


def _seen(task: asyncio.Future[Any]) -> None:
    """Retrieve the exception of a task that nobody waits for any more, so that it is not reported as unhandled."""
    if not task.cancelled():
        task.exception()


async def _introduce(connection: Any) -> bool:
    """Tell a connection whose request it serves, for the audit trail; whether there is one. The pool resets it."""
    said = settings()
    if said is not None:
        await connection.fetchval(SETTINGS, *said)
    return said is not None


class BoundedPostgres:
    """Takes the place of an asyncpg pool: `fetch`, `fetchrow`, `fetchval`, `execute` and `acquire`, which raise `Away`.

    within_s:    bound of each question, and of borrowing a connection
    at_once_max: questions under way; the next is refused
    """

    def __init__(self, pool: Any, *, within_s: float, at_once_max: int = AT_ONCE_MAX) -> None:
        self.patient = pool
        """The pool itself: for what takes as long as it takes, and nobody waits for."""
        self._within_s, self._at_once_max = within_s, at_once_max
        self._under_way: set[asyncio.Future[Any]] = set()
        self._probing: asyncio.Task[None] | None = None

    async def fetch(self, query: str, *args: Any) -> Any:
        return await self.ask(self._on_connection("fetch", query, args))

    async def fetchrow(self, query: str, *args: Any) -> Any:
        return await self.ask(self._on_connection("fetchrow", query, args))

    async def fetchval(self, query: str, *args: Any) -> Any:
        return await self.ask(self._on_connection("fetchval", query, args))

    async def execute(self, query: str, *args: Any) -> Any:
        return await self.ask(self._on_connection("execute", query, args))

    @contextlib.asynccontextmanager
    async def acquire(self) -> AsyncIterator[Any]:
        """A connection that has just answered. Queries made on it afterwards have no time limit here."""
        connection = await self.ask(self._answering())
        try:
            yield connection
        finally:
            await self._release(connection)

    async def ask(self, question: Awaitable[T]) -> T:
        """The answer of a query. Raises Away, or what the query itself raises."""
        task = asyncio.ensure_future(question)
        why = self._closed()
        if why:
            task.cancel()
            raise Away(why)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        try:
            return await within(self._within_s, task)
        except Away:
            raise
        except TimeoutError:
            self._probe()
            raise Away(f"PostgreSQL has not answered within {self._within_s:g} s") from None
        except AWAY as error:
            if isinstance(error, ValueError):  # a value it cannot store: that is no fault of PostgreSQL
                raise
            self._probe()
            raise Away(f"PostgreSQL cannot be reached: {str(error) or type(error).__name__}") from None

    async def close(self) -> None:
        """Stop asking, and refuse further queries."""
        if self._probing is not None:
            await ended((self._probing,))

    # ---- inside

    def _closed(self) -> str:
        if self._probing is not None:
            return "PostgreSQL does not answer"
        if len(self._under_way) >= self._at_once_max:
            return f"{len(self._under_way)} questions wait for PostgreSQL already"
        return ""

    async def _on_connection(self, method: str, query: str, args: tuple[Any, ...]) -> Any:
        connection = await self.patient.acquire(timeout=self._within_s)
        try:
            await _introduce(connection)
            return await getattr(connection, method)(query, *args)
        finally:
            await self._release(connection)

    async def _answering(self) -> Any:
        connection = await self.patient.acquire(timeout=self._within_s)
        try:
            if not await _introduce(connection):
                await connection.fetchval("SELECT 1")
        except BaseException:
            await self._release(connection)
            raise
        return connection

    async def _release(self, connection: Any) -> None:
        try:
            await self.patient.release(connection, timeout=RELEASE_S)
        except AWAY:
            pass  # it is cut, and the pool makes another one

    def _probe(self) -> None:
        if self._probing is None:
            self._probing = asyncio.ensure_future(self._until_answered())

    async def _until_answered(self) -> None:
        """Ask again and again until it answers; only then callers may ask again."""
        try:
            while True:
                try:
                    await within(self._within_s, self._on_connection("fetchval", "SELECT 1", ()))
                except Exception:
                    await asyncio.sleep(PROBE_S)
                else:
                    return
        finally:
            self._probing = None
