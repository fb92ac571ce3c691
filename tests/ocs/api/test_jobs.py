"""`/v1/jobs`, and the jobs of a session."""

from __future__ import annotations

from typing import Any

import pytest

from balances import keys
from balances.ledger.intents import IntentId
from balances.packing import pack
from ocs.enforcement.book import AttemptRow
from ocs.enforcement.job import Cause, NetworkAction, NetworkJob, job_id
from ocs.enforcement.job_rows import JobTable
from ocs.enforcement.machine import JobState
from tests.ocs.api.test_subscribers import open_session
from tests.ocs.api_harness import ApiHarness

AT_MS = 1_800_000_000_000


def job(n: int, session: str = "gw;1", **fields: Any) -> NetworkJob:
    intent = IntentId(3, 5, n)
    made = NetworkJob(
        job_id(intent, session, 1), intent, session, 1, "a1", "s1", "data", "pgw.example.net", Cause.SUSPENDED,
        NetworkAction.REAUTHORIZE, 4, AT_MS, 2_500_000, AT_MS, AT_MS + n, AT_MS + n,
    )  # fmt: skip
    for name, value in fields.items():
        setattr(made, name, value)
    return made


async def save(harness: ApiHarness, *jobs: NetworkJob) -> None:
    await JobTable(harness.pool).save(jobs, [], {})


async def test_they_are_listed_the_newest_first(harness: ApiHarness) -> None:
    made = [job(n, f"gw;{n % 3}") for n in range(10)]
    made[4].state, made[4].ended_ms = JobState.EFFECTIVE, AT_MS
    await save(harness, *made)
    found: list[str] = []
    before: str | None = ""
    while before is not None:
        page = (await harness.call("GET", f"/v1/jobs?limit=3&before={before}")).json()
        found += [one["id"] for one in page["items"]]
        before = page["next"]
    assert found == [one.id for one in reversed(made)]
    for query, count in (
        ("session=gw;1", 3), ("state=open", 9), ("state=effective", 1), ("account=a1", 10), ("account=a2", 0),
        ("peer=PGW.example.net", 10),
    ):  # fmt: skip
        assert len((await harness.call("GET", f"/v1/jobs?{query}")).json()["items"]) == count, query


async def test_one_with_its_attempts(harness: ApiHarness) -> None:
    made = job(1, state=JobState.SENT, attempts=2, result="3002", used_micro=10_000)
    attempt = AttemptRow(made.id, 1, "reauthorize", AT_MS, AT_MS + 5, "3002", "dra", "dra")
    await JobTable(harness.pool).save([made], [attempt], {})
    found = (await harness.call("GET", f"/v1/jobs/{made.id}")).json()
    assert (found["state"], found["held"], found["used"], found["made_of"]) == ("sent", "2.50", "0.01", "3-5-1")
    assert [(one["number"], one["result"]) for one in found["tries"]] == [(1, "3002")]
    assert (await harness.call("GET", "/v1/jobs/3-5-9-abc")).status_code == 404


@pytest.mark.parametrize(
    ("state", "wish", "status"),
    [
        (JobState.DUE, "cancel", 200),
        (JobState.ACKNOWLEDGED, "cancel", 200),
        (JobState.EFFECTIVE, "cancel", 409),
        (JobState.GIVEN_UP, "retry", 200),
        (JobState.CANCELLED, "retry", 200),
        (JobState.SENT, "retry", 409),
        (JobState.SUPERSEDED, "retry", 409),
    ],
    ids=str,
)
async def test_what_people_may_wish(harness: ApiHarness, state: JobState, wish: str, status: int) -> None:
    made = job(1, state=state)
    await save(harness, made)
    async with harness.redis.pubsub() as heard:
        await heard.subscribe(keys.NEWS_JOBS)
        await heard.get_message(timeout=5)
        answer = await harness.call("POST", f"/v1/jobs/{made.id}/{wish}")
        assert answer.status_code == status, answer.text
        if status == 200:
            assert answer.json()["wish"] == wish
            assert [one[1] for one in await JobTable(harness.pool).wishes()] == [wish]
            assert await heard.get_message(ignore_subscribe_messages=True, timeout=5) is not None
    assert (await harness.call("POST", f"/v1/jobs/nothing/{wish}")).status_code == 404


async def test_a_session_shows_what_the_network_was_told_of_it(harness: ApiHarness) -> None:
    await harness.account()
    session = open_session("gw;1", "s1")
    await harness.redis.hset(keys.account("a1"), session.id, pack(session))
    await harness.redis.set(keys.where(session.id), keys.place("a1", "s1"))
    await save(harness, job(1), job(2), job(3, "gw;2"))
    found = (await harness.call("GET", "/v1/sessions/gw;1")).json()
    assert [one["made_of"] for one in found["jobs"]] == ["3-5-2", "3-5-1"]
    assert (await harness.call("GET", "/v1/sessions?account=a1")).json()["items"][0]["jobs"] is None
