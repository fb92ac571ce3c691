"""`ocs account threshold` and `ocs account service` against a server that listens."""

from __future__ import annotations

import json

from tests.ocs.cli.conftest import Run


async def test_thresholds_and_lines_of_services(ocs: Run) -> None:
    for words in (
        ("account", "set", "a1", "--currency", "EUR"),
        ("account", "topup", "a1", "20"),
        ("account", "topup", "a1", "1000", "--kind", "octets", "--name", "month"),
        ("account", "threshold", "set", "a1", "5 euros left", "--below", "5.00", "--rearm", "6.00"),
        ("account", "threshold", "set", "a1", "80 % used", "--percent", "20", "--kind", "octets", "--bucket", "month"),
        ("account", "service", "set", "a1", "voice", "--suspend-below", "30", "--resume-at", "40"),
        ("account", "adjust", "a1", "-16", "--reason", "test"),
    ):
        done = await ocs(*words)
        assert done.exit_code == 0, (words, done.output)
    listed = json.loads((await ocs("account", "threshold", "list", "a1", "--json")).stdout)
    assert [(one["name"], one["state"]) for one in listed["items"]] == [
        ("5 euros left", "crossed"),
        ("80 % used", "armed"),
    ]
    shown = (await ocs("account", "show", "a1")).stdout
    for text in ("5 euros left", "crossed", "20 % (200)", 'octets in "month"', "voice", "suspended"):
        assert text in shown
    assert "30.00" in (await ocs("account", "service", "list", "a1")).stdout
    refused = await ocs("account", "threshold", "set", "a1", "low", "--below", "5", "--percent", "3")
    assert (refused.exit_code, "one of them" in refused.output) == (1, True)
    for gone in (("threshold", "5 euros left"), ("threshold", "80 % used"), ("service", "voice")):
        done = await ocs("account", gone[0], "delete", "a1", gone[1])
        assert done.exit_code == 0, done.output
    left = json.loads((await ocs("account", "show", "a1", "--json")).stdout)
    assert (left["thresholds"], left["services"]) == ([], [])
