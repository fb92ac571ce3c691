"""`ocs ledger close-period`: once a month is over and copied."""

import json

from balances.ledger.months import Month
from tests.ocs.api.test_dropping import on_the_tenth
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
    listed = json.loads((await ocs("ledger", "periods", "--json")).stdout)["items"]
    assert done.stdout.splitlines() == [
        f"{month.name} is closed since {listed[0]['closed']}, by {listed[0]['closed_by']}:",
        "1 entries of 1 accounts",
        "EUR: top-up -10.00",
    ]
    harness.ahead_ms += 60_000  # closed again, it says when it was
    assert (await ocs("ledger", "close-period", month.name)).stdout == done.stdout
    again = json.loads((await ocs("ledger", "close-period", month.name, "--json")).stdout)
    assert listed == [again]
    assert again["sums"] == {"EUR": {"top-up": "-10.00"}}
    assert month.name in (await ocs("ledger", "periods")).stdout


async def test_what_is_no_month_is_refused(ocs: Run) -> None:
    for word in ("2026-13", "october", "2026"):
        refused = await ocs("ledger", "close-period", word)
        assert refused.exit_code == 1
        assert "2026-10" in refused.stderr


async def test_a_month_is_dropped_once_nothing_needs_it(ocs: Run, harness: ApiHarness) -> None:
    month = on_the_tenth(harness, 1)
    await harness.account("a1")
    await harness.top_up("10.00")
    await harness.sync()
    on_the_tenth(harness, 2)
    planned = await ocs("ledger", "drop-period", month.name, "--dry-run")
    assert planned.exit_code == 1
    assert planned.stdout.splitlines() == [
        f"{month.name}, entries: 1 rows, in one table with other months",
        f"{month.name}, usage: 0 rows, in one table with other months",
        f"not now: {month.name} is not closed: `ocs ledger close-period {month.name}`",
        f"not now: {month.name} is too young: refunds, corrections and late reports go by 3 whole months",
    ]
    refused = await ocs("ledger", "drop-period", month.name)
    assert refused.exit_code == 1
    assert f"{month.name} is not closed" in refused.stderr
    on_the_tenth(harness, 2)
    assert (await ocs("ledger", "close-period", month.name)).exit_code == 0
    assert (await ocs("ledger", "verify")).exit_code == 0
    assert (await ocs("ledger", "drop-period", month.name, "--dry-run")).exit_code == 0
    done = await ocs("ledger", "drop-period", month.name, "--usage")
    assert done.stdout.splitlines() == [f"{month.name} is dropped: usage"]
    done = await ocs("ledger", "drop-period", month.name)
    assert done.stdout.splitlines() == [f"{month.name} is dropped: entries, usage"]
    again = await ocs("ledger", "drop-period", month.name, "--dry-run")
    assert (again.exit_code, again.stdout.strip()) == (0, f"{month.name} is dropped already")
    shown = await ocs("ledger", "show", "a1")
    assert f"entries before {month.next.name}-01T00:00:00Z are not kept any more" in shown.stdout
    assert "1 entries of dropped months" in (await ocs("ledger", "verify")).stdout
