"""Charging over HTTP on the real stores: an evening of an IPTV platform, and what it is told by events."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec

from balances.ledger.verify import verify
from ocs.backoffice.charging import ChargingDesk
from ocs.enforcement.executors.executor import HTTP, protocol_of
from ocs.enforcement.executors.notice import NoticeExecutor
from ocs.enforcement.job import Cause
from ocs.enforcement.machine import JobEvent
from ocs.events import outbox
from ocs.net.admission import Admission
from ocs.telemetry.metrics import Meter
from tests.ocs.api_harness import ApiHarness

TV = """
tariff = "tv"
currency = "EUR"

[[rows]]
name = "channel by time"
when = { service = "data", rating_group = 20 }
flat = { price = "0.001", per = "1 s" }

[[rows]]
name = "title"
when = { service = "sms" }
flat = { price = "3.99", per = "1 message" }
"""


async def ask(harness: ApiHarness, path: str, body: dict[str, Any], key: str = "") -> httpx.Response:
    headers = {"idempotency_key": key} if key else {}
    return await harness.call("POST", f"/v1/charging/{path}", body, **headers)


async def viewer(harness: ApiHarness, money: str = "5.00") -> dict[str, str]:
    await harness.account()
    await harness.top_up(money)
    await harness.tariff(TV, "tv")
    await harness.subscriber("box", "a1", "mac:001122334455", tariffs=[{"tariff": "tv"}])
    await harness.newest()
    return {"service": "data", "identity": "mac:00-11-22-33-44-55"}


async def test_an_evening_of_television(harness: ApiHarness) -> None:
    who = await viewer(harness)
    watching = who | {"id": "box-1", "lines": [{"rating_group": 20, "requested": {"seconds": 600}}]}
    begun = await ask(harness, "sessions", watching, "k1")
    assert begun.status_code == 201, begun.text
    assert begun.json()["lines"][0]["granted"] == {"seconds": 600}
    report = who | {"number": 1, "lines": [{"rating_group": 20, "used": {"seconds": 600}, "requested": {}}]}
    first = await ask(harness, "sessions/box-1/update", report)
    assert (first.status_code, first.json()["cost"]) == (200, "0.60")
    assert (await ask(harness, "sessions/box-1/update", report)).json() == first.json()
    other = who | {"number": 1, "lines": [{"rating_group": 20, "used": {"seconds": 6}, "requested": {}}]}
    assert (await ask(harness, "sessions/box-1/update", other)).json()["type"] == "urn:ocs:problem:conflict"
    title = {"service": "sms", "identity": who["identity"]}
    bought = await ask(harness, "events", title, "vod-1")
    assert (bought.status_code, bought.json()["cost"], bought.json()["balance"]) == (200, "3.99", "0.41")
    short = await ask(harness, "events", title, "vod-2")
    assert short.status_code == 402
    problem = short.json()
    assert problem["type"] == "urn:ocs:problem:charging-credit-limit"
    assert (problem["result"], problem["lines"][0]["granted"]) == ("credit-limit", None)
    back = title | {"action": "refund", "refund_token": bought.json()["refund_token"]}
    assert (await ask(harness, "events", back, "vod-1-back")).json()["balance"] == "4.40"
    last = who | {"number": 2, "lines": [{"rating_group": 20, "used": {"seconds": 100}}]}
    ended = await ask(harness, "sessions/box-1/stop", last)
    assert (ended.json()["cost"], ended.json()["balance"]) == ("0.70", "4.30")
    shown = (await harness.call("GET", f"/v1/sessions/{ended.json()['session']}")).json()
    assert (shown["state"], shown["peer"]) == ("closed", "http:admin")
    await harness.sync()
    proof = await verify(harness.redis, harness.pool)
    assert proof.sound, proof.lines()


async def test_what_is_refused_is_said_before_anything_happens(harness: ApiHarness) -> None:
    who = await viewer(harness)
    assert (await ask(harness, "sessions", who)).json()["type"] == "urn:ocs:problem:key-required"
    wrong = await ask(harness, "sessions", who | {"service": "beer"}, "k")
    assert (wrong.status_code, wrong.json()["detail"].split(":")[0]) == (422, "service")
    nobody = await ask(harness, "sessions", {"service": "data", "identity": "msisdn:4999"}, "k")
    assert nobody.json()["type"] == "urn:ocs:problem:charging-user-unknown"
    lost = await ask(harness, "sessions/nope/stop", {"service": "data", "number": 1})
    assert (lost.status_code, lost.json()["result"]) == (404, "session-unknown")


async def test_a_platform_is_told_by_events(harness: ApiHarness) -> None:
    who = await viewer(harness)
    watching = who | {"id": "box-1", "lines": [{"rating_group": 20, "requested": {"seconds": 600}}]}
    await ask(harness, "sessions", watching, "k1")
    found = await harness.store.read("a1")
    assert found is not None
    account, (session,) = found
    assert protocol_of(session) == HTTP
    report, end = (NoticeExecutor(harness.pool, harness.now_ms, word) for word in ("report", "end"))
    assert not report.actions & end.actions
    assert (report.ends, end.ends) == (False, True)
    receipt = await end.send(account, session, Cause.SUSPENDED)
    assert end.judged(receipt, session) is JobEvent.ACCEPTED
    await outbox.move(harness.pool)
    row = await harness.pool.fetchrow("SELECT subject, account, data FROM events WHERE type = 'session.asked'")
    assert (row["subject"], row["account"]) == ("http:admin;box-1", "a1")
    told = msgspec.json.decode(row["data"])
    assert (told["platform"], told["asked"], told["cause"]) == ("http:admin", "end", "suspended")


async def test_a_process_that_has_no_tariffs_yet_charges_nothing(harness: ApiHarness) -> None:
    """It would take every price for missing, which its caller may take for an answer."""
    who = await viewer(harness)
    desk = ChargingDesk(harness.context, Admission(9, 9), harness.now_ms, Meter(), lambda: "tariffs are not loaded yet")
    harness.backoffice.charging = desk
    refused = await ask(harness, "events", who, "k1")
    assert (refused.status_code, refused.json()["type"]) == (503, "urn:ocs:problem:store-unavailable")


async def test_what_its_price_does_not_count_is_refused_or_told(harness: ApiHarness) -> None:
    """Octets of a channel that is sold by the second: nothing is granted or sold for them, and no report of them passes
    for one that was charged."""
    who = await viewer(harness)

    def line(**what: Any) -> dict[str, Any]:
        return who | {"lines": [{"rating_group": 20} | what]}

    octets, refused = {"octets": 600}, "urn:ocs:problem:charging-rating-failed"
    for path, key in (("sessions", "k1"), ("events", "k2")):
        answer = await ask(harness, path, line(requested=octets), key)
        assert (answer.status_code, answer.json()["type"]) == (422, refused), answer.text
        assert "not in the units that are asked for" in answer.json()["detail"]
    price = await ask(harness, "events", line(requested=octets) | {"action": "price"}, "k3")
    assert price.status_code == 422
    assert (await ask(harness, "sessions", line(requested={}) | {"id": "box-1"}, "k4")).status_code == 201
    told = await ask(harness, "sessions/box-1/update", line(used=octets, requested={"seconds": 9}) | {"number": 1})
    (one,) = told.json()["lines"]
    assert (told.status_code, one["set_aside"], one["granted"], told.json()["cost"]) == (
        *(200, True, {"seconds": 9}, "0.00"),
    )
    told = await ask(harness, "sessions/box-1/update", line(used={"seconds": 9}, requested=octets) | {"number": 2})
    (one,) = told.json()["lines"]
    assert (one["result"], one["granted"], one["set_aside"], told.json()["cost"]) == (
        *("rating-failed", None, False, "0.009"),
    )
    assert (await ask(harness, "sessions/box-1/stop", line() | {"number": 3})).status_code == 200
    late = await ask(harness, "sessions/box-1/update", line(used={"seconds": 1}) | {"number": 4})
    assert (late.status_code, late.json()["cost"]) == (404, "0.01")
    assert late.json()["detail"] == "no such session is open; what it reports is charged all the same, once"
    late = await ask(harness, "sessions/box-1/update", line(used=octets) | {"number": 5})
    assert late.json()["detail"] == "no such session is open; what it reports is set aside (see /v1/suspense)"
    nobody = {"service": "data", "number": 1, "lines": [{"rating_group": 20, "used": {"seconds": 1}}]}
    late = await ask(harness, "sessions/gone/update", nobody)
    assert late.json()["detail"] == "no such session is open; what it reports is set aside (see /v1/suspense)"
    assert (await ask(harness, "sessions/box-1/update", line(requested={}) | {"number": 6})).json()["detail"] == (
        "no such session is open"
    )
