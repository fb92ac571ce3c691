"""kill -9 of each process under load, durability `always`: every answer holds, nothing twice, nothing lost.

The witness is the load simulator: it knows the wire and the HTTP API, keeps every request until it is answered, sends
what is unanswered again with the T bit, prices by itself what was acknowledged, and compares account, ledger and its
own sum to the micro-unit. Then `ocs ledger verify` proves the books from the inside.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from loadtest.api import Api
from loadtest.audit import Audit
from loadtest.client import LoadClient
from loadtest.link import Target
from loadtest.provision import Provision, account_of
from loadtest.runner import LoadRun
from loadtest.scenario import load
from ocs.processes.embedded import EmbeddedPostgres
from tests.bench import processes
from tests.bench.server import BenchServer, running

pytestmark = pytest.mark.serial

RATE = 150
SUBSCRIBERS = 120
BACKLOG = 3_000
"""Of some shards more than a batch takes (balances/ledger/sync.py)."""


def children(server: BenchServer, *words: str) -> list[int]:
    """Processes of this server whose command line has all these words, oldest first."""
    return processes.children(server.pid, *words)


async def until_ready(server: BenchServer, wait_s: float = 40.0) -> None:
    async with Api(server.url, server.token) as api:
        async with asyncio.timeout(wait_s):
            while (await api.call("GET", ("readyz",))).status != 200:
                await asyncio.sleep(0.2)


async def verify(server: BenchServer) -> None:
    """`ocs ledger verify` says that the books are right."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ocs", "ledger", "verify", "--url", server.url),
        *("--data", str(server.data)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await child.communicate()
    assert child.returncode == 0, said.decode()


@contextlib.asynccontextmanager
async def witnessed(server: BenchServer) -> AsyncIterator[LoadRun]:
    """A load to play on; afterwards every session is ended, the audit holds and the books are proved."""
    scenario = load("mixed", subscribers=SUBSCRIBERS, rate=RATE, timeout_s=3.0)
    client = LoadClient(Target("127.0.0.1", server.diameter_port), connections=4, timeout_s=3.0, record=True)
    await client.start()
    async with Api(server.url, server.token) as api:
        await Provision(api, scenario).run()
        audit = Audit(api, [account_of(scenario, index) for index in range(SUBSCRIBERS)])
        await audit.before()
        load_run = LoadRun(client, scenario, seed=7)
        yield load_run
        await until_ready(server)
        await load_run.finish(60.0)
        assert not client.unanswered
        verdict = await audit.after(load_run.dues.micro, load_run.dues.left_open)
        assert verdict.holds, verdict
        assert verdict.held == 0
        assert verdict.debited > 0
    await client.stop()
    await verify(server)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


async def a_worker(server: BenchServer) -> None:
    kill(children(server, "ocs.processes.entry")[-1])


async def the_keeper(server: BenchServer) -> None:
    kill(children(server, "ocs.processes.entry")[0])


async def redis(server: BenchServer) -> None:
    (pid,) = children(server, "valkey-server") or children(server, "redis-server")
    kill(pid)


async def postgres(server: BenchServer) -> None:
    (pid,) = children(server, "postgres")
    kill(pid)


async def everything(server: BenchServer) -> None:
    """One after the other, each while the one before is still coming back."""
    for disaster in (a_worker, redis, postgres):
        await disaster(server)
        await asyncio.sleep(1.5)


@pytest.mark.parametrize("disaster", [the_keeper, everything])
async def test_nothing_is_lost_and_nothing_is_charged_twice(disaster: Callable[[BenchServer], Awaitable[None]]) -> None:
    async with running("durability=always") as server, witnessed(server) as load_run:
        load_on = asyncio.ensure_future(load_run.pace(RATE, "poisson", 9.0))
        await asyncio.sleep(2.0)
        before = len(load_run.client.answered or ())
        await disaster(server)
        await load_on
        await until_ready(server)
        await load_run.pace(RATE, "poisson", 2.0)
        assert len(load_run.client.answered or ()) > before + RATE, "the service came back under load"


async def test_a_keeper_is_killed_in_the_middle_of_a_backlog() -> None:
    """So many records wait that they are copied in lanes (ocs/keeper/copy.py): all are there once, whichever batches
    were written."""
    async with running("durability=always") as server, witnessed(server) as load_run:
        pg = await asyncpg.connect(EmbeddedPostgres(server.data).address)
        try:
            (keeper, *_) = children(server, "ocs.processes.entry")
            os.kill(keeper, signal.SIGSTOP)
            async with asyncio.timeout(60.0):
                while len(load_run.client.answered or ()) < BACKLOG:
                    await load_run.saturate(16, 1.0)
            before = await copied(pg)
            os.kill(keeper, signal.SIGCONT)
            async with asyncio.timeout(40.0):
                while await copied(pg) == before:
                    await asyncio.sleep(0.002)
            kill(keeper)
        finally:
            await pg.close()
        await load_run.pace(RATE, "poisson", 2.0)


async def copied(pg: Any) -> int:
    """Records that PostgreSQL has."""
    return int(await pg.fetchval("SELECT sum(position) FROM shards"))


async def test_an_older_append_only_file_is_put_back() -> None:
    """Redis goes back in time: PostgreSQL knows more, so the accounts that differ are brought back from there. No seq
    is used again, no entry is lost or repeated (the audit and the proof say so), and sessions that were open go on."""
    async with running("durability=always") as server, witnessed(server) as load_run:
        await load_run.pace(RATE, "poisson", 2.0)
        (home,) = server.data.rglob("appendonlydir")
        shutil.copytree(home, server.data / "older")
        await load_run.pace(RATE, "poisson", 3.0)
        assert await load_run.client.quiet(10.0)
        await asyncio.sleep(1.5)  # until PostgreSQL has it all: what is in neither is what this file cannot bring back
        open_before = len(load_run.open)
        os.kill(server.pid, signal.SIGSTOP)  # so that it does not start Redis before the file is there
        await redis(server)
        shutil.rmtree(home)
        (server.data / "older").rename(home)
        os.kill(server.pid, signal.SIGCONT)
        await until_ready(server)
        assert open_before > 0
        await load_run.pace(RATE, "poisson", 3.0)
