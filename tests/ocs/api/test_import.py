"""Import: what goes in, what does not, and that nothing goes in twice."""

import asyncio
from typing import Any

import pytest

from balances import keys
from balances.ledger.verify import verify
from balances.redis.calls import NotSent
from balances.redis.pending import Pending
from ocs.api import import_file
from ocs.charging.request import ChargingAnswer
from protocol.diameter.dictionary.credit_control import SubscriptionId
from tests.ocs.api.imports import as_lines, counts, errors, imported, person
from tests.ocs.api_harness import ApiHarness
from tests.ocs.charging.wire import I, ccr, mscc

MB = 1_048_576


@pytest.fixture
async def harness(harness: ApiHarness) -> ApiHarness:
    await harness.tariff()
    return harness


async def state(harness: ApiHarness) -> dict[bytes, Any]:
    """All that an import could change: the live store, and what PostgreSQL has of master data."""
    found: dict[Any, Any] = {key: await harness.redis.dump(key) async for key in harness.redis.scan_iter()}
    for uncertain in (keys.PROJECTED + ":run",):
        found.pop(uncertain.encode(), None)
    for table in ("master", "accounts", "subscribers", "identities", "assignments"):
        found[table] = sorted(map(repr, await harness.pool.fetch(f"SELECT * FROM {table}")))
    return found


async def sound(harness: ApiHarness) -> None:
    await harness.sync()
    report = await verify(harness.redis, harness.pool)
    assert report.sound, report.lines()


async def test_accounts_and_subscribers_go_in(harness: ApiHarness) -> None:
    events = await imported(harness, [person(number) for number in range(1, 4)])
    assert counts(events) == (0, 3, 0, 3, 0)
    assert events[-1]["given"] == {"EUR": "60.00"}
    account = (await harness.call("GET", "/v1/accounts/a2")).json()
    assert (account["balance"], account["seq"], account["state"]) == ("20.00", 1, "active")
    found = (await harness.call("GET", "/v1/subscribers?identity=msisdn:491700000002")).json()["items"]
    assert [one["id"] for one in found] == ["s2"]
    await sound(harness)
    (entry,) = (await harness.call("GET", "/v1/accounts/a2/ledger")).json()["items"]
    assert (entry["amount"], entry["balance_after"], entry["seq"]) == ("20.00", "20.00", 1)
    assert (entry["counter_account"], entry["why"], entry["actor"]) == ("opening", "opening", "admin")
    assert await harness.pool.fetchval("SELECT count(*) FROM calls WHERE account = 'a2'") == 1, "one record opened it"


async def test_who_came_in_is_served(harness: ApiHarness) -> None:
    await imported(harness, [person(1)])
    who = (SubscriptionId(subscription_id_type=0, subscription_id_data="491700000001"),)
    answer = await harness.charge(
        ccr(I, subscription_id=who, multiple_services_credit_control=(mscc(10, ask={"cc_total_octets": MB}),))
    )
    assert isinstance(answer, ChargingAnswer)
    account = (await harness.call("GET", "/v1/accounts/a1")).json()
    assert account["held"] == "0.01"
    await sound(harness)


async def test_the_same_file_changes_nothing(harness: ApiHarness) -> None:
    lines = [person(number) for number in range(1, 4)]
    await imported(harness, lines)
    before = await state(harness)
    assert counts(await imported(harness, lines)) == (0, 0, 3, 0, 3)
    assert await state(harness) == before


async def test_the_same_file_after_use_changes_nothing(harness: ApiHarness) -> None:
    lines = [person(1)]
    await imported(harness, lines)
    await harness.top_up("5.00", "a1")
    changed = await harness.call("PUT", "/v1/accounts/a1", {"currency": "EUR", "credit_limit": "3.00"}, if_match="*")
    assert changed.status_code == 200
    before = await state(harness)
    assert counts(await imported(harness, lines)) == (0, 0, 1, 0, 1)
    assert await state(harness) == before


async def test_all_that_an_account_can_begin_with(harness: ApiHarness) -> None:
    buckets = [
        {"amount": "1000", "kind": "octets", "name": "welcome", "scope": ["data"], "valid_for_s": 3600},
        {"amount": "3.50", "priority": 10, "valid_until": "2100-01-01T00:00:00Z"},
        {"amount": "60", "kind": "seconds"},
    ]
    about = {"id": "a1", "currency": "EUR", "time_zone": "Europe/Berlin", "credit_limit": "7.00"}
    events = await imported(harness, [{"account": about | {"balance": "1.25", "buckets": buckets}}])
    assert counts(events) == (0, 1, 0, 0, 0)
    assert events[-1]["given"] == {"EUR": "4.75"}
    account = (await harness.call("GET", "/v1/accounts/a1")).json()
    assert (account["balance"], account["credit_limit"], account["time_zone"]) == ("4.75", "7.00", "Europe/Berlin")
    shown = [(b["id"], b["kind"], b["amount"], b["priority"], b["name"], b["scope"]) for b in account["buckets"]]
    assert shown == [
        (2, "money", "3.50", 10, "", []),
        (1, "octets", "1000", 50, "welcome", ["data"]),
        (3, "seconds", "60", 50, "", []),
        (0, "money", "1.25", 100, "main", []),
    ]
    await sound(harness)
    entries = (await harness.call("GET", "/v1/accounts/a1/ledger")).json()["items"]
    assert [(e["seq"], e["bucket"], e["amount"]) for e in entries] == [
        (1, 0, "1.25"),
        (2, 1, "1000"),
        (3, 2, "3.50"),
        (4, 3, "60"),
    ]
    await harness.top_up("1", "a1", kind="units")
    account = (await harness.call("GET", "/v1/accounts/a1")).json()
    assert max(bucket["id"] for bucket in account["buckets"]) == 4, "the number of no other bucket"


@pytest.mark.parametrize(("balance", "state"), [(None, "suspended"), ("4.99", "suspended"), ("5.00", "active")])
async def test_thresholds_from_the_first_instant(harness: ApiHarness, balance: str | None, state: str) -> None:
    about = {"id": "a1", "currency": "EUR", "suspend_below": "1.00", "resume_at": "5.00"}
    await imported(harness, [{"account": about | ({} if balance is None else {"balance": balance})}])
    assert (await harness.call("GET", "/v1/accounts/a1")).json()["state"] == state


async def test_notification_thresholds_and_service_lines_from_the_first_instant(harness: ApiHarness) -> None:
    line = person(1)
    line["account"] |= {
        "buckets": [{"kind": "octets", "amount": str(10 * MB), "name": "month"}],
        "thresholds": [
            {"name": "low", "below": "25.00", "rearm": "30"},
            {"name": "80 % used", "kind": "octets", "percent": 20, "bucket": "month"},
        ],
        "services": [
            {"service": "data", "suspend_below": "1.00", "resume_at": "25"},
            {"service": "voice", "suspend_below": "-5"},
        ],
    }
    assert counts(await imported(harness, [line])) == (0, 1, 0, 1, 0)
    found = (await harness.call("GET", "/v1/accounts/a1")).json()
    assert [(one["name"], one["state"], one["level"]) for one in found["thresholds"]] == [
        ("80 % used", "armed", str(2 * MB)),  # an opening is a fill
        ("low", "crossed", "25.00"),
    ]
    assert [(one["service"], one["state"]) for one in found["services"]] == [("data", "suspended"), ("voice", "active")]
    await sound(harness)
    assert await harness.pool.fetchval("SELECT count(*) FROM calls WHERE threshold_events IS NOT NULL") == 0
    assert counts(await imported(harness, [line])) == (0, 0, 1, 0, 1)
    line["account"]["thresholds"][0]["below"] = "1.00"
    (error,) = errors(await imported(harness, [line]))
    assert (error["field"], error["problem"]) == ("account.thresholds", "urn:ocs:problem:conflict")
    await harness.top_up("10.00", "a1")
    found = (await harness.call("GET", "/v1/accounts/a1")).json()
    assert {one["state"] for one in (*found["thresholds"], *found["services"])} == {"armed", "active"}


async def test_a_family(harness: ApiHarness) -> None:
    first, second = person(1), person(2)
    second["subscriber"]["account"] = "a1"
    del second["account"]
    third = person(3)
    third["account"] = first["account"]
    assert counts(await imported(harness, [first, second, third])) == (0, 1, 1, 3, 0)
    assert (await harness.call("GET", "/v1/accounts/a1")).json()["balance"] == "20.00"
    found = (await harness.call("GET", "/v1/subscribers?account=a1")).json()["items"]
    assert [one["id"] for one in found] == ["s1", "s2", "s3"]


ACCOUNT = {"id": "a1", "currency": "EUR"}
SUBSCRIBER = {"id": "s1", "account": "there", "identities": ["msisdn:4915112345678"], "tariffs": [{"tariff": "flat"}]}


def account(**more: Any) -> dict[str, Any]:
    return {"account": ACCOUNT | more}


def subscriber(**more: Any) -> dict[str, Any]:
    return {"subscriber": SUBSCRIBER | more}


WRONG = [
    (b"{", "malformed", "", "not JSON"),
    (b"\xff\xfe", "malformed", "", "not JSON"),
    (b"[]", "invalid", "", "array"),
    (b"7", "invalid", "", "int"),
    ({}, "invalid", "", "expected an account, a subscriber or both, a batch of vouchers, or vouchers"),
    ({"acount": ACCOUNT}, "invalid", "acount", "no such field"),
    (b'{"account":{"id":"a1","id":"a2","currency":"EUR"}}', "malformed", "", "given twice"),
    ({"account": {"id": "a1"}}, "invalid", "account.currency", "given"),
    (account(id="a 1"), "invalid", "account.id", "an id of"),
    (account(currency="EURO"), "invalid", "account.currency", "three capital letters"),
    (account(currency="ZZZ"), "invalid", "account.currency", "ISO 4217"),
    (account(currency=7), "invalid", "account.currency", "a text in quotes"),
    (account(balance="1.0000001"), "invalid", "account.balance", "six after it"),
    (account(state="suspended"), "invalid", "account.suspended_for", "with state: suspended"),
    (account(state="closed", suspended_for=["fraud"]), "invalid", "account.suspended_for", "only with it"),
    (account(state="grace"), "invalid", "account.grace_until", "with state: grace"),
    (account(limits=[{"name": "a", "amount": "1", "period": "hour"}]), "invalid", "account.limits[0].period", "day"),
    (account(balance=1), "invalid", "account.balance", "a text in quotes"),
    (account(balance="1.0000001"), "invalid", "account.balance", "six after"),
    (account(balance="9999999999.00"), "invalid", "account.balance", "at most"),
    (account(credit_limit="-1"), "invalid", "account.credit_limit", "not below zero"),
    (account(suspend_below="5", resume_at="1"), "invalid", "account.resume_at", "suspend_below"),
    (account(time_zone="Mars/Olympus"), "invalid", "account.time_zone", "Europe/Berlin"),
    (account(held="1"), "invalid", "account.held", "no such field"),
    (account(buckets=[{"amount": "0"}]), "invalid", "account.buckets[0].amount", "more than zero"),
    (account(buckets=[{"amount": "1.5", "kind": "octets"}]), "invalid", "account.buckets[0].amount", "a whole number"),
    (account(buckets=[{"amount": "1", "valid_until": "2001-01-01T00:00:00Z"}]), "invalid", "account.buckets", "future"),
    (account(buckets=[{"amount": "1", "valid_until": "2001-13-01T00:00:00Z"}]), "invalid", "account.buckets[0]", "not"),
    (account(buckets=[{"amount": "1", "scope": ["dta"]}]), "invalid", "account.buckets", "'dta'"),
    (
        account(balance="9000000000", buckets=[{"amount": "9000000000"}]),
        "no-room",
        "account.buckets",
        "2^53",
    ),
    (subscriber(account="nobody"), "unresolved", "subscriber.account", "nobody"),
    (subscriber(account=None), "invalid", "subscriber.account", "expected an account"),
    (subscriber(tariffs=[{"tariff": "gold"}]), "unresolved", "subscriber.tariffs", "gold"),
    (subscriber(identities=["msisdn:hello"]), "invalid", "subscriber.identities", "digits"),
    (subscriber(identities=["phone:1"]), "invalid", "subscriber.identities[0]", "an identity"),
    (subscriber(identities=["msisdn:491700000009"]), "identity-taken", "subscriber.identities", "s9"),
    (subscriber(barred="no"), "invalid", "subscriber.barred", "bool"),
    ({"account": {"id": "there", "currency": "USD"}}, "conflict", "account.currency", "there"),
    ({"account": {"id": "there", "currency": "EUR", "balance": "1"}}, "conflict", "account.balance", "there"),
    (
        {"account": {"id": "there", "currency": "EUR", "buckets": [{"amount": "1"}]}},
        "conflict",
        "account.buckets",
        "otherwise than with these buckets: nothing",
    ),
    ({"account": {"id": "there", "currency": "EUR", "credit_limit": "1"}}, "conflict", "account.credit_limit", "there"),
    (account(thresholds=[{"name": "low"}]), "invalid", "account.thresholds[0].below", "below or percent"),
    (account(thresholds=[{"name": "a/b", "below": "1"}]), "invalid", "account.thresholds[0].name", "a/b"),
    (account(thresholds=[{"name": "l", "below": "1", "service": "dta"}]), "invalid", "account.thresholds", "'dta'"),
    (account(services=[{"service": "dta", "suspend_below": "1"}]), "invalid", "account.services", "'dta'"),
    (
        account(services=[{"service": "data", "suspend_below": "1", "resume_at": "0"}]),
        "invalid",
        "account.services[0].resume_at",
        "at rest",
    ),
    (subscriber(id="s9", account="a9", tariffs=[]), "conflict", "subscriber.identities", "s9"),
    ({"subscriber": {"id": "s9", "account": "there"}}, "conflict", "subscriber.account", "s9"),
    ({"subscriber": {"id": "s9", "account": "a9", "barred": True}}, "conflict", "subscriber.barred", "s9"),
    ({"subscriber": {"id": "s9", "account": "a9", "password": "x"}}, "conflict", "subscriber.password", "password"),
]


@pytest.mark.parametrize(("wrong", "problem", "field", "words"), WRONG, ids=range(len(WRONG)))
async def test_what_is_wrong_is_told_and_the_rest_goes_in(
    harness: ApiHarness, wrong: Any, problem: str, field: str, words: str
) -> None:
    await harness.account("there")
    await imported(harness, [person(9)])
    before = await state(harness)
    events = await imported(harness, [wrong])
    (error,) = errors(events)
    assert (error["line"], error["problem"]) == (1, f"urn:ocs:problem:{problem}")
    assert error["field"] == field or (field and error["field"].startswith(field)), error
    assert words in error["detail"], error
    assert counts(events) == (1, 0, 0, 0, 0)
    assert await state(harness) == before, "it went in all the same"
    events = await imported(harness, [person(7), b"", wrong, person(8)])
    assert [error["line"] for error in errors(events)] == [3]
    assert counts(events) == (1, 2, 0, 2, 0)


async def test_a_line_goes_in_whole_or_not_at_all(harness: ApiHarness) -> None:
    events = await imported(harness, [person(1, tariffs=[{"tariff": "gold"}])])
    assert counts(events) == (1, 0, 0, 0, 0)
    assert (await harness.call("GET", "/v1/accounts/a1")).status_code == 404


async def test_lines_that_contradict_each_other(harness: ApiHarness) -> None:
    again, other = person(1), person(2)
    again["account"] = {"id": "a1", "currency": "EUR", "balance": "21.00"}
    other["subscriber"]["identities"] = person(1)["subscriber"]["identities"]
    events = await imported(harness, [person(1), again, other, person(3)])
    assert [(e["line"], e["field"]) for e in errors(events)] == [(2, "account.balance"), (3, "subscriber.identities")]
    assert (await harness.call("GET", "/v1/accounts/a1")).json()["balance"] == "20.00"
    assert counts(events) == (2, 2, 0, 2, 0)


async def test_what_is_left_out_contradicts_nothing(harness: ApiHarness) -> None:
    about = {"id": "a1", "currency": "EUR", "balance": "3.00", "credit_limit": "1.00", "time_zone": "Europe/Berlin"}
    full = person(1, attributes={"segment": "gold"}, barred=True, password="x") | {"account": about}
    await imported(harness, [full])
    bare = {"account": {"id": "a1", "currency": "EUR"}, "subscriber": {"id": "s1"}}
    assert counts(await imported(harness, [bare])) == (0, 0, 1, 0, 1)
    assert counts(await imported(harness, [full])) == (0, 0, 1, 0, 1)


async def test_a_line_has_an_end(harness: ApiHarness) -> None:
    long = person(1)
    long["subscriber"]["attributes"] = {"x": "y" * 1_100_000}
    events = await imported(harness, [long, person(2)])
    assert [(e["line"], e["problem"]) for e in errors(events)] == [(1, "urn:ocs:problem:too-large")]
    assert counts(events) == (1, 1, 0, 1, 0)


async def test_a_file_without_lines(harness: ApiHarness) -> None:
    assert counts(await imported(harness, [])) == (0, 0, 0, 0, 0)
    assert counts(await imported(harness, [b"", b"   "])) == (0, 0, 0, 0, 0)


async def test_a_check_says_the_same_and_changes_nothing(harness: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_file, "BATCH_LINES", 2)
    await imported(harness, [person(9)])
    contradicts = person(1)
    contradicts["account"]["balance"] = "1.00"
    taken = person(5)
    taken["subscriber"]["identities"] = person(1)["subscriber"]["identities"]
    member = {"subscriber": {"id": "s6", "account": "a2"}}
    lines = [person(1), person(2), person(9), person(1), contradicts, taken, member, b"{", person(3)]
    before = await state(harness)
    checked = await imported(harness, lines, "?check=true")
    assert await state(harness) == before
    done = await imported(harness, lines)
    assert checked[-1].pop("checked") is True
    assert done[-1].pop("checked") is False
    assert checked == done
    assert counts(done) == (3, 3, 2, 4, 2)


async def test_errors_that_are_not_shown_are_counted(harness: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_file, "BATCH_LINES", 2)
    events = await imported(harness, [b"{"] * 5, "?errors=3")
    assert [event["line"] for event in errors(events)] == [1, 2, 3]
    assert (events[-1]["errors"], events[-1]["errors_not_shown"]) == (5, 2)


async def test_one_projection_for_each_batch(harness: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_file, "BATCH_LINES", 50)
    runs = int(await harness.redis.get(f"{keys.PROJECTED}:run"))
    await imported(harness, [person(number) for number in range(100)])
    assert int(await harness.redis.get(f"{keys.PROJECTED}:run")) == runs + 2
    await harness.sync()
    records = await harness.pool.fetchval("SELECT count(*) FROM calls WHERE account = 'a42'")
    assert records == 1, "nobody had to tell the account of a subscriber that it was made with"


async def test_cut_short_between_the_stores(harness: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL has the accounts, the live store does not: whoever is first opens them, with what they begin with."""
    opens, calls = harness.store.open, 0

    def failing(account_id: str, opening: Any) -> Pending[Any]:
        nonlocal calls
        calls += 1
        if calls == 1:
            return opens(account_id, opening)
        gone = Pending[Any]()
        gone.fail(NotSent("the connection is gone"))
        return gone

    monkeypatch.setattr(harness.store, "open", failing)
    lines = [person(number) for number in range(1, 4)]
    events = await imported(harness, lines)
    assert events[-1]["event"] == "stopped"
    assert "import the same file again" in events[-1]["detail"]
    monkeypatch.undo()
    assert await harness.redis.exists(keys.account("a1")) == 1
    assert await harness.redis.exists(keys.account("a2")) == 0
    topped = await harness.top_up("1.00", "a2")
    assert topped.json()["balance"] == "21.00"
    assert counts(await imported(harness, lines)) == (0, 0, 3, 0, 3)
    assert [(await harness.call("GET", f"/v1/accounts/a{number}")).json()["balance"] for number in range(1, 4)] == [
        "20.00",
        "21.00",
        "20.00",
    ]
    await sound(harness)
    opened = await harness.pool.fetch("SELECT account FROM ledger_entries WHERE why = 'opening' ORDER BY account")
    assert [row["account"] for row in opened] == ["a1", "a2", "a3"]


async def test_an_account_the_live_store_lost_comes_back_as_it_was(harness: ApiHarness) -> None:
    lines = [person(1)]
    await imported(harness, lines)
    await harness.top_up("1.00", "a1")
    await harness.sync()
    await harness.redis.delete(keys.account("a1"))
    assert counts(await imported(harness, lines)) == (0, 0, 1, 0, 1)
    assert (await harness.call("GET", "/v1/accounts/a1")).json()["balance"] == "21.00"
    await sound(harness)


async def test_two_imports_at_once(harness: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_file, "BATCH_LINES", 7)
    lines = [person(number) for number in range(60)]
    first, second = await asyncio.gather(imported(harness, lines), imported(harness, lines))
    assert errors(first) == errors(second) == []
    assert first[-1]["accounts_created"] + second[-1]["accounts_created"] == 60
    await sound(harness)
    assert await harness.pool.fetchval("SELECT count(*) FROM ledger_entries") == 60


async def test_an_identity_that_was_somebodys(harness: ApiHarness) -> None:
    await imported(harness, [person(1)])
    assert (await harness.call("DELETE", "/v1/subscribers/s1", if_match="*")).status_code == 204
    again = person(2)
    again["subscriber"]["identities"] = person(1)["subscriber"]["identities"]
    assert counts(await imported(harness, [again, person(1, identities=[])])) == (0, 1, 1, 2, 0)
    found = (await harness.call("GET", "/v1/subscribers?identity=msisdn:491700000001")).json()["items"]
    assert [one["id"] for one in found] == ["s2"]
    assert await harness.pool.fetchval("SELECT moved_ms > 0 FROM subscribers WHERE id = 's2'"), "its sessions may go on"
    assert not await harness.pool.fetchval("SELECT moved_ms > 0 FROM subscribers WHERE id = 's1'")


async def test_what_the_whole_is_refused_for(harness: ApiHarness) -> None:
    for query in ("?check=maybe", "?errors=-1", "?batch=7"):
        refused = await harness.call("POST", f"/v1/import{query}", b"", content_type="application/x-ndjson")
        assert refused.status_code == 422, query
    refused = await harness.call("POST", "/v1/import", as_lines([person(1)]))
    assert (refused.status_code, "application/x-ndjson or text/csv" in refused.text) == (415, True)
