"""Notification thresholds and services with a line of their own, through the API (charging.md section 7)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from balances.structs.charge import Result
from balances.structs.thresholds import THRESHOLDS_MAX
from protocol.diameter.dictionary.credit_control import SubscriptionId
from tests.ocs.api_harness import ApiHarness
from tests.ocs.charging.wire import I, ccr, lines, mscc

THRESHOLDS = "/v1/accounts/a1/thresholds"
SERVICES = "/v1/accounts/a1/services"
MB = 2**20


@pytest.fixture
async def one(harness: ApiHarness) -> ApiHarness:
    """A subscriber; a megabyte costs 0.01."""
    await harness.account()
    await harness.top_up("10.00")
    await harness.tariff()
    await harness.subscriber("kid", "a1", "msisdn:491700000001")
    return harness


async def put(harness: ApiHarness, name: str, status: int = 201, **body: Any) -> dict[str, Any]:
    done = await harness.call("PUT", f"{THRESHOLDS}/{name}", body)
    assert done.status_code == status, done.text
    return dict(done.json())


async def listed(harness: ApiHarness) -> list[dict[str, Any]]:
    return list((await harness.call("GET", THRESHOLDS)).json()["items"])


async def adjust(harness: ApiHarness, amount: str) -> None:
    body = {"amount": amount, "reason": "test"}
    done = await harness.call("POST", "/v1/accounts/a1/adjustments", body, idempotency_key=f"k{amount}")
    assert done.status_code == 201, done.text


async def test_a_threshold_is_set_shown_crossed_and_armed_again(one: ApiHarness) -> None:
    made = await put(one, "5 euros left", below="5.00", rearm="6")
    assert made == {
        "name": "5 euros left",
        "kind": "money",
        "below": "5.00",
        "percent": None,
        "rearm": "6.00",
        "rearm_percent": None,
        "bucket": "",
        "service": None,
        "state": "armed",
        "crossed_since": None,
        "value": "10.00",
        "level": "5.00",
        "tariff": None,
    }
    await adjust(one, "-5.50")
    [crossed] = (await one.call("GET", "/v1/accounts/a1")).json()["thresholds"]
    assert (crossed["state"], crossed["value"]) == ("crossed", "4.50")
    assert crossed["crossed_since"]
    await one.top_up("1.00")
    assert [found["state"] for found in await listed(one)] == ["crossed"]
    await one.top_up("0.50")
    assert [found["state"] for found in await listed(one)] == ["armed"]
    await one.sync()
    rows = await one.pool.fetch(
        "SELECT threshold_events::text AS crossings, generation FROM calls WHERE threshold_events IS NOT NULL"
        " ORDER BY position"
    )
    told = [msgspec.json.decode(row["crossings"]) for row in rows]
    assert [
        [(of["kind"], of["of"], of["name"], of["level"], of["value"], of["unit"]) for of in row] for row in told
    ] == [
        [("below", "threshold", "5 euros left", 5_000_000, 4_500_000, "money")],
        [("above", "threshold", "5 euros left", 6_000_000, 6_000_000, "money")],
    ]
    assert [row["generation"] for row in rows] == [0, 0]


async def test_percent_of_the_last_fill_of_a_bundle(one: ApiHarness) -> None:
    unfilled = await put(one, "80 % used", kind="octets", percent=20, bucket="month")
    assert (unfilled["level"], unfilled["percent"], unfilled["rearm_percent"], unfilled["below"]) == (
        None,
        20,
        20,
        None,
    )
    await one.top_up(str(1_000 * MB), kind="octets", name="month")
    [found] = await listed(one)
    assert (found["level"], found["value"], found["state"]) == (str(200 * MB), str(1_000 * MB), "armed")


async def test_one_that_is_set_below_begins_as_crossed(one: ApiHarness) -> None:
    assert (await put(one, "low", below="20"))["state"] == "crossed"
    changed = await put(one, "low", 200, below="10")
    assert changed["state"] == "armed"


async def test_gone(one: ApiHarness) -> None:
    await put(one, "low", below="5")
    assert (await one.call("DELETE", f"{THRESHOLDS}/low")).status_code == 204
    assert await listed(one) == []
    assert (await one.call("DELETE", f"{THRESHOLDS}/low")).json()["type"] == "urn:ocs:problem:not-found"
    assert (await one.call("PUT", "/v1/accounts/none/thresholds/low", {"below": "5"})).status_code == 404


async def test_if_match_names_the_revision_of_the_account(one: ApiHarness) -> None:
    rev = (await one.call("GET", "/v1/accounts/a1")).json()["rev"]
    stale = await one.call("PUT", f"{THRESHOLDS}/low", {"below": "5"}, if_match=f'"{rev + 3}"')
    assert (stale.status_code, stale.json()["version"]) == (412, rev)
    done = await one.call("PUT", f"{THRESHOLDS}/low", {"below": "5"}, if_match=f'"{rev}"')
    assert (done.status_code, done.headers["etag"]) == (201, f'"{rev + 1}"')
    again = await one.call("DELETE", f"{THRESHOLDS}/low", if_match=f'"{rev}"')
    assert again.status_code == 412


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "below"),
        ({"below": "5", "percent": 10}, "below"),
        ({"percent": 10, "rearm": "5"}, "rearm"),
        ({"below": "5", "rearm_percent": 10}, "rearm_percent"),
        ({"below": "5", "rearm": "4.99"}, "rearm"),
        ({"percent": 50, "rearm_percent": 49}, "rearm_percent"),
        ({"below": "0.5", "kind": "octets"}, "below"),
        ({"below": "5", "service": "dta"}, "service"),
        ({"percent": 101}, "percent"),
    ],
    ids=[
        *("nothing", "both", "rearm of percent", "percent of an amount", "rearm below", "percent below"),
        *("part of an octet", "no such service", "percent"),
    ],
)
async def test_what_makes_no_sense_is_refused(one: ApiHarness, body: dict[str, Any], field: str) -> None:
    refused = await one.call("PUT", f"{THRESHOLDS}/low", body)
    assert (refused.status_code, refused.json()["type"]) == (422, "urn:ocs:problem:invalid"), refused.text
    assert field in refused.text
    assert await listed(one) == []


async def test_there_is_a_bound(one: ApiHarness) -> None:
    for number in range(THRESHOLDS_MAX):
        await put(one, f"t{number}", below=str(number))
    await put(one, "t3", 200, below="1000")
    more = await one.call("PUT", f"{THRESHOLDS}/more", {"below": "5"})
    assert (more.status_code, "at most 16" in more.json()["detail"]) == (422, True)


async def test_a_name_is_bounded(one: ApiHarness) -> None:
    assert (await one.call("PUT", f"{THRESHOLDS}/{'n' * 65}", {"below": "5"})).status_code == 422
    await put(one, "n" * 64, below="5")


async def grant(harness: ApiHarness, session: str, number: int = 0) -> int:
    """The result of a session of data that begins."""
    asked = mscc(10, ask={"cc_total_octets": MB})
    who = SubscriptionId(subscription_id_type=0, subscription_id_data="491700000001")
    request = ccr(I, session_id=session, cc_request_number=number, subscription_id=(who,), **lines(asked))
    answer = await harness.charge(request)
    return int(answer.result)


async def test_one_service_is_suspended_by_a_line_of_its_own(one: ApiHarness) -> None:
    assert await grant(one, "gw;1") == Result.OK
    made = await one.call("PUT", f"{SERVICES}/data", {"suspend_below": "20.00", "resume_at": "25"})
    assert (made.status_code, made.json()["state"]) == (201, "suspended")
    shown = (await one.call("GET", "/v1/accounts/a1")).json()
    assert (shown["state"], [line["service"] for line in shown["services"]]) == ("active", ["data"])
    assert await grant(one, "gw;2") == Result.CREDIT_LIMIT
    await one.top_up("15.00")
    [line] = (await one.call("GET", SERVICES)).json()["items"]
    assert (line["state"], line["suspended_since"]) == ("active", None)
    assert await grant(one, "gw;3") == Result.OK
    assert (await one.call("DELETE", f"{SERVICES}/data")).status_code == 204
    assert (await one.call("DELETE", f"{SERVICES}/data")).status_code == 404


async def test_a_line_of_a_service_that_would_never_be_at_rest_is_refused(one: ApiHarness) -> None:
    refused = await one.call("PUT", f"{SERVICES}/data", {"suspend_below": "5", "resume_at": "4"})
    assert (refused.status_code, refused.json()["type"]) == (422, "urn:ocs:problem:invalid")
    unknown = await one.call("PUT", f"{SERVICES}/dta", {"suspend_below": "5"})
    assert (unknown.status_code, "expected a service" in unknown.json()["detail"]) == (422, True)
