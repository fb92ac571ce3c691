"""Quotes and explanations, from charges that were really made."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest

from balances import keys
from balances.structs.charge import Result
from tests.ocs.api_harness import ApiHarness
from tests.ocs.charging.wire import VOICE, I, T, U, ccr, lines, mscc

CALLS = """
tariff = "calls"
currency = "EUR"
zone = "Europe/Berlin"
[numbers]
country = "49"
[tables.world]
"49" = "home"
"33" = "France"
[bands.peak]
hours = "08:00-20:00"
[[discounts]]
name = "gold"
when = { subscriber = { segment = "gold" } }
percent = 50
[[taxes]]
name = "VAT"
percent = 19
included = true
[[rows]]
name = "included"
when = { service = "voice", to = "world:home" }
bundle = { per = "1 min" }
[[rows]]
name = "day"
when = { service = "voice", to = "world:home", time = "peak" }
flat = { price = "0.20", per = "1 min" }
[[rows]]
name = "night"
when = { service = "voice", to = "world:home" }
flat = { price = "0.10", per = "1 min" }
[[rows]]
name = "abroad"
when = { service = "voice", to = "world" }
flat = { price = "0.50", per = "1 min" }
setup = { fee = "0.10" }
"""
NOON = "2026-11-24T12:00:00+01:00"


@pytest.fixture
async def open_office(harness: ApiHarness) -> ApiHarness:
    await harness.account()
    await harness.top_up("10.00")
    await harness.tariff(CALLS, "calls")
    made = await harness.subscriber(
        "s1", "a1", "msisdn:491700000001", tariffs=[{"tariff": "calls"}], attributes={"segment": "gold"}
    )
    assert made.status_code == 201, made.text
    return harness


async def asked(harness: ApiHarness, path: str, **query: Any) -> dict[str, Any]:
    found = await harness.call("GET", f"{path}?{urlencode(query)}" if query else path)
    assert found.status_code == 200, found.text
    return dict(found.json())


async def test_a_quote_asks_like_the_network_and_touches_nothing(open_office: ApiHarness) -> None:
    await open_office.charge(ccr(I, service_context_id=VOICE, **lines(mscc(None, ask={}))))  # to read the catalogue
    body = {"subscriber": "s1", "service": "voice", "called": "0033123", "amount": 61, "at": NOON}
    found = await open_office.call("POST", "/v1/quote", body)
    assert found.json() == {
        "priced": True,
        "reason": "",
        "price": "0.60",
        "currency": "EUR",
        "amount": 61,
        "unit": "seconds",
        "tariff": "calls@1:abroad",
    }
    nothing = await open_office.call("POST", "/v1/quote", body | {"amount": 0})
    assert (nothing.json()["priced"], nothing.json()["price"]) == (True, "0.00")
    await open_office.top_up("60", kind="seconds", scope=["voice"])
    home = await open_office.call("POST", "/v1/quote", body | {"called": "030123"})
    assert home.json()["price"] == "0.10"  # a minute is in the bundle, the next one half price
    entries = (await open_office.call("GET", "/v1/accounts/a1")).json()
    assert (entries["balance"], entries["held"]) == ("10.00", "0.00")


async def test_a_quote_says_why_there_is_no_price(open_office: ApiHarness) -> None:
    await open_office.charge(ccr(I, service_context_id=VOICE, **lines(mscc(None, ask={}))))
    body = {"subscriber": "s1", "service": "voice", "called": "0044123"}
    found = await open_office.call("POST", "/v1/quote", body)
    assert (found.json()["priced"], found.json()["price"]) == (False, None)
    assert found.json()["reason"] == "no row of the subscriber's tariffs matches"
    wrong = await open_office.call("POST", "/v1/quote", body | {"service": "fax"})
    assert wrong.status_code == 422
    assert "expected one of data, voice" in wrong.json()["detail"]
    nobody = await open_office.call("POST", "/v1/quote", {"service": "voice"})
    assert nobody.status_code == 422


async def test_why_a_use_would_cost_what_it_does(open_office: ApiHarness) -> None:
    await open_office.charge(ccr(I, service_context_id=VOICE, **lines(mscc(None, ask={}))))
    found = await asked(
        open_office, "/v1/explain/event", subscriber="s1", service="voice", called="+4930123", amount=61, at=NOON
    )
    assert found["price"] == "0.20"
    told = found["explanation"]
    assert told["why"] == "calls@1:included+day"
    assert [(row["row"], row["fate"]) for row in told["rows"]] == [
        ("included", "prices"),
        ("day", "prices"),
        ("night", "not asked"),
        ("abroad", "not asked"),
    ]
    assert told["prices"][0]["changes"] == [{"name": "gold", "price": "0.1"}]
    assert told["timeline"][0]["until"] == "2026-11-24 20:00:00+01:00"
    assert found["blocks"] == ["step 2: 2 min in 2 blocks at 0.1 = 0.2"]
    night = await asked(
        open_office, "/v1/explain/event", subscriber="s1", service="voice", called="+4930123", at="2026-11-24T22:00:00Z"
    )
    lost = {row["row"]: row["why"] for row in night["explanation"]["rows"] if row["fate"] == "lost"}
    assert lost == {"day": "its time is peak, and no band holds"}


async def test_why_an_entry_is_what_it_is(open_office: ApiHarness) -> None:
    await open_office.top_up("90", kind="seconds", scope=["voice"])
    information = called("tel:+4930123")
    await open_office.charge(ccr(I, service_context_id=VOICE, **lines(mscc(None, ask={})), **information))
    await open_office.charge(
        ccr(T, service_context_id=VOICE, cc_request_number=1, **lines(mscc(None, used={"cc_time": 150})), **information)
    )
    await open_office.sync()
    ledger = (await open_office.call("GET", "/v1/accounts/a1/ledger")).json()["items"]
    seq = next(entry["seq"] for entry in ledger if entry["why"] == "usage" and entry["kind"] == "money")
    found = await asked(open_office, f"/v1/explain/accounts/a1/entries/{seq}")
    piece = found["piece"]
    assert piece["reproduced"]
    assert found["same_ladder"]
    assert [paid["kind"] for paid in piece["paid"]] == ["seconds", "money"]
    assert piece["paid"][0]["amount"] == "-90"
    money = piece["paid"][1]
    net = {"-0.10": ("-0.084034", "-0.015966"), "-0.05": ("-0.042017", "-0.007983")}[money["amount"]]
    assert (money["net"], money["tax"]) == net  # by night or by day
    assert piece["blocks"][0] == "step 1: 60 s, paid with 60 s of bundles"
    entry = next(entry for entry in ledger if entry["seq"] == seq)
    assert (entry["net"], entry["tax"], entry["exchange_rate"], entry["original_seq"]) == (*net, "", None)
    assert [one["tax"] for one in ledger if one["why"] == "top-up"] == [None, None]
    assert found["rating"]["why"].startswith("calls@1:included+")
    assert found["rating"]["facts"]["to world"] == "home (prefix 49)"

    session = await asked(open_office, "/v1/explain/sessions/gw.example.net;1700000000;1")
    assert session["cost"] == money["amount"].removeprefix("-")
    assert [(one["phase"], one["granted"] > 0, one["used"]) for one in session["pieces"]] == [
        ("start", True, 0),
        ("stop", False, 150),
    ]


async def test_a_session_id_used_again_is_told_apart(open_office: ApiHarness) -> None:
    """Each incarnation begins anew, with its fee; and an account that Redis lost comes back with the newest one,
    where it is, and what it was granted."""
    name, now_ms = "gw.example.net;1700000000;1", open_office.now_ms()
    information = called("tel:+33123")
    said = {"service_context_id": VOICE, **information}
    for times in range(3):
        at_ms = now_ms + times * 300_000
        await open_office.charge(ccr(I, **said, **lines(mscc(None, ask={}))), at_ms)
        if times < 2:
            report = lines(mscc(None, used={"cc_time": 30}))
            await open_office.charge(ccr(T, cc_request_number=1, **said, **report), at_ms + 30_000)
    await open_office.sync()
    found = await asked(open_office, f"/v1/explain/sessions/{name}")
    assert [(one["incarnation"], one["phase"], one["used"], one["cost"]) for one in found["pieces"]] == [
        *((1, "start", 0, "0.00"), (1, "stop", 30, "0.35")),
        *((2, "start", 0, "0.00"), (2, "stop", 30, "0.35")),
        (3, "start", 0, "0.00"),
    ]
    assert all(one["reproduced"] for one in found["pieces"])
    assert found["pieces"][2]["flags"] == ["reused"]
    ledger = (await open_office.call("GET", "/v1/accounts/a1/ledger")).json()["items"]
    assert {entry["incarnation"] for entry in ledger if entry["session"]} == {1, 2}

    await open_office.redis.delete(keys.account("a1"), keys.where(name))
    shown = await asked(open_office, f"/v1/sessions/{name}")
    assert (shown["incarnation"], shown["state"]) == (3, "open")
    assert await open_office.redis.get(keys.where(name)) == keys.place("a1", "s1").encode()
    report = lines(mscc(None, used={"cc_time": 30}))
    nobody = ccr(T, cc_request_number=1, service_context_id=VOICE, subscription_id=None, **report)
    answer = await open_office.charge(nobody, now_ms + 700_000)
    assert answer.result is Result.OK
    account = (await open_office.call("GET", "/v1/accounts/a1")).json()
    assert account["available"] == "8.95"


async def test_an_entry_of_a_top_up_pays_no_use(open_office: ApiHarness) -> None:
    await open_office.sync()
    found = await asked(open_office, "/v1/explain/accounts/a1/entries/1")
    assert (found["why"], found["piece"], found["rating"]) == ("top-up", None, None)
    assert (await open_office.call("GET", "/v1/explain/accounts/a1/entries/99")).status_code == 404
    assert (await open_office.call("GET", "/v1/explain/sessions/nobody")).status_code == 404
    assert (await open_office.call("GET", "/v1/explain/accounts/a1/entries/x")).status_code == 422


async def test_what_was_corrected_says_so(open_office: ApiHarness) -> None:
    information = called("tel:+33123456")
    await open_office.charge(ccr(I, service_context_id=VOICE, **lines(mscc(None, ask={})), **information))
    await open_office.charge(
        ccr(T, service_context_id=VOICE, cc_request_number=1, **lines(mscc(None, used={"cc_time": 60})), **information)
    )
    await open_office.sync()
    seq = (await open_office.call("GET", "/v1/accounts/a1/ledger")).json()["items"][-1]["seq"]
    usage = (await asked(open_office, f"/v1/explain/accounts/a1/entries/{seq}"))["piece"]["usage"]
    body = {"amount": "0.10", "reason": "dearer by mistake", "reference": f"usage {usage}", "original_seq": seq}
    done = await open_office.call("POST", "/v1/accounts/a1/corrections", body, idempotency_key="k1")
    assert done.status_code == 201, done.text
    await open_office.sync()
    corrected = await asked(open_office, f"/v1/explain/accounts/a1/entries/{seq}")
    (correction,) = corrected["piece"]["corrections"]
    assert corrected["corrections"] == [correction["seq"]]
    assert (correction["amount"], correction["reason"]) == ("0.10", "dearer by mistake")
    listed = (await open_office.call("GET", "/v1/accounts/a1/ledger")).json()["items"]
    assert [(one["seq"], one["original_seq"]) for one in listed[-2:]] == [(seq, None), (correction["seq"], seq)]
    entry = await asked(open_office, f"/v1/explain/accounts/a1/entries/{correction['seq']}")
    assert (entry["why"], entry["reason"], entry["piece"]) == ("rerate", "dearer by mistake", corrected["piece"])
    session = await asked(open_office, "/v1/explain/sessions/gw.example.net;1700000000;1")
    assert (session["cost"], session["corrected"]) == ("0.35", "0.10")
    assert session["pieces"][-1] == corrected["piece"]
    body |= {"reference": "by letter", "original_seq": 0}  # of no usage record
    await open_office.call("POST", "/v1/accounts/a1/corrections", body, idempotency_key="k2")
    await open_office.sync()
    assert (await asked(open_office, f"/v1/explain/accounts/a1/entries/{correction['seq'] + 1}"))["piece"] is None


async def test_the_explanation_stays_when_the_tariff_changes(open_office: ApiHarness) -> None:
    information = called("tel:+33123456")
    await open_office.charge(ccr(I, service_context_id=VOICE, **lines(mscc(None, ask={})), **information))
    await open_office.charge(
        ccr(U, service_context_id=VOICE, cc_request_number=1, **lines(mscc(None, used={"cc_time": 60})), **information)
    )
    await open_office.sync()
    await open_office.tariff(CALLS.replace('"0.50"', '"0.90"'), "calls")
    ledger = (await open_office.call("GET", "/v1/accounts/a1/ledger")).json()["items"]
    found = await asked(open_office, f"/v1/explain/accounts/a1/entries/{ledger[-1]['seq']}")
    assert found["amount"] == "-0.35"  # half of 0.50, and the whole fee: discounts of fees are told apart
    assert found["piece"]["blocks"] == ["set-up fee: 0.1", "step 1: 60 s in 1 block at 0.25 = 0.25"]
    assert found["rating"]["why"] == "calls@1:abroad"
    assert found["same_ladder"]


NUMBERS = """
tariff = "calls"
currency = "EUR"
numbers = { country = "1", international = "011", national = "1", national_digits = [12] }
tables.world = { "1" = "home", "49" = "Germany" }
[[rows]]
when = { service = "voice", to = "world:home" }
flat = { price = "0.01", per = "1 min" }
[[rows]]
when = { service = "voice", to = "world:Germany" }
flat = { price = "0.50", per = "1 min" }
"""


@pytest.mark.parametrize(
    "number", ["+493012345678", "tel:+49-3012345678", "sip:+493012345678@ims.example.net;user=phone"]
)
async def test_a_number_is_read_alike_by_the_network_and_by_a_quote(open_office: ApiHarness, number: str) -> None:
    """The "+" says that a country code comes first, whatever numbers of as many digits are without it."""
    await open_office.tariff(NUMBERS, "calls")
    await open_office.charge(ccr(I, service_context_id=VOICE, **lines(mscc(None, ask={})), **called(number)))
    await open_office.charge(
        ccr(
            U,
            service_context_id=VOICE,
            cc_request_number=1,
            **lines(mscc(None, used={"cc_time": 60})),
            **called(number),
        )
    )
    assert (await open_office.call("GET", "/v1/accounts/a1")).json()["balance"] == "9.50"
    found = await open_office.call("POST", "/v1/quote", {"subscriber": "s1", "service": "voice", "called": number})
    assert found.json()["price"] == "0.50"


async def test_facts_are_read_as_the_network_says_them(open_office: ApiHarness) -> None:
    """A quote for the same place and equipment, however they are written, has the price of a charge."""
    await open_office.tariff(
        """
tariff = "calls"
currency = "EUR"
[[rows]]
when = { service = "data", visited = "26201", equipment = "0a0b0c0d0e0f", charging_characteristics = "0a00" }
flat = { price = "1.00", per = "1 MB" }
[[rows]]
when = { service = "data" }
flat = { price = "0.01", per = "1 MB" }
""",
        "calls",
    )
    said = {"subscriber": "s1", "service": "data", "amount": 1, "unit": "octets"}
    for visited in ("26201", "262-01", "ims.mnc001.mcc262.3gppnetwork.org"):
        facts = {"visited": visited, "equipment": "0A0B0C0D0E0F", "charging_characteristics": "0A00"}
        answer = await open_office.call("POST", "/v1/quote", said | facts)
        assert answer.json()["price"] == "1.00", visited


async def test_an_amount_in_another_unit_has_no_price(open_office: ApiHarness) -> None:
    await open_office.charge(ccr(I, service_context_id=VOICE, **lines(mscc(None, ask={}))))  # to read the catalogue
    body = {"subscriber": "s1", "service": "voice", "called": "0033123456", "amount": 100, "unit": "octets", "at": NOON}
    refused = await open_office.call("POST", "/v1/quote", body)
    assert (refused.status_code, "prices seconds, not octets" in refused.text) == (422, True)
    refused = await open_office.call("GET", f"/v1/explain/event?{urlencode(body)}")
    assert (refused.status_code, "prices seconds, not octets" in refused.text) == (422, True)


def called(number: str) -> dict[str, Any]:
    from protocol.diameter.dictionary.tgpp_charging import ImsInformation, ServiceInformation

    return {"service_information": ServiceInformation(ims_information=ImsInformation(called_party_address=number))}


async def test_a_use_longer_than_one_ladder_knows_is_priced_to_its_end(harness: ApiHarness) -> None:
    """One hour of day, seven of night, four of day: 6.00 + 4.20 + 24.00, by the quote and by the explanation; and what
    was charged is explained piece by piece."""
    await harness.account()
    await harness.top_up("50.00")
    await harness.tariff(
        """
        tariff = "night"
        currency = "EUR"
        zone = "Europe/Berlin"
        bands.night = { hours = "20:00-03:00" }
        [[rows]]
        name = "night"
        when = { service = "voice", time = "night" }
        flat = { price = "0.01", per = "1 min" }
        [[rows]]
        name = "day"
        when = { service = "voice" }
        flat = { price = "0.10", per = "1 min" }
        """,
        "night",
    )
    await harness.subscriber("s1", "a1", "msisdn:491700000001", tariffs=[{"tariff": "night"}])
    await harness.charge(ccr(I, service_context_id=VOICE, **lines(mscc(None, ask={}))))  # to read the catalogue
    event = {"subscriber": "s1", "service": "voice", "amount": 12 * 3_600, "at": "2026-11-24T19:00:00+01:00"}
    found = await harness.call("POST", "/v1/quote", event)
    assert found.json()["price"] == "34.20"
    explained = await asked(harness, "/v1/explain/event", **event)
    assert explained["price"] == "34.20"
