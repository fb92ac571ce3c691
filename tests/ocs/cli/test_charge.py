"""`ocs charge ...` against a server that listens."""

import json

from tests.ocs.api_harness import ApiHarness
from tests.ocs.cli.conftest import Run

MB = 2**20


async def test_a_session_and_an_event_by_hand(ocs: Run, harness: ApiHarness) -> None:
    await harness.account()
    await harness.top_up("1.00")
    await harness.tariff()
    await harness.subscriber("s1", "a1", "msisdn:491700000001")
    await harness.newest()
    data = ("--group", "10", "--unit", "octets")
    begun = await ocs("charge", "start", "data", "s1", "--id", "x1", *data, "--want", str(10 * MB))
    assert f"{10 * MB} octets" in begun.stdout, begun.output
    gone_on = await ocs("charge", "update", "x1", "--service", "data", "--number", "1", *data, "--used", str(MB))
    assert "0.01" in gone_on.stdout, gone_on.output
    ended = await ocs("charge", "stop", "x1", "--service", "data", "--number", "2", *data, "--used", "1", "--json")
    assert json.loads(ended.stdout)["cost"] == "0.02", ended.output
    shown = await ocs("charge", "stop", "x1", "--service", "data", "--number", "2", *data, "--used", "1")
    assert "nothing wanted" in shown.stdout, shown.output
    late = ("charge", "stop", "nobody-began", "--service", "data", "--number", "1", *data, "--used", str(MB))
    assert "charged all the same" in (await ocs(*late, "--who", "s1")).output
    bought = await ocs("charge", "event", "data", "s1", *data, "--want", str(MB), "--json")
    token = json.loads(bought.stdout)["refund_token"]
    back = await ocs("charge", "event", "data", "s1", "--action", "refund", "--refund-token", token, "--json")
    before, after = (float(json.loads(one.stdout)["balance"]) for one in (bought, back))
    assert round(after - before, 2) == 0.01, back.output
    wrong = await ocs("charge", "event", "data", "msisdn:491799999999")
    assert (wrong.exit_code, "there is no subscriber" in wrong.output) == (1, True)
    assert (await ocs("charge", "start", "data", "s1", "--want", "much")).exit_code == 2
