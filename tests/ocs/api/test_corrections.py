"""Corrections through the API: signed, once, of an entry that is there."""

from __future__ import annotations

from typing import Any

import pytest

from tests.ocs.api_harness import ApiHarness


async def correct(harness: ApiHarness, key: str = "k1", **fields: Any) -> Any:
    body = {"amount": "-0.50", "reason": "rated again", "reference": "usage 1-2/0"} | fields
    return await harness.call("POST", "/v1/accounts/a1/corrections", body, idempotency_key=key)


@pytest.fixture
async def harness(harness: ApiHarness) -> ApiHarness:
    await harness.account("a1")
    await harness.top_up("1")
    await harness.sync()
    return harness


async def test_once_signed_and_below_zero(harness: ApiHarness) -> None:
    done = await correct(harness, original_seq=1, terms="tax=190000;rate=1.0923")
    assert done.status_code == 201, done.text
    (entry,) = done.json()["entries"]
    assert (entry["amount"], entry["why"], entry["counter_account"]) == ("-0.50", "rerate", "revenue")
    assert (await correct(harness, original_seq=1, terms="tax=190000;rate=1.0923")).json() == done.json()
    assert (await correct(harness)).json()["type"].endswith("key-reused")
    assert (await correct(harness, "k2", amount="-1.00")).json()["balance"] == "-0.50"
    assert (await correct(harness, "k3", amount="0.25")).json()["balance"] == "-0.25"
    await harness.sync()
    kept = await harness.pool.fetchrow("SELECT * FROM ledger_entries WHERE why = 'rerate' ORDER BY seq")
    assert (kept["original_seq"], kept["original_account"], kept["reference"]) == (1, "a1", "usage 1-2/0")
    assert (kept["net"], kept["tax"], str(kept["currency_rate"])) == (-420_168, -79_832, "1.0923")


async def test_a_rounded_tax_is_that_of_the_correction(harness: ApiHarness) -> None:
    """Of 0.09 with 19 % 0.014370 are tax: one cent (charging.md section 4)."""
    done = await correct(harness, amount="-0.09", original_seq=1, terms="tax=190000;tax_to=10000/half_up")
    assert done.status_code == 201, done.text
    await harness.sync()
    row = await harness.pool.fetchrow("SELECT amount, net, tax FROM ledger_entries WHERE why = 'rerate'")
    assert tuple(row) == (-90_000, -80_000, -10_000)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"amount": "0"}, 422),
        ({"amount": "1,5"}, 422),
        ({"reference": ""}, 422),
        ({"reason": ""}, 422),
        ({"original_seq": 9}, 422),
        ({"original_seq": -1}, 422),
        ({"terms": "tax=x"}, 422),
        ({"terms": "tax=1\n"}, 422),
        ({"terms": "tax_to=10000/half_up"}, 422),
        ({"terms": "tax=190000;tax_to=0/half_up"}, 422),
        ({"terms": "tax=190000;tax_to=10000/nearest"}, 422),
        ({"terms": "rate=1.0;tax=5"}, 422),
        ({"bucket": 1}, 422),
    ],
)
async def test_what_is_refused(harness: ApiHarness, fields: dict[str, Any], status: int) -> None:
    refused = await correct(harness, **fields)
    assert refused.status_code == status, refused.text
    assert (await harness.call("GET", "/v1/accounts/a1")).json()["balance"] == "1.00"


async def test_nobody(harness: ApiHarness) -> None:
    body = {"amount": "1", "reason": "r", "reference": "u"}
    assert (await harness.call("POST", "/v1/accounts/a9/corrections", body, idempotency_key="k")).status_code == 404
    assert (await harness.call("POST", "/v1/accounts/a1/corrections", body)).status_code == 400
