"""Accounting-Requests to money (charging.md section 8): from octets to the readable model of the store."""

from __future__ import annotations

from typing import Any

import pytest

from balances.model.courses import incarnation_of
from balances.structs.charge import Charge, Course, Flag, Phase, Result
from balances.structs.session import SessionState
from ocs.charging.radius.accounting import to_charging
from ocs.charging.radius.identities import identities_of
from ocs.charging.radius.nas import NasProfile
from ocs.charging.request import ChargingRequest
from ocs.charging.settings import ChargingSettings
from protocol.radius.dictionary.standard import ACCT_SESSION_ID, USER_NAME
from protocol.radius.dictionary.values import AcctStatusType
from protocol.radius.refused import RadiusError
from tests.ocs.charging.radius.nas import USER, Bras, accounting
from tests.ocs.charging.test_tariffs import berlin, tariff
from tests.ocs.charging.world import EURO, NOW_MS, PACKAGE, World, ready

MB = 2**20
START, INTERIM, STOP = AcctStatusType.START, AcctStatusType.INTERIM_UPDATE, AcctStatusType.STOP
OURS = b"ocs1.aabbccddeeff00112233.0123456789ab"


def asked(packet: Any, now_ms: int = NOW_MS, **profile: Any) -> ChargingRequest:
    return to_charging(packet, NasProfile("bras", **profile), "10.0.0.1", now_ms, ChargingSettings())


def test_what_counters_gained_is_charged_and_a_repeat_nothing() -> None:
    bras = Bras()
    bras.start()
    bras.interim(60, (2 * MB, MB))
    assert bras.world.balance() == 20 * EURO - 30_000
    bras.interim(60, (2 * MB, MB))
    bras.interim(120, (3 * MB, MB))
    assert bras.world.balance() == 20 * EURO - 40_000
    bras.stop(150, (3 * MB, 2 * MB))
    bras.stop(150, (3 * MB, 2 * MB))
    assert (bras.world.balance(), bras.world.held()) == (20 * EURO - 50_000, 0)


def test_gigawords_count() -> None:
    bras = Bras(port_mbps=100_000)
    bras.start()
    bras.interim(3_600, (5 * 2**32 + 7 * MB, 0))
    assert bras.world.balance() == 20 * EURO - (5 * 4096 + 7) * 10_000
    bras.interim(7_200, (6 * 2**32, 0))
    assert bras.world.balance() == 20 * EURO - 6 * 4096 * 10_000


def test_a_counter_of_32_bits_wraps_where_its_client_is_said_to_have_such() -> None:
    for wraps, gained in ((True, 4096 + 6), (False, 4090)):
        bras = Bras(wraps=wraps)
        bras.start()
        bras.interim(3_600, (4090 * MB, 0))
        bras.interim(3_700, (6 * MB, 0))
        assert bras.world.balance() == 20 * EURO - gained * 10_000


def test_a_client_that_sends_gigawords_all_the_same_is_charged_once() -> None:
    bras = Bras(wraps=True)
    bras.start()
    for at_s, total_mb in ((3_600, 4_090), (3_700, 4_200), (3_800, 4_300), (3_900, 9_000)):
        bras.interim(at_s, (total_mb * MB, 0))
    assert bras.world.balance() == 20 * EURO - 9_000 * 10_000


def test_what_it_says_of_its_own_time_is_believed_as_far_as_it_can_be() -> None:
    delayed = asked(accounting(START, Acct_Delay_Time=90))
    stamped = asked(accounting(INTERIM, Event_Timestamp=NOW_MS // 1_000 - 120, Acct_Session_Time=60))
    absurd = asked(accounting(INTERIM, Event_Timestamp=86_400, Acct_Session_Time=60))
    assert delayed.course
    assert stamped.course
    assert absurd.course
    assert (delayed.event_ms, delayed.course.began_ms) == (NOW_MS - 90_000, NOW_MS - 90_000)
    assert (stamped.event_ms, stamped.course.began_ms) == (NOW_MS - 120_000, NOW_MS - 180_000)
    assert absurd.course.began_ms == NOW_MS - 60_000
    assert delayed.origin.restarts == NOW_MS // 1_000 - 90


def test_who_was_authorised_here_is_granted_and_who_was_not_is_recorded() -> None:
    phases = {START: Phase.START, INTERIM: Phase.UPDATE, STOP: Phase.STOP}
    for status, phase in phases.items():
        request = asked(accounting(status, Class=OURS))
        assert request.course is not None
        assert (request.phase, request.course.token) == (phase, "0123456789ab")
        assert request.course.adopts == "radius-hold;aabbccddeeff00112233"
        other = asked(accounting(status, Class=b"of another server"))
        assert other.course is not None
        assert (other.phase, other.course.token, other.course.adopts) == (Phase.RECORD, "", "")
        assert all((line.requested is None) == (status is STOP) for line in other.lines), "whether it goes on"


def test_a_session_that_was_authorised_holds_two_periods_while_it_runs() -> None:
    bras = Bras(interim_s=600)
    bras.start(Class=OURS)
    assert bras.world.held() == 100_000  # what the service says, until it is seen what is used
    bras.interim(600, (60 * MB, 0), Class=OURS)
    assert (bras.world.balance(), bras.world.held()) == (20 * EURO - 600_000, 1_200_000)
    line = bras.world.model.sessions["a1"]["radius:bras:bras1;s1"].lines[0]
    assert line.due_ms == bras.world.now_ms + 2 * 600_000
    bras.stop(700, (70 * MB, 0), Class=OURS)
    assert (bras.world.balance(), bras.world.held()) == (20 * EURO - 700_000, 0)


def test_who_has_no_money_is_charged_what_was_used_all_the_same() -> None:
    bras = Bras()
    bras.world.account("a1", 0)
    assert bras.start(Class=OURS).lines[0].result is Result.CREDIT_LIMIT
    bras.interim(60, (MB, 0), Class=OURS)
    assert (bras.world.balance(), bras.world.held()) == (-10_000, 0)


def test_a_bucket_with_a_price_pays_in_units_and_money() -> None:
    """charging.md 22: 4 MB at 0.005 each, then by the list at 0.01."""
    world = World(PACKAGE)
    world.subscriber(f"username:{USER}")
    world.sold(4 * MB, 5_000, MB)
    bras = Bras(world)
    bras.start(Class=OURS)
    bras.interim(600, (3 * MB, 0), Class=OURS)
    assert world.balance() == 20 * EURO - 15_000
    bras.stop(700, (6 * MB, 0), Class=OURS)
    assert (world.balance(), world.held()) == (20 * EURO - 40_000, 0)


def test_each_direction_may_be_rated_by_itself() -> None:
    tariff = """
    tariff = "up"
    currency = "EUR"
    [[rows]]
    when = { service = "data", rating_group = 1 }
    flat = { price = "0.10", per = "1 MB" }
    [[rows]]
    when = { service = "data", rating_group = 2 }
    flat = { price = "0.01", per = "1 MB" }
    """
    world = World(tariff)
    world.subscriber(f"username:{USER}")
    bras = Bras(world, input_group=1, output_group=2)
    bras.start()
    bras.interim(60, (2 * MB, 3 * MB))
    assert world.balance() == 20 * EURO - 200_000 - 30_000


def test_a_tariff_by_time_counts_seconds() -> None:
    tariff = """
    tariff = "time"
    currency = "EUR"
    [[rows]]
    when = { service = "data" }
    flat = { price = "0.01", per = "1 min" }
    """
    world = World(tariff)
    world.subscriber(f"username:{USER}")
    bras = Bras(world)
    bras.start()
    bras.interim(90, (5 * MB, 5 * MB))
    assert world.balance() == 20 * EURO - 20_000
    bras.stop(180, (9 * MB, 5 * MB))
    assert world.balance() == 20 * EURO - 30_000


def test_a_session_is_found_by_what_the_nas_calls_itself() -> None:
    by_name = asked(accounting(START, "a/b+c=", NAS_IP_Address="10.9.9.9"))
    by_address = asked(accounting(START, "a/b+c=", NAS_Identifier=None, NAS_IP_Address="10.9.9.9"))
    assert by_name.key.session == "radius:bras:bras1;a/b+c="
    assert by_address.key.session == "radius:bras:10.9.9.9;a/b+c="


@pytest.mark.parametrize(
    "packet",
    [accounting(START, Acct_Session_Id=None), accounting(STOP, Acct_Session_Id="")],
    ids=["without a session id", "with an empty one"],
)
def test_what_names_no_session_is_dropped(packet: Any) -> None:
    with pytest.raises(RadiusError, match="Acct-Session-Id"):
        asked(packet)


def test_a_stop_without_counters_charges_what_the_interims_said() -> None:
    bras = Bras()
    bras.start()
    bras.interim(60, (2 * MB, MB))
    bras.send(accounting(STOP), 90)
    assert (bras.world.balance(), bras.world.held()) == (20 * EURO - 30_000, 0)


def test_a_session_id_reused_after_a_reboot_is_charged_from_nothing() -> None:
    bras = Bras()
    bras.start()
    bras.interim(600, (20 * MB, 0))
    bras.start(1_200)
    answer = bras.send(accounting(INTERIM, Acct_Session_Time=60, Acct_Input_Octets=3 * MB), 1_260)
    assert bras.world.balance() == 20 * EURO - 230_000
    assert not answer.marks & Flag.CLOCK
    session = bras.world.model.sessions["a1"]["radius:bras:bras1;s1"]
    assert (session.incarnation, session.lines[0].total) == (2, 3 * MB)


def test_the_use_of_nobody_is_put_aside() -> None:
    bras = Bras()
    nobody: dict[str, Any] = {"User_Name": "nobody", "Calling_Station_Id": "00:11:22:33:44:55"}
    assert bras.start(**nobody).result is Result.SESSION_UNKNOWN
    assert bras.interim(60, (2 * MB, MB), **nobody).result is Result.SESSION_UNKNOWN
    assert bras.world.balance() == 20 * EURO


def test_steps_are_told() -> None:
    steps = [asked(accounting(status)).course for status in (START, INTERIM, STOP)]
    assert [course and course.step for course in steps] == [Course.BEGINS, Course.GOES_ON, Course.ENDS]


NIGHT = """
bands.night = { hours = "20:00-03:00" }
[[rows]]
when = { time = "night" }
flat = { price = "0.01", per = "1 min" }
[[rows]]
flat = { price = "0.10", per = "1 min" }
"""


@pytest.mark.parametrize("attributes", [{}, {"Class": OURS}], ids=["recorded", "authorised"])
def test_a_band_that_changes_inside_an_interim_is_priced_in_parts(attributes: dict[str, Any]) -> None:
    """To the second, whatever is cut where: 10 min by day, 20 by night."""
    world = World(tariff(NIGHT))
    world.subscriber(f"username:{USER}")
    world.now_ms = berlin("2026-03-04 19:50")
    stamp = world.now_ms // 1_000
    bras = Bras(world, interim_s=86_400)
    bras.send(accounting(START, Event_Timestamp=stamp, **attributes))
    world.now_ms += 1_800_000
    bras.send(accounting(INTERIM, Event_Timestamp=stamp + 1_800, Acct_Session_Time=1_800, **attributes))
    assert world.balance() == 20 * EURO - 10 * 100_000 - 20 * 10_000
    world.now_ms += 7 * 3_600_000
    bras.send(accounting(STOP, Event_Timestamp=stamp + 27_000, Acct_Session_Time=27_000, **attributes))
    # until 03:00 by night, 20 minutes of the first day part again
    assert world.balance() == 20 * EURO - 10 * 100_000 - 7 * 60 * 10_000 - 20 * 100_000


def test_a_session_that_only_postgres_knows_goes_on_and_another_of_its_name_does_not() -> None:
    bras = Bras()
    world = bras.world
    bras.start()
    bras.interim(600, (20 * MB, 0))
    (session,) = world.model.sessions["a1"].values()

    def lines_known(charge: Charge) -> Any:
        found = incarnation_of(charge, session)
        return ready([] if found.is_new else session.lines)

    world.context.lines_known = lines_known
    world.sessions_known = {session.id: ("a1", "s1")}
    world.model.sessions["a1"].clear()
    bras.interim(1_200, (21 * MB, 0))
    assert world.balance() == 20 * EURO - 210_000
    world.model.sessions["a1"].clear()
    bras.send(accounting(INTERIM, Acct_Session_Time=60, Acct_Input_Octets=5 * MB), 3_600)
    assert world.balance() == 20 * EURO - 260_000


@pytest.mark.parametrize(
    ("user", "calling", "found"),
    [
        ("491700000001", None, ["username:491700000001", "msisdn:491700000001", "mac:491700000001"]),
        ("4917", "00-11-22-AA-bb-CC", ["username:4917", "mac:001122aabbcc"]),
        ("0011.22aa.bbcc", None, ["username:0011.22aa.bbcc", "mac:001122aabbcc"]),
        ("anna@Isp.example", "+4930123456", ["username:anna@isp.example", "nai:anna@isp.example", "msisdn:4930123456"]),
        ("sip:4930@v.example", None, ["username:sip:4930@v.example", "sip:4930@v.example"]),
        (None, "49301234567", ["msisdn:49301234567"]),
    ],
    ids=["number", "port", "mac as user", "realm", "sip", "no user"],
)
def test_whom_a_packet_may_be_about(user: str | None, calling: str | None, found: list[str]) -> None:
    packet = accounting(START, User_Name=user, Calling_Station_Id=calling)
    assert list(identities_of(packet)) == found


SERVICES = """
tariff = "services"
currency = "EUR"
[[rows]]
when = { service = "data", rating_group = 20 }
flat = { price = "0.10", per = "1 MB" }
[[rows]]
when = { service = "data" }
flat = { price = "0.01", per = "1 MB" }
"""
ERX = {"ERX_Service_Session": "voip(10.0.0.1,5m)"}
ISG = {"Cisco_Service_Info": "Nvoip", "Cisco_AVPair": "parent-session-id=s1"}
EDSG = {"Huawei_Service_Info": "Nvoip", "Acct_Multi_Session_Id": "s1"}
EDSG_POLICY = {"Huawei_Policy_Name": "voip", "Acct_Multi_Session_Id": "s1"}
NOKIA = {"Alc_Sub_Serv_Activate": "voip;5120;30720", "Acct_Multi_Session_Id": "s1"}
SERVICE_ACCOUNTING = [(ERX, "s1:00{}"), (ISG, "svc-{}"), (EDSG, "svc-{}"), (EDSG_POLICY, "svc-{}"), (NOKIA, "svc-{}")]


@pytest.mark.parametrize(("names", "own"), SERVICE_ACCOUNTING, ids=["erx", "isg", "edsg", "edsg-policy", "nokia"])
@pytest.mark.parametrize("attributes", [{}, {"Class": OURS}], ids=["recorded", "authorised"])
def test_services_inside_a_session_are_its_lines(names: dict[str, Any], own: str, attributes: dict[str, Any]) -> None:
    """Each with counters of its own; one activated again counts from nothing; its Stop does not end the rest."""
    world = World(SERVICES)
    world.subscriber(f"username:{USER}")
    bras = Bras(world, services={"voip": 20}, names_session=frozenset((ACCT_SESSION_ID.key, USER_NAME.key)))

    def service(status: AcctStatusType, number: int, at_s: int, megabytes: int) -> None:
        shown = {"Acct_Session_Time": at_s, "Acct_Output_Octets": megabytes * MB}
        bras.send(accounting(status, own.format(number), **shown, **names, **attributes), at_s)

    bras.start(**attributes)
    service(START, 1, 10, 0)
    service(INTERIM, 1, 60, 2)
    bras.interim(60, (0, 3 * MB), **attributes)
    service(STOP, 1, 70, 3)
    assert world.balance() == 20 * EURO - 3 * 100_000 - 3 * 10_000
    service(START, 2, 80, 0)
    service(INTERIM, 2, 120, 1)
    service(INTERIM, 1, 65, 2)  # late
    (session,) = world.model.sessions["a1"].values()
    assert (session.state, len(session.lines)) == (SessionState.OPEN, 3)
    named = bytes.fromhex(session.identification)  # a CoA or Disconnect is about the session, not about its service
    assert named == USER_NAME.pack(USER) + ACCT_SESSION_ID.pack("s1")
    bras.stop(130, (0, 5 * MB), **attributes)
    service(STOP, 2, 130, 2)  # behind the Stop of its session
    assert (world.balance(), world.held()) == (20 * EURO - 5 * 100_000 - 5 * 10_000, 0)


def test_a_service_that_nobody_configured_is_a_session_of_its_own() -> None:
    request = asked(accounting(START, "s1:001", **ERX), services={"iptv": 30})
    assert request.key.session == "radius:bras:bras1;s1:001"
    assert asked(accounting(START, "s1:001", **ERX), services={"voip": 20}).key.session == "radius:bras:bras1;s1"


@pytest.mark.parametrize(
    "names",
    [
        pytest.param({"Huawei_Policy_Name": "voip"}, id="of-nothing"),
        pytest.param({"Huawei_Policy_Name": "voip", "Acct_Multi_Session_Id": "s1"}, id="of-itself"),
        pytest.param({"Huawei_Service_Info": "N", "Acct_Multi_Session_Id": "s0"}, id="nameless"),
        pytest.param({"Service_Name": "voip"}, id="redback"),
    ],
)
def test_a_packet_that_does_not_say_which_session_its_service_is_in_is_of_a_session_of_its_own(
    names: dict[str, Any],
) -> None:
    request = asked(accounting(START, **names), services={"voip": 20})
    assert request.key.session == "radius:bras:bras1;s1"
    assert [(line.rating_group, line.service_id) for line in request.lines] == [(None, None)]
