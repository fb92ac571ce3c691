"""Which sessions the network is told about, and what is done (charging.md sections 5 and 7)."""

from __future__ import annotations

import pytest

from balances.packing import fresh_account, pack
from balances.structs.account import Account, SuspendReasons, Take
from balances.structs.blob import raw_of
from balances.structs.record import Short
from balances.structs.session import Line, Session, SessionState
from balances.structs.thresholds import ServiceSuspension
from ocs.enforcement.choosing import NetworkPolicy, Wanted, money_held, wanted_of
from ocs.enforcement.job import Cause, NetworkAction
from tariffs.ladder import Ladder, Step, StepDues

ASKED = NetworkPolicy({}, lambda _host: False)
MONEY = Short(0, 0)


def line(held: int = 0, *, final: bool = False, price: int | None = None, dues: StepDues | None = None) -> Line:
    """price: of a ladder, by which something is held, be it nothing."""
    made = Line(10, -1, 1, hold=[Take(0, held)] if held else [], final=final)
    made.due_ms = 1 if held or price is not None else 0
    if price is not None:
        made.ladder = raw_of(pack(Ladder((Step(price=price),), (dues,) if dues else ())))
    return made


def session(name: str, *lines: Line, state: int = SessionState.OPEN, service: str = "data", of: str = "s") -> Session:
    return Session(1, name, of, service, state, "gw", "r", "gw", 0, 0, 0, 0, [], [], list(lines))


def account(state: int = SuspendReasons.ACTIVE, *services: ServiceSuspension) -> Account:
    made = fresh_account("acc", "EUR", state=state)
    made.services = list(services)
    return made


SESSIONS = [
    session("poor", line(5)),
    session("rich", line(50)),
    session("last", line(1, final=True)),
    session("portal", line(final=True)),
    session("over", line(final=True), state=SessionState.CLOSED),
]


def chosen(*kinds: str, of: Account | None = None, sessions: list[Session] = SESSIONS) -> dict[str, Cause]:
    found = wanted_of(of or account(), sessions, kinds, ASKED)
    assert all(one.action is NetworkAction.REAUTHORIZE for one in found)
    return {one.session.id: one.cause for one in found}


def test_all_that_are_open_are_told_of_a_closing() -> None:
    """Also those that hold nothing (section 16)."""
    idle = [*SESSIONS, session("idle"), session("free", line(price=0))]
    closed = account(SuspendReasons.CLOSED)
    assert {*chosen("changed", of=closed, sessions=idle)} == {"poor", "rich", "last", "portal", "idle", "free"}


def test_money_came_in_for_those_who_were_told_it_was_the_last() -> None:
    """`After a top-up, sessions with an FUI outstanding get RAR`: on the portal too, and open ones only."""
    assert chosen("final") == {"last": Cause.WAITS, "portal": Cause.WAITS}


def test_one_that_was_replaced_is_disconnected_while_it_is_open() -> None:
    found = wanted_of(account(), SESSIONS, ["replaced rich", "replaced over", "final"], ASKED)
    told = {one.session.id: (one.cause, one.action) for one in found if one.cause is not Cause.WAITS}
    assert told == {"rich": (Cause.REPLACED, NetworkAction.DISCONNECT)}


def test_a_lower_limit_asks_all_that_hold_something() -> None:
    """Section 7: `a lower limit leaves holds, refuses grants, sends RAR`."""
    assert chosen("all") == dict.fromkeys(("poor", "rich", "last"), Cause.LIMIT)


def test_limits_of_a_subscriber_that_changed_ask_its_own_sessions() -> None:
    """Section 15; `limits ` is of all."""
    both = [session("a", line(1), of="anna"), session("b", line(1), of="ben")]
    assert chosen("limits anna", sessions=both) == {"a": Cause.LIMIT}
    assert {*chosen("limits ", sessions=both)} == {"a", "b"}


def test_kinds_add_up_and_nobody_is_asked_twice() -> None:
    assert {*chosen("all", "final")} == {"poor", "rich", "last", "portal"}
    assert chosen("all", sessions=[]) == {}


def test_members_that_are_served_no_more() -> None:
    both = [session("kept", line(1), of="a"), session("barred", of="b")]
    [found] = wanted_of(account(), both, ["members"], ASKED, gone={("b", "data")})
    assert (found.session.id, found.cause) == ("barred", Cause.MEMBERS)
    assert wanted_of(account(), both, ["members"], ASKED) == []
    assert wanted_of(account(), both, ["final"], ASKED, gone={("b", "data")}) == []


def test_the_largest_holder_of_what_is_short() -> None:
    [found] = wanted_of(account(), SESSIONS, ["holder"], ASKED, short={MONEY}, asker="poor")
    assert (found.session.id, found.cause) == ("rich", Cause.HOLDER)


def test_a_suspension_is_of_all_that_hold_whatever_made_somebody_look() -> None:
    suspended = account(SuspendReasons.CREDIT)
    for kinds in ("suspend", "changed", "holder"):
        assert chosen(kinds, of=suspended) == dict.fromkeys(("poor", "rich", "last"), Cause.SUSPENDED)


@pytest.mark.parametrize(
    ("dues", "free"),
    [(None, True), (StepDues(fee=5), False), (StepDues(most=100), False)],
    ids=["free", "fee", "maximum-reached"],
)
def test_what_is_free_by_its_tariff_goes_on_under_suspension_for_credit(dues: StepDues | None, free: bool) -> None:
    """Section 5; a line whose maximum charge is reached costs nothing more and is not free (section 13)."""
    sessions = [session("s", line(price=0, dues=dues))]
    assert chosen("suspend", of=account(SuspendReasons.CREDIT), sessions=sessions) == (
        {} if free else {"s": Cause.SUSPENDED}
    )
    assert chosen("suspend", of=account(SuspendReasons.BARRED), sessions=sessions) == {"s": Cause.SUSPENDED}


def test_grace_is_no_suspension() -> None:
    assert chosen("changed", of=account(SuspendReasons.GRACE)) == {}


def test_a_service_has_a_line_of_its_own_in_place_of_the_accounts() -> None:
    sessions = [session("d", line(5)), session("v", line(5), service="voice")]
    of = account(SuspendReasons.ACTIVE, ServiceSuspension("voice", 0, 0, suspended_ms=7))
    assert chosen("suspend", of=of, sessions=sessions) == {"v": Cause.SUSPENDED}
    of = account(SuspendReasons.CREDIT, ServiceSuspension("voice", 0, 0))
    assert chosen("suspend", of=of, sessions=sessions) == {"d": Cause.SUSPENDED}


def actions(policy: NetworkPolicy, cause: str) -> list[NetworkAction]:
    gone = {("s", "data")} if cause == "members" else ()
    of = account(SuspendReasons.CREDIT if cause == "suspend" else SuspendReasons.ACTIVE)
    found: list[Wanted] = wanted_of(of, [session("s", line(5, final=True))], [cause], policy, gone=gone)
    return [one.action for one in found]


@pytest.mark.parametrize("action", list(NetworkAction))
def test_the_row_of_the_service_says_what_a_suspension_does(action: NetworkAction) -> None:
    policy = NetworkPolicy({"data": action}, lambda _host: False)
    assert actions(policy, "suspend") == ([] if action is NetworkAction.NOTHING else [action])
    hard = action in (NetworkAction.ABORT, NetworkAction.DISCONNECT)
    assert actions(policy, "members") == [action if hard else NetworkAction.REAUTHORIZE]
    assert actions(policy, "all") == actions(policy, "final") == [NetworkAction.REAUTHORIZE]


def test_a_peer_that_never_comes_back_is_not_asked() -> None:
    policy = NetworkPolicy({}, lambda host: host == "gw")
    assert actions(policy, "suspend") == actions(policy, "members") == [NetworkAction.ABORT]
    assert actions(policy, "all") == actions(policy, "final") == []


def test_the_bound_is_the_money_it_holds() -> None:
    of = account()
    of.buckets[0].amount = 100
    held = session("s", line(5), line(7), Line(11, -1, 1, hold=[Take(9, 1_000)]))
    assert money_held(of, held) == 12


@pytest.mark.parametrize("action", [NetworkAction.ABORT, NetworkAction.DISCONNECT])
def test_what_is_free_is_asked_and_never_ended_also_when_its_account_is_barred(action: NetworkAction) -> None:
    """It may be an emergency call. What is refused for another reason is refused when it reports."""
    hard = NetworkPolicy({"data": action}, lambda _host: False)
    never_reports = NetworkPolicy({}, lambda _host: True)
    free, priced = session("free", line(price=0)), session("priced", line(5, price=7))
    for reason in (SuspendReasons.BARRED, SuspendReasons.OPERATOR, SuspendReasons.FRAUD):
        found = {one.session.id: one.action for one in wanted_of(account(reason), [free, priced], {"changed"}, hard)}
        assert found == {"free": NetworkAction.REAUTHORIZE, "priced": action}
        found = {one.session.id: one.action for one in wanted_of(account(reason), [free, priced], (), never_reports)}
        assert found == {"free": NetworkAction.REAUTHORIZE, "priced": NetworkAction.ABORT}
