"""PostgreSQL hangs, neither there nor away: nobody waits for it longer than is said, and the next ones not at all."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest

from balances.redis.calls import NotSent
from ocs.clock import now_ms
from ocs.stores.bounded_postgres import Away, BoundedPostgres
from ocs.stores.slow_paths import SlowPaths
from tests.bench.processes import below
from tests.ocs.api_harness import ApiHarness, api_harness
from tests.servers import LivePostgres, Servers

HELD: Any = "urn:ocs:problem:store-unavailable"


@contextlib.contextmanager
def frozen(postgres: LivePostgres) -> Iterator[None]:
    """All its processes stopped, its connections open."""
    stopped = [postgres.pid, *below(postgres.pid)]
    try:
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


@pytest.fixture
async def pool(pg_dsn: str) -> AsyncIterator[Any]:
    pool = await asyncpg.create_pool(pg_dsn, min_size=1, max_size=2)
    yield pool
    await asyncio.wait_for(pool.close(), 10)


async def answers_again(bounded: BoundedPostgres) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                assert await bounded.fetchval("SELECT 7") == 7
                return
            except Away:
                await asyncio.sleep(0.05)


async def test_a_connection_that_ended_in_the_middle_of_a_statement(pool: Any) -> None:
    """What the driver then says of itself is no fault of the question."""

    async def question() -> None:
        raise asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in progress")

    bounded = BoundedPostgres(pool, within_s=1)
    try:
        with pytest.raises(Away, match="PostgreSQL cannot be reached: cannot switch"):
            await bounded.ask(question())
    finally:
        await bounded.close()


async def test_a_question_has_a_bound_and_the_next_ones_do_not_wait(pool: Any, postgres: LivePostgres) -> None:
    bounded = BoundedPostgres(pool, within_s=0.3)
    try:
        assert await bounded.fetchval("SELECT $1::int", 5) == 5
        with frozen(postgres):
            async with asyncio.timeout(10):
                with pytest.raises(Away, match=r"has not answered within 0\.3 s"):
                    await bounded.fetch("SELECT 1")
                for _ in range(1_000):  # as many would take minutes if each waited
                    with pytest.raises(Away, match="does not answer"):
                        await bounded.fetchrow("SELECT 1")
                with pytest.raises(Away, match="does not answer"):
                    async with bounded.acquire():
                        raise AssertionError
        await answers_again(bounded)
        async with bounded.acquire() as db:
            assert await db.fetchval("SELECT 1") == 1
    finally:
        await bounded.close()


async def test_what_is_borrowed_has_just_answered(pool: Any, postgres: LivePostgres) -> None:
    bounded = BoundedPostgres(pool, within_s=0.3)
    try:
        with frozen(postgres):
            async with asyncio.timeout(10):
                with pytest.raises(Away, match=r"within 0\.3 s"):
                    async with bounded.acquire():
                        raise AssertionError
        await answers_again(bounded)
    finally:
        await bounded.close()


async def test_what_the_question_itself_raises_is_not_taken_for_that(pool: Any) -> None:
    bounded = BoundedPostgres(pool, within_s=5)
    for wrong, kind in (("SELECT nothing", asyncpg.UndefinedColumnError), ("SELECT $1::int", asyncpg.DataError)):
        with pytest.raises(kind):
            await bounded.fetchval(wrong, *(["x"] if "$" in wrong else []))
    assert await bounded.fetchval("SELECT 1") == 1
    await bounded.close()


async def test_few_questions_are_under_way_at_once(pool: Any) -> None:
    bounded = BoundedPostgres(pool, within_s=30, at_once_max=3)
    gate: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def question() -> int:
        return await asyncio.shield(gate)

    waiting = [asyncio.ensure_future(bounded.ask(question())) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(Away, match="3 questions wait"):
        await bounded.ask(question())
    gate.set_result(4)
    assert await asyncio.gather(*waiting) == [4] * 3
    assert await bounded.ask(question()) == 4


# ---- who asks


async def test_a_slow_path_of_charging_ends_before_the_answer_is_due(servers: Servers, pool: Any) -> None:
    """`an event with T waits 5 s for its 3004`"""
    async with api_harness(servers) as harness:
        bounded = BoundedPostgres(pool, within_s=0.3)
        slow_paths = SlowPaths(bounded, harness.redis, harness.store, now_ms, 0.4)
        with frozen(servers.postgres):
            async with asyncio.timeout(10):
                for asked in (
                    lambda: slow_paths.event_known("a1", "k"),
                    lambda: slow_paths.session_known("s"),
                    lambda: slow_paths.restore("a1"),
                ):
                    for _ in range(50):
                        with pytest.raises(NotSent, match="PostgreSQL"):
                            await asked().wait()
        await answers_again(bounded)
        assert await slow_paths.event_known("a1", "k").wait() is None
        await bounded.close()


async def test_the_api_answers_while_it_hangs_and_serves_what_redis_has(servers: Servers) -> None:
    """`balances cannot be read though Redis has them`, `a top-up has no answer in 10 s`"""
    async with api_harness(servers) as harness:
        await harness.account("a1", time_zone="Europe/Berlin")
        done = await harness.top_up("5.00", key="before")
        with frozen(servers.postgres):
            async with asyncio.timeout(15):
                refused = await harness.top_up("1.00", key="k1")
                assert (refused.status_code, refused.json()["type"]) == (503, HELD)
                assert refused.headers["retry-after"]
                assert "PostgreSQL" in refused.json()["detail"]
                for whole in ("verify", "rebuild"):  # what looks at every account has no bound once it began
                    assert (await harness.call("POST", f"/v1/ledger/{whole}")).status_code == 503, whole
                assert (await harness.backoffice.checks())["postgres"] == "PostgreSQL does not answer"
                for path in ("/v1/subscribers", "/v1/accounts/a1/ledger", "/v1/accounts/a2"):
                    assert (await harness.call("GET", path)).status_code == 503, path
                shown = (await harness.call("GET", "/v1/accounts/a1")).json()
                assert (shown["balance"], shown["time_zone"], shown["created"]) == ("5.00", None, None)
                assert (await harness.call("GET", "/v1/sessions?account=a1")).json()["items"] == []
                again = await harness.top_up("5.00", key="before")  # what Redis remembers is answered from there
                assert (again.status_code, again.json()) == (201, done.json())
        await until_served(harness)
        assert (await harness.top_up("1.00", key="k1")).status_code == 201
        shown = (await harness.call("GET", "/v1/accounts/a1")).json()
        assert (shown["balance"], shown["time_zone"]) == ("6.00", "Europe/Berlin")


async def until_served(harness: ApiHarness) -> None:
    async with asyncio.timeout(20):
        while (await harness.call("GET", "/v1/subscribers")).status_code == 503:
            await asyncio.sleep(0.05)
