"""What a session told before counts until it is told otherwise (charging.md section 5)."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import pytest

from balances.ledger.record import RecordedCall, RecordId, add_rows, no_rows
from balances.structs.blob import blob_of
from balances.structs.session import FACTS_MAX, Session
from ocs.charging import remembered
from ocs.charging.handle import ChargingContext
from ocs.charging.remembered import Remembered, unpacked
from protocol.diameter.dictionary.credit_control import RequestedServiceUnit, UsedServiceUnit
from protocol.diameter.dictionary.credit_values import UserEquipmentInfo
from protocol.diameter.dictionary.tgpp_charging import (
    EventType,
    ImsInformation,
    PsInformation,
    ServiceInformation,
)
from tariffs.inputs import TOLD, Inputs
from tariffs.match import Match
from tests.ocs.charging.wire import VOICE, I, T, U, codes, lines, mscc
from tests.ocs.charging.world import EURO, World

MB = 2**20
ROAMING = """
tariff = "roam"
currency = "EUR"
[[rows]]
name = "abroad"
when = { service = "data", visited = "208*" }
flat = { per = "1 MB", price = "1.00" }
[[rows]]
name = "home"
flat = { per = "1 MB", price = "0.01" }
"""


def by(condition: str, service: str = "data") -> str:
    """Units that fulfil the condition cost 1.00 and all others 0.01."""
    per = "1 MB" if service == "data" else "1 s"
    return f"""
tariff = "two"
currency = "EUR"
[[rows]]
name = "dear"
when = {{ {condition} }}
flat = {{ per = "{per}", price = "1.00" }}
[[rows]]
name = "cheap"
flat = {{ per = "{per}", price = "0.01" }}
"""


def ps(**fields: Any) -> dict[str, Any]:
    return {"service_information": ServiceInformation(ps_information=PsInformation(**fields))}


def ims(**fields: Any) -> dict[str, Any]:
    return {"service_information": ServiceInformation(ims_information=ImsInformation(node_functionality=6, **fields))}


def ask(number: int) -> dict[str, Any]:
    return {"cc_request_number": number, **lines(mscc(10, ask={"cc_total_octets": MB}, used={"cc_total_octets": MB}))}


def begin(world: World, **fields: Any) -> Any:
    return world.send(I, **lines(mscc(10, ask={"cc_total_octets": MB})), **fields)


def spent(world: World) -> int:
    return 20 * EURO - world.balance()


def another_worker(world: World) -> None:
    """Which remembers nothing, on the same store."""
    world.context.facts = Remembered()


def stored(world: World) -> dict[str, Any]:
    (session,) = world.model.sessions["a1"].values()
    return unpacked(blob_of(session.facts)).whole


def test_the_visited_network_is_told_in_the_first_request_only() -> None:
    world = World(ROAMING)
    begin(world, **ps(tgpp_sgsn_mcc_mnc="20801"))
    world.send(U, **ask(1))
    world.send(U, **ask(2))
    world.send(T, cc_request_number=3, **lines(mscc(10, used={"cc_total_octets": MB})))
    assert spent(world) == 3 * EURO
    assert len(world.charged) == 4  # one call each


def test_another_worker_asks_once_and_then_knows() -> None:
    world = World(ROAMING)
    begin(world, **ps(tgpp_sgsn_mcc_mnc="20801"))
    another_worker(world)
    calls = len(world.charged)
    for number in (1, 2, 3):
        world.send(U, **ask(number))
    assert len(world.charged) - calls == 4  # two for the first of them
    world.send(T, cc_request_number=4, **lines(mscc(10, used={"cc_total_octets": MB})))
    assert spent(world) == 4 * EURO


def test_a_request_that_tells_everything_costs_one_call_on_any_worker() -> None:
    world = World(ROAMING)
    told = ps(tgpp_sgsn_mcc_mnc="20801", called_station_id="internet", tgpp_rat_type=b"\x06")
    begin(world, **told)
    for number in (1, 2):
        another_worker(world)
        world.send(U, **ask(number), **told)
    assert len(world.charged) == 3
    assert spent(world) == 2 * EURO


def test_a_session_that_tells_nothing_costs_one_call_on_any_worker() -> None:
    world = World(ROAMING)
    begin(world)
    another_worker(world)
    world.send(U, **ask(1))
    assert len(world.charged) == 2
    assert world.context.facts.get("gw.example.net;1700000000;1").packed == b""


def test_what_is_told_anew_replaces_only_itself() -> None:
    world = World(ROAMING)
    begin(world, **ps(tgpp_sgsn_mcc_mnc="20801", called_station_id="Internet", tgpp_rat_type=b"\x06"))
    world.send(U, **ask(1), **ps(tgpp_rat_type=b"\x01"))  # only what changed
    assert stored(world) == {"apn": "internet", "rat_type": 1, "visited": "20801"}
    world.send(U, **ask(2), **ps(tgpp_sgsn_mcc_mnc="26201"))  # what was used was granted abroad
    assert spent(world) == 2 * EURO
    world.send(U, **ask(3))
    assert spent(world) == 2 * EURO + 10_000
    assert stored(world) == {"apn": "internet", "rat_type": 1, "visited": "26201"}


def test_a_worker_that_remembers_what_is_no_longer_so_rates_again() -> None:
    world = World(ROAMING)
    begin(world, **ps(tgpp_sgsn_mcc_mnc="26201"))
    old = world.context.facts
    another_worker(world)
    world.send(U, **ask(1), **ps(tgpp_sgsn_mcc_mnc="20801"))
    world.context.facts = old
    world.send(U, **ask(2))
    world.send(U, **ask(3))
    assert spent(world) == 10_000 + 2 * EURO


def test_a_call_priced_by_destination_goes_on() -> None:
    world = World(
        'tariff = "calls"\ncurrency = "EUR"\n[tables.world]\n"33" = "France"\n[[rows]]\nname = "France"\n'
        'when = { to = "world:France" }\nflat = { per = "1 s", price = "0.01" }\n'
    )
    unit = {"requested_service_unit": RequestedServiceUnit(cc_time=60)}
    used = {"used_service_unit": (UsedServiceUnit(cc_time=60),)}
    first = world.send(I, service_context_id=VOICE, **unit, **ims(called_party_address="tel:+33123"))
    another = world.send(U, service_context_id=VOICE, cc_request_number=1, **unit, **used)
    assert (codes(first), codes(another)) == ([2001], [2001])
    assert another.granted_service_unit.cc_time == 60
    world.send(T, service_context_id=VOICE, cc_request_number=2, **used)
    assert spent(world) == 2 * 600_000


PHONE = UserEquipmentInfo(user_equipment_info_type=0, user_equipment_info_value=b"3534900698733190")
KINDS = [
    ('apn = "mms"', "data", ps(called_station_id="MMS")),
    ("rat_type = 6", "data", ps(tgpp_rat_type=b"\x06")),
    ('visited = "20801"', "data", ps(tgpp_sgsn_mcc_mnc="20801")),
    ('location = "0002f810*"', "data", ps(tgpp_user_location_info=bytes.fromhex("0002f81012345678"))),
    ('visited = "20801"', "data", ps(tgpp_user_location_info=bytes.fromhex("8202f8100001" + "02f81000000101"))),
    ('charging_characteristics = "0a00"', "data", ps(tgpp_charging_characteristics="0A00")),
    ('user_time_zone = "8001"', "data", ps(tgpp_ms_timezone=b"\x80\x01")),
    ('node = "pgw7"', "data", ps(node_id="pgw7")),
    ('equipment = "3534*"', "data", {"user_equipment_info": PHONE}),
    ('called = "33*"', "voice", ims(called_party_address="tel:+33123")),
    ('calling = "33*"', "voice", ims(calling_party_address=("tel:+33123",))),
    ("role = 1", "voice", ims(role_of_node=1)),
    ('event_type = "INVITE"', "voice", ims(event_type=EventType(sip_method="INVITE"))),
    ('visited = "26201"', "voice", ims(ims_visited_network_identifier="ims.mnc001.mcc262.3gppnetwork.org")),
]


@pytest.mark.parametrize(("condition", "service", "told"), KINDS, ids=[kind[0] for kind in KINDS])
@pytest.mark.parametrize("moved", [False, True])
def test_every_kind_of_fact(condition: str, service: str, told: dict[str, Any], moved: bool) -> None:
    """On the worker that heard it, and on another one after the account was away."""
    world = World(by(condition, service))
    context = {"service_context_id": VOICE} if service == "voice" else {}
    unit, amount = ("cc_time", 1) if service == "voice" else ("cc_total_octets", MB)
    world.send(I, **context, **lines(mscc(10, ask={unit: amount})), **told)
    if moved:
        another_worker(world)
        put_away_and_back(world)
    for number in (1, 2):
        report = lines(mscc(10, ask={unit: amount}, used={unit: amount}))
        world.send(U, cc_request_number=number, **context, **report)
    world.send(T, cc_request_number=3, **context, **lines(mscc(10, used={unit: amount})))
    # Grants of time are of at least 30 s, and are held for; what was used is what is paid.
    assert spent(world) == 3 * EURO


def put_away_and_back(world: World) -> None:
    """As restore does: the session comes back as it was packed (balances/ledger/restore.py)."""
    sessions = world.model.sessions["a1"]
    for key, session in sessions.items():
        packed = msgspec.msgpack.encode(session)
        sessions[key] = msgspec.msgpack.decode(packed, type=Session)


def test_attributes_of_the_subscriber_are_those_of_now() -> None:
    world = World(by('subscriber = { segment = "gold" }'))
    world.subscriber("msisdn:491700000001", attributes={"segment": "gold"})
    begin(world, **ps(called_station_id="internet"))
    world.subscriber("msisdn:491700000001", attributes={"segment": "iron"}, balance=world.balance())
    world.model.accounts["a1"].buckets[0].held = EURO
    world.send(U, **ask(1))
    world.send(U, **ask(2))
    assert spent(world) == EURO + 10_000


def test_facts_of_a_line_stay_with_the_line() -> None:
    world = World(by("rat_type = 6"))

    def line(group: int, rat: bytes | None = None, *, used: bool = True) -> Any:
        rest: dict[str, Any] = {} if rat is None else {"tgpp_rat_type": rat}
        amount = {"cc_total_octets": MB}
        return mscc(group, ask=amount, used=amount if used else (), **rest)

    world.send(I, **lines(line(10, b"\x06", used=False), line(20, b"\x01", used=False)))
    another_worker(world)
    for number in (1, 2):
        world.send(U, cc_request_number=number, **lines(line(20), line(10)))
    assert spent(world) == 2 * (EURO + 10_000)
    world.send(U, cc_request_number=3, **lines(line(20), line(10)), **ps(tgpp_rat_type=b"\x01"))  # newer, of all lines
    before = spent(world)
    world.send(U, cc_request_number=4, **lines(line(20), line(10)))
    assert spent(world) - before == 20_000


def test_a_line_is_told_of_by_its_rating_group_and_reported_without_its_service() -> None:
    world = World(by("rat_type = 6"))
    amount = {"cc_total_octets": MB}
    world.send(I, **lines(mscc(10, ask=amount, service_identifier=(7,), tgpp_rat_type=b"\x06")))
    for number in (1, 2):
        world.send(U, **ask(number))
    assert spent(world) == 2 * EURO


def test_records_carry_the_facts_of_session_and_line() -> None:
    world = World(by("rat_type = 6"))
    amount = {"cc_total_octets": MB}
    told = ps(called_station_id="internet", tgpp_rat_type=b"\x01")
    world.send(I, **lines(mscc(10, ask=amount, tgpp_rat_type=b"\x06"), mscc(20, ask=amount)), **told)
    both = (mscc(10, ask=amount, used=amount), mscc(20, ask=amount, used=amount))
    world.send(U, cc_request_number=1, **lines(*both))
    appended = world.model.ledger[-1]
    rows = no_rows()
    add_rows(rows, 0, 0, RecordedCall(RecordId(1, 0), appended.record, b"", None, None, None, None, appended.context))
    found = [msgspec.json.decode(row[23], type=Inputs) for row in rows.usages]
    assert [(one.apn, one.rat_type) for one in found] == [("internet", 6), ("internet", 1)]
    assert all("lines" not in msgspec.json.decode(row[23]) for row in rows.usages)
    assert spent(world) == EURO + 10_000


def test_sub_sessions_have_their_own() -> None:
    world = World(ROAMING)
    begin(world, cc_sub_session_id=1, **ps(tgpp_sgsn_mcc_mnc="20801"))
    begin(world, cc_sub_session_id=2, **ps(tgpp_sgsn_mcc_mnc="26201"))
    for number in (1, 2):
        for sub in (1, 2):
            world.send(U, cc_sub_session_id=sub, **ask(number))
    assert spent(world) == 2 * EURO + 20_000


def test_a_repeat_is_answered_again_whoever_gets_it() -> None:
    world = World(ROAMING)
    begin(world, **ps(tgpp_sgsn_mcc_mnc="20801"))
    world.send(U, **ask(1))
    another_worker(world)
    calls = len(world.charged)
    world.send(U, flags=0xD0, **ask(1))
    assert (spent(world), len(world.charged) - calls) == (EURO, 1)


def test_a_fact_too_long_is_cut_and_still_itself() -> None:
    world = World(by('called = "33*"', "voice"))
    told = ims(called_party_address="sip:+33" + "é" * 400)
    assert len(told["service_information"].ims_information.called_party_address) > 400
    world.send(I, service_context_id=VOICE, **lines(mscc(10, ask={"cc_time": 1})), **told)
    assert 250 <= len(stored(world)["called"].encode()) <= remembered.FACT_MAX
    another_worker(world)
    world.send(U, service_context_id=VOICE, cc_request_number=1, **lines(mscc(10, used={"cc_time": 1})))
    assert len(world.charged) == 3


def test_facts_of_many_lines_have_a_bound() -> None:
    """What does not fit is not kept of the lines; those of the whole session are."""
    world = World(by("rat_type = 6"))
    wide = ps(called_station_id="a" * 256, node_id="b" * 256, tgpp_charging_characteristics="c" * 256)
    world.send(I, **lines(mscc(0, ask={})), **wide)
    for number in range(1, 12):
        groups = [mscc(number * 70_000 + each, ask={}, tgpp_rat_type=b"\x06") for each in range(30)]
        world.send(U, cc_request_number=number, **lines(*groups))
    (session,) = world.model.sessions["a1"].values()
    assert len(blob_of(session.facts)) <= FACTS_MAX
    assert stored(world)["apn"] == "a" * 256


def test_a_worker_forgets_the_session_it_served_first() -> None:
    known = Remembered(2)
    facts = unpacked(msgspec.msgpack.encode([-2, -2, 0, "internet"]))
    for session in ("a", "b", "a", "c"):
        known.keep(session, facts)
    assert [bool(known.get(session).packed) for session in "abc"] == [True, False, True]
    known.forget("a")
    assert known.get("a").packed == b""


def test_the_end_of_a_session_is_forgotten() -> None:
    world = World(ROAMING)
    begin(world, **ps(tgpp_sgsn_mcc_mnc="20801"))
    session = "gw.example.net;1700000000;1"
    assert world.context.facts.get(session).whole == {"visited": "20801"}
    world.send(T, cc_request_number=1, **lines(mscc(10, used={"cc_total_octets": MB})))
    assert world.context.facts.get(session).packed == b""


@pytest.mark.parametrize("seed", range(40))
def test_whoever_serves_and_whatever_is_told_the_last_told_counts(seed: int) -> None:
    """The rule itself: of each fact the last one told in the session; use is priced by what was known at its grant. Any
    of three workers serves, some forget, the account goes away and comes back."""
    rng = Random(seed)
    world = World(by('visited = "208*", rat_type = 6'))
    world.account("a1", 20 * EURO * 10)
    workers = [Remembered(rng.choice((1, 8))) for _ in range(3)]
    known: dict[str, dict[str, Any]] = {}
    granted: dict[str, int] = {}
    number, due = dict[str, int](), 0
    for _ in range(30):
        world.context.facts = rng.choice(workers)
        session = f"gw.example.net;1700000000;{rng.randrange(3)}"
        first = session not in known
        told: dict[str, Any] = {}
        if rng.random() < 0.5:
            told |= {"tgpp_sgsn_mcc_mnc": rng.choice(("20801", "20802", "26201"))}
        if rng.random() < 0.5:
            told |= {"tgpp_rat_type": bytes((rng.choice((1, 6)),))}
        if rng.random() < 0.3:
            told |= {"called_station_id": rng.choice(("internet", "ims"))}
        facts = known.setdefault(session, {})
        facts |= told
        if not first:
            due += granted[session]
        dear = facts.get("tgpp_sgsn_mcc_mnc", "").startswith("208") and facts.get("tgpp_rat_type") == b"\x06"
        granted[session] = EURO if dear else 10_000
        amount = {"cc_total_octets": MB}
        line = mscc(10, ask=amount) if first else mscc(10, ask=amount, used=amount)
        number[session] = number.get(session, -1) + 1
        calls = len(world.charged)
        told_now = ps(**told) if told else {}
        answer = world.send(
            I if first else U, session_id=session, cc_request_number=number[session], **lines(line), **told_now
        )
        assert codes(answer) == [2001, 2001]
        assert len(world.charged) - calls <= 2
        assert 20 * EURO * 10 - world.balance() == due
        if rng.random() < 0.1:
            put_away_and_back(world)


def test_every_fact_rating_can_look_at_is_told_or_known() -> None:
    """A new one is remembered, or said here not to be: by number, so the order never changes."""
    ours = {"service", "service_context", "attributes", "time_zone", "subscriber", "subscriber_tags"}
    assert {*TOLD} | ours == {*Inputs.__struct_fields__}
    told_elsewhere = {"rating_group", "service_id", "from_", "to", "time", "subscriber", "service", "service_context"}
    assert {*Match.__struct_fields__} - told_elsewhere == {*TOLD} - {"tags"}  # which change no price
    assert TOLD[:4] == ("apn", "rat_type", "visited", "location")
    assert ChargingContext.__slots__
