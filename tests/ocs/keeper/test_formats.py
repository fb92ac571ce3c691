"""The step to the next stored format: held back, announced, written; never skipped, never early."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from balances import keys
from balances.ledger.formats import Reads, StoredFormat
from balances.redis import libraries, scripts
from balances.redis.primaries import OnePrimary
from ocs.keeper import formats
from ocs.keeper.formats import ANNOUNCED_S, FormatStep
from ocs.stores.hosts import HostRefused, leave
from ocs.telemetry.log import logger
from tests.balances.ledger.books import close, connect
from tests.ocs.stores.test_hosts import join, lose
from tests.servers import Servers

OLD, BOTH = Reads(2, 2), Reads(2, 3)


class FormatWalk:
    def __init__(self, redis: Any, pool: Any, after_s: int = 0) -> None:
        self.now_ms = 1_000_000
        self.redis, self.pool = redis, pool
        self.step_to = FormatStep(
            redis, pool, logger(), primaries=OnePrimary(redis).all, now_ms=lambda: self.now_ms, after_s=after_s
        )

    async def step(self) -> StoredFormat:
        """Also what is published then."""
        await self.step_to.step()
        return StoredFormat.of(await self.redis.get(keys.FORMAT))

    async def heard(self) -> None:
        """The time between announcing and writing is over."""
        await self.pool.execute("UPDATE store SET next_at = next_at - $1 * interval '1 second'", ANNOUNCED_S + 1)


@pytest.fixture
async def stepped(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FormatWalk]:
    monkeypatch.setattr(formats, "OURS", BOTH)
    books = await connect(servers.redis_url, servers.pg_dsn)
    yield FormatWalk(books.redis, books.pool)
    await close(books)


async def uses(redis: Redis, name: str, ago_s: int = 0) -> None:
    seconds, _ = await redis.time()
    await redis.zadd(keys.LIBRARIES, {name: (int(seconds) - ago_s) * 1_000})


async def test_it_is_announced_and_then_written(stepped: FormatWalk) -> None:
    await join(stepped.pool, "a", BOTH, "lib-a")
    assert await stepped.step() == (2, 3)
    assert await stepped.step() == (2, 3), "nobody has had the time to hear of it"
    await stepped.heard()
    assert await stepped.step() == (3, 3)
    assert await stepped.step() == (3, 3), "there is no other one"


async def test_a_host_that_does_not_read_it_holds_it_back(stepped: FormatWalk) -> None:
    await join(stepped.pool, "a", BOTH)
    await join(stepped.pool, "b", OLD)
    assert await stepped.step() == (2, 2)
    await lose(stepped.pool, "b")
    assert await stepped.step() == (2, 3)
    with pytest.raises(HostRefused):
        await join(stepped.pool, "b", OLD)


async def test_nobody_registered_is_nobody_known(stepped: FormatWalk) -> None:
    assert await stepped.step() == (2, 2)


async def test_a_process_of_no_registered_host_holds_it_back(stepped: FormatWalk) -> None:
    await join(stepped.pool, "a", BOTH, "lib-a")
    await uses(stepped.redis, "lib-a")
    await uses(stepped.redis, "lib-of-a-build-before-hosts")
    assert await stepped.step() == (2, 2)
    await uses(stepped.redis, "lib-of-a-build-before-hosts", libraries.LATELY_S + 60)
    assert await stepped.step() == (2, 3)


async def test_the_library_of_a_host_that_has_left_holds_nothing_back(stepped: FormatWalk) -> None:
    await join(stepped.pool, "a", BOTH, "lib-a")
    await join(stepped.pool, "b", OLD, "lib-b")
    await uses(stepped.redis, "lib-b")
    await leave(stepped.pool, "run-b")
    assert await stepped.step() == (2, 3)


async def test_one_may_go_back_to_the_build_before_for_a_while(servers: Servers, stepped: FormatWalk) -> None:
    later = FormatWalk(stepped.redis, stepped.pool, after_s=60)
    await join(stepped.pool, "a", BOTH)
    assert await later.step() == (2, 2)
    later.now_ms += 59_000
    assert await later.step() == (2, 2)
    await join(stepped.pool, "b", OLD)
    later.now_ms += 2_000
    assert await later.step() == (2, 2)
    await leave(stepped.pool, "run-b")
    later.now_ms += 2_000
    assert await later.step() == (2, 2), "the time begins anew"
    later.now_ms += 61_000
    assert await later.step() == (2, 3)


async def test_libraries_that_do_not_write_it_are_deleted(stepped: FormatWalk, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, other = scripts.LIBRARY, scripts.library(7)
    await stepped.redis.function_load(ours.text)
    await stepped.redis.function_load(other.text)
    await join(stepped.pool, "a", BOTH, ours.name)
    assert await stepped.step() == (2, 3)
    await stepped.heard()
    assert await stepped.step() == (3, 3)
    assert await libraries._loaded(stepped.redis) == [ours.name]


async def test_what_the_live_store_has_lost_is_published_again(stepped: FormatWalk) -> None:
    await stepped.pool.execute("UPDATE store SET format = 3")
    await join(stepped.pool, "a", BOTH)
    assert await stepped.step() == (3, 3)
    await stepped.redis.set(keys.FORMAT, "2 2")  # an older copy of it
    assert await stepped.step() == (3, 3)
    await stepped.redis.flushall()
    assert await stepped.step() == (3, 3)


async def test_nothing_is_locked_while_the_primaries_are_asked(
    stepped: FormatWalk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A primary that is silent keeps no host from joining, and two keepers write it once."""
    await join(stepped.pool, "a", BOTH)
    assert await stepped.step() == (2, 3)
    await stepped.heard()
    asked = libraries.drop_all_but
    free: list[str] = []

    async def silent(*of: Any) -> list[str]:
        await stepped.pool.execute("SELECT FROM store FOR UPDATE NOWAIT")
        free.append("store")
        if len(free) == 1:
            await FormatWalk(stepped.redis, stepped.pool).step_to.step()  # another keeper, meanwhile
        return await asked(*of)

    monkeypatch.setattr(formats, "drop_all_but", silent)
    assert await stepped.step() == (3, 3)
    assert len(free) == 2
    assert await stepped.pool.fetchval("SELECT next_format FROM store") is None
