"""`ocs account refund` and `ocs suspense ...` against a server that listens."""

from __future__ import annotations

import json
from typing import Any

import pytest

from protocol.diameter.dictionary.credit_control import RequestedAction
from tests.ocs.api_harness import ApiHarness
from tests.ocs.charging.wire import E, I, T, U, ccr, lines, mscc
from tests.ocs.cli.conftest import Run

MB, GB = 2**20, 2**30
NOBODY: dict[str, Any] = {"subscription_id": ()}


@pytest.fixture
async def charged(harness: ApiHarness) -> ApiHarness:
    """Entry 2: 1,024 of 1,039 MB at 0.01, 15 MB set aside. Entry 3: 5 MB as an event."""
    await harness.account()
    await harness.top_up("20.00")
    await harness.tariff()
    await harness.subscriber("s1", "a1", "msisdn:491700000001")
    ask = {"cc_total_octets": 5 * MB}
    await harness.charge(ccr(I, session_id="gw;1", **lines(mscc(10, ask={"cc_total_octets": MB}))))
    used = mscc(10, used={"cc_total_octets": GB + 15 * MB})
    await harness.charge(ccr(T, session_id="gw;1", cc_request_number=1, **lines(used)))
    action = RequestedAction.DIRECT_DEBITING
    await harness.charge(
        ccr(E, session_id="ev;1", cc_request_number=4, requested_action=action, **lines(mscc(10, ask=ask)))
    )
    await harness.sync()
    return harness


async def test_refunds_of_an_entry_a_session_and_an_event(ocs: Run, charged: ApiHarness) -> None:
    async def refund(amount: str, *words: str) -> tuple[int, str]:
        done = await ocs("account", "refund", "a1", amount, "--reason", "dropped", *words)
        return done.exit_code, done.output

    code, said = await refund("0.20", "--entry", "2", "--key", "k1")
    assert (code, "balance 9.91" in said, "refund" in said) == (0, True, True)
    assert (await refund("0.20", "--entry", "2", "--key", "k1")) == (code, said)  # and nothing twice
    assert (await refund("0.04", "--session", "gw;1"))[0] == 0
    assert (await refund("0.05", "--event", "ev;1", "--number", "4"))[0] == 0
    for amount, words, status, why in (
        ("10.01", ("--session", "gw;1"), 1, "no more than 10.00 is left to give back of the session"),
        ("10.01", ("--entry", "2"), 1, "no more than 10.00 is left to give back of entry 2"),
        ("0.01", ("--event", "ev;1", "--number", "4"), 1, "more than is left of the event"),
        ("0.01", ("--event", "ev;1"), 1, "no such event"),
        ("0.01", ("--entry", "1"), 1, "nothing was charged by entry 1"),
        ("-1", ("--entry", "2"), 2, "-1"),
        ("0.01", (), 2, "one of --entry, --session and --event"),
        ("0.01", ("--entry", "2", "--session", "gw;1"), 2, "one of --entry, --session and --event"),
        ("0.01", ("--entry", "2", "--number", "1"), 2, "--number"),
    ):
        code, said = await refund(amount, *words)
        assert (code, why in said) == (status, True), (words, said)
    shown = await ocs("account", "show", "a1", "--json")
    assert json.loads(shown.stdout)["balance"] == "10.00"


async def test_suspense_is_listed_and_charged(ocs: Run, charged: ApiHarness) -> None:
    async def listed(*words: str) -> list[Any]:
        shown = await ocs("suspense", "list", "--json", *words)
        assert shown.exit_code == 0, shown.output
        return list(json.loads(shown.stdout)["items"])

    (one,) = await listed("--account", "a1", "--session", "gw;1", "--reason", "over-bound", "--state", "open")
    assert one["amount"] == str(15 * MB)
    assert await listed("--state", "charged") == await listed("--until", "2020-01-01T00:00:00Z") == []
    table = (await ocs("suspense", "list")).stdout
    assert one["id"] in table
    assert "over-bound" in table
    shown = (await ocs("suspense", "show", one["id"])).stdout
    assert f"{15 * MB} octets" in shown
    why = ("--reason", "agreed by telephone")
    assert "7" in (await ocs("suspense", "charge", one["id"], *why, "--expected", "7")).stderr
    done = await ocs("suspense", "charge", one["id"], *why, "--expected", one["amount"], "--key", "k1")
    assert (done.exit_code, "0.15" in done.stdout, "agreed by telephone" in done.stdout) == (0, True, True)
    again = await ocs("suspense", "charge", one["id"], *why, "--expected", one["amount"], "--key", "k1")
    assert again.stdout == done.stdout
    for words in (("charge", one["id"], "1.00"), ("write-off", one["id"])):
        refused = await ocs("suspense", *words, *why)
        assert (refused.exit_code, "settled already" in refused.stderr) == (1, True), refused.output
    await charged.sync()
    assert [found["id"] for found in await listed("--state", "charged")] == [one["id"]]
    balance = json.loads((await ocs("account", "show", "a1", "--json")).stdout)["balance"]
    assert balance == "9.56"


async def test_of_nobody_known_somebody_is_charged_or_it_is_written_off(ocs: Run, charged: ApiHarness) -> None:
    for number in (1, 2):
        used = lines(mscc(10, used={"cc_total_octets": MB}))
        await charged.charge(ccr(U, session_id=f"ghost;{number}", cc_request_number=1, **used, **NOBODY))
    await charged.sync()
    first = await ocs("suspense", "list", "--reason", "nobody", "--limit", "1")
    after = first.stdout.rpartition("--after ")[2].strip()
    found = json.loads((await ocs("suspense", "list", "--reason", "nobody", "--json")).stdout)["items"]
    second = json.loads((await ocs("suspense", "list", "--reason", "nobody", "--after", after, "--json")).stdout)[
        "items"
    ]
    assert second == found[1:]
    why = ("--reason", "a test phone")
    assert (await ocs("suspense", "charge", found[0]["id"], "0.10", *why)).exit_code == 1  # who pays?
    assert (await ocs("suspense", "charge", found[0]["id"], "0.10", *why, "--account", "a1")).exit_code == 0
    done = await ocs("suspense", "write-off", found[1]["id"], *why)
    assert (done.exit_code, "written-off" in done.stdout) == (0, True)
    balance = json.loads((await ocs("account", "show", "a1", "--json")).stdout)["balance"]
    assert balance == "9.61"
    assert (await ocs("suspense", "show", "1-1-1-1")).exit_code == 1
