"""Merging two accounts: subscribers, money, bonus money, units; once, also when it has to wait or is cut anywhere."""

from typing import Any

import msgspec
import pytest

from balances.ledger.verify import verify
from ocs.charging.request import ChargingAnswer
from ocs.keeper.settling import finish as settle
from ocs.keeper.transferring import finish_transfers
from ocs.master.late_money import order_late_money
from ocs.telemetry.log import logger
from ocs.tmf654.words import BASE
from protocol.diameter.dictionary.credit_control import SubscriptionId
from tests.ocs.api.test_vouchers import made, redeem
from tests.ocs.api_harness import ApiHarness
from tests.ocs.charging.wire import I, T, ccr, lines, mscc

MB = 1_048_576


async def merged(harness: ApiHarness, into: str = "new", key: str = "k", **more: Any) -> Any:
    body = {"into": into, "reason": "married"} | more
    return await harness.call("POST", "/v1/accounts/old/merge", body, idempotency_key=key)


@pytest.fixture
async def two(harness: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> ApiHarness:
    """`old` with all kinds of buckets and a subscriber; `new` pays its data already. Answers wait for nobody."""
    monkeypatch.setattr("ocs.backoffice.transfers.WAIT_S", 0.2)
    await harness.tariff()
    await harness.account("old")
    await harness.account("new")
    assert (await harness.subscriber("s1", "old", "msisdn:491", payers={"voice": "new"})).status_code == 201
    assert (await harness.subscriber("s2", "new", "msisdn:492", payers={"data": "old"})).status_code == 201
    await harness.top_up("10", "old")
    await harness.top_up("2", "new")
    await harness.top_up("3", "old", bonus=True, name="gift", priority=5, scope=["data"], member="s1")
    await harness.top_up(
        "500", "old", kind="octets", valid_for_s=60, name="week", hours="sat-sun 00:00-24:00", blocker=True
    )
    return harness


async def keeper(harness: ApiHarness, rounds: int = 3) -> None:
    """What a keeper does of it; the records are copied in between."""
    for _ in range(rounds):
        await harness.sync()
        await finish_transfers(harness.pool, harness.store, logger(), lambda: harness.now_ms() + 10_000, None)
    await harness.sync()


async def sound(harness: ApiHarness) -> None:
    await harness.sync()
    report = await verify(harness.redis, harness.pool)
    assert report.sound, report.lines()


async def test_all_of_it_moves(two: ApiHarness) -> None:
    ordered = await merged(two)
    assert (ordered.status_code, ordered.json()["state"]) == (202, "ordered"), ordered.text
    listed = (await two.call("GET", f"{BASE}/transferBalance?partyAccount.id=old")).json()
    assert [one["status"] for one in listed] == ["created"]
    await keeper(two)
    done = await merged(two)
    assert (done.status_code, done.json()["state"], done.json()["merge"]) == (201, "received", True), done.text
    assert done.json()["amount"] == "13.00"
    old, new = [(await two.call("GET", f"/v1/accounts/{one}")).json() for one in ("old", "new")]
    assert (old["state"], old["balance"], [b["id"] for b in old["buckets"]]) == ("closed", "0.00", [0])
    main, gift, week = sorted(new["buckets"], key=lambda bucket: int(bucket["id"]))
    assert main["amount"] == "12.00"
    assert [gift[name] for name in ("amount", "name", "priority", "scope", "bonus", "member")] == [
        *("3.00", "gift", 5, ["data"], True, "s1"),
    ]
    assert [week[name] for name in ("kind", "amount", "valid_for_s", "valid_until", "hours", "blocker")] == [
        *("octets", "500", 60, None, "sat-sun 00:00-24:00", True),
    ]
    live = await two.backoffice.bounded(two.store.account("new").wait())
    assert live.clock, "hours are read by the clock of the account"
    s1, s2 = [(await two.call("GET", f"/v1/subscribers/{one}")).json() for one in ("s1", "s2")]
    assert (s1["account"], s1["payers"], s2["account"], s2["payers"]) == ("new", {}, "new", {})
    for account in ("old", "new"):  # its history is found from both
        (listed,) = (await two.call("GET", f"/v1/accounts/{account}/transfers")).json()["items"]
        assert (listed["from"], listed["to"], listed["merge"], listed["reason"]) == ("old", "new", True, "married")
    (told,) = (await two.call("GET", "/v1/events?type=account.merged")).json()["items"]
    assert (told["subject"], told["data"]["into"], told["data"]["transfer"]) == ("old", "new", done.json()["id"])
    entries = (await two.call("GET", "/v1/accounts/old/ledger?why=merge")).json()["items"]
    assert sorted(entry["amount"] for entry in entries) == ["-10.00", "-3.00", "-500"]
    told = await two.pool.fetch("SELECT data FROM events WHERE type = 'transfer.received' ORDER BY seq")
    changes = [msgspec.json.decode(row["data"]) for row in told]
    assert sorted((one["kind"], one["amount"], one["bucket"]) for one in changes) == [
        *(("money", "10.00", 0), ("money", "3.00", int(gift["id"])), ("octets", "500", int(week["id"]))),
    ]
    await sound(two)


async def test_a_debt_moves_too(two: ApiHarness) -> None:
    body = {"amount": "-14", "reason": "r"}
    await two.call("PUT", "/v1/accounts/old", {"currency": "EUR", "credit_limit": "20"}, if_match="*")
    assert (await two.call("POST", "/v1/accounts/old/adjustments", body, idempotency_key="d")).status_code == 201
    await merged(two)
    await keeper(two)
    assert (await merged(two)).json()["amount"] == "-1.00"
    found = (await two.call("GET", "/v1/accounts/new")).json()
    assert {bucket["name"]: bucket["amount"] for bucket in found["buckets"]} == {
        "main": "-2.00",
        "gift": "3.00",
        "week": "500",
    }
    await sound(two)


async def charged(harness: ApiHarness, kind: Any, number: int, **line: Any) -> ChargingAnswer:
    who = (SubscriptionId(subscription_id_type=0, subscription_id_data="491"),)
    lines: dict[str, Any] = {"multiple_services_indicator": 1, "multiple_services_credit_control": (mscc(10, **line),)}
    return await harness.charge(ccr(kind, cc_request_number=number, subscription_id=who, **lines))


async def test_a_session_ends_with_the_old_payer(two: ApiHarness) -> None:
    """What it holds is waited for, whoever asks meanwhile; a verification finds nothing wrong."""
    await two.projector.project()
    await charged(two, I, 0, ask={"cc_total_octets": MB})
    await merged(two)
    await keeper(two)
    assert (await merged(two)).json()["state"] == "ordered"
    assert (await two.call("GET", "/v1/accounts/old")).json()["state"] == "active"
    await sound(two)
    await two.projector.project()
    await charged(two, T, 1, used={"cc_total_octets": MB})
    await keeper(two)
    assert (await merged(two)).json()["state"] == "received"
    found = (await two.call("GET", "/v1/accounts/new")).json()
    assert found["balance"] == "14.99"
    await sound(two)


async def refunded(harness: ApiHarness, amount: str, key: str) -> None:
    """Of what a session of `old` cost."""
    body = {"amount": amount, "reason": "sorry", "session": "gw.example.net;1700000000;1"}
    done = await harness.call("POST", "/v1/accounts/old/refunds", body, idempotency_key=key)
    assert done.status_code == 201, done.text


async def balances(harness: ApiHarness, *accounts: str) -> list[str]:
    return [(await harness.call("GET", f"/v1/accounts/{one}")).json()["balance"] for one in accounts]


async def later(harness: ApiHarness) -> None:
    for _ in range(3):
        harness.ahead_ms += 10_000
        await keeper(harness, 1)


async def used_and_merged(harness: ApiHarness) -> None:
    """0.02 of `old` are used, then it goes into `new`."""
    await harness.projector.project()
    await charged(harness, I, 0, ask={"cc_total_octets": 2 * MB})
    await charged(harness, T, 1, used={"cc_total_octets": 2 * MB})
    await merged(harness)
    await keeper(harness)


async def test_what_comes_in_after_it_follows(two: ApiHarness) -> None:
    """Refunds of what the old account paid, once each, by whatever merges went on since."""
    await used_and_merged(two)
    assert await balances(two, "old", "new") == ["0.00", "14.98"]
    await refunded(two, "0.01", "r1")
    assert await balances(two, "old", "new") == ["0.01", "14.98"]
    await later(two)
    assert await balances(two, "old", "new") == ["0.00", "14.99"]
    late = (await two.call("GET", "/v1/accounts/old/transfers")).json()["items"]
    assert [(one["to"], one["amount"], one["merge"], one["state"]) for one in late] == [
        ("new", "0.01", True, "received"),
        ("new", "12.98", True, "received"),
    ]
    await two.account("last")
    again = await two.call("POST", "/v1/accounts/new/merge", {"into": "last", "reason": "x"}, idempotency_key="m2")
    assert again.status_code == 202
    await later(two)
    await refunded(two, "0.01", "r2")
    await later(two)
    assert await balances(two, "old", "new", "last") == ["0.00", "0.00", "15.00"]
    await sound(two)


async def test_what_comes_in_stays_where_nobody_would_take_it(two: ApiHarness) -> None:
    """The other account is closed, or this one was opened again: what it has may be somebody else's."""
    await used_and_merged(two)
    shut = {"reason": "gone", "remainder": "write-off"}
    assert (await two.call("POST", "/v1/accounts/new/closing", shut, idempotency_key="c")).status_code == 201
    await refunded(two, "0.01", "r1")
    await later(two)
    assert await balances(two, "old", "new") == ["0.01", "0.00"]
    open_, closed = {"currency": "EUR", "state": "active"}, {"reason": "gone", "remainder": "payout"}
    for account in ("old", "new"):
        await two.call("PUT", f"/v1/accounts/{account}", open_, if_match="*")
    await two.top_up("1.00", "old")
    assert (await two.call("POST", "/v1/accounts/old/closing", closed, idempotency_key="c2")).status_code == 201
    await refunded(two, "0.01", "r2")
    await later(two)
    assert await balances(two, "old", "new") == ["0.01", "0.00"]
    await sound(two)


async def test_what_comes_in_follows_although_nothing_was_left_to_merge(two: ApiHarness) -> None:
    """Everything was used before; the payments of then are not by who opened the account again."""
    await two.account("poor")
    await two.top_up("0.02", "poor")
    await two.subscriber("s3", "poor", "msisdn:493")
    await two.projector.project()
    used: dict[str, Any] = {
        "session_id": "gw.example.net;1700000000;3",
        "subscription_id": (SubscriptionId(subscription_id_type=0, subscription_id_data="493"),),
    }
    await two.charge(ccr(I, **used, **lines(mscc(10, ask={"cc_total_octets": 2 * MB}))))
    await two.charge(ccr(T, cc_request_number=1, **used, **lines(mscc(10, used={"cc_total_octets": 2 * MB}))))
    body = {"into": "new", "reason": "married"}
    assert (await two.call("POST", "/v1/accounts/poor/merge", body, idempotency_key="m")).status_code == 202
    await keeper(two)
    back = {"amount": "0.01", "reason": "sorry", "session": "gw.example.net;1700000000;3"}
    assert (await two.call("POST", "/v1/accounts/poor/refunds", back, idempotency_key="r")).status_code == 201
    await later(two)
    assert await balances(two, "poor", "new") == ["0.00", "2.01"]
    await sound(two)


async def test_a_voucher_that_was_claimed_before_it_follows(two: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ended between the claim and the credit, and then the account was merged (charging.md section 18)."""
    (code,) = await made(two, count=1)
    with monkeypatch.context() as patch:

        async def killed(*_: object) -> None:
            raise RuntimeError("killed")

        patch.setattr("ocs.backoffice.vouchers._credited", killed)
        assert (await redeem(two, code, "v", "old")).status_code == 500
    await merged(two)
    await keeper(two)
    assert await balances(two, "old", "new") == ["0.00", "15.00"]
    await settle(two.pool, two.store, logger(), lambda: two.now_ms() + 60_000, None)
    await later(two)
    assert await balances(two, "old", "new") == ["0.00", "25.00"]
    await sound(two)


async def test_what_came_back_follows_again_to_where_the_other_one_went(
    two: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its order and the next merge were written at the same time, and neither saw the other."""
    await used_and_merged(two)
    await two.account("last")
    await refunded(two, "0.01", "r1")
    await two.sync()
    await order_late_money(two.pool, two.now_ms())
    with monkeypatch.context() as patch:

        async def sees_none(*_: object) -> None:
            return None

        patch.setattr("balances.ledger.transfers.merging", sees_none)
        on = await two.call("POST", "/v1/accounts/new/merge", {"into": "last", "reason": "x"}, idempotency_key="m2")
        assert on.status_code == 202, on.text
        await two.pool.execute(
            "UPDATE transfers SET sent_ms = sent_ms - 60000 WHERE source = 'new'"
        )  # its leg is first
    await later(two)
    await later(two)
    assert await balances(two, "old", "new", "last") == ["0.00", "0.00", "14.99"]
    states = [one["state"] for one in (await two.call("GET", "/v1/accounts/old/transfers")).json()["items"]]
    assert states == ["received", "returned", "received"]
    await sound(two)


async def test_what_came_back_is_tried_with_the_same_account_a_day_later(two: ApiHarness) -> None:
    await used_and_merged(two)
    await refunded(two, "0.01", "r1")
    await two.sync()
    await order_late_money(two.pool, two.now_ms())
    shut = {"reason": "gone", "remainder": "write-off"}
    assert (await two.call("POST", "/v1/accounts/new/closing", shut, idempotency_key="c")).status_code == 201
    await later(two)
    await later(two)
    assert (await two.call("PUT", "/v1/accounts/new", {"currency": "EUR", "state": "active"}, if_match="*")).is_success
    await later(two)
    assert await balances(two, "old", "new") == ["0.01", "0.00"]
    two.ahead_ms += 86_400_000
    await later(two)
    assert await balances(two, "old", "new") == ["0.00", "0.01"]
    states = [one["state"] for one in (await two.call("GET", "/v1/accounts/old/transfers")).json()["items"]]
    assert states == ["received", "returned", "received"]
    await sound(two)


async def test_an_account_that_does_not_take_it_gives_it_back(two: ApiHarness) -> None:
    await merged(two)
    closing = {"reason": "gone", "remainder": "write-off"}
    assert (await two.call("POST", "/v1/accounts/new/closing", closing, idempotency_key="c")).status_code == 201
    await keeper(two, 4)
    back = await merged(two)
    assert (back.status_code, back.json().get("type")) == (409, "urn:ocs:problem:transfer-returned"), back.text
    old = (await two.call("GET", "/v1/accounts/old")).json()
    assert (old["state"], old["balance"]) == ("closed", "13.00")
    assert sorted(bucket["amount"] for bucket in old["buckets"]) == ["10.00", "3.00", "500"]
    await sound(two)


async def test_what_is_refused(two: ApiHarness) -> None:
    await two.account("dollars", currency="USD")
    await two.account("shut", state="closed")
    assert [(await merged(two, into)).status_code for into in ("old", "nobody", "dollars", "shut")] == [
        *(422, 422, 422, 409),
    ]
    assert (await merged(two)).status_code == 202
    other = await merged(two, "dollars")
    assert other.status_code == 422
    assert (await merged(two, reason="another")).json()["type"] == "urn:ocs:problem:key-reused"
    assert (await two.call("GET", "/v1/subscribers/s1")).json()["account"] == "new"


async def test_a_merge_on_its_way_is_waited_for(two: ApiHarness) -> None:
    """A second one would leave what the first has at a closed account."""
    await two.account("third")
    assert (await merged(two)).json()["state"] == "ordered"
    chain = {"into": "third", "reason": "r"}
    on = await two.call("POST", "/v1/accounts/new/merge", chain, idempotency_key="n")
    twice = await merged(two, "third", key="k2")
    body = {"into": "old", "reason": "r"}
    back = await two.call("POST", "/v1/accounts/third/merge", body, idempotency_key="b")
    assert on.json()["type"] == "urn:ocs:problem:conflict", on.text
    assert [one.status_code for one in (on, twice, back)] == [409, 409, 409]
    await keeper(two)
    done = await two.call("POST", "/v1/accounts/new/merge", chain, idempotency_key="n")
    assert done.status_code == 202, done.text


async def test_units_and_their_money_move_as_one_bucket(two: ApiHarness) -> None:
    """And money that has no units left beside it as one by itself."""
    await two.top_up("90", "old", kind="seconds", money="0.40", name="both", valid_for_s=60, blocker=True)
    await two.top_up("8", "old", kind="units", money="0.75", name="rest")
    shown = (await two.call("GET", "/v1/accounts/old")).json()["buckets"]
    rest = next(bucket["id"] for bucket in shown if bucket["name"] == "rest")
    body = {"amount": "-8", "bucket": rest, "reason": "r"}
    assert (await two.call("POST", "/v1/accounts/old/adjustments", body, idempotency_key="d")).status_code == 201
    await merged(two)
    await keeper(two)
    assert (await merged(two)).json()["amount"] == "14.15"
    found = (await two.call("GET", "/v1/accounts/new")).json()
    both, rest = [next(one for one in found["buckets"] if one["name"] == name) for name in ("both", "rest")]
    assert (both["kind"], both["amount"], both["valid_for_s"], both["blocker"]) == ("seconds", "90", 60, True)
    assert both["money"] == {"id": both["id"] + 1, "amount": "0.40", "held": "0.00"}
    assert (rest["kind"], rest["amount"], rest["money"]) == ("money", "0.75", None)
    await sound(two)
