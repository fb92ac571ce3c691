"""A borrowed connection is reset where the one before left something behind, and costs nothing else."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest

from ocs.audit.trail import SETTINGS
from ocs.config.load import load
from ocs.processes.embedded import EmbeddedPostgres
from ocs.processes.stores import bounded_pool
from ocs.stores.plain_connection import WAITS_FOR_DISK, PlainConnection, outlasts


@pytest.fixture
async def pool(pg_dsn: str) -> AsyncIterator[Any]:
    async with asyncpg.create_pool(pg_dsn, min_size=1, max_size=1, connection_class=PlainConnection) as made:
        yield made


async def test_what_leaves_nothing_is_not_reset(pool: Any) -> None:
    said: list[str] = []
    async with pool.acquire() as pg:
        pg.add_query_logger(lambda record: said.append(record.query))
    async with pool.acquire() as pg, pg.transaction():
        await pg.execute("SELECT pg_advisory_xact_lock(7)")
    said.clear()
    await pool.fetchval("SELECT count(*) FROM shards")
    assert said == ["SELECT count(*) FROM shards"]


async def test_settings_of_a_request_end_with_it(pool: Any) -> None:
    async with pool.acquire() as pg:
        await pg.fetchval(SETTINGS, "r1", "alice", "token", "::1", "accounts.topup", "a1")
    assert await pool.fetchval("SELECT current_setting('ocs.caller', true)") in (None, "")


async def test_a_lock_of_a_session_ends_with_the_borrower(pool: Any, pg_dsn: str) -> None:
    async with pool.acquire() as pg:
        await pg.execute("SELECT pg_advisory_lock($1)", 7)
    other = await asyncpg.connect(pg_dsn)
    assert await other.fetchval("SELECT pg_try_advisory_lock(7)")
    await other.close()


async def test_a_subscription_ends_with_the_borrower(pool: Any) -> None:
    async with pool.acquire() as pg:
        await pg.execute("LISTEN bell")
    assert await pool.fetchval("SELECT count(*) FROM pg_listening_channels()") == 0


async def test_a_transaction_left_open_is_rolled_back(pool: Any) -> None:
    async with pool.acquire() as pg:
        await pg.execute("BEGIN; UPDATE shards SET stopped = 'x' WHERE shard = 0")
    assert await pool.fetchval("SELECT stopped FROM shards WHERE shard = 0") == ""


@pytest.mark.parametrize("how", ["execute", "fetchval", "executemany"])
async def test_it_knows_that_it_waits(pool: Any, pg_dsn: str, how: str) -> None:
    """Else nobody would look whether another server has taken over from one that is frozen."""
    other = await asyncpg.connect(pg_dsn)
    await other.execute("SELECT pg_advisory_lock(8)")
    async with pool.acquire() as pg:
        inner = pg._con
        asked = asyncio.ensure_future(
            getattr(pg, how)("SELECT pg_advisory_xact_lock($1)", *([[(8,)]] if how == "executemany" else [8]))
        )
        async with asyncio.timeout(60):
            while inner.waits_since_s is None:
                await asyncio.sleep(0.01)
        await other.close()
        await asked
        assert inner.waits_since_s is None


@pytest.mark.parametrize(
    ("query", "lasts"),
    [
        ("SELECT set_config('ocs.caller', $1, false)", True),
        ("SELECT pg_try_advisory_lock($1)", True),
        ("SET application_name = 'x'", True),
        ("LISTEN ocs_events", True),
        ("SELECT 1; SET application_name = 'x'", True),
        ("CREATE TEMP TABLE t (a int)", True),
        ("SELECT pg_try_advisory_xact_lock($1)", False),
        ("UPDATE shards SET stopped = $2 WHERE shard = $1", False),
        ("NOTIFY ocs_events", False),
        ("SELECT account FROM account_heads ORDER BY account OFFSET $1", False),
    ],
)
def test_which_statements_outlast_their_transaction(query: str, lasts: bool) -> None:
    assert outlasts(query) is lasts


async def durable(connection: Any) -> None:
    await connection.execute(WAITS_FOR_DISK)


async def test_a_commit_that_was_answered_outlives_a_crash_of_a_server_that_would_not_wait_for_its_disk() -> None:
    with tempfile.TemporaryDirectory(prefix="ocs-commit-") as home:
        lazy = {"synchronous_commit": "off", "wal_writer_delay": "10s", "fsync": "off", "autovacuum": "off"}
        server = EmbeddedPostgres(Path(home) / "postgres", settings=lazy)
        try:
            dsn = await asyncio.to_thread(server.start)
            pool = await asyncpg.create_pool(
                dsn, min_size=1, max_size=1, init=durable, connection_class=PlainConnection
            )
            await pool.execute("CREATE TABLE kept (number bigint)")
            await pool.execute("CHECKPOINT")
            for number in range(3):
                await pool.execute("INSERT INTO kept VALUES ($1)", number)
            await asyncio.to_thread(server.kill)
            pool.terminate()
            await asyncio.to_thread(server.start)
            pg = await asyncpg.connect(dsn)
            assert await pg.fetchval("SELECT count(*) FROM kept") == 3
            await pg.close()
        finally:
            await asyncio.to_thread(server.stop)


@pytest.mark.parametrize(("asked", "used"), [("off", "on"), ("remote_apply", "remote_apply"), ("local", "local")])
async def test_whoever_asks_for_more_than_the_disk_keeps_it(pg_dsn: str, asked: str, used: str) -> None:
    settings = {"synchronous_commit": asked}
    async with asyncpg.create_pool(
        pg_dsn, min_size=1, max_size=1, init=durable, connection_class=PlainConnection, server_settings=settings
    ) as pool:
        assert await pool.fetchval("SELECT current_setting('synchronous_commit')") == used
        await pool.fetchval("SELECT set_config('synchronous_commit', 'off', false)")  # a reset follows
        assert await pool.fetchval("SELECT current_setting('synchronous_commit')") == used


async def test_every_pool_of_the_server_waits_for_the_disk(pg_dsn: str) -> None:
    """The tests' PostgreSQL has synchronous_commit off."""
    config = load(None, overrides=(f"postgres.dsn={pg_dsn}",), environ={})
    supervisor: Any = SimpleNamespace(at_beat=lambda _: None, unfit=pytest.fail)
    async with bounded_pool(config, supervisor, 1) as pool:
        assert await pool.fetchval("SELECT current_setting('synchronous_commit')") == "on"
        assert await pool.fetchval("SELECT reset_val FROM pg_settings WHERE name = 'synchronous_commit'") == "off"
