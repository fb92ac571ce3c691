"""Templates of requests: what they serve they serve as the general way does (shadow.py compares every request of every
test in this folder), and what they must leave to it."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balances.structs.charge import LineOutcome, Outcome, Result
from ocs.charging.profile import FormerPayer, ServicePayer
from ocs.charging.request import ChargingAnswer
from ocs.charging.request_template import MISFITS_MAX
from ocs.charging.settings import Regular
from protocol.diameter.dictionary import DICTIONARY
from protocol.diameter.dictionary.credit_control import (
    CcMoney,
    CreditControlRequest,
    RequestedServiceUnit,
    SubscriptionId,
    UnitValue,
    UsedServiceUnit,
)
from protocol.diameter.dictionary.tgpp_charging import ImsInformation, PsInformation, ServiceInformation
from protocol.diameter.header import SIZE
from protocol.errors import AvpError, ProtocolError
from tariffs.catalog import Assignment
from tariffs.limits import SpendingLimit
from tariffs.units import EXACT_MAX, Kind
from tests.ocs.charging.test_tariffs import CALLS, DATA_BY_TIME, berlin, tariff, world_at
from tests.ocs.charging.wire import IMSI, MSISDN, SMS, VOICE, I, T, U, ccr, lines, mscc
from tests.ocs.charging.world import EURO, NOW_MS, World

MB = 2**20
NOW_S = NOW_MS // 1_000


def report(number: int, used: int = MB, **fields: Any) -> CreditControlRequest:
    """The usual UPDATE of these tests."""
    group = mscc(10, ask={"cc_total_octets": 3 * MB}, used={"cc_total_octets": used})
    return ccr(U, **{"cc_request_number": number, "event_timestamp": NOW_S + number, **lines(group), **fields})


def learnt(world: World | None = None, **fields: Any) -> World:
    """A session that was reported of once, and templates of how it began and of that."""
    world = world or World()
    world.answer(ccr(I, **{**lines(mscc(10, ask={})), **fields}))
    world.answer(report(1, **fields))
    assert world.shadow.learnt == 2
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
    "a longer name of the session": lambda: report(2, session_id="gw.example.net;1700000000;22222"),
    "a name of the session that is not ASCII": lambda: report(2, session_id="gw.example.net;170000000;\u00e9"),
    "another host": lambda: report(2, origin_host="gx.example.net"),
    "a new fact": lambda: report(
        2, service_information=ServiceInformation(ps_information=PsInformation(called_station_id="ims"))
    ),
    "no time": lambda: report(2, event_timestamp=None),
    "a time too far ahead": lambda: report(2, event_timestamp=NOW_S + 3_600),
    "a time too long ago": lambda: report(2, event_timestamp=NOW_S - 8 * 86_400),
    "an Origin-State-Id": lambda: report(2, origin_state_id=2),
    "a TERMINATION": lambda: ccr(T, cc_request_number=2, **lines(mscc(10, used={"cc_total_octets": MB}))),
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
    )


@pytest.mark.parametrize("name", ["http:shop", "radius:lo", "radius-ho"])
def test_a_session_of_another_protocol_goes_the_general_way(name: str) -> None:
    """Where it is refused; as long as the usual one, so that nothing else differs."""
    with pytest.raises(AvpError):
        is_used(learnt(), report(2, session_id=f"{name}.net.;1700000000;1"))


def test_another_connection_goes_the_general_way() -> None:
    assert not is_used(learnt(), report(2), via="dra.example.net")


def another_price(world: World) -> None:
    text = (
        (files("tariffs") / "examples" / "demo.toml")
        .read_text()
        .replace('"0.01", per = "1 MB"', '"0.02", per = "1 MB"')
    )
    world.context.catalog = World(text).catalog


def barred(world: World) -> None:
    for name, profile in world.at_hand.items():
        world.at_hand[name] = msgspec.structs.replace(profile, barred=True)


def paid_before(world: World) -> None:
    """Repeats may have to be answered by another account."""
    former = FormerPayer("a2", "EUR", "Europe/Berlin", 1, NOW_MS)
    for name, profile in world.at_hand.items():
        world.at_hand[name] = msgspec.structs.replace(profile, former=(former,))


def limited(world: World) -> None:
    limit = SpendingLimit("pocket", Kind.MONEY, 5 * EURO, "ever")
    for name, profile in world.at_hand.items():
        world.at_hand[name] = msgspec.structs.replace(profile, limits=(limit,))


@pytest.mark.parametrize("change", [another_price, barred, paid_before, limited])
def test_when_something_is_not_as_it_was(change: Callable[[World], None]) -> None:
    world = learnt()
    assert is_used(world, report(2))
    change(world)
    assert not is_used(world, report(8))
    assert is_used(world, report(9)) or change in (barred, paid_before), "what is new was learnt"


def newer_profile(world: World) -> None:
    for name, profile in world.at_hand.items():
        newer = {"attributes": {"segment": "gold"}, "time_zone": "Asia/Tokyo", "rev": 2}
        world.at_hand[name] = msgspec.structs.replace(profile, **newer)


def another_payer(world: World) -> None:
    """Of the service; the session goes on where it began, which the store says."""
    world.account("a2", EURO)
    payers = (ServicePayer("data", "a2", "EUR", "Europe/Berlin"),)
    for name, profile in world.at_hand.items():
        world.at_hand[name] = msgspec.structs.replace(profile, payers=payers)


def published_again(world: World) -> None:
    world.context.catalog = World().catalog


def more_was_told(world: World) -> None:
    """By another request of the session, whose reply is in already."""
    told = ServiceInformation(ps_information=PsInformation(called_station_id="ims"))
    assert not is_used(world, report(7, service_information=told))


def forgotten(world: World) -> None:
    world.context.facts.forget("gw.example.net;1700000000;1")


@pytest.mark.parametrize("change", [newer_profile, another_payer, published_again, more_was_told])
def test_what_it_does_not_depend_on(change: Callable[[World], None]) -> None:
    """The price is the same; the shadow compares all else."""
    world = learnt()
    assert is_used(world, report(2))
    change(world)
    assert is_used(world, report(8))
    assert is_used(world, report(9))


def test_a_worker_that_forgot_what_the_session_told() -> None:
    apn = ServiceInformation(ps_information=PsInformation(called_station_id="internet"))
    world = learnt(service_information=apn)
    assert is_used(world, report(2, service_information=apn))
    forgotten(world)
    assert is_used(world, report(3, service_information=apn))


# ---- any session

GOLD = """
[[rows]]
name = "ims"
when = { service = "data", apn = "ims-----" }
flat = { price = "0.03", per = "1 MB" }
[[rows]]
name = "gold"
when = { subscriber = { segment = "gold" } }
flat = { price = "0.02", per = "1 MB" }
[[rows]]
name = "all"
flat = { price = "0.01", per = "1 MB" }
"""
CHEAP, NIGHTLY = (
    tariff(GOLD).replace('"t"', '"u"').replace('"0.01"', '"0.005"'),
    tariff(DATA_BY_TIME).replace('"t"', '"v"'),
)
TOLD_BY = {
    "internet": PsInformation(called_station_id="internet"),
    "ims": PsInformation(called_station_id="ims-----"),
    "elsewhere": PsInformation(called_station_id="elsewher", tgpp_charging_id=b"abcd"),
    "of its own": PsInformation(called_station_id="internet", tgpp_charging_id=b"abcd"),
}


def town(**options: Any) -> World:
    """Three subscribers of three accounts and tariffs, two of which price by what is told or who it is."""
    world = World(tariff(GOLD), CHEAP, NIGHTLY, **options)
    world.now_ms = berlin("2026-11-24 19:58:30")
    for number, (name, segment) in enumerate([("t", "gold"), ("u", "tin"), ("v", "gold")]):
        fields: dict[str, Any] = {"attributes": {"segment": segment}, "assignments": (Assignment(name),)}
        world.subscriber(f"msisdn:49170000000{number}", account=f"a{number}", balance=10**6 * EURO, **fields)
    return world


class DataSession:
    """A session of one of them: INITIAL, as many UPDATEs as are sent, TERMINATION."""

    def __init__(self, world: World, who: int, about: str, context: str = "32251@3gpp.org") -> None:
        self._world, self._number = world, 0
        name = SubscriptionId(subscription_id_type=0, subscription_id_data=f"49170000000{who}")
        self._fields: dict[str, Any] = {
            "session_id": f"gw.example.net;17000000;{id(self) % 10_000:05}",
            "service_context_id": context,
            "subscription_id": (name,),
            "service_information": ServiceInformation(ps_information=TOLD_BY[about]),
        }

    def send(self, kind: Any, group: int = 10, **used: int) -> bool:
        """Whether by a template."""
        fields = self._fields | {"event_timestamp": self._world.now_ms // 1_000, "cc_request_number": self._number}
        self._number += 1
        ask: dict[str, int] | None = None if kind is T else {}
        return is_used(self._world, ccr(kind, **lines(mscc(group, ask=ask, used=used or ())), **fields))


def test_one_session_teaches_what_serves_all() -> None:
    world = town()
    first = DataSession(world, 0, "internet")
    assert [first.send(I), first.send(U, cc_total_octets=1), first.send(T, cc_total_octets=2)] == [False] * 3
    for who, about in [(0, "internet"), (0, "of its own"), (2, "internet"), (0, "elsewhere")]:
        other = DataSession(world, who, about)
        by = [
            other.send(I),
            other.send(U, cc_total_octets=MB),
            other.send(U, cc_total_octets=3),
            other.send(T, cc_total_octets=9),
        ]
        assert by == [who == 0 and about != "of its own"] * 4 or about in ("of its own", "elsewhere") or who == 2
        again = DataSession(world, who, about)
        assert [again.send(I), again.send(U, cc_total_octets=7), again.send(T, cc_total_octets=0)] == [True] * 3


STEP = st.tuples(
    st.integers(0, 2), st.sampled_from(sorted(TOLD_BY)), st.sampled_from([10, 20]), st.integers(0, 3 * MB),
    st.sampled_from([0, 0, 0, 1, 100, 100_000]),
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(steps=st.lists(STEP, min_size=10, max_size=40), data=st.data())
def test_sessions_of_several_subscribers_at_once(steps: list[Any], data: st.DataObject) -> None:
    """Whoever begins, reports or ends, and whatever it is about: the shadow compares."""
    world = town()
    running: list[DataSession] = []
    for who, about, group, used, passed_s in steps:
        world.now_ms += passed_s * 1_000
        kind = data.draw(st.sampled_from([I, U, U, T])) if running else I
        if kind is I:
            running.append(DataSession(world, who, about))
        course = running[-1] if kind is I else data.draw(st.sampled_from(running))
        course.send(kind, group, **({} if kind is I else {"cc_total_octets": used}))
        if kind is T:
            running.remove(course)


def test_use_by_time_that_ends_is_priced_from_its_begin() -> None:
    """A TERMINATION after the price changed: by the ladder that was in force when its use began."""
    world = world_at("2026-11-24 19:50:00", CALLS, balance="9000.00")

    def call(*used: int, at: str = "19:50") -> list[bool]:
        world.now_ms = berlin(f"2026-11-24 {at}:00")
        by = []
        for number, seconds in enumerate((0, *used)):
            kind = I if not number else T if number == len(used) else U
            world.now_ms += seconds * 1_000
            group = mscc(None, ask=None if kind is T else {"cc_time": 60}, used={"cc_time": seconds} if number else ())
            fields = {"event_timestamp": world.now_ms // 1_000, "cc_request_number": number, **lines(group)}
            fields["session_id"] = f"gw.example.net;{at};{sum(used):03}"
            by.append(is_used(world, ccr(kind, service_context_id=VOICE, **fields)))
        return by

    assert call(60, 60) == [False] * 3
    assert call(59, 33) == [True] * 3
    assert call(59, 580) == [True] * 3, "it began before and ended after the change"
    assert call(59, 33, at="20:00") == [False] * 3
    assert call(59, 580, at="20:00") == [True] * 3


def test_an_event_from_before_a_tariff_was_assigned() -> None:
    """It comes late, and is rated by what was in force then, not by what its session was rated by last."""
    world = World(tariff(GOLD), CHEAP)
    since_ms = world.now_ms - 3_600_000
    assignments = (Assignment("t", from_ms=since_ms), Assignment("u"))
    world.subscriber("msisdn:491700000001", balance=10**6 * EURO, assignments=assignments)
    world = learnt(world)
    assert is_used(world, report(2))
    assert is_used(world, report(3, event_timestamp=since_ms // 1_000 + 1))
    assert not is_used(world, report(4, event_timestamp=since_ms // 1_000 - 1))
    assert world.charged[-1].asks[0].ladder != world.charged[-2].asks[0].ladder


def test_lines_that_cost_the_same_in_one_place_only() -> None:
    """The same is said by both requests, but of another rating group."""
    rows = """
[[rows]]
name = "live"
when = { rating_group = 20, apn = "internet" }
flat = { price = "0.04", per = "1 MB" }
[[rows]]
name = "all"
flat = { price = "0.01", per = "1 MB" }
"""
    world = World(tariff(rows))
    world.account("a1", 10**6 * EURO)
    world.subscriber("msisdn:491700000000", balance=10**6 * EURO)
    there, here = DataSession(world, 0, "elsewhere"), DataSession(world, 0, "of its own")
    for course, group in ((there, 20), (here, 10)):
        course.send(I, group)
        course.send(U, group, cc_total_octets=MB)
    assert here.send(U, 10, cc_total_octets=MB)
    assert there.send(U, 20, cc_total_octets=MB)
    assert not here.send(U, 20, cc_total_octets=MB)
    assert here.send(U, 20, cc_total_octets=MB)


def test_other_avps_in_the_place_of_what_it_is_about() -> None:
    """As long as it was: judged the general way, whatever the template knows."""
    asked = report(2, service_information=ServiceInformation(ps_information=TOLD_BY["internet"]))
    for unknown in ("0000ffff00", "0000ffff40"):
        world = learnt(service_information=ServiceInformation(ps_information=TOLD_BY["internet"]))
        assert is_used(world, asked)
        frame = asked.frame
        start, end = next(place for place in avps(frame) if frame[place[0] : place[0] + 4] == (873).to_bytes(4))
        other = bytes.fromhex(unknown) + frame[start + 5 : start + 8] + frame[start + 8 : end]
        try:
            changed = CreditControlRequest.decode(frame[:start] + other + frame[end:])
        except ProtocolError:
            assert unknown.endswith("40")
        else:
            assert not is_used(world, changed)
    for field, value in (("requested_action", 0), ("termination_cause", 1)):
        world = learnt(user_name="abcd")
        plain = report(2, user_name="abcd")
        placed = ccr(U, **{"cc_request_number": 2, "event_timestamp": NOW_S + 2, field: value, **lines(
            mscc(10, ask={"cc_total_octets": 3 * MB}, used={"cc_total_octets": MB}))})  # fmt: skip
        assert len(placed.frame) == len(plain.frame)
        assert is_used(world, plain)
        assert not is_used(world, placed)


def test_an_answer_that_is_rare_is_not_kept_for_good() -> None:
    """What was learnt of a price does not fit the answers that follow: another one is learnt in its place."""
    world = learnt()
    filled = world.shadow.before(report(2), "gw.example.net", world.now_ms)
    assert filled is not None
    final = Outcome(Result.OK, [LineOutcome(10, -1, 1, Result.OK, 9, 600_000, 0, True, 0, 0)])
    for _ in range(MISFITS_MAX):
        assert world.shadow.before(report(2), "gw.example.net", world.now_ms) is not None
        assert filled.template.answer(filled.values, filled.priced, final) is None
    assert world.shadow.before(report(2), "gw.example.net", world.now_ms) is None


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
    assert world.shadow.learnt == 1
    world.answer(UNLEARNT[what]())
    assert world.shadow.learnt == 1


def test_a_client_that_uses_numbers_again_is_not_learnt_from() -> None:
    world = World(gw_example_net=Regular(reuses_numbers=True))
    world.answer(ccr(I, **lines(mscc(10, ask={}))))
    world.answer(report(1))
    assert world.shadow.learnt == 0


def test_an_answer_the_store_had_kept_is_not_learnt_from() -> None:
    world = learnt()
    world.answer(report(1))  # the same again, without the T bit
    assert world.shadow.learnt == 2


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
    filled = world.shadow.before(report(2), "gw.example.net", world.now_ms)
    assert filled is not None
    line = LineOutcome(10, -1, 1, Result.OK, 9, 600_000, 0, False, 0, 0)
    assert filled.template.answer(filled.values, filled.priced, Outcome(Result.OK, [line])) is None
    line.granted = 10
    assert filled.template.answer(filled.values, filled.priced, Outcome(Result.OK, [line])) is not None


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
