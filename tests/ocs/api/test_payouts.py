"""Payouts, write-offs and reversals: own money only, debt to zero, whole and once, with the original linked
(charging.md section 17)."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from balances.ledger.verify import verify
from tests.ocs.api_harness import ApiHarness
from tests.ocs.charging.wire import I, T, ccr, lines, mscc

MB = 2**20


@pytest.fixture
async def account(harness: ApiHarness) -> ApiHarness:
    """10.00 of own money: entry 1."""
    await harness.account()
    await harness.top_up("10.00")
    await harness.tariff()
    await harness.subscriber("s1", "a1", "msisdn:491700000001")
    return harness


async def post(harness: ApiHarness, what: str, key: str, *, copies: bool = True, **body: Any) -> httpx.Response:
    if copies:
        await harness.sync()
    return await harness.call("POST", f"/v1/accounts/a1/{what}", {"reason": "because"} | body, idempotency_key=key)


async def use(harness: ApiHarness, session: str, used_mb: int, *, ends: bool = True) -> None:
    await harness.charge(ccr(I, session_id=session, **lines(mscc(10, ask={"cc_total_octets": used_mb * MB}))))
    if ends:
        use = {"cc_total_octets": used_mb * MB}
        await harness.charge(ccr(T, session_id=session, cc_request_number=1, **lines(mscc(10, used=use))))


async def main(harness: ApiHarness) -> str:
    buckets = (await harness.call("GET", "/v1/accounts/a1")).json()["buckets"]
    return str(next(bucket["amount"] for bucket in buckets if bucket["id"] == 0))


def kind(answer: httpx.Response) -> str:
    return str(answer.json()["type"]).removeprefix("urn:ocs:problem:")


async def sound(harness: ApiHarness) -> None:
    await harness.sync()
    report = await verify(harness.redis, harness.backoffice.pool)
    assert report.sound, report.lines()


async def test_a_payout_takes_what_nobody_holds_and_no_bonus(account: ApiHarness) -> None:
    await account.top_up("5.00", name="gift", bonus=True)
    await use(account, "gw;1", 700, ends=False)
    assert kind(await post(account, "payouts", "k1", amount="9.99")) == "insufficient-funds"
    paid = await post(account, "payouts", "k2")
    assert paid.status_code == 201, paid.text
    [entry] = paid.json()["entries"]
    assert (entry["counter_account"], entry["why"]) == ("payout", "payout")
    assert (await post(account, "payouts", "k2")).json() == paid.json()
    assert kind(await post(account, "payouts", "k3")) == "unresolved"
    await account.charge(ccr(T, session_id="gw;1", cc_request_number=1))
    assert (await post(account, "payouts", "k4")).status_code == 201
    assert await main(account) == "0.00"
    await sound(account)


async def test_a_debt_is_written_off_and_comes_back(account: ApiHarness) -> None:
    assert kind(await post(account, "write-offs", "k1")) == "unresolved"
    await use(account, "gw;1", 500)
    assert (await post(account, "reversals", "k2", entry=1, permit_debt=True)).status_code == 201
    assert await main(account) == "-5.00"
    done = await post(account, "write-offs", "k3")
    assert (done.status_code, await main(account)) == (201, "0.00")
    seq = done.json()["entries"][0]["seq"]
    refused = await post(account, "reversals", "k4", entry=seq)
    assert (kind(refused), "permit_debt" in refused.json()["detail"]) == ("insufficient-funds", True)
    assert (await post(account, "reversals", "k5", entry=seq, permit_debt=True)).status_code == 201
    assert await main(account) == "-5.00"
    await sound(account)


async def test_a_refused_debt_says_that_money_is_held(account: ApiHarness) -> None:
    await use(account, "gw;1", 500)
    await use(account, "gw;2", 300, ends=False)
    refused = await post(account, "reversals", "k1", entry=1, permit_debt=True)
    assert kind(refused) == "insufficient-funds"
    assert "only while nothing is held" in refused.json()["detail"]
    assert await main(account) == "5.00"


async def test_a_posting_is_reversed_once_and_its_entries_say_so(account: ApiHarness) -> None:
    gone = await post(account, "adjustments", "k1", amount="-3.00")
    seq = gone.json()["entries"][0]["seq"]
    await account.sync()
    found = await asyncio.gather(*(post(account, "reversals", f"r{n}", copies=False, entry=seq) for n in range(4)))
    assert sorted(one.status_code for one in found) == [201, 409, 409, 409]
    winner = next(n for n, one in enumerate(found) if one.status_code == 201)
    assert (await post(account, "reversals", f"r{winner}", entry=seq)).json() == found[winner].json()
    assert await main(account) == "10.00"
    await account.sync()
    entries = (await account.call("GET", "/v1/accounts/a1/ledger")).json()["items"]
    assert [(e["why"], e["amount"], e["original_seq"]) for e in entries[-1:]] == [("reversal", "3.00", seq)]
    await sound(account)


async def test_what_was_spent_is_debt_only_where_that_is_permitted(account: ApiHarness) -> None:
    spare = (await account.top_up("2.00", name="spare", bonus=True, priority=200)).json()["entries"][0]["seq"]
    assert (await post(account, "reversals", "k0", entry=spare)).status_code == 201, "nobody has used it"
    bonus = (await account.top_up("4.00", name="gift", bonus=True, priority=1)).json()["entries"][0]["seq"]
    await use(account, "gw;1", 300)
    assert kind(await post(account, "reversals", "k1", entry=bonus)) == "insufficient-funds"
    back = await post(account, "reversals", "k2", entry=bonus, permit_debt=True)
    assert [entry["amount"] for entry in back.json()["entries"]] == ["-1.00"], "what is left of it"
    assert await main(account) == "10.00"
    await sound(account)


async def test_a_refund_that_was_taken_back_may_be_given_again(account: ApiHarness) -> None:
    await use(account, "gw;1", 300)
    given = await post(account, "refunds", "k1", session="gw;1", amount="3.00")
    assert given.status_code == 201, given.text
    assert (await post(account, "reversals", "k2", entry=given.json()["entries"][0]["seq"])).status_code == 201
    assert await main(account) == "7.00"
    assert (await post(account, "refunds", "k3", session="gw;1", amount="3.00")).status_code == 201
    assert (await post(account, "refunds", "k4", session="gw;1", amount="0.01")).status_code == 422
    assert await main(account) == "10.00"
    await sound(account)


async def test_a_refund_whose_reversal_was_cut_off_may_be_given_again(
    account: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ended after the posting; whoever tries again finds it reversed, by the store or by the ledger."""

    async def killed(*_: object) -> None:
        raise RuntimeError("killed")

    for number, copies in enumerate([False, True]):
        session = f"gw;{number}"
        await use(account, session, 300)
        given = await post(account, "refunds", f"k1-{number}", session=session, amount="3.00")
        assert given.status_code == 201, given.text
        entry = given.json()["entries"][0]["seq"]
        with monkeypatch.context() as patch:
            patch.setattr("balances.ledger.refunds.taken_back", killed)
            assert (await post(account, "reversals", f"k2-{number}", entry=entry)).status_code == 500
        assert (await post(account, "reversals", f"k3-{number}", copies=copies, entry=entry)).status_code == 409
        assert (await post(account, "refunds", f"k4-{number}", session=session, amount="3.00")).status_code == 201
        assert await main(account) == "10.00"
    await sound(account)


async def test_use_expiry_and_what_is_not_there_are_not_reversed(account: ApiHarness) -> None:
    await use(account, "gw;1", 100)
    assert kind(await post(account, "reversals", "k1", entry=2)) == "unresolved"
    assert kind(await post(account, "reversals", "k2", entry=99)) == "unresolved"
    assert await main(account) == "9.00"
