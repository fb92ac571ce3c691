"""A writing transaction on the master data: it gets the next change number, and notifies the projection at its end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from asyncpg import Connection, Pool

CHANNEL: Final = "master"
"""NOTIFY with the change number, so that the keeper need not wait for its next poll."""

Expect = Callable[[int | None], None]
"""Given the current version (None: there is none yet), raises when the caller expected another one."""


@asynccontextmanager
async def change(pool: Pool) -> AsyncIterator[tuple[Connection, int]]:
    """A transaction and its number. Writers wait for each other here: see 002_master.sql for why."""
    async with pool.acquire() as db, db.transaction():
        number = await raised(db)
        yield db, number
        await db.execute("SELECT pg_notify($1, $2)", CHANNEL, str(number))


@asynccontextmanager
async def alone(pool: Pool) -> AsyncIterator[Connection]:
    """A transaction in which nobody else changes master data, for callers that must read before they know whether
    there is anything to change: then by a number `raised` in it."""
    async with pool.acquire() as db, db.transaction():
        await db.execute("SELECT FROM master FOR UPDATE")
        yield db


async def raised(db: Connection) -> int:
    """The next change number; everybody who wants one waits until the transaction ends."""
    return int(await db.fetchval("UPDATE master SET change = change + 1 RETURNING change"))
