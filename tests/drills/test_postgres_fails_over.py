"""PostgreSQL on two hosts: the first one freezes or dies under the copy, the second one is promoted.

What is asked is the copy itself, which alone writes the ledger: every record once, in whichever server is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from random import Random
from typing import Any, Final
from urllib.parse import quote

import asyncpg
import pytest

from balances.ledger.opening import OpeningRefused
from balances.ledger.reader import connect as live_store
from balances.ledger.sync import NotOpen
from balances.ledger.verify import verify
from balances.ledger.writer import AWAY, CursorMoved
from balances.migrations.migrate import migrate
from ocs.processes.embedded import USER, EmbeddedPostgres, find_postgres
from ocs.processes.mortal import wrap
from ocs.stores.moved_postgres import PostgresHosts
from ocs.stores.plain_connection import PlainConnection
from tests.balances.ledger.books import LedgerStores
from tests.balances.ledger.test_months import Walk
from tests.ocs.keeper.copying import LoneCopy

pytestmark = pytest.mark.serial

SETTINGS: Final = {"fsync": "off", "autovacuum": "off", "wal_keep_size": "256MB", "hot_standby": "on"}
WAIT_S: Final = 120.0


class Standby(EmbeddedPostgres):
    """A copy of another server, which follows it until it is promoted."""

    def __init__(self, home: Path, first: EmbeddedPostgres) -> None:
        super().__init__(home, settings=SETTINGS)
        self._first = first

    def _initialise(self, bin_dir: Path, who: str, data: Path) -> None:
        sockets = self._first._sockets
        command = [str(bin_dir / "pg_basebackup"), "-h", str(sockets), "-p", "5432", "-U", USER, "-D", str(data), "-R"]
        command += ["-X", "stream", "-c", "fast", "--no-sync"]
        done = subprocess.run(wrap(command, who, signal.SIGKILL), capture_output=True, cwd=self.home, check=False)
        assert done.returncode == 0, done.stderr.decode()


def family(pid: int) -> list[int]:
    """A process and all it has started."""
    found, left = [], [pid]
    while left:
        found.append(one := left.pop())
        with contextlib.suppress(OSError):
            left += map(int, Path(f"/proc/{one}/task/{one}/children").read_text().split())
    return found


def signal_all(server: EmbeddedPostgres, what: signal.Signals) -> None:
    for pid in family(server.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, what)


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[EmbeddedPostgres, Standby]]:
    find_postgres()
    first = EmbeddedPostgres(tmp_path / "1", settings=SETTINGS)
    first.start()
    second = Standby(tmp_path / "2", first)
    try:
        second.start()
        yield first, second
    finally:
        for server in (first, second):
            if server.alive:
                signal_all(server, signal.SIGCONT)
                server.stop()


def address(*servers: EmbeddedPostgres) -> str:
    places = ",".join(str(server._sockets) for server in servers)
    return f"postgresql://{USER}@/postgres?host={quote(places, safe=',')}&port={','.join(['5432'] * len(servers))}"


@contextlib.asynccontextmanager
async def copying(redis_url: str, dsn: str) -> AsyncIterator[tuple[LedgerStores, Walk]]:
    """The copy as the keeper does it, over a pool as processes have it, and calls to be copied."""
    moved: list[str] = []
    hosts = PostgresHosts(dsn, log=moved.append)
    pool = await asyncpg.create_pool(
        dsn, min_size=0, max_size=4, connect=hosts.connect, connection_class=PlainConnection
    )
    books = LedgerStores(live_store(redis_url), pool)
    stop = asyncio.Event()

    async def look() -> None:
        while not stop.is_set():
            hosts.look()
            await asyncio.sleep(0.1)

    lone = LoneCopy(books.sync, books.redis)

    async def copy() -> None:
        while not stop.is_set():
            try:
                await lone.copy()
                if lone.anew:
                    lone.anew.clear()  # what is not opened now is found missing again
                    await books.open(2_000_000_000, anew=True)
            except (*AWAY, CursorMoved, NotOpen, OpeningRefused, asyncpg.PostgresError):
                pass
            await asyncio.sleep(0.05)

    await books.open()
    tasks = [asyncio.ensure_future(look()), asyncio.ensure_future(copy())]
    try:
        yield books, Walk(books, Random(7), 1_800_000_000_000)
    finally:
        stop.set()
        done, left = await asyncio.wait(tasks, timeout=WAIT_S)
        await hosts.stop()
        pool.terminate()
        await books.redis.aclose()
        assert not left
        assert [task.exception() for task in done] == [None] * 2


async def asked(server: EmbeddedPostgres, query: str) -> Any:
    pg = await asyncpg.connect(server.dsn)
    try:
        return await pg.fetchval(query)
    finally:
        await pg.close()


async def until(server: EmbeddedPostgres, query: str, expected: object) -> None:
    async with asyncio.timeout(WAIT_S):
        while await asked(server, query) != expected:
            await asyncio.sleep(0.1)


ENTRIES: Final = "SELECT count(*) FROM ledger_entries"


async def follow_at_once(first: EmbeddedPostgres) -> None:
    """From now on nothing is committed that the standby does not have."""
    await until(first, "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'", 1)
    await asked(first, "ALTER SYSTEM SET synchronous_standby_names = '*'")
    await asked(first, "SELECT pg_reload_conf()")
    await until(first, "SELECT sync_state FROM pg_stat_replication", "sync")


async def test_a_frozen_server_is_left_for_its_standby(
    redis_url: str, servers: tuple[EmbeddedPostgres, Standby]
) -> None:
    """And is no server any more when it thaws."""
    first, second = servers
    dsn = address(first, second)
    await migrate(dsn)
    await follow_at_once(first)
    async with copying(redis_url, dsn) as (books, walk):
        await walk.calls(300)
        await until(first, ENTRIES, 300)
        await walk.calls(50)  # some are on their way
        signal_all(first, signal.SIGSTOP)
        await walk.calls(150)
        await asked(second, "SELECT pg_promote()")
        await walk.calls(100)
        await until(second, ENTRIES, 600)
        await walk.check()
        signal_all(first, signal.SIGCONT)
        await walk.calls(100)
        await until(second, ENTRIES, 700)
        await books.pool.expire_connections()
        await walk.calls(100)
        await until(second, ENTRIES, 800)
        await walk.check()
    assert await asked(first, ENTRIES) <= 350


@pytest.mark.parametrize("beyond", [False, True], ids=["within the margin", "beyond it"])
async def test_a_standby_that_lacks_the_last_commits_gets_them_from_the_streams(
    redis_url: str, servers: tuple[EmbeddedPostgres, Standby], beyond: bool
) -> None:
    """PostgreSQL went back (durability.md rule 12). What the streams still have is copied again; beyond that the
    balances come from the live store, as `recovered`, with an alarm."""
    first, second = servers
    dsn = address(first, second)
    await migrate(dsn)
    await until(first, "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'", 1)
    async with copying(redis_url, dsn) as (books, walk):
        await walk.calls(200)
        await until(second, ENTRIES, 200)
        signal_all(second, signal.SIGSTOP)
        missed = 3_000 if beyond else 400  # of a dozen accounts, each in a shard of its own
        await walk.calls(missed)
        await until(first, ENTRIES, 200 + missed)
        trimmed = await books.sync.trim()
        assert (trimmed > 200) is beyond
        first.kill()
        signal_all(second, signal.SIGCONT)
        await asked(second, "SELECT pg_promote()")
        if not beyond:
            await walk.calls(50)
            await until(second, ENTRIES, 250 + missed)
            await walk.check()
            return
        last = {account: (seq, after) for account, seq, _, after, _ in walk.entries}
        newest = "SELECT DISTINCT ON (account) account, seq, after FROM ledger_entries ORDER BY account, seq DESC"
        async with asyncio.timeout(WAIT_S):
            while {account: (seq, after) for account, seq, after in await books.pool.fetch(newest)} != last:
                await asyncio.sleep(0.2)
        assert await books.pool.fetchval("SELECT count(*) FROM ledger_entries WHERE why = 'recovered'") > 0
        assert any("the stream lacks" in alarm for alarm in books.alarms)
        recovered = await books.pool.fetchval(ENTRIES)
        await walk.calls(50)
        await until(second, ENTRIES, recovered + 50)
        assert (await verify(books.redis, books.pool)).findings == []
