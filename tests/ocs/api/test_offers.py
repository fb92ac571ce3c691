"""Top-ups with an offer through the API (charging.md section 23): what is given, refused, repeated, reversed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from balances.ledger.verify import verify
from ocs.api.routes_offers import EXAMPLE
from ocs.master.offers import OfferBonus
from tests.ocs.api_harness import ApiHarness
from tests.ocs.charging.wire import I, T, ccr, lines, mscc

MB = 2**20
OFFER = "/v1/top-up-offers/spring"


@pytest.fixture
async def offered(harness: ApiHarness) -> ApiHarness:
    await harness.account()
    await harness.tariff()
    await harness.subscriber("kid", "a1", "msisdn:491700000001")
    made = await harness.call("PUT", OFFER, EXAMPLE)
    assert made.status_code == 201, made.text
    return harness


async def use(harness: ApiHarness, session: str, megabytes: int) -> None:
    await harness.charge(ccr(I, session_id=session, **lines(mscc(10, ask={"cc_total_octets": megabytes * MB}))))
    used = {"cc_total_octets": megabytes * MB}
    await harness.charge(ccr(T, session_id=session, cc_request_number=1, **lines(mscc(10, used=used))))


async def buckets(harness: ApiHarness) -> dict[str, Any]:
    return {one["name"]: one for one in (await harness.call("GET", "/v1/accounts/a1")).json()["buckets"]}


async def test_an_offer_is_kept_as_it_was_given_in_versions_and_on_the_audit_trail(offered: ApiHarness) -> None:
    shown = await offered.call("GET", OFFER)
    again = await offered.call("PUT", OFFER, {key: shown.json()[key] for key in ("currency", "bands", "description")})
    assert again.status_code == 428
    body = {"currency": "EUR", "bands": [{"minimum": "5"}]}
    assert (await offered.call("PUT", OFFER, body, if_match='"1"')).json()["version"] == 2
    assert (await offered.call("PUT", OFFER, body, if_match='"1"')).status_code == 412
    listed = (await offered.call("GET", "/v1/top-up-offers")).json()["items"]
    assert [(one["id"], one["bands"][0]["minimum"], one["bands"][0]["maximum"]) for one in listed] == [
        ("spring", "5.00", None)
    ]
    trail = (await offered.call("GET", "/v1/audit?operation=put_offer")).json()["items"]
    changes = [one for one in trail if one["kind"] == "change"]
    assert {row["version"] for one in changes for row in one["after"]} == {1, 2}, trail
    assert (await offered.call("DELETE", OFFER, if_match='"2"')).status_code == 204
    assert (await offered.call("GET", OFFER)).status_code == 404
    assert (await offered.call("DELETE", OFFER, if_match='"2"')).status_code == 404
    first = shown.json()["bands"]
    assert first[0]["bonus"]["percent"] == "10.00"
    assert (first[1]["units"][0]["amount"], first[1]["resets"]) == ("1073741824", ["pocket-money"])


@pytest.mark.parametrize(
    ("bands", "why"),
    [
        ([{"minimum": "10", "maximum": "9"}], "bands[0].maximum: not below the minimum 10.00"),
        ([{"minimum": "10"}, {"minimum": "20"}], "bands[0].maximum: needed"),
        ([{"minimum": "10", "maximum": "20"}, {"minimum": "20"}], "bands[1].minimum: above the band before"),
        ([{"minimum": "1", "bonus": {"days": 3}}], "bands[0].bonus: an amount, a percent or both"),
        ([{"minimum": "1", "bonus": {"amount": "1", "scope": ["nothing"]}}], "scope: expected some of"),
        ([{"minimum": "1", "units": [{"kind": "octets", "amount": "1.5"}]}], "bands[0].units[0].amount"),
        ([{"minimum": "1", "extends": [{"bucket": "a", "days": 1}] * 2}], "bands[0].extends: each bucket once"),
        ([], "bands"),
    ],
    ids=["upside-down", "open-in-between", "overlap", "empty-bonus", "scope", "half-octet", "twice", "no-band"],
)
async def test_what_is_no_offer(harness: ApiHarness, bands: Any, why: str) -> None:
    refused = await harness.call("PUT", OFFER, {"currency": "EUR", "bands": bands})
    assert (refused.status_code, why in refused.json()["detail"]) == (422, True), refused.text


async def test_an_offer_is_in_a_currency_that_there_is(harness: ApiHarness) -> None:
    refused = await harness.call("PUT", OFFER, {"currency": "EUX", "bands": [{"minimum": "1"}]})
    assert (refused.status_code, "ISO 4217" in refused.json()["detail"]) == (422, True), refused.text


async def test_a_top_up_gives_what_the_quote_says_in_one_posting(offered: ApiHarness) -> None:
    await offered.call("PUT", "/v1/subscribers/kid/limits/pocket-money", {"amount": "0.05", "period": "month"})
    await offered.sync()
    await offered.newest()
    await offered.top_up("10.00", offer="spring", reference="counter 4")
    await use(offered, "gw;1", 5)
    was = await buckets(offered)
    assert was["spring"]["amount"] == "0.95"
    quote = await offered.call("POST", "/v1/accounts/a1/topups/quote", {"amount": "20.00", "offer": "spring"})
    assert quote.status_code == 200, quote.text
    told = quote.json()
    assert [(one["name"], one["amount"], one["kind"]) for one in told["gives"]] == [
        ("spring", "4.00", "money"),
        ("week", "1073741824", "octets"),
    ]
    assert [(one["bucket"], one["valid_until"]) for one in told["extends"]] == [
        (was["spring"]["id"], was["spring"]["valid_until"])
    ]
    assert [(one["limit"], one["subscriber"], one["used"]) for one in told["resets"]] == [
        ("pocket-money", "kid", 50_000)
    ]
    assert await buckets(offered) == was, "a quote does nothing"
    done = await offered.top_up("20.00", offer="spring", key="k")
    assert done.status_code == 201, done.text
    assert [(one["why"], one["amount"], one["counter_account"]) for one in done.json()["entries"]] == [
        ("top-up", "20.00", "top-up"),
        ("bonus", "4.00", "top-up"),
        ("bonus", "1073741824", "top-up"),
    ]
    limit = (await offered.call("GET", "/v1/subscribers/kid/limits")).json()["items"][0]
    assert (limit["used"], limit["left"]) == ("0.00", "0.05")
    now = (await offered.call("GET", "/v1/accounts/a1")).json()["buckets"]
    old = next(one for one in now if one["id"] == was["spring"]["id"])
    assert old["valid_until"] > was["spring"]["valid_until"]
    assert old["bonus"]
    await offered.sync()
    entries = (await offered.call("GET", "/v1/accounts/a1/ledger")).json()["items"]
    assert [(one["reason"], one["reference"]) for one in entries if one["why"] in ("top-up", "bonus")] == [
        *[("offer spring", "counter 4")] * 2,
        *[("offer spring", "")] * 3,
    ]
    report = await verify(offered.redis, offered.backoffice.pool)
    assert report.sound, report.lines()


async def test_a_repeat_is_answered_as_the_first_time_whatever_became_of_the_offer(offered: ApiHarness) -> None:
    first, second = await asyncio.gather(*(offered.top_up("10.00", offer="spring", key="k") for _ in range(2)))
    assert (first.status_code, first.json()) == (201, second.json())
    assert (await offered.call("DELETE", OFFER, if_match='"1"')).status_code == 204
    assert (await offered.top_up("10.00", offer="spring", key="k")).json() == first.json()
    await offered.sync()
    await offered.redis.flushall()
    assert (await offered.top_up("10.00", offer="spring", key="k")).json() == first.json()
    assert (await offered.top_up("10.00", key="k")).status_code == 409
    gone = await offered.top_up("10.00", offer="spring")
    assert (gone.status_code, gone.json()["detail"]) == (422, "offer: there is no offer spring")


async def test_a_refusal_says_why_and_gives_nothing(offered: ApiHarness) -> None:
    await offered.account("usd", currency="USD")
    for account, body, status, why in (
        ("a1", {"amount": "9.99"}, 422, "amount: offer spring takes 10.00 to 19.99, 20.00 or more, found 9.99"),
        ("a1", {"amount": "19.995"}, 422, "amount: offer spring takes"),
        ("usd", {"amount": "10"}, 422, "offer: spring is for accounts in EUR, account usd is in USD"),
        ("a1", {"amount": "10", "kind": "octets"}, 422, "offer: of money for the main balance"),
        ("a1", {"amount": "10", "name": "x"}, 422, "offer: of money for the main balance"),
        ("nobody", {"amount": "10"}, 404, "nobody"),
        ("a1", {"amount": "9007199254"}, 409, "2^53"),
    ):
        refused = await offered.top_up(account=account, **{"offer": "spring"} | body)
        assert (refused.status_code, why in refused.json()["detail"]) == (status, True), refused.text
    await offered.call("POST", "/v1/accounts/a1/closing", {"reason": "over"}, idempotency_key="c")
    assert (await offered.top_up("10", offer="spring")).json()["type"].endswith(":account-closed")
    asked = {"amount": "10", "offer": "spring"}
    refused = await offered.call("POST", "/v1/accounts/a1/topups/quote", asked)
    assert refused.json()["type"].endswith(":account-closed")
    assert (await offered.call("GET", "/v1/accounts/a1")).json()["seq"] == 0


async def test_a_reversal_takes_the_bonus_back(offered: ApiHarness) -> None:
    done = (await offered.top_up("20.00", offer="spring")).json()["entries"]
    await offered.sync()
    back = {"reason": "charged back", "entry": done[0]["seq"]}
    taken = await offered.call("POST", "/v1/accounts/a1/reversals", back, idempotency_key="r")
    assert taken.status_code == 201, taken.text
    assert sorted(one["amount"] for one in taken.json()["entries"]) == ["-1073741824", "-20.00", "-4.00"]
    left = (await offered.call("GET", "/v1/accounts/a1")).json()["buckets"]
    assert {one["amount"] for one in left} <= {"0.00", "0"}
    spent = (await offered.top_up("10.00", offer="spring")).json()["entries"]
    await use(offered, "gw;1", 5)
    await offered.sync()
    refused = await offered.call(
        "POST", "/v1/accounts/a1/reversals", back | {"entry": spent[0]["seq"]}, idempotency_key="s"
    )
    assert (refused.status_code, refused.json()["type"][16:]) == (409, "insufficient-funds")


amounts = st.integers(1, 10**10)


@given(amounts, st.integers(0, 99_999), st.sampled_from((1, 10_000, 50_000, 1_000_000)), st.none() | amounts)
def test_a_percentage_is_rounded_down_once_and_never_more_than_the_most(
    paid: int, parts: int, step: int, most: int | None
) -> None:
    bonus = OfferBonus(fixed=7, parts=parts, step=step, most=most, priority=50)
    exact = paid * parts  # in 1 / 10,000 of a micro-unit
    if most is not None:
        assert bonus.of(paid) <= most
    given = msgspec.structs.replace(bonus, most=None).of(paid) - 7
    assert given % step == 0
    assert given * 10_000 <= exact < (given + step) * 10_000


async def test_an_offer_prolongs_a_grace(harness: ApiHarness) -> None:
    band = {"minimum": "5.00", "grace_days": 14}
    assert (await harness.call("PUT", OFFER, {"currency": "EUR", "bands": [band]})).status_code == 201
    assert (await harness.call("GET", OFFER)).json()["bands"][0]["grace_days"] == 14
    soon = datetime.now(UTC) + timedelta(days=2)
    await harness.account(state="grace", grace_until=soon.isoformat())
    await harness.account("a2")
    body = {"amount": "5.00", "offer": "spring"}
    quoted = [(await harness.call("POST", f"/v1/accounts/{one}/topups/quote", body)).json() for one in ("a1", "a2")]
    assert quoted[1]["grace_until"] is None
    for account in ("a1", "a2"):
        assert (await harness.top_up("5.00", account, offer="spring")).status_code == 201
    one, two = [(await harness.call("GET", f"/v1/accounts/{account}")).json() for account in ("a1", "a2")]
    assert one["state"] == "grace"
    until = datetime.fromisoformat(one["grace_until"]) - datetime.now(UTC)
    assert timedelta(days=13, hours=23) < until <= timedelta(days=14)
    assert quoted[0]["grace_until"] <= one["grace_until"]
    assert (two["state"], two["grace_until"]) == ("active", None)


async def test_an_offer_gives_units_with_money_as_one_bucket(offered: ApiHarness) -> None:
    units = {"kind": "seconds", "amount": "6000", "money": "5.00", "days": 30, "scope": ["data"], "name": "both"}
    body = {"currency": "EUR", "bands": [{"minimum": "10", "units": [units, {"kind": "units", "amount": "3"}]}]}
    assert (await offered.call("PUT", OFFER, body, if_match='"1"')).status_code == 200
    first, second = (await offered.call("GET", OFFER)).json()["bands"][0]["units"]
    assert (first["amount"], first["money"], second["money"]) == ("6000", "5.00", None)
    quote = (await offered.call("POST", "/v1/accounts/a1/topups/quote", {"amount": "10", "offer": "spring"})).json()
    assert [(one["kind"], one["amount"], one["money"]) for one in quote["gives"]] == [
        *(("seconds", "6000", "5.00"), ("units", "3", None)),
    ]
    done = await offered.top_up("10.00", offer="spring")
    assert done.status_code == 201, done.text
    both = (await buckets(offered))["both"]
    assert (both["amount"], both["money"]["amount"], both["bonus"]) == ("6000", "5.00", True)
    await offered.sync()
    paid = next(one["seq"] for one in done.json()["entries"] if one["why"] == "top-up")
    taken = await offered.call(
        "POST", "/v1/accounts/a1/reversals", {"entry": paid, "reason": "bounced"}, idempotency_key="k"
    )
    assert taken.status_code == 201, taken.text
    left = (await offered.call("GET", "/v1/accounts/a1")).json()
    assert left["balance"] == "0.00"
    assert {
        (one["amount"], one["money"] and one["money"]["amount"]) for one in left["buckets"] if one["name"] == "both"
    } == {("0", "0.00")}


PRICED = {"kind": "octets", "amount": str(4 * MB), "scope": ["data"], "name": "cheap", "price": "0.005", "per": MB}


async def test_an_offer_gives_units_with_a_price(offered: ApiHarness) -> None:
    """Once the store keeps prices; a reversal takes back what is left."""
    body = {"currency": "EUR", "bands": [{"minimum": "10", "units": [PRICED | {"money": "1.00"}]}]}
    early = await offered.call("PUT", OFFER, body, if_match='"1"')
    assert (early.status_code, "format 3" in early.text) == (409, True)
    await offered.pool.execute("UPDATE store SET format = 3")
    assert (await offered.call("PUT", OFFER, body, if_match='"1"')).status_code == 200
    shown = (await offered.call("GET", OFFER)).json()
    again = {key: shown[key] for key in ("currency", "bands", "description")}
    assert (await offered.call("PUT", OFFER, again, if_match='"2"')).status_code == 200
    [units] = shown["bands"][0]["units"]
    assert (units["price"], units["per"], units["money"]) == ("0.005", MB, "1.00")
    quote = (await offered.call("POST", "/v1/accounts/a1/topups/quote", {"amount": "10", "offer": "spring"})).json()
    assert [(one["price"], one["per"], one["money"]) for one in quote["gives"]] == [("0.005", MB, "1.00")]
    done = await offered.top_up("10.00", offer="spring")
    assert done.status_code == 201, done.text
    cheap = (await buckets(offered))["cheap"]
    assert (cheap["price"], cheap["per"], cheap["amount"], cheap["bonus"]) == ("0.005", MB, str(4 * MB), True)
    await offered.sync()
    paid = next(one["seq"] for one in done.json()["entries"] if one["why"] == "top-up")
    back = {"entry": paid, "reason": "bounced"}
    taken = await offered.call("POST", "/v1/accounts/a1/reversals", back, idempotency_key="k")
    assert taken.status_code == 201, taken.text
    left = (await buckets(offered))["cheap"]
    assert (left["amount"], left["money"]["amount"]) == ("0", "0.00")


@pytest.mark.parametrize(
    ("more", "why"),
    [({"price": "0"}, "price"), ({"per": 0}, "per"), ({"price": "67.108865", "per": 2}, "bands[0].units[0].per")],
    ids=["nothing", "for nothing", "too fine"],
)
async def test_prices_that_no_offer_can_have(harness: ApiHarness, more: dict[str, Any], why: str) -> None:
    bands = [{"minimum": "1", "units": [PRICED | more]}]
    refused = await harness.call("PUT", OFFER, {"currency": "EUR", "bands": bands})
    assert (refused.status_code, why in refused.text) == (422, True), refused.text
