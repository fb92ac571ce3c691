"""charging.md section 7: notification thresholds, absolute and in percent, and the way back."""

from __future__ import annotations

from typing import Any

import pytest

from balances.structs.account import MAIN, SuspendReasons
from balances.structs.charge import Action, Result
from balances.structs.posting import Posting
from balances.structs.record import CounterAccount
from balances.structs.thresholds import THRESHOLDS_MAX, Crossing, Threshold
from tariffs.units import EXACT_MAX, Kind
from tests.balances.rules.account_harness import HOUR, Counterparts, ask, bundle, ladder, money, only, use
from tests.balances.rules.conftest import Opened

OF = "threshold"
BUNDLE = ladder(bundle(Kind.OCTETS), money(1))


def threshold(name: str = "low", below: int = 500, rearm: int | None = None, **fields: Any) -> Threshold:
    percent = fields.get("percent", 0)
    level = percent or below
    return Threshold(name, fields.pop("kind", Kind.MONEY), 0 if percent else below, rearm or level, **fields)


def watching(opened: Opened, amount: int, *thresholds: Threshold, **account: int) -> Counterparts:
    world = opened(amount, **account)
    assert world.settings(thresholds=list(thresholds)) == "ok"
    assert events(world) == []
    return world


def events(world: Counterparts) -> list[tuple[str, str]]:
    """Of the last call."""
    return [(one.kind, one.name) for one in world.records[-1].threshold_events]


def all_events(world: Counterparts) -> list[str]:
    return [one.kind for record in world.records for one in record.threshold_events]


def is_crossed(world: Counterparts, name: str = "low") -> bool:
    [found] = [one for one in world.account.thresholds if one.name == name]
    return found.crossed_ms > 0


def spend(world: Counterparts, amount: int, **others: Any) -> None:
    world.event(ask(asked=amount, default=amount, **others), session=f"sms;{len(world.sent)}")


def test_it_is_crossed_once_down_and_once_up(opened: Opened) -> None:
    """`Crossed once down, once up`, `on the record of the call that moved the balance`, `with level and value`."""
    world = watching(opened, 1_000, threshold())
    spend(world, 501)
    assert world.records[-1].threshold_events == [Crossing("below", OF, "low", 500, 499)]
    assert world.account.thresholds[0].crossed_ms == world.now_ms
    spend(world, 100)
    assert events(world) == []
    world.topup(100)
    assert events(world) == []
    world.topup(1)
    assert world.records[-1].threshold_events == [Crossing("above", OF, "low", 500, 500)]
    assert not is_crossed(world)
    spend(world, 1)
    assert all_events(world) == ["below", "above", "below"]


def test_crossed_below_the_level_and_not_at_it(opened: Opened) -> None:
    world = watching(opened, 1_000, threshold())
    spend(world, 500)
    assert events(world) == []
    spend(world, 1)
    assert events(world) == [("below", "low")]


def test_it_is_armed_from_the_re_arm_level_on(opened: Opened) -> None:
    """`Armed again from the re-arm level on`: in between nothing is told."""
    world = watching(opened, 1_000, threshold(rearm=800))
    spend(world, 600)
    assert events(world) == [("below", "low")]
    world.topup(399)
    assert events(world) == []
    spend(world, 100)
    assert events(world) == []
    world.topup(101)
    assert world.records[-1].threshold_events == [Crossing("above", OF, "low", 800, 800)]


def test_a_hold_and_its_release_never_cross(opened: Opened) -> None:
    """`Never by a hold`: compared with the settled amount."""
    world = watching(opened, 1_000, threshold())
    world.start(ask(asked=900))
    assert world.money == (1_000, 900)
    assert events(world) == []
    world.update(use(0))
    world.update(ask(asked=900))
    world.wait(2 * HOUR)
    world.expire()
    assert world.money == (1_000, 0)
    assert all_events(world) == []
    world.update(ask(asked=900, used=501))
    assert events(world) == [("below", "low")]


def test_it_refuses_nothing(opened: Opened) -> None:
    world = watching(opened, 1_000, threshold())
    spend(world, 600)
    assert world.account.state == SuspendReasons.ACTIVE
    assert only(world.start(ask(asked=100))).granted == 100


def test_it_raises_no_generation(opened: Opened) -> None:
    """`Notification thresholds do not`: else one would stop what a suspension began (durability.md rule 10)."""
    world = watching(opened, 1_000, threshold())
    before = world.account.generation
    spend(world, 600)
    assert events(world) == [("below", "low")]
    assert (world.account.generation, world.records[-1].generation) == (before, 0)


def test_what_is_set_below_begins_as_crossed_without_an_event(opened: Opened) -> None:
    world = watching(opened, 400, threshold())
    assert is_crossed(world)
    world.topup(50)
    assert events(world) == []
    world.topup(50)
    assert events(world) == [("above", "low")]


def test_settings_say_all_there_are(opened: Opened) -> None:
    """`One that is set as it was keeps its state`, `of which anything is changed begins anew`, one left out is gone."""
    world = watching(opened, 1_000, threshold(), threshold("very low", 100), threshold("gone", 900))
    spend(world, 600)
    assert events(world) == [("below", "low"), ("below", "gone")]
    since = world.account.thresholds[0].crossed_ms
    world.wait(5_000)
    assert world.settings(thresholds=[threshold(), threshold("very low", 450)]) == "ok"
    assert events(world) == []
    assert [(one.name, one.crossed_ms) for one in world.account.thresholds] == [
        ("low", since),
        ("very low", world.now_ms),
    ]
    spend(world, 1)
    assert events(world) == []


def test_settings_without_thresholds_leave_them(opened: Opened) -> None:
    world = watching(opened, 1_000, threshold())
    world.settings(credit_limit=5)
    assert [one.name for one in world.account.thresholds] == ["low"]
    rev = world.account.rev
    world.settings(thresholds=[])
    assert (world.account.thresholds, world.account.rev) == ([], rev + 1)


def test_a_change_of_another_revision_is_refused(opened: Opened) -> None:
    world = watching(opened, 1_000, threshold())
    assert world.settings(world.account.rev - 1, thresholds=[]) == "revision"
    assert len(world.account.thresholds) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        [threshold("a"), threshold("a", 7)],
        [threshold(f"t{number}") for number in range(THRESHOLDS_MAX + 1)],
        [threshold(rearm=499)],
        [Threshold("p", Kind.MONEY, 0, 9, percent=10)],
        [Threshold("p", Kind.MONEY, 0, 101, percent=100)],
        [Threshold("p", Kind.MONEY, 0, 200, percent=101)],
        [Threshold("p", Kind.MONEY, -EXACT_MAX - 1, 0)],
        [Threshold("p", Kind.MONEY, 0, EXACT_MAX + 1)],
    ],
    ids=["twice", "many", "way back below", "percent back below", "back above all", "percent", "small", "large"],
)
def test_what_cannot_be_compared_is_refused(opened: Opened, wrong: list[Threshold]) -> None:
    world = opened(1_000)
    assert world.settings(thresholds=wrong) == "refused"
    assert world.account.thresholds == []


# --- what it looks at -----------------------------------------------------------------------------------------


def test_units_of_all_buckets_of_a_kind(opened: Opened) -> None:
    """`The sum of the buckets of one kind that are valid now`."""
    world = watching(opened, 0, threshold("1 kB left", 1_000, kind=Kind.OCTETS))
    world.grant_bucket(Kind.OCTETS, 700)
    world.grant_bucket(Kind.OCTETS, 600)
    assert events(world) == [("above", "1 kB left")]
    spend(world, 301, by=BUNDLE)
    assert world.records[-1].threshold_events == [Crossing("below", OF, "1 kB left", 1_000, 999, Kind.OCTETS)]


def test_buckets_of_one_name(opened: Opened) -> None:
    world = watching(opened, 0, threshold("travel low", 1_000, kind=Kind.OCTETS, bucket="travel"))
    world.grant_bucket(Kind.OCTETS, 5_000, name="home")
    assert events(world) == []
    world.grant_bucket(Kind.OCTETS, 5_000, name="travel", priority=5)
    assert events(world) == [("above", "travel low")]
    spend(world, 4_500, by=BUNDLE)
    assert world.records[-1].threshold_events == [
        Crossing("below", OF, "travel low", 1_000, 500, Kind.OCTETS, "travel")
    ]


def test_buckets_that_may_pay_one_service(opened: Opened) -> None:
    world = watching(opened, 300, threshold(service="voice"))
    world.grant_bucket(Kind.MONEY, 400, scope=["data"])
    assert events(world) == []
    world.grant_bucket(Kind.MONEY, 200, scope=["data", "voice"])
    assert world.records[-1].threshold_events == [Crossing("above", OF, "low", 500, 500)]


def test_a_bucket_that_ends_counts_no_more(opened: Opened) -> None:
    """Compared `after each expiry`."""
    world = watching(opened, 100, threshold())
    world.grant_bucket(Kind.MONEY, 1_000, until_ms=world.now_ms + HOUR)
    assert events(world) == [("above", "low")]
    world.wait(HOUR)
    assert world.expire(session="") == "ok"
    assert world.records[-1].threshold_events == [Crossing("below", OF, "low", 500, 100)]


def test_a_bucket_that_begins_is_seen_by_the_next_call(opened: Opened) -> None:
    world = watching(opened, 100, threshold())
    world.grant_bucket(Kind.MONEY, 1_000, from_ms=world.now_ms + HOUR)
    assert events(world) == []
    world.start(ask(asked=10))
    assert events(world) == []
    world.wait(HOUR)
    world.update(ask(asked=10))
    assert events(world) == [("above", "low")]


def test_a_bucket_of_units_that_begins_is_seen_by_a_call_that_does_not_use_it(opened: Opened) -> None:
    world = watching(opened, 1_000, threshold("octets", 10, kind=Kind.OCTETS))
    world.grant_bucket(Kind.OCTETS, 50, from_ms=world.now_ms + HOUR)
    world.start(ask(asked=10))
    world.wait(HOUR)
    world.update(ask(asked=10))
    assert events(world) == [("above", "octets")]


# --- percentages ----------------------------------------------------------------------------------------------


def test_percent_of_the_last_fill(opened: Opened) -> None:
    """`Below a percentage of what those buckets had at their last fill`."""
    world = watching(opened, 0, threshold("20 %", percent=20, kind=Kind.OCTETS, bucket="data"))
    assert not is_crossed(world, "20 %")
    bucket = world.grant_bucket(Kind.OCTETS, 1_000, name="data")
    assert events(world) == []
    spend(world, 800, by=BUNDLE)
    assert events(world) == []
    spend(world, 1, by=BUNDLE)
    assert world.records[-1].threshold_events == [Crossing("below", OF, "20 %", 200, 199, Kind.OCTETS, "data")]
    world.post(Posting(bucket, Kind.OCTETS, 101, CounterAccount.TOP_UP, "top-up"))
    assert world.bucket(bucket).filled == 300
    assert world.records[-1].threshold_events == [Crossing("above", OF, "20 %", 60, 300, Kind.OCTETS, "data")]
    spend(world, 241, by=BUNDLE)
    assert events(world) == [("below", "20 %")]


def test_the_level_is_rounded_up(opened: Opened) -> None:
    """33 % of 10 is 3.3: 3 is below it."""
    world = watching(opened, 10, threshold(percent=33))
    spend(world, 6)
    assert events(world) == []
    spend(world, 1)
    assert world.records[-1].threshold_events == [Crossing("below", OF, "low", 4, 3)]


def test_fills_of_several_buckets_are_added(opened: Opened) -> None:
    world = watching(opened, 0, threshold(percent=50, kind=Kind.OCTETS))
    world.grant_bucket(Kind.OCTETS, 100)
    spend(world, 40, by=BUNDLE)
    world.grant_bucket(Kind.OCTETS, 100)
    spend(world, 60, by=BUNDLE)
    assert events(world) == []
    spend(world, 1, by=BUNDLE)
    assert world.records[-1].threshold_events == [Crossing("below", OF, "low", 100, 99, Kind.OCTETS)]


def test_an_adjustment_is_no_fill(opened: Opened) -> None:
    world = watching(opened, 1_000, threshold(percent=50))
    world.post(Posting(MAIN, Kind.MONEY, 5_000, CounterAccount.ADJUSTMENT, "adjustment"))
    assert world.bucket().filled == 1_000
    spend(world, 5_500)
    assert events(world) == []
    spend(world, 1)
    assert events(world) == [("below", "low")]


def test_a_new_bucket_is_filled_by_what_it_is_made_with(opened: Opened) -> None:
    world = opened(1_000)
    bucket = world.post(Posting(-1, Kind.OCTETS, 70, CounterAccount.ADJUSTMENT, "adjustment"))
    assert bucket is not None
    assert world.bucket(bucket.entries[-1].bucket).filled == 70


def test_a_transfer_fills_where_it_goes_to(opened: Opened) -> None:
    world = opened(1_000)
    bonus = world.grant_bucket(Kind.MONEY, 10)
    world.transfer(MAIN, bonus, 300)
    assert (world.bucket().filled, world.bucket(bonus).filled) == (1_000, 310)


def test_a_refund_is_no_fill(opened: Opened) -> None:
    world = opened(1_000)
    world.event(ask(asked=100), session="sms;1")
    paid = world.sent[-1]
    world.event(ask(asked=0), session="sms;2", action=Action.REFUND, refund_of=paid.once_key)
    assert world.money[0] == 1_000
    assert world.bucket().filled == 1_000


def test_a_fill_of_a_balance_in_debt_counts_from_zero(opened: Opened) -> None:
    world = opened(credit_limit=500)
    spend(world, 200)
    world.topup(150)
    assert world.bucket().filled == 0
    world.topup(150)
    assert world.bucket().filled == 100


def test_buckets_that_are_gone_say_nothing(opened: Opened) -> None:
    """`The threshold stays as it is until there is something to compare`: the renewal arms it, or finds it armed."""
    world = watching(opened, 0, threshold(percent=20, kind=Kind.OCTETS, bucket="month"))
    world.grant_bucket(Kind.OCTETS, 1_000, name="month", until_ms=world.now_ms + HOUR)
    world.wait(HOUR)
    world.expire(session="")
    assert events(world) == []
    assert not is_crossed(world)
    world.grant_bucket(Kind.OCTETS, 1_000, name="month", until_ms=world.now_ms + HOUR)
    spend(world, 900, by=BUNDLE)
    assert events(world) == [("below", "low")]
    world.wait(HOUR)
    world.expire(session="")
    assert events(world) == []
    world.grant_bucket(Kind.OCTETS, 1_000, name="month")
    assert events(world) == [("above", "low")]


def test_a_bucket_that_is_used_up_is_below_every_percentage(opened: Opened) -> None:
    world = watching(opened, 0, threshold(percent=1, kind=Kind.OCTETS))
    world.grant_bucket(Kind.OCTETS, 100)
    spend(world, 100, by=BUNDLE)
    assert world.records[-1].threshold_events == [Crossing("below", OF, "low", 1, 0, Kind.OCTETS)]


@pytest.mark.parametrize("amount", [EXACT_MAX, EXACT_MAX - 1, EXACT_MAX // 3])
@pytest.mark.parametrize("percent", [1, 33, 99, 100])
def test_percentages_of_large_amounts_are_exact(opened: Opened, amount: int, percent: int) -> None:
    world = watching(opened, amount, threshold(percent=percent))
    level = -(-amount * percent // 100)
    world.post(Posting(MAIN, Kind.MONEY, level - amount, CounterAccount.ADJUSTMENT, "adjustment"))
    assert events(world) == []
    world.post(Posting(MAIN, Kind.MONEY, -1, CounterAccount.ADJUSTMENT, "adjustment"))
    assert world.records[-1].threshold_events == [Crossing("below", OF, "low", level, level - 1)]


def test_a_refused_posting_crosses_nothing(opened: Opened) -> None:
    world = watching(opened, 1_000, threshold())
    count = len(world.records)
    world.post(Posting(MAIN, Kind.MONEY, -900, "adjustment", "a"), Posting(9, Kind.MONEY, 1, "adjustment", "a"))
    assert world.status == "refused"
    assert len(world.records) == count
    assert not is_crossed(world)


def test_a_repeat_crosses_nothing(opened: Opened) -> None:
    world = watching(opened, 1_000, threshold())
    world.start(ask(asked=600))
    world.stop(use(600))
    assert all_events(world) == ["below"]
    assert world.repeat().result == Result.OK
    assert all_events(world) == ["below"]


def test_price_in_debt(opened: Opened) -> None:
    """Levels below zero too."""
    world = watching(opened, 100, threshold(below=-50), credit_limit=500)
    spend(world, 151, by=ladder(money(1)))
    assert world.records[-1].threshold_events == [Crossing("below", OF, "low", -50, -51)]


def test_one_that_a_tariff_brings_keeps_its_state_as_the_accounts_own(opened: Opened) -> None:
    """`A threshold that stays as it was keeps its state, whoever brings it`."""
    world = watching(opened, 1_000, threshold())
    spend(world, 600)
    since = world.account.thresholds[0].crossed_ms
    world.wait(5_000)
    for tariff in ("data-10", "data-20", ""):
        assert world.settings(thresholds=[threshold(tariff=tariff)]) == "ok"
        assert [(one.tariff, one.crossed_ms) for one in world.account.thresholds] == [(tariff, since)]
    assert all_events(world) == ["below"]
