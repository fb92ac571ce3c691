"""`ocs event ...`"""

import asyncio
import json

from tests.ocs.api_harness import ApiHarness
from tests.ocs.cli.conftest import Run
from tests.ocs.events.test_live import followed, topped_up, until


async def test_list_and_tail(ocs: Run, harness: ApiHarness) -> None:
    await harness.account()
    await topped_up(harness, "1.00", "2.00")
    listed = await ocs("event", "list", "--type", "top_up.*", "--json")
    assert listed.exit_code == 0, listed.output
    newest, oldest = json.loads(listed.output)["items"]
    assert newest["data"]["buckets"][0]["after"] == "3.00"
    table = await ocs("event", "list", "--account", "a1")
    assert "top_up.received" in table.output
    words = ("event", "tail", "--after", oldest["id"], "--count", "2", "--type", "top_up.received")
    tail = asyncio.ensure_future(ocs(*words))
    await until(lambda: followed(harness) == 1)
    await topped_up(harness, "4.00")
    lines = (await tail).output.splitlines()
    assert [json.loads(line.split("  ", 3)[3])["buckets"][0]["after"] for line in lines] == ["3.00", "7.00"]


async def test_what_cannot_be_followed_is_said(ocs: Run, harness: ApiHarness) -> None:
    unknown = await ocs("event", "tail", "--type", "sesion.opened")
    assert unknown.exit_code == 1
    assert "no type of event is called sesion.opened" in unknown.output
    gone = await ocs("event", "tail", "--after", "1-2-3-x")
    assert "is not kept any more" in gone.output
    await harness.account()
    await topped_up(harness, "1.00", "2.00")
    *_, oldest = json.loads((await ocs("event", "list", "--json")).output)["items"]
    not_asked = await ocs("event", "tail", "--after", oldest["id"], "--type", "session.*")
    assert "nobody asked for session.ended, session.opened" in not_asked.output
