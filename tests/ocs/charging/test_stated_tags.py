"""Charging tags that a request states, and those of the subscriber: which of them count, and that they change nothing
that is charged (charging.md section 17)."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balances.ledger.terms import tags_in
from balances.structs.record import Record
from ocs.charging.http.messages import ChargingStart
from ocs.charging.http.translate import PlatformCall, UnusableBody, started
from ocs.charging.services import service_table
from ocs.tags import USE_OCTETS_MAX, written
from tests.ocs.charging.test_http import MB, asked
from tests.ocs.charging.world import EURO, World

DOCUMENT: Final = """
tariff = "t"
currency = "EUR"
tags = { product = "data", place = "here" }
counters.monthly = { counts = "octets", period = "month" }
taxes = [{ name = "VAT", percent = 19, included = true }]
[[rows]]
when = { rating_group = 20 }
first = "3 MB"
flat = { price = "0.0307", per = "1 MB", increment = "100 KB" }
setup = { fee = "0.05" }
round = "0.01"
tags = { product = "video" }
[[rows]]
when = { rating_group = 20 }
flat = { price = "0.0101", per = "1 MB" }
beside = { price = "0.001", per = "1 s" }
maximum = { charge = "0.40" }
[[rows]]
below = { monthly = "5 MB" }
flat = { price = "0.02", per = "1 MB" }
minimum = { charge = "0.03" }
[[rows]]
flat = { price = "0.01", per = "1 MB" }
"""
DECLARED: Final = ("channel", "product", "place")
TAGS: Final = st.dictionaries(st.sampled_from(DECLARED), st.sampled_from(["app", "web;x", "ä=%"]), max_size=2)


def say(world: World, what: str, number: int, line: dict[str, Any], tags: dict[str, str], key: str = "") -> Any:
    body: dict[str, Any] = {"lines": [line]}
    if tags:
        body["tags"] = tags
    if what in ("update", "stop"):
        body["number"] = number
    if what == "start":
        body["id"] = "tv-1"
    return asked(world, what, body, key, "tv-1" if what in ("update", "stop") else "", tags=DECLARED)


def records(world: World) -> list[Record]:
    return [one.record for one in world.model.ledger]


def usage_tags(world: World) -> list[dict[str, str]]:
    """Of what was used, in order."""
    return [tags_in(usage.terms) for one in records(world) for usage in one.usages if usage.used or usage.cost]


@given(
    group=st.sampled_from([20, 21]),
    own=TAGS,
    reports=st.lists(st.tuples(st.integers(0, 4 * MB), TAGS), min_size=1, max_size=6),
    first=TAGS,
)
@settings(max_examples=60, deadline=None)
def test_they_change_nothing_that_is_charged(
    group: int, own: dict[str, str], reports: list[tuple[int, dict[str, str]]], first: dict[str, str]
) -> None:
    worlds = World(DOCUMENT), World(DOCUMENT)
    worlds[0].subscriber("msisdn:491700000001", tags=written(own))
    said = [("start", None, first), *(("update", one, tags) for one, tags in reports), ("stop", 1, {})]
    for number, (what, used, tags) in enumerate(said):
        line: dict[str, Any] = {"rating_group": group}
        if used is not None:
            line["used"] = {"octets": used, "seconds": number}
        if what != "stop":
            line["requested"] = {}
        told = [say(world, what, number, line, tags if world is worlds[0] else {}, "k") for world in worlds]
        assert told[0] == told[1]
        assert worlds[0].balance() == worlds[1].balance()
        assert worlds[0].held() == worlds[1].held()
    bare = [[msgspec.structs.replace(one, terms="") for one in usages] for usages in map(_without_ladders, worlds)]
    assert bare[0] == bare[1]


def _without_ladders(world: World) -> list[Any]:
    return [msgspec.structs.replace(usage, ladder=msgspec.Raw(b"")) for one in records(world) for usage in one.usages]


def test_what_speaks_of_the_least_counts() -> None:
    world = World(DOCUMENT)
    world.subscriber("msisdn:491700000001", tags=written({"place": "there", "channel": "shop"}))
    wanted = {"rating_group": 20, "requested": {}}
    say(world, "start", 0, wanted, {"channel": "app"}, "k")
    say(world, "update", 1, wanted | {"used": {"octets": MB}}, {})
    say(world, "update", 2, wanted | {"used": {"octets": MB}}, {"product": "film"})
    say(world, "stop", 3, {"rating_group": 20, "used": {"octets": MB}}, {"product": "late"})
    there = {"place": "there"}
    assert usage_tags(world)[:1] == [there | {"channel": "app", "product": "video"}]
    found = [tags for tags in usage_tags(world) if tags]
    assert found[1] == there | {"channel": "app", "product": "video"}, "a session remembers, and so does a grant"
    assert found[-1] == there | {"channel": "shop", "product": "film"}, "of the grant that it settles; told last, whole"


def test_an_event_and_money_that_is_asked_for_have_them_too() -> None:
    world = World(DOCUMENT)
    world.subscriber("msisdn:491700000001", tags=written({"channel": "shop"}))
    say(world, "event", 0, {"rating_group": 21, "requested": {"octets": MB}}, {"product": "title"}, "e1")
    say(world, "event", 0, {"requested": {"money": "1.50"}}, {"product": "order"}, "e2")
    title = {"channel": "shop", "place": "here", "product": "title"}
    assert usage_tags(world) == [title, {"channel": "shop", "product": "order"}]
    assert world.balance() == 20 * EURO - 30_000 - 1_500_000


@pytest.mark.parametrize(
    ("tags", "says"),
    [
        ({"colour": "red"}, "expected channel, product, place (ledger.tags), found colour"),
        ({"channel": "ü" * 64, "product": "ü" * 64}, f"at most {USE_OCTETS_MAX} octets"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_charged(tags: dict[str, str], says: str) -> None:
    body = ChargingStart(service="data", identity="msisdn:491700000001", tags=tags)
    with pytest.raises(UnusableBody) as refused:
        started(body, PlatformCall("tv", "k", tags=DECLARED), service_table({}, {}))
    assert refused.value.field == "tags"
    assert says in str(refused.value)


def test_what_is_given_back_has_those_of_the_debit() -> None:
    world = World(DOCUMENT)
    bought = say(world, "event", 0, {"rating_group": 21, "requested": {"octets": MB}}, {"product": "title"}, "e1")
    back = {"action": "refund", "refund_token": bought["refund_token"], "lines": [{"rating_group": 21}]}
    with pytest.raises(UnusableBody, match="those of the debit"):
        asked(world, "event", back | {"tags": {"product": "x"}}, "e2", tags=DECLARED)
    asked(world, "event", back, "e2", tags=DECLARED)
    assert usage_tags(world) == [{"place": "here", "product": "title"}] * 2
    assert world.balance() == 20 * EURO
