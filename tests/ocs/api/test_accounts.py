"""Accounts: settings with If-Match, money that moves exactly once, the ledger."""

import asyncio
from typing import Any

from balances import keys
from tests.ocs.api_harness import ApiHarness


async def test_an_account_begins_empty(harness: ApiHarness) -> None:
    made = await harness.call(
        "PUT", "/v1/accounts/a1", {"currency": "EUR", "credit_limit": "5.5", "time_zone": "Europe/Berlin"}
    )
    assert made.status_code == 201
    shown = made.json()
    assert {name: shown[name] for name in ("id", "currency", "time_zone", "state", "balance", "available")} == {
        "id": "a1",
        "currency": "EUR",
        "time_zone": "Europe/Berlin",
        "state": "active",
        "balance": "0.00",
        "available": "5.50",
    }
    assert [(bucket["id"], bucket["kind"], bucket["main"]) for bucket in shown["buckets"]] == [(0, "money", True)]
    assert (shown["suspend_below"], shown["resume_at"]) == (None, None)
    again = await harness.call("GET", "/v1/accounts/a1")
    assert again.json() == shown
    assert again.headers["etag"] == f'"{shown["rev"]}"'


async def test_settings_change_by_if_match(harness: ApiHarness) -> None:
    rev = (await harness.account())["rev"]
    change = {"currency": "EUR", "credit_limit": "10", "suspend_below": "1.00"}
    unconditional = await harness.call("PUT", "/v1/accounts/a1", change)
    assert (unconditional.status_code, unconditional.json()["type"]) == (428, "urn:ocs:problem:version-required")
    stale = await harness.call("PUT", "/v1/accounts/a1", change, if_match=f'"{rev + 7}"')
    assert (stale.status_code, stale.json()["version"]) == (412, rev)
    done = await harness.call("PUT", "/v1/accounts/a1", change, if_match=f'"{rev}"')
    assert done.status_code == 200
    assert done.json()["credit_limit"] == "10.00"
    assert (done.json()["suspend_below"], done.json()["resume_at"]) == ("1.00", "1.00")
    assert (done.json()["state"], done.json()["suspended_for"]) == ("suspended", ["credit"])
    repeat = await harness.call("PUT", "/v1/accounts/a1", change)
    assert (repeat.status_code, repeat.json()["rev"]) == (200, done.json()["rev"])
    topped = await harness.top_up("1.00")
    assert topped.json()["state"] == "active"


async def test_suspended_and_back_by_hand(harness: ApiHarness) -> None:
    await harness.account(state="suspended", suspend_for="fraud")
    shown = (await harness.call("GET", "/v1/accounts/a1")).json()
    assert (shown["state"], shown["suspended_for"]) == ("suspended", ["fraud"])
    active = await harness.call("PUT", "/v1/accounts/a1", {"currency": "EUR", "state": "active"}, if_match="*")
    assert active.json()["state"] == "active"
    closed = await harness.call("PUT", "/v1/accounts/a1", {"currency": "EUR", "state": "closed"}, if_match="*")
    assert closed.json()["state"] == "closed"
    assert (await harness.top_up("1")).json()["type"] == "urn:ocs:problem:account-closed"


async def test_a_reason_without_a_suspension_is_refused(harness: ApiHarness) -> None:
    await harness.account()
    body = {"currency": "EUR", "suspend_for": "fraud"}
    assert (await harness.call("PUT", "/v1/accounts/a1", body, if_match="*")).status_code == 422
    assert (await harness.call("GET", "/v1/accounts/a1")).json()["state"] == "active"


async def test_money_moves_once_for_a_key(harness: ApiHarness) -> None:
    await harness.account()
    first = await harness.top_up("20.00", key="k1", reference="till 7")
    assert first.status_code == 201
    assert first.json()["entries"] == [
        {
            "seq": 1,
            "bucket": 0,
            "kind": "money",
            "amount": "20.00",
            "balance_after": "20.00",
            "counter_account": "top-up",
            "why": "top-up",
        }
    ]
    again = await harness.top_up("20.00", key="k1", reference="till 7")
    assert (again.status_code, again.json()) == (201, first.json())
    other = await harness.top_up("20.01", key="k1", reference="till 7")
    assert (other.status_code, other.json()["type"]) == (409, "urn:ocs:problem:key-reused")
    adjusted = await harness.call(
        "POST", "/v1/accounts/a1/adjustments", {"amount": "20.00", "reason": "x"}, idempotency_key="k1"
    )
    assert adjusted.status_code == 409
    assert (await harness.call("GET", "/v1/accounts/a1")).json()["balance"] == "20.00"
    await harness.account("a2")
    assert (await harness.top_up("20.00", "a2", key="k1")).status_code == 201  # keys are scoped to the account


async def test_postgres_remembers_a_key_that_redis_forgot(harness: ApiHarness) -> None:
    await harness.account()
    first = await harness.top_up("20.00", key="k1")
    await harness.sync()
    assert await harness.redis.delete(keys.once("a1", keys.request_key("admin", "k1"))) == 1
    again = await harness.top_up("20.00", key="k1")
    assert (again.status_code, again.json()) == (201, first.json())
    assert (await harness.top_up("21.00", key="k1")).status_code == 409
    assert (await harness.call("GET", "/v1/accounts/a1")).json()["balance"] == "20.00"


async def test_the_same_key_many_times_at_once(harness: ApiHarness) -> None:
    await harness.account()
    answers = await asyncio.gather(*(harness.top_up("20.00", key="k1") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert (await harness.call("GET", "/v1/accounts/a1")).json()["balance"] == "20.00"


async def test_of_two_changes_at_once_one_is_refused(harness: ApiHarness) -> None:
    rev = (await harness.account())["rev"]
    bodies = [{"currency": "EUR", "credit_limit": str(limit)} for limit in range(1, 9)]
    answers = await asyncio.gather(
        *(harness.call("PUT", "/v1/accounts/a1", body, if_match=f'"{rev}"') for body in bodies)
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7


async def test_an_account_created_by_many_at_once(harness: ApiHarness) -> None:
    answers = await asyncio.gather(
        *(harness.call("PUT", "/v1/accounts/a1", {"currency": "EUR", "credit_limit": "5"}) for _ in range(10))
    )
    assert sorted(answer.status_code for answer in answers) == [200] * 9 + [201]
    assert {answer.json()["available"] for answer in answers} == {"5.00"}


async def test_no_key_no_money(harness: ApiHarness) -> None:
    await harness.account()
    refused = await harness.call("POST", "/v1/accounts/a1/topups", {"amount": "1"})
    assert (refused.status_code, refused.json()["type"]) == (400, "urn:ocs:problem:key-required")


async def test_a_bundle_is_a_bucket_of_its_own(harness: ApiHarness) -> None:
    await harness.account()
    made = await harness.top_up(
        "1073741824", kind="octets", valid_until="2030-01-01T00:00:00+01:00", scope=["data"], name="1 GB"
    )
    assert made.status_code == 201
    bucket = (await harness.call("GET", "/v1/accounts/a1")).json()["buckets"][0]
    assert bucket == {
        "id": 1,
        "kind": "octets",
        "amount": "1073741824",
        "held": "0",
        "priority": 50,
        "valid_from": None,
        "valid_until": "2029-12-31T23:00:00Z",
        "valid_for_s": None,
        "scope": ["data"],
        "name": "1 GB",
        "main": False,
        "bonus": False,
        "blocker": False,
        "hours": None,
        "member": None,
        "money": None,
        "price": None,
        "per": 1,
    }
    past = await harness.top_up("1", kind="octets", valid_until="2020-01-01T00:00:00Z")
    assert past.status_code == 422


async def test_a_bundle_may_be_valid_from_its_first_use_on(harness: ApiHarness) -> None:
    await harness.account()
    assert (await harness.top_up("60", kind="seconds", valid_for_s=86_400)).status_code == 201
    bucket = (await harness.call("GET", "/v1/accounts/a1")).json()["buckets"][0]
    assert (bucket["valid_until"], bucket["valid_for_s"]) == (None, 86_400)
    both = await harness.top_up("60", kind="seconds", valid_for_s=60, valid_until="2030-01-01T00:00:00Z")
    assert both.status_code == 422


async def test_a_repeat_is_answered_even_when_its_bundle_has_expired(harness: ApiHarness) -> None:
    await harness.account()
    until = {"kind": "seconds", "valid_until": "2030-01-01T00:00:00Z"}
    first = await harness.top_up("60", key="k1", **until)
    harness.ahead_ms = 10 * 365 * 86_400_000
    assert (await harness.top_up("60", key="k1", **until)).json() == first.json()
    assert (await harness.top_up("60", key="k2", **until)).status_code == 422


async def test_adjustment(harness: ApiHarness) -> None:
    await harness.account()
    await harness.top_up("10")
    down = await harness.call(
        "POST", "/v1/accounts/a1/adjustments", {"amount": "-3.000001", "reason": "error"}, idempotency_key="k1"
    )
    assert (down.status_code, down.json()["balance"]) == (201, "6.999999")
    nowhere = await harness.call(
        "POST", "/v1/accounts/a1/adjustments", {"amount": "1", "reason": "x", "bucket": 9}, idempotency_key="k3"
    )
    assert nowhere.status_code == 404


async def test_a_transfer(harness: ApiHarness) -> None:
    await harness.account(credit_limit="5")
    await harness.top_up("10")
    bonus = (await harness.top_up("2", name="bonus")).json()["entries"][0]["bucket"]
    octets = (await harness.top_up("1000", kind="octets")).json()["entries"][0]["bucket"]

    async def transfer(key: str, amount: str, **where: int) -> Any:
        body = {"amount": amount, "reason": "asked by phone", **where}
        return await harness.call("POST", "/v1/accounts/a1/transfers", body, idempotency_key=key)

    done = await transfer("k1", "1.50", **{"from": bonus}, to=0)
    assert (done.status_code, done.json()["balance"]) == (201, "12.00")
    moved = [(e["bucket"], e["amount"], e["balance_after"], e["why"]) for e in done.json()["entries"]]
    assert moved == [(bonus, "-1.50", "0.50", "transfer"), (0, "1.50", "11.50", "transfer")]
    assert (await transfer("k1", "1.50", **{"from": bonus}, to=0)).json() == done.json()
    assert (await transfer("k1", "1.40", **{"from": bonus}, to=0)).json()["type"] == "urn:ocs:problem:key-reused"
    for key, amount, source, target, status in (
        ("k2", "11.51", 0, bonus, 409),
        ("k3", "1", 0, octets, 422),
        ("k4", "1", 0, 0, 422),
        ("k5", "1", 0, 99, 404),
        ("k6", "-1", 0, bonus, 422),
    ):
        assert (await transfer(key, amount, **{"from": source}, to=target)).status_code == status, key
    await harness.sync()
    ledger = (await harness.call("GET", "/v1/accounts/a1/ledger?why=transfer")).json()["items"]
    assert [(e["counter_account"], e["amount"]) for e in ledger] == [("transit", "-1.50"), ("transit", "1.50")]


REFUSED: list[tuple[Any, str]] = [
    ({"amount": 1}, "amount"),
    ({"amount": "1.0000001"}, "amount"),
    ({"amount": "0"}, "amount"),
    ({"amount": "-1"}, "amount"),
    ({"amount": "9999999999"}, "amount"),
    ({"amount": "1e3"}, "amount"),
    ({"amount": "1.5", "kind": "octets"}, "amount"),
    ({"amount": "1", "kind": "beans"}, "kind"),
    ({"amount": "1", "amuont": "2"}, "amuont"),
    ({"amount": "1", "valid_until": "tomorrow"}, "valid_until"),
    ({"amount": "1", "valid_until": "2030-13-01T00:00:00Z"}, "valid_until"),
    ({}, "amount"),
    ([], "array"),
]


async def test_a_refusal_names_the_field(harness: ApiHarness) -> None:
    await harness.account()
    for body, names in REFUSED:
        refused = await harness.call("POST", "/v1/accounts/a1/topups", body, idempotency_key="k")
        assert refused.status_code == 422, body
        assert refused.headers["content-type"] == "application/problem+json"
        assert names in refused.json()["detail"]
    assert (await harness.call("GET", "/v1/accounts/a1")).json()["seq"] == 0


async def test_the_ledger_lists_every_entry(harness: ApiHarness) -> None:
    await harness.account()
    for number in range(5):
        await harness.top_up("1", key=f"k{number}", reference=f"r{number}")
    await harness.sync()
    first = (await harness.call("GET", "/v1/accounts/a1/ledger?limit=3")).json()
    rest = (await harness.call("GET", f"/v1/accounts/a1/ledger?after_seq={first['next_after_seq']}")).json()
    assert [entry["seq"] for entry in first["items"] + rest["items"]] == [1, 2, 3, 4, 5]
    assert rest["next_after_seq"] is None
    last = rest["items"][-1]
    assert (last["amount"], last["balance_after"], last["why"], last["actor"], last["reference"]) == (
        "1.00",
        "5.00",
        "top-up",
        "admin",
        "r4",
    )


async def test_an_account_that_redis_lost_is_brought_back(harness: ApiHarness) -> None:
    await harness.account("a1", credit_limit="3")
    await harness.top_up("20.00", key="k1")
    await harness.account("a2", credit_limit="4")
    await harness.sync()
    for account in ("a1", "a2"):
        assert await harness.redis.delete(keys.account(account)) == 1
    shown = (await harness.call("GET", "/v1/accounts/a1")).json()
    assert (shown["balance"], shown["credit_limit"]) == ("20.00", "3.00")
    assert (await harness.call("GET", "/v1/accounts/a2")).json()["available"] == "4.00"
    assert await harness.redis.delete(keys.account("a1")) == 1
    assert (await harness.top_up("1")).json()["balance"] == "21.00"


async def test_an_account_whose_creation_was_cut_short(harness: ApiHarness) -> None:
    """The row is in PostgreSQL, Redis and the ledger have never heard of it: the next who asks completes it."""
    await harness.pool.execute(
        "INSERT INTO accounts (id, currency, time_zone, credit_limit, change, members_change)"
        " VALUES ('a1', 'EUR', 'UTC', 7000000, 0, 0)"
    )
    assert (await harness.call("GET", "/v1/accounts/a1")).json()["available"] == "7.00"


async def test_the_currency_stays(harness: ApiHarness) -> None:
    await harness.account()
    refused = await harness.call("PUT", "/v1/accounts/a1", {"currency": "USD"}, if_match="*")
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:ocs:problem:immutable")
    assert (await harness.call("PUT", "/v1/accounts/a9", {"currency": "QQQ"})).status_code == 422
    assert (await harness.call("PUT", "/v1/accounts/a9", {"currency": "EUR", "time_zone": "Mars"})).status_code == 422


async def test_accounts_by_page(harness: ApiHarness) -> None:
    for number in range(5):
        await harness.account(f"a{number}")
    first = (await harness.call("GET", "/v1/accounts?limit=3")).json()
    rest = (await harness.call("GET", f"/v1/accounts?limit=3&after={first['next']}")).json()
    assert [item["id"] for item in first["items"] + rest["items"]] == ["a0", "a1", "a2", "a3", "a4"]
    assert rest["next"] is None


async def test_what_curl_sends_without_a_content_type(harness: ApiHarness) -> None:
    await harness.account()
    curl = {"content_type": "application/x-www-form-urlencoded", "idempotency_key": "c1"}
    made = await harness.call("POST", "/v1/accounts/a1/topups", {"amount": "5.00"}, **curl)
    assert (made.status_code, made.json()["balance"]) == (201, "5.00")
    form = await harness.call("POST", "/v1/accounts/a1/topups", b"amount=5.00", **curl | {"idempotency_key": "c2"})
    assert (form.status_code, form.json()["type"]) == (400, "urn:ocs:problem:malformed")
    tariff = await harness.call("PUT", "/v1/tariffs/t", b"tariff = 't'", content_type=curl["content_type"])
    assert tariff.status_code == 415
    assert "-H 'Content-Type: application/toml'" in tariff.json()["detail"]


async def test_what_stands_behind_a_blocker_is_not_available(harness: ApiHarness) -> None:
    await harness.account(credit_limit="50.00")
    await harness.top_up("20.00")
    await harness.top_up("3.00", bonus=True)  # of the same priority: it is not behind
    await harness.top_up("5.00", blocker=True)
    shown = (await harness.call("GET", "/v1/accounts/a1")).json()
    assert (shown["balance"], shown["available"]) == ("28.00", "8.00")
