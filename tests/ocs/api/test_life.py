"""The life of an account as the API has it: which state may follow which, and what becomes of money at its end
(charging.md section 16)."""

import json
from typing import Any

from balances.ledger.event_filter import EventFilter
from ocs.backoffice.life import FOLLOWERS
from ocs.events import log
from ocs.events.types import TYPES
from tests.ocs.api_harness import ApiHarness
from tests.ocs.charging.wire import I, T, ccr, lines, mscc

MB = 2**20
UNTIL = "2099-01-01T00:00:00Z"
REACHED_BY: dict[str, list[str]] = {
    "created": [],
    "active": ["active"],
    "suspended": ["suspended"],
    "grace": ["active", "grace"],
    "closed": ["closed"],
}


async def put(harness: ApiHarness, state: str, account: str = "a1") -> dict[str, Any]:
    body = {"currency": "EUR", "state": state}
    if state == "grace":
        body |= {"grace_until": UNTIL}
    answer = await harness.call("PUT", f"/v1/accounts/{account}", body, if_match="*")
    return {"status": answer.status_code, **answer.json()}


async def close(harness: ApiHarness, key: str = "c1", **body: str) -> dict[str, Any]:
    answer = await harness.call("POST", "/v1/accounts/a1/closing", {"reason": "moved away"} | body, idempotency_key=key)
    return {"status": answer.status_code, **answer.json()}


async def test_which_state_follows_which(harness: ApiHarness) -> None:
    for before in FOLLOWERS:
        for wanted in FOLLOWERS:
            name = f"{before}-{wanted}"
            await harness.account(name, state="created")
            for step in REACHED_BY[before]:
                assert (await put(harness, step, name))["state"] == step
            answered = await put(harness, wanted, name)
            if wanted in FOLLOWERS[before]:
                assert (answered["status"], answered["state"]) == (200, wanted), name
            else:
                assert (answered["status"], answered["type"]) == (409, "urn:ocs:problem:conflict"), name
                assert answered["allowed"] == [*FOLLOWERS[before]]
                assert (await harness.call("GET", f"/v1/accounts/{name}")).json()["state"] == before


async def test_the_first_use_activates_and_is_told(harness: ApiHarness) -> None:
    await log.subscribe(harness.pool, "all", "test", EventFilter(tuple(TYPES)))
    await harness.tariff()
    made = await harness.account(state="created")
    assert (made["state"], made["activated"]) == ("created", None)
    await harness.subscriber("s1", "a1", "msisdn:491700000001")
    await harness.top_up("20.00")
    await harness.charge(ccr(I, **lines(mscc(10, ask={"cc_total_octets": MB}))))
    shown = (await harness.call("GET", "/v1/accounts/a1")).json()
    assert shown["state"] == "active"
    assert shown["activated"] is not None
    await harness.sync()
    events = [json.loads(one.event("here").json()) for one in (await log.read(harness.pool, 0, None)).events]
    (told,) = [event["data"] for event in events if event["type"] == "account.activated"]
    assert (told["account"], told["subscriber"], told["service"], told["actor"]) == ("a1", "s1", "data", "")


async def test_a_grace_needs_an_end_that_is_to_come(harness: ApiHarness) -> None:
    await harness.account()
    for body in ({"state": "grace"}, {"grace_until": UNTIL}, {"state": "grace", "grace_until": "2020-01-01T00:00:00Z"}):
        refused = await harness.call("PUT", "/v1/accounts/a1", {"currency": "EUR"} | body, if_match="*")
        assert (refused.status_code, refused.json()["type"]) == (422, "urn:ocs:problem:invalid")
    shown = await put(harness, "grace")
    assert shown["grace_until"] == UNTIL
    again = await harness.call("PUT", "/v1/accounts/a1", {"currency": "EUR", "state": "grace", "grace_until": UNTIL})
    assert (again.status_code, again.json()["rev"]) == (200, shown["rev"])  # a repeat needs no version


async def test_what_it_has_is_paid_out_or_written_off_once(harness: ApiHarness) -> None:
    await harness.account()
    await harness.top_up("20.00")
    await harness.top_up("5.00", bonus=True)
    assert (await put(harness, "closed"))["type"] == "urn:ocs:problem:balance-remains"
    assert (await close(harness))["type"] == "urn:ocs:problem:balance-remains"
    done = await close(harness, "c2", remainder="payout")
    moved = {(entry["amount"], entry["counter_account"]) for entry in done["entries"]}
    assert moved == {("-20.00", "payout"), ("-5.00", "write-off")}
    assert (done["status"], done["state"], done["balance"]) == (201, "closed", "0.00")
    assert await close(harness, "c2", remainder="payout") == done
    assert (await harness.top_up("1")).json()["type"] == "urn:ocs:problem:account-closed"
    await harness.sync()
    ledger = (await harness.call("GET", "/v1/accounts/a1/ledger")).json()["items"]
    assert sorted(entry["counter_account"] for entry in ledger) == ["payout", "top-up", "top-up", "write-off"]


async def test_in_use_it_is_not_closed(harness: ApiHarness) -> None:
    await harness.tariff()
    await harness.account()
    await harness.subscriber("s1", "a1", "msisdn:491700000001")
    await harness.top_up("20.00")
    await harness.charge(ccr(I, **lines(mscc(10, ask={"cc_total_octets": MB}))))
    for remainder in ("payout", "write-off"):
        assert (await close(harness, remainder, remainder=remainder))["type"] == "urn:ocs:problem:still-held"
    await harness.charge(ccr(T, cc_request_number=1, **lines(mscc(10, used={"cc_total_octets": MB}))))
    done = await close(harness, "c9", remainder="payout")
    assert (done["status"], done["state"]) == (201, "closed")


async def test_a_bucket_of_one_member(harness: ApiHarness) -> None:
    await harness.tariff()
    await harness.account()
    unknown = await harness.top_up("5.00", member="s1")
    assert (unknown.status_code, unknown.json()["type"]) == (422, "urn:ocs:problem:unresolved")
    await harness.subscriber("s1", "a1", "msisdn:491700000001")
    assert (await harness.top_up("5.00", member="s1", bonus=True)).status_code == 201
    shown = (await harness.call("GET", "/v1/accounts/a1")).json()
    bucket = next(one for one in shown["buckets"] if not one["main"])
    assert (bucket["member"], bucket["bonus"]) == ("s1", True)
    assert (shown["balance"], shown["available"]) == ("5.00", "0.00")  # not everybody may use it
    granted = await harness.charge(ccr(I, **lines(mscc(10, ask={"cc_total_octets": MB}))))
    assert granted.lines[0].granted is not None
