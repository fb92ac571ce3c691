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

MB = 2**20
PACKAGE = """
tariff = "flat"
currency = "EUR"

[[rows]]
when = { service = "data" }
bundle = { per = "1 MB" }

[[rows]]
name = "beyond"
when = { service = "data" }
flat = { price = "0.01", per = "1 MB" }
"""


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
