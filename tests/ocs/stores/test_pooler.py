"""PgBouncer between us and PostgreSQL: what `ocs check` and `ocs doctor` say of it."""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from balances.postgres import GONE
from ocs.doctor.database import examine_database
from ocs.processes.mortal import namespace, wrap
from ocs.stores.postgres_check import POOLED, postgres_trouble
from tests.bench.server import free_ports

pytestmark = pytest.mark.skipif(shutil.which("pgbouncer") is None, reason="no pgbouncer")
WAIT_S = 30.0
IGNORED = f"ignore_startup_parameters = {','.join(GONE)}"


@contextlib.asynccontextmanager
async def pooler(dsn: str, home: Path, mode: str, *more: str) -> AsyncIterator[str]:
    """The DSN through a PgBouncer of this pool_mode."""
    parts = urlsplit(dsn)
    query = parse_qs(parts.query)
    (port,) = free_ports(1)
    place = f"host={query['host'][0] if 'host' in query else parts.hostname} port={parts.port or 5432}"
    if "port" in query:
        place = f"host={query['host'][0]} port={query['port'][0]}"
    user = parts.username or query.get("user", ["postgres"])[0]
    settings = [
        "[databases]",
        f"* = {place} user={user}",
        "[pgbouncer]",
        "listen_addr = 127.0.0.1",
        f"listen_port = {port}",
        "unix_socket_dir =",
        "auth_type = any",
        f"pool_mode = {mode}",
        *more,
    ]
    file = home / "pgbouncer.ini"
    file.write_text("\n".join(settings) + "\n")
    binary = shutil.which("pgbouncer")
    assert binary is not None
    # It refuses to be root; what root may reach it has to, the socket of our PostgreSQL.
    who = namespace() if os.geteuid() == 0 else "self"
    process = await asyncio.create_subprocess_exec(*wrap([binary, "-q", str(file)], who, signal.SIGKILL))
    try:
        async with asyncio.timeout(WAIT_S):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    await writer.wait_closed()
                    break
                assert process.returncode is None
                await asyncio.sleep(0.05)
        yield f"postgresql://{user}@127.0.0.1:{port}{parts.path}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_of_one_that_gives_each_session_its_own_nothing_is_said(pg_dsn: str, tmp_path: Path) -> None:
    async with pooler(pg_dsn, tmp_path, "session", IGNORED) as dsn:
        assert await postgres_trouble(dsn, WAIT_S) == ""
        assert POOLED not in [found.what for found in (await examine_database(dsn)).findings]


@pytest.mark.parametrize("mode", ["transaction", "statement"])
async def test_one_that_shares_sessions_is_named(pg_dsn: str, tmp_path: Path, mode: str) -> None:
    async with pooler(pg_dsn, tmp_path, mode, IGNORED) as dsn:
        assert await postgres_trouble(dsn, WAIT_S) == POOLED
        assert POOLED in [found.what for found in (await examine_database(dsn)).findings]


async def test_one_that_gives_them_in_turns_is_named_too(pg_dsn: str, tmp_path: Path) -> None:
    async with pooler(pg_dsn, tmp_path, "transaction", IGNORED, "server_round_robin = 1", "min_pool_size = 5") as dsn:
        assert await postgres_trouble(dsn, WAIT_S) == POOLED


async def test_one_that_does_not_know_our_settings_gets_the_line_that_helps(pg_dsn: str, tmp_path: Path) -> None:
    async with pooler(pg_dsn, tmp_path, "session") as dsn:
        assert IGNORED in await postgres_trouble(dsn, WAIT_S)


async def test_without_one_nothing_is_said(pg_dsn: str) -> None:
    assert await postgres_trouble(pg_dsn, WAIT_S) == ""
