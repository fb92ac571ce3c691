"""charging.md section 4 (and CC-Money of section 2): the price of a line, however it is cut."""

from __future__ import annotations

import pytest

from balances.structs.account import COUNTER_KEPT_MS
from balances.structs.charge import Flag, Phase, Result, Suspense
from balances.structs.session import SessionState
from tariffs.ladder import Count, Ladder
from tariffs.units import Kind, Rounding, SumRounding
from tests.balances.rules.account_harness import HOUR, MINUTE, Counterparts, ask, bundle, ladder, money, only, use
from tests.balances.rules.conftest import Opened

BLOCKS = ladder(money(10, block=60))
CUTS = [[200], [100, 100], [1] * 20 + [180], [59, 1, 60, 61, 19], [0, 200, 0]]


def spend(world: Counterparts, cuts: list[int], by: Ladder, *, grant: int, unit: Kind = Kind.OCTETS) -> None:
    """A session that reports its use in these pieces; grant -1: it never asks for units (postpaid)."""
    world.request(Phase.START, [ask(asked=grant, by=by, unit=unit)] if grant > 0 else [])
    for cut in cuts[:-1]:
        world.update(ask(asked=grant, used=cut, by=by, unit=unit))
    world.stop(use(cuts[-1], by=by, unit=unit))


@pytest.mark.parametrize("grant", [-1, 70, 500], ids=["postpaid", "small grants", "large grants"])
@pytest.mark.parametrize("cuts", CUTS, ids=str)
@pytest.mark.parametrize(
    ("by", "price"),
    [
        (BLOCKS, 40),
        (ladder(money(7, per=3)), 467),
        (ladder(money(1, per=3, rounding=Rounding.DOWN)), 66),
        (ladder(money(1, per=3, rounding=Rounding.HALF_UP)), 67),
        (ladder(money(10, block=60), fee=25), 65),
        (ladder(money(7, per=3), off=300), 167),
        (ladder(money(7, per=3), off=300, least=40, most=120), 120),
        (ladder(money(7, per=3), fee=25, off=500), 25),
        (ladder(money(7, per=3), to=100, rounding=SumRounding.UP), 500),
        (ladder(money(7, per=3), to=100, rounding=SumRounding.DOWN, fee=25), 425),
        (ladder(money(7, per=3), to=30, rounding=SumRounding.HALF_UP, off=2), 480),
        (ladder(money(1, 2), to=40, rounding=SumRounding.HALF_EVEN), 80),
        (ladder(money(500, block=60, reach=60), money(2)), 780),
        (ladder(money(3, reach=50), money(0)), 150),
        (ladder(money(9, block=7, reach=100), money(4, block=30)), 151),
    ],
    ids=[
        "blocks",
        "fraction up",
        "fraction down",
        "fraction half up",
        "fee",
        "off",
        "off and bounds",
        "all off",
        "rounded up",
        "rounded down",
        "rounded half up",
        "rounded half even",
        "minimum",
        "maximum",
        "two steps",
    ],
)
def test_cutting_a_session_into_reports_never_changes_its_price(
    opened: Opened, by: Ladder, price: int, cuts: list[int], grant: int
) -> None:
    """`cutting a session into reports, prepaid or postpaid, never changes its price`."""
    world = opened(100_000)
    spend(world, cuts, by, grant=grant)
    assert world.money == (100_000 - price, 0)
    assert world.line().debited == price


def test_what_is_off_is_granted_without_money_and_goes_on_under_another_price(opened: Opened) -> None:
    """`the first so much of what money pays of a line is not charged`: also where its price changes meanwhile."""
    world = opened(10)
    started = world.start(ask(asked=500, by=ladder(money(1), off=100)))
    assert (only(started).granted, only(started).final, world.money) == (110, True, (10, 10))
    world.update(ask(asked=20, used=70, by=ladder(money(2), tag="t@2")))
    assert (world.money, world.line().debited) == ((10, 10), 0)
    world.stop(use(18, by=ladder(money(9), tag="t@3")))
    assert (world.money, world.line().debited) == ((4, 0), 6)


def test_a_grant_holds_what_rounding_may_make_due(opened: Opened) -> None:
    """`A grant holds what the rounded sum would grow by, so its use is always covered`; what the rest would bring to
    the next multiple is not granted."""
    world = opened(25)
    by = ladder(money(1), to=10, rounding=SumRounding.HALF_UP)
    started = world.start(ask(asked=100, by=by))
    assert (only(started).granted, only(started).final, world.money) == (24, True, (25, 20))
    world.update(use(4, by=by))
    assert world.money == (25, 0)
    world.stop(use(20, by=by))
    assert world.money == (5, 0)


def test_a_rounded_line_whose_end_is_not_reported_costs_a_multiple(opened: Opened) -> None:
    """`nothing is left to be posted at its end, and nothing is wrong where that end is never reported`."""
    world = opened(1_000)
    by = ladder(money(1), to=10, rounding=SumRounding.UP)
    world.start(ask(asked=100, by=by))
    world.update(ask(asked=100, used=13, by=by))
    assert world.money == (980, 100)
    world.wait(HOUR)
    world.expire()
    assert world.money == (980, 0)
    world.stop(use(6, by=by))
    assert world.money == (980, 0)


@pytest.mark.parametrize("price", [0, 2], ids=["free", "priced"])
def test_what_rounding_has_left_is_due_with_the_next_unit_that_costs(opened: Opened, price: int) -> None:
    """`each time something is due of it`: 13 are 10 rounded down; then the line goes on under a price that rounds
    nothing. Free units make nothing due."""
    world = opened(1_000)
    by, after = ladder(money(1), to=10, rounding=SumRounding.DOWN), ladder(money(price))
    world.start(ask(asked=13, by=by))
    world.update(ask(asked=5, used=13, by=after))
    assert world.money[0] == 990
    world.stop(use(5, by=after))
    assert world.money == (990 - (13 - 10 + 5 * price if price else 0), 0)


def test_units_of_a_started_block_are_paid_ahead(opened: Opened) -> None:
    """`New use first consumes paid_ahead`."""
    world = opened(1_000)
    world.start(ask(by=BLOCKS))
    world.update(ask(used=10, by=BLOCKS))
    assert (world.money[0], world.line().paid_ahead) == (990, 50)
    world.update(ask(used=50, by=BLOCKS))
    assert (world.money[0], world.line().paid_ahead) == (990, 0)
    world.update(ask(used=1, by=BLOCKS))
    assert (world.money[0], world.line().paid_ahead) == (980, 59)


def test_units_paid_ahead_are_not_held_again(opened: Opened) -> None:
    """A grant costs only the blocks it begins: 50 are paid, so 100 take one block more."""
    world = opened(1_000)
    world.start(ask(asked=100, by=BLOCKS))
    assert only(world.update(ask(asked=100, used=10, by=BLOCKS))).granted == 100
    assert world.money == (990, 10)


def test_the_parallel_use_of_a_tier_costs_what_the_counter_costs(opened: Opened) -> None:
    """`With a shared counter ... the price of the counter's total is what is invariant`."""
    by = ladder(money(10, counter="tier", counter_reach=100), money(1), counts=[Count("tier")])
    world = opened(10_000)
    for session in ("a", "b"):
        world.start(ask(by=by), session=session)
    for used in (30, 70, 25):
        for session in ("a", "b"):
            world.update(ask(used=used, by=by), session=session)
    for session in ("a", "b"):
        world.stop(use(0, by=by), session=session)
    assert world.counter("tier") == (250, 0)
    assert world.money == (10_000 - 100 * 10 - 150, 0)


def test_use_of_a_period_that_is_over_finds_its_counter(opened: Opened) -> None:
    """What is reported late, and held by nobody any more, is priced by the period in which it was used."""
    world = opened(10_000)
    midnight_ms = world.now_ms + HOUR
    count = Count("day:1", until_ms=midnight_ms)
    by = ladder(money(10, counter="day:1", counter_reach=100), money(1), counts=[count])
    world.start(ask(by=by))
    world.update(ask(used=100, by=by))
    world.wait(2 * HOUR)
    world.expire()
    world.topup(1)
    world.start(ask(by=by), session="late")
    world.stop(use(50, by=by), session="late")
    assert world.money[0] == 10_001 - 1_000 - 50
    world.wait(COUNTER_KEPT_MS)
    world.topup(1)
    assert world.counter("day:1") == (0, 0)


# --- the ladder of the hold -------------------------------------------------------------------------------------


def test_a_report_is_settled_with_the_ladder_of_its_hold(opened: Opened) -> None:
    """`the tariff in force now prices only the new grant`."""
    world = opened(10_000)
    world.start(ask(asked=100))
    world.update(ask(asked=100, used=100, by=ladder(money(50), tag="t@2")))
    assert world.usage.tag == "t@1"
    assert world.money == (9_900, 5_000)
    world.stop(use(10, by=ladder(money(7), tag="t@3")))
    assert world.usage.tag == "t@2"
    assert world.money == (9_400, 0)


def test_use_beyond_the_hold_is_settled_with_its_ladder_too(opened: Opened) -> None:
    """The report is one: its overrun is not priced by a tariff that was not yet in force."""
    world = opened(10_000)
    world.start(ask(asked=100))
    world.update(use(150, by=ladder(money(50), tag="t@2")))
    assert world.money == (9_850, 0)


def test_a_line_that_can_no_longer_be_rated_is_settled_by_its_stored_ladder(opened: Opened) -> None:
    """`5031 refuses only the new grant`."""
    world = opened(1_000)
    world.start(ask(asked=100))
    refused = world.update(ask(asked=100, used=40, by=None))
    assert (only(refused).result, only(refused).granted) == (Result.RATING_FAILED, 0)
    assert world.money == (960, 0)


@pytest.mark.parametrize("refusal", [Result.DENIED, Result.NOT_APPLICABLE])
def test_any_refusal_of_rating_settles_what_was_used(opened: Opened, refusal: Result) -> None:
    """`use is settled all the same` (4010, 4011)."""
    world = opened(1_000)
    world.start(ask(asked=100))
    assert only(world.update(ask(used=40, by=None, refusal=refusal))).result == refusal
    assert world.money == (960, 0)


def test_use_that_no_ladder_was_ever_known_for_is_not_lost(opened: Opened) -> None:
    """A report of a line never granted that cannot be rated: on record as suspense, visible."""
    world = opened(1_000)
    world.start(ask(10))
    world.update(ask(20, -1, used=40, by=None))
    assert (world.usage.suspense, world.usage.used, world.usage.cost) == (40, 0, 0)
    assert world.flagged(Flag.SUSPENSE)
    assert world.usage.set_aside == Suspense.NO_PRICE
    assert world.money == (1_000, 100)


# --- fees -----------------------------------------------------------------------------------------------------


WITH_FEE = ladder(money(1), fee=50)


def test_a_setup_fee_is_held_first_and_debited_with_the_first_unit(opened: Opened) -> None:
    """`held at I, debited with the first used unit, once per line`."""
    world = opened(1_000)
    world.start(ask(asked=100, by=WITH_FEE))
    assert world.money == (1_000, 150)
    world.update(ask(asked=100, used=1, by=WITH_FEE))
    assert world.money == (949, 100)
    world.stop(use(9, by=WITH_FEE))
    assert world.money == (940, 0)


def test_a_setup_fee_is_not_debited_for_zero_use(opened: Opened) -> None:
    """`never on refusal or zero use`."""
    world = opened(1_000)
    world.start(ask(asked=100, by=WITH_FEE))
    world.update(ask(asked=100, used=0, by=WITH_FEE))
    assert world.money == (1_000, 150)
    world.stop(use(0, by=WITH_FEE))
    assert world.money == (1_000, 0)


def test_a_setup_fee_is_due_for_each_line(opened: Opened) -> None:
    """`once per line`."""
    world = opened(1_000)
    world.start(ask(10, asked=100, by=WITH_FEE), ask(20, asked=100, by=WITH_FEE))
    assert world.money == (1_000, 300)
    world.stop(use(10, 10, by=WITH_FEE), use(10, 20, by=WITH_FEE))
    assert world.money == (880, 0)


@pytest.mark.parametrize(("balance", "granted"), [(59, 0), (60, 60), (69, 60), (70, 100)])
def test_the_setup_fee_and_the_first_block_are_covered_or_nothing_is(
    opened: Opened, balance: int, granted: int
) -> None:
    """`If setup + first block is not covered: 4012`."""
    world = opened(balance)
    started = world.start(ask(asked=100, by=ladder(money(10, block=60), fee=50)))
    assert only(started).granted == granted
    assert (started.result == Result.CREDIT_LIMIT) == (granted == 0)
    assert world.money == (balance, 50 + 10 * (-(-granted // 60)) if granted else 0)


def test_a_setup_fee_stays_paid_when_the_tariff_changes(opened: Opened) -> None:
    """`once per line`, whatever ladder it climbs afterwards."""
    world = opened(1_000)
    world.start(ask(asked=10, by=WITH_FEE))
    world.update(ask(asked=10, used=10, by=ladder(money(2), fee=70)))
    world.stop(use(10, by=WITH_FEE))
    assert world.money == (1_000 - 60 - 20, 0)


def test_a_minimum_charge_is_due_with_the_first_unit(opened: Opened) -> None:
    """`a flat first step, held and debited at the first unit`."""
    by = ladder(money(500, block=60, reach=60), money(2))
    world = opened(1_000)
    world.start(ask(asked=1, by=by))
    assert world.money == (1_000, 500)
    world.update(ask(asked=100, used=1, by=by))
    assert world.money == (500, 82)  # 59 are paid, 41 cost 2 each
    world.stop(use(60, by=by))
    assert world.money == (498, 0)


def test_a_maximum_is_a_plateau(opened: Opened) -> None:
    """Beyond it use is granted and costs nothing; the balance need not cover more than the maximum."""
    by = ladder(money(1, reach=100), money(0))
    world = opened(100)
    assert only(world.start(ask(asked=5_000, by=by))).granted == 5_000
    assert world.money == (100, 100)
    world.stop(use(5_000, by=by))
    assert world.money == (0, 0)


# --- bundles --------------------------------------------------------------------------------------------------


MINUTES = ladder(bundle(Kind.SECONDS, block=60), money(10, block=60))


@pytest.mark.parametrize("cuts", [[70], [30, 40], [60, 10], [1] * 70], ids=["70", "30 40", "60 10", "by seconds"])
@pytest.mark.parametrize("grant", [-1, 70, 600])
def test_a_bundle_of_90_s_and_a_call_of_70_s(opened: Opened, cuts: list[int], grant: int) -> None:
    """[60/60, a bundle with 90 s left, one call of 70 s = two blocks: the bundle pays 90, money one block.]"""
    world = opened(1_000)
    of = world.grant_bucket(Kind.SECONDS, 90)
    spend(world, cuts, MINUTES, grant=grant, unit=Kind.SECONDS)
    assert world.bucket(of).amount == 0
    assert world.money == (990, 0)


def test_what_a_bundle_leaves_of_a_block_is_rounded_anew(opened: Opened) -> None:
    """`goes to the next step and is rounded there anew`: the money block begins at 90 and reaches to 150."""
    world = opened(1_000)
    world.grant_bucket(Kind.SECONDS, 90)
    spend(world, [150], MINUTES, grant=-1, unit=Kind.SECONDS)
    assert world.money == (990, 0)


def test_a_bucket_of_another_service_does_not_pay(opened: Opened) -> None:
    """`scope (which services it may pay)`."""
    world = opened(1_000)
    of = world.grant_bucket(Kind.SECONDS, 90, scope=["voice"])
    spend(world, [60], MINUTES, grant=-1, unit=Kind.SECONDS)
    assert world.bucket(of).amount == 90
    assert world.money == (990, 0)


def test_a_bucket_that_is_not_valid_yet_does_not_pay(opened: Opened) -> None:
    """`valid from/until`."""
    world = opened(1_000)
    of = world.grant_bucket(Kind.SECONDS, 90, from_ms=world.now_ms + HOUR)
    world.start(ask(asked=60, by=MINUTES, unit=Kind.SECONDS))
    assert world.bucket(of).held == 0
    world.stop(use(60, by=MINUTES, unit=Kind.SECONDS))
    assert world.money == (990, 0)


def test_a_report_is_paid_from_the_buckets_its_hold_named(opened: Opened) -> None:
    """`a better bucket added meanwhile serves the next grant`."""
    world = opened(1_000)
    world.start(ask(asked=120, by=MINUTES, unit=Kind.SECONDS))
    of = world.grant_bucket(Kind.SECONDS, 600)
    world.update(ask(asked=120, used=120, by=MINUTES, unit=Kind.SECONDS))
    assert world.money == (980, 0)
    assert (world.bucket(of).amount, world.bucket(of).held) == (600, 120)


def test_a_report_is_paid_from_a_money_bucket_its_hold_named(opened: Opened) -> None:
    """The same among money buckets."""
    world = opened(1_000)
    world.start(ask(asked=100))
    of = world.grant_bucket(Kind.MONEY, 600)
    world.update(ask(asked=100, used=60))
    assert world.money == (940, 0)
    assert (world.bucket(of).amount, world.bucket(of).held) == (600, 100)


def test_buckets_pay_by_priority_then_soonest_expiry_then_id(opened: Opened) -> None:
    """`Order of payment: step order, priority, soonest expiry, id` (section 5)."""
    world = opened(1_000)
    now = world.now_ms
    later = world.grant_bucket(Kind.MONEY, 10, until_ms=now + 2 * HOUR)
    never = world.grant_bucket(Kind.MONEY, 10)
    sooner = world.grant_bucket(Kind.MONEY, 10, until_ms=now + HOUR)
    same = world.grant_bucket(Kind.MONEY, 10, until_ms=now + 2 * HOUR)
    first = world.grant_bucket(Kind.MONEY, 10, priority=1)
    world.start(ask(asked=55, validity_ms=MINUTE))
    world.stop(use(55))
    assert [e.bucket for e in world.records[-1].entries] == [first, sooner, later, same, never, 0]


# --- lines ----------------------------------------------------------------------------------------------------


def test_a_report_naming_only_the_rating_group_matches_its_only_live_line(opened: Opened) -> None:
    """`A report naming only the rating group matches its only live line`."""
    world = opened(1_000)
    world.start(ask(10, asked=100, service_id=3, by=BLOCKS))
    world.update(ask(10, asked=100, used=30, by=BLOCKS))
    assert len(world.session().lines) == 1
    assert world.money == (990, 20)
    world.stop(use(30, by=BLOCKS))
    assert world.money == (990, 0)


def test_it_matches_its_only_line_also_when_the_hold_of_that_has_expired(opened: Opened) -> None:
    """The line goes on as it was: what it has paid ahead and its fee are not paid again (`once per line`)."""
    by = ladder(money(10, 60), fee=25)
    world = opened(1_000)
    world.start(ask(10, asked=100, service_id=3, by=by, validity_ms=MINUTE))
    world.update(ask(10, asked=100, used=30, by=by, validity_ms=MINUTE))
    assert world.money[0] == 1_000 - 25 - 10
    world.wait(10 * MINUTE)
    assert world.expire() == "ok"
    assert world.session().state == SessionState.ABANDONED
    world.update(ask(10, asked=100, used=30, by=by))
    assert world.money[0] == 1_000 - 25 - 10
    assert len(world.session().lines) == 1
    world.stop(use(60, by=by))
    assert world.money == (1_000 - 25 - 20, 0)


def test_of_several_lines_without_a_hold_it_matches_none(opened: Opened) -> None:
    world = opened(1_000)
    world.start(ask(10, asked=100, service_id=3), ask(10, asked=100, service_id=4))
    world.update(use(10, service_id=3), use(20, service_id=4))
    world.stop(use(30))
    assert world.money == (940, 0)
    assert [line.total for line in world.session().lines] == [10, 20, 30]


def test_two_reports_of_one_line_are_one_use(opened: Opened) -> None:
    """`several MSCCs of one rating group in a CCR are summed first`; one started block, not two."""
    world = opened(1_000)
    world.start(ask(asked=100, by=BLOCKS))
    world.update(use([20, 30], by=BLOCKS))
    assert world.money == (990, 0)
    assert world.line().total == 50


def test_only_the_unit_that_was_granted_is_charged(opened: Opened) -> None:
    """CC-Time beside octets is not charged (field-notes.md); the line's unit is fixed by its first grant."""
    world = opened(1_000)
    world.start(ask(asked=100))
    report = ask(used=40)
    report.reports[0].seconds = 99_999
    world.update(report)
    assert world.money == (960, 100)


# --- CC-Money -------------------------------------------------------------------------------------------------


def test_money_is_held_and_settled_one_to_one(opened: Opened) -> None:
    """`CC-Money holds and settles money 1:1, no ladder` (section 2)."""
    world = opened(1_000)
    started = world.start(ask(asked=500, unit=Kind.MONEY))
    assert (only(started).granted, only(started).unit) == (500, Kind.MONEY)
    assert world.money == (1_000, 500)
    assert world.stop(use(300, unit=Kind.MONEY)).cost == 300
    assert world.money == (700, 0)


def until(end_ms: int) -> Ladder:
    """20 for each 60, and what is paid and not used lapses then."""
    return ladder(money(20, block=60, ends_ms=end_ms))


def test_a_block_that_lapses_is_nothing_to_use_without_a_grant(opened: Opened) -> None:
    """`Volume without a grant ... counts when it is reported, and a block of the period before is nothing to it.`"""
    world = opened()
    end_ms = world.now_ms + HOUR
    world.topup(1_000)
    world.start(ask(asked=-1, by=until(end_ms)))
    assert world.update(use(30, by=until(end_ms))).cost == 20
    world.now_ms += 30 * MINUTE
    assert world.update(use(10, by=until(end_ms))).cost == 0
    world.now_ms += 30 * MINUTE
    assert world.update(use(10, by=until(end_ms + HOUR))).cost == 20
    assert world.stop(use(50, by=until(end_ms + HOUR))).cost == 0


def test_what_was_granted_has_the_block_that_was_paid_then(opened: Opened) -> None:
    """`However late it is reported.` What goes beyond it has not."""
    world = opened()
    end_ms = world.now_ms + HOUR
    world.topup(1_000)
    world.start(ask(asked=10, by=until(end_ms)))
    assert world.update(ask(asked=30, used=10, by=until(end_ms))).cost == 20
    world.now_ms += HOUR + 1
    assert world.update(ask(asked=30, used=30, by=until(end_ms + HOUR))).cost == 0  # 10 + 30 of the 60 of then
    world.now_ms += HOUR
    assert world.stop(use(40, by=until(end_ms + 2 * HOUR))).cost == 40  # 30 of a block, and 10 of another one
