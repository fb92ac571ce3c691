"""charging.md section 5, the last grant: which one is final, what it takes with it, and what is granted in debt."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from balances.structs.blob import raw_of
from balances.structs.charge import Result
from tariffs.ladder import Count, Ladder, StepDues
from tariffs.units import Kind
from tests.balances.rules.account_harness import MINUTE, ask, bundle, grants, ladder, money, only, use
from tests.balances.rules.conftest import Opened

BLOCKS = ladder(money(10, block=60))

# --- final units ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("balance", "granted", "final"), [(200, 100, False), (199, 199, True), (101, 101, True), (100, 100, True)]
)
@pytest.mark.parametrize("unit", [Kind.OCTETS, Kind.SECONDS])
def test_a_grant_takes_what_would_be_less_than_a_minimum(
    opened: Opened, unit: Kind, balance: int, granted: int, final: bool
) -> None:
    """`A grant of octets or seconds that would leave less than a minimum takes that rest too`; final units go with `the
    grant after which the money ... covers no further block`: nothing is left that buys blocks and cannot be had."""
    world = opened(balance)
    started = only(world.start(ask(asked=100, minimum=100, unit=unit)))
    assert (started.granted, started.final, world.money) == (granted, final, (balance, granted))


@pytest.mark.parametrize(("balance", "granted", "final"), [(2_009, 120, False), (20 + 9, 120, True), (39, 180, True)])
def test_the_rest_is_taken_in_whole_blocks(opened: Opened, balance: int, granted: int, final: bool) -> None:
    """Blocks of 60 at 10 each: what is left buys none."""
    world = opened(balance)
    started = only(world.start(ask(asked=120, minimum=100, by=BLOCKS)))
    assert (started.granted, started.final) == (granted, final)


@pytest.mark.parametrize(("maximum", "granted", "final"), [(199, 199, True), (150, 150, False)])
def test_the_rest_is_taken_within_the_maximum(opened: Opened, maximum: int, granted: int, final: bool) -> None:
    """`(within the maximum)`: what is left is money that covers a block, so that this grant is not final."""
    world = opened(199)
    started = only(world.start(ask(asked=100, minimum=100, maximum=maximum)))
    assert (started.granted, started.final) == (granted, final)
    after = only(world.update(ask(asked=100, used=granted, minimum=100, maximum=maximum)))
    assert after.granted == 199 - granted


@pytest.mark.parametrize("unit", [Kind.UNITS, Kind.MONEY])
def test_no_rest_is_taken_of_what_is_not_volume_or_time(opened: Opened, unit: Kind) -> None:
    """`never for events, CC-Money, service-specific units`: and what is left covers a block, so it is not final."""
    world = opened(199)
    started = only(world.start(ask(asked=100, minimum=100, unit=unit)))
    assert (started.granted, started.final) == (100, False)


def test_no_rest_is_taken_of_what_is_served_whole(opened: Opened) -> None:
    """`... or a service marked whole`: one more of it is not covered, so that this is the last."""
    world = opened(199)
    started = only(world.start(ask(asked=100, minimum=100, whole=True)))
    assert (started.granted, started.final, world.money) == (100, True, (199, 100))


def test_an_event_takes_no_rest(opened: Opened) -> None:
    world = opened(199)
    assert only(world.event(ask(asked=100, minimum=100, maximum=0, whole=True))).granted == 100
    assert world.money == (99, 0)


@pytest.mark.parametrize("others", ["hold", "held"])
@pytest.mark.parametrize("tier", [False, True])
def test_no_rest_is_taken_where_another_session_holds_something(opened: Opened, others: str, tier: bool) -> None:
    """`only if ... no other session of the account holds anything`: it may need the rest."""
    counts = [Count("t")]
    by = ladder(money(1, counter="t", counter_reach=10**6), money(1), counts=counts) if tier else ladder(money(1))
    world = opened(249)
    world.start(ask(asked=50, by=by), session="other")
    if others == "held":
        world.stop(use(50, by=by), session="other")
    started = only(world.start(ask(asked=100, minimum=100, by=by)))
    assert (started.granted, started.final) == ((100, False) if others == "hold" else (199, True))


def test_no_rest_is_taken_where_another_line_was_cut_short(opened: Opened) -> None:
    """`only if no other line of the request was cut short`: what a line cannot use is not for the other one."""
    world = opened(150)
    dear = ladder(money(100))
    lines = world.start(ask(10, asked=100, minimum=100), ask(20, asked=2, minimum=1, by=dear)).lines
    assert [(line.granted, line.result) for line in lines] == [(100, Result.OK), (0, Result.CREDIT_LIMIT)]
    assert world.money == (150, 100)


def test_lines_of_the_same_session_do_not_keep_the_rest(opened: Opened) -> None:
    """The first takes it; after it neither is final while the other holds."""
    world = opened(249)
    lines = world.start(ask(10, asked=100, minimum=100), ask(20, asked=100, minimum=100)).lines
    assert [(line.granted, line.final) for line in lines] == [(149, False), (100, False)]
    world.update(use(100, 20))
    assert grants(world.update(ask(10, asked=100, used=149, minimum=100))) == [0]


def test_the_rest_of_a_bundle_is_taken_too(opened: Opened) -> None:
    world = opened(30)
    of = world.grant_bucket(Kind.OCTETS, 120)
    started = only(world.start(ask(asked=100, minimum=100, by=ladder(bundle(Kind.OCTETS), money(1)))))
    assert (started.granted, started.final) == (150, True)
    assert (world.bucket(of).held, world.money) == (120, (30, 30))


# --- after the maximum ------------------------------------------------------------------------------------------

DAY = Ladder((money(10, dues=1),), (StepDues(most=90),), tag="t@1")


@pytest.mark.parametrize("slack", [0, 1])
def test_what_costs_nothing_more_is_granted_in_debt(opened: Opened, slack: int) -> None:
    """An overrun brought the line to its maximum charge and the account into debt: the rest is free, so it is granted
    and not final; another line, which would cost, is refused."""
    world = opened(50)
    by = msgspec.structs.replace(DAY, slack=slack)
    dearest = raw_of(msgspec.msgpack.encode(by))
    change: dict[str, Any] = {"change_ms": world.now_ms + MINUTE, "dearest": dearest} if slack else {}
    assert only(world.start(ask(asked=4, by=DAY))).granted == 4
    after = only(world.update(ask(asked=100, used=30, by=DAY, **change)))
    assert (world.usage.cost, world.money) == (90, (-40, 0))
    assert (after.result, after.granted, after.final) == (Result.OK, 100, False)
    world.stop(use(100, by=DAY))
    assert world.money == (-40, 0)
    assert world.start(ask(asked=1, by=DAY), session="another").result == Result.CREDIT_LIMIT


def test_suspension_for_credit_stops_it_all_the_same(opened: Opened) -> None:
    """`suspend_below` is the operator's word: what is served under it has no price at all."""
    world = opened(50, suspend_below=0, resume_at=0)
    world.start(ask(asked=4, by=DAY))
    assert only(world.update(ask(asked=100, used=30, by=DAY))).result == Result.CREDIT_LIMIT
    world.topup(100)
    assert only(world.update(ask(asked=100, by=DAY))).granted == 100


def test_below_its_maximum_a_line_in_debt_is_refused(opened: Opened) -> None:
    world = opened(50)
    world.start(ask(asked=4, by=DAY))
    assert only(world.update(ask(asked=100, used=8, by=DAY))).result == Result.CREDIT_LIMIT
    assert world.money == (-30, 0)


def test_a_grant_within_the_credit_limit_is_not_final(opened: Opened) -> None:
    """The limit is spendable too."""
    world = opened(0, credit_limit=200)
    assert not only(world.start(ask(asked=100, minimum=100))).final
    assert only(world.start(ask(asked=100, minimum=100), session="b")).granted == 100


def test_money_that_others_hold_makes_a_grant_short_but_not_final(opened: Opened) -> None:
    """`If money is only held by others: a short grant without FUI, and RAR to the largest idle holder`."""
    world = opened(1_000)
    world.start(ask(asked=950), session="a")
    short = only(world.start(ask(asked=100, minimum=100), session="b"))
    assert (short.granted, short.final) == (50, False)
    assert world.records[-1].reauthorize == ["holder"]


def test_other_lines_holds_are_not_counted_against_the_money(opened: Opened) -> None:
    """A whole grant of the last free money, while another session holds the rest: not final either."""
    world = opened(1_000)
    world.start(ask(asked=900), session="a")
    granted = only(world.start(ask(asked=100, minimum=100), session="b"))
    assert (granted.granted, granted.final) == (100, False)


def test_a_line_whose_own_session_holds_the_rest_is_not_final(opened: Opened) -> None:
    """`other lines' holds not counted against it`: of the same session as well."""
    world = opened(1_000)
    assert [line.final for line in world.start(ask(10, asked=900), ask(20, asked=100)).lines] == [False, False]


def test_money_that_is_all_held_by_others_calls_for_the_holder(opened: Opened) -> None:
    """Nothing at all is left for it: refused, and the holder is asked to report."""
    world = opened(1_000)
    world.start(ask(asked=1_000), session="a")
    assert world.start(ask(asked=100, minimum=100), session="b").result == Result.CREDIT_LIMIT
    assert world.records[-1].reauthorize == ["holder"]


def test_nobody_is_called_when_nobody_holds(opened: Opened) -> None:
    """A holder is asked for its money, not for its own."""
    world = opened(150)
    world.start(ask(asked=100, minimum=100))
    assert world.records[-1].reauthorize == []


def test_a_top_up_calls_for_the_sessions_with_final_units_outstanding(opened: Opened) -> None:
    """`After a top-up, sessions with an FUI outstanding get RAR`: the record calls, the line says if it is meant."""
    world = opened(100)
    world.start(ask(asked=100, minimum=100))
    assert world.records[-1].reauthorize == []
    world.topup(1_000)
    assert world.records[-1].reauthorize == ["final"]
    assert world.line().final
    world.update(ask(asked=100, used=100))
    assert not world.line().final


def test_a_further_session_after_final_units_is_refused(opened: Opened) -> None:
    """The money left covers no minimum, so nothing but all whole blocks left can be granted."""
    world = opened(100)
    assert only(world.start(ask(asked=100, minimum=100), session="a")).final
    assert only(world.start(ask(asked=100, minimum=100), session="b")).granted == 0
