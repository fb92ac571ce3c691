"""Traces over the API: who may watch whom, for how long, and what is on the audit trail."""

from typing import Any

from balances import keys
from ocs.tracing.wish import LEASE_MS, TRACES_MAX, read_wish
from tests.ocs.api.test_access import person
from tests.ocs.api_harness import ApiHarness


async def begin(harness: ApiHarness, **wanted: Any) -> dict[str, Any]:
    begun = await harness.call("POST", "/v1/traces", wanted)
    assert begun.status_code == 201, begun.text
    found: dict[str, Any] = begun.json()
    return found


async def test_a_subscriber_is_known_by_all_its_names(harness: ApiHarness) -> None:
    await harness.account("a1")
    identities = ["msisdn:491700000001", "imsi:001011700000001"]
    body = {"account": "a1", "identities": identities, "tariffs": []}
    made = await harness.call("PUT", "/v1/subscribers/anna", body)
    assert made.status_code == 201, made.text
    for text in ("anna", "+49 170 0000001", "msisdn:491700000001", "001011700000001"):
        begun = await begin(harness, subscriber=text)
        assert begun["identities"] == ["imsi:001011700000001", "msisdn:491700000001"], text
        assert begun["known"] is True
    kept = await harness.redis.hgetall(keys.TRACES)
    assert {read_wish(one).caller for one in kept.values()} == {"admin"}


async def test_somebody_unknown_is_watched_by_what_was_said(harness: ApiHarness) -> None:
    begun = await begin(harness, subscriber="+49 170 9999999")
    assert "msisdn:491709999999" in begun["identities"]
    assert begun["known"] is False
    assert (await begin(harness, peer="gw"))["known"] is None


async def test_one_of_three_is_wanted(harness: ApiHarness) -> None:
    for body in ({}, {"peer": "gw", "session": "s"}, {"peer": "a\nb"}, {"peer": ""}, {"account": "a1"}):
        refused = await harness.call("POST", "/v1/traces", body)
        assert refused.status_code == 422, body


async def test_who_watches_needs_the_permission_and_is_on_the_audit_trail(harness: ApiHarness) -> None:
    care, noc = await person(harness, "carl", "care"), await person(harness, "nora", "noc")
    assert (await care.call("POST", "/v1/traces", {"peer": "gw"})).status_code == 403
    begun = await noc.call("POST", "/v1/traces", {"subscriber": "+49 170 9999999"})
    assert begun.status_code == 201
    rows = (await harness.call("GET", "/v1/audit?caller=nora")).json()["items"]
    said = [(row["kind"], row["operation"]) for row in rows]
    assert ("intent", "begin_trace") in said
    assert ("outcome", "begin_trace") in said
    assert any("170 9999999" in str(row["after"]) for row in rows if row["kind"] == "intent")
    trace = begun.json()["id"]
    other = await harness.call("GET", f"/v1/traces/{trace}", accept="text/event-stream")
    assert other.status_code == 403
    assert "nora" in other.json()["detail"]


async def test_a_trace_ends_by_itself_and_by_hand(harness: ApiHarness) -> None:
    trace = (await begin(harness, peer="gw"))["id"]
    assert [one["id"] for one in (await harness.call("GET", "/v1/traces")).json()["items"]] == [trace]
    assert (await harness.call("DELETE", f"/v1/traces/{trace}")).status_code == 204
    assert (await harness.call("DELETE", f"/v1/traces/{trace}")).status_code == 404
    await begin(harness, peer="gw")
    harness.ahead_ms = LEASE_MS + 1
    assert (await harness.call("GET", "/v1/traces")).json()["items"] == []
    assert await harness.redis.hlen(keys.TRACES) == 0


async def test_so_many_at_once(harness: ApiHarness) -> None:
    for _ in range(TRACES_MAX):
        await begin(harness, peer="gw")
    refused = await harness.call("POST", "/v1/traces", {"peer": "gw"})
    assert refused.status_code == 409
    assert "admin" in refused.json()["detail"]
