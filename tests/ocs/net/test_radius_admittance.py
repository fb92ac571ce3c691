"""Who may log in where, and how often at once; and who proves nothing but where he is (docs/radius.md)."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from balances.structs.session import SessionState
from protocol.radius.authenticator import answer, signed_request
from protocol.radius.codes import PacketCode
from protocol.radius.dictionary import ATTRIBUTES
from protocol.radius.dictionary.cisco import H323_RETURN_CODE
from protocol.radius.dictionary.standard import ACCT_SESSION_ID, CLASS, REPLY_MESSAGE, SESSION_TIMEOUT
from protocol.radius.dictionary.values import AcctStatusType
from protocol.radius.packet import Packet
from tests.ocs.charging.radius.nas import SECRET, USER, shown
from tests.ocs.charging.world import EURO, NOW_MS
from tests.ocs.net.test_radius_authorisation import PASSWORDS, Network, accepted, done
from tests.ocs.net.test_radius_calls import Gateway
from tests.tariffs.customers import BERLIN

MB = 2**20


def refused(reply: Packet | None) -> str | None:
    assert reply is not None
    assert reply.code is PacketCode.ACCESS_REJECT
    return reply.get(REPLY_MESSAGE)


def given(network: Network, **attributes: str) -> Network:
    stored = PASSWORDS.stored("demo", "s1")
    network.world.subscriber(f"username:{USER}", password=stored, attributes=attributes)
    return network


@pytest.mark.parametrize(
    ("groups", "is_let_in"),
    [("", True), ("bras", True), ("wifi, bras", True), ("wifi", False)],
    ids=["anywhere", "here", "here-too", "elsewhere"],
)
def test_a_subscriber_may_be_kept_to_some_of_the_clients(groups: str, is_let_in: bool) -> None:
    network = given(Network(), nas_groups=groups)
    reply = network.login()
    if is_let_in:
        accepted(reply)
    else:
        assert refused(reply) == "not allowed to log in here"
        assert (network.held, network.sessions) == (0, {})


@pytest.mark.parametrize("by_row", [True, False], ids=["row", "subscriber"])
def test_beyond_the_sessions_that_are_allowed_nobody_is_let_in(by_row: bool) -> None:
    network = Network(data={"sessions_max": 1}) if by_row else given(Network(), sessions_max="1")
    first = accepted(network.login(NAS_Port=7))
    assert refused(network.login(1, NAS_Port=8)) == "as many sessions are open as are allowed"
    network.account(AcctStatusType.START, 5, Class=first.get(CLASS))
    assert refused(network.login(6, NAS_Port=8)) == "as many sessions are open as are allowed"
    assert list(network.sessions.values()) == [SessionState.OPEN]
    network.account(AcctStatusType.STOP, 65, Class=first.get(CLASS), **shown(60, (MB, 0)))
    accepted(network.login(70, NAS_Port=8))


def test_who_logs_in_again_at_his_port_is_no_second_session() -> None:
    network = Network(data={"sessions_max": 1})
    first = accepted(network.login())
    accepted(network.login(1))
    network.account(AcctStatusType.START, 5, Class=first.get(CLASS))
    assert accepted(network.login(60)).get(CLASS) == first.get(CLASS)


@pytest.mark.parametrize("by_row", [True, False], ids=["row", "subscriber"])
def test_the_one_that_is_open_for_longest_gives_way_where_the_service_says_so(by_row: bool) -> None:
    row: dict[str, Any] = {"sessions_max": 2}
    named = frozenset({ACCT_SESSION_ID.key})
    network = Network(data=row | ({"sessions_over": "replace"} if by_row else {}), names_session=named)
    if not by_row:
        given(network, sessions_over="replace")
    for port, session in ((7, "s1"), (8, "s2")):
        reply = accepted(network.login(port, NAS_Port=port))
        network.account(AcctStatusType.START, port, session, Class=reply.get(CLASS), NAS_Port=port)
    accepted(network.login(20, NAS_Port=9))
    assert network.world.model.ledger[-1].record.reauthorize == ["replaced radius:bras:bras1;s1"]
    accepted(network.login(21, NAS_Port=10))
    both = ["replaced radius:bras:bras1;s1", "replaced radius:bras:bras1;s2"]
    assert network.world.model.ledger[-1].record.reauthorize == both
    assert refused(network.login(22, NAS_Port=11)), "the two before have not begun yet"


def test_a_login_that_waits_for_its_start_does_not_give_way() -> None:
    network = Network(data={"sessions_max": 1, "sessions_over": "replace"})
    accepted(network.login(NAS_Port=7))
    assert refused(network.login(1, NAS_Port=8)) == "as many sessions are open as are allowed"


def test_what_a_subscriber_may_counts_before_what_the_row_says() -> None:
    network = given(Network(data={"sessions_max": 1}), sessions_max="2")
    accepted(network.login(NAS_Port=7))
    accepted(network.login(1, NAS_Port=8))
    assert refused(network.login(2, NAS_Port=9))


def test_a_caller_beyond_his_calls_is_told_by_a_code() -> None:
    gateway = Gateway()
    given(gateway, sessions_max="1")
    accepted(gateway.dial("493099"))
    accepted(gateway.dial("493099", 1))
    reply = gateway.dial("493099", 2, conf="h323-conf-id=2")
    assert refused(reply)
    assert reply is not None
    assert reply.get(H323_RETURN_CODE) == "h323-return-code=3"


def bare(network: Network, **attributes: Any) -> Packet:
    """The answer to an Access-Request without any password."""
    packet = Packet(PacketCode.ACCESS_REQUEST, 9, bytes(16))
    for name, value in ({"NAS_Identifier": "bras1"} | attributes).items():
        packet.add(ATTRIBUTES[name], value)
    signed = Packet.decode(signed_request(packet, SECRET))
    reply = done(network.authorisation.serve(network.arrived(signed, 0)))
    assert reply is not None
    return Packet.decode(answer(signed, reply.code, SECRET, reply.body))


AT_A_PORT: dict[str, tuple[str, dict[str, Any]]] = {
    "mac": ("mac:001122334455", {"Calling_Station_Id": "00-11-22-33-44-55"}),
    "line": ("username:olt1 eth 1/1/3:7", {"ADSL_Agent_Circuit_Id": b"olt1 eth 1/1/3:7"}),
    "port": ("username:bras1/ge-1/0/3.7", {"NAS_Port_Id": "ge-1/0/3.7"}),
}


@pytest.mark.parametrize("known", AT_A_PORT)
def test_who_has_no_password_is_known_by_where_he_is(known: str) -> None:
    identity, attributes = AT_A_PORT[known]
    network = Network(passwordless=True)
    network.world.known.clear()
    network.world.subscriber(identity)
    reply = accepted(bare(network, User_Name="dhcp", **attributes))
    network.account(AcctStatusType.START, 5, User_Name="dhcp", Class=reply.get(CLASS), **attributes)
    network.account(
        AcctStatusType.STOP, 65, User_Name="dhcp", Class=reply.get(CLASS), **attributes, **shown(60, (MB, 0))
    )
    assert (network.world.balance(), network.held) == (20 * EURO - 10_000, 0)


def test_where_a_client_does_not_vouch_for_it_a_port_proves_nothing() -> None:
    network = Network()
    network.world.subscriber("mac:001122334455")
    reply = bare(network, User_Name="dhcp", Calling_Station_Id="00-11-22-33-44-55")
    assert refused(reply) == "wrong user name or password"


def test_who_has_a_password_proves_it_everywhere() -> None:
    network = Network(passwordless=True)
    assert refused(bare(network, User_Name=USER)) == "wrong user name or password"
    assert refused(network.login(password="wrong")) == "wrong user name or password"
    accepted(network.login())


def at_hour(now: int, *hours: tuple[int, int]) -> str:
    """Hours from so many seconds after now to so many, on the clock of the account, in whole minutes."""
    day_s, here = 86_400, datetime.fromtimestamp(now / 1_000, ZoneInfo(BERLIN))
    clock_s = here.hour * 3_600 + here.minute * 60 + here.second
    spans = [((clock_s + first) % day_s // 60, (clock_s + last) % day_s // 60) for first, last in hours]
    return ", ".join(f"{a // 60:02}:{a % 60:02}-{b // 60:02}:{b % 60:02}" for a, b in spans)


@pytest.mark.parametrize("by_row", [True, False], ids=["row", "subscriber"])
def test_outside_of_his_hours_nobody_is_let_in_and_at_their_end_he_is_put_out(by_row: bool) -> None:
    now = at_hour(NOW_MS, (-3_600, 3_600))
    later = at_hour(NOW_MS, (3_600, 7_200))
    inside = (
        Network(data={"login_hours": now}) if by_row else given(Network(data={"login_hours": later}), login_hours=now)
    )
    seconds = accepted(inside.login()).get(SESSION_TIMEOUT)
    assert seconds is not None
    assert 3_540 <= seconds <= 3_600
    outside = Network(data={"login_hours": later})
    assert refused(outside.login()) == "not allowed at this hour"
    assert (outside.held, outside.sessions) == (0, {})
