"""Whom the network is told about: what a record calls for, and what ends a session its client does not know any more
(charging.md sections 5 and 7)."""

from __future__ import annotations

import pytest

from balances.structs.account import MAIN, SuspendReasons
from balances.structs.charge import Action, Flag, Result
from balances.structs.posting import Expire, Posting
from balances.structs.record import Short
from balances.structs.session import SessionState
from tariffs.units import Kind
from tests.balances.rules.account_harness import (
    ACCOUNT,
    HOUR,
    MINUTE,
    Counterparts,
    ask,
    bundle,
    ladder,
    money,
    only,
    use,
)
from tests.balances.rules.conftest import Opened

MONEY = Short(MAIN, Kind.MONEY)
OF_BUNDLE = ladder(bundle(Kind.OCTETS), money(1))


# --- RAR to the largest idle holder of what is short


def test_what_is_short_is_named_by_bucket_and_unit(opened: Opened) -> None:
    """A holds a bundle of octets, B all the money; C's voice is paid by money alone: that is short, no octets are."""
    world = opened(1_000)
    world.grant_bucket(Kind.OCTETS, 5_000)
    world.start(ask(asked=5_000, by=OF_BUNDLE), session="a")
    world.start(ask(asked=1_000), session="b")
    assert only(world.start(ask(unit=Kind.SECONDS), session="c")).result == Result.CREDIT_LIMIT
    assert (world.records[-1].reauthorize, world.records[-1].short) == (["holder"], [MONEY])


def test_what_cannot_pay_is_not_short(opened: Opened) -> None:
    """Nobody is asked for a bundle that could not have paid: nor out of its scope, nor in another unit."""
    world = opened(0)
    world.grant_bucket(Kind.OCTETS, 5_000)
    world.grant_bucket(Kind.MONEY, 500, scope=["voice"])
    world.start(ask(asked=5_000, by=OF_BUNDLE), session="a")
    assert only(world.start(ask(unit=Kind.SECONDS), session="c")).result == Result.CREDIT_LIMIT
    assert (world.records[-1].reauthorize, world.records[-1].short) == ([], [])


def test_a_bundle_that_others_hold_is_short_beside_the_money(opened: Opened) -> None:
    world = opened(1_000)
    bought = world.grant_bucket(Kind.OCTETS, 500)
    world.start(ask(asked=1_500, by=OF_BUNDLE), session="a")
    assert only(world.start(ask(by=OF_BUNDLE), session="b")).result == Result.CREDIT_LIMIT
    assert world.records[-1].short == [Short(bought, Kind.OCTETS), MONEY]


def test_a_short_grant_says_what_it_is_short_of(opened: Opened) -> None:
    world = opened(1_000)
    world.start(ask(asked=950), session="a")
    assert only(world.start(ask(asked=100, minimum=100), session="b")).granted == 50
    assert world.records[-1].short == [MONEY]


# --- after a top-up, sessions that wait for money


def final_then_refused(opened: Opened) -> Counterparts:
    world = opened(100)
    assert only(world.start(ask(asked=100, minimum=100))).final  # FUI TERMINATE
    assert only(world.update(ask(used=100))).result == Result.CREDIT_LIMIT
    return world


def test_refused_after_its_final_units_it_waits_for_money(opened: Opened) -> None:
    """`sessions with an FUI outstanding, or whose last answer refused a line for credit`."""
    world = final_then_refused(opened)
    assert world.line().final
    world.topup(1_000)
    assert world.records[-1].reauthorize == ["final"]
    assert only(world.update(ask(asked=100))).granted == 100
    assert not world.line().final


def test_one_refused_line_of_an_initial_waits_too(opened: Opened) -> None:
    world = opened(100)
    started = world.start(ask(10, asked=100, minimum=100), ask(20, asked=100, minimum=100), session="a")
    assert [line.result for line in started.lines] == [Result.OK, Result.CREDIT_LIMIT]
    assert world.line(20, "a").final


def test_who_asks_for_nothing_more_waits_for_nothing(opened: Opened) -> None:
    world = final_then_refused(opened)
    world.update(use(0))
    assert not world.line().final


@pytest.mark.parametrize("way", ["adjustment", "bucket", "transfer", "limit", "refund", "resume", "profile"])
def test_every_way_in_which_money_or_room_comes_calls_for_those_who_wait(opened: Opened, way: str) -> None:
    """The kin of a top-up."""
    world = final_then_refused(opened)
    match way:
        case "adjustment":
            world.post(Posting(MAIN, Kind.MONEY, 5, "adjustment", "adjustment"))
        case "bucket":
            world.grant_bucket(Kind.SECONDS, 60)
        case "transfer":
            other = world.grant_bucket(Kind.MONEY, 60, scope=["voice"])
            out = Posting(other, Kind.MONEY, -60, "transit", "transfer")
            world.post(out, Posting(MAIN, Kind.MONEY, 60, "transit", "transfer"))
        case "limit":
            world.settings(credit_limit=100)
        case "refund":
            world.event(ask(asked=50), action=Action.REFUND, refund_free=100)
        case "resume":
            world.settings(set_state=SuspendReasons.OPERATOR)
            assert world.records[-1].reauthorize == ["all"]
            world.settings(clear_state=SuspendReasons.OPERATOR)
        case "profile":
            world.settings(profile_rev=7)
    assert "final" in world.records[-1].reauthorize


def test_a_debit_calls_for_nobody(opened: Opened) -> None:
    world = final_then_refused(opened)
    world.post(Posting(MAIN, Kind.MONEY, -5, "adjustment", "adjustment"))
    assert world.records[-1].reauthorize == []
    world.settings(profile_rev=0)
    assert world.records[-1].reauthorize == []


def test_refused_while_suspended_it_is_told_when_that_ends(opened: Opened) -> None:
    world = opened(1_000)
    world.start(ask(asked=100))
    world.settings(set_state=SuspendReasons.FRAUD)
    assert world.records[-1].reauthorize == ["all"]
    assert only(world.update(ask(used=100))).result == Result.DENIED
    assert world.line().final
    world.settings(clear_state=SuspendReasons.FRAUD)
    assert world.records[-1].reauthorize == ["final"]


def test_a_threshold_that_is_lowered_resumes_and_says_so(opened: Opened) -> None:
    world = opened(50, suspend_below=100, resume_at=100)
    world.topup(1)
    assert world.account.state & SuspendReasons.CREDIT
    world.settings(suspend_below=0, resume_at=0)
    assert [crossing.kind for crossing in world.records[-1].threshold_events] == ["resume"]
    assert world.records[-1].reauthorize == ["final"]


def test_a_hold_that_expires_may_be_what_others_wait_for(opened: Opened) -> None:
    world = opened(100)
    world.start(ask(asked=100))
    world.wait(HOUR)
    assert world.expire() == "ok"
    assert world.records[-1].reauthorize == ["final"]


def test_a_change_of_the_members_is_looked_at_once(opened: Opened) -> None:
    """Barred, deleted or moved: the record calls, whoever made the change."""
    world = opened(100)
    world.settings(profile_rev=7)
    assert "members" in world.records[-1].reauthorize
    world.settings(profile_rev=7)
    assert world.records[-1].reauthorize == []


# --- a session its client does not know any more


def end(world: Counterparts, touched_ms: int, session: str = "gw;1") -> str:
    return world.twins.expire(Expire(ACCOUNT, session, world.now_ms, touched_ms=touched_ms))


def ended(opened: Opened) -> Counterparts:
    world = opened(1_000)
    world.start(ask(10, asked=300), ask(20, asked=200))
    world.wait(MINUTE)
    assert end(world, world.session().touched_ms) == "ok"
    return world


def test_it_is_abandoned_and_its_holds_are_released(opened: Opened) -> None:
    world = ended(opened)
    assert (world.session().state, world.money) == (SessionState.ABANDONED, (1_000, 0))
    assert [usage.flags for usage in world.records[-1].usages] == [Flag.ABANDONED, Flag.ABANDONED]
    assert (world.records[-1].reason, world.records[-1].reauthorize) == ("abandoned", ["final"])


def test_an_update_reopens_it(opened: Opened) -> None:
    world = ended(opened)
    assert only(world.update(ask(10, asked=100, used=50))).granted == 100
    assert (world.session().state, world.money) == (SessionState.OPEN, (950, 100))


def test_a_termination_settles_it(opened: Opened) -> None:
    world = ended(opened)
    world.stop(use(70, 10), use(30, 20))
    assert (world.session().state, world.money) == (SessionState.CLOSED, (900, 0))


@pytest.mark.parametrize("clock_ms", [0, 5])
def test_touched_since_it_is_left_alone(opened: Opened, clock_ms: int) -> None:
    """Also where the clock stands still, or another worker's is ahead."""
    world = opened(1_000)
    world.start(ask(asked=300))
    asked = world.session().touched_ms
    world.wait(clock_ms)
    world.update(ask(asked=100, used=300))
    assert end(world, asked) == "later"
    assert (world.session().state, world.money) == (SessionState.OPEN, (700, 100))


def test_a_session_that_ended_meanwhile_is_left_alone(opened: Opened) -> None:
    world = opened(1_000)
    world.start(ask(asked=300))
    world.stop(use(300))
    before = world.records
    assert end(world, world.session().touched_ms) == "later"
    assert world.records == before


def test_one_that_holds_nothing_ends_too(opened: Opened) -> None:
    world = final_then_refused(opened)
    assert end(world, world.session().touched_ms) == "ok"
    assert world.session().state == SessionState.ABANDONED
    assert world.records[-1].reauthorize == []
