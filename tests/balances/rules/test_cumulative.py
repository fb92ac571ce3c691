"""charging.md section 8: money = what counters show - what was charged, computed in the script, never below zero."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from balances.structs.charge import SLACK_S, Ask, Cumulative, Flag, Result, Suspense, UsageReport
from balances.structs.record import Usage
from balances.structs.session import CounterReading, SessionState
from tariffs.ladder import Ladder
from tariffs.units import Kind
from tests.balances.rules.account_harness import FLAT, HOUR, MINUTE, Counterparts, ask, ladder, money, only
from tests.balances.rules.conftest import Opened

GIGABIT_S = 125_000_000
WRAP = 2**32
BLOCKS = ladder(money(3, 7, per=2), fee=5)


def shows(
    *amounts: int, world: Counterparts, by: Ladder = FLAT, unit: Kind = Kind.OCTETS, asked: int = 0, **others: Any
) -> Ask:
    """Counters one beside the other, each all that its direction had since the session began."""
    of = {name: others.pop(name) for name in ("wraps_at", "per_second", "counted") if name in others}
    at_ms = others.pop("at_ms", world.now_ms)
    one = ask(asked=asked, by=by, unit=unit, **others)
    for place, amount in enumerate(amounts, 1):
        said = [-1, -1, -1, -1]
        said[unit] = amount
        one.reports.append(UsageReport(said[0], said[1], said[2], said[3], at_ms, 0, [Cumulative(place, **of)]))
    return one


def usages(world: Counterparts) -> list[Usage]:
    return [usage for record in world.records for usage in record.usages]


def test_what_a_counter_gained_is_charged_once(opened: Opened) -> None:
    world = opened(10_000)
    world.start(ask(asked=100))
    for shown in (40, 40, 100, 100, 250):
        world.wait(MINUTE)
        world.update(shows(shown, world=world))
        assert world.bucket().amount == 10_000 - shown
    world.stop(shows(300, world=world))
    world.stop(shows(300, world=world))  # a second Stop
    assert world.bucket().amount == 9_700
    assert world.line().readings == [CounterReading(1, 300, world.now_ms)]


def test_an_interim_that_was_overtaken_charges_nothing_and_one_after_the_stop_the_rest(opened: Opened) -> None:
    world = opened(10_000)
    world.start(ask(asked=100))
    world.update(shows(50, world=world, at_ms=world.now_ms + 2 * MINUTE))
    world.update(shows(20, world=world, at_ms=world.now_ms + MINUTE))
    assert world.bucket().amount == 9_950
    world.stop(shows(60, world=world))
    world.update(shows(55, world=world))
    assert world.bucket().amount == 9_940
    world.update(shows(75, world=world))  # more than its Stop said
    assert (world.bucket().amount, world.session().state) == (9_925, SessionState.CLOSED)
    assert usages(world)[-1].flags & Flag.LATE
    assert world.money[1] == 0


def test_both_directions_are_counted_for_themselves(opened: Opened) -> None:
    world = opened(10_000)
    world.start(ask(asked=100))
    world.update(shows(30, 20, world=world))
    world.update(shows(10, 90, world=world))  # one fell, the other went on
    assert world.bucket().amount == 10_000 - 30 - 90


def test_a_counter_of_32_bits_wraps_where_time_and_rate_fit(opened: Opened) -> None:
    world = opened(2**43)
    near, own = WRAP - 1_000, dict[str, Any](wraps_at=WRAP, per_second=GIGABIT_S)
    world.start(ask(asked=100))
    world.wait(HOUR)
    world.update(shows(near, world=world, **own))
    world.wait(MINUTE)
    world.update(shows(500, world=world, **own))
    assert world.line().readings[0].value == WRAP + 500
    world.update(shows(400, world=world, **own, at_ms=world.now_ms - 30_000))  # overtaken, no wrap
    world.wait(1_000)
    world.update(shows(300, world=world, **own))  # four gigabytes in a second do not fit
    world.wait(MINUTE)
    world.update(shows(600, world=world, **own))
    assert (world.line().readings[0].value, world.bucket().amount) == (WRAP + 600, 2**43 - WRAP - 600)


@pytest.mark.parametrize("own", [{}, {"per_second": GIGABIT_S}, {"wraps_at": WRAP}])
def test_no_other_counter_wraps(opened: Opened, own: dict[str, Any]) -> None:
    world = opened(2**43)
    world.start(ask(asked=100))
    world.wait(HOUR)
    world.update(shows(WRAP - 1_000, world=world, maximum=WRAP, **own))
    world.wait(HOUR)
    world.update(shows(500, world=world, maximum=WRAP, **own))
    assert world.bucket().amount == 2**43 - WRAP + 1_000


def test_more_than_the_line_can_carry_is_set_aside_once(opened: Opened) -> None:
    """Section 2: octets by elapsed time x the rate of the port; the session goes on."""
    world = opened(10_000)
    world.start(ask(asked=100))
    world.wait(10_000)
    for _ in range(2):
        world.update(shows(5_000, world=world, per_second=100))
        assert (world.bucket().amount, usages(world)[-1].result) == (9_000, Result.OK)
    first = next(usage for usage in usages(world) if usage.suspense)
    assert (first.used, first.suspense, first.set_aside) == (1_000, 4_000, Suspense.OVER_BOUND)
    assert sum(usage.suspense for usage in usages(world)) == 4_000
    world.wait(HOUR)
    world.update(shows(5_100, world=world, per_second=100))
    assert world.bucket().amount == 8_900


@pytest.mark.parametrize("stops", [False, True])
def test_one_direction_takes_nothing_from_what_the_other_can_carry(opened: Opened, *, stops: bool) -> None:
    """Each counter is bound by the rate of its port: together they may show far more than a report of a grant may."""
    world = opened(100_000)
    world.start(ask(asked=100))
    world.wait(HOUR)
    both = shows(7_000, 9_000, world=world, maximum=100, per_second=100)
    (world.stop if stops else world.update)(both)
    assert (world.bucket().amount, sum(usage.suspense for usage in usages(world))) == (84_000, 0)


def test_seconds_are_bound_by_the_time_that_passed(opened: Opened) -> None:
    world = opened(10_000)
    world.start(ask(asked=100, unit=Kind.SECONDS))
    world.wait(30_000)
    world.update(shows(30 + SLACK_S + 5, world=world, unit=Kind.SECONDS, per_second=1))
    assert (world.bucket().amount, usages(world)[-1].suspense) == (10_000 - 30 - SLACK_S, 5)


def test_units_that_the_line_does_not_count_in_say_nothing(opened: Opened) -> None:
    world = opened(10_000)
    world.start(ask(asked=100, unit=Kind.SECONDS))
    one = shows(1_000_000, world=world, unit=Kind.OCTETS)
    one.unit = Kind.SECONDS
    world.update(one)
    assert (world.bucket().amount, [usage.suspense for usage in usages(world) if usage.suspense]) == (10_000, [])


def test_a_session_the_live_store_forgot_goes_on_from_what_was_counted(opened: Opened) -> None:
    world = opened(10_000)
    world.update(shows(700, world=world, counted=600), session="old")
    assert (world.bucket().amount, usages(world)[-1].flags & Flag.UNMATCHED) == (9_900, Flag.UNMATCHED)


def test_a_new_incarnation_counts_from_nothing(opened: Opened) -> None:
    world = opened(10_000)
    world.start(ask(asked=100))
    world.stop(shows(70, world=world))
    world.start(ask(asked=100), number=0)
    world.update(shows(30, world=world))
    assert (world.bucket().amount, world.session().incarnation) == (9_900, 2)


@pytest.mark.parametrize("seed", range(40))
def test_lost_repeated_and_overtaken_reports_cost_what_the_last_counter_costs(opened: Opened, seed: int) -> None:
    """Charged and set aside is the highest value shown, at the price of a session that said it once."""
    rng = Random(seed)
    world = opened(1_000_000)
    values = sorted(rng.randrange(1, 3_000) for _ in range(8))
    reports = [(value, world.now_ms + (nth + 1) * MINUTE) for nth, value in enumerate(values)]
    sent = [one for one in reports[:-1] for _ in range(rng.choice((0, 1, 1, 2)))]
    for _ in range(3):  # some are overtaken
        if len(sent) > 1:
            at = rng.randrange(len(sent) - 1)
            sent[at], sent[at + 1] = sent[at + 1], sent[at]
    world.start(ask(asked=100, by=BLOCKS))
    for value, at_ms in sent:
        world.wait(rng.choice((0, MINUTE)))
        world.update(shows(value, world=world, by=BLOCKS, asked=rng.choice((50, 500)), at_ms=at_ms, wraps_at=WRAP))
    world.stop(shows(values[-1], world=world, by=BLOCKS))
    cost = 1_000_000 - world.bucket().amount
    blocks = -(-values[-1] // 7)
    assert (cost, world.money[1]) == (5 + -(-3 * blocks // 2), 0)
    assert sum(usage.used + usage.suspense for usage in usages(world)) == values[-1]
    assert only(world.stop(shows(values[0], world=world, by=BLOCKS))).cost == 0
