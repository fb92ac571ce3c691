"""Where money was easily lost, and was: each of these rules was broken, by both twins or by one of them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from balances.keys import event_key
from balances.structs.blob import raw_of
from balances.structs.charge import Action, Outcome, Phase, Result
from tariffs.ladder import Count, Ladder, Step, StepDues
from tariffs.units import EXACT_MAX, Kind
from tests.balances.rules.account_harness import (
    HOUR,
    MINUTE,
    Counterparts,
    ask,
    bundle,
    grants,
    ladder,
    money,
    only,
    use,
)
from tests.balances.rules.conftest import Opened

SPENT = Count("spent", 1, cap=True)
CAP = ladder(money(1, counter="spent", counter_reach=100), money(0), counts=[SPENT])


def dearest(of: Ladder) -> Any:
    """With the micro-unit on top that a price which changes inside a grant needs."""
    return raw_of(msgspec.msgpack.encode(msgspec.structs.replace(of, slack=1)))


def event(world: Counterparts, units: int, by: Ladder, number: int, **others: Any) -> Outcome:
    return world.event(ask(asked=units, by=by, unit=Kind.UNITS), number=number, **others)


def refund(world: Counterparts, units: int, of: int, number: int, unit: Kind = Kind.UNITS, **others: Any) -> Outcome:
    key = event_key("sms;1", of)
    return world.event(ask(asked=units, unit=unit), action=Action.REFUND, number=number, refund_of=key, **others)


# --- holds


@pytest.mark.parametrize("free", [bundle(Kind.OCTETS), money(0)])
@pytest.mark.parametrize("balance", [0, 1])
def test_what_a_change_of_price_needs_is_not_asked_of_what_costs_nothing(
    opened: Opened, free: Step, balance: int
) -> None:
    world = opened(balance)
    world.grant_bucket(Kind.OCTETS, 10_000)
    by = ladder(free, money(1, per=3))
    outcome = world.start(ask(asked=100, by=by, change_ms=world.now_ms + HOUR, dearest=dearest(by)))
    assert (grants(outcome), only(outcome).final, world.money[1]) == ([100], False, 0)


def test_a_price_that_changes_holds_a_micro_unit_more(opened: Opened) -> None:
    world = opened(1_000)
    by = ladder(money(1, per=3))
    world.start(ask(asked=90, by=by, change_ms=world.now_ms + HOUR, dearest=dearest(by)))
    assert world.money == (1_000, 31)


def test_what_another_session_may_give_back_does_not_fill_a_cap(opened: Opened) -> None:
    """Of the cap of 100 one session holds 60. If it uses nothing, the 60 units of the other cost 60 and not 40."""
    world = opened(100)
    assert grants(world.start(ask(asked=60, by=CAP), session="a")) == [60]
    assert grants(world.start(ask(asked=60, by=CAP), session="b")) == [40]
    world.stop(use(0, by=CAP), session="a")
    assert grants(world.start(ask(asked=100), session="c")) == [60]
    world.stop(use(40, by=CAP), session="b")
    world.stop(use(60), session="c")
    assert world.money == (0, 0)
    world.audit()


def test_a_cap_is_reached_by_what_was_used(opened: Opened) -> None:
    world = opened(1_000)
    world.start(ask(asked=60, by=CAP), session="a")
    world.start(ask(asked=60, by=CAP), session="b")
    assert world.money == (1_000, 120)
    world.stop(use(60, by=CAP), session="a")
    world.stop(use(60, by=CAP), session="b")
    assert (world.money, world.counter("spent")) == ((900, 0), (100, 0))


def test_a_bonus_that_pays_alone_does_not_hide_the_debt_of_the_main_bucket(opened: Opened) -> None:
    world = opened(0)
    world.stop(use(50), session="owes")
    bonus = world.grant_bucket(Kind.MONEY, 60)
    alone = ladder(msgspec.structs.replace(money(1), single=True))
    assert grants(world.start(ask(asked=100, by=alone))) == [10]
    assert world.bucket(bonus).held == 10


def test_no_grant_beyond_a_maximum_that_ends(opened: Opened) -> None:
    """The row after its `first` has no maximum, but the line has ended before."""
    world = opened(1_000)
    steps = (money(30, 60, reach=600, dues=1), money(10, 60))
    by = Ladder(steps, (StepDues(most=90, ends=True),), tag="t@1")
    assert grants(world.start(ask(asked=600, by=by))) == [180]
    assert world.money[1] == 90


def test_time_that_is_used_later_than_it_was_granted_is_covered(opened: Opened) -> None:
    """From the change on a second costs ten times as much: the grant is for the seconds that follow it."""
    world = opened(1_000)
    by = ladder(money(1, until_ms=world.now_ms + 90_000), money(10))
    outcome = world.start(ask(asked=120, by=by, unit=Kind.SECONDS, validity_ms=10 * MINUTE))
    assert (grants(outcome), only(outcome).validity_ms) == ([120], 120_000)
    later = ladder(money(1, until_ms=world.now_ms + HOUR), money(10))
    outcome = world.update(ask(asked=120, by=later, unit=Kind.SECONDS, validity_ms=10 * MINUTE))
    assert only(outcome).validity_ms == 10 * MINUTE


# --- events


@pytest.mark.parametrize("balance", [50, 99, 100])
def test_of_two_parts_of_an_event_both_are_paid_or_none(opened: Opened, balance: int) -> None:
    world = opened(balance)
    by, enough = ladder(money(10)), balance == 100
    units = (Kind.OCTETS, Kind.SECONDS)
    parts = [ask(asked=5, by=by, unit=unit, whole=True, secondary=secondary) for secondary, unit in enumerate(units)]
    outcome = world.event(*parts)
    assert outcome.result == (Result.OK if enough else Result.CREDIT_LIMIT)
    assert world.money == (0 if enough else balance, 0)
    assert [usage.cost for usage in world.records[-1].usages] == [50 * enough] * 2


# --- refunds and counters


def test_a_refund_turns_back_the_window_it_was_used_in(opened: Opened) -> None:
    world = opened(1_000)
    by = ladder(money(0, counter="win", counter_reach=5), money(10), counts=[Count("win", 0, window_ms=HOUR)])
    event(world, 5, by, 0)
    world.wait(2 * HOUR)
    event(world, 1, by, 1)
    refund(world, 5, of=0, number=2)
    assert world.counter("win") == (1, 0)
    assert only(event(world, 9, by, 3)).cost == 50
    refund(world, 9, of=3, number=4)
    assert world.counter("win") == (1, 0)


def test_a_refund_of_money_turns_back_what_was_spent(opened: Opened) -> None:
    world = opened(1_000)
    by = ladder(money(10, counter="spent", counter_reach=100), money(0), counts=[SPENT, Count("used", 0)])
    event(world, 5, by, 0)
    refund(world, 20, of=0, number=1, unit=Kind.MONEY)
    assert (world.counter("spent"), world.counter("used")) == ((30, 0), (5, 0))
    assert only(event(world, 20, by, 2)).cost == 70
    refund(world, 30, of=0, number=3, unit=Kind.MONEY)
    assert (world.counter("spent"), world.counter("used"), world.money) == ((70, 0), (20, 0), (930, 0))


def test_a_refund_of_all_the_money_leaves_the_units_of_a_bundle_paid(opened: Opened) -> None:
    world = opened(1_000)
    free = world.grant_bucket(Kind.UNITS, 6)
    event(world, 10, ladder(bundle(Kind.UNITS), money(10)), 0)
    refund(world, 40, of=0, number=1, unit=Kind.MONEY)
    assert world.money == (1_000, 0)
    assert not world.has_bucket(free) or world.bucket(free).amount == 0
    refund(world, 10, of=0, number=2)
    assert (world.money, world.bucket(free).amount) == ((1_000, 0), 6)


def test_units_are_never_given_back_into_a_bucket_that_is_over(opened: Opened) -> None:
    world = opened(0)
    world.grant_bucket(Kind.UNITS, 10, until_ms=world.now_ms + HOUR)
    by = ladder(bundle(Kind.UNITS), money(1))
    event(world, 4, by, 0)
    world.wait(HOUR)
    refund(world, 4, of=0, number=1, refund_until_ms=world.now_ms + HOUR)
    event(world, 1, by, 2)
    world.start(ask(asked=2, by=by, unit=Kind.UNITS))
    world.wait(HOUR)
    world.topup(1)
    refund(world, 1, of=2, number=3, refund_until_ms=world.now_ms + HOUR)
    old, new = [bucket for bucket in world.account.buckets if bucket.kind == Kind.UNITS]
    assert (old.until_ms <= world.now_ms, old.amount, old.held) == (True, 2, 2)
    assert (new.until_ms, new.amount, new.held) == (world.now_ms + HOUR, 1, 0)


def test_a_refund_without_original_has_the_tax_of_its_price(opened: Opened) -> None:
    world = opened(0)
    by = msgspec.structs.replace(ladder(money(119)), terms="tax=190000")
    world.event(ask(asked=1, by=by, unit=Kind.UNITS), action=Action.REFUND, refund_of="unknown", refund_free=1_000)
    assert (world.money, world.usage.terms) == ((119, 0), "tax=190000")


def test_use_of_six_days_ago_finds_its_counter(opened: Opened) -> None:
    world = opened(10_000)
    end_ms = world.now_ms - 6 * 24 * HOUR
    by = ladder(money(0, counter="m", counter_reach=100), money(1), counts=[Count("m", 0, until_ms=end_ms)])
    costs = []
    for session in "abc":
        world.request(Phase.RECORD, [use(100, by=by, at_ms=end_ms - HOUR)], session=session)
        costs.append(world.usage.cost)
    assert costs == [0, 100, 100]


@pytest.mark.parametrize("once", [True, False])
def test_a_window_begins_when_something_is_used(opened: Opened, once: bool) -> None:
    world = opened(100)
    count = Count("first", 0, window_ms=HOUR, once=once)
    by = ladder(money(0, counter="first", counter_reach=50), money(1), counts=[count])
    world.start(ask(asked=10, by=by))
    world.stop(use(0, by=by))
    assert world.account.counters == []
    world.wait(2 * HOUR)
    world.start(ask(asked=10, by=by), session="later")
    world.stop(use(10, by=by), session="later")
    assert (world.usage.cost, world.counter("first")) == (0, (10, 0))
    world.wait(2 * HOUR)
    world.start(ask(asked=10, by=by), session="after")
    world.stop(use(10, by=by), session="after")
    assert world.usage.cost == (10 if once else 0)


def test_what_a_line_holds_itself_fills_its_cap(opened: Opened) -> None:
    """All of the cap is held: what follows is free, so that this is no last grant."""
    world = opened(100)
    outcome = world.start(ask(asked=100, minimum=20, by=CAP))
    assert (grants(outcome), only(outcome).final) == ([100], False)
    world.stop(use(0, by=CAP))
    outcome = world.start(ask(asked=150, minimum=40, by=CAP), ask(20, 10, by=ladder(money(0))), session="two lines")
    assert (grants(outcome), [line.final for line in outcome.lines], world.money[1]) == ([150, 10], [False, False], 100)


def test_enquiries_of_several_lines_are_of_one_balance(opened: Opened) -> None:
    world = opened(100)
    lines = [ask(asked=60, whole=True), ask(20, 60, whole=True)]
    assert not world.event(*lines, action=Action.CHECK).enough
    world.topup(20)
    assert world.event(*lines, action=Action.CHECK, number=1).enough
    world.grant_bucket(Kind.UNITS, 60)
    by = ladder(bundle(Kind.UNITS), money(1))
    lines = [ask(asked=60, by=by, unit=Kind.UNITS), ask(20, 60, by=by, unit=Kind.UNITS)]
    assert [line.cost for line in world.event(*lines, action=Action.PRICE, number=2).lines] == [0, 60]


@pytest.mark.parametrize("balance", [0, 1, EXACT_MAX])
@pytest.mark.parametrize("reach", [1, EXACT_MAX])
@pytest.mark.parametrize("price", [1, EXACT_MAX])
def test_caps_at_the_ends_of_what_can_be_counted(opened: Opened, balance: int, reach: int, price: int) -> None:
    """The twins agree, what is held covers what is charged, and no more than the cap is ever due."""
    world = opened(balance)
    steps = (money(price, counter="spent", counter_reach=reach, dues=1), money(0))
    by = Ladder(steps, (StepDues(fee=1),), (SPENT,), tag="t@1")
    for session in ("a", "b"):
        world.start(ask(asked=2, by=by), session=session)
    for session in ("a", "b"):
        granted = world.line(session=session).granted
        world.stop(use(granted, by=by), session=session)
        world.repeat()
    assert 0 <= world.money[0] == balance - world.counter("spent")[0]
    assert world.counter("spent")[0] <= reach
    assert world.money[1] == 0
    world.audit()
