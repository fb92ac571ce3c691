"""Templates of sessions: what they serve they serve as the general way does (shadow.py compares every request of every
test in this folder), and what they must leave to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balances.structs.charge import LineOutcome, Outcome, Result
from ocs.charging.request import ChargingAnswer
from ocs.charging.settings import Regular
from protocol.diameter.dictionary import DICTIONARY
from protocol.diameter.dictionary.credit_control import (
    CcMoney,
    CreditControlRequest,
    RequestedServiceUnit,
    UnitValue,
    UsedServiceUnit,
)
from protocol.diameter.dictionary.tgpp_charging import ImsInformation, PsInformation, ServiceInformation
from protocol.diameter.header import SIZE
from protocol.errors import ProtocolError
from tariffs.units import EXACT_MAX
from tests.ocs.charging.test_tariffs import DATA_BY_TIME, world_at
from tests.ocs.charging.wire import IMSI, MSISDN, SMS, VOICE, I, T, U, ccr, lines, mscc
from tests.ocs.charging.world import EURO, NOW_MS, World

MB = 2**20
NOW_S = NOW_MS // 1_000


def report(number: int, used: int = MB, **fields: Any) -> CreditControlRequest:
    """The usual UPDATE of these tests."""
    group = mscc(10, ask={"cc_total_octets": 3 * MB}, used={"cc_total_octets": used})
    return ccr(U, **{"cc_request_number": number, "event_timestamp": NOW_S + number, **lines(group), **fields})


def learnt(world: World | None = None, **fields: Any) -> World:
    """A session that was reported of once, and from which a template was learnt."""
    world = world or World()
    world.answer(ccr(I, **{**lines(mscc(10, ask={})), **fields}))
    world.answer(report(1, **fields))
    assert world.shadow.learnt == 1
    return world


def is_used(world: World, asked: CreditControlRequest, via: str = "gw.example.net") -> bool:
    """Whether a template asks the store for it; that it asks the same is compared by the shadow."""
    before = world.shadow.used
    world.answer(asked, via)
    return world.shadow.used > before


def test_the_next_report_is_served_by_it() -> None:
    world = learnt()
    for number in range(2, 30):
        assert is_used(world, report(number, used=number * 100_003))
    assert world.shadow.answered == 28
    assert world.held() > 0


# ---- the steady case

AMOUNT = st.integers(0, 5 * MB) | st.sampled_from([0, 1, 127, 128, 65_535, 65_536, 2**32 - 1])
GROUPS = st.lists(
    st.tuples(
        st.sampled_from([10, 20, 30, None]),
        st.sampled_from([(), (7,), (7, 8)]),
        st.sampled_from([{}, {"cc_total_octets": MB}]),
        st.sampled_from([("cc_total_octets",), ("cc_total_octets", "cc_input_octets", "cc_output_octets"),
                         ("cc_time", "cc_total_octets"), ()]),
    ),
    min_size=1, max_size=3, unique_by=lambda group: (group[0], group[1][:1]),
)  # fmt: skip
TOLD = st.sampled_from(
    [
        {},
        {"service_information": ServiceInformation(ps_information=PsInformation(called_station_id="internet"))},
        {"origin_state_id": 7},
        {"user_name": "somebody@example.net", "route_record": ("relay.example.net",)},
    ]
)


@settings(max_examples=40, deadline=None)
@given(groups=GROUPS, told=TOLD, data=st.data())
def test_in_the_steady_case_nearly_all_are_served_by_it(groups: Any, told: dict[str, Any], data: st.DataObject) -> None:
    """At least nine of ten, whatever lines a session has and tells; each answer is the general one."""
    world = World()
    world.account("a1", 10**6 * EURO)

    def request(kind: Any, number: int) -> CreditControlRequest:
        made = []
        for group, services, ask, units in groups:
            used = {unit: data.draw(AMOUNT) for unit in units} if kind is U else ()
            made.append(mscc(group, ask=ask, used=used, service_identifier=services))
        return ccr(kind, cc_request_number=number, event_timestamp=NOW_S + number, **lines(*made), **told)

    world.answer(request(I, 0))
    first = world.answer(request(U, 1))
    assert isinstance(first, ChargingAnswer)
    if any(line.granted is None for line in first.lines):  # rated by another unit than it reports: no steady case
        return
    before = world.shadow.used
    for number in range(2, 12):
        world.answer(request(U, number))
    assert world.shadow.used - before >= 9
    assert world.shadow.answered >= 9


# ---- whatever is done to a request


def avps(frame: bytes, start: int = SIZE) -> list[tuple[int, int]]:
    """Where each AVP begins and ends, groups of this kind of message looked into."""
    found = []
    while start < len(frame):
        length = int.from_bytes(frame[start + 5 : start + 8])
        found.append((start, start + (length + 3 & ~3)))
        start += length + 3 & ~3
    return found


def sized(frame: bytes) -> bytes:
    return frame[:1] + len(frame).to_bytes(3) + frame[4:]


@st.composite
def changed(draw: st.DrawFn) -> bytes:
    """A usual report with one thing about it changed: octets, an AVP more, less, elsewhere or with other flags."""
    frame = report(2, used=draw(AMOUNT), subscription_id=(MSISDN, IMSI), origin_state_id=3).frame
    places = avps(frame)
    start, end = draw(st.sampled_from(places))
    match draw(st.sampled_from(["octets", "octets", "octets", "out", "twice", "moved", "flags", "strange"])):
        case "octets":
            at = draw(st.integers(4, len(frame) - 1))
            octets = draw(st.binary(min_size=1, max_size=4))
            return frame[:at] + octets[: len(frame) - at] + frame[at + len(octets) :]
        case "out":
            return sized(frame[:start] + frame[end:])
        case "twice":
            return sized(frame[:end] + frame[start:end] + frame[end:])
        case "moved":
            return frame[:start] + frame[end:] + frame[start:end]
        case "flags":
            flags = draw(st.integers(0, 255))
            return frame[: start + 4] + bytes((flags,)) + frame[start + 5 :]
        case _:
            avp = bytes.fromhex("0000ffff0000000c01020304")
            return sized(frame[:start] + avp + frame[start:])


@settings(max_examples=150, deadline=None)
@given(st.lists(changed(), min_size=1, max_size=3))
def test_whatever_is_changed_in_a_report(frames: list[bytes]) -> None:
    world = World()
    world.answer(ccr(I, **lines(mscc(10, ask={})), subscription_id=(MSISDN, IMSI), origin_state_id=3))
    world.answer(report(1, subscription_id=(MSISDN, IMSI), origin_state_id=3))
    for frame in frames:
        try:
            asked = DICTIONARY.decode(frame)
        except ProtocolError:
            continue
        if not isinstance(asked, CreditControlRequest):
            continue
        try:
            world.answer(asked)  # the shadow compares
        except ProtocolError:
            continue


# ---- what goes the general way

OTHERS: dict[str, Callable[[], CreditControlRequest]] = {
    "T bit": lambda: report(2, flags=0xD0),
    "no P bit": lambda: report(2, flags=0x80),
    "another rating group": lambda: report(2, **lines(mscc(11, ask={}, used={"cc_total_octets": MB}))),
    "two lines": lambda: report(2, **lines(*[mscc(g, ask={}, used={"cc_total_octets": 1}) for g in (10, 11)])),
    "another wish": lambda: report(2, **lines(mscc(10, ask={"cc_total_octets": MB}, used={"cc_total_octets": MB}))),
    "no wish": lambda: report(2, **lines(mscc(10, used={"cc_total_octets": MB}))),
    "no use": lambda: report(2, **lines(mscc(10, ask={"cc_total_octets": 3 * MB}))),
    "a reason": lambda: report(2, **lines(mscc(10, ask={}, used={"cc_total_octets": MB}, reporting_reason=(2,)))),
    "use in another unit": lambda: report(2, **lines(mscc(10, ask={"cc_total_octets": 3 * MB}, used={"cc_time": 9}))),
    "use beyond what is counted": lambda: report(2, used=EXACT_MAX + 1),
    "another name first": lambda: report(2, subscription_id=(IMSI, MSISDN)),
    "no name": lambda: report(2, subscription_id=None),
    "a sub-session": lambda: report(2, cc_sub_session_id=1),
    "another session": lambda: report(2, session_id="gw.example.net;1700000000;2"),
    "another host": lambda: report(2, origin_host="gx.example.net"),
    "a new fact": lambda: report(
        2, service_information=ServiceInformation(ps_information=PsInformation(called_station_id="ims"))
    ),
    "no time": lambda: report(2, event_timestamp=None),
    "a time too far ahead": lambda: report(2, event_timestamp=NOW_S + 3_600),
    "a time too long ago": lambda: report(2, event_timestamp=NOW_S - 8 * 86_400),
    "an Origin-State-Id": lambda: report(2, origin_state_id=2),
    "a TERMINATION": lambda: ccr(T, cc_request_number=2, **lines(mscc(10, used={"cc_total_octets": MB}))),
    "an INITIAL": lambda: ccr(I, cc_request_number=2, **lines(mscc(10, ask={}))),
    "padding that is not zero": lambda: unusual_padding(report(2)),
}


def unusual_padding(asked: CreditControlRequest) -> CreditControlRequest:
    """Legal, and no octet of a number."""
    frame = bytearray(asked.frame)
    for start, end in avps(asked.frame):
        length = int.from_bytes(frame[start + 5 : start + 8])
        if length % 4:
            frame[end - 1] = 1
            break
    return CreditControlRequest.decode(bytes(frame))


@pytest.mark.parametrize("what", OTHERS)
def test_a_request_that_differs_goes_the_general_way(what: str) -> None:
    world = learnt()
    assert not is_used(world, OTHERS[what]())
    assert is_used(world, report(3)) or what in (
        "another host",
        "no P bit",
        "a TERMINATION",
        "an INITIAL",
        "a new fact",
    )


def test_another_connection_goes_the_general_way() -> None:
    assert not is_used(learnt(), report(2), via="dra.example.net")


def newer_profile(world: World) -> None:
    for name, profile in world.at_hand.items():
        world.at_hand[name] = msgspec.structs.replace(profile, attributes={"segment": "gold"})


def another_price(world: World) -> None:
    world.context.catalog = World().catalog


def more_was_told(world: World) -> None:
    """By another request of the session, whose reply is in already."""
    told = ServiceInformation(ps_information=PsInformation(called_station_id="ims"))
    assert not is_used(world, report(7, service_information=told))


def forgotten(world: World) -> None:
    world.context.facts.forget("gw.example.net;1700000000;1")


@pytest.mark.parametrize("change", [newer_profile, another_price, more_was_told])
def test_when_something_is_not_as_it_was(change: Callable[[World], None]) -> None:
    world = learnt()
    assert is_used(world, report(2))
    change(world)
    assert not is_used(world, report(8))
    assert is_used(world, report(9)), "what is new was learnt"


def test_a_worker_that_forgot_what_the_session_told() -> None:
    apn = ServiceInformation(ps_information=PsInformation(called_station_id="internet"))
    world = learnt(service_information=apn)
    assert is_used(world, report(2, service_information=apn))
    forgotten(world)
    assert not is_used(world, report(3, service_information=apn))


# ---- what is not learnt


def money(units: int) -> CcMoney:
    return CcMoney(unit_value=UnitValue(value_digits=units, exponent=-2), currency_code=978)


UNLEARNT: dict[str, Callable[[], CreditControlRequest]] = {
    "money": lambda: report(1, **lines(mscc(10, ask={"cc_money": money(5)}, used={"cc_money": money(5)}))),
    "T bit": lambda: report(1, flags=0xD0),
    "two pieces of use": lambda: report(
        1, **lines(mscc(10, ask={}, used=[{"cc_total_octets": 1}, {"cc_total_octets": 2, "tariff_change_usage": 1}]))
    ),
    "a line in two groups": lambda: report(
        1, **lines(*[mscc(10, ask={}, used={"cc_total_octets": n}) for n in (1, 2)])
    ),
    "directions without their total": lambda: report(
        1, **lines(mscc(10, ask={}, used={"cc_input_octets": 1, "cc_output_octets": 2}))
    ),
    "nothing wanted": lambda: report(1, **lines(mscc(10, used={"cc_total_octets": 1}))),
    "a fact of one line": lambda: report(
        1, **lines(mscc(10, ask={}, used={"cc_total_octets": 1}, tgpp_rat_type=b"\x06"))
    ),
    "another context": lambda: report(1, service_context_id="nobody@example.net"),
}


@pytest.mark.parametrize("what", UNLEARNT)
def test_what_is_not_learnt(what: str) -> None:
    world = World()
    world.answer(ccr(I, **lines(mscc(10, ask={}))))
    world.answer(UNLEARNT[what]())
    assert world.shadow.learnt == 0


def test_a_client_that_uses_numbers_again_is_not_learnt_from() -> None:
    world = World(gw_example_net=Regular(reuses_numbers=True))
    world.answer(ccr(I, **lines(mscc(10, ask={}))))
    world.answer(report(1))
    assert world.shadow.learnt == 0


def test_an_answer_the_store_had_kept_is_not_learnt_from() -> None:
    world = learnt()
    world.answer(report(1))  # the same again, without the T bit
    assert world.shadow.learnt == 1


# ---- answers that are more than numbers


def test_the_last_units_are_told_the_general_way() -> None:
    """The template asks the store; what comes back is not what it knows how to say."""
    world = World()
    world.account("a1", 100_000)
    world.answer(ccr(I, **lines(mscc(10, ask={}))))
    world.answer(report(1))
    assert world.shadow.learnt == 1
    answers = [world.answer(report(number, used=3 * MB)) for number in range(2, 6)]
    assert any(line.final is not None for answer in answers for line in answer.lines)  # type: ignore[union-attr]
    assert 0 < world.shadow.answered < world.shadow.used


def test_a_threshold_that_comes_to_nothing() -> None:
    """10 % of less than ten octets: no threshold is told."""
    world = learnt()
    template = world.shadow._templates["gw.example.net"][0]
    numbers = template.request.numbers(report(2).frame)
    assert numbers is not None
    line = LineOutcome(10, -1, 1, Result.OK, 9, 600_000, 0, False, 0, 0)
    assert template.answer(numbers, Outcome(Result.OK, [line])) is None
    line.granted = 10
    assert template.answer(numbers, Outcome(Result.OK, [line])) is not None


@pytest.mark.parametrize("context", [VOICE, SMS])
def test_units_at_command_level(context: str) -> None:
    world = World()

    def request(kind: Any, number: int) -> CreditControlRequest:
        used = (
            UsedServiceUnit(cc_time=number) if context == VOICE else UsedServiceUnit(cc_service_specific_units=number)
        )
        return ccr(
            kind, cc_request_number=number, service_context_id=context,
            requested_service_unit=RequestedServiceUnit(),
            used_service_unit=(used,) if kind is U else (),
            service_information=ServiceInformation(ims_information=ImsInformation(called_party_address="tel:+4930")),
        )  # fmt: skip

    world.answer(request(I, 0))
    world.answer(request(U, 1))
    for number in range(2, 8):
        assert is_used(world, request(U, number)), number
    assert world.shadow.answered == 6


def test_cost_so_far() -> None:
    world = World(services={"data": {"cost": "always"}})
    learnt(world)
    for number in range(2, 8):
        assert is_used(world, report(number))
    assert world.shadow.answered == 6


def test_a_price_by_the_time_of_day() -> None:
    """The same price: by the template. Another one from an instant on: the general way, and then it is learnt."""
    world = world_at("2026-11-24 09:00:00", DATA_BY_TIME)
    now_s = world.now_ms // 1_000

    def at(number: int, hours: int = 0) -> CreditControlRequest:
        world.now_ms = (now_s + 3_600 * hours) * 1_000
        return report(number, event_timestamp=now_s + 3_600 * hours)

    world.answer(ccr(I, **lines(mscc(10, ask={})), event_timestamp=now_s))
    world.answer(at(1))
    assert is_used(world, at(2, 1))
    assert not is_used(world, at(3, 12))
    assert is_used(world, at(4, 12))
