"""`ocs job ...` against a server that listens."""

from __future__ import annotations

import json

from ocs.enforcement.job_rows import JobTable
from ocs.enforcement.machine import JobState
from tests.ocs.api.test_jobs import AT_MS, job, save
from tests.ocs.api_harness import ApiHarness
from tests.ocs.cli.conftest import Run


async def test_jobs_are_listed_shown_and_wished_about(ocs: Run, harness: ApiHarness) -> None:
    failed, going = job(1, state=JobState.GIVEN_UP, attempts=4, result="no-route", ended_ms=AT_MS), job(2, "gw;2")
    await save(harness, failed, going)
    listed = json.loads((await ocs("job", "list", "--state", "open", "--json")).stdout)["items"]
    assert [one["id"] for one in listed] == [going.id]
    table = (await ocs("job", "list", "--limit", "1")).stdout
    assert "more: --before" in table
    shown = (await ocs("job", "show", failed.id)).stdout
    assert "given-up" in shown
    assert "no-route" in shown
    assert (await ocs("job", "retry", failed.id)).exit_code == 0
    assert (await ocs("job", "cancel", going.id)).exit_code == 0
    wished = {one.id: what for one, what, _ in await JobTable(harness.pool).wishes()}
    assert wished == {failed.id: "retry", going.id: "cancel"}
    refused = await ocs("job", "cancel", failed.id)
    assert refused.exit_code == 1
    assert "given-up" in refused.stderr
