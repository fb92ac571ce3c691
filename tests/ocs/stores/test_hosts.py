"""The registry of hosts: who is there, who is lost, who may restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from balances.ledger.formats import Reads
from ocs.stores.hosts import (
    HostRefused,
    HostState,
    ask_restart,
    beat,
    end_restart,
    give_up_restarts,
    leave,
    listed,
)

READS = Reads(2, 2)
STATE = HostState(("worker", "keeper"), "1.0+abc", True, "", "http://a:8080", peers=("pgw",), clients=("bras",))


@pytest.fixture
async def pg(pg_dsn: str) -> AsyncIterator[Any]:
    pool = await asyncpg.create_pool(pg_dsn, min_size=0, max_size=4)
    yield pool
    await pool.close()


async def join(pool: Any, name: str, reads: Reads = READS, *libraries: str) -> bool:
    async with pool.acquire() as one:
        return (await beat(one, f"run-{name}", name, reads, libraries, STATE)).restart


async def lose(pool: Any, name: str, seconds: int = 1) -> None:
    await pool.execute("UPDATE hosts SET until_at = now() - $2 * interval '1 second' WHERE name = $1", name, seconds)


async def test_a_host_is_there_until_its_lease_has_run_out(pg: Any) -> None:
    await join(pg, "a", READS, "lib")
    (host,) = await listed(pg)
    assert (host.name, host.alive, host.reads, host.state) == ("a", True, READS, STATE)
    assert host.libraries == {"lib"}
    await lose(pg, "a")
    (host,) = await listed(pg)
    assert (host.alive, host.lost_s > 0, host.left) == (False, True, False)
    await join(pg, "a")  # it was only away
    assert [host.alive for host in await listed(pg)] == [True]
    await lose(pg, "a", 10_000)
    await join(pg, "b")
    assert [host.name for host in await listed(pg)] == ["b"], "who is lost for long is forgotten"


async def test_who_leaves_is_gone_at_once_and_may_come_back(pg: Any) -> None:
    await join(pg, "a")
    await leave(pg, "run-a")
    assert [(host.alive, host.left) for host in await listed(pg)] == [(False, True)]
    await join(pg, "a")
    assert [(host.alive, host.left) for host in await listed(pg)] == [(True, False)]


@pytest.mark.parametrize(
    ("written", "announced", "why"),
    [
        (3, None, "stored in format 3; this version reads formats 2 to 2: start a newer version"),
        (2, 3, "about to be stored in format 3; this version reads formats 2 to 2: start a newer version"),
        (1, None, "stored in format 1; .*start an older version first"),
    ],
)
async def test_who_cannot_read_what_is_stored_may_not_join(
    pg: Any, written: int, announced: int | None, why: str
) -> None:
    await join(pg, "a")
    await pg.execute("UPDATE store SET format = $1, next_format = $2", written, announced)
    with pytest.raises(HostRefused, match=why):
        await join(pg, "a")
    assert await listed(pg) == []


async def test_who_joins_while_the_next_format_is_announced_waits_and_is_refused(pg: Any) -> None:
    async with pg.acquire() as step, step.transaction():
        await step.fetchrow("SELECT format FROM store FOR UPDATE")
        joining = asyncio.ensure_future(join(pg, "late"))
        waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid())"
        async with asyncio.timeout(30):
            while not await pg.fetchval(waits):
                await asyncio.sleep(0.02)
        assert not joining.done()
        await step.execute("UPDATE store SET next_format = 3")
    with pytest.raises(HostRefused):
        await joining


async def test_hosts_restart_one_after_the_other(pg: Any) -> None:
    for name in ("a", "b", "c"):
        await join(pg, name)
    assert await ask_restart(pg, []) == ["a", "b", "c"]
    assert await join(pg, "b")
    assert not await join(pg, "b"), "it is told once"
    assert not await join(pg, "a"), "b is at it"
    await end_restart(pg, "run-b", "4 processes restarted")
    assert await join(pg, "a")
    assert {host.name: host.restart for host in await listed(pg)} == {"a": "begun", "b": "", "c": "asked"}
    await lose(pg, "a")  # whoever dies in the middle of it keeps nobody from it
    assert await join(pg, "c")


async def test_where_one_fails_the_others_stay_as_they_are(pg: Any) -> None:
    for name in ("a", "b"):
        await join(pg, name)
    await ask_restart(pg, [])
    assert await join(pg, "a")
    await end_restart(pg, "run-a", "failed at worker 0: no store")
    await give_up_restarts(pg)
    assert not await join(pg, "b")
    assert {host.name: host.restart_said for host in await listed(pg)} == {"a": "failed at worker 0: no store", "b": ""}
