"""TMF654 v4 over HTTP: a translation onto the operations of /v1, in the forms of TM Forum (docs/tmf654.md)."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import httpx
import pytest

from balances.structs.posting import Expire
from ocs.tmf654.words import BASE
from tests.ocs.api.test_transfers import copying
from tests.ocs.api_harness import ApiHarness

EUR_1 = {"amount": 1, "units": "EUR"}
ALICE, BOB = "msisdn:491700000001", "msisdn:491700000002"


@pytest.fixture
async def two(harness: ApiHarness) -> ApiHarness:
    """a1 of a customer, with a number and 10.00; b1 with a number and nothing."""
    await harness.tariff()
    await harness.account("a1", customer="C-1")
    await harness.account("b1")
    await harness.subscriber("alice", "a1", ALICE)
    await harness.subscriber("bob", "b1", BOB)
    await harness.top_up("10.00", "a1")
    await harness.sync()
    return harness


async def get(harness: ApiHarness, path: str) -> httpx.Response:
    return await harness.call("GET", path if path.startswith("/") else f"{BASE}/{path}")


async def post(harness: ApiHarness, path: str, body: dict[str, Any], **headers: str) -> httpx.Response:
    return await harness.call("POST", f"{BASE}/{path}", body, **headers)


def amount_of(answer: httpx.Response, field: str = "amount") -> tuple[Decimal, str]:
    """Exact, with its unit."""
    found = json.loads(answer.text, parse_float=Decimal, parse_int=Decimal)[field]
    return found["amount"], found["units"]


def wish(amount: float | str, bucket: str = "a1:0", **more: Any) -> dict[str, Any]:
    return {
        "amount": {"amount": amount, "units": "EUR"},
        "usageType": "monetary",
        "bucket": {"id": bucket},
        "partyAccount": {"id": bucket.partition(":")[0]},
    } | more


async def balance(harness: ApiHarness, account: str = "a1") -> str:
    return str((await harness.call("GET", f"/v1/accounts/{account}")).json()["balance"])


async def test_buckets_are_listed_by_whose_they_are_in_pages(two: ApiHarness) -> None:
    await two.top_up("1073741824", "a1", kind="octets", name="week")
    everything = await get(two, "bucket")
    assert [one["id"] for one in everything.json()] == ["a1:0", "a1:1", "b1:0"]
    assert (everything.status_code, everything.headers["x-total-count"]) == (200, "3")
    for query in ("partyAccount.id=a1", "logicalResource.id=%2B49%20170%200000001", "relatedParty.id=C-1"):
        assert [one["id"] for one in (await get(two, f"bucket?{query}")).json()] == ["a1:0", "a1:1"], query
    [data] = (await get(two, "bucket?partyAccount.id=a1&usageType=data&status=active")).json()
    assert data["remainingValue"] == {"amount": 1073741824, "units": "octets"}
    assert (data["name"], data["href"]) == ("week", f"{BASE}/bucket/a1:1")
    assert (await get(two, data["href"])).json() == data
    for query in ("partyAccount.id=none", "logicalResource.id=4711", "partyAccount.id=b1&relatedParty.id=C-1"):
        nothing = await get(two, f"bucket?{query}")
        assert (nothing.json(), nothing.headers["x-total-count"]) == ([], "0"), query
    part = await get(two, "bucket?offset=2&limit=1&fields=usageType,nonsense")
    assert part.status_code == 206
    assert (part.headers["x-total-count"], part.headers["x-result-count"]) == ("3", "1")
    assert part.json() == [{"id": "b1:0", "href": f"{BASE}/bucket/b1:0", "usageType": "monetary"}]
    for wrong in ("limit=0", "offset=-1", "limit=x", "limit=1&limit=2", "colour=red", "partyAccount.id=", "id=x"):
        refused = await get(two, f"bucket?{wrong}")
        assert (refused.status_code, refused.json()["@type"]) == (400, "Error"), wrong


async def test_what_is_held_is_not_remaining(two: ApiHarness) -> None:
    order = {"amount": "4.00", "subscriber": "alice"}
    assert (await two.call("POST", "/v1/reservations", order, idempotency_key="r1")).status_code == 201
    bucket = await get(two, "bucket/a1:0")
    assert amount_of(bucket, "remainingValue") == (Decimal("6.00"), "EUR")
    assert amount_of(bucket, "reservedValue") == (Decimal("4.00"), "EUR")
    assert amount_of(await get(two, "accumulatedBalance/a1:monetary"), "totalBalance") == (Decimal("6.00"), "EUR")


async def test_a_top_up_is_done_once_for_its_key_and_is_on_the_ledger(two: ApiHarness) -> None:
    body = wish(0.1, channel={"id": "1"}, description="till 4", logicalResource=[{"id": "491700000001"}])
    done = await post(two, "topupBalance", body, idempotency_key="k1")
    assert done.status_code == 201, done.text
    made = done.json()
    assert (made["status"], made["@type"], made["description"]) == ("completed", "TopupBalance", "till 4")
    again = await post(two, "topupBalance", body, idempotency_key="k1")
    assert (again.status_code, again.json()["id"]) == (201, made["id"])
    other = await post(two, "topupBalance", wish(0.2), idempotency_key="k1")
    assert (other.status_code, other.json()["code"], other.json()["status"]) == (409, "key-reused", "409")
    assert await balance(two) == "10.10"
    async with copying(two):
        shown = await get(two, done.headers["location"])  # waits for the copy
    assert {**made, "requestedDate": "", "confirmationDate": ""} == {
        **shown.json(),
        "requestedDate": "",
        "confirmationDate": "",
    }
    listed = await get(two, "topupBalance?partyAccount.id=a1")
    assert [one["id"] for one in listed.json()] == [made["id"], "a1:1"]
    assert (await get(two, "topupBalance?requestedDate.lte=2020-01-01T00:00:00Z")).json() == []
    assert (await post(two, "topupBalance", wish(0.1))).status_code == 201  # no key: each time it comes
    assert await balance(two) == "10.20"


async def test_a_bucket_is_made_by_a_top_up(two: ApiHarness) -> None:
    body = {
        "amount": {"amount": 1.5, "units": "MB"},
        "usageType": "data",
        "bucket": {"id": "a1:new", "name": "promotion"},
        "partyAccount": {"id": "a1"},
        "validFor": {"endDateTime": "2099-12-31T23:59:59+01:00"},
    }
    made = await post(two, "topupBalance", body)
    assert made.status_code == 201, made.text
    bucket = (await get(two, made.json()["bucket"]["href"])).json()
    assert (bucket["name"], bucket["remainingValue"]["amount"]) == ("promotion", 1_500_000)
    assert bucket["validFor"] == {"endDateTime": "2099-12-31T22:59:59Z"}


NOT_MEANT: list[tuple[dict[str, Any], str]] = [
    ({"amount": {"amount": 0, "units": "EUR"}}, "amount"),
    ({"amount": {"amount": -5, "units": "EUR"}}, "amount"),
    ({"amount": {"amount": 5, "units": "USD"}}, "EUR"),
    ({"amount": {"amount": 0.0000001, "units": "EUR"}}, "six decimals"),
    ({"amount": {"amount": 1e30, "units": "EUR"}}, "at most"),
    ({"amount": {"amount": "1e4000000", "units": "EUR"}}, "digits"),
    ({"amount": {"amount": "NaN", "units": "EUR"}}, "digits"),
    ({"usageType": "data"}, "units"),
    ({"usageType": "money"}, "usageType"),
    ({"bucket": {"id": "a1"}}, "demo-1:0"),
    ({"bucket": {"id": "a1:7"}}, "a1:new"),
    ({"bucket": {"id": "a1:new"}}, "validFor"),
    ({"bucket": {"id": "none:0"}, "partyAccount": {"id": "none"}}, "no account none"),
    ({"partyAccount": {"id": "b1"}}, "partyAccount"),
    ({"logicalResource": [{"id": BOB}]}, "logicalResource"),
    ({"voucher": "3A7KD9FGHTWXC4Q"}, "voucher"),
    ({"voucher": "3A7KD9FGHTWXC4Q", "validFor": {"endDateTime": "2099-12-31T23:59:59Z"}}, "validFor"),
    ({"voucher": "3A7KD9FGHTWXC4Q", "bucket": {"id": "a1:7"}}, "the voucher says"),
    ({"voucher": ""}, "voucher"),
    ({"isAutoTopup": True}, "isAutoTopup: expected false: nothing is topped up or adjusted again by itself"),
    ({"numberOfPeriods": 3}, "a recurring fee of a tariff"),
    ({"recurringPeriod": "monthly"}, "a recurring fee of a tariff"),
]


async def test_what_cannot_be_meant_is_400_and_moves_nothing(two: ApiHarness) -> None:
    for change, word in NOT_MEANT:
        refused = await post(two, "topupBalance", wish(5) | change)
        assert (refused.status_code, refused.json()["status"]) == (400, "400"), refused.text
        assert word in refused.json()["message"]
    assert await balance(two) == "10.00"


async def test_an_adjustment_takes_what_is_free(two: ApiHarness) -> None:
    done = await post(two, "adjustBalance", wish(-3.25, reason="goodwill"))
    assert (done.status_code, done.json()["reason"]) == (201, "goodwill"), done.text
    assert amount_of(done) == (Decimal("-3.25"), "EUR")
    short = await post(two, "adjustBalance", wish(-100))
    assert (short.status_code, short.json()["code"]) == (409, "insufficient-funds")
    recurring = await post(two, "adjustBalance", wish(1, adjustType="recurring"))
    assert (recurring.status_code, "a recurring fee of a tariff" in recurring.json()["message"]) == (400, True)
    for wrong in (wish(0), wish(1, usageType="data"), wish(1, bucket="a1:9"), wish(1, bucket="a1:new")):
        assert (await post(two, "adjustBalance", wrong)).status_code == 400
    assert await balance(two) == "6.75"


async def test_a_transfer_arrives_and_is_shown(two: ApiHarness) -> None:
    body = wish(
        3,
        reason="gift",
        receiverBucket={"id": "b1:0"},
        receiverBucketUsageType="monetary",
        receiverLogicalResource={"id": "+49 170 0000002", "@referredType": "MSISDN"},
    )
    async with copying(two):
        done = await post(two, "transferBalance", body, idempotency_key="t1")
        assert (done.status_code, done.json()["status"]) == (201, "completed"), done.text
        assert (await post(two, "transferBalance", body, idempotency_key="t1")).json()["id"] == done.json()["id"]
    assert (await balance(two), await balance(two, "b1")) == ("7.00", "3.00")
    assert (await get(two, done.headers["location"])).json() == done.json()
    for account in ("a1", "b1"):
        assert (await get(two, f"transferBalance?partyAccount.id={account}&status=completed")).json() == [done.json()]
    assert (await get(two, "transferBalance?status=created")).json() == []
    wrong = [
        body | {"receiverBucket": {"id": "a1:0"}, "receiverLogicalResource": {"id": ALICE}},
        body | {"receiverBucket": {"id": "none:0"}},
        body | {"receiverBucket": {"id": "b1:1"}},
        body | {"receiverLogicalResource": {"id": ALICE}},
        body | {"usageType": "data"},
    ]
    for one in wrong:
        assert (await post(two, "transferBalance", one)).status_code == 400, one


async def test_a_voucher_tops_up_what_it_is_worth_once(two: ApiHarness) -> None:
    batch = {"amount": "5.00", "currency": "EUR", "count": 2}
    assert (await two.call("PUT", "/v1/voucher-batches/v", batch)).status_code == 200
    assert (await two.call("PUT", "/v1/voucher-batches/v/state", {"state": "active"})).status_code == 200
    lines = (await two.call("POST", "/v1/voucher-batches/v/export", {})).content.splitlines()
    code, other = (json.loads(line)["code"] for line in lines)
    wrong = await post(two, "topupBalance", wish(50, voucher=code))
    assert (wrong.status_code, wrong.json()["code"]) == (409, "conflict"), wrong.text
    assert "5.00 EUR" in wrong.json()["message"]
    units = {"usageType": "data", "amount": {"amount": 5_000_000, "units": "octets"}}
    assert (await post(two, "topupBalance", wish(5, voucher=code) | units)).status_code == 409
    assert await balance(two) == "10.00"
    done = await post(two, "topupBalance", wish(5, voucher=code), idempotency_key="v1")
    for _ in range(2):
        assert (done.status_code, done.json()["status"]) == (201, "completed"), done.text
        assert amount_of(done) == (Decimal(5), "EUR")
        done = await post(two, "topupBalance", wish(5, voucher=code), idempotency_key="v1")
    assert await balance(two) == "15.00"
    assert (await post(two, "topupBalance", wish(5, voucher=code))).status_code == 409, "it was redeemed"
    assert await balance(two) == "15.00"
    await two.sync()
    [shown] = (await get(two, "topupBalance?partyAccount.id=a1&limit=1")).json()
    assert shown["id"] == done.json()["id"]
    kept = await two.pool.fetch("SELECT after::text AS after FROM audit")
    assert not any(code in (row["after"] or "") for row in kept)
    assert (await post(two, "topupBalance", wish(5, voucher=other, bucket="b1:new"))).status_code == 201
    assert await balance(two, "b1") == "5.00"


async def test_units_move_between_buckets_of_one_account(two: ApiHarness) -> None:
    for name in ("week", "month"):
        await two.top_up("2000000", "a1", kind="octets", name=name)
    await two.top_up("60", "a1", kind="seconds", name="voice")
    body = wish(1.5, bucket="a1:1", usageType="data", reason="share", receiverBucketUsageType="data") | {
        "amount": {"amount": 1.5, "units": "MB"},
        "receiverBucket": {"id": "a1:2"},
    }
    done = await post(two, "transferBalance", body, idempotency_key="m1")
    assert (done.status_code, done.json()["status"], amount_of(done)) == (
        201,
        "completed",
        (Decimal(1_500_000), "octets"),
    ), done.text
    assert (await post(two, "transferBalance", body, idempotency_key="m1")).json()["id"] == done.json()["id"]
    left = [(await get(two, f"bucket/a1:{number}")).json()["remainingValue"]["amount"] for number in (1, 2)]
    assert left == [500_000, 3_500_000]
    await two.sync()
    shown = (await get(two, done.headers["location"])).json()
    assert shown["amount"] == done.json()["amount"]
    assert (shown["bucket"]["id"], shown["receiverBucket"]["id"]) == ("a1:1", "a1:2")
    assert (await get(two, f"transferBalance/a1:{int(shown['id'].partition(':')[2]) + 1}")).status_code == 404
    assert (await two.call("DELETE", f"{BASE}/transferBalance/{shown['id']}")).status_code == 409
    wrong = (
        {"receiverBucket": {"id": "a1:3"}},
        {"receiverBucket": {"id": "a1:1"}},
        {"receiverBucket": {"id": "a1:9"}},
        {"receiverBucket": {"id": "a1:new"}},
        {"receiverBucket": {"id": "b1:0"}},
        {"receiverBucketUsageType": "voice"},
        {"usageType": "voice", "receiverBucketUsageType": "voice", "amount": {"amount": 1, "units": "s"}},
        {"amount": {"amount": -1, "units": "MB"}},
    )
    for change in wrong:
        assert (await post(two, "transferBalance", body | change)).status_code == 400, change
    assert (await post(two, "transferBalance", body | {"amount": {"amount": 9, "units": "MB"}})).status_code == 409


async def test_a_reservation_is_debited_or_released_once(two: ApiHarness) -> None:
    first = await post(two, "reserveBalance", wish(4), idempotency_key="r1")  # for the only subscriber of a1
    assert (first.status_code, first.json()["status"]) == (201, "created"), first.text
    assert (await post(two, "reserveBalance", wish(4), idempotency_key="r1")).json()["id"] == first.json()["id"]
    short = await post(two, "reserveBalance", wish(6.01))
    assert (short.status_code, short.json()["code"]) == (409, "insufficient-funds")
    second = await post(two, "reserveBalance", wish(2, logicalResource=[{"id": ALICE}]))
    assert (await get(two, "reserveBalance?limit=1")).status_code == 206
    assert len((await get(two, "reserveBalance?partyAccount.id=a1&status=created")).json()) == 2

    one, other = first.headers["location"], second.headers["location"]
    debit = {"status": "completed", "amount": {"amount": 1.5, "units": "EUR"}}
    for _ in range(2):  # a repeat says the same
        done = await two.call("PATCH", one, debit, content_type="application/merge-patch+json")
        assert (done.status_code, done.json()["status"]) == (200, "completed"), done.text
        assert amount_of(done) == (Decimal("1.50"), "EUR")
        assert (await two.call("DELETE", other)).status_code == 204
    assert (await get(two, other)).json()["status"] == "cancelled"
    for path, body in ((one, {"status": "cancelled"}), (one, {"status": "completed", "amount": EUR_1}), (other, debit)):
        assert (await two.call("PATCH", path, body)).status_code == 409, (path, body)
    assert (await balance(two), (await get(two, "bucket/a1:0")).json()["reservedValue"]["amount"]) == ("8.50", 0)
    assert (await get(two, "reserveBalance/none")).status_code == 404
    octets = {"amount": {"amount": 1, "units": "MB"}, "usageType": "data"}
    for wrong, says in (
        (wish(1, bucket="a1:1"), "expected a1:0: which buckets pay"),
        (wish(1, logicalResource=[{"id": BOB}]), "logicalResource"),
        (wish(0), "more than zero"),
        (wish(1) | octets, "usageType: expected monetary: units are held by what uses them, a charging session"),
    ):
        refused = await post(two, "reserveBalance", wrong)
        assert (refused.status_code, says in refused.json()["message"]) == (400, True), refused.text


async def test_a_name_that_no_store_can_keep_is_refused(two: ApiHarness) -> None:
    """PostgreSQL has no NUL."""
    for filter_ in ("logicalResource.id", "partyAccount.id", "relatedParty.id", "bucket.id"):
        refused = await get(two, f"balanceActionHistory?{filter_}=%00t")
        assert refused.status_code == 400, refused.text
    for field in ("partyAccount", "bucket"):
        refused = await post(two, "reserveBalance", wish(1) | {field: {"id": "a\x00"}})
        assert refused.status_code == 400, refused.text
    refused = await post(two, "reserveBalance", wish(1, logicalResource=[{"id": "msisdn:\x00"}]))
    assert refused.status_code == 400, refused.text


async def test_what_lapsed_after_a_part_was_confirmed_is_not_completed(two: ApiHarness) -> None:
    made = await post(two, "reserveBalance", wish(4))
    assert made.status_code == 201
    part, id_ = {"number": 1, "amount": "1.00", "left": "3.00"}, made.json()["id"]
    assert (await two.call("POST", f"/v1/reservations/{id_}/confirm", part)).status_code == 200
    two.ahead_ms += 10 * 86_400_000
    session = (await two.call("GET", f"/v1/reservations/{id_}")).json()["session"]
    await two.store.expire(Expire("a1", session, two.now_ms())).wait()
    done = await two.call("PATCH", made.headers["location"], {"status": "completed"})
    assert (done.status_code, done.json()["code"]) == (409, "conflict"), done.text


async def test_the_history_has_all_of_it_and_nothing_is_changed_afterwards(two: ApiHarness) -> None:
    await post(two, "adjustBalance", wish(-1))
    await two.sync()
    history = await get(two, "balanceActionHistory?bucket.id=a1:0")
    assert [one["@type"] for one in history.json()] == ["AdjustBalance", "TopupBalance"]
    newest = history.json()[0]
    assert (await get(two, newest["href"])).json() == newest
    for path in ("adjustBalance/a1:2", "topupBalance/a1:1"):
        changed = await two.call("PATCH", f"{BASE}/{path}", {"status": "cancelled"})
        removed = await two.call("DELETE", f"{BASE}/{path}")
        assert (changed.status_code, removed.status_code) == (409, 409)
    for path in (
        "adjustBalance/a1:1",
        "topupBalance/a1:99",
        "topupBalance/none:1",
        "transferBalance/none",
        "bucket/a1:9",
    ):
        assert (await get(two, path)).status_code == 404, path


async def test_refusals_are_in_the_form_of_tm_forum_and_by_the_roles_of_v1(two: ApiHarness) -> None:
    unknown = await two.call("GET", f"{BASE}/bucket", authorization="Bearer none")
    assert (unknown.status_code, unknown.json()["code"]) == (401, "unauthorized")
    assert (await two.call("POST", f"{BASE}/bucket", {})).status_code == 405
    missing = await get(two, "nothing")
    assert missing.json() == {
        "code": "not-found",
        "reason": "There is no such thing",
        "message": f"GET {BASE}/nothing: there is no such path: see /docs",
        "status": "404",
        "referenceError": "urn:ocs:problem:not-found",
        "@type": "Error",
    }
    made = await two.call("POST", "/v1/tokens", {"caller": "reader", "roles": ["noc"]})
    assert made.status_code == 201, made.text
    reader = {"authorization": f"Bearer {made.json()['token']}"}
    refused = await post(two, "topupBalance", wish(5), **reader)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
