"""charging.md section 22: a blocker, and what is behind it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from balances.structs.account import MAIN
from balances.structs.charge import Action, Result
from balances.structs.posting import BucketSetting, Posting
from balances.structs.record import CounterAccount
from tariffs.ladder import Step
from tariffs.units import Kind
from tests.balances.rules.account_harness import HOUR, Counterparts, ask, bundle, ladder, money, only, use
from tests.balances.rules.conftest import Opened

PACKAGE = ladder(bundle(Kind.OCTETS), money(1))


def sold(world: Counterparts, amount: int = 100, kind: Kind = Kind.OCTETS, **others: Any) -> int:
    """A package that blocks what is behind it; its id."""
    fields: dict[str, Any] = {"priority": 10, "scope": ["data"], "blocker": True} | others
    number = world.account.next_bucket
    world.post(Posting(-1, kind, amount, CounterAccount.TOP_UP, "bundle", **fields))
    return number


def reasons(world: Counterparts) -> list[str]:
    return world.records[-1].reauthorize


def test_a_package_that_is_used_up_spends_no_money(opened: Opened) -> None:
    """`What it has is granted, as final; after that the answer is the one for no credit.`"""
    world = opened(1_000)
    sold(world)
    last = only(world.start(ask(asked=150, by=PACKAGE)))
    assert (last.granted, last.final) == (100, True)
    refused = only(world.update(ask(asked=50, used=100, by=PACKAGE)))
    assert (refused.granted, refused.result) == (0, Result.CREDIT_LIMIT)
    assert world.money == (1_000, 0)


def test_what_it_may_not_pay_is_not_blocked(opened: Opened) -> None:
    """`For what it may pay`: by kind, scope and member, while it is valid."""
    world = opened(1_000)
    sold(world, 0, scope=["voice"])
    sold(world, 0, member="somebody else")
    sold(world, 0, from_ms=world.now_ms + HOUR)
    sold(world, 0, Kind.SECONDS)
    assert only(world.start(ask(asked=100, by=PACKAGE))).granted == 100
    assert world.money == (1_000, 100)


def test_a_package_of_the_same_priority_goes_on_paying_and_one_behind_it_does_not(opened: Opened) -> None:
    world = opened(1_000)
    sold(world, 10)
    second = world.grant_bucket(Kind.OCTETS, 20)
    third = world.grant_bucket(Kind.OCTETS, 40, priority=11)
    found = only(world.start(ask(asked=100, by=PACKAGE)))
    assert (found.granted, found.final) == (30, True)
    assert (world.bucket(second).held, world.bucket(third).held) == (20, 0)


def test_bonus_money_may_block_the_main_balance(opened: Opened) -> None:
    world = opened(1_000)
    world.grant_bucket(Kind.MONEY, 60, blocker=True)
    found = only(world.start(ask(asked=100)))
    assert (found.granted, found.final, world.money) == (60, True, (1_000, 0))


@pytest.mark.parametrize(("fee", "granted"), [(0, 100), (5, 0)], ids=["free", "with a fee"])
def test_what_costs_nothing_is_granted_behind_it(opened: Opened, fee: int, granted: int) -> None:
    """The throttled rest of a package, after it."""
    world = opened(1_000)
    sold(world, 0)
    slow = ladder(bundle(Kind.OCTETS), money(0, grade="slow"), fee=fee)
    assert only(world.start(ask(asked=100, by=slow))).granted == granted


def test_use_beyond_a_grant_is_charged_in_full(opened: Opened) -> None:
    """`Only grants are blocked.`"""
    world = opened(1_000)
    package = sold(world)
    world.start(ask(asked=100, by=PACKAGE))
    world.stop(use(130, by=PACKAGE))
    assert (world.bucket(package).amount, world.money) == (0, (970, 0))


def test_events_and_enquiries(opened: Opened) -> None:
    """An event is a grant, and so is CHECK_BALANCE; a price enquiry looks at no money."""
    world = opened(1_000)
    world.grant_bucket(Kind.UNITS, 1, blocker=True)
    by = ladder(Step(Kind.UNITS, "data", 1, 1), money(5))
    wish = ask(asked=2, by=by, unit=Kind.UNITS, whole=True, maximum=0)
    assert only(world.event(wish)).result == Result.CREDIT_LIMIT
    assert not world.event(wish, action=Action.CHECK).enough
    assert world.event(wish, action=Action.PRICE).cost == 5
    assert only(world.event(msgspec.structs.replace(wish, asked=1), session="sms;2")).result == Result.OK


def test_where_others_hold_it_the_holder_is_asked(opened: Opened) -> None:
    """`A grant that others hold the rest of is not final`; and nothing behind it is named as short."""
    world = opened(1_000)
    package = sold(world)
    world.start(ask(asked=80, by=PACKAGE))
    world.event(ask(asked=3, unit=Kind.UNITS, whole=True, maximum=0))
    world.start(ask(asked=10, by=ladder(money(1))), session="gw;2")
    short = only(world.start(ask(asked=100, minimum=50, by=PACKAGE), session="gw;3"))
    assert (short.granted, short.final) == (20, False)
    assert [one.bucket for one in world.records[-1].short] == [package]


def test_lifting_the_block_tells_those_who_wait_and_setting_it_all(opened: Opened) -> None:
    world = opened(1_000)
    package = sold(world)
    world.start(ask(asked=150, by=PACKAGE))
    rev = world.account.rev
    assert world.settings(buckets=[BucketSetting(package, False)]) == "ok"
    assert (reasons(world), world.account.rev) == (["final"], rev + 1)
    assert only(world.update(ask(asked=50, used=100, by=PACKAGE))).granted == 50
    assert world.settings(buckets=[BucketSetting(package, True)]) == "ok"
    assert reasons(world) == ["all"]
    assert world.money == (1_000, 50)
    assert only(world.update(ask(asked=50, used=50, by=PACKAGE))).granted == 0


@pytest.mark.parametrize("bucket", [MAIN, 7], ids=["main", "none such"])
def test_of_the_main_bucket_nothing_is_set(opened: Opened, bucket: int) -> None:
    assert opened(1_000).settings(buckets=[BucketSetting(bucket, True)]) == "refused"


def test_its_end_tells_those_who_wait(opened: Opened) -> None:
    """`An empty blocker stays until it ends.`"""
    world = opened(1_000)
    package = sold(world, until_ms=world.now_ms + HOUR)
    world.start(ask(asked=100, by=PACKAGE))
    world.update(use(100, by=PACKAGE))
    world.wait(HOUR)
    assert world.expire("") == "ok"
    assert (reasons(world), world.has_bucket(package)) == (["final"], False)
    assert only(world.update(ask(asked=50, by=PACKAGE))).granted == 50


def test_a_full_account_keeps_its_empty_blocker(opened: Opened) -> None:
    world = opened(0)
    package = sold(world, 1)
    other = world.grant_bucket(Kind.OCTETS, 1, priority=5)
    world.start(ask(asked=2, by=PACKAGE))
    world.stop(use(2, by=PACKAGE))
    for _ in range(62):
        world.grant_bucket(Kind.UNITS, 1)
    assert (world.has_bucket(package), world.has_bucket(other)) == (True, False)
