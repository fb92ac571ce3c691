"""What a bucket says besides its amount, through the API (charging.md section 22)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec
import pytest

from balances.structs.charge import Result
from ocs.backoffice import accounts
from tariffs.week_hours import clock_of
from tests.ocs.api_harness import ApiHarness
from tests.ocs.charging.wire import I, U, ccr, lines, mscc
from tests.ocs.charging.world import PACKAGE

MB = 2**20


@pytest.fixture
async def one(harness: ApiHarness) -> ApiHarness:
    """A subscriber with money; what no package pays costs 0.01 a megabyte."""
    await harness.account()
    await harness.top_up("10.00")
    await harness.tariff(PACKAGE)
    await harness.subscriber("kid", "a1", "msisdn:491700000001")
    return harness


async def bucket(harness: ApiHarness) -> dict[str, Any]:
    """The one beside the main balance."""
    shown = (await harness.call("GET", "/v1/accounts/a1")).json()
    return dict(next(one for one in shown["buckets"] if not one["main"]))


async def test_a_blocker_is_sold_used_up_and_lifted(one: ApiHarness) -> None:
    assert (await one.top_up(str(2 * MB), kind="octets", scope=["data"], blocker=True)).status_code == 201
    package = await bucket(one)
    assert package["blocker"]
    first = (await one.charge(ccr(I, **lines(mscc(10, ask={"cc_total_octets": 9 * MB}))))).lines[0]
    assert first.granted is not None
    assert (first.granted.octets, first.final is not None) == (2 * MB, True)
    used = mscc(10, ask={"cc_total_octets": MB}, used={"cc_total_octets": 2 * MB})
    assert (await one.charge(ccr(U, cc_request_number=1, **lines(used)))).lines[0].result == Result.CREDIT_LIMIT
    path = f"/v1/accounts/a1/buckets/{package['id']}"
    assert (await one.call("PUT", path, {"blocker": False}, if_match='"99"')).status_code == 412
    lifted = await one.call("PUT", path, {"blocker": False})
    assert (lifted.status_code, lifted.json()["blocker"]) == (200, False)
    again = ccr(U, cc_request_number=2, **lines(mscc(10, ask={"cc_total_octets": MB})))
    assert (await one.charge(again)).lines[0].granted is not None


@pytest.mark.parametrize("number", ["0", "9", "-1", "x", "9" * 20], ids=["main", "none", "below", "text", "long"])
async def test_a_bucket_that_is_not_there(harness: ApiHarness, number: str) -> None:
    await harness.account()
    refused = await harness.call("PUT", f"/v1/accounts/a1/buckets/{number}", {"blocker": True})
    assert (refused.status_code, refused.json()["type"]) == (404, "urn:ocs:problem:not-found")


def hours_from(harness: ApiHarness, hour: int) -> str:
    """Four hours that begin so many from now in UTC."""
    begin = (datetime.fromtimestamp(harness.now_ms() // 1_000, UTC).hour + hour) % 24
    return f"{begin:02}:00-{(begin + 4) % 24:02}:00"


async def granted(harness: ApiHarness, session: str) -> tuple[bool, str]:
    """Whether something is granted, and what is held of money then."""
    wish = ccr(I, session_id=f"gw.example.net;1;{session}", **lines(mscc(10, ask={"cc_total_octets": MB})))
    found = (await harness.charge(wish)).lines[0].granted is not None
    return found, str((await harness.call("GET", "/v1/accounts/a1")).json()["held"])


async def test_hours_are_those_of_the_zone_of_the_account(one: ApiHarness) -> None:
    now = hours_from(one, -1)
    assert (await one.top_up(str(9 * MB), kind="octets", hours=now)).status_code == 201
    assert (await bucket(one))["hours"] == now
    assert await granted(one, "1") == (True, "0.00")
    changed = await one.call("PUT", "/v1/accounts/a1", {"currency": "EUR", "time_zone": "Asia/Tokyo"}, if_match="*")
    assert changed.status_code == 200
    assert await granted(one, "2") == (True, "0.01")


@pytest.mark.parametrize("zone_within", [True, False], ids=["zone within", "bucket within"])
async def test_a_zone_that_is_set_while_a_bucket_is_made_counts(
    one: ApiHarness, monkeypatch: pytest.MonkeyPatch, *, zone_within: bool
) -> None:
    """Either the top-up is done between the look at the account and the change of its zone, or the zone is changed
    between the look at the account and the top-up."""
    read, meanwhile = accounts.read, iter([True])

    async def zone() -> httpx.Response:
        return await one.call("PUT", "/v1/accounts/a1", {"currency": "EUR", "time_zone": "Asia/Tokyo"}, if_match="*")

    async def package() -> httpx.Response:
        return await one.top_up("1", kind="octets", hours="sat-sun")

    first, second = (package, zone) if zone_within else (zone, package)

    async def and_then(*given: Any) -> Any:
        found = await read(*given)
        if next(meanwhile, False):
            assert (await second()).is_success
        return found

    monkeypatch.setattr(accounts, "read", and_then)
    assert (await first()).is_success
    live = await one.backoffice.bounded(one.store.account("a1").wait())
    assert live.clock == clock_of("Asia/Tokyo", one.now_ms())


async def test_an_account_is_imported_with_a_bucket_that_has_hours(harness: ApiHarness) -> None:
    """And what cannot be read is said."""
    line = {
        "account": {
            "id": "a1",
            "currency": "EUR",
            "time_zone": "Asia/Tokyo",
            "balance": "1.00",
            "buckets": [{"amount": "1", "kind": "octets", "hours": "sat-sun", "blocker": True}],
        }
    }
    headers = {"content_type": "application/x-ndjson"}
    done = await harness.call("POST", "/v1/import", msgspec.json.encode(line), **headers)
    assert [one["event"] for one in map(msgspec.json.decode, done.text.splitlines())] == ["progress", "done"]
    package = await bucket(harness)
    assert (package["hours"], package["blocker"]) == ("sat-sun 00:00-24:00", True)
    wrong = await harness.top_up("1", kind="octets", hours="mon 25:00-26:00")
    assert (wrong.status_code, "hours" in wrong.json()["detail"]) == (422, True), wrong.text


async def test_units_and_money_in_one_bucket(one: ApiHarness) -> None:
    """Sold, shown, used, lifted and corrected as one; the main balance is not touched."""
    sold = await one.top_up(str(2 * MB), kind="octets", money="0.05", scope=["data"], name="both", blocker=True)
    assert sold.status_code == 201, sold.text
    shown = (await one.call("GET", "/v1/accounts/a1")).json()
    both, main = shown["buckets"]
    assert (main["main"], main["money"], shown["balance"]) == (True, None, "10.05")
    assert (both["kind"], both["amount"], both["name"], both["blocker"]) == ("octets", str(2 * MB), "both", True)
    assert both["money"] == {"id": both["id"] + 1, "amount": "0.05", "held": "0.00"}
    ask = {"cc_total_octets": 20 * MB}
    first = (await one.charge(ccr(I, **lines(mscc(10, ask=ask))))).lines[0]
    assert first.granted is not None
    assert (first.granted.octets, first.final is not None) == (7 * MB, True)
    used = mscc(10, ask={"cc_total_octets": MB}, used={"cc_total_octets": 5 * MB})
    assert (await one.charge(ccr(U, cc_request_number=1, **lines(used)))).lines[0].granted is not None
    both = await bucket(one)
    assert (both["amount"], both["money"]["amount"], both["money"]["held"]) == ("0", "0.02", "0.01")
    lifted = await one.call("PUT", f"/v1/accounts/a1/buckets/{both['id']}", {"blocker": False})
    assert (lifted.status_code, lifted.json()["blocker"], lifted.json()["money"]["amount"]) == (200, False, "0.02")
    body = {"amount": "1.00", "bucket": both["money"]["id"], "reason": "asked"}
    corrected = await one.call("POST", "/v1/accounts/a1/adjustments", body, idempotency_key="k1")
    assert corrected.status_code == 201, corrected.text
    assert (await bucket(one))["money"]["amount"] == "1.02"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"kind": "money", "money": "1"}, "money: beside octets, seconds or units"),
        ({"kind": "octets", "money": "0"}, "money"),
        ({"kind": "octets", "money": "-1"}, "money"),
        ({"kind": "octets", "money": "0.0000001"}, "money"),
        ({"kind": "octets", "money": "1", "offer": "spring"}, "offer: of money for the main balance"),
        ({"kind": "octets", "money": "9999999999"}, "money: at most"),
    ],
    ids=["money", "none", "below", "fine", "offer", "large"],
)
async def test_money_that_no_bucket_of_units_can_have(harness: ApiHarness, body: dict[str, Any], why: str) -> None:
    await harness.account()
    refused = await harness.top_up("1", **body)
    assert refused.status_code in (409, 422), refused.text
    assert why in refused.text, refused.text
    assert len((await harness.call("GET", "/v1/accounts/a1")).json()["buckets"]) == 1


async def test_units_and_money_come_in_by_an_import(harness: ApiHarness) -> None:
    bucket_of = {"kind": "octets", "name": "both", "valid_for_s": 60}
    line = {
        "account": {
            "id": "a1",
            "currency": "EUR",
            "buckets": [
                bucket_of | {"amount": "5", "money": "0.50", "money_filled": "2.00"},
                bucket_of | {"amount": "0", "money": "1.00"},
                bucket_of | {"amount": "3", "money": "0", "blocker": True},
                {"amount": "7", "kind": "units"},
            ],
        }
    }
    headers = {"content_type": "application/x-ndjson"}
    done = await harness.call("POST", "/v1/import", msgspec.json.encode(line), **headers)
    assert [one["event"] for one in map(msgspec.json.decode, done.text.splitlines())] == ["progress", "done"]
    shown = (await harness.call("GET", "/v1/accounts/a1")).json()
    found = [
        (one["id"], one["amount"], one["money"] and one["money"]["amount"], one["blocker"]) for one in shown["buckets"]
    ]
    assert sorted(found) == [
        (0, "0.00", None, False),
        (1, "5", "0.50", False),
        (3, "0", "1.00", False),
        (5, "3", "0.00", True),
        (7, "7", None, False),
    ]
    assert (shown["balance"], {one["valid_for_s"] for one in shown["buckets"] if one["money"]}) == ("1.50", {60})
    for wrong, why in (
        ({"kind": "money", "amount": "1", "money": "1"}, "account.buckets[0].money"),
        ({"kind": "octets", "amount": "1", "money": "0"}, "account.buckets[0].money"),
        ({"kind": "octets", "amount": "1", "money_filled": "1"}, "account.buckets[0].money_filled"),
    ):
        line = {"account": {"id": "a2", "currency": "EUR", "buckets": [wrong]}}
        refused = await harness.call("POST", "/v1/import", msgspec.json.encode(line), **headers)
        assert why in refused.text, refused.text


async def test_a_bucket_with_a_price_takes_units_and_money(one: ApiHarness) -> None:
    """By the megabyte, at half of what the list says."""
    priced: dict[str, Any] = {"kind": "octets", "scope": ["data"], "price": "0.005", "per": MB}
    early = await one.top_up(str(2 * MB), **priced)
    assert (early.status_code, "format 3" in early.text) == (409, True)  # an older process would give it away
    await one.pool.execute("UPDATE store SET format = 3")
    assert (await one.top_up(str(2 * MB), **priced)).status_code == 201
    package = await bucket(one)
    assert (package["price"], package["per"]) == ("0.005", MB)
    begun = (await one.charge(ccr(I, **lines(mscc(10, ask={"cc_total_octets": 2 * MB}))))).lines[0]
    assert begun.granted is not None
    assert begun.granted.octets == 2 * MB
    await one.charge(ccr(U, cc_request_number=1, **lines(mscc(10, used={"cc_total_octets": 2 * MB}))))
    shown = (await one.call("GET", "/v1/accounts/a1")).json()
    assert (shown["balance"], (await bucket(one))["amount"]) == ("9.99", "0")


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"kind": "money", "price": "1.00"}, "price"),
        ({"kind": "octets", "price": "1.00", "per": 0}, "per"),
        ({"kind": "octets", "price": "67.108865", "per": 2}, "per"),
    ],
    ids=["money has none", "for nothing", "too fine"],
)
async def test_prices_that_cannot_be(one: ApiHarness, options: dict[str, Any], field: str) -> None:
    refused = await one.top_up("1", **options)
    assert (refused.status_code, field in refused.text) == (422, True), refused.text
