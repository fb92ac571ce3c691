"""Work that one at a time should do goes on when the one that has its lock stands still: its connection lives, and it
says nothing (SIGSTOP, a paused virtual machine)."""

import asyncio
from typing import Any
from zlib import crc32

import asyncpg
import pytest

from balances.ledger import turns
from balances.ledger.opening import LOCK as OPENING
from balances.ledger.opening import open_now
from balances.ledger.reader import StreamReader
from balances.ledger.turns import turn
from balances.ledger.writer import read_cursors
from balances.postgres import STANDS_STILL, connect
from balances.redis.primaries import ALL, plain
from tests.balances.ledger.books import LedgerStores

LOCK = 77


async def test_one_at_a_time(pg_dsn: str) -> None:
    inside: list[int] = []

    async def work(number: int) -> None:
        pg = await asyncpg.connect(pg_dsn)
        try:
            async with turn(pg, LOCK):
                inside.append(number)
                await asyncio.sleep(0.05)
                assert inside[-1] == number
        finally:
            await pg.close()

    await asyncio.gather(*(work(number) for number in range(5)))
    assert sorted(inside) == list(range(5))


async def test_who_stands_still_keeps_nobody_and_keeps_its_lock(pg_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "TRIES", 3)
    still, pg = await asyncpg.connect(pg_dsn), await asyncpg.connect(pg_dsn)
    try:
        await still.execute("SELECT pg_advisory_lock($1)", LOCK)
        async with turn(pg, LOCK):
            pass
        assert await still.fetchval("SELECT pg_advisory_unlock($1)", LOCK)
    finally:
        await still.close()
        await pg.close()


async def test_a_keeper_that_stands_still_in_an_opening_keeps_no_shard_shut(
    books: LedgerStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "TRIES", 3)
    primary = plain(books.redis)
    async with books.pool.acquire() as still, asyncio.timeout(60):
        await still.execute("SELECT pg_advisory_lock($1, $2)", OPENING, crc32(primary.name.encode()) - 2**31)
        await books.open()
    server = await StreamReader(primary).server()
    assert open_now(await read_cursors(books.pool), server) == ALL


async def test_a_keeper_that_stands_still_in_a_copy_gives_its_rows_back(pg_dsn: str, books: LedgerStores) -> None:
    """With settings as its connections have, but for the time."""
    await books.open()
    await books.move("a1", 5)
    still: Any = await connect(pg_dsn, server_settings=dict.fromkeys(STANDS_STILL, "500"))
    try:
        await still.transaction().start()
        await still.execute("SELECT FROM shards FOR UPDATE")
        async with asyncio.timeout(60):
            while (await books.sync.step()).written:
                pass
    finally:
        still.terminate()
    assert await books.pool.fetchval("SELECT count(*) FROM ledger_entries") == 1
