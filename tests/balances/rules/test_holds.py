"""charging.md section 5, holds: what is set aside, how much of it use takes, what overrun and expiry do."""

from __future__ import annotations

import pytest

from balances.structs.charge import Flag, Result, Suspense
from balances.structs.session import SessionState
from tariffs.ladder import Count
from tariffs.units import Kind
from tests.balances.rules.account_harness import (
    FLAT,
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

DATA = ladder(bundle(Kind.OCTETS), money(1))

# --- spendable ------------------------------------------------------------------------------------------------


def test_spendable_is_the_usable_money_less_holds_and_the_credit_limit_once(opened: Opened) -> None:
    """`sum of usable money buckets - held + credit limit once`."""
    world = opened(100, credit_limit=30)
    world.grant_bucket(Kind.MONEY, 50)
    world.grant_bucket(Kind.MONEY, 7, scope=["voice"])
    world.grant_bucket(Kind.MONEY, 9, from_ms=world.now_ms + HOUR)
    assert only(world.start(ask(asked=150), session="a")).granted == 150
    assert only(world.start(ask(asked=150), session="b")).granted == 30
    assert world.start(ask(asked=150), session="c").result == Result.CREDIT_LIMIT


def test_only_the_main_money_bucket_goes_below_zero(opened: Opened) -> None:
    """`Only the main money bucket may go below zero`, by the credit limit."""
    world = opened(0, credit_limit=100)
    bonus = world.grant_bucket(Kind.MONEY, 50)
    assert only(world.start(ask(asked=500))).granted == 150
    world.stop(use(150))
    assert world.bucket(bonus).amount == 0
    assert world.money == (-100, 0)


def test_a_debt_leaves_less_of_the_limit(opened: Opened) -> None:
    """The limit counts once: what is owed already is part of it."""
    world = opened(-60, credit_limit=100)
    assert only(world.start(ask(asked=500))).granted == 40


def test_a_bonus_does_not_hide_the_debt_of_the_main_bucket(opened: Opened) -> None:
    """`sum of usable money buckets`: a debt counts against the bonus."""
    world = opened(-60)
    world.grant_bucket(Kind.MONEY, 50)
    assert world.start(ask(asked=500)).result == Result.CREDIT_LIMIT


def test_the_credit_limit_covers_a_debt_before_a_bonus_is_added(opened: Opened) -> None:
    """The sum once more: 50 - 60 + 30 = 20."""
    world = opened(-60, credit_limit=30)
    world.grant_bucket(Kind.MONEY, 50)
    assert only(world.start(ask(asked=500))).granted == 20


def test_parallel_sessions_are_never_granted_the_same_money(opened: Opened) -> None:
    """`Parallel sessions, members of a shared account ... can never be granted the same money`."""
    world = opened(1_000)
    granted = [only(world.start(ask(asked=300), session=f"s{i}", subscriber=f"sub{i}")).granted for i in range(6)]
    assert granted == [300, 300, 300, 100, 0, 0]
    assert world.money == (1_000, 1_000)
    for i in range(6):
        world.stop(use(granted[i]), session=f"s{i}", subscriber=f"sub{i}")
    assert world.money == (0, 0)


def test_parallel_sessions_are_never_granted_the_same_bundle(opened: Opened) -> None:
    """The same of a unit bucket."""
    world = opened()
    of = world.grant_bucket(Kind.OCTETS, 500)
    granted = [only(world.start(ask(asked=300, by=DATA), session=f"s{i}")).granted for i in range(3)]
    assert granted == [300, 200, 0]
    assert (world.bucket(of).amount, world.bucket(of).held) == (500, 500)


def test_parallel_sessions_are_never_granted_the_same_room_of_a_counter(opened: Opened) -> None:
    """`counters have held too, grants are priced at used + held`: a cap."""
    cap = ladder(money(1, counter="cap", counter_reach=100), money(1, stop=True), counts=[Count("cap")])
    world = opened(10_000)
    granted = [only(world.start(ask(asked=80, by=cap), session=s)).granted for s in ("a", "b", "c")]
    assert granted == [80, 20, 0]
    assert world.counter("cap") == (0, 100)
    world.stop(use(30), session="a")
    assert world.counter("cap") == (30, 20)
    assert only(world.start(ask(asked=80, by=cap), session="d")).granted == 50


def test_parallel_sessions_are_never_granted_the_same_room_of_a_tier(opened: Opened) -> None:
    """The second session is held at the price of the units behind the first one's."""
    tier = ladder(money(1, counter="tier", counter_reach=100), money(10), counts=[Count("tier")])
    world = opened(10_000)
    world.start(ask(asked=80, by=tier), session="a")
    assert world.money[1] == 80
    world.start(ask(asked=80, by=tier), session="b")
    assert world.money[1] == 80 + 20 + 600


def test_a_counter_of_money_has_held_too(opened: Opened) -> None:
    """A spending cap of 100 micro-units, at 3 each: the second session has the room the first one left."""
    cap = ladder(money(3, counter="cap", counter_reach=99), money(3, stop=True), counts=[Count("cap", 1)])
    world = opened(10_000)
    assert [only(world.start(ask(asked=20, by=cap), session=s)).granted for s in ("a", "b")] == [20, 13]
    assert world.counter("cap") == (0, 99)


# --- settlement -----------------------------------------------------------------------------------------------


def test_use_below_the_grant_gives_the_rest_back(opened: Opened) -> None:
    """Settle: `turn reported use into a debit and give the rest of the hold back` (section 1)."""
    world = opened(1_000)
    world.start(ask(asked=400))
    settled = world.update(use(100))
    assert (settled.result, only(settled).result, only(settled).granted) == (Result.OK, Result.NO_GRANT, 0)
    assert world.money == (900, 0)


def test_use_beyond_the_grant_is_charged_in_full(opened: Opened) -> None:
    """`charged in full, flagged overrun`."""
    world = opened(1_000)
    world.start(ask(asked=100))
    world.update(ask(asked=100, used=150))
    assert world.flagged(Flag.OVERRUN)
    assert world.money == (850, 100)


def test_use_of_the_whole_grant_is_no_overrun(opened: Opened) -> None:
    """`Use beyond the grant`: not at it."""
    world = opened(1_000)
    world.start(ask(asked=100))
    world.update(ask(asked=100, used=100))
    assert not world.flagged(Flag.OVERRUN)


def test_overrun_of_a_bundle_lands_on_the_main_bucket(opened: Opened) -> None:
    """`Overrun without funds lands there; unit buckets never go below zero`."""
    world = opened()
    of = world.grant_bucket(Kind.OCTETS, 60)
    assert only(world.start(ask(asked=100, by=DATA))).granted == 60
    world.stop(use(200, by=DATA))
    assert world.bucket(of).amount == 0
    assert world.money == (-140, 0)


def test_overrun_of_a_bonus_lands_on_the_main_bucket(opened: Opened) -> None:
    """The same of a money bucket that is not the main one."""
    world = opened()
    bonus = world.grant_bucket(Kind.MONEY, 60)
    world.start(ask(asked=60))
    world.stop(use(100))
    assert world.bucket(bonus).amount == 0
    assert world.money == (-40, 0)


def test_overrun_never_takes_what_another_session_holds(opened: Opened) -> None:
    """A hold: `nobody else can transfer, refund or expire it`, nor use it."""
    world = opened()
    of = world.grant_bucket(Kind.OCTETS, 300)
    world.start(ask(asked=100, by=DATA), session="a")
    world.start(ask(asked=200, by=DATA), session="b")
    world.stop(use(150, by=DATA), session="a")
    assert world.money == (-50, 0)
    assert (world.bucket(of).amount, world.bucket(of).held) == (200, 200)
    world.stop(use(200, by=DATA), session="b")
    assert world.money == (-50, 0)


@pytest.mark.parametrize(("used", "charged", "suspense"), [(1_000, 1_000, 0), (1_001, 1_000, 1), (5_000, 1_000, 4_000)])
def test_use_above_ten_times_the_grant_goes_to_suspense(opened: Opened, used: int, charged: int, suspense: int) -> None:
    """`charged up to that bound, the rest goes to suspense with an alarm; the session goes on` (section 2)."""
    world = opened(100_000)
    world.start(ask(asked=100))
    assert only(world.update(ask(asked=100, used=used, maximum=500))).granted == 100
    assert (world.usage.used, world.usage.suspense) == (charged, suspense)
    assert world.flagged(Flag.SUSPENSE) == (suspense > 0)
    assert world.usage.set_aside == (Suspense.OVER_BOUND if suspense else Suspense.NONE)
    assert world.money == (100_000 - charged, 100)


@pytest.mark.parametrize("reported", [0, 40, 5_000])
def test_use_that_cannot_be_used_is_set_aside_and_its_hold_released(opened: Opened, reported: int) -> None:
    """`that line's use goes to suspense, its hold is released`, the other lines are settled (section 2)."""
    world = opened(1_000)
    world.start(ask(10, asked=100), ask(20, asked=100))
    world.stop(use(reported, 10, set_aside=Suspense.UNUSABLE), use(30, 20))
    aside, charged = world.records[-1].usages
    assert (aside.used, aside.suspense, aside.set_aside, aside.cost) == (0, reported, Suspense.UNUSABLE, 0)
    assert (charged.used, charged.suspense, charged.set_aside, charged.cost) == (30, 0, Suspense.NONE, 30)
    assert world.money == (970, 0)


def test_use_in_another_unit_is_set_aside_as_what_it_was(opened: Opened) -> None:
    world = opened(1_000)
    world.start(ask(asked=100))
    world.update(use(40, unit=Kind.SECONDS))
    assert (world.usage.unit, world.usage.suspense, world.usage.set_aside) == (Kind.SECONDS, 40, Suspense.OTHER_UNIT)


def test_the_bound_is_configurable(opened: Opened) -> None:
    """`10 x the grant (configurable)`."""
    world = opened(100_000)
    world.start(ask(asked=100))
    world.update(use(500, maximum=200), overrun_factor=3)
    assert (world.usage.used, world.usage.suspense) == (300, 200)


def test_the_bound_is_of_all_a_line_reports_in_a_request(opened: Opened) -> None:
    """`several MSCCs of one rating group in a CCR are summed first`: the bound is of their sum."""
    world = opened(100_000)
    world.start(ask(asked=100))
    world.update(use([600, 600], maximum=500))
    assert sum(usage.used for usage in world.records[-1].usages) == 1_000
    assert sum(usage.suspense for usage in world.records[-1].usages) == 200


def test_an_overrun_in_two_reports_is_flagged(opened: Opened) -> None:
    """The sum of the reports is beyond the grant, neither of them is."""
    world = opened(1_000)
    world.start(ask(asked=100))
    world.update(use([60, 60]))
    assert world.flagged(Flag.OVERRUN)


def paid_for(world: Counterparts) -> list[tuple[int, int]]:
    """(cost of the usage, what the entries that name it say) of the last record."""
    record = world.records[-1]
    return [
        (usage.cost, -sum(entry.amount for entry in record.entries if entry.line == at))
        for at, usage in enumerate(record.usages)
    ]


def test_an_entry_names_the_usage_it_pays(opened: Opened) -> None:
    """`usage record` of a ledger entry (section 1); Entry.line: index of the usage it pays."""
    world = opened(1_000)
    world.start(ask(20, asked=500))
    world.update(ask(10, asked=100), use(70, 20))
    assert paid_for(world) == [(70, 70), (0, 0)]  # and the grant of the other line is on record


def test_an_entry_names_the_usage_it_pays_when_a_line_has_two(opened: Opened) -> None:
    """The same with a report for each tariff period."""
    world = opened(1_000)
    world.start(ask(asked=500))
    world.update(use([70, 30]))
    assert paid_for(world) == [(70, 70), (30, 30)]


# --- requests without a wish ----------------------------------------------------------------------------------


def test_an_update_without_a_wish_settles_and_grants_nothing(opened: Opened) -> None:
    """`U without RSU: settle, release, no grant`; even of no use at all."""
    world = opened(1_000)
    world.start(ask(asked=300))
    settled = world.update(ask(asked=-1))
    assert (settled.result, only(settled).result) == (Result.OK, Result.NO_GRANT)
    assert world.money == (1_000, 0)
    assert world.session().state == SessionState.OPEN


def test_a_termination_grants_nothing_whatever_it_asks(opened: Opened) -> None:
    """`T: RSU ignored`."""
    world = opened(1_000)
    world.start(ask(asked=300))
    assert sum(grants(world.stop(ask(asked=300, used=10)))) == 0
    assert world.money == (990, 0)


def test_a_termination_releases_the_lines_it_does_not_name(opened: Opened) -> None:
    """Never leaves a hold (section 3)."""
    world = opened(1_000)
    world.start(ask(10, asked=300), ask(20, asked=300))
    world.stop(use(10, 10))
    assert world.money == (990, 0)


def test_zero_use_is_normal(opened: Opened) -> None:
    """`Zero use is normal`: settled, released, granted anew."""
    world = opened(1_000)
    world.start(ask(asked=300))
    assert only(world.update(ask(asked=200, used=0))).granted == 200
    assert world.money == (1_000, 200)


def test_lines_not_mentioned_keep_their_holds(opened: Opened) -> None:
    """`Lines not mentioned keep their holds`."""
    world = opened(1_000)
    world.start(ask(10, asked=300), ask(20, asked=200))
    world.update(ask(10, asked=100, used=50))
    assert world.money == (950, 300)
    assert world.line(20).granted == 200


# --- expiry ---------------------------------------------------------------------------------------------------


def test_validity_ends_no_later_than_the_expiry_of_a_bucket_held(opened: Opened) -> None:
    """`Validity-Time ends no later than the expiry of any bucket held`."""
    world = opened(1_000)
    world.grant_bucket(Kind.OCTETS, 50, until_ms=world.now_ms + 3 * MINUTE)
    assert only(world.start(ask(asked=100, by=DATA), session="a")).validity_ms == 3 * MINUTE
    assert only(world.start(ask(asked=100, by=DATA), session="b")).validity_ms == 10 * MINUTE


def test_use_timed_before_the_expiry_is_paid_from_the_hold(opened: Opened) -> None:
    """`use timed before the expiry is paid from the held amount`; `what is released ... lapses in the same call`."""
    world = opened(1_000)
    of = world.grant_bucket(Kind.OCTETS, 100, until_ms=world.now_ms + MINUTE)
    world.start(ask(asked=100, by=DATA))
    world.wait(MINUTE + 5_000)
    world.stop(use(60, by=DATA, at_ms=world.now_ms - 6_000))
    assert world.money == (1_000, 0)
    paid, lapsed = world.records[-1].entries
    assert (paid.bucket, paid.amount, paid.counter_account) == (of, -60, "revenue")
    assert (lapsed.bucket, lapsed.amount, lapsed.after, lapsed.counter_account) == (of, -40, 0, "expiry")


def test_use_timed_after_the_expiry_is_not_paid_from_the_bucket(opened: Opened) -> None:
    """It is money's: the bucket was no longer there when it happened. Of volume only the interval is known in which it
    was used, and that began before: see above."""
    world = opened(1_000)
    of = world.grant_bucket(Kind.OCTETS, 100, until_ms=world.now_ms + MINUTE)
    world.start(ask(asked=100, by=DATA))
    world.wait(MINUTE + 5_000)
    world.update(use(0, by=DATA, at_ms=world.now_ms))
    world.wait(1_000)
    world.stop(use(60, by=DATA, at_ms=world.now_ms))
    assert world.money == (940, 0)
    assert not world.has_bucket(of)


def test_an_expired_bucket_keeps_what_is_held_of_it(opened: Opened) -> None:
    """A hold: nobody can `expire it`; the rest lapses with an entry when supervision looks."""
    world = opened()
    of = world.grant_bucket(Kind.OCTETS, 100, until_ms=world.now_ms + MINUTE)
    world.start(ask(asked=60, by=DATA, minimum=1))
    world.wait(MINUTE)
    world.expire("")
    assert (world.bucket(of).amount, world.bucket(of).held) == (60, 60)
    assert [(e.amount, e.counter_account) for e in world.records[-1].entries] == [(-40, "expiry")]
    world.wait(MINUTE)
    world.expire()
    assert not world.has_bucket(of)
    assert [(e.amount, e.counter_account) for e in world.records[-1].entries] == [(-60, "expiry")]


def test_nothing_is_granted_from_an_expired_bucket(opened: Opened) -> None:
    """Valid until: the first instant it no longer pays, swept or not."""
    world = opened()
    world.grant_bucket(Kind.MONEY, 100, until_ms=world.now_ms + MINUTE)
    world.wait(MINUTE - 1)
    assert only(world.start(ask(asked=10), session="a")).granted == 10
    world.wait(1)
    assert world.start(ask(asked=10), session="b").result == Result.CREDIT_LIMIT


def test_an_expired_money_bucket_is_not_counted(opened: Opened) -> None:
    """Usable money only; FLAT costs one each."""
    world = opened(40)
    world.grant_bucket(Kind.MONEY, 100, until_ms=world.now_ms + MINUTE)
    world.wait(MINUTE)
    assert only(world.start(ask(asked=100, by=FLAT))).granted == 40
