"""What becomes of buckets with a price, through the API (charging.md section 22): merged, over, closed, taken back,
given back, and as TMF654 shows them."""

from __future__ import annotations

from typing import Any

import pytest

from balances.ledger.verify import verify
from ocs.api.texts import time_of
from ocs.keeper.transferring import finish_transfers
from ocs.telemetry.log import logger
from ocs.tmf654.words import BASE
from protocol.diameter.dictionary.credit_control import RequestedAction
from tests.ocs.api_harness import ApiHarness
from tests.ocs.charging.wire import E, I, T, ccr, lines, mscc
from tests.ocs.charging.world import PACKAGE

MB = 2**20
PRICED: dict[str, Any] = {"kind": "octets", "scope": ["data"], "name": "cheap", "price": "0.005", "per": MB}


@pytest.fixture
async def sold(harness: ApiHarness) -> ApiHarness:
    """a1 with 10.00 and 4 MB at 0.005 each; by the list a megabyte costs 0.01."""
    await harness.pool.execute("UPDATE store SET format = 3")
    await harness.account()
    await harness.top_up("10.00")
    await harness.tariff(PACKAGE)
    await harness.subscriber("kid", "a1", "msisdn:491700000001")
    assert (await harness.top_up(str(4 * MB), **PRICED)).status_code == 201
    return harness


async def use(harness: ApiHarness, session: str, megabytes: int) -> None:
    await harness.charge(ccr(I, session_id=session, **lines(mscc(10, ask={"cc_total_octets": megabytes * MB}))))
    used = {"cc_total_octets": megabytes * MB}
    await harness.charge(ccr(T, session_id=session, cc_request_number=1, **lines(mscc(10, used=used))))
    await harness.sync()


async def has(harness: ApiHarness, account: str = "a1") -> tuple[str, str | None]:
    """Its money, and what it has of the bucket."""
    shown = (await harness.call("GET", f"/v1/accounts/{account}")).json()
    cheap = next((one for one in shown["buckets"] if one["name"] == "cheap"), None)
    assert cheap is None or (cheap["price"], cheap["per"]) == ("0.005", MB)
    return shown["balance"], cheap and cheap["amount"]


async def sound(harness: ApiHarness) -> None:
    await harness.sync()
    report = await verify(harness.redis, harness.pool)
    assert report.sound, report.lines()


async def test_a_merge_takes_it_with_its_price(sold: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ocs.backoffice.transfers.WAIT_S", 0.2)
    await use(sold, "gw;1", 1)
    await sold.account("new")
    body = {"into": "new", "reason": "married"}
    for _ in range(3):
        await sold.call("POST", "/v1/accounts/a1/merge", body, idempotency_key="k")
        await sold.sync()
        await finish_transfers(sold.pool, sold.store, logger(), lambda: sold.now_ms() + 10_000, None)
    assert await has(sold, "new") == ("9.995", str(3 * MB))
    await use(sold, "gw;2", 2)
    assert await has(sold, "new") == ("9.985", str(MB))
    await sound(sold)


async def test_when_it_is_over_the_list_price_counts(sold: ApiHarness) -> None:
    ends = time_of(sold.now_ms() + 3_600_000)
    assert (await sold.top_up(str(9 * MB), valid_until=ends, **PRICED | {"name": "short"})).status_code == 201
    await use(sold, "gw;1", 5)
    assert await has(sold) == ("9.975", str(4 * MB))  # what ends first pays first
    sold.ahead_ms = 7_200_000
    await use(sold, "gw;2", 6)
    assert await has(sold) == ("9.935", "0")
    entries = (await sold.call("GET", "/v1/accounts/a1/ledger?why=expiry")).json()["items"]
    assert [one["amount"] for one in entries] == [str(-4 * MB)]
    await sound(sold)


async def test_of_a_closed_account_its_units_are_written_off(sold: ApiHarness) -> None:
    body = {"reason": "moved away", "remainder": "payout"}
    done = await sold.call("POST", "/v1/accounts/a1/closing", body, idempotency_key="c")
    moved = {(entry["amount"], entry["counter_account"]) for entry in done.json()["entries"]}
    assert (done.status_code, moved) == (201, {("-10.00", "payout"), (str(-4 * MB), "write-off")})
    assert await has(sold) == ("0.00", None)
    await sound(sold)


async def test_a_reversal_takes_back_what_is_there_of_it(sold: ApiHarness) -> None:
    await sold.sync()
    entries = (await sold.call("GET", "/v1/accounts/a1/ledger?why=top-up")).json()["items"]
    given = next(one["seq"] for one in entries if one["amount"] == str(4 * MB))
    again = await sold.top_up(str(2 * MB), **PRICED | {"name": "other"})
    [other] = again.json()["entries"]
    await use(sold, "gw;1", 1)

    async def reversed_(entry: int, key: str) -> int:
        body = {"entry": entry, "reason": "bounced"}
        return int((await sold.call("POST", "/v1/accounts/a1/reversals", body, idempotency_key=key)).status_code)

    assert await reversed_(other["seq"], "k1") == 201
    assert await reversed_(given, "k2") != 201, "a part of it is used"
    assert await has(sold) == ("9.995", str(3 * MB))
    await sound(sold)


async def test_a_refund_gives_its_price_back(sold: ApiHarness) -> None:
    await use(sold, "gw;1", 3)
    assert await has(sold) == ("9.985", str(MB))
    body = {"amount": "0.015", "reason": "call dropped", "session": "gw;1"}
    refund = await sold.call("POST", "/v1/accounts/a1/refunds", body, idempotency_key="r")
    assert refund.status_code == 201, refund.text
    more = body | {"amount": "0.000001"}
    assert (await sold.call("POST", "/v1/accounts/a1/refunds", more, idempotency_key="s")).status_code == 422
    assert (await has(sold))[0] == "10.00"
    await sound(sold)


async def test_an_event_is_given_back_in_units_and_money(sold: ApiHarness) -> None:
    sms = {"session_id": "sms;1", **lines(mscc(10, ask={"cc_total_octets": 2 * MB}))}
    await sold.charge(ccr(E, requested_action=RequestedAction.DIRECT_DEBITING, **sms))
    assert await has(sold) == ("9.99", str(2 * MB))
    await sold.charge(ccr(E, cc_request_number=1, requested_action=RequestedAction.REFUND_ACCOUNT, **sms))
    assert await has(sold) == ("10.00", str(4 * MB))
    await sound(sold)


async def test_tmf654_tells_its_price(sold: ApiHarness) -> None:
    found = (await sold.call("GET", f"{BASE}/bucket?partyAccount.id=a1")).json()
    assert [one.get("description") for one in found] == [None, f"0.005 EUR for {MB} octets"]


async def test_an_explanation_names_it_beside_what_the_tariff_costs(sold: ApiHarness) -> None:
    await use(sold, "gw;1", 5)
    told = (await sold.call("GET", "/v1/explain/sessions/gw;1")).json()
    last = told["pieces"][-1]
    assert (last["cost"], last["reproduced"]) == ("0.03", True)  # 4 MB at 0.005 and 1 MB at 0.01
    assert last["blocks"][-1] == "price of the units of buckets: 0.02"
