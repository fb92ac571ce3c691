"""docs/backup.md on a cluster: PostgreSQL is put back from its dump while the live store lives, then one primary of the
live store from an older copy of its append-only file. Nothing that either has is lost, nothing is charged twice."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from balances import keys
from loadtest.api import Api
from ocs.processes.embedded import find_postgres
from tests.drills.hosts import DrillHost
from tests.drills.test_hosts import GW, ocs
from tests.drills.test_told import START, STOP, TARIFF, World
from tests.live_cluster import LiveCluster
from tests.live_cluster import until as until_so

pytestmark = pytest.mark.serial

PATIENCE_S = 60.0
ACCOUNTS = tuple(f"acc-{number}" for number in range(9))
"""They lie on all primaries."""


async def pg_tool(name: str, dsn: str, *options: str) -> None:
    """Of the PostgreSQL that runs; where it came without its tools there is nothing to try."""
    tool = find_postgres() / name
    if not tool.exists():
        pytest.skip(f"no {name} beside this PostgreSQL")
    child = await asyncio.create_subprocess_exec(tool, "--dbname", dsn, *options, stderr=asyncio.subprocess.PIPE)
    _, said = await asyncio.wait_for(child.communicate(), PATIENCE_S)
    assert child.returncode == 0, said.decode()


@pytest.fixture
def cluster() -> Iterator[LiveCluster]:
    with tempfile.TemporaryDirectory(prefix="ocs-cluster-") as home:
        made = LiveCluster(Path(home), replicas=0, settings={"maxmemory": "256mb"})
        try:
            made.start()
            yield made
        finally:
            made.stop()


@pytest.fixture
async def host(cluster: LiveCluster, pg_dsn_bare: str) -> AsyncIterator[DrillHost]:
    made = DrillHost("a", (f"redis.url={cluster.url}", f"postgres.dsn={pg_dsn_bare}"), probe="http")
    await made.start()
    try:
        await made.ready()
        yield made
    finally:
        await made.end()


async def served(host: DrillHost, api: Api, session: str, subscriber: str) -> int:
    """What a session of it was granted."""
    world = World(api, host.diameter)
    gateway = await world.gateway(GW)
    granted = await world.ask(gateway, GW, session, subscriber, START, 0, asked=10)
    if granted > 0:
        await world.ask(gateway, GW, session, subscriber, STOP, 1, used=10)
    await gateway.gone()
    return granted


async def balances(api: Api) -> dict[str, str]:
    found: list[dict[str, Any]] = [await api.get("v1", "accounts", account) for account in ACCOUNTS]
    return {account: one["balance"] for account, one in zip(ACCOUNTS, found, strict=True)}


async def until_copied(api: Api) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while (await api.get("v1", "status"))["shards"]["lag_entries"]:
            await asyncio.sleep(0.2)


async def top_up(api: Api, account: str) -> None:
    """The same, however often it is asked for."""
    await api.post("v1", "accounts", account, "topups", body={"amount": "1.00"}, key=f"of-{account}")


async def test_both_stores_are_put_back(
    cluster: LiveCluster, host: DrillHost, pg_dsn_bare: str, tmp_path: Path
) -> None:
    dump, older, half = tmp_path / "ocs.dump", tmp_path / "older", len(ACCOUNTS) // 2
    async with host.api() as api:
        await api.put("v1", "tariffs", "told", body=TARIFF)
        world = World(api, host.diameter)
        for number, account in enumerate(ACCOUNTS[:half]):
            await world.account(account, "2.00", f"49150000{number}")
        assert await served(host, api, "first", "491500000") == 10
        await until_copied(api)
        await pg_tool("pg_dump", pg_dsn_bare, "--format=custom", f"--file={dump}")
        one = cluster.primary_of(keys.shard_of(ACCOUNTS[0]))
        await asyncio.to_thread(shutil.copytree, one.home / "appendonlydir", older)
        # A day goes by.
        for number, account in enumerate(ACCOUNTS[half:], half):
            await world.account(account, "2.00", f"49150000{number}")
        for account in ACCOUNTS:
            await top_up(api, account)
        for number in range(len(ACCOUNTS)):
            assert await served(host, api, f"second {number}", f"49150000{number}") == 10
        await until_copied(api)
        before = await balances(api)
    assert await host.stop() == 0
    await pg_tool("pg_restore", pg_dsn_bare, "--clean", "--if-exists", "--no-owner", "--single-transaction", str(dump))

    await host.start()
    await host.ready()
    seen = await ocs(host, "ledger", "recover", "--dry-run", "--reason", "disk of db1 died")
    assert f"{len(ACCOUNTS) - half}" in seen
    await ocs(host, "ledger", "recover", "--reason", "disk of db1 died")
    await host.ready()
    async with host.api() as api:
        assert await balances(api) == before
        await ocs(host, "ledger", "verify")
        for account in ACCOUNTS:  # what was done stays done
            await top_up(api, account)
        assert await balances(api) == before
        assert await served(host, api, "third", "491500008") == 10
        await until_copied(api)
        before = await balances(api)

        # One primary comes back older than PostgreSQL; the others charge on.
        one.kill()
        shutil.rmtree(one.home / "appendonlydir")
        older.rename(one.home / "appendonlydir")
        one.start()
        await asyncio.to_thread(until_so, lambda: bool(one.role()), "it is back")
        async with asyncio.timeout(PATIENCE_S):
            while (await api.call("GET", ("readyz",))).body["status"] != "ok":
                await asyncio.sleep(0.2)
        assert await balances(api) == before
        for account in ACCOUNTS:
            await top_up(api, account)
        for number in range(len(ACCOUNTS)):
            assert await served(host, api, f"fourth {number}", f"49150000{number}") == 10
        await until_copied(api)
        await ocs(host, "ledger", "verify")
        after = await balances(api)
    assert {account: f"{float(before[account]) - 0.01:.2f}" for account in ACCOUNTS} == after
