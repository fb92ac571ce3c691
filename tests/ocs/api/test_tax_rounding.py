"""A session of one line whose tax is rounded, as ledger, explanation and statement show it (charging.md section 4)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from tests.ocs.api_harness import ApiHarness
from tests.ocs.charging.wire import VOICE, I, T, U, ccr, lines, mscc

CALLS = """
tariff = "calls"
currency = "EUR"
[[taxes]]
name = "VAT"
percent = 19
included = true
round_to = "0.01"
[[rows]]
when = { service = "voice" }
flat = { price = "0.06", per = "1 min", increment = "1" }
"""


async def test_the_taxes_of_a_session_are_in_whole_cents(harness: ApiHarness) -> None:
    """Of 0.03 the tax is 0.0048, of 0.06 it is 0.0096, of 0.09 it is 0.0144 and of 0.12 it is 0.0192."""
    await harness.account()
    await harness.top_up("10.00")
    await harness.tariff(CALLS, "calls")
    made = await harness.subscriber("s1", "a1", "msisdn:491700000001", tariffs=[{"tariff": "calls"}])
    assert made.status_code == 201, made.text
    await harness.charge(ccr(I, service_context_id=VOICE, **lines(mscc(None, ask={}))))
    for number in (1, 2, 3):
        used = mscc(None, ask={}, used={"cc_time": 30})
        await harness.charge(ccr(U, service_context_id=VOICE, cc_request_number=number, **lines(used)))
    last = lines(mscc(None, used={"cc_time": 30}))
    await harness.charge(ccr(T, service_context_id=VOICE, cc_request_number=4, **last))
    await harness.sync()
    ledger = (await harness.call("GET", "/v1/accounts/a1/ledger")).json()["items"]
    found = sorted((one["seq"], one["amount"], one["net"], one["tax"]) for one in ledger if one["why"] == "usage")
    assert [one[1:] for one in found] == [
        ("-0.03", "-0.03", "0.00"),
        ("-0.03", "-0.02", "-0.01"),
        ("-0.03", "-0.03", "0.00"),
        ("-0.03", "-0.02", "-0.01"),
    ]
    now = datetime.now(UTC)
    days = (now - timedelta(days=1)).isoformat(), (now + timedelta(days=1)).isoformat()
    path = f"/v1/accounts/a1/statement?from={quote(days[0])}&until={quote(days[1])}"
    statement = (await harness.call("GET", path)).json()
    used = next(one for one in statement["entries"] if one["why"] == "usage")
    assert (used["amount"], used["net"], used["tax"]) == ("-0.12", "-0.10", "-0.02")
    told = (await harness.call("GET", f"/v1/explain/accounts/a1/entries/{found[-1][0]}")).json()
    assert (told["piece"]["paid"][0]["tax"], told["piece"]["reproduced"]) == ("-0.01", True)
