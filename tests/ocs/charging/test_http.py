"""Charging over HTTP: bodies to requests and answers to bodies, with the readable model in place of the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
import pytest

from balances.redis.calls import Lost, NotSent
from balances.structs.charge import Flag, Outcome, Phase
from ocs.charging.handle import Sent, handle
from ocs.charging.http import template
from ocs.charging.http.translate import PlatformCall, UnusableBody, id_of, reply_of
from ocs.charging.request import Busy, ChargingAnswer
from tests.ocs.charging.platform_shadow import PlatformShadow
from tests.ocs.charging.world import EURO, PACKAGE, World

MB = 2**20
ANNA = {"service": "data", "identity": "msisdn:491700000001"}
FORMS = {"start": Phase.START, "update": Phase.UPDATE, "stop": Phase.STOP, "event": Phase.EVENT}
SHADOWS: WeakKeyDictionary[World, PlatformShadow] = WeakKeyDictionary()


def shadow_of(world: World) -> PlatformShadow:
    """Which every request of a test is compared by."""
    return SHADOWS.setdefault(world, PlatformShadow(world))


def asked(
    world: World,
    what: str,
    body: dict[str, Any],
    key: str = "",
    session: str = "",
    caller: str = "iptv",
    tags: Sequence[str] = (),
) -> dict[str, Any] | str:
    """The reply as JSON says it, or in a word what came in its place."""
    return asked_in_octets(world, what, msgspec.json.encode(ANNA | body), PlatformCall(caller, key, session, tags))


def asked_in_octets(world: World, what: str, octets: bytes, call: PlatformCall) -> dict[str, Any] | str:
    form, shadow = template.FORMS[FORMS[what]], shadow_of(world)
    prepared = shadow.before(form, call, octets)
    read: Any = msgspec.json.decode(octets, type=form.body)
    request = form.to_request(read, call, world.context.settings.services)
    plain: list[tuple[Sent, Outcome]] = []
    calls = len(world.charged)
    coroutine = handle(request, world.context, world.now_ms, plain=plain)
    try:
        coroutine.send(None)
    except StopIteration as stop:
        answer = stop.value
        reply = reply_of(id_of(read, call), request, answer) if isinstance(answer, ChargingAnswer) else None
        marks = answer.marks if isinstance(answer, ChargingAnswer) else 0
        shadow.after(prepared, form, call, octets, read, request, plain, world.charged[calls:], reply, marks)
        if reply is not None:
            return "conflict" if marks & Flag.CONFLICT else dict(msgspec.to_builtins(reply))
        return "busy" if isinstance(answer, Busy) else "silence"
    raise AssertionError("everything was ready, and it waited")


def line(used: int | None = None, wanted: int | None = None, group: int = 10) -> dict[str, Any]:
    found: dict[str, Any] = {"rating_group": group}
    if used is not None:
        found["used"] = {"octets": used * MB}
    if wanted is not None:
        found["requested"] = {"octets": wanted * MB}
    return found


def start(world: World, *lines: dict[str, Any], key: str = "k1", **more: Any) -> Any:
    return asked(world, "start", {"id": "tv-1", "lines": lines or (line(wanted=10),)} | more, key)


def update(world: World, number: int, *lines: dict[str, Any], **more: Any) -> Any:
    return asked(world, "update", {"number": number, "lines": lines} | more, session="tv-1")


def stop(world: World, number: int, *lines: dict[str, Any], **more: Any) -> Any:
    return asked(world, "stop", {"number": number, "lines": lines} | more, session="tv-1")


def test_a_session_costs_one_call_each_and_its_use_once() -> None:
    world = World()
    begun = start(world)
    assert begun["id"] == "tv-1"
    assert begun["session"] == "http:iptv;tv-1"
    assert begun["lines"][0]["granted"] == {"octets": 10 * MB}
    assert world.held() > 0
    gone_on = update(world, 1, line(used=3, wanted=10))
    assert (gone_on["cost"], gone_on["balance"]) == ("0.03", "19.97")
    ended = stop(world, 2, line(used=1))
    assert (ended["result"], ended["cost"], ended["balance"]) == ("ok", "0.04", "19.96")
    assert world.held() == 0
    assert len(world.charged) == 3
    assert world.seen == [], "no look-up but the store's own call"


def test_whatever_is_repeated_moves_nothing_and_is_answered_the_same() -> None:
    world = World()
    answers = [start(world), update(world, 1, line(used=3, wanted=10)), stop(world, 2, line(used=1))]
    balance = world.balance()
    again = [start(world), update(world, 1, line(used=3, wanted=10)), stop(world, 2, line(used=1))]
    assert again == answers
    assert world.balance() == balance


@pytest.mark.parametrize("what", ["start", "update", "stop"])
def test_the_same_key_with_other_content_is_refused(what: str) -> None:
    world = World()
    start(world)
    update(world, 1, line(used=1, wanted=10))
    if what == "start":
        assert start(world, line(wanted=20)) == "conflict"
        assert start(world, line(wanted=20), key="k2") == "conflict", "an id is used once"
    elif what == "update":
        assert update(world, 1, line(used=2, wanted=10)) == "conflict"
    else:
        stop(world, 2, line(used=1))
        assert stop(world, 2, line(used=5)) == "conflict"
    assert world.balance() == 20 * EURO - 10_000 * (1 if what != "stop" else 2)


def test_numbers_of_long_ago_are_remembered_without_their_answer() -> None:
    world = World()
    start(world)
    for number in range(1, 9):
        update(world, number, line(used=1, wanted=10))
    found = update(world, 1, line(used=1, wanted=10))
    assert (found["result"], found["lines"][0]["granted"]) == ("remembered", None)
    assert world.balance() == 20 * EURO - 8 * 10_000


def test_a_key_alone_names_the_session_and_callers_do_not_meet() -> None:
    world = World()
    one = asked(world, "start", {"lines": [line(wanted=1)]}, "k1")
    assert one == asked(world, "start", {"lines": [line(wanted=1)]}, "k1")
    two = asked(world, "start", {"lines": [line(wanted=1)]}, "k2")
    other = asked(world, "start", {"lines": [line(wanted=1)]}, "k1", caller="pbx")
    assert isinstance(one, dict)
    assert isinstance(two, dict)
    assert isinstance(other, dict)
    assert one["id"] != two["id"]
    assert other["session"] == f"http:pbx;{one['id']}"
    assert len(world.model.sessions["a1"]) == 3


def test_a_report_finds_its_session_without_the_subscriber() -> None:
    world = World()
    start(world)
    body = {"service": "data", "identity": None, "number": 1, "lines": [line(used=2, wanted=1)]}
    found = asked(world, "update", body, session="tv-1")
    assert isinstance(found, dict)
    assert found["cost"] == "0.02"
    assert world.seen == ["where", "load subscriber:s1"] or world.seen == ["where"]


def test_late_and_odd_order() -> None:
    world = World()
    assert stop(world, 1, line(used=1))["result"] == "session-unknown"  # charged, unmatched
    assert world.balance() == 20 * EURO - 10_000
    assert start(world)["result"] == "unable", "it was stopped before"
    assert world.held() == 0
    other = World()
    start(other)
    stop(other, 2, line(used=1))
    assert update(other, 1, line(used=2, wanted=1))["result"] == "session-unknown"  # charged late
    assert other.balance() == 20 * EURO - 30_000
    assert other.held() == 0


def test_lines_are_granted_and_refused_by_themselves() -> None:
    world = World()
    start(world, line(wanted=1), line(wanted=1, group=20))
    found = update(world, 1, line(used=1, wanted=1), {"rating_group": 20, "used": {"seconds": 1}, "reason": "final"})
    assert [one["result"] for one in found["lines"]] == ["ok", "no-grant"]
    poor = World()
    poor.account("a1", 20_000)
    begun = start(poor, line(wanted=10))
    (granted,) = begun["lines"]
    assert granted["granted"] == {"octets": 2 * MB}
    assert granted["final"]["action"] == "terminate"
    refused = update(poor, 1, line(used=2, wanted=10))
    assert (refused["result"], refused["lines"][0]["result"]) == ("ok", "credit-limit")
    assert refused["balance"] == "0.00"


@pytest.mark.parametrize("caller", ["vod", "ipt", "iptv2", "iptv;event"])
def test_a_platform_gives_back_nothing_that_another_one_debited(caller: str) -> None:
    world = World()
    paid = asked(world, "event", {"service": "sms"}, "vod-1")
    assert isinstance(paid, dict)
    back = {"service": "sms", "action": "refund", "refund_token": paid["refund_token"]}
    with pytest.raises(UnusableBody) as refused:
        asked(world, "event", back, "back", caller=caller)
    assert refused.value.field == "refund_token"
    assert world.balance() == 20 * EURO - 70_000
    with pytest.raises(UnusableBody):  # what a Diameter client debited
        asked(world, "event", back | {"refund_token": "event gw.example.net;1;2 0"}, "back")
    assert isinstance(asked(world, "event", back, "back"), dict)
    assert world.balance() == 20 * EURO


def test_events_are_debited_and_given_back_once() -> None:
    world = World()
    title = {"service": "sms", "time": "2023-11-14T22:13:20Z"}
    paid = asked(world, "event", title, "vod-1")
    assert isinstance(paid, dict)
    assert (paid["cost"], paid["balance"]) == ("0.07", "19.93")
    assert asked(world, "event", title, "vod-1") == paid
    assert asked(world, "event", title | {"lines": [{"requested": {"units": 2}}]}, "vod-1") == "conflict"
    assert world.seen == [], "an event that tells its time costs one call"
    back = {"service": "sms", "action": "refund", "refund_token": paid["refund_token"]}
    given = [asked(world, "event", back, key) for key in ("vod-1-back", "vod-1-back", "vod-1-again")]
    assert given[0] == given[1] != given[2]
    assert world.balance() == 20 * EURO
    price = asked(world, "event", {"service": "sms", "action": "price"}, "p")
    check = asked(world, "event", {"service": "sms", "action": "check"}, "c")
    assert isinstance(price, dict)
    assert isinstance(check, dict)
    assert (price["cost"], check["enough"]) == ("0.07", True)


def test_an_event_that_may_be_old_is_looked_up_before_it_is_charged() -> None:
    world = World()
    asked(world, "event", {"service": "sms"}, "e1")
    assert "event_known" in world.seen, "it does not tell its time"
    world.seen.clear()
    asked(world, "event", {"service": "sms", "time": "2023-11-14T10:00:00Z"}, "e2")
    assert "event_known" in world.seen, "older than the live store remembers"


MONEY = {"service": "data", "currency": "EUR"}


def test_reported_money_is_settled_however_odd_it_is() -> None:
    world = World()
    start(world, {"rating_group": 1, "requested": {"money": "5.00"}}, currency="EUR")
    found = update(world, 1, {"rating_group": 1, "used": {"money": "1.0000005"}, "requested": {"money": "5"}})
    assert found["cost"] == "1.000001", "rounded as the service says"
    found = update(world, 2, {"rating_group": 1, "used": {"money": "-1.00"}, "requested": {"money": "5"}})
    assert found["lines"][0]["result"] == "invalid"
    found = update(world, 3, {"rating_group": 1, "used": {"money": "1.00"}}, currency="USD")
    assert found["lines"][0]["result"] == "invalid"
    assert world.balance() == 20 * EURO - 1_000_001, "what cannot be used is set aside"
    assert stop(world, 4)["result"] == "ok"
    assert world.held() == 0


@pytest.mark.parametrize(
    ("what", "body", "field"),
    [
        ("start", {"identity": None}, "subscriber"),
        ("start", {"subscriber": "s1"}, "subscriber"),
        ("start", {"identity": "msisdn:+"}, "identity"),
        ("start", {"service": "beer"}, "service"),
        ("update", {"service": "beer", "number": 1, "lines": [line(wanted=1)]}, "service"),
        ("start", {"time": "2026-02-30T00:00:00Z"}, "time"),
        ("start", {"lines": [line(wanted=1), line(wanted=2)]}, "lines"),
        ("start", {"lines": [{"requested": {"money": "0.0000001"}}]}, "lines[0].requested.money"),
        ("event", {"lines": [{"requested": {"units": 2**60}}]}, "lines[0].requested.units"),
        ("event", {"lines": [{"requested": {"seconds": 2**32}}]}, "lines[0].requested.seconds"),
        ("event", {"lines": [{"used": {"units": 1}}]}, "lines[0].used"),
        ("event", {"action": "refund"}, "refund_token"),
        ("event", {"refund_token": "event x 0"}, "refund_token"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_cannot_be_read_is_refused_before_anything_happens(what: str, body: dict[str, Any], field: str) -> None:
    world = World()
    with pytest.raises(UnusableBody) as refused:
        asked(world, what, body, "k")
    assert refused.value.field == field
    assert world.charged == []


def test_the_store_is_away() -> None:
    world = World()
    world.broken = NotSent("shut")
    assert start(world) == "busy"
    world.broken = Lost("no reply")
    assert start(world) == "silence"
    world.broken = None
    assert start(world)["result"] == "ok"


@pytest.mark.parametrize("visited", ["440 10", "4401", "Germany", "26201x", "٢٦٢٠١"])
def test_a_network_that_is_none_is_refused_and_not_priced_as_home(visited: str) -> None:
    world = World()
    with pytest.raises(UnusableBody, match="MCC and MNC") as refused:
        start(world, facts={"visited": visited})
    assert refused.value.field == "facts.visited"
    assert world.charged == []


def test_the_words_of_the_waist_are_all_told() -> None:
    world = World()
    start(world, facts={"called": "+49 30 123", "visited": "262-01", "apn": "TV.Example"}, time="2023-11-14T22:13:00Z")
    (charge,) = world.charged
    assert (charge.peer, charge.phase, charge.countable, charge.event_ms) == (
        "http:iptv",
        Phase.START,
        True,
        1_700_000_000_000 - 20_000,
    )


def test_a_bucket_with_a_price_pays_in_units_and_money() -> None:
    """charging.md 22: 4 MB at 0.005 each, then by the list at 0.01."""
    world = World(PACKAGE)
    world.sold(4 * MB, 5_000, MB)
    assert start(world)["lines"][0]["granted"] == {"octets": 10 * MB}
    gone_on = update(world, 1, line(used=3, wanted=10))
    assert (gone_on["cost"], gone_on["balance"]) == ("0.015", "19.985")
    ended = stop(world, 2, line(used=3))
    assert (ended["cost"], ended["balance"], world.held()) == ("0.04", "19.96", 0)
