"""`ocs ledger close-period`: once a month is over and copied."""

import json

from balances.ledger.months import Month
from tests.ocs.api_harness import ApiHarness
from tests.ocs.cli.conftest import Run


async def test_a_month_is_closed_when_it_is_over_and_copied(ocs: Run, harness: ApiHarness) -> None:
    month = Month.at(harness.now_ms())
    await harness.account("a1")
    await harness.top_up("10.00")
    running = await ocs("ledger", "close-period", month.name)
    assert (running.exit_code, running.stderr.strip()) == (1, f"Error: {month.name} is not over")
    harness.ahead_ms += month.next.from_ms - harness.now_ms() + 6_000
    waiting = await ocs("ledger", "close-period", month.name)
    assert waiting.exit_code == 1
    assert "not copied yet" in waiting.stderr
    await harness.sync()
    done = await ocs("ledger", "close-period", month.name)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"{month.name} is closed: 1 entries of 1 accounts",
        "EUR: top-up -10.00",
    ]
    again = json.loads((await ocs("ledger", "close-period", month.name, "--json")).stdout)
    listed = json.loads((await ocs("ledger", "periods", "--json")).stdout)["items"]
    assert listed == [again]
    assert again["sums"] == {"EUR": {"top-up": "-10.00"}}
    assert month.name in (await ocs("ledger", "periods")).stdout


async def test_what_is_no_month_is_refused(ocs: Run) -> None:
    for word in ("2026-13", "october", "2026"):
        refused = await ocs("ledger", "close-period", word)
        assert refused.exit_code == 1
        assert "2026-10" in refused.stderr
