"""Quotes and explanations from the command line, as a person reads them."""

import json

import pytest

from tests.ocs.api_harness import ApiHarness
from tests.ocs.charging.wire import VOICE, I, T, U, ccr, lines, mscc
from tests.ocs.cli.conftest import Run

CALLS = """
tariff = "calls"
currency = "EUR"
zone = "Europe/Berlin"
[bands.night]
hours = "20:00-08:00"
[[rows]]
name = "night"
when = { service = "voice", time = "night" }
flat = { price = "0.05", per = "1 min" }
[[rows]]
name = "day"
when = { service = "voice" }
flat = { price = "0.10", per = "1 min", increment = "60/1" }
setup = { fee = "0.02" }
"""


@pytest.fixture
async def called(harness: ApiHarness) -> ApiHarness:
    await harness.account()
    await harness.top_up("10.00")
    await harness.tariff(CALLS, "calls")
    await harness.subscriber("s1", "a1", "msisdn:491700000001", tariffs=[{"tariff": "calls"}])
    at_ms = harness.now_ms()
    await harness.charge(ccr(I, service_context_id=VOICE, **lines(mscc(None, ask={}))), at_ms)
    last = ccr(T, service_context_id=VOICE, cc_request_number=1, **lines(mscc(None, used={"cc_time": 61})))
    await harness.charge(last, at_ms + 61_000)
    await harness.sync()
    return harness


async def test_a_quote(ocs: Run, called: ApiHarness) -> None:
    asked = ("tariff", "quote", "msisdn:491700000001", "--service", "voice", "--amount", "61 s")
    found = await ocs(*asked, "--at", "2026-11-24T12:00:00+01:00")
    assert (found.exit_code, found.stdout) == (0, "0.121667 EUR for 61 seconds, by calls@1:day\n")
    none = await ocs("tariff", "quote", "s1", "--service", "data")
    assert none.stdout == "no price: no row of the subscriber's tariffs matches\n"
    wrong = await ocs(*asked, "--amount", "3 parsec")
    assert wrong.exit_code == 2


async def test_why_a_use_would_cost_so_much(ocs: Run, called: ApiHarness) -> None:
    asked = ("tariff", "explain", "event", "s1", "--service", "voice", "--amount", "2 min")
    found = await ocs(*asked, "--at", "2026-11-24T19:59:30+01:00")
    assert found.exit_code == 0, found.stderr
    assert found.stdout.splitlines() == [
        "2026-11-24 19:59:30+01:00 (Europe/Berlin): priced by calls@1:day",
        "looked at:",
        "  service = voice",
        "rows:",
        "  lost      calls@1:night  its time is night, and no band holds",
        "  prices    calls@1:day",
        "time line:",
        "  2026-11-24 19:59:30+01:00 to 2026-11-24 20:00:00+01:00: day",
        "  2026-11-24 20:00:00+01:00 to 2026-11-25 08:00:00+01:00: night",
        "prices:",
        "  day: flat.price per 60 s 0.1",
        "  day: setup.fee 0.02",
        "ladder, in seconds:",
        "  set-up fee 0.02 with the first unit, from step 1 to 2",
        "  1. 0.1 for each 60 s begun, up to 60 s of the line, until 2026-11-24 20:00:00+01:00",
        "  2. 0.001666666666... for each 1 s begun, the sum rounded up, until 2026-11-24 20:00:00+01:00",
        "  3. 0.05 for each 60 s begun",
        "a grant:",
        "  ends at 2026-11-25 08:00:00+01:00 at the latest",
        "2 min, if money pays it all: 0.17 EUR",
        "  set-up fee: 0.02",
        "  step 1: 60 s in 1 block at 0.1 = 0.1",
        "  step 3: 60 s in 1 block at 0.05 = 0.05",
    ]


async def test_why_a_session_and_its_entry_cost_so_much(ocs: Run, called: ApiHarness) -> None:
    session = await ocs("tariff", "explain", "session", "gw.example.net;1700000000;1")
    assert session.exit_code == 0, session.stderr
    assert "start voice: nothing used, 300 granted, costs 0.00" in session.stdout
    assert "stop voice: 61 seconds used, costs" in session.stdout
    assert "climbed:" in session.stdout
    ledger = json.loads((await ocs("ledger", "show", "a1", "--json")).stdout)["items"]
    seq = next(str(entry["seq"]) for entry in ledger if entry["why"] == "usage")
    entry = await ocs("tariff", "explain", "entry", "a1", seq)
    assert entry.exit_code == 0, entry.stderr
    assert "asked again, the tariff makes the same ladder:" in entry.stdout
    assert json.loads((await ocs("tariff", "explain", "entry", "a1", seq, "--json")).stdout)["piece"]["reproduced"]
    gone = await ocs("tariff", "explain", "entry", "a1", "99")
    assert (gone.exit_code, gone.stderr) == (1, "Error: account a1 has no entry 99\n")


async def test_a_correction_is_told(ocs: Run, called: ApiHarness) -> None:
    ledger = json.loads((await ocs("ledger", "show", "a1", "--json")).stdout)["items"]
    seq = next(entry["seq"] for entry in ledger if entry["why"] == "usage")
    usage = json.loads((await ocs("tariff", "explain", "entry", "a1", str(seq), "--json")).stdout)["piece"]["usage"]
    body = {"amount": "0.02", "reason": "dearer by mistake", "reference": f"usage {usage}", "original_seq": seq}
    done = await called.call("POST", "/v1/accounts/a1/corrections", body, idempotency_key="k1")
    await called.sync()
    (posted,) = done.json()["entries"]
    session = (await ocs("tariff", "explain", "session", "gw.example.net;1700000000;1")).stdout
    assert ", corrected by 0.02 since\n" in session
    assert f"  entry {posted['seq']} corrects it by 0.02 (dearer by mistake), " in session
    entry = (await ocs("tariff", "explain", "entry", "a1", str(posted["seq"]))).stdout
    assert entry.startswith(f"entry {posted['seq']} of a1: 0.02 (rerate: dearer by mistake), ")
    assert "it corrects:\n" in entry
    assert "dearer by mistake" in (await ocs("ledger", "show", "a1")).stdout


async def test_one_second_is_singular(ocs: Run, called: ApiHarness) -> None:
    asked = ("tariff", "quote", "s1", "--service", "voice", "--amount", "1 s", "--at", "2026-11-24T12:00:00+01:00")
    assert " for 1 second, by " in (await ocs(*asked)).stdout


CAPPED = """
tariff = "capped"
currency = "EUR"
[counters.spent]
counts = "money"
period = "ever"
[[rows]]
below = { spent = "5.00" }
flat = { price = "0.10", per = "1 min" }
[[rows]]
free = true
"""


async def test_counters_are_told_as_what_they_count(ocs: Run, harness: ApiHarness) -> None:
    await harness.account()
    await harness.top_up("10.00")
    await harness.tariff(CAPPED, "capped")
    await harness.subscriber("s1", "a1", "msisdn:491700000001", tariffs=[{"tariff": "capped"}])
    await harness.charge(ccr(I, service_context_id=VOICE, **lines(mscc(None, ask={}))))
    for number in (1, 2):
        used = lines(mscc(None, ask={}, used={"cc_time": 60}))
        await harness.charge(ccr(U, service_context_id=VOICE, cc_request_number=number, **used))
    await harness.sync()
    told = (await ocs("tariff", "explain", "session", "gw.example.net;1700000000;1")).stdout
    assert "  spent stood at 0 EUR\n" in told
    assert "  spent stood at 0.1 EUR\n" in told
    assert "while spent is below 5 EUR" in told
