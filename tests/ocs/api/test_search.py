"""What a care desk looks for: by what a caller says, in whatever spelling."""

from urllib.parse import quote

import pytest

from tests.ocs.api_harness import ApiHarness

SAID = {
    "msisdn:491701234567": ["s1"],
    "+49 170 123 4567": ["s1"],
    "0049-170-1234567": ["s1"],
    "00491701234567": ["s1"],
    "tel:+49-170-1234567": ["s1"],
    "sip:+491701234567@ims.example.net": ["s1"],
    "sip:Anna@Example.net": ["s2"],
    "anna@example.net": ["s2"],
    "001 01 0000000002": ["s2"],
    "aa-bb-cc-dd-ee-ff": ["s2"],
    "AA:BB:CC:DD:EE:FF": ["s2"],
    "s2": ["s2"],
    "170 123 4567": [],
    "nobody": [],
}


async def found(harness: ApiHarness, text: str) -> tuple[list[str], list[str]]:
    answer = await harness.call("GET", f"/v1/search?q={quote(text)}")
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()["accounts"]], [one["id"] for one in answer.json()["subscribers"]]


async def test_whatever_a_caller_says(harness: ApiHarness) -> None:
    await harness.tariff()
    await harness.account("a1", customer="C-1007", tags=["vip", "berlin"])
    await harness.account("a2", customer="C-1007")
    await harness.account("a3", tags=["berlin"])
    await harness.subscriber("s1", "a1", "msisdn:+491701234567", payers={"data": "a3"})
    await harness.subscriber("s2", "a2", "sip:anna@example.net", "imsi:001010000000002", "mac:aabbccddeeff")
    for text, people in SAID.items():
        assert (await found(harness, text))[1] == people, text
    assert await found(harness, "+49 170 1234567") == (["a1", "a3"], ["s1"])  # with all who pay
    assert (await found(harness, "C-1007"))[0] == ["a1", "a2"]
    assert (await found(harness, "berlin"))[0] == ["a1", "a3"]
    assert (await found(harness, "a2")) == (["a2"], [])


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("customer=C-1", ["a1", "a2"]),
        ("tag=vip", ["a2", "a3"]),
        ("customer=C-1&tag=vip", ["a2"]),
        ("limit=2", ["a1", "a2"]),
    ],
    ids=["customer", "tag", "both", "all"],
)
async def test_accounts_of_a_customer_or_with_a_tag(harness: ApiHarness, query: str, expected: list[str]) -> None:
    await harness.account("a1", customer="C-1")
    await harness.account("a2", customer="C-1", tags=["vip"])
    await harness.account("a3", tags=["vip", "late"])
    answer = await harness.call("GET", f"/v1/accounts?{query}")
    assert [one["id"] for one in answer.json()["items"]] == expected


STANDING = {
    "state=active": ["a1", "a2", "a3", "u1"],
    "state=created": ["c1"],
    "state=closed": ["x1"],
    "state=grace": ["g1"],
    "state=suspended": ["s1", "s2"],
    "suspended_for=fraud": ["s2"],
    "suspended_for=operator": ["s1", "s2"],
    "currency=USD": ["u1"],
    "currency=EUR&free_below=0": ["a1"],
    "currency=EUR&free_from=0&free_below=10": ["c1", "g1", "s1", "s2", "x1"],
    "currency=EUR&free_from=10.00&free_below=30": ["a2"],
    "currency=EUR&free_from=10&state=active": ["a2", "a3"],
    "currency=EUR&free_from=10&tag=vip": ["a3"],
    "state=active&customer=C-1": ["a1", "a3"],
    "state=active&identity=%2B49 1": ["a3"],
    "identity=0049-1": ["a3"],
    "identity=nobody": [],
    "tag=vip&state=closed": [],
}


async def ids(harness: ApiHarness, query: str) -> list[str]:
    answer = await harness.call("GET", f"/v1/accounts?{query}")
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()["items"]]


async def test_accounts_by_where_they_stand(harness: ApiHarness) -> None:
    """All that is said is meant together; of money only what is free counts, and the limit of credit does not."""
    await harness.tariff()
    await harness.account("a1", credit_limit="50", customer="C-1")
    await harness.call("POST", "/v1/accounts/a1/adjustments", {"amount": "-3", "reason": "r"}, idempotency_key="k")
    for account, amount in (("a2", "20"), ("a3", "30")):
        await harness.account(account, customer="C-1" if account == "a3" else "", tags=["vip"])
        await harness.top_up(amount, account)
    await harness.call("PUT", "/v1/accounts/a2", {"currency": "EUR", "tags": []}, if_match="*")
    await harness.top_up("100", "a2", scope=["data"])  # pays for data alone
    await harness.subscriber("p", "a3", "msisdn:491")
    await harness.account("u1", currency="USD")
    await harness.account("c1", state="created")
    await harness.account("g1", state="grace", grace_until="2099-01-01T00:00:00Z")
    await harness.account("s1", state="suspended", suspend_for="operator")
    await harness.account("s2", state="suspended", suspend_for="operator")
    more = {"currency": "EUR", "state": "suspended", "suspend_for": "fraud"}
    assert (await harness.call("PUT", "/v1/accounts/s2", more, if_match="*")).status_code == 200
    await harness.account("x1", state="closed")
    fresh = (await harness.call("GET", "/v1/accounts?limit=1")).json()["items"][0]
    assert (fresh["id"], fresh["state"], fresh["free"]) == ("a1", None, None)  # nothing is copied yet
    await harness.sync()
    for query, expected in STANDING.items():
        assert sorted(await ids(harness, query)) == expected, query
    answer = (await harness.call("GET", "/v1/accounts?suspended_for=fraud")).json()["items"][0]
    assert (answer["state"], answer["suspended_for"], answer["free"]) == ("suspended", ["fraud", "operator"], "0.00")


async def test_pages_of_accounts_by_money(harness: ApiHarness) -> None:
    """Who has least comes first, equal ones by id; each once."""
    for number in range(7):
        await harness.account(f"a{number}")
        await harness.top_up(str(1 + number % 3), f"a{number}")
    await harness.sync()
    found: list[tuple[str, str]] = []
    after: str | None = ""
    while after is not None:
        page = (await harness.call("GET", f"/v1/accounts?currency=EUR&limit=2&after={after}")).json()
        found += [(one["free"], one["id"]) for one in page["items"]]
        after = page["next"]
    assert found == sorted((f"{1 + number % 3}.00", f"a{number}") for number in range(7))
    refused = await harness.call("GET", "/v1/accounts?currency=EUR&after=a1")
    assert (refused.status_code, refused.json()["detail"].split(":")[0]) == (422, "after")
    refused = await harness.call("GET", "/v1/accounts?free_below=0")
    assert (refused.status_code, refused.json()["detail"].split(":")[0]) == (422, "currency")
