"""Templates of bodies: what they serve they serve as the general way does (platform_shadow.py compares every request of
test_http.py and of this file), and what they must leave to it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocs.api.members import Twice, each_once
from ocs.backoffice.charging_templates import PlatformTemplates
from ocs.charging import request_template
from ocs.charging.http import template
from ocs.charging.http.translate import PlatformCall, UnusableBody
from tests.ocs.charging.test_http import ANNA, FORMS, MB, asked, asked_in_octets, line, shadow_of, start, stop, update
from tests.ocs.charging.test_tariffs import tariff
from tests.ocs.charging.world import EURO, NOW_MS, World

CALL = PlatformCall("iptv", "", "tv-1")


def learnt() -> World:
    """Templates of how a session begins, goes on and ends."""
    world = World()
    world.account("a1", 10**6 * EURO)
    start(world, line(wanted=10))
    update(world, 1, line(used=3, wanted=10))
    stop(world, 2, line(used=1))
    assert len(shadow_of(world).templates) == 3
    return world


def is_used(world: World, what: str, body: dict[str, Any], **call: str) -> bool:
    """Whether a template asks the store for it; that it asks the same is compared by the shadow."""
    before = shadow_of(world).used
    asked(world, what, body, **call)
    return shadow_of(world).used > before


def test_sessions_like_one_before_are_served_by_them() -> None:
    world = learnt()
    world.subscriber("msisdn:491700000002", account="a2")
    shadow = shadow_of(world)
    for number, who in enumerate((ANNA, ANNA, {"service": "data", "identity": "msisdn:491700000002"})):
        session = f"film-{number}"
        begun = asked(world, "start", who | {"id": session, "lines": [line(wanted=10)]}, f"key-{number}")
        assert isinstance(begun, dict)
        assert begun["session"] == f"http:iptv;{session}"
        for report in range(1, 9):
            asked(world, "update", who | {"number": report, "lines": [line(report, 10)]}, session=session)
        asked(world, "stop", who | {"number": 9, "lines": [line(2)]}, session=session)
    assert (shadow.used, shadow.answered) == (30, 30)


def test_a_session_without_an_id_is_named_by_its_key() -> None:
    world = World()
    body = {"lines": [line(wanted=10)]}
    first = asked(world, "start", body, "key-1")
    assert isinstance(first, dict)
    assert is_used(world, "start", body, key="key-2")
    again = asked(world, "start", body, "key-1")
    assert again == first


def test_a_repeat_and_another_content_under_its_number_are_judged() -> None:
    world = learnt()
    start(world, line(wanted=10), id="tv-2", key="k2")
    first = asked(world, "update", {"number": 1, "lines": [line(3, 10)]}, session="tv-2")
    balance = world.balance()
    assert asked(world, "update", {"number": 1, "lines": [line(3, 10)]}, session="tv-2") == first
    assert asked(world, "update", {"number": 1, "lines": [line(4, 10)]}, session="tv-2") == "conflict"
    assert world.balance() == balance


CALLS = tariff("""
[[rows]]
name = "mobile"
when = { service = "voice", called = "4917*" }
flat = { price = "0.30", per = "60 s" }

[[rows]]
name = "rest"
when = { service = "voice" }
flat = { price = "0.06", per = "60 s" }
""")


def test_facts_that_differ_are_told_and_priced() -> None:
    """Each call has another number; who calls a dear one pays for it."""
    world = World(CALLS)
    world.account("a1", 10**6 * EURO)
    costs = []
    for number, called in enumerate(("4930111", "4930222", "4917333", "4917444", "4930555")):
        facts = {"calling": "491700000001", "called": f"+{called}", "node": "pbx-1"}
        call = {"service": "voice", "facts": facts, "lines": [{"requested": {"seconds": 60}}], "id": f"c-{number}"}
        asked(world, "start", call, f"k{number}")
        report = {"service": "voice", "number": 1, "lines": [{"used": {"seconds": 60}}]}
        ended = asked(world, "stop", report, session=f"c-{number}")
        assert isinstance(ended, dict)
        costs.append(ended["cost"])
    assert costs == ["0.06", "0.06", "0.30", "0.30", "0.06"]
    assert shadow_of(world).used >= 5


def test_the_time_that_is_stated_counts() -> None:
    world = World()
    world.account("a1", 10**6 * EURO)
    at = [f"2023-11-14T22:1{minute}:20+00:00" for minute in range(5)]
    start(world, line(wanted=10), time=at[0])
    for number in (1, 2, 3):
        update(world, number, line(1, 10), time=at[number])
    assert shadow_of(world).used == 2
    assert world.charged[-1].event_ms == NOW_MS
    octets = msgspec.json.encode(ANNA | {"number": 4, "lines": [line(1, 10)], "time": "2023-11-31T22:10:00Z"})
    assert shadow_of(world).before(template.FORMS[FORMS["update"]], CALL, octets) is None, "no such day"


@pytest.mark.parametrize(
    "lines",
    [
        [{"rating_group": 10, "used": {"money": "0.10"}, "requested": {}}],
        [{"rating_group": 10, "used": {"octets": MB}, "requested": {"money": "0.10"}}],
        [{"rating_group": 10, "used": {"seconds": 5}, "requested": {}}],
        [{"rating_group": 10, "used": {"octets": MB}}],
    ],
    ids=["money", "money wanted", "in other units", "no grant"],
)
def test_what_is_not_learnt(lines: list[dict[str, Any]]) -> None:
    world = World()
    start(world, line(wanted=10))
    before = len(shadow_of(world).templates)
    for number in (1, 2, 3):
        asked(world, "update", {"number": number, "lines": lines}, session="tv-1")
    assert len(shadow_of(world).templates) == before


def test_nor_what_names_nobody_or_a_currency() -> None:
    world = World()
    start(world, line(wanted=10))
    before = len(shadow_of(world).templates)
    said: list[dict[str, Any]] = [{"identity": None}, {"currency": "EUR"}, {"identity": None}]
    for number, more in enumerate(said, 1):
        update(world, number, line(1, 10), **more)
    assert len(shadow_of(world).templates) == before


def test_of_one_caller_nothing_serves_another() -> None:
    world = learnt()
    assert not is_used(world, "start", {"id": "tv-9", "lines": [line(wanted=10)]}, key="k9", caller="pbx")
    assert is_used(world, "start", {"id": "tv-8", "lines": [line(wanted=10)]}, key="k8", caller="pbx")
    assert world.charged[-1].session == "http:pbx;tv-8"
    assert world.charged[-1].peer == "http:pbx"


def test_a_low_balance_is_told_the_general_way() -> None:
    world = learnt()
    world.account("a1", 120_000)
    start(world, line(wanted=10), id="tv-2", key="k2")
    told = asked(world, "update", {"number": 1, "lines": [line(used=9, wanted=10)]}, session="tv-2")
    assert isinstance(told, dict)
    assert told["lines"][0]["final"] is not None
    assert shadow_of(world).used > shadow_of(world).answered


def test_as_many_are_kept_as_may_be() -> None:
    world = World()
    world.account("a1", 10**6 * EURO)
    shadow_of(world).templates = PlatformTemplates(3)

    def begins(*groups: int) -> bool:
        number = len(world.charged)
        lines = [line(wanted=10) | {"service_id": group} for group in groups]
        return is_used(world, "start", {"id": f"s-{number}", "lines": lines}, key=f"k{number}")

    assert not any(begins(*groups) for groups in ((10,), (20,), (10, 20)))
    assert begins(10)
    assert not begins(20, 10)
    assert len(shadow_of(world).templates) == 3
    assert begins(10)
    assert not begins(20), "it served longest ago"


def test_what_never_comes_twice_is_not_learnt_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_template, "LESSONS_MAX", 10)
    world = World()
    world.account("a1", 10**6 * EURO)
    for number in range(40):
        body = {"id": f"s-{number}", "lines": [{"rating_group": 10, "requested": {"octets": MB + number}}]}
        asked(world, "start", body, f"k{number}")
    assert len(shadow_of(world).templates) == 10


# ---- whatever is written

UNIT = st.sampled_from([("octets",), ("octets", "seconds"), ("units", "octets")])
AMOUNT = st.integers(0, 5 * MB) | st.sampled_from([0, 1, 2**31, 2**53, 2**53 + 1, 2**63 - 1])
SPACES = st.sampled_from([("", ""), (" ", " "), ("", " "), ("\n  ", "\t")])


@settings(max_examples=60, deadline=None)
@given(units=st.lists(UNIT, min_size=1, max_size=3), spaces=SPACES, data=st.data())
def test_in_the_steady_case_all_are_served_by_it(
    units: list[tuple[str, ...]], spaces: tuple[str, str], data: st.DataObject
) -> None:
    world = World()
    world.account("a1", 10**6 * EURO)
    between, behind = spaces
    order = data.draw(st.permutations(["service", "identity", "number", "lines"]))
    call = PlatformCall("iptv", "k", "tv-1")

    def send(what: str, body: dict[str, Any]) -> Any:
        named = {name: body[name] for name in order if name in body} | body
        text = json.dumps(named, separators=("," + between, ":" + behind))
        return asked_in_octets(world, what, text.encode(), call)

    titles: list[dict[str, Any]] = [{"rating_group": 10, "service_id": nth} for nth, _ in enumerate(units)]
    begun = send("start", ANNA | {"id": "tv-1", "lines": titles})
    assert isinstance(begun, dict)
    for number in range(1, 6):
        before = shadow_of(world).used
        lines = []
        for title, names in zip(titles, units, strict=True):
            lines.append(title | {"used": {name: data.draw(AMOUNT) for name in names}, "requested": {}})
        told = send("update", ANNA | {"number": number, "lines": lines})
        small = all(amount < 2**31 for one in lines for amount in one["used"].values())
        if not isinstance(told, dict) or any(one["granted"] is None for one in told["lines"]):
            return
        if number > 1 and small and len(shadow_of(world).templates) > 1:
            assert shadow_of(world).used > before


TOKENS = (
    *(b'"number":2', b'"number":"2"', b'"number":02', b'"number":2.0', b'"number":2e0', b'"number":-2', b'"number":0'),
    *(b'"number":4294967295', b'"number":4294967296', b'"number":99999999999999999999', b'"number":null'),
    *(b'"number":2,"number":3', b'"number":2,"numbe\\u0072":3', b'"number": 2 ', b'"number" :2', b'"number":\x0b2'),
)
IDENTITIES = (
    *(
        b'"msisdn:491700000001"',
        b'"msisdn:491700000002"',
        b'"msisdn:"',
        b'"nobody"',
        b'""',
        b'"subscriber:s1"',
        b"null",
    ),
    *(b'"msisdn:49170000000\\u0031"', b'"msisdn:49\xff"', b'"msisdn:\\",\\"number\\":5,\\"a\\":\\""', b'"sip:a@b"'),
    b'"msisdn:491700000001","subscriber":"s1"',
)
AMOUNTS = (
    *(b'{"octets":7}', b'{"octets":0}', b'{"octets":-1}', b'{"octets":9007199254740993}', b'{"octets":1.5}', b"{}"),
    *(b'{"octets":7,"octets":8}', b'{"seconds":7}', b'{"octets":7,"money":"1"}', b"null", b'{"octets":"7"}'),
    *(b'{"octets":9223372036854775807}', b'{"octets":9223372036854775808}', b'{"octets":07}', b'{"octets":7 }'),
)


def judged(world: World, what: str, octets: bytes, call: PlatformCall = CALL) -> None:
    """What the general way refuses no template serves; what it takes they serve alike."""
    form = template.FORMS[FORMS[what]]
    prepared = shadow_of(world).before(form, call, octets)
    try:
        read = msgspec.json.decode(octets, type=form.body)
        each_once(octets)
        form.to_request(read, call, world.context.settings.services)
    except (msgspec.MsgspecError, UnicodeDecodeError, UnusableBody, Twice):
        assert prepared is None, octets
        return
    asked_in_octets(world, what, octets, call)


@pytest.mark.parametrize("at", ["number", "identity", "used", "id"])
def test_a_value_that_may_differ_is_still_judged(at: str) -> None:
    world = learnt()
    start(world, line(wanted=10), id="tv-5", key="k5")
    usual = {"number": b'"number":1', "identity": b'"msisdn:491700000001"', "used": b'{"octets":7}', "id": b'"tv-6"'}
    for token in {"number": TOKENS, "identity": IDENTITIES, "used": AMOUNTS, "id": IDENTITIES}[at]:
        said = usual | {at: token}
        lines = b'"lines":[{"rating_group":10,"requested":{"octets":10485760}}]'
        start_body = b'{"service":"data","identity":%b,"id":%b,%b}' % (said["identity"], said["id"], lines)
        judged(world, "start", start_body, PlatformCall("iptv", "key-7"))
        lines = lines.replace(b'"requested"', b'"used":%b,"requested"' % said["used"])
        report = b'{"service":"data","identity":%b,%b,%b}' % (said["identity"], said["number"], lines)
        judged(world, "update", report, PlatformCall("iptv", "", "tv-5"))
    assert shadow_of(world).used > 0


BODY = msgspec.json.encode(
    ANNA | {"number": 7, "facts": {"apn": 'x":5,y', "node": "a:5,"}, "lines": [line(used=2, wanted=10)]}
)


@settings(max_examples=300, deadline=None)
@given(at=st.integers(0, len(BODY)), cut=st.integers(0, 3), put=st.binary(max_size=4) | st.sampled_from([b'"', b"\\"]))
def test_whatever_octets_are_changed(at: int, cut: int, put: bytes) -> None:
    world = World()
    start(world, line(wanted=10))
    judged(world, "update", BODY)
    judged(world, "update", BODY.replace(b'"number":7', b'"number":8'))
    judged(world, "update", BODY[:at] + put + BODY[at + cut :])
