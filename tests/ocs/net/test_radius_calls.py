"""Prepaid calls of a voice gateway: who calls, where to, and what its legs report (docs/radius.md)."""

from __future__ import annotations

from typing import Any

import pytest

from balances.structs.account import SuspendReasons
from balances.structs.charge import Flag
from balances.structs.posting import Expire
from balances.structs.session import SessionState
from protocol.radius.codes import PacketCode
from protocol.radius.dictionary.cisco import (
    H323_BILLING_MODEL,
    H323_CREDIT_AMOUNT,
    H323_CREDIT_TIME,
    H323_CURRENCY,
    H323_RETURN_CODE,
)
from protocol.radius.dictionary.standard import REPLY_MESSAGE, SESSION_TIMEOUT
from protocol.radius.dictionary.values import AcctStatusType
from protocol.radius.packet import Packet
from protocol.radius.refused import RadiusError
from tests.ocs.charging.world import EURO, NOW_MS
from tests.ocs.net.test_radius_authorisation import PASSWORDS, Network, accepted

START, INTERIM, STOP = AcctStatusType.START, AcctStatusType.INTERIM_UPDATE, AcctStatusType.STOP
CONF = "h323-conf-id=513F6C41 96F41810 862E0001 6CC7CC03"
SESSION = "radius:bras;call;513f6c4196f41810862e00016cc7cc03"
TARIFF = """
tariff = "calls"
currency = "EUR"
[[rows]]
when = { service = "voice", called = "0900*" }
barred = true
[[rows]]
when = { service = "voice", called = "0800*" }
free = true
[[rows]]
when = { service = "voice", called = ["44*", "+44*", "0044*"], calling = "49151*" }
flat = { price = "0.01", per = "1 s" }
[[rows]]
when = { service = "voice", called = ["44*", "+44*", "0044*"] }
flat = { price = "0.60", per = "1 min" }
[[rows]]
when = { service = "voice", called = ["49*", "+49*"] }
flat = { price = "0.06", per = "1 min" }
[[rows]]
when = { service = "data" }
flat = { price = "0.01", per = "1 MB" }
"""


class Gateway(Network):
    """`at_s` are seconds after the start of the world, by the clock of the gateway too."""

    def __init__(self, balance: int = 20 * EURO, maker: str = "cisco-voice", **profile: Any) -> None:
        super().__init__(TARIFF, balance=balance, maker=maker, service="voice", **profile)

    def dial(self, called: str | None, at_s: int = 0, conf: str | None = CONF, **attributes: Any) -> Packet | None:
        given: dict[str, Any] = {"Calling_Station_Id": "493012345", "NAS_Port": 7}
        if called is not None:
            given["Called_Station_Id"] = called
        if conf is not None:
            given["h323-conf-id"] = conf
        return self.login(at_s, **(given | attributes))

    def leg(
        self,
        status: AcctStatusType,
        at_s: int,
        *,
        connect: int | None = None,
        session: str = "leg1",
        called: str = "442071234567",
        origin: str = "originate",
        conf: str | None = CONF,
        ended: int | None = None,
        **attributes: Any,
    ) -> None:
        """connect, ended: seconds after the start of the world"""
        given: dict[str, Any] = {"Called_Station_Id": called, "Calling_Station_Id": "493012345"}
        given["h323-call-origin"] = f"h323-call-origin={origin}"
        given["h323-setup-time"] = f"h323-setup-time={clock(0)}"
        if conf is not None:
            given["h323-conf-id"] = conf
        if connect is not None:
            given["h323-connect-time"] = f"h323-connect-time={clock(connect)}"
        if status is STOP:
            given["h323-disconnect-time"] = f"h323-disconnect-time={clock(at_s if ended is None else ended)}"
        self.account(status, at_s, session, **(given | attributes))

    @property
    def paid(self) -> int:
        return 20 * EURO - self.world.balance()


def clock(at_s: float, mark: str = "") -> str:
    """Of Tue 14 Nov 2023 from 22:13:20 UTC on."""
    second, ms = divmod(NOW_MS % 86_400_000 + round(at_s * 1_000), 1_000)
    minute, second = divmod(second, 60)
    hour, minute = divmod(minute, 60)
    return f"{mark}{hour:02d}:{minute:02d}:{second:02d}.{ms:03d} UTC Tue Nov 14 2023"


def refused(reply: Packet | None) -> tuple[str | None, str | None]:
    assert reply is not None
    assert reply.code is PacketCode.ACCESS_REJECT, reply
    return reply.get(H323_RETURN_CODE), reply.get(REPLY_MESSAGE)


# --- who calls


def test_a_caller_is_told_his_money_and_nothing_is_held() -> None:
    gateway = Gateway(balance=13_259_999)
    reply = accepted(gateway.dial(None))
    assert reply.get(H323_CREDIT_AMOUNT) == "h323-credit-amount=13.25"
    assert reply.get(H323_CURRENCY) == "h323-currency=EUR"
    assert reply.get(H323_BILLING_MODEL) == "h323-billing-model=1"
    assert reply.get(H323_RETURN_CODE) == "h323-return-code=0"
    assert (reply.get(H323_CREDIT_TIME), reply.get(SESSION_TIMEOUT)) == (None, None)
    assert (gateway.held, gateway.sessions) == (0, {})


def test_who_pays_later_is_told_so() -> None:
    gateway = Gateway()
    gateway.world.account("a1", 0, credit_limit=50 * EURO)
    reply = accepted(gateway.dial(None))
    assert reply.get(H323_CREDIT_AMOUNT) == "h323-credit-amount=50.00"
    assert reply.get(H323_BILLING_MODEL) == "h323-billing-model=0"


@pytest.mark.parametrize(
    ("balance", "state", "password", "user", "code"),
    [
        (20 * EURO, 0, "demo", "nobody", 1),
        (20 * EURO, 0, "0000", "491700000001", 2),
        (0, 0, "demo", "491700000001", 4),
        (20 * EURO, SuspendReasons.CREDIT, "demo", "491700000001", 4),
        (20 * EURO, SuspendReasons.BARRED, "demo", "491700000001", 7),
    ],
    ids=["account", "pin", "no-money", "suspended", "barred"],
)
def test_who_cannot_call_is_told_by_a_code(balance: int, state: int, password: str, user: str, code: int) -> None:
    gateway = Gateway(balance)
    gateway.world.model.accounts["a1"].state = state
    told, words = refused(gateway.dial(None, password=password, User_Name=user))
    assert told == f"h323-return-code={code}"
    assert words


# --- where to


@pytest.mark.parametrize(
    ("called", "calling", "balance", "seconds"),
    [
        ("442071234567", "493012345", 3 * EURO, 300),
        ("+44 20 7123 4567", "493012345", 3 * EURO, 300),
        ("442071234567", "4915112345", 3 * EURO, 300),
        ("493099", "493012345", 3 * EURO, 3_000),
        ("493099", "493012345", 20 * EURO, 7_200),
        ("0800123", "493012345", 20 * EURO, 7_200),
    ],
    ids=["far", "spelled", "by-caller", "near", "longest", "free"],
)
def test_a_call_is_told_what_the_account_pays_for(called: str, calling: str, balance: int, seconds: int) -> None:
    gateway = Gateway(balance)
    reply = accepted(gateway.dial(called, Calling_Station_Id=calling))
    assert reply.get(H323_CREDIT_TIME) == f"h323-credit-time={seconds}"
    assert reply.get(SESSION_TIMEOUT) == seconds
    assert reply.get(H323_RETURN_CODE) == "h323-return-code=0"


@pytest.mark.parametrize(
    ("called", "balance", "code"),
    [("442071234567", 500_000, 11), ("0900123", 20 * EURO, 7), ("331234", 20 * EURO, 9)],
    ids=["too-dear", "denied", "no-price"],
)
def test_a_call_that_cannot_be_made_is_told_why(called: str, balance: int, code: int) -> None:
    gateway = Gateway(balance)
    assert refused(gateway.dial(called))[0] == f"h323-return-code={code}"
    assert gateway.held == 0


def test_two_calls_at_once_are_not_told_the_same_money() -> None:
    gateway = Gateway(3 * EURO)
    assert accepted(gateway.dial("442071234567")).get(SESSION_TIMEOUT) == 300
    assert gateway.held == 3 * EURO
    assert refused(gateway.dial("442071234567", conf="h323-conf-id=2"))[0] == "h323-return-code=11"
    assert refused(gateway.dial(None, conf="h323-conf-id=2"))[0] == "h323-return-code=3"


def test_asked_again_for_the_same_call_it_is_the_same_call() -> None:
    gateway = Gateway(3 * EURO)
    for at_s in (0, 1):
        assert accepted(gateway.dial("442071234567", at_s)).get(SESSION_TIMEOUT) == 300
    assert accepted(gateway.dial("493099", 9)).get(SESSION_TIMEOUT) == 3_000
    assert (gateway.held, list(gateway.sessions)) == (3 * EURO, [SESSION])


def test_a_call_that_is_not_made_is_held_for_no_longer_than_it_may_ring() -> None:
    gateway = Gateway()
    accepted(gateway.dial("442071234567"))
    assert gateway.held
    gateway.world.model.expire(Expire("a1", SESSION, NOW_MS + 180_001))
    assert gateway.held == 0


# --- what it reports


def test_a_call_costs_the_seconds_from_connect_to_disconnect() -> None:
    gateway = Gateway(2 * EURO)
    accepted(gateway.dial("442071234567"))
    gateway.leg(START, 1)
    assert gateway.held == 1_800_000  # three minutes, which begin whole
    gateway.leg(STOP, 101, connect=11, Acct_Session_Time=100)
    assert (2 * EURO - gateway.world.balance(), gateway.held) == (1_200_000, 0)
    assert gateway.sessions == {SESSION: SessionState.CLOSED}


def test_a_call_that_never_connected_costs_nothing_and_holds_nothing() -> None:
    gateway = Gateway()
    accepted(gateway.dial("442071234567"))
    gateway.leg(START, 1)
    gateway.leg(STOP, 31, Acct_Session_Time=30)
    assert (gateway.paid, gateway.held) == (0, 0)


def test_one_that_is_connected_and_cut_at_the_same_instant_costs_nothing() -> None:
    gateway = Gateway()
    gateway.leg(STOP, 31, connect=31, Acct_Session_Time=0)
    assert gateway.paid == 0


@pytest.mark.parametrize(("lasted_s", "paid"), [(0.4, 10_000), (59.99, 590_000), (60.01, 600_000)])
def test_a_second_that_only_began_does_not_count_but_the_first(lasted_s: float, paid: int) -> None:
    gateway = Gateway()
    accepted(gateway.dial("442071234567", Calling_Station_Id="4915112345"))
    times: dict[str, Any] = {"h323-connect-time": clock(10), "h323-disconnect-time": clock(10 + lasted_s)}
    gateway.leg(STOP, 71, Calling_Station_Id="4915112345", **times)
    assert gateway.paid == paid


def test_the_second_leg_of_a_call_is_not_charged_again() -> None:
    """The Telephony leg of the terminating gateway, which has another Acct-Session-Id and another NAS-Identifier."""
    gateway = Gateway()
    accepted(gateway.dial("442071234567"))
    other: dict[str, Any] = {"session": "leg9", "NAS_Identifier": "gw2"}
    gateway.leg(START, 1)
    gateway.leg(START, 2, **other)
    gateway.leg(STOP, 71, connect=11, **other)
    gateway.leg(STOP, 72, connect=11, ended=71)
    assert (gateway.paid, gateway.held) == (600_000, 0)


def test_the_longest_leg_counts_where_they_differ() -> None:
    gateway = Gateway(charged_leg="any")
    gateway.leg(STOP, 71, connect=11, origin="answer")
    gateway.leg(STOP, 132, connect=11, ended=131, session="leg2")
    assert gateway.paid == 1_200_000


def test_a_leg_by_which_its_call_is_not_charged_is_acknowledged() -> None:
    """That of a calling card: its caller listens to announcements before he is through."""
    gateway = Gateway()
    gateway.leg(START, 1, origin="answer", called="0800123")
    gateway.leg(STOP, 300, connect=1, origin="answer", called="0800123", session="leg0")
    assert (gateway.paid, gateway.sessions) == (0, {})


def test_a_stop_that_comes_again_costs_nothing() -> None:
    gateway = Gateway()
    for delay_s in (0, 5, 60):
        gateway.leg(STOP, 71 + delay_s, connect=11, ended=71, Acct_Delay_Time=delay_s)
    assert gateway.paid == 600_000


def test_a_call_is_charged_while_it_runs_where_its_gateway_says_so() -> None:
    gateway = Gateway(3 * EURO)
    accepted(gateway.dial("442071234567"))
    gateway.leg(START, 1)
    gateway.leg(INTERIM, 71, connect=11, Acct_Session_Time=60)
    assert (gateway.world.balance(), gateway.held) == (2_400_000, 2_400_000)
    gateway.leg(INTERIM, 20, Acct_Session_Time=20)  # it rings still, said the one that was overtaken
    gateway.leg(STOP, 131, connect=11)
    assert (gateway.world.balance(), gateway.held) == (1_800_000, 0)


def test_without_a_conference_it_is_one_by_its_session_id() -> None:
    gateway = Gateway()
    accepted(gateway.dial("442071234567", conf=None, Acct_Session_Id="leg1"))
    gateway.leg(STOP, 71, connect=11, conf=None)
    assert (gateway.paid, gateway.held) == (600_000, 0)


def test_with_neither_the_reference_leads_to_the_hold() -> None:
    gateway = Gateway()
    reply = accepted(gateway.dial("442071234567", conf=None))
    (reference,) = [value for kind, value in reply.attributes if kind == 25]
    gateway.leg(START, 5, conf=None, Class=reference)
    assert (gateway.held, list(gateway.sessions)) == (19_800_000, ["radius:bras:bras1;leg1"])
    gateway.leg(STOP, 71, connect=11, conf=None, Class=reference)
    assert (gateway.paid, gateway.held) == (600_000, 0)


def test_a_pbx_that_knows_no_such_attributes_is_charged_by_session_time() -> None:
    gateway = Gateway(maker="asterisk")
    gateway.account(STOP, 60, "leg1", Called_Station_Id="442071234567", Acct_Session_Time=60)
    assert gateway.paid == 600_000


@pytest.mark.parametrize(("bill_s", "paid"), [(60, 600_000), (0, 0)], ids=["answered", "not"])
def test_a_record_of_asterisk_is_charged_by_its_own_attributes(bill_s: int, paid: int) -> None:
    gateway = Gateway(maker="asterisk")
    record: dict[str, Any] = {"Asterisk_Acc_Code": "491700000001", "Asterisk_Src": "100", "Asterisk_Bill_Sec": bill_s}
    record |= {"Asterisk_Dst": "442071234567", "Asterisk_End_Time": "2023-11-14 22:14:30 +0000"}
    for at_s in (75, 80):
        gateway.account(STOP, at_s, "1699999990.7", User_Name="PJSIP/100-00000007", **record)
    assert (gateway.paid, gateway.held) == (paid, 0)
    assert gateway.world.charged[0].event_ms == NOW_MS + 70_000


def test_a_caller_who_is_barred_is_told_before_he_dials() -> None:
    gateway = Gateway()
    gateway.world.subscriber("username:491700000001", barred=True, password=PASSWORDS.stored("demo", "s1"))
    assert refused(gateway.dial(None))[0] == "h323-return-code=7"


def test_a_clock_that_is_set_inside_a_call_does_not_charge_what_it_jumped() -> None:
    gateway = Gateway()
    accepted(gateway.dial("442071234567"))
    times: dict[str, Any] = {
        "h323-connect-time": "*00:00:10.000 UTC Mon Mar 1 1993",
        "h323-disconnect-time": clock(-3_600),
    }
    gateway.leg(START, 1)
    gateway.leg(STOP, 71, Acct_Session_Time=60, **times)
    assert gateway.paid == 600_000


def test_times_that_nobody_can_read_are_refused_rather_than_lost() -> None:
    times: dict[str, Any] = {"h323-connect-time": "noon"}
    with pytest.raises(RadiusError, match="two instants of one clock"):
        Gateway().leg(STOP, 71, **times)


def test_who_is_authorised_by_nobody_is_charged_all_the_same() -> None:
    gateway = Gateway(0)
    gateway.leg(START, 1)
    gateway.leg(STOP, 71, connect=11)
    assert (gateway.world.balance(), gateway.held) == (-600_000, 0)


def test_the_next_call_of_the_same_conference_is_another_call() -> None:
    """Of a gateway that names what is dialled after it as it named the first."""
    gateway = Gateway()
    accepted(gateway.dial("442071234567"))
    gateway.leg(START, 1)
    gateway.leg(STOP, 71, connect=11)
    accepted(gateway.dial("493099", 80))
    gateway.leg(START, 81, called="493099", session="leg2")
    gateway.leg(STOP, 151, connect=91, called="493099", session="leg2")
    assert (gateway.paid, gateway.held) == (660_000, 0)


def test_calls_of_one_caller_at_once_do_not_end_each_other() -> None:
    gateway = Gateway()
    first = accepted(gateway.dial("493099"))
    second = accepted(gateway.dial("493099", conf="h323-conf-id=2"))
    for conf, reply, leg in ((CONF, first, "leg1"), ("h323-conf-id=2", second, "leg2")):
        (reference,) = [value for kind, value in reply.attributes if kind == 25]
        gateway.leg(START, 5, called="493099", conf=conf, session=leg, Class=reference)
    assert set(gateway.sessions.values()) == {SessionState.OPEN}
    assert gateway.held == 2 * 7_200_000


def test_an_ordinary_call_is_nothing_unusual() -> None:
    gateway = Gateway()
    accepted(gateway.dial("442071234567"))
    gateway.leg(START, 1)
    gateway.leg(STOP, 71, connect=11)
    marks = [usage.flags for one in gateway.world.model.ledger for usage in one.record.usages]
    assert not any(mark & ~Flag.FREE for mark in marks)
