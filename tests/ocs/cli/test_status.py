"""`ocs status`: what it says of the whole store."""

import json

from tests.ocs.api_harness import ApiHarness
from tests.ocs.cli.conftest import Run


async def test_money_at_stake(ocs: Run, harness: ApiHarness) -> None:
    await harness.account("poor", credit_limit="50.00")
    taken = await harness.call(
        "POST",
        "/v1/accounts/poor/adjustments",
        {"amount": "-3.50", "reason": "damage"},
        idempotency_key="1",
    )
    assert taken.status_code == 201, taken.text
    await harness.sync()
    done = await ocs("status")
    assert done.exit_code == 0, done.stderr
    assert "at stake: 3.50 EUR, at " in " ".join(done.stdout.split())
    assert json.loads((await ocs("status", "--json")).stdout)["at_stake"]["total"] == {"EUR": "3.50"}
