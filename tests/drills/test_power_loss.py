"""The power of the live store's host fails under load: what each durability promises of it (durability.md).

`always`: nothing that was answered is missing, whatever the torn end of the file, and in the middle of a rewrite.
`everysec`: what no fsync covered and PostgreSQL does not have is lost, no more; each lost answer is listed with what it
cost, and the books go on without a number twice or a hold too many.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
import redis

from loadtest.api import Api
from loadtest.audit import Audit
from loadtest.client import LoadClient
from loadtest.link import Target
from loadtest.pricing import micro
from loadtest.provision import Provision, account_of
from loadtest.runner import LoadRun
from loadtest.scenario import Play, ScenarioLine, ScenarioPrice, load
from ocs.processes.embedded import Durability, EmbeddedError, EmbeddedValkey, find_valkey
from tests.bench.server import BenchServer, running
from tests.drills.power import FailingHost, PowerCutLeft, Tail, nothing, some, zeros
from tests.drills.test_kill import children, until_ready, verify, witnessed

pytestmark = pytest.mark.serial

RATE, SUBSCRIBERS = 150, 60
SCENARIO = msgspec.structs.replace(
    load("mixed", subscribers=SUBSCRIBERS, rate=RATE, timeout_s=3.0),
    prices=(ScenarioPrice("data", "octets", 1, "0.000001"),),
    plays=(Play("data", (ScenarioLine("octets", (1_000, 50_000), rating_group=10),), updates=(2, 6)),),
)
"""Without blocks: what a report costs does not depend on the ones before, of which some are lost."""
ACCOUNTS = [account_of(SCENARIO, index) for index in range(SUBSCRIBERS)]
PATIENCE_S = 60.0
ON_ITS_WAY_MS = 3_000
"""A call may be written so long after its request was dated."""


@pytest.fixture
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ocs-power-") as made:
        yield Path(made)


def redis_server() -> Path:
    found = shutil.which("redis-server")
    if found is None:
        pytest.skip("no redis-server on PATH")
    return Path(found)


@contextlib.contextmanager
def failing(home: Path, durability: Durability, binary: Path) -> Iterator[tuple[FailingHost, EmbeddedValkey]]:
    host = FailingHost(home, binary)
    store = EmbeddedValkey(home, durability=durability, binary=host.server)
    store.start()
    try:
        yield host, store
    finally:
        store.kill()


async def test_always_keeps_what_it_answered(home: Path) -> None:
    chance = Random(7)
    with failing(home, "always", find_valkey()) as (host, store):
        async with running(f"redis.url={store.url}", "durability=always") as server, witnessed(server) as load_run:
            load_on = asyncio.ensure_future(load_run.pace(RATE, "poisson", 5.0))
            await asyncio.sleep(1.5)
            host.cut(store, chance, some)
            store.start()
            await until_ready(server)
            with redis.Redis(unix_socket_path=str(store.socket)) as client:
                client.execute_command("BGREWRITEAOF")
            await asyncio.sleep(chance.uniform(0.0, 0.1))
            host.cut(store, chance, some)
            store.start()
            await load_on
            await until_ready(server)
            before = len(load_run.client.answered or ())
            await load_run.pace(RATE, "poisson", 1.0)
            assert len(load_run.client.answered or ()) > before


async def test_everysec_loses_what_no_fsync_covered_and_says_so(home: Path) -> None:
    with failing(home, "everysec", find_valkey()) as (host, store):
        async with running(f"redis.url={store.url}", "durability=everysec") as server:
            client = LoadClient(Target("127.0.0.1", server.diameter_port), connections=4, timeout_s=3.0, record=True)
            await client.start()
            async with Api(server.url, server.token) as api:
                await Provision(api, SCENARIO).run()
                audit = Audit(api, ACCOUNTS)
                await audit.before()
                played = LoadRun(client, SCENARIO, seed=3)
                await played.pace(RATE, "poisson", 1.5)
                left = await cut_with_postgres_behind(host, store, server, played)
                await until_ready(server)
                await played.pace(RATE, "poisson", 1.0)
                await played.finish(PATIENCE_S)
                assert not client.unanswered
                lost = await all_that_is_lost(api, audit, played)
                assert lost
                assert all(at_ms(one) > left.synced_ms - ON_ITS_WAY_MS for one in lost)
                reason = {"reason": "the power failed"}
                assert (await api.post("v1", "ledger", "lost", "accept", body=reason))["answers"] == len(lost)
            await client.stop()
            await verify(server)


async def cut_with_postgres_behind(
    host: FailingHost, store: EmbeddedValkey, server: BenchServer, played: LoadRun
) -> PowerCutLeft:
    """The keeper stands still meanwhile: else PostgreSQL would have nearly all that the store loses."""
    keeper = children(server, "ocs.processes.entry")[0]
    os.kill(keeper, signal.SIGSTOP)
    try:
        await played.pace(RATE, "poisson", 2.5)
        left = host.cut(store, Random(3), nothing)
        assert left.octets > 0
        store.start()
    finally:
        os.kill(keeper, signal.SIGCONT)
    return left


async def all_that_is_lost(api: Api, audit: Audit, played: LoadRun) -> list[dict[str, Any]]:
    """What is listed as lost, once each account lacks just what its lost answers cost."""
    assert not played.dues.left_open
    async with asyncio.timeout(PATIENCE_S):
        while True:
            lost: list[dict[str, Any]] = (await api.get("v1", "ledger", "lost"))["items"]
            due, ended = list(played.dues.micro), dict[int, list[int]]()
            for one in lost:
                index = ACCOUNTS.index(one["account"])
                due[index] -= micro(one["cost"])
                if one["request_key"].startswith("3:"):  # its session goes on in the store until it lapses
                    ended[index] = [0]
            verdict = await audit.after(due, ended)
            if verdict.wrong == verdict.doubtful:
                return lost
            await asyncio.sleep(0.5)


def at_ms(lost: dict[str, Any]) -> float:
    return datetime.fromisoformat(lost["time"]).timestamp() * 1_000


@pytest.mark.parametrize("find", [find_valkey, redis_server])
@pytest.mark.parametrize(("tail", "starts"), [(some, True), (zeros, False)])
def test_the_torn_end_of_the_file_is_cut_off(home: Path, find: Callable[[], Path], tail: Tail, starts: bool) -> None:
    """By the server itself, or as the runbook says ("The live store does not start")."""
    binary = find()
    with failing(home, "always", binary) as (host, store):
        with redis.Redis(unix_socket_path=str(store.socket)) as client:
            client.set("synced", 1)
            client.config_set("appendfsync", "no")
            pipe = client.pipeline()
            for number in range(20_000):
                pipe.set(f"key-{number}", number)
            pipe.execute()
        host.cut(store, Random(5), tail)
        if not starts:
            with pytest.raises(EmbeddedError, match="Bad file format reading the append only file"):
                store.start()
            last = max((store.home / "data" / "appendonlydir").glob("*.incr.aof"))
            tool = home / binary.name.replace("-server", "-check-aof")
            tool.symlink_to(binary)
            subprocess.run([str(tool), "--fix", str(last)], input=b"y\n", check=True, capture_output=True)
        store.start()
        with redis.Redis(unix_socket_path=str(store.socket)) as client:
            assert client.exists("synced")
