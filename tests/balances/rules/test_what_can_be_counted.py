"""charging.md section 2: 2**53 is never passed, in either direction; what would pass it is set aside, never refused."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import pytest

from balances.keys import event_key
from balances.structs.charge import Action, Flag, Outcome, Phase, Result, Suspense
from balances.structs.posting import Posting
from balances.structs.record import Usage
from tariffs.ladder import Count, Ladder, StepDues
from tariffs.units import EXACT_MAX, Kind, SumRounding
from tests.balances.rules.account_harness import FREE, Counterparts, ask, bundle, grants, ladder, money, only, use
from tests.balances.rules.conftest import Opened

MEGABYTE = 2**20
BY_MEGABYTE = ladder(money(10_000, MEGABYTE))
SMS = ladder(money(70_000))


def set_aside(world: Counterparts) -> list[tuple[int, int, int]]:
    """Unit, what was charged and what was set aside, of each usage of the last record that set something aside."""
    found = [usage for usage in world.records[-1].usages if usage.suspense]
    assert all(usage.flags & Flag.SUSPENSE and usage.set_aside == Suspense.TOO_LARGE for usage in found)
    return [(usage.unit, usage.used, usage.suspense) for usage in found]


def refund_sms(world: Counterparts, units: int, **others: Any) -> Outcome:
    return world.event(
        ask(asked=units, by=SMS, unit=Kind.UNITS),
        action=Action.REFUND,
        refund_of=event_key("sms;1", 0),
        **others,
    )


# --- down ---------------------------------------------------------------------------------------------------------


def test_debt_ends_where_counting_does(opened: Opened) -> None:
    """`Credit limit 9007199254.740991, adjustment of minus that, a T of 1 MB of a session never begun`."""
    world = opened(0, credit_limit=EXACT_MAX)
    world.topup(-EXACT_MAX)
    assert world.money == (-EXACT_MAX, 0)
    ended = world.stop(use(MEGABYTE, by=BY_MEGABYTE))
    assert (ended.result, world.money) == (Result.SESSION_UNKNOWN, (-EXACT_MAX, 0))
    assert set_aside(world) == [(Kind.OCTETS, 0, MEGABYTE)]
    world.topup(10_000)
    world.stop(use(MEGABYTE, by=BY_MEGABYTE), session="another")
    assert (world.money, set_aside(world)) == ((-EXACT_MAX, 0), [])


def test_use_is_charged_up_to_there(opened: Opened) -> None:
    """Three blocks are used, two can still be owed: the third is set aside."""
    world = opened(0, credit_limit=EXACT_MAX)
    world.topup(20_000 - EXACT_MAX)
    world.stop(use(3 * MEGABYTE, by=BY_MEGABYTE))
    assert (world.money, world.usage.cost) == ((-EXACT_MAX, 0), 20_000)
    assert set_aside(world) == [(Kind.OCTETS, 2 * MEGABYTE, MEGABYTE)]
    assert world.line().total == 2 * MEGABYTE


def test_a_report_beyond_every_price_is_charged_up_to_there(opened: Opened) -> None:
    world = opened(1_000)
    by = ladder(money(2**52))
    world.request(Phase.RECORD, [use(5, by=by)])
    assert (world.status, world.money[0]) == ("ok", 1_000 - 2**52)
    assert set_aside(world) == [(Kind.OCTETS, 1, 4)]


def test_a_hold_whose_money_others_used_up_is_charged_as_far_as_it_can_be(opened: Opened) -> None:
    world = opened(1_000)
    world.start(ask(asked=1_000), session="holds")
    world.topup(-EXACT_MAX)
    assert world.money == (1_000 - EXACT_MAX, 1_000)
    world.request(Phase.RECORD, [use(600)], session="other")
    world.stop(use(1_000), session="holds")
    assert world.money == (-EXACT_MAX, 0)
    assert set_aside(world) == [(Kind.OCTETS, 400, 600)]


def test_a_line_counts_no_further_than_that(opened: Opened) -> None:
    """Free use costs nothing, and is counted as far as there are numbers."""
    world = opened()
    world.start(ask(by=FREE))
    for used in (EXACT_MAX - 10, 4, 20):
        world.request(Phase.RECORD, [use(used, by=FREE)])
    assert world.line().total == EXACT_MAX
    assert set_aside(world) == [(Kind.OCTETS, 6, 14)]
    world.update(ask(by=FREE))
    assert world.line().granted == 0


@pytest.mark.parametrize("block", [7, 2**52, EXACT_MAX])
def test_a_started_block_is_counted_whole(opened: Opened, block: int) -> None:
    world = opened()
    by = ladder(money(1, block))
    world.request(Phase.RECORD, [use(EXACT_MAX, by=by)])
    line = world.line()
    assert line.total + line.paid_ahead <= EXACT_MAX
    assert line.total == EXACT_MAX - EXACT_MAX % block
    assert world.money == (-(EXACT_MAX // block), 0)
    assert sum(usage.used + usage.suspense for usage in world.records[-1].usages) == EXACT_MAX


def test_counters_say_no_more_than_that(opened: Opened) -> None:
    world = opened(1_000)
    by = ladder(money(0, counter="used", counter_reach=EXACT_MAX), money(1), counts=[Count("used")])
    for session in "ab":
        world.request(Phase.RECORD, [use(EXACT_MAX - 1, by=ladder(money(0), counts=[Count("used")]))], session=session)
    assert world.counter("used") == (EXACT_MAX, 0)
    world.request(Phase.RECORD, [use(5, by=by)], session="c")
    assert (world.counter("used"), world.usage.cost) == ((EXACT_MAX, 0), 5)


def test_counters_hold_no_more_than_that(opened: Opened) -> None:
    world = opened()
    by = ladder(money(0), counts=[Count("used")])
    for session in "abc":
        world.start(ask(asked=EXACT_MAX - 3, maximum=EXACT_MAX, by=by), session=session)
    assert world.counter("used") == (0, EXACT_MAX)
    refused = world.event(ask(asked=5, by=by, unit=Kind.UNITS, whole=True))
    assert only(refused).result == Result.CREDIT_LIMIT
    world.stop(use(1, by=by), session="a")
    world.stop(use(3, by=by), session="b")
    assert world.counter("used") == (4, 0)


def test_session_totals_say_no_more_than_that(opened: Opened) -> None:
    world = opened()
    by = ladder(money(2**52))
    for number in range(3):
        world.topup(2**52)
        assert world.request(Phase.RECORD, [use(1, 10 + number, by=by)]).cost == 2**52
    assert world.repeat().debited == EXACT_MAX
    assert world.money == (0, 0)


def test_what_a_line_has_paid_is_counted_as_far_as_there_are_numbers(opened: Opened) -> None:
    world = opened()
    by = ladder(money(2**51))
    for _ in range(5):
        world.topup(2**51)
        world.request(Phase.RECORD, [use(1, by=by)])
    assert (world.line().debited, world.money) == (3 * 2**51, (2 * 2**51, 0))
    assert set_aside(world) == [(Kind.OCTETS, 0, 1)]


def test_credit_is_given_as_far_as_it_can_be_counted(opened: Opened) -> None:
    """A limit as large as there is, and money besides: what is held is exact, and all of it can be charged."""
    world = opened(5, credit_limit=EXACT_MAX)
    bonus = world.grant_bucket(Kind.MONEY, 10)
    assert grants(world.start(ask(asked=EXACT_MAX, maximum=EXACT_MAX))) == [EXACT_MAX]
    assert (world.bucket(bonus).held, world.money) == (10, (5, EXACT_MAX - 10))
    world.stop(use(EXACT_MAX))
    assert (world.money, set_aside(world)) == ((5 - (EXACT_MAX - 10), 0), [])


# --- up -----------------------------------------------------------------------------------------------------------


def test_a_refund_is_given_up_to_there(opened: Opened) -> None:
    """`SMS debited 0.07, top-up 9007199254.740991, REFUND_ACCOUNT: the same at the other end.`"""
    world = opened(70_000)
    world.event(ask(asked=1, by=SMS, unit=Kind.UNITS))
    world.topup(EXACT_MAX)
    refunded = refund_sms(world, 1)
    assert (refunded.result, refunded.cost, world.money) == (Result.OK, 0, (EXACT_MAX, 0))
    assert set_aside(world) == [(Kind.MONEY, 0, -70_000)]
    again = refund_sms(world, 1)
    assert (again.result, world.money) == (Result.TOO_MUCH, (EXACT_MAX, 0))


def test_the_part_of_a_refund_that_there_is_room_for_is_given(opened: Opened) -> None:
    world = opened(70_000)
    world.event(ask(asked=1, by=SMS, unit=Kind.UNITS))
    world.topup(EXACT_MAX - 30_000)
    assert (refund_sms(world, 0).cost, world.money) == (-30_000, (EXACT_MAX, 0))
    assert set_aside(world) == [(Kind.MONEY, 0, -40_000)]


def test_units_are_given_back_up_to_there(opened: Opened) -> None:
    world = opened()
    free = world.grant_bucket(Kind.UNITS, 10)
    by = ladder(bundle(Kind.UNITS), money(1))
    world.event(ask(asked=10, by=by, unit=Kind.UNITS))
    other = world.grant_bucket(Kind.UNITS, EXACT_MAX - 4)
    world.event(ask(asked=0, unit=Kind.UNITS), action=Action.REFUND, refund_of=event_key("sms;1", 0), number=1)
    left = sum(world.bucket(of).amount for of in (free, other) if world.has_bucket(of))
    assert left == EXACT_MAX
    assert set_aside(world) == [(Kind.UNITS, 0, -6)]


@pytest.mark.parametrize("kind", [Kind.MONEY, Kind.OCTETS])
def test_a_top_up_that_would_pass_it_is_refused(opened: Opened, kind: Kind) -> None:
    """All an account has of one kind is counted together: what is settled is a sum."""
    world = opened()
    world.grant_bucket(kind, EXACT_MAX - 5)
    posted = world.post(_posting(kind, 6))
    assert posted is not None
    assert (world.status, posted.result) == ("refused", Result.TOO_MUCH)
    world.post(_posting(kind, 5))
    assert world.status == "ok"


def _posting(kind: Kind, amount: int) -> Posting:
    return Posting(-1, kind, amount, "topup", "bundle")


@pytest.mark.parametrize("amount", [EXACT_MAX + 1, -EXACT_MAX - 1])
@pytest.mark.parametrize("field", ["credit_limit", "suspend_below", "resume_at"])
def test_settings_beyond_what_can_be_counted_are_refused(opened: Opened, field: str, amount: int) -> None:
    assert opened().settings(**{field: amount}) == "refused"


# --- enquiries ----------------------------------------------------------------------------------------------------


def test_a_price_that_cannot_be_counted_is_no_price(opened: Opened) -> None:
    world = opened(100)
    enquiry = world.event(ask(asked=3, by=ladder(money(2**52)), unit=Kind.UNITS), action=Action.PRICE)
    assert (only(enquiry).result, only(enquiry).cost) == (Result.TOO_MUCH, 0)
    assert not world.event(ask(asked=EXACT_MAX, by=SMS, unit=Kind.UNITS), action=Action.CHECK, number=1).enough


# --- anything -----------------------------------------------------------------------------------------------------


def numbers_in(thing: Any) -> list[int]:
    if isinstance(thing, msgspec.Struct):
        thing = list(msgspec.structs.astuple(thing))
    if isinstance(thing, list):
        return [number for one in thing for number in numbers_in(one)]
    return [thing] if isinstance(thing, int) else []


def at_the_ends(rng: Random) -> int:
    return max(rng.choice((0, 1, 2**26, 2**52, EXACT_MAX)) + rng.randint(-3, 3), 0) & (2**53 - 1)


def dues_at_the_ends(rng: Random) -> StepDues:
    fee, most = rng.choice((0, at_the_ends(rng))), rng.choice((0, 0, 0, at_the_ends(rng)))
    off, to = rng.choice((0, 0, min(at_the_ends(rng), EXACT_MAX - most))), rng.choice((0, 0, 10, at_the_ends(rng)))
    return StepDues(fee=fee, most=most, off=off, to=to, rounding=rng.choice(list(SumRounding)))


@pytest.mark.parametrize("seed", range(25))
def test_nothing_ever_passes_it_and_no_use_is_lost(opened: Opened, seed: int) -> None:
    """Random use, refunds and postings of amounts near the ends: every number of every record and state stays within,
    every report is charged or set aside to the last unit, and nothing is refused that reports."""
    rng = Random(seed)
    world = opened(0, credit_limit=rng.choice((0, 1, EXACT_MAX)))
    counts = Count("c", rng.randrange(2))  # units or money: one thing a counter
    for turn in range(40):
        price, block = max(at_the_ends(rng), 1), max(at_the_ends(rng), 1)
        by = Ladder(
            (money(0, block, counter="c", counter_reach=at_the_ends(rng), dues=1), money(price, block, dues=1)),
            (dues_at_the_ends(rng),),
            (counts,),
        )
        session, used = f"s{rng.randrange(4)}", at_the_ends(rng)
        match rng.randrange(6):
            case 0:
                world.start(ask(asked=at_the_ends(rng), maximum=EXACT_MAX, by=by), session=session)
            case 1 | 2:
                phase = rng.choice((Phase.UPDATE, Phase.STOP, Phase.RECORD))
                world.request(phase, [use(used, by=by)], session=session)
                usages = [usage for usage in world.records[-1].usages if usage.used or usage.suspense]
                assert sum(usage.used + usage.suspense for usage in usages) == used
            case 3:
                world.event(ask(asked=used, by=by, unit=Kind.UNITS, whole=True), number=turn)
            case 4:
                original = event_key("sms;1", rng.randrange(40))
                world.event(
                    ask(asked=rng.choice((0, 1, used)), by=by, unit=rng.choice((Kind.UNITS, Kind.MONEY))),
                    action=Action.REFUND,
                    refund_of=original,
                    number=100 + turn,
                )
            case _:
                world.topup(rng.choice((-1, 1)) * at_the_ends(rng))
        assert world.status in ("ok", "again", "refused")
        assert all(abs(number) <= EXACT_MAX for number in numbers_in(world.account))
        assert all(abs(number) <= EXACT_MAX for number in numbers_in(world.records[-1]))
        assert all(abs(usage.cost) <= EXACT_MAX for usage in world.records[-1].usages)


# --- the bound of overrun -----------------------------------------------------------------------------------------


def overrun(world: Counterparts, granted: int, used: int, **quota: Any) -> Usage:
    world.start(ask(asked=granted, **quota))
    world.stop(use(used, **quota))
    return world.usage


def test_a_tiny_last_grant_loses_no_revenue(opened: Opened) -> None:
    """`Grant of 10 octets left of a paid block, 3 blocks used`: within the maximum quota all of it is charged."""
    world = opened(10_000)
    by = ladder(money(10_000, MEGABYTE))
    quota: dict[str, Any] = {"by": by, "maximum": 1_000 * MEGABYTE}
    world.start(ask(asked=MEGABYTE - 10, **quota))
    granted = world.update(ask(asked=10, used=MEGABYTE - 10, **quota))
    assert grants(granted) == [10]
    world.stop(use(3 * MEGABYTE, **quota))
    assert (world.usage.used, world.usage.suspense, world.usage.cost) == (3 * MEGABYTE, 0, 30_000)


@pytest.mark.parametrize(
    ("granted", "maximum", "default", "bound"),
    [(100, 500, 100, 1_000), (20, 500, 100, 500), (20, 0, 100, 200), (5, 0, 100, 100)],
    ids=["ten grants", "the maximum", "ten grants, no maximum", "the default, no maximum"],
)
def test_use_above_the_bound_is_set_aside(opened: Opened, granted: int, maximum: int, default: int, bound: int) -> None:
    """`above the larger of 10 x the grant and the maximum quota`."""
    world = opened(100_000)
    charged = overrun(world, granted, bound + 7, maximum=maximum, default=default)
    assert (charged.used, charged.suspense, charged.cost) == (bound, 7, bound)


@pytest.mark.parametrize(("maximum", "default", "bound"), [(500, 100, 5_000), (0, 100, 1_000)])
def test_without_a_grant_the_bound_is_ten_quotas(opened: Opened, maximum: int, default: int, bound: int) -> None:
    """`without a grant: 10 x the maximum, or of the default quota where there is no maximum`."""
    world = opened(100_000)
    world.stop(use(bound + 7, maximum=maximum, default=default))
    assert (world.usage.used, world.usage.suspense) == (bound, 7)


def test_use_by_time_that_began_before_1970_is_of_one_piece(opened: Opened) -> None:
    """An instant of 0 says that nothing changes, and not that something does then."""
    world = opened(0)
    by: dict[str, Any] = {"by": FREE, "unit": Kind.SECONDS, "maximum": 0}
    seconds = world.now_ms // 1_000 + 1
    world.start(ask(asked=seconds, **by))
    world.stop(use(seconds, at_ms=world.now_ms, **by))
    assert [(usage.used, usage.at_ms) for usage in world.records[-1].usages] == [(seconds, world.now_ms)]
