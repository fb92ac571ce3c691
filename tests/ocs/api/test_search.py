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
