"""charging.md section 22: a bucket that pays at some hours only."""

from __future__ import annotations

from typing import Any

import pytest

from balances.structs.account import WeekHours
from balances.structs.charge import Phase, Result
from balances.structs.posting import Posting
from balances.structs.record import CounterAccount
from tariffs.units import Kind
from tests.balances.rules.account_harness import (
    HOUR,
    MINUTE,
    START_MS,
    Counterparts,
    ask,
    bundle,
    ladder,
    money,
    only,
    use,
)
from tests.balances.rules.conftest import Opened

PACKAGE = ladder(bundle(Kind.OCTETS), money(1))
CALLS = ladder(bundle(Kind.SECONDS), money(1))
BEGIN_S = START_MS // 1_000 % 86_400
EVERY_DAY = 127


def sold(world: Counterparts, begins_min: int, ends_min: int, kind: Kind = Kind.OCTETS, **others: Any) -> int:
    """A bucket of 1,000 that pays between these minutes from the start on."""
    hours = [WeekHours(EVERY_DAY, BEGIN_S + 60 * begins_min, BEGIN_S + 60 * ends_min)]
    number, amount = world.account.next_bucket, others.pop("amount", 1_000)
    fields: dict[str, Any] = {"priority": 10, "hours": hours} | others
    world.post(Posting(-1, kind, amount, CounterAccount.TOP_UP, "bundle", **fields), clock=[0])
    return number


def test_it_pays_within_its_hours_and_a_grant_ends_with_them(opened: Opened) -> None:
    world = opened(1_000)
    night = sold(world, -60, 5)
    found = only(world.start(ask(asked=100, by=PACKAGE)))
    assert (found.granted, found.validity_ms) == (100, 5 * MINUTE)
    assert (world.bucket(night).held, world.money) == (100, (1_000, 0))
    world.wait(6 * MINUTE)
    found = only(world.update(ask(asked=50, used=60, by=PACKAGE)))
    assert world.bucket(night).amount == 940  # of volume only the interval is known, and that began before
    assert (found.validity_ms, world.money) == (10 * MINUTE, (1_000, 50))


def test_a_grant_ends_where_they_begin(opened: Opened) -> None:
    world = opened(1_000)
    sold(world, 3, 60)
    found = only(world.start(ask(asked=100, by=PACKAGE)))
    assert (found.validity_ms, world.money) == (3 * MINUTE, (1_000, 100))


def test_use_by_time_is_priced_in_parts(opened: Opened) -> None:
    """A call from a minute before its hours to a minute after them."""
    world = opened(1_000)
    evening = sold(world, 1, 3, Kind.SECONDS)
    found = only(world.start(ask(asked=240, by=CALLS, unit=Kind.SECONDS)))
    assert found.granted == 240
    assert (world.bucket(evening).held, world.money) == (120, (1_000, 120))
    world.wait(4 * MINUTE)
    world.stop(use(240, by=CALLS, unit=Kind.SECONDS))
    assert (world.bucket(evening).amount, world.money) == (880, (880, 0))


def test_what_is_used_before_or_after_them_is_not_paid_from_what_is_held(opened: Opened) -> None:
    world = opened(1_000)
    evening = sold(world, 1, 3, Kind.SECONDS)
    world.start(ask(asked=240, by=CALLS, unit=Kind.SECONDS))
    world.wait(MINUTE)
    world.stop(use(60, by=CALLS, unit=Kind.SECONDS))
    assert (world.bucket(evening).amount, world.bucket(evening).held, world.money) == (1_000, 0, (940, 0))


def test_by_event_time(opened: Opened) -> None:
    """As bands of a tariff: not by when it is reported."""
    world = opened(1_000)
    night = sold(world, -60, 0, amount=10)
    world.event(ask(asked=4, by=PACKAGE, whole=True, maximum=0), event_ms=world.now_ms - MINUTE)
    assert (world.bucket(night).amount, world.money) == (6, (1_000, 0))
    world.request(Phase.RECORD, [use(4, by=PACKAGE, at_ms=world.now_ms - MINUTE)], session="cdr;1")
    assert (world.bucket(night).amount, world.money) == (2, (1_000, 0))
    world.request(Phase.RECORD, [use(4, by=PACKAGE)], session="cdr;2")
    assert (world.bucket(night).amount, world.money) == (2, (996, 0))


def test_days_of_the_week_on_the_clock_of_the_account(opened: Opened) -> None:
    """It is Friday 08:00 in UTC. Two hours on, the clock is put forward from 09:00 to 10:00."""
    world = opened(1_000)
    number = world.account.next_bucket
    hours = [WeekHours(1 << 4, 10 * 3_600, 11 * 3_600)]
    fields: dict[str, Any] = {"priority": 10, "hours": hours}
    world.post(
        Posting(-1, Kind.OCTETS, 10, CounterAccount.TOP_UP, "friday", **fields),
        clock=[-3_600, START_MS // 1_000 + 2 * 3_600, 0],
    )
    for after_min, paid in ((0, 0), (119, 0), (120, 1), (179, 1), (180, 0), (24 * 60 + 120, 0), (7 * 24 * 60 + 120, 1)):
        world.wait(START_MS + after_min * MINUTE - world.now_ms)
        before = world.bucket(number).amount
        world.event(ask(asked=1, by=PACKAGE, whole=True, maximum=0), session=f"e;{after_min}")
        assert before - world.bucket(number).amount == paid, after_min


@pytest.mark.parametrize(("wait_min", "result"), [(0, Result.CREDIT_LIMIT), (6, Result.OK)], ids=["within", "after"])
def test_a_blocker_blocks_at_its_hours(opened: Opened, wait_min: int, result: int) -> None:
    world = opened(1_000)
    sold(world, -60, 5, amount=0, blocker=True)
    world.wait(wait_min * MINUTE)
    assert only(world.start(ask(asked=10, by=PACKAGE))).result == result


def test_hours_say_nothing_of_what_an_account_has(opened: Opened) -> None:
    """It counts in the balance, for thresholds and suspension, at any time."""
    world = opened(0, suspend_below=1, resume_at=1)
    sold(world, 60, 120, Kind.MONEY, amount=5)
    assert world.account.state == 0
    assert only(world.start(ask(asked=1))).result == Result.CREDIT_LIMIT
    world.wait(HOUR)
    assert only(world.start(ask(asked=1), session="gw;2")).granted == 1


def test_another_zone_is_another_clock(opened: Opened) -> None:
    world = opened(1_000)
    sold(world, 60, 120)
    assert world.settings(clock=[3_600]) == "ok"
    world.start(ask(asked=10, by=PACKAGE))
    assert world.money == (1_000, 0)


def test_hours_over_midnight_belong_to_the_day_they_begin_on(opened: Opened) -> None:
    """It is Friday 08:00 in UTC. The hours are those of Friday, from 22:00 to 02:00 of the day after."""
    world = opened(1_000)
    number = world.account.next_bucket
    hours = [WeekHours(1 << 4, 22 * 3_600, 26 * 3_600)]
    world.post(
        Posting(-1, Kind.OCTETS, 10, CounterAccount.TOP_UP, "night", priority=10, hours=hours),
        clock=[0],
    )
    friday_h, saturday_h, sunday_h, next_friday_h = -8, 16, 40, 160
    for after_h, paid in (
        (0, 0),
        (friday_h + 22, 1),
        (saturday_h, 1),
        (saturday_h + 2, 0),
        (saturday_h + 22, 0),
        (sunday_h + 1, 0),
        (next_friday_h + 1, 0),
        (next_friday_h + 23, 1),
    ):
        world.wait(START_MS + after_h * HOUR - world.now_ms)
        before = world.bucket(number).amount
        world.event(ask(asked=1, by=PACKAGE, whole=True, maximum=0), session=f"e;{after_h}")
        assert before - world.bucket(number).amount == paid, after_h
