"""Rating again for correction: what a dry run lists is posted, each of it once, and the ledger stays sound."""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest

from balances.ledger.verify import verify
from ocs.cli import rerate
from ocs.cli.remote import RequestRefused
from tests.ocs.charging.wire import SMS, E
from tests.ocs.rerating.conftest import Run
from tests.ocs.rerating.network import Network
from tests.ocs.rerating.test_history import FLAT, customer, session
from tests.tariffs.traffic import DEBIT, MB, REFUND, random_tariff

TAXED = FLAT.replace('currency = "EUR"', 'currency = "EUR"\n[[taxes]]\nname = "vat"\npercent = 19\nincluded = true')


async def asked(run: Run, *words: str) -> dict[str, Any]:
    done = await run("rerate", "--json", *words)
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


async def balance(network: Network, account: str = "a1") -> Decimal:
    return Decimal((await network.harness.call("GET", f"/v1/accounts/{account}")).json()["balance"])


async def sound(network: Network) -> None:
    report = await verify(network.harness.redis, network.harness.pool)
    assert report.findings == []


async def test_a_dry_run_lists_what_is_posted_and_twice_posts_once(network: Network, run: Run, tmp_path: Path) -> None:
    await customer(network)
    await session(network, 2 * MB, 3 * MB)
    await network.harness.sync()
    Path("draft.toml").write_text(FLAT.replace("0.01", "0.008"))
    before = await balance(network)
    dry = await asked(run, "--tariff", "draft.toml")
    assert [(one["recorded"], one["target"], one["amount"]) for one in dry["corrections"]] == [
        ("0.02", "0.016", "0.004"),
        ("0.03", "0.024", "0.006"),
    ]
    assert (dry["applied"], dry["sums"], await balance(network)) == (False, {"EUR": "0.01"}, before)
    posted = await asked(run, "--tariff", "draft.toml", "--apply")
    assert posted["corrections"] == dry["corrections"]
    assert await balance(network) == before + Decimal("0.01")
    again = await asked(run, "--tariff", "draft.toml", "--apply")  # PostgreSQL has not heard of the first ones yet
    assert again["corrections"] == dry["corrections"]
    assert await balance(network) == before + Decimal("0.01")
    await network.harness.sync()
    assert (await asked(run, "--tariff", "draft.toml", "--apply"))["corrections"] == []
    assert await balance(network) == before + Decimal("0.01")
    await sound(network)
    entries = await network.harness.pool.fetch("SELECT * FROM ledger_entries WHERE why = 'rerate' ORDER BY amount")
    assert [entry["amount"] for entry in entries] == [4_000, 6_000]
    for entry, correction in zip(entries, dry["corrections"], strict=True):
        assert entry["reference"] == correction["reference"]
        assert (entry["original_account"], entry["original_seq"]) == ("a1", correction["original_seq"])
        assert (entry["actor"], entry["reason"], entry["counter_account"]) == ("admin", "rated again", "revenue")
        original = await network.harness.pool.fetchrow(
            "SELECT epoch, n, usage_line FROM ledger_entries WHERE account = 'a1' AND seq = $1", entry["original_seq"]
        )
        epoch, n, line = original
        assert entry["reference"] == f"usage {epoch}-{n}/{line}"


async def test_back_again_is_one_more_correction(network: Network, run: Run) -> None:
    await customer(network)
    await session(network, 2 * MB)
    await network.harness.sync()
    before = await balance(network)
    for text, amount, left in ((FLAT.replace("0.01", "0.03"), "-0.04", "-0.04"), (FLAT, "0.04", "0.00")) * 2:
        Path("draft.toml").write_text(text)
        found = await asked(run, "--tariff", "draft.toml", "--apply")
        assert [one["amount"] for one in found["corrections"]] == [amount]
        await network.harness.sync()
        assert await balance(network) == before + Decimal(left)
        assert (await asked(run, "--tariff", "draft.toml"))["corrections"] == []
    await sound(network)


async def test_another_amount_before_the_first_has_arrived_is_refused(network: Network, run: Run) -> None:
    await customer(network)
    await session(network, 2 * MB)
    await network.harness.sync()
    Path("draft.toml").write_text(FLAT.replace("0.01", "0.03"))
    assert (await run("rerate", "--tariff", "draft.toml", "--apply")).exit_code == 0
    Path("draft.toml").write_text(FLAT.replace("0.01", "0.05"))
    refused = await run("rerate", "--tariff", "draft.toml", "--apply")
    assert (refused.exit_code, "run it again" in refused.stderr) == (1, True)
    await network.harness.sync()
    assert (await asked(run, "--tariff", "draft.toml", "--apply"))["sums"] == {"EUR": "-0.04"}


async def test_a_crash_in_the_middle_is_made_good(network: Network, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = random_tariff(Random(3)), random_tariff(Random(4))
    await network.traffic(3, one)
    Path("draft.toml").write_text(other)
    dry = await asked(run, "--tariff", "draft.toml")
    listed = len(dry["corrections"])
    assert listed > 15
    before = {account: await balance(network, account) for account in ("a0", "a1")}
    real, calls = rerate.post, count(1)

    def crashing(*given: Any) -> str:
        call = next(calls)  # several threads: counted before any of them is answered
        done = real(*given)
        if call == 5:  # it arrived, and nobody was told
            raise RequestRefused("the cable was cut")
        return done

    monkeypatch.setattr(rerate, "post", crashing)
    monkeypatch.setattr(rerate, "IN_FLIGHT", 2)
    for synced in (True, False):
        calls = count(1)
        done = await run("rerate", "--tariff", "draft.toml", "--apply")
        assert (done.exit_code, "cut" in done.stderr) == (1, True)
        if synced:
            await network.harness.sync()
    monkeypatch.setattr(rerate, "post", real)
    done = await run("rerate", "--tariff", "draft.toml", "--apply")
    assert done.exit_code == 0, done.output
    await network.harness.sync()
    assert (await asked(run, "--tariff", "draft.toml"))["corrections"] == []
    for account in ("a0", "a1"):
        due = sum(Decimal(one["amount"]) for one in dry["corrections"] if one["account"] == account)
        assert await balance(network, account) == before[account] + due
    posted = await network.harness.pool.fetchval("SELECT count(*) FROM ledger_entries WHERE why = 'rerate'")
    assert posted == listed
    await sound(network)


async def test_tax_is_corrected_with_it_and_debt_is_allowed(network: Network, run: Run) -> None:
    await customer(network, "0.10")
    await network.harness.tariff(TAXED)
    await network.open()
    await session(network, 10 * MB)
    await network.harness.sync()
    Path("draft.toml").write_text(TAXED.replace("0.01", "0.019"))
    assert (await asked(run, "--tariff", "draft.toml", "--apply"))["sums"] == {"EUR": "-0.09"}
    assert await balance(network) == Decimal("-0.09")
    await network.harness.sync()
    entry = await network.harness.pool.fetchrow("SELECT * FROM ledger_entries WHERE why = 'rerate'")
    assert (entry["amount"], entry["net"], entry["tax"]) == (-90_000, -75_630, -14_370)
    await sound(network)


async def test_what_cost_nothing_and_what_was_given_back(network: Network, run: Run) -> None:
    free = FLAT.replace('flat = { price = "0.01", per = "1 MB" }', 'free = { unit = "octets" }')
    await customer(network)
    await network.harness.tariff(free)
    await network.open()
    await session(network, MB)
    event = {"session_id": "x;1;1", "service_context_id": SMS}
    await network.send(E, **event, requested_action=DEBIT)
    await network.send(E, **event, requested_action=REFUND, cc_request_number=1)
    await network.harness.sync()
    await network.harness.tariff(FLAT.replace("0.07", "0.05"))
    dry = await asked(run, "--version", "flat@3")
    assert [(one["recorded"], one["target"], one["original_seq"] > 0) for one in dry["corrections"]] == [
        ("0.00", "0.01", False),
        ("0.07", "0.05", True),
        ("-0.07", "-0.05", True),
    ]
    before = await balance(network)
    await asked(run, "--version", "flat@3", "--apply")
    assert await balance(network) == before - Decimal("0.01")
    await network.harness.sync()
    assert (await asked(run, "--version", "flat@3"))["corrections"] == []
    await sound(network)


async def test_by_what_is_published_now(network: Network, run: Run) -> None:
    """A version that should have been in force: published too late, valid from then on."""
    await customer(network)
    await session(network, MB)
    await network.harness.sync()
    assert (await asked(run))["corrections"] == []
    await network.harness.tariff(
        FLAT.replace("0.01", "0.02").replace("[[rows]]", "valid_from = 2020-01-01T00:00:00Z\n[[rows]]", 1)
    )
    assert [one["amount"] for one in (await asked(run))["corrections"]] == ["-0.01"]


async def test_what_is_not_rated_is_not_corrected(network: Network, run: Run) -> None:
    await customer(network)
    await session(network, MB)
    await network.harness.sync()
    Path("draft.toml").write_text(FLAT.replace('service = "data"', 'service = "mms"'))
    done = await run("rerate", "--tariff", "draft.toml")
    assert (done.exit_code, "1 pieces are not corrected: no row" in done.stdout) == (0, True)
    assert (await asked(run, "--tariff", "draft.toml"))["corrections"] == []


async def test_tables_and_words(network: Network, run: Run) -> None:
    await customer(network)
    await session(network, 2 * MB)
    await network.harness.sync()
    Path("draft.toml").write_text(FLAT.replace("0.01", "0.008"))
    dry = await run("rerate", "--tariff", "draft.toml")
    assert "nothing was posted" in dry.stdout
    assert "0.004" in dry.stdout
    applied = await run("rerate", "--tariff", "draft.toml", "--apply", "--reason", "list price was wrong")
    assert "1 posted" in applied.stdout
    for words, says in (
        (("rerate", "--tariff", "draft.toml", "--version", "flat@1"), "either --tariff or --version"),
        (("rerate", "--instead-of", "x"), "--instead-of"),
        (("rerate", "--version", "flat"), "such as data@3"),
        (("rerate", "--version", "flat@7"), "no tariff flat in version 7"),
        (("rerate", "--tariff", "nowhere.toml"), "nowhere.toml"),
        (("whatif", "--tariff", "draft.toml", "--from", "today", "--to", "2030-01-01"), "--from"),
        (("whatif", "--tariff", "draft.toml", "--from", "2030-01-01", "--to", "2030-01-01"), "after --from"),
    ):
        done = await run(*words)
        assert done.exit_code in (1, 2)
        assert says in done.stderr
