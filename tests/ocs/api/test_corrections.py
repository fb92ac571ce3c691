"""Corrections through the API: signed, once, of an entry that is there."""

from __future__ import annotations

from typing import Any

import pytest

from tests.ocs.api_harness import Office


async def correct(desk: Office, key: str = "k1", **fields: Any) -> Any:
    body = {"amount": "-0.50", "reason": "rated again", "reference": "usage 1-2/0"} | fields
    return await desk.call("POST", "/v1/accounts/a1/corrections", body, idempotency_key=key)


@pytest.fixture
async def desk(desk: Office) -> Office:
    await desk.account("a1")
    await desk.top_up("1")
    await desk.sync()
    return desk


async def test_once_signed_and_below_zero(desk: Office) -> None:
    done = await correct(desk, original_seq=1, terms="tax=190000;rate=1.0923")
    assert done.status_code == 201, done.text
    (entry,) = done.json()["entries"]
    assert (entry["amount"], entry["why"], entry["counter_account"]) == ("-0.50", "rerate", "revenue")
    assert (await correct(desk, original_seq=1, terms="tax=190000;rate=1.0923")).json() == done.json()
    assert (await correct(desk)).json()["type"].endswith("key-reused")
    assert (await correct(desk, "k2", amount="-1.00")).json()["balance"] == "-0.50"
    assert (await correct(desk, "k3", amount="0.25")).json()["balance"] == "-0.25"
    await desk.sync()
    kept = await desk.pool.fetchrow("SELECT * FROM ledger_entries WHERE why = 'rerate' ORDER BY seq")
    assert (kept["original_seq"], kept["original_account"], kept["reference"]) == (1, "a1", "usage 1-2/0")
    assert (kept["net"], kept["tax"], str(kept["currency_rate"])) == (-420_168, -79_832, "1.0923")


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
        ({"terms": "rate=1.0;tax=5"}, 422),
        ({"bucket": 1}, 422),
    ],
)
async def test_what_is_refused(desk: Office, fields: dict[str, Any], status: int) -> None:
    refused = await correct(desk, **fields)
    assert refused.status_code == status, refused.text
    assert (await desk.call("GET", "/v1/accounts/a1")).json()["balance"] == "1.00"


async def test_nobody(desk: Office) -> None:
    body = {"amount": "1", "reason": "r", "reference": "u"}
    assert (await desk.call("POST", "/v1/accounts/a9/corrections", body, idempotency_key="k")).status_code == 404
    assert (await desk.call("POST", "/v1/accounts/a1/corrections", body)).status_code == 400
