"""Jobs in PostgreSQL: saved with their intent and their failures, found by the next keeper, wished about by people."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from balances.ledger.intents import IntentId
from ocs.enforcement import job_rows
from ocs.enforcement.book import AttemptRow
from ocs.enforcement.job import Cause, NetworkAction, NetworkJob, job_id
from ocs.enforcement.job_rows import JobTable
from ocs.enforcement.machine import JobState

INTENT = IntentId(3, 5, 7)


def job(session: str = "s;1", **fields: Any) -> NetworkJob:
    made = NetworkJob(
        job_id(INTENT, session, 1), INTENT, session, 1, "acc", "sub", "data", "pgw", Cause.SUSPENDED,
        NetworkAction.REAUTHORIZE, 4, 10, 50, 8, 9, 9,
    )  # fmt: skip
    for name, value in fields.items():
        setattr(made, name, value)
    return made


@pytest.fixture
async def pool(pg_dsn: str) -> AsyncIterator[Any]:
    async with asyncpg.create_pool(pg_dsn, min_size=1, max_size=2) as made:
        yield made


async def intent(pool: Any) -> None:
    await pool.execute(
        "INSERT INTO intents (shard, epoch, n, account, generation, kinds, session, crossed_ms)"
        " VALUES (3, 5, 7, 'acc', 4, '{suspend}', '', 8)"
    )


async def test_jobs_attempts_and_intent_are_saved_together_and_again(pool: Any) -> None:
    table = JobTable(pool)
    await intent(pool)
    made = job()
    assert await table.save([made], [], {INTENT: 1, IntentId(1, 1, 1): 0}) == {INTENT}
    assert await table.unexpanded(0, 10) == []
    made.state, made.attempts, made.sent_ms, made.result = JobState.ACKNOWLEDGED, 1, 12, "2001"
    attempt = AttemptRow(made.id, 1, "reauthorize", 12, 14, "2001", "dra", "pgw")
    assert await table.save([made], [attempt], {}) == set()
    assert await table.save([made], [attempt], {}) == set()
    assert await table.open_jobs([], 10) == [made]
    assert await table.open_jobs([made.id], 10) == []
    assert [tuple(row) for row in await job_rows.attempts_of(pool, made.id)] == [tuple(attempt)]


async def test_a_session_id_of_any_length(pool: Any) -> None:
    made = job("x" * 5_000)
    await JobTable(pool).save([made], [], {})
    assert await JobTable(pool).open_jobs([], 10) == [made]
    assert [row["id"] for row in await job_rows.page(pool, (99, ""), 5, sessions=["x" * 5_000])] == [made.id]


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.GIVEN_UP, JobState.EFFECTIVE], ids=str)
async def test_the_world_is_told_of_what_failed_once_for_each_time(pool: Any, state: JobState) -> None:
    made = job(state=state, attempts=4, result="no-route", ended_ms=20)
    await JobTable(pool).save([made], [], {})
    rows = await pool.fetch("SELECT id, account, subject, data FROM event_outbox")
    if state is JobState.EFFECTIVE:
        assert rows == []
        return
    [row] = rows
    assert (row["id"], row["account"], row["subject"]) == (f"job.failed:{made.id}-4", "acc", made.id)
    assert json.loads(row["data"])["result"] == "no-route"


async def test_wishes_are_for_jobs_in_a_state_that_allows_them(pool: Any) -> None:
    table = JobTable(pool)
    made = job(state=JobState.FAILED, ended_ms=20)
    await table.save([made], [], {})
    assert await job_rows.wish(pool, made.id, "cancel", "ops", ["due"]) is None
    wished = await job_rows.wish(pool, made.id, "retry", "ops", ["failed"])
    assert wished is not None
    assert [(one.id, what, by) for one, what, by in await table.wishes()] == [(made.id, "retry", "ops")]
    await table.heard([made.id])
    assert await table.wishes() == []


async def test_what_ended_long_ago_goes(pool: Any) -> None:
    table = JobTable(pool)
    await intent(pool)
    old, new, still = job("old", ended_ms=1_000), job("new", ended_ms=90_000), job("open")
    attempt = AttemptRow(old.id, 1, "reauthorize", 12, 14, "2001", "dra", "pgw")
    await table.save([old, new, still], [attempt], {INTENT: 3})
    await table.purge(50, 60_000)
    assert {row["session"] for row in await pool.fetch("SELECT session FROM jobs")} == {"new", "open"}
    assert await pool.fetchval("SELECT count(*) FROM job_attempts") == 0
    assert await pool.fetchval("SELECT count(*) FROM intents") == 1
    await pool.execute("UPDATE intents SET at = 'epoch'")
    await table.purge(50, 60_000)
    assert await pool.fetchval("SELECT count(*) FROM intents") == 0
