"""charging.md section 22: a bucket with a price of its own."""

from __future__ import annotations

from typing import Any

import pytest

from balances.keys import event_key
from balances.structs.account import MAIN
from balances.structs.charge import Action, Phase, Result
from balances.structs.posting import Posting
from balances.structs.record import CounterAccount
from tariffs.ladder import Count, Counted, Step
from tariffs.units import EXACT_MAX, Kind, SumRounding
from tests.balances.rules.account_harness import Counterparts, ask, bundle, ladder, money, only, use
from tests.balances.rules.conftest import Opened

PACKAGE = ladder(bundle(Kind.OCTETS), money(10))


def sold(world: Counterparts, amount: int, price: int, per: int = 1, **others: Any) -> int:
    """A bucket of octets with a price; its id."""
    fields: dict[str, Any] = {"priority": 10, "scope": ["data"], "price": price, "per": per} | others
    number = world.account.next_bucket
    world.post(Posting(-1, Kind.OCTETS, amount, CounterAccount.TOP_UP, "bundle", **fields))
    return number


def test_units_are_taken_of_it_and_their_price_of_money(opened: Opened) -> None:
    world = opened(1_000)
    number = sold(world, 100, 2)
    assert only(world.start(ask(asked=60, by=PACKAGE))).granted == 60
    assert (world.bucket(number).held, world.money) == (60, (1_000, 120))
    ended = only(world.stop(use(50, by=PACKAGE)))
    assert (ended.cost, world.bucket(number).amount, world.money) == (100, 50, (900, 0))
    assert (world.records[-1].usages[0].cost, world.records[-1].usages[0].priced) == (100, 100)


@pytest.mark.parametrize("cuts", [(60,), (1,) * 60, (7, 13, 40), (59, 1)], ids=str)
def test_all_its_units_cost_their_price_rounded_up_once(opened: Opened, cuts: tuple[int, ...]) -> None:
    """However they are cut into reports and sessions: 60 units at 1 for 7 are 9."""
    world = opened(1_000)
    sold(world, 100, 1, 7)
    world.start(ask(asked=60, by=PACKAGE), session="a")
    for used in cuts[:-1]:
        world.update(ask(asked=50, used=used, by=PACKAGE), session="a")
        world.start(ask(asked=1, by=PACKAGE), session="b")
        world.stop(use(0, by=PACKAGE), session="b")
    world.stop(use(cuts[-1], by=PACKAGE), session="a")
    assert world.money == (1_000 - 9, 0)


def test_whichever_is_short_ends_the_grant(opened: Opened) -> None:
    world = opened(15)
    sold(world, 100, 2)
    found = only(world.start(ask(asked=60, by=PACKAGE)))
    assert (found.granted, found.final, world.money) == (7, True, (15, 14))


def test_with_no_money_for_it_what_is_behind_it_pays(opened: Opened) -> None:
    world = opened(5)
    first = sold(world, 100, 2)
    second = world.grant_bucket(Kind.OCTETS, 40, priority=20)
    assert only(world.start(ask(asked=60, by=PACKAGE))).granted == 42
    assert (world.bucket(first).held, world.bucket(second).held, world.money) == (2, 40, (5, 4))


def test_a_block_stands_in_front_of_money_but_its_own_price_is_paid(opened: Opened) -> None:
    world = opened(1_000)
    sold(world, 30, 2, blocker=True)
    found = only(world.start(ask(asked=60, by=PACKAGE)))
    assert (found.granted, found.final, world.money) == (30, True, (1_000, 60))


def test_use_beyond_the_grant_is_charged_all_the_same(opened: Opened) -> None:
    """Units that are there pay, at their price, and what money does not cover is debt."""
    world = opened(15)
    number = sold(world, 100, 2)
    world.start(ask(asked=60, by=PACKAGE))
    world.stop(use(20, by=PACKAGE))
    assert (world.bucket(number).amount, world.money) == (80, (-25, 0))


def test_only_money_for_the_same_service_pays_its_price(opened: Opened) -> None:
    world = opened(0)
    sold(world, 100, 2)
    world.grant_bucket(Kind.MONEY, 500, scope=["voice"])
    paying = world.grant_bucket(Kind.MONEY, 10, scope=["data"])
    assert only(world.start(ask(asked=60, by=PACKAGE))).granted == 5
    assert world.bucket(paying).held == 10


def test_two_sessions_are_never_granted_the_same_money(opened: Opened) -> None:
    world = opened(100)
    sold(world, 1_000, 1)
    assert only(world.start(ask(asked=70, by=PACKAGE), session="a")).granted == 70
    assert only(world.start(ask(asked=70, by=PACKAGE), session="b")).granted == 30


def test_a_limit_of_money_counts_it_and_a_tier_does_not(opened: Opened) -> None:
    world = opened(1_000)
    sold(world, 1_000, 1)
    counts = (Count("limit=spent", Counted.MONEY, limit=40), Count("tier", Counted.MONEY))
    by = ladder(bundle(Kind.OCTETS), money(10), counts=counts)
    assert only(world.start(ask(asked=70, by=by))).granted == 40
    world.stop(use(40, by=by))
    used = {counter.key: counter.used for counter in world.account.counters}
    assert used == {"limit=spent": 40}


def test_a_limit_holds_what_both_may_cost(opened: Opened) -> None:
    """5 units at 1 of the bucket, then by the list at 10: of 40 there is room for 3 of these."""
    world = opened(1_000)
    sold(world, 5, 1)
    by = ladder(bundle(Kind.OCTETS), money(10), counts=(Count("limit=spent", Counted.MONEY, limit=40),))
    assert only(world.start(ask(asked=70, by=by))).granted == 8
    assert world.money == (1_000, 35)


def test_a_session_that_is_rounded_rounds_it_not(opened: Opened) -> None:
    world = opened(1_000)
    sold(world, 5, 1)
    by = ladder(bundle(Kind.OCTETS), money(10), session=(100, 0))
    world.start(ask(asked=6, by=by))
    assert only(world.stop(use(6, by=by))).cost == 105
    assert world.money == (895, 0)


def test_an_event_is_refunded_in_units_and_money(opened: Opened) -> None:
    world = opened(1_000)
    number = sold(world, 100, 2)
    paid = only(world.event(ask(asked=10, by=PACKAGE)))
    assert (paid.cost, world.bucket(number).amount, world.money) == (20, 90, (980, 0))
    back = world.event(ask(asked=10), action=Action.REFUND, refund_of=event_key("sms;1", 0))
    assert only(back).result == Result.OK
    assert (world.bucket(number).amount, world.money) == (100, (1_000, 0))


def test_its_units_never_leave_without_their_price(opened: Opened) -> None:
    """A transfer would make them free."""
    world = opened(1_000)
    number = sold(world, 100, 2)
    free = world.grant_bucket(Kind.OCTETS, 1)
    world.transfer(number, free, 10)
    assert world.status == "refused"
    assert world.bucket(number).amount == 100


def test_it_says_nothing_of_use_that_money_pays_by_the_list(opened: Opened) -> None:
    world = opened(1_000)
    sold(world, 100, 2)
    assert only(world.start(ask(asked=60))).granted == 60
    assert world.bucket(MAIN).held == 60


@pytest.mark.parametrize("step", [money(10), money(10, block=2)], ids=["one by one", "in pairs"])
def test_what_is_rounded_to_a_multiple_and_its_price_pass_no_bound_together(opened: Opened, step: Step) -> None:
    """102 can still be owed: 5 are its price, and what the list asks for is charged by the 100."""
    world = opened(0, credit_limit=EXACT_MAX)
    sold(world, 5, 1)
    world.topup(102 - EXACT_MAX)
    by = ladder(bundle(Kind.OCTETS), step, session=(100, SumRounding.UP))
    world.request(Phase.RECORD, [use(25, by=by)])
    assert world.money == (97 - EXACT_MAX, 0)
    usages = world.records[-1].usages
    assert (sum(one.used for one in usages), sum(one.suspense for one in usages)) == (5, 20)


def test_who_holds_the_money_that_it_lacks_is_asked(opened: Opened) -> None:
    """Section 5: `RAR to the largest idle holder of what is short`, though no step behind a blocker pays."""
    world = opened(100)
    package = sold(world, 1_000, 1, blocker=True)
    world.start(ask(asked=80, by=ladder(money(1))))
    short = only(world.start(ask(asked=100, minimum=50, by=PACKAGE), session="gw;2"))
    assert (short.granted, short.final) == (20, False)
    assert {one.bucket for one in world.records[-1].short} == {MAIN, package}
    assert world.records[-1].reauthorize == ["holder"]


def test_who_holds_money_is_not_asked_for_what_a_blocker_without_a_price_lacks(opened: Opened) -> None:
    world = opened(100)
    sold(world, 1_000, 1, scope=["voice"])
    package = sold(world, 90, 0, blocker=True)
    world.start(ask(asked=80, by=ladder(money(1))))
    world.start(ask(asked=80, by=PACKAGE), session="gw;2")
    short = only(world.start(ask(asked=100, minimum=50, by=PACKAGE), session="gw;3"))
    assert (short.granted, short.final) == (10, False)
    assert [one.bucket for one in world.records[-1].short] == [package]
