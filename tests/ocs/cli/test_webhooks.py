"""`ocs webhook ...` against a server that listens."""

from __future__ import annotations

import json
import re

from tests.ocs.cli.conftest import Run


async def test_the_life_of_a_webhook(ocs: Run) -> None:
    async def done(*words: str, code: int = 0) -> str:
        result = await ocs("webhook", *words)
        assert result.exit_code == code, result.output
        return result.output

    made = await done(
        "create", "https://hooks.example.net/ocs", "--id", "crm", "--type", "account.*", "--account", "a1"
    )
    assert re.search(r"secret: whsec_\S{44}", made)
    assert "whsec_" not in await done("show", "crm")
    assert "crm" in await done("list")
    changed = await done(
        "change", "crm", "--to", "https://x.example.net/", "--type", "top_up.received", "--type", "session.*", "--json"
    )
    assert json.loads(changed)["types"] == ["top_up.received", "session.*"]
    assert json.loads(changed)["accounts"] == ["a1"]
    assert "whsec_" in await done("rotate-secret", "crm", "--overlap", "60")
    assert "paused (person)" in await done("pause", "crm")
    assert "active" in await done("resume", "crm")
    event = json.loads(await done("test", "crm", "--json"))["event"]
    assert event in await done("deliveries", "crm")
    assert "waiting" in await done("deliveries", "crm", event)
    assert "waiting" in await done("retry", "crm", event)
    assert "0 are sent again" in await done("retry", "crm", "--dead")
    assert "an EVENT, or --dead" in await done("retry", "crm", code=2)
    assert "no type of event" in await done("create", "https://hooks.example.net/", "--type", "nothing.such", code=1)
    await done("delete", "crm")
    assert "there is no webhook crm" in await done("show", "crm", code=1)
