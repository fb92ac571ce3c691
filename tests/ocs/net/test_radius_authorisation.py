"""Access-Requests: who is let in, what is held for it, and that the session which follows adopts it (charging.md 8)."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest

from balances import keys
from balances.packing import ACCOUNT_FIELD, pack, unpack_account
from balances.redis.calls import NotSent
from balances.redis.pending import Pending
from balances.structs.charge import Reply
from balances.structs.posting import Expire
from balances.structs.session import SessionState
from ocs.charging.radius.names import hold_name, port_digest, reference_in
from ocs.charging.radius.nas import NasProfile
from ocs.charging.radius.own_attributes import LeftOut
from ocs.charging.radius.vendor_profile import vendor_profiles
from ocs.master.passwords import StoredPasswords
from ocs.master.sealing import Sealing
from ocs.net.radius.accounting import Accounting
from ocs.net.radius.authorisation import Authorisation
from ocs.net.radius.clients import NasClient
from ocs.net.radius.exchange import Arrived, RadiusReply
from ocs.net.radius.interims import InterimTemplates
from ocs.net.radius.password_check import PasswordCheck
from ocs.net.radius.ports import Ports
from ocs.net.radius.restarts import NasRestarts
from protocol.radius.authenticator import answer
from protocol.radius.codes import PacketCode
from protocol.radius.dictionary.mikrotik import (
    MIKROTIK_ADDRESS_LIST,
    MIKROTIK_RATE_LIMIT,
    MIKROTIK_TOTAL_LIMIT,
    MIKROTIK_TOTAL_LIMIT_GIGAWORDS,
)
from protocol.radius.dictionary.standard import (
    ACCT_INTERIM_INTERVAL,
    CLASS,
    FILTER_ID,
    FRAMED_IP_ADDRESS,
    FRAMED_POOL,
    REPLY_MESSAGE,
    SESSION_TIMEOUT,
)
from protocol.radius.dictionary.values import AcctStatusType
from protocol.radius.packet import Packet
from tests.ocs.charging.radius.nas import SECRET, USER, access, accounting, shown
from tests.ocs.charging.world import EURO, NOW_MS, World, failed, ready

MB = 2**20
PASSWORDS = StoredPasswords(Sealing([bytes(32)]))
TIME = """
tariff = "time"
currency = "EUR"
[[rows]]
when = { service = "data" }
flat = { price = "0.01", per = "1 min" }
"""


class KeyStore:
    """What is asked of Redis besides charges, on a dict and the model."""

    def __init__(self, world: World) -> None:
        self.world, self.kept = world, dict[str, bytes]()
        self.restarted = dict[str, int]()
        self.away = False

    @property
    def link(self) -> KeyStore:
        return self

    def expire(self, expiry: Expire) -> Pending[Reply]:
        return ready(self.world.model.expire(expiry))

    def command(self, *words: Any) -> Pending[Any]:
        if self.away:
            return failed(NotSent("no pass"))
        name, key, *rest = words
        model = self.world.model
        match name:
            case "GET":
                return ready(self.kept.get(key))
            case "SET":
                self.kept[key] = rest[0].encode()
                return ready(b"OK")
            case "DEL":
                return ready(int(self.kept.pop(key, None) is not None))
            case "HGETALL":
                account = next(one for one in model.accounts if keys.account(one) == key)
                fields = {keys.part(one.id).encode(): pack(one) for one in model.sessions.get(account, {}).values()}
                return ready({ACCOUNT_FIELD: pack(model.accounts[account])} | fields)
            case "ZSCORE" if key == keys.ORIGINS:
                at_s = self.restarted.get(rest[0])
                return ready(None if at_s is None else str(at_s).encode())
            case "ZCARD":
                return ready(len(self.restarted))
            case "ZADD" if key == keys.ORIGINS:
                self.restarted[rest[-1]] = rest[-2]
                return ready(1)
            case "ZADD" | "INCR":
                return ready(1)
            case "HMGET" | "HGET":
                account = next(one for one in model.accounts if keys.account(one) == key)
                found = [
                    pack(model.accounts[account]) if field == ACCOUNT_FIELD else _packed(model.sessions, account, field)
                    for field in rest
                ]
                return ready(found if name == "HMGET" else found[0])
        raise AssertionError(words)


def _packed(sessions: Any, account: str, field: str) -> bytes | None:
    session = sessions.get(account, {}).get(field)
    return None if session is None else pack(session)


class Network:
    """One NAS whose packets are served as a worker serves them."""

    def __init__(
        self,
        *documents: str,
        balance: int = 20 * EURO,
        maker: str = "generic",
        data: dict[str, Any] | None = None,
        own: dict[str, str] | None = None,
        **profile: Any,
    ) -> None:
        """
        data:  of the row of the service
        own:   attributes of the subscriber
        """
        self.world = World(*documents, services={"data": data or {}})
        stored = PASSWORDS.stored("demo", "s1")
        self.world.subscriber(f"username:{USER}", balance=balance, password=stored, attributes=own or {})
        self.client = NasClient("bras", SECRET, NasProfile("bras", **profile), {}, vendor_profiles()[maker])
        self.store = KeyStore(self.world)
        self.silent: list[str] = []
        self.left_out: list[LeftOut] = []
        ports, link = Ports(self.store), self.store.link
        told: dict[str, Any] = {"mark": lambda *_: None, "silence": self.silent.append}
        context = self.world.context
        check = PasswordCheck(PASSWORDS, lambda: 0.0)
        left_out = lambda _client, one: self.left_out.append(one)  # noqa: E731
        self.authorisation = Authorisation(context, self.store, ports, check, left_out=left_out, **told)
        self.accounting = Accounting(context, NasRestarts(link), ports, InterimTemplates(context, 100), **told)
        self.identifier = 0

    def arrived(self, packet: Packet, at_s: int) -> Arrived:
        self.world.now_ms = max(self.world.now_ms, NOW_MS + at_s * 1_000)
        return Arrived(packet, self.client, ("10.0.0.1", 4000), self.world.now_ms, 0)

    def login(self, at_s: int = 0, password: str = "demo", **attributes: Any) -> Packet | None:
        """The answer as the NAS reads it, None where there is none."""
        self.identifier += 1
        packet = access(password, self.identifier, **attributes)
        reply = done(self.authorisation.serve(self.arrived(packet, at_s)))
        return None if reply is None else Packet.decode(answer(packet, reply.code, SECRET, reply.body))

    def account(self, status: AcctStatusType, at_s: int, session: str = "s1", **attributes: Any) -> None:
        packet = accounting(status, session, **{"NAS_Port": 7} | attributes)
        reply = done(self.accounting.serve(self.arrived(packet, at_s)))
        assert reply is not None
        assert reply.code is PacketCode.ACCOUNTING_RESPONSE

    @property
    def held(self) -> int:
        return self.world.held()

    @property
    def sessions(self) -> dict[str, int]:
        return {name: session.state for name, session in self.world.model.sessions.get("a1", {}).items()}


def done(coroutine: Coroutine[Any, Any, RadiusReply | None]) -> RadiusReply | None:
    with pytest.raises(StopIteration) as stopped:  # everything is ready: it waits for nothing
        coroutine.send(None)
    reply: RadiusReply | None = stopped.value.value
    return reply


def accepted(reply: Packet | None) -> Packet:
    assert reply is not None
    assert reply.code is PacketCode.ACCESS_ACCEPT, reply
    return reply


def test_who_knows_the_password_is_let_in_and_something_is_held_for_him() -> None:
    network = Network()
    reply = accepted(network.login())
    reference = reference_in(reply)
    assert reference is not None
    assert reference.port == port_digest(network.client.profile, access())
    assert (network.held, network.sessions) == (100_000, {hold_name(reference.port): SessionState.OPEN})
    assert (reply.get(ACCT_INTERIM_INTERVAL), reply.get(SESSION_TIMEOUT)) == (600, None)


def test_who_does_not_is_not_and_nothing_is_held() -> None:
    network = Network()
    for reply in (network.login(password="demo2"), network.login(User_Name="nobody")):
        assert reply is not None
        assert (reply.code, reply.get(REPLY_MESSAGE)) == (PacketCode.ACCESS_REJECT, "wrong user name or password")
    assert (network.held, network.sessions) == (0, {})


def test_who_has_no_money_is_told_so() -> None:
    reply = Network(balance=0).login()
    assert reply is not None
    assert (reply.code, reply.get(REPLY_MESSAGE)) == (PacketCode.ACCESS_REJECT, "the balance does not cover it")


def test_a_repeat_replaces_the_hold() -> None:
    network = Network()
    first = accepted(network.login())
    again = accepted(network.login(40))
    assert (network.held, again.get(CLASS)) == (100_000, first.get(CLASS))
    (session,) = network.world.model.sessions["a1"].values()
    assert session.lines[0].due_ms == NOW_MS + 100_000


def test_the_start_adopts_it_and_the_stop_gives_it_back() -> None:
    network = Network()
    reply = accepted(network.login())
    network.account(AcctStatusType.START, 5, Class=reply.get(CLASS))
    assert (network.held, network.sessions) == (100_000, {"radius:bras:bras1;s1": SessionState.OPEN})
    network.account(AcctStatusType.INTERIM_UPDATE, 65, Class=reply.get(CLASS), **shown(60, (3 * MB, 0)))
    assert network.world.balance() == 20 * EURO - 30_000
    network.account(AcctStatusType.STOP, 95, Class=reply.get(CLASS), **shown(90, (4 * MB, 0)))
    assert (network.world.balance(), network.held) == (20 * EURO - 40_000, 0)
    assert network.store.kept == {}


def test_one_that_nobody_adopts_lapses_in_a_minute() -> None:
    network = Network()
    accepted(network.login())
    (name,) = network.sessions
    network.world.model.expire(Expire("a1", name, NOW_MS + 60_001))
    assert network.held == 0


def test_a_start_that_was_lost_adopts_with_the_first_report() -> None:
    network = Network()
    reply = accepted(network.login())
    network.account(AcctStatusType.INTERIM_UPDATE, 65, Class=reply.get(CLASS), **shown(60, (3 * MB, 0)))
    assert list(network.sessions) == ["radius:bras:bras1;s1"]
    line = network.world.model.sessions["a1"]["radius:bras:bras1;s1"].lines[0]
    assert network.held == line.hold[0].amount


def test_authenticated_again_inside_a_session_gets_the_same_class_and_no_second_hold() -> None:
    """Wi-Fi: every few minutes, or at each access point."""
    network = Network(interim_s=600)
    reply = accepted(network.login())
    network.account(AcctStatusType.START, 5, Class=reply.get(CLASS))
    network.account(AcctStatusType.INTERIM_UPDATE, 605, Class=reply.get(CLASS), **shown(600, (3 * MB, 0)))
    again = accepted(network.login(700))
    assert again.get(CLASS) == reply.get(CLASS)
    assert list(network.sessions) == ["radius:bras:bras1;s1"]
    network.account(AcctStatusType.INTERIM_UPDATE, 905, Class=again.get(CLASS), **shown(900, (5 * MB, 0)))
    assert network.world.balance() == 20 * EURO - 50_000


def test_after_the_session_it_is_another_class() -> None:
    network = Network()
    reply = accepted(network.login())
    network.account(AcctStatusType.START, 5, Class=reply.get(CLASS))
    network.account(AcctStatusType.STOP, 65, Class=reply.get(CLASS), **shown(60, (MB, 0)))
    assert accepted(network.login(100)).get(CLASS) != reply.get(CLASS)


def test_a_session_whose_stop_never_came_holds_nothing_once_another_begins_at_its_port() -> None:
    network = Network()
    reply = accepted(network.login())
    network.account(AcctStatusType.START, 5, "s1", Class=reply.get(CLASS))
    again = accepted(network.login(300))
    network.account(AcctStatusType.START, 305, "s2", Class=again.get(CLASS))
    assert network.held == 100_000
    stale, now = "radius:bras:bras1;s1", "radius:bras:bras1;s2"
    assert network.sessions == {stale: SessionState.ABANDONED, now: SessionState.OPEN}
    network.account(AcctStatusType.STOP, 310, "s1", Class=reply.get(CLASS), **shown(290, (2 * MB, 0)))
    assert network.world.balance() == 20 * EURO - 20_000  # and is charged what it used


def test_who_logs_in_where_a_stop_came_before_its_start_is_asked_for_money() -> None:
    """The Start was sent again, and overtaken: no session is open at the port, whatever was noted last."""
    network = Network(balance=0)
    network.world.subscriber(f"username:{USER}", balance=EURO, password=PASSWORDS.stored("demo", "s1"))
    reply = accepted(network.login())
    network.account(AcctStatusType.START, 5, Class=reply.get(CLASS))
    network.account(AcctStatusType.STOP, 65, Class=reply.get(CLASS), **shown(60, (100 * MB, 0)))
    assert network.world.balance() == 0
    network.account(AcctStatusType.START, 66, Class=reply.get(CLASS), Acct_Delay_Time=61)
    again = network.login(100)
    assert again is not None
    assert (again.code, again.get(REPLY_MESSAGE)) == (PacketCode.ACCESS_REJECT, "the balance does not cover it")


def test_a_start_that_comes_late_ends_no_session_that_followed() -> None:
    network = Network()
    first = accepted(network.login())
    network.account(AcctStatusType.START, 5, "s1", Class=first.get(CLASS))
    second = accepted(network.login(300))
    network.account(AcctStatusType.START, 305, "s2", Class=second.get(CLASS))
    network.account(AcctStatusType.START, 306, "s1", Class=first.get(CLASS), Acct_Delay_Time=301)
    assert network.sessions["radius:bras:bras1;s2"] == SessionState.OPEN
    assert accepted(network.login(400)).get(CLASS) == second.get(CLASS)


def test_after_a_reboot_of_the_nas_it_is_another_class_and_all_use_is_charged() -> None:
    """Session ids begin anew after a reboot, so only Class tells the two sessions apart; the session of before is
    ended by the keeper, which may come later."""
    network = Network()
    reply = accepted(network.login())
    network.account(AcctStatusType.START, 5, Class=reply.get(CLASS))
    network.account(AcctStatusType.INTERIM_UPDATE, 65, Class=reply.get(CLASS), **shown(60, (8 * MB, 0)))
    network.account(AcctStatusType.ACCOUNTING_ON, 70)
    again = accepted(network.login(80))
    assert again.get(CLASS) != reply.get(CLASS)
    assert network.held == 100_000, "what was held for the session of before is free"
    network.account(AcctStatusType.START, 81, Class=again.get(CLASS))
    network.account(AcctStatusType.STOP, 181, Class=again.get(CLASS), **shown(100, (5 * MB, 0)))
    assert network.world.balance() == 20 * EURO - 130_000


@pytest.mark.parametrize(
    ("balance", "seconds", "interim"),
    [(EURO // 10, 600, 200), (EURO // 50, 120, 60), (20 * EURO, 120_000, 600)],
    ids=["ten minutes", "two minutes", "for long"],
)
def test_by_time_the_session_ends_with_the_money(balance: int, seconds: int, interim: int) -> None:
    network = Network(TIME, balance=balance, interim_s=600)
    reply = accepted(network.login())
    assert (reply.get(SESSION_TIMEOUT), reply.get(ACCT_INTERIM_INTERVAL)) == (seconds, interim)
    assert network.held == min(balance, 20 * 10_000)  # two periods of ten minutes


GRADED = """
tariff = "graded"
currency = "EUR"
[[rows]]
when = { service = "data" }
flat = { price = "0.01", per = "1 MB" }
grade = "night"
"""
NIGHT = {"grades": {"night": {"down_bps": 50_000_000, "up_bps": 10_000_000}}}
GARDEN = {"final": {"action": "redirect", "address": "https://portal.example.net/", "filter_ids": ["garden"]}}


def test_the_speed_of_the_grade_is_told_as_the_maker_spells_it() -> None:
    told = {}
    for maker in ("mikrotik", "accel-ppp", "generic"):
        reply = accepted(Network(GRADED, maker=maker, data=NIGHT).login())
        told[maker] = reply.get(MIKROTIK_RATE_LIMIT) or reply.get(FILTER_ID)
    assert told == {"mikrotik": "10000000/50000000", "accel-ppp": "50000/10000", "generic": "night"}


def test_a_volume_that_can_be_paid_for_is_told_with_gigawords() -> None:
    """20 EUR at 0.01 per megabyte: 2,000 megabytes, and 5,000 of 50 EUR are more than 32 bits."""
    for balance, low, high in ((20, 2_000 * MB, 0), (50, 5_000 * MB - 2**32, 1)):
        reply = accepted(Network(GRADED, maker="mikrotik", balance=balance * EURO).login())
        assert (reply.get(MIKROTIK_TOTAL_LIMIT), reply.get(MIKROTIK_TOTAL_LIMIT_GIGAWORDS)) == (low, high)


def test_who_has_no_money_is_let_into_the_walled_garden_where_there_is_one() -> None:
    network = Network(GRADED, maker="mikrotik", data=GARDEN, balance=0)
    reply = accepted(network.login())
    assert reply.get(MIKROTIK_ADDRESS_LIST) == "garden"
    assert reply.get(MIKROTIK_RATE_LIMIT) is None
    assert reply.get(SESSION_TIMEOUT) == 600, "how long one may stay there, as the service says"
    assert reply.get(CLASS) is not None
    assert network.held == 0


def test_who_has_none_is_refused_where_the_maker_has_no_words_for_it() -> None:
    reply = Network(GRADED, maker="freeswitch", data=GARDEN, balance=0).login()
    assert reply is not None
    assert (reply.code, reply.get(REPLY_MESSAGE)) == (PacketCode.ACCESS_REJECT, "the balance does not cover it")


def test_what_is_the_subscriber_s_own_is_told_beside_what_the_balance_allows() -> None:
    own = {"framed_ip_address": "192.0.2.77", "filter_id": "kids", "session_timeout": "3600", "grade": "night"}
    reply = accepted(Network(TIME, maker="mikrotik", data=NIGHT, own=own).login())
    assert str(reply.get(FRAMED_IP_ADDRESS)) == "192.0.2.77"
    assert (reply.get(FILTER_ID), reply.get(MIKROTIK_RATE_LIMIT)) == ("kids", "10000000/50000000")
    assert reply.get(SESSION_TIMEOUT) == 3_600, "the money would last longer"
    assert accepted(Network(TIME, balance=EURO // 50, own=own).login()).get(SESSION_TIMEOUT) == 120, "it does not"
    row = {"subscriber_defaults": {"framed_pool": "basic", "session_timeout": "60"}}
    reply = accepted(Network(TIME, data=row, own={"session_timeout": "90"}).login())
    assert (reply.get(FRAMED_POOL), reply.get(SESSION_TIMEOUT)) == ("basic", 90)


def test_a_grade_of_the_price_and_the_walled_garden_count_before_it() -> None:
    own = {"filter_id": "kids", "grade": "slow", "framed_pool": "gold"}
    assert accepted(Network(GRADED, own=own).login()).get_all(FILTER_ID) == ["night"]
    reply = accepted(Network(GRADED, data=GARDEN, balance=0, own=own).login())
    assert (reply.get_all(FILTER_ID), reply.get(FRAMED_POOL)) == (["garden"], "gold")


def test_what_is_no_address_is_left_out_and_counted() -> None:
    network = Network(own={"framed_ip_address": "nonsense", "filter_id": "kids"})
    reply = accepted(network.login())
    assert (reply.get(FRAMED_IP_ADDRESS), reply.get(FILTER_ID)) == (None, "kids")
    assert network.left_out == [LeftOut("Framed-IP-Address", "value")]


def test_what_others_hold_is_no_part_of_the_time_that_is_left() -> None:
    network = Network(TIME, balance=EURO, interim_s=600)
    first = accepted(network.login())
    other = accepted(network.login(NAS_Port=8))
    assert (first.get(SESSION_TIMEOUT), other.get(SESSION_TIMEOUT)) == (6_000, 4_800)
    again = accepted(network.login(10))
    assert again.get(SESSION_TIMEOUT) == 4_800  # what it holds itself is


def test_the_estimate_moves_nothing() -> None:
    network = Network(TIME, balance=EURO)
    accepted(network.login())
    before = pack(network.world.model.accounts["a1"]), len(network.world.model.ledger)
    assert len(network.world.charged) == 1
    assert before[1] == 1
    assert unpack_account(before[0]).buckets[0].amount == EURO


def test_while_the_store_is_away_nothing_is_said() -> None:
    network = Network()
    network.store.away = True
    assert network.login() is None
    network.store.away, network.world.broken = False, NotSent("no pass")
    assert network.login() is None
    assert network.silent == ["the store is away", "not charged"]
    assert network.sessions == {}


def test_a_session_that_ended_unseen_is_not_gone_on_with() -> None:
    """Its Stop brought no Class, so what stands at the port is old: who has no money left stays out."""
    network = Network(balance=100_000)
    reply = accepted(network.login())
    network.account(AcctStatusType.START, 5, Class=reply.get(CLASS))
    network.account(AcctStatusType.STOP, 65, **shown(60, (10 * MB, 0)))
    assert (network.world.balance(), network.held) == (0, 0)
    again = network.login(100)
    assert again is not None
    assert again.code is PacketCode.ACCESS_REJECT


@pytest.mark.parametrize("counters", [shown(60, (10 * MB, 0)), {}], ids=["with counters", "without"])
def test_a_stop_without_class_leaves_nothing_held(counters: dict[str, Any]) -> None:
    network = Network()
    reply = accepted(network.login())
    network.account(AcctStatusType.START, 5, Class=reply.get(CLASS))
    assert network.held == 100_000
    network.account(AcctStatusType.STOP, 65, **counters)
    assert (network.held, list(network.sessions.values())) == (0, [SessionState.CLOSED])
