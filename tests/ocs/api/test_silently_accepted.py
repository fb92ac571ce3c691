"""What could never have an effect, or not the one that was meant, is refused and not stored."""

from __future__ import annotations

import pytest

from tests.ocs.api_harness import ApiHarness

TAGGED = """
tariff = "tagged"
currency = "EUR"
[[rows]]
name = "pass"
when = { service = "data" }
bundle = { per = "1 MB", scope = "weekend-pass" }
[[rows]]
name = "rest"
when = { service = "data" }
flat = { price = "0.01", per = "1 MB" }
"""


async def test_a_bucket_for_no_configured_service_is_refused(harness: ApiHarness) -> None:
    await harness.account()
    refused = await harness.top_up("5.00", scope=["voice", "dta"])
    assert refused.status_code == 422
    assert "scope: expected some of " in refused.json()["detail"]
    assert "voice" in refused.json()["detail"]
    assert "found 'dta'" in refused.json()["detail"]
    account = (await harness.call("GET", "/v1/accounts/a1")).json()
    assert (account["balance"], len(account["buckets"])) == ("0.00", 1)
    assert (await harness.top_up("5.00", scope=["voice", "data"])).status_code == 201


async def test_a_bucket_for_the_tag_of_a_published_tariff_is_not(harness: ApiHarness) -> None:
    await harness.account()
    assert (await harness.top_up("1000", kind="octets", scope=["weekend-pass"])).status_code == 422
    await harness.tariff(TAGGED, "tagged")
    assert (await harness.top_up("1000", kind="octets", scope=["weekend-pass"])).status_code == 201


@pytest.mark.parametrize(
    "body",
    [
        '{"amount": "1.00", "amount": "100.00"}',
        '{"amount": "1.00", "\\u0061mount": "100.00"}',
        '{"amount": "1.00", "scope": [], "scope": ["data"]}',
    ],
)
async def test_a_member_given_twice_is_refused_by_name(harness: ApiHarness, body: str) -> None:
    await harness.account()
    answer = await harness.call("POST", "/v1/accounts/a1/topups", body, idempotency_key="k1")
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:ocs:problem:malformed")
    assert answer.json()["detail"].split(":")[0] in ("amount", "scope")
    assert (await harness.call("GET", "/v1/accounts/a1")).json()["balance"] == "0.00"


async def test_also_deep_inside(harness: ApiHarness) -> None:
    await harness.account()
    body = '{"account": "a1", "identities": ["msisdn:4917"], "tariffs": [{"tariff": "a", "tariff": "b"}]}'
    answer = await harness.call("PUT", "/v1/subscribers/s1", body)
    assert (answer.status_code, answer.json()["detail"]) == (400, "tariff: given twice in one object")


async def test_and_in_tariffs(harness: ApiHarness) -> None:
    body = '{"tariff": "t", "currency": "EUR", "currency": "USD", "rows": []}'
    answer = await harness.call("PUT", "/v1/tariffs/t", body, content_type="application/json")
    assert answer.status_code == 422
    assert "given twice" in answer.text


async def test_a_reference_is_no_key(harness: ApiHarness) -> None:
    """It says so where it is described; the same one again is another posting."""
    await harness.account()
    for _ in range(2):
        assert (await harness.top_up("1.00", reference="invoice 7")).status_code == 201
    assert (await harness.call("GET", "/v1/accounts/a1")).json()["balance"] == "2.00"
    described = (await harness.client.get("/openapi.json")).json()["components"]["schemas"]["TopUp"]["properties"]
    assert "not a key" in str(described["reference"])


async def test_a_tariff_in_a_currency_nobody_has_is_refused(harness: ApiHarness) -> None:
    answer = await harness.call(
        "PUT", "/v1/tariffs/tagged", TAGGED.replace("EUR", "EUA"), content_type="application/toml"
    )
    assert answer.status_code == 422
    assert "currency: expected an ISO 4217 code such as EUR, not EUA" in answer.json()["detail"]


async def test_an_empty_list_of_conditions_prices_nobody_by_accident(harness: ApiHarness) -> None:
    text = TAGGED.replace('{ service = "data" }', "{ service = [] }", 1)
    answer = await harness.call("PUT", "/v1/tariffs/tagged", text, content_type="application/toml")
    assert answer.status_code == 422
    assert answer.json()["key"] == "rows[1].when.service"


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("limit=1e2", "limit: expected a whole number in digits, found '1e2'"),
        ("limit=5.0", "limit: expected a whole number in digits, found '5.0'"),
        ("rating_group=null", "rating_group: expected a value, or leave it out"),
    ],
)
async def test_a_parameter_is_what_it_says(harness: ApiHarness, query: str, why: str) -> None:
    path = "/v1/explain/event" if "rating" in query else "/v1/accounts"
    asked = f"{path}?{query}" + ("&service=data&subscriber=s1" if "rating" in query else "")
    answer = await harness.call("GET", asked)
    assert (answer.status_code, answer.json()["detail"]) == (422, why)
    assert (await harness.call("GET", "/v1/accounts?limit=5")).status_code == 200
