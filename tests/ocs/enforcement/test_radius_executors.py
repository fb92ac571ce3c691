"""CoA and Disconnect: what a NAS is told of a session, by which names, and what its answer says about the job."""

from typing import Any

import msgspec
import pytest

from balances.ledger.intents import IntentId
from balances.packing import fresh_account, pack
from balances.structs.account import MAIN, Account, Bucket, SuspendReasons, Take
from balances.structs.blob import raw_of
from balances.structs.session import Line, Session, SessionState
from balances.structs.thresholds import ServiceSuspension
from ocs.charging.radius.affordable import Affordable
from ocs.charging.radius.vendor_profile import vendor_profiles
from ocs.charging.services import Service, service_table
from ocs.enforcement.book import OVERTAKEN, AccountLook, JobBook
from ocs.enforcement.choosing import NetworkPolicy, may_be_ended, wanted_of
from ocs.enforcement.executors.change import NO_GARDEN, UNCHANGED, ChangeExecutor
from ocs.enforcement.executors.disconnect import DisconnectExecutor
from ocs.enforcement.executors.radius_answers import NasRoute
from ocs.enforcement.job import Cause, NetworkAction
from ocs.enforcement.machine import JobEvent, JobState
from ocs.enforcement.session_ends import over_the_session
from ocs.enforcement.session_grades import last_grade
from ocs.net.radius.dynamic_authorization import NasReply
from protocol.radius.codes import PacketCode
from protocol.radius.dictionary import ATTRIBUTES
from protocol.radius.dictionary.standard import ACCT_SESSION_ID, USER_NAME
from protocol.radius.packet import Packet
from tariffs.units import Kind
from tests.balances.rules.account_harness import ladder, money

HARD = NetworkAction.DISCONNECT
NOW_MS = 1_700_000_000_000
ACK = NasReply(PacketCode.COA_ACK)
NAMES = USER_NAME.pack("joe") + ACCT_SESSION_ID.pack("81/+=a")
GARDEN = {"final": {"action": "redirect", "address": "https://portal.example.net/", "filter_ids": ["garden"]}}
NIGHT = {"grades": {"night": {"down_bps": 50_000_000, "up_bps": 10_000_000}}}


def services(**changes: Any) -> dict[str, Service]:
    return service_table(changes={"data": changes}).by_name


def session(grade: str = "night", identification: str = NAMES.hex(), **changes: Any) -> Session:
    line = Line(10, -1, 1, hold=[Take(0, 5)], due_ms=1, grade=grade)
    peer, via = "radius:bras:nas1", "10.9.9.9"
    made = Session(1, "s", "sub", "data", SessionState.OPEN, peer, "", via, 0, 7, 0, 0, [], [], [line])
    return msgspec.structs.replace(made, identification=identification, **changes)


def account(state: int = 0) -> Account:
    made = fresh_account("a", "EUR")
    made.state = state
    return made


class Nas:
    """Notes what it is asked, and answers what it is told to."""

    def __init__(self, maker: str, reply: NasReply = ACK) -> None:
        self.vendor, self.reply = vendor_profiles()[maker], reply
        self.asked: list[tuple[PacketCode, bytes]] = []
        self.hours_left: int | None = None
        self.own: dict[str, str] = {}

    async def ask(self, code: PacketCode, body: bytes, nas: tuple[str, int], secret: bytes) -> NasReply:
        assert (nas, secret) == (("10.9.9.9", 3799), b"secret")
        self.asked.append((code, body))
        return self.reply

    def route(self, _session: Session) -> Any:
        return NasRoute(("10.9.9.9", 3799), b"secret"), self.vendor

    async def grade(self, _account: Account, session: Session) -> str:
        return last_grade(session)

    async def hours(self, _session: Session) -> int | None:
        return self.hours_left

    async def subscriber(self, _session: Session) -> dict[str, str]:
        return self.own

    def change(self, **of_data: Any) -> ChangeExecutor:
        return ChangeExecutor(
            self.ask,
            self.route,
            services(**of_data),
            self.grade,
            HARD,
            inside=lambda _session: {"voip": 20, "iptv": 30},
            hours_left=self.hours,
            subscriber=self.subscriber,
            now_ms=lambda: NOW_MS,
        )

    def disconnect(self) -> DisconnectExecutor:
        return DisconnectExecutor(self.ask, self.route)

    def told(self, name: str) -> list[Any]:
        """The values of an attribute in what it was asked last."""
        body = self.asked[-1][1]
        return Packet.decode(b"\x2b\1" + (20 + len(body)).to_bytes(2) + bytes(16) + body).get_all(ATTRIBUTES[name])


async def test_a_session_is_named_as_its_client_wrote_it() -> None:
    nas = Nas("mikrotik")
    await nas.disconnect().send(account(), session(), Cause.WAITS)
    assert nas.asked == [(PacketCode.DISCONNECT_REQUEST, NAMES)]


async def test_without_money_it_is_led_into_the_walled_garden_and_out_of_it_again() -> None:
    nas = Nas("mikrotik")
    executor = nas.change(**GARDEN, **NIGHT)
    await executor.send(account(SuspendReasons.CREDIT), session(), Cause.WAITS)
    assert nas.told("Mikrotik-Address-List") == ["garden"]
    assert nas.told("Mikrotik-Rate-Limit") == []
    await executor.send(account(), session(), Cause.WAITS)
    assert nas.told("Mikrotik-Address-List") == ["night"]
    assert nas.told("Mikrotik-Rate-Limit") == ["10000000/50000000"]
    assert nas.told("Acct-Session-Id") == ["81/+=a"]


async def test_what_the_walled_garden_took_of_the_subscriber_is_restored() -> None:
    nas = Nas("generic")
    nas.own = {"filter_id": "kids", "framed_ip_address": "192.0.2.77"}
    executor = nas.change(**GARDEN)
    await executor.send(account(SuspendReasons.CREDIT), session(), Cause.WAITS)
    assert nas.told("Filter-Id") == ["garden"]
    ungraded = session()
    ungraded.lines = []
    await executor.send(account(), ungraded, Cause.WAITS)
    assert nas.told("Filter-Id") == ["kids"]
    assert nas.told("Framed-IP-Address") == [], "no CoA changes an address"
    nas.own["grade"] = "night"
    await executor.send(account(), ungraded, Cause.WAITS)
    assert {*nas.told("Filter-Id")} == {"night"}


async def test_a_line_of_the_service_decides_for_its_own_sessions() -> None:
    nas, own = Nas("mikrotik"), account()
    own.services = [ServiceSuspension("data", 0, 0, suspended_ms=5)]
    await nas.change(**GARDEN).send(own, session(), Cause.WAITS)
    assert nas.told("Mikrotik-Address-List") == ["garden"]
    own.state, own.services = SuspendReasons.CREDIT, [ServiceSuspension("data", 0, 0)]
    await nas.change(**GARDEN, **NIGHT).send(own, session(), Cause.WAITS)
    assert nas.told("Mikrotik-Rate-Limit") == ["10000000/50000000"]


async def test_where_there_is_no_walled_garden_it_has_to_end() -> None:
    nas = Nas("mikrotik")
    executor = nas.change()
    receipt = await executor.send(account(SuspendReasons.CREDIT), session(), Cause.WAITS)
    assert (receipt.result, nas.asked) == (NO_GARDEN, [])
    assert executor.judged(receipt, session()) is JobEvent.REFUSED
    assert executor.fallback is NetworkAction.DISCONNECT


async def test_nothing_to_change_is_done() -> None:
    nas = Nas("wispr")
    executor = nas.change()
    receipt = await executor.send(account(), session(grade=""), Cause.WAITS)
    assert (receipt.result, nas.asked) == (UNCHANGED, [])
    assert executor.judged(receipt, session()) is JobEvent.ACCEPTED


@pytest.mark.parametrize("maker", ["freeswitch", "asterisk"])
async def test_who_takes_neither_is_sent_neither(maker: str) -> None:
    nas = Nas(maker)
    for executor in (nas.change(**GARDEN), nas.disconnect()):
        receipt = await executor.send(account(SuspendReasons.CREDIT), session(), Cause.WAITS)
        assert executor.judged(receipt, session()) is JobEvent.REFUSED
        assert "takes no" in str(receipt.result)
    assert nas.asked == []


async def test_a_session_that_cannot_be_named_is_not_named_wrongly() -> None:
    """An empty identification would match every session of the NAS."""
    nas = Nas("mikrotik")
    for executor in (nas.change(**GARDEN), nas.disconnect()):
        receipt = await executor.send(account(SuspendReasons.CREDIT), session(identification=""), Cause.WAITS)
        assert executor.judged(receipt, session()) is JobEvent.REFUSED
    assert nas.asked == []


@pytest.mark.parametrize(
    ("reply", "event"),
    [
        (NasReply(PacketCode.COA_ACK), JobEvent.ACCEPTED),
        (NasReply(PacketCode.DISCONNECT_ACK, 201), JobEvent.ACCEPTED),
        (NasReply(PacketCode.COA_NAK, 503), JobEvent.GONE),
        (NasReply(PacketCode.COA_NAK, 403), JobEvent.REFUSED),
        (NasReply(PacketCode.COA_NAK, 5031), JobEvent.REFUSED),
        (NasReply(PacketCode.DISCONNECT_NAK), JobEvent.REFUSED),
        (NasReply(None), JobEvent.UNDELIVERED),
    ],
    ids=["coa-ack", "disconnect-ack", "503", "403", "5031", "nak", "silence"],
)
async def test_what_an_answer_says(reply: NasReply, event: JobEvent) -> None:
    nas = Nas("mikrotik", reply)
    for executor in (nas.change(**GARDEN), nas.disconnect()):
        receipt = await executor.send(account(SuspendReasons.CREDIT), session(), Cause.WAITS)
        assert executor.judged(receipt, session()) is event


async def test_a_client_that_is_not_configured_any_more_is_nobody() -> None:
    nas = Nas("mikrotik")
    executor = DisconnectExecutor(nas.ask, lambda _session: None)
    receipt = await executor.send(account(), session(), Cause.WAITS)
    assert executor.judged(receipt, session()) is JobEvent.UNDELIVERED


# --- what is different from Diameter


def told_by(*kinds: str, due: tuple[str, ...] = (), extends: bool = False, final: bool = False) -> list[Cause]:
    policy = NetworkPolicy({}, lambda _peer: False, lambda _session: extends)
    mine, of_diameter = session(), session(peer="pgw.net")
    mine.lines[0].final = final
    return [one.cause for one in wanted_of(account(), [mine, of_diameter], kinds, policy, due=due)]


def test_money_that_came_in_is_told_where_it_changes_what_a_client_of_radius_does() -> None:
    assert told_by("final") == [], "its speed and its end are what they were"
    assert told_by("final", "resume") == [Cause.WAITS], "it was slowed, or led into a walled garden"
    assert told_by("final", extends=True) == [Cause.WAITS], "it lasts longer"
    assert told_by("final", final=True) == [Cause.WAITS], "its last report got nothing"
    assert told_by("final", due=("s",))[0] is Cause.WAITS, "the new bundle is faster"


async def test_a_session_that_can_be_paid_for_longer_lasts_longer() -> None:
    """By time, a cent a minute and 10 EUR more; accel-ppp counts a new Session-Timeout from when it comes."""
    by_time = ladder(money(10_000, block=60))
    line = Line(-1, -1, Kind.SECONDS, ladder=raw_of(pack(by_time)), due_ms=NOW_MS, total=600)
    own = account()
    own.buckets = [Bucket(MAIN, Kind.MONEY, 10_000_000)]
    running = session(lines=[line], lasted_s=540, reported_ms=NOW_MS - 60_000)
    for maker, seconds in (("accel-ppp", 60_000), ("generic", None)):
        nas = Nas(maker)
        await nas.change(**NIGHT).send(own, running, Cause.WAITS)
        assert (nas.told("Session-Timeout") if nas.asked else []) == ([seconds] if seconds else [])
    nas = Nas("accel-ppp")
    nas.hours_left = 3_600
    await nas.change(**NIGHT).send(own, running, Cause.WAITS)
    assert nas.told("Session-Timeout") == [3_600], "no longer than its hours"
    whole = over_the_session(Affordable(60_000), running, NOW_MS)
    assert whole.seconds == 60_600, "and others over the whole session"
    assert own.buckets[0].held == 0, "nothing is held for what is told"


def test_a_report_in_between_tells_the_client_nothing() -> None:
    """An Interim is acknowledged and no more: what is to be told is still to be told."""
    policy = NetworkPolicy({}, lambda _peer: False)
    suspended = account(SuspendReasons.CREDIT)
    for peer, done in (("pgw.net", JobEvent.RETURNED), ("radius:bras:nas1", "")):
        book = JobBook(jobs_max=10, return_ms=30_000, jitter=lambda: 1.0)
        one, later = session(peer=peer), session(peer=peer, touched_ms=99)
        wanted = wanted_of(suspended, [one], {"suspend"}, policy)
        look = AccountLook(IntentId(0, 1, 1), suspended, {one.id: one}, wanted, {Cause.SUSPENDED}, 1)
        assert book.reconcile(look, 5) == (1, 0)
        [job] = book.open.values()
        assert book.obstacle(job, suspended, later, ends=False) == done
        assert bool(book.returned("a", "s", 99, ended=False)) is bool(done)
        if not done:
            assert book.returned("a", "s", 100, ended=True) == [job]


# --- who goes on without money


def penniless(amount: int = 0) -> Account:
    made = account()
    made.buckets[0].amount = amount
    return made


def waiting(peer: str = "radius:bras:nas1") -> Session:
    return session(peer=peer, lines=[Line(10, -1, 1, final=True)])


def test_a_session_that_goes_on_without_money_is_cut_whatever_made_somebody_look() -> None:
    policy = NetworkPolicy({}, lambda _peer: False)
    for kinds in ({"depleted"}, {"changed"}):
        [found] = wanted_of(penniless(), [waiting(), waiting("pgw.net")], kinds, policy)
        assert (found.session.peer, found.cause) == ("radius:bras:nas1", Cause.DEPLETED)


def test_what_is_left_and_of_no_use_does_not_let_it_go_on() -> None:
    policy = NetworkPolicy({}, lambda _peer: False)
    [found] = wanted_of(penniless(3), [waiting()], {"depleted"}, policy)
    assert found.cause is Cause.DEPLETED


def test_the_rest_of_a_block_that_is_paid_does_not_either_and_what_is_held_does() -> None:
    policy = NetworkPolicy({}, lambda _peer: False)
    rest = Line(10, -1, 1, final=True, due_ms=9, granted=5, paid_ahead=7)
    [found] = wanted_of(penniless(), [session(lines=[rest])], {"depleted"}, policy)
    assert (found.cause, found.action) == (Cause.DEPLETED, NetworkAction.REAUTHORIZE)
    more = msgspec.structs.replace(rest, granted=8)
    held = msgspec.structs.replace(rest, hold=[Take(0, 5)])
    assert wanted_of(penniless(), [session(lines=[more]), session(lines=[held])], {"depleted"}, policy) == []


def test_money_that_came_in_lets_it_go_on() -> None:
    policy = NetworkPolicy({}, lambda _peer: False)
    for kinds in ({"final"}, {"final", "depleted"}):
        [found] = wanted_of(penniless(1_000), [waiting()], kinds, policy)
        assert found.cause is Cause.WAITS


async def test_without_money_it_is_told_of_the_garden_and_with_money_of_its_speed() -> None:
    nas = Nas("mikrotik")
    executor = nas.change(**GARDEN, **NIGHT)
    await executor.send(penniless(), waiting(), Cause.DEPLETED)
    assert nas.told("Mikrotik-Address-List") == ["garden"]
    await executor.send(penniless(1_000), session(), Cause.WAITS)
    assert nas.told("Mikrotik-Rate-Limit") == ["10000000/50000000"]


OUT_OF_MONEY = {group: Line(group, 5, 1, debited=9, final=True) for group in (-1, 20, 30)}
GOES_ON = Line(-1, -1, 1, hold=[Take(0, 5)], due_ms=9)


async def test_a_service_inside_a_session_ends_by_itself() -> None:
    """Where the rest of its session goes on, and its maker has words for it; else the whole session is told."""
    nas, garden = Nas("cisco"), {"final": {"action": "redirect", "address": "https://portal.example.net/"}}
    executor = nas.change(**garden)
    both = session(lines=[GOES_ON, OUT_OF_MONEY[30], OUT_OF_MONEY[20]])
    await executor.send(penniless(3), both, Cause.DEPLETED)
    assert nas.told("Cisco-AVPair") == ["subscriber:command=deactivate-service", "subscriber:service-name=iptv"]
    assert nas.told("Acct-Session-Id") == ["81/+=a"]
    for whole, own in (
        (session(lines=[OUT_OF_MONEY[-1], OUT_OF_MONEY[20]]), penniless(3)),
        (session(lines=[GOES_ON, OUT_OF_MONEY[20]]), account(SuspendReasons.CREDIT)),
    ):
        await executor.send(own, whole, Cause.DEPLETED)
        assert nas.told("Cisco-AVPair") == ["url-redirect=https://portal.example.net/"]
    wordless = Nas("mikrotik")
    await wordless.change(**GARDEN).send(penniless(3), both, Cause.DEPLETED)
    assert wordless.told("Mikrotik-Address-List") == ["garden"]


def test_one_without_money_may_be_ended_and_one_that_is_free_may_not() -> None:
    assert may_be_ended(waiting())
    assert not may_be_ended(waiting("pgw.net"))
    free = session(lines=[Line(10, -1, 1, due_ms=5)])
    assert not may_be_ended(free)
    assert may_be_ended(session())


@pytest.mark.parametrize("left", [0, 3], ids=["nothing-left", "too-little-left"])
def test_who_topped_up_since_is_not_cut_for_having_had_no_money(left: int) -> None:
    """durability.md rule 10: money raises no generation where it crosses no line. The keeper was killed with the job
    open, or has not read the top-up yet; or the session was granted something."""
    broke, one = penniless(left), waiting()
    book = JobBook(jobs_max=10, return_ms=30_000)
    assert book.reconcile(_look(broke, one, "depleted"), 5) == (1, 0)
    [job] = book.open.values()
    assert book.obstacle(job, broke, one, ends=True) == ""
    rich = msgspec.structs.replace(penniless(1_000), seq=broke.seq + 1)
    assert book.obstacle(job, rich, one, ends=True) == OVERTAKEN
    assert book.obstacle(job, rich, one, ends=False) == "", "a request to report may be repeated"
    assert book.obstacle(job, broke, session(), ends=True) == OVERTAKEN
    book.reconcile(_look(rich, one), 6)
    assert not job.is_open
    after_a_kill = msgspec.structs.replace(job, state=JobState.DUE, seq=0)
    assert book.obstacle(after_a_kill, rich, one, ends=True) == OVERTAKEN
    still = msgspec.structs.replace(penniless(0), seq=9)
    assert book.obstacle(after_a_kill, still, one, ends=True) == ""


def _look(account: Account, one: Session, *kinds: str) -> AccountLook:
    wanted = wanted_of(account, [one], kinds, NetworkPolicy({}, lambda _peer: False))
    return AccountLook(IntentId(0, 1, 1), account, {one.id: one}, wanted, {Cause.SUSPENDED, Cause.DEPLETED}, 1)


# --- who was not authorised here


def recorded(**changes: Any) -> Session:
    """It is charged as it is reported, and was granted nothing."""
    return session(**({"lines": [Line(-1, -1, 1, debited=20_000)]} | changes))


@pytest.mark.parametrize("reason", [SuspendReasons.CREDIT, SuspendReasons.FRAUD], ids=["credit", "fraud"])
async def test_one_without_class_ends_with_its_account(reason: SuspendReasons) -> None:
    policy = NetworkPolicy({"data": NetworkAction.DISCONNECT}, lambda _peer: False)
    one, own = recorded(), account(reason)
    [found] = wanted_of(own, [one], {"suspend"}, policy)
    assert (found.cause, found.action) == (Cause.SUSPENDED, NetworkAction.DISCONNECT)
    nas = Nas("generic")
    receipt = await nas.disconnect().send(own, one, found.cause)
    assert nas.asked == [(PacketCode.DISCONNECT_REQUEST, NAMES)], "named as its accounting named it"
    assert nas.disconnect().judged(receipt, one) is JobEvent.ACCEPTED


UNTOUCHED = [
    pytest.param(recorded(lines=[Line(-1, -1, 1, total=5)]), id="free"),
    pytest.param(recorded(peer="pgw.net"), id="diameter"),
    pytest.param(recorded(token="0123456789ab"), id="with-class"),
    pytest.param(recorded(state=SessionState.CLOSED), id="closed"),
]


@pytest.mark.parametrize("one", UNTOUCHED)
def test_what_costs_nothing_or_is_asked_for_is_not_ended_so(one: Session) -> None:
    policy = NetworkPolicy({"data": NetworkAction.DISCONNECT}, lambda _peer: False)
    assert wanted_of(account(SuspendReasons.FRAUD), [one], {"suspend"}, policy) == []
    assert wanted_of(account(), [recorded()], {"suspend"}, policy) == [], "nor while there is money"
