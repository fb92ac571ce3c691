"""Refunds never exceed what was paid; what has no original is an adjustment (charging.md section 9)."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from balances.ledger.verify import verify
from ocs.config import Adjustments
from protocol.diameter.dictionary.credit_control import RequestedAction
from tests.ocs.api_harness import Office
from tests.ocs.charging.wire import E, I, T, ccr, lines, mscc

MB = 2**20
SESSION = "gw;1;1"


@pytest.fixture
async def charged(desk: Office) -> Office:
    """Entry 2: 3 MB at 0.01."""
    await desk.account()
    await desk.top_up("1.00")
    await desk.tariff()
    await desk.subscriber("s1", "a1", "msisdn:491700000001")
    await call(desk, SESSION, 3)
    return desk


async def call(desk: Office, session: str, used_mb: int) -> None:
    await desk.charge(ccr(I, session_id=session, **lines(mscc(10, ask={"cc_total_octets": 5 * MB}))))
    await desk.charge(
        ccr(T, session_id=session, cc_request_number=1, **lines(mscc(10, used={"cc_total_octets": used_mb * MB})))
    )
    await desk.sync()


async def refund(desk: Office, key: str, amount: str, account: str = "a1", **of: Any) -> Any:
    body = {"amount": amount, "reason": "call dropped"} | of
    return await desk.call("POST", f"/v1/accounts/{account}/refunds", body, idempotency_key=key)


async def balance(desk: Office) -> str:
    return str((await desk.call("GET", "/v1/accounts/a1")).json()["balance"])


async def test_without_an_original_there_is_no_refund(desk: Office) -> None:
    await desk.account()
    assert (await refund(desk, "k1", "1000000.00")).status_code == 422
    assert (await refund(desk, "k2", "1000000.00", entry=1)).status_code == 422
    assert (await refund(desk, "k3", "1.00", session="x")).status_code == 422
    assert (await refund(desk, "k4", "1.00", event={"session": "x"})).status_code == 422
    assert (await refund(desk, "k5", "1.00", session="x", entry=1)).status_code == 422
    assert await balance(desk) == "0.00"


@pytest.mark.parametrize("of", [{"entry": 2}, {"session": SESSION}], ids=["entry", "session"])
async def test_parts_add_up_to_what_was_paid(charged: Office, of: dict[str, Any]) -> None:
    assert (await refund(charged, "k1", "0.031", **of)).status_code == 422
    done = await refund(charged, "k1", "0.02", **of)
    assert done.status_code == 201, done.text
    assert (await refund(charged, "k1", "0.02", **of)).json() == done.json()
    assert (await refund(charged, "k1", "0.01", **of)).status_code == 409
    assert (await refund(charged, "k2", "0.02", **of)).status_code == 422
    assert (await refund(charged, "k3", "0.01", **of)).status_code == 201
    assert (await refund(charged, "k4", "0.000001", **of)).status_code == 422
    assert await balance(charged) == "1.00"
    await charged.sync()
    assert (await verify(charged.redis, charged.desk.pool)).sound


async def test_an_entry_and_its_session_share_what_is_left(charged: Office) -> None:
    assert (await refund(charged, "k1", "0.02", session=SESSION)).status_code == 201
    assert (await refund(charged, "k2", "0.02", entry=2)).status_code == 422
    assert (await refund(charged, "k3", "0.01", entry=2)).status_code == 201
    assert (await refund(charged, "k4", "0.01", session=SESSION)).status_code == 422


async def test_side_by_side_they_never_exceed_it(charged: Office) -> None:
    asked = [refund(charged, f"k{n}", "0.02", entry=2) for n in range(4)]
    asked += [refund(charged, f"s{n}", "0.02", session=SESSION) for n in range(4)]
    codes = sorted(answer.status_code for answer in await asyncio.gather(*asked))
    assert codes == [201] + [422] * 7
    assert await balance(charged) == "0.99"


async def test_a_top_up_or_a_refund_is_not_given_back(charged: Office) -> None:
    assert (await refund(charged, "k1", "0.01", entry=1)).status_code == 422
    assert (await refund(charged, "k2", "0.01", entry=2)).status_code == 201
    assert (await refund(charged, "k3", "0.01", entry=3)).status_code == 422


async def test_an_event_adds_up_with_what_the_network_gives_back(charged: Office) -> None:
    sms = {"session_id": "sms;1", **lines(mscc(10, ask={"cc_total_octets": 5 * MB}))}
    await charged.charge(ccr(E, requested_action=RequestedAction.DIRECT_DEBITING, **sms))
    await charged.sync()
    assert await balance(charged) == "0.92"
    event = {"session": "sms;1"}
    assert (await refund(charged, "k1", "0.06", event=event)).status_code == 422
    assert (await refund(charged, "k2", "0.03", event=event)).status_code == 201
    await charged.sync()
    assert (await refund(charged, "k2", "0.03", event=event)).status_code == 201
    assert (await refund(charged, "k3", "0.03", event=event)).status_code == 422
    assert (await refund(charged, "k4", "0.02", event=event)).status_code == 201
    assert await balance(charged) == "0.97"
    entries = (await charged.call("GET", "/v1/accounts/a1/ledger")).json()["items"]
    spent = next(entry["seq"] for entry in entries if entry["amount"] == "-0.05")
    assert (await refund(charged, "k5", "0.01", entry=spent)).status_code == 422


async def test_who_gave_an_event_back_and_why_stands_in_the_ledger(charged: Office) -> None:
    sms = {"session_id": "sms;1", **lines(mscc(10, ask={"cc_total_octets": 5 * MB}))}
    await charged.charge(ccr(E, requested_action=RequestedAction.DIRECT_DEBITING, **sms))
    await charged.sync()
    said: dict[str, Any] = {"event": {"session": "sms;1"}, "reference": "ticket 7"}
    assert (await refund(charged, "k1", "0.03", **said)).status_code == 201
    # Before PostgreSQL has it, too, another body is not answered as if it had been done.
    again = await refund(charged, "k1", "0.02", **said)
    assert (again.status_code, again.json()["type"]) == (409, "urn:ocs:problem:key-reused")
    assert (await refund(charged, "k1", "0.03", **said)).status_code == 201
    assert await balance(charged) == "0.95"
    await charged.sync()
    (entry,) = (await charged.call("GET", "/v1/accounts/a1/ledger?why=refund")).json()["items"]
    assert (entry["actor"], entry["reason"], entry["reference"]) == ("admin", "call dropped", "ticket 7")


# --- adjustments


async def adjust(desk: Office, key: str, amount: str, **more: Any) -> int:
    body = {"amount": amount, "reason": "goodwill"} | more
    return int((await desk.call("POST", "/v1/accounts/a1/adjustments", body, idempotency_key=key)).status_code)


async def test_an_adjustment_leaves_what_is_held(charged: Office) -> None:
    await charged.charge(ccr(I, session_id="gw;2;2", **lines(mscc(10, ask={"cc_total_octets": 50 * MB}))))
    account = (await charged.call("GET", "/v1/accounts/a1")).json()
    assert (account["balance"], account["held"], account["available"]) == ("0.97", "0.50", "0.47")
    assert await adjust(charged, "k1", "-0.48") == 409
    assert await adjust(charged, "k2", "-0.47") == 201
    assert await adjust(charged, "k3", "-0.10") == 409
    assert await adjust(charged, "k4", "-0.10", force=True) == 201
    account = (await charged.call("GET", "/v1/accounts/a1")).json()
    assert (account["balance"], account["available"]) == ("0.40", "-0.10")


async def test_a_credit_limit_covers_an_adjustment(desk: Office) -> None:
    await desk.account(credit_limit="5.00")
    assert await adjust(desk, "k1", "-5.01") == 409
    assert await adjust(desk, "k2", "-5.00") == 201


async def test_one_adjustment_has_a_limit_and_is_for_who_may(desk: Office) -> None:
    await desk.account()
    assert await adjust(desk, "k1", "1000.01") == 422
    assert await adjust(desk, "k2", "1000.00") == 201
    desk.desk.adjustments = Adjustments(force=())
    assert await adjust(desk, "k3", "-1.00", force=True) == 403
    assert await adjust(desk, "k4", "-1.00") == 201
    desk.desk.adjustments = msgspec.structs.replace(desk.desk.adjustments, callers=("somebody",))
    assert await adjust(desk, "k5", "-1.00") == 403
