"""charging.md section 4, "Rounding of a session": what its lines come to together is rounded, at any time."""

from __future__ import annotations

from fractions import Fraction
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from balances import keys
from balances.ledger.terms import tags_in
from balances.structs.account import MAIN
from balances.structs.charge import Action, Outcome, Result
from balances.structs.session import RoundedSum, Session
from tariffs.ladder import Count, Ladder
from tariffs.units import EXACT_MAX, Kind, SumRounding, largest_covered, most_rounded, round_sum
from tests.balances.rules.account_harness import ACCOUNT, HOUR, ask, ladder, money, only, use
from tests.balances.rules.conftest import Opened
from tests.balances.rules.test_random_sessions import random_ladder
from tests.tariffs.blockwise import Blockwise, BlockwiseFunds, multiple

UP, DOWN, HALF_UP, HALF_EVEN = SumRounding.UP, SumRounding.DOWN, SumRounding.HALF_UP, SumRounding.HALF_EVEN
RAWS = list[msgspec.Raw]
CENTS = ladder(money(1), session=(10, HALF_UP))


def costs(outcome: Outcome) -> list[int]:
    return [line.cost for line in outcome.lines]


def with_session(by: Ladder, to: int, rounding: int) -> Ladder:
    dues = tuple(msgspec.structs.replace(due, to=0) for due in by.dues)
    return msgspec.structs.replace(by, dues=dues, sum_to=to, sum_rounding=rounding)


# --- arithmetic


@given(st.integers(0, 60), st.integers(1, 12), st.sampled_from(SumRounding))
def test_the_most_that_a_sum_grows_by_is_that_wherever_it_stands(amount: int, to: int, rounding: SumRounding) -> None:
    """Two periods of the rounding are all places that differ."""
    grown = [round_sum(at + amount, to, rounding) - round_sum(at, to, rounding) for at in range(4 * to)]
    assert most_rounded(amount, to, rounding) == max(grown)


@given(st.integers(0, 200), st.integers(1, 12), st.sampled_from(SumRounding))
def test_what_money_covers_is_the_largest_amount(held: int, to: int, rounding: SumRounding) -> None:
    most = largest_covered(held, to, rounding)
    assert most_rounded(most, to, rounding) <= held < most_rounded(most + 1, to, rounding)


@given(st.integers(0, EXACT_MAX), st.integers(1, EXACT_MAX), st.sampled_from(SumRounding))
def test_what_is_covered_stays_below_2_53(held: int, to: int, rounding: SumRounding) -> None:
    assert most_rounded(max(largest_covered(held, to, rounding), 0), to, rounding) <= max(held, 0)


# --- what is charged


@pytest.mark.parametrize(
    ("rounding", "due"), [(UP, [10, 10, 0]), (DOWN, [0, 10, 0]), (HALF_UP, [10, 0, 10]), (HALF_EVEN, [0, 10, 10])]
)
def test_three_lines_are_rounded_together(opened: Opened, rounding: int, due: list[int]) -> None:
    """5, 11, 15: half of ten, then eleven, then half of ten again."""
    by, world = ladder(money(1), session=(10, rounding)), opened(1_000)
    world.start(*(ask(rg, 50, by=by) for rg in (10, 20, 30)))
    assert costs(world.update(use(5, 10, by=by), use(6, 20, by=by), use(4, 30, by=by))) == due
    assert world.session().sums == [RoundedSum(10, rounding, 15)]
    world.stop()
    assert world.money == (1_000 - sum(due), 0)


def test_of_a_session_whose_end_is_not_reported_the_rounded_sum_is_charged(opened: Opened) -> None:
    world = opened(1_000)
    world.start(ask(10, 50, by=CENTS), ask(20, 50, by=CENTS))
    world.update(ask(10, 50, used=4, by=CENTS))
    assert world.money[0] == 1_000
    world.update(ask(20, 50, used=4, by=CENTS))
    assert world.money[0] == 990
    world.wait(HOUR)
    assert world.expire() == "ok"
    assert world.money == (990, 0)


def test_late_use_goes_on_with_the_sum(opened: Opened) -> None:
    """4 and then 1 more are 5: half of ten."""
    world = opened(1_000)
    world.start(ask(10, 50, by=CENTS))
    assert world.stop(use(4, 10, by=CENTS)).cost == 0
    assert world.stop(use(1, 20, by=CENTS)).cost == 10


def test_a_new_incarnation_has_a_sum_of_its_own(opened: Opened) -> None:
    world = opened(1_000)
    world.start(ask(10, 50, by=CENTS))
    world.stop(use(4, by=CENTS))
    world.start(ask(10, 50, by=CENTS), number=0)
    assert world.stop(use(4, by=CENTS)).cost == 0
    assert world.session().incarnation == 2
    assert world.money == (1_000, 0)


def test_a_session_that_an_older_build_began_begins_its_sum_with_the_next_report(opened: Opened) -> None:
    """Its sessions had no place for sums, nor for what stands before them."""
    world = opened(1_000)
    world.start(ask(10, 50, by=CENTS))
    place = Session.__struct_fields__.index("identification")
    of, name = keys.account(ACCOUNT), "gw;1"
    for client in (world.twins.redis, world.twins.general):
        client.hset(of, name, msgspec.msgpack.encode(msgspec.msgpack.decode(client.hget(of, name), type=RAWS)[:place]))
    assert world.update(ask(10, 50, used=4, by=CENTS)).cost == 0
    assert world.stop(use(1, by=CENTS)).cost == 10
    assert world.session().sums == [RoundedSum(10, HALF_UP, 5)]


def test_lines_that_are_rounded_otherwise_are_another_sum(opened: Opened) -> None:
    """And one that is not rounded with the session is in none of them."""
    up, plain, world = ladder(money(1), session=(10, UP)), ladder(money(1)), opened(1_000)
    world.start(ask(10, 50, by=CENTS), ask(20, 50, by=up), ask(30, 50, by=plain))
    assert costs(world.update(use(4, 10, by=CENTS), use(4, 20, by=up), use(4, 30, by=plain))) == [0, 10, 4]
    assert world.session().sums == [RoundedSum(10, HALF_UP, 4), RoundedSum(10, UP, 4)]


def test_a_line_goes_on_by_another_rounding_with_what_it_comes_to_from_then_on(opened: Opened) -> None:
    up, world = ladder(money(1), session=(10, UP)), opened(1_000)
    world.start(ask(10, 50, by=CENTS))
    assert world.update(ask(10, 50, used=4, by=up)).cost == 0  # granted by the first
    assert world.update(ask(10, 50, used=4, by=up)).cost == 10
    assert world.stop(use(7, by=up)).cost == 10
    assert world.session().sums == [RoundedSum(10, HALF_UP, 4), RoundedSum(10, UP, 11)]


def test_set_up_fee_minimum_and_maximum_are_in_the_sum(opened: Opened) -> None:
    """Of a line: 23, of the other one at least 15: 38."""
    one = ladder(money(1), fee=12, most=11, session=(10, HALF_UP))
    other, world = ladder(money(1), least=15, session=(10, HALF_UP)), opened(1_000)
    world.start(ask(10, 50, by=one), ask(20, 50, by=other))
    world.stop(use(50, 10, by=one), use(1, 20, by=other))
    assert world.money == (960, 0)


# --- events


def test_the_lines_of_an_event_are_rounded_together(opened: Opened) -> None:
    world = opened(1_000)
    outcome = world.event(ask(10, 4, by=CENTS), ask(20, 4, by=CENTS))
    assert (costs(outcome), outcome.cost, world.money) == ([0, 10], 10, (990, 0))


@pytest.mark.parametrize("action", [Action.PRICE, Action.CHECK])
def test_what_an_event_would_cost_is_rounded(opened: Opened, action: Action) -> None:
    world = opened(10)
    outcome = world.event(ask(10, 7, by=CENTS), ask(20, 7, by=CENTS), action=action)
    assert (costs(outcome), outcome.enough) == ([10, 0], True)
    assert not world.event(ask(10, 15, by=CENTS), action=Action.CHECK, session="sms;2").enough


def test_an_event_that_money_covers_only_because_it_is_rounded(opened: Opened) -> None:
    """14 are 10, and 15 are 20."""
    world = opened(10)
    assert only(world.event(ask(10, 15, by=CENTS, whole=True))).result == Result.CREDIT_LIMIT
    assert only(world.event(ask(10, 14, by=CENTS, whole=True), session="sms;2")).cost == 10
    assert world.money == (0, 0)


def test_a_refund_of_an_event_gives_back_what_was_charged(opened: Opened) -> None:
    by = ladder(money(1), session=(10, UP), counts=[Count("spent", 1, limit=100), Count("cap", 1)])
    world = opened(1_000)
    world.event(ask(10, 14, by=by))
    assert (world.money[0], world.counter("spent"), world.counter("cap")) == (980, (20, 0), (14, 0))
    world.event(ask(10, 0, by=by), action=Action.REFUND, refund_of=world.sent[-1].once_key, session="back")
    assert (world.money[0], world.counter("spent"), world.counter("cap")) == (1_000, (0, 0), (0, 0))


# --- what is held


@pytest.mark.parametrize(
    ("rounding", "units", "held"),
    [(UP, 11, 20), (DOWN, 11, 20), (HALF_UP, 11, 20), (HALF_UP, 20, 20), (HALF_EVEN, 20, 20), (HALF_EVEN, 10, 20)],
)
def test_a_grant_holds_what_it_costs_at_most(opened: Opened, rounding: int, units: int, held: int) -> None:
    """Ten from one tie to the next are twenty, of half even."""
    by, world = ladder(money(1), session=(10, rounding)), opened(1_000)
    world.start(ask(10, units, by=by))
    assert world.money == (1_000, held)


def test_all_whole_multiples_can_be_used(opened: Opened) -> None:
    world = opened(50)
    assert only(world.start(ask(10, 100, by=CENTS))).granted == 50
    assert world.money == (50, 50)
    world.stop(use(50, by=CENTS))
    assert world.money == (0, 0)


def test_what_a_line_holds_covers_it_wherever_the_others_have_brought_the_sum(opened: Opened) -> None:
    """4 of the first line are nothing, until the second one has used 1."""
    world = opened(20)
    world.start(ask(10, 4, by=CENTS), ask(20, 1, by=CENTS))
    assert world.money == (20, 20)
    assert world.update(use(1, 20, by=CENTS)).cost == 0
    assert world.money == (20, 10)
    assert only(world.event(ask(asked=10))).result == Result.OK  # what is free goes elsewhere
    assert world.stop(use(4, 10, by=CENTS)).cost == 10
    assert world.money == (0, 0)


@pytest.mark.parametrize("seed", range(40))
def test_any_session_costs_its_rounded_sum_after_each_report(opened: Opened, seed: int) -> None:
    """However it is cut, and in whatever order its lines report; beyond their grants too."""
    rng = Random(seed)
    to, rounding, start = rng.choice((2, 7, 10, 1_000)), rng.choice(list(SumRounding)), 10_000_000
    world = opened(start)
    bys = {rg: with_session(random_ladder(rng, counters=False), to, rounding) for rg in (10, 20, 30)}
    plain = {rg: msgspec.structs.replace(by, sum_to=0) for rg, by in bys.items()}
    slowly = {rg: Blockwise(by, BlockwiseFunds([(Kind.MONEY, "", start)]), {}, 0, 0) for rg, by in plain.items()}

    def report(rg: int, used: int) -> None:
        if used:
            slowly[rg].use(used)

    started = world.start(*(ask(rg, rng.choice((1, 50, 300)), by=by) for rg, by in bys.items()))
    granted = {line.rating_group: line.granted for line in started.lines}
    for turn in range(rng.randrange(3, 10)):
        some = rng.sample(sorted(bys), rng.randrange(1, 4))
        used = {rg: rng.choice((0, granted[rg], rng.randrange(granted[rg] + 1), granted[rg] + 3)) for rg in some}
        wish = rng.choice((-1, 1, 50, 300))
        send = world.update if turn or wish < 0 else world.stop
        outcome = send(*(ask(rg, wish, used=used[rg], by=bys[rg]) for rg in some))
        for rg in some:
            report(rg, used[rg])
        granted |= {line.rating_group: line.granted for line in outcome.lines}
        exact = sum(one.cost for one in slowly.values())
        assert start - world.money[0] == multiple(exact, to, rounding)
        assert [one.exact for one in world.session().sums] == ([exact] if exact else [])


@pytest.mark.parametrize("seed", range(40))
def test_use_within_the_grants_of_a_session_is_covered(opened: Opened, seed: int) -> None:
    """Three lines and little money, of which others take all that is free."""
    rng = Random(seed)
    to, rounding, limit = rng.choice((2, 7, 10, 30)), rng.choice(list(SumRounding)), rng.choice((0, 0, 100))
    world = opened(rng.randrange(1, 900), credit_limit=limit)
    bonus = [world.grant_bucket(Kind.MONEY, rng.randrange(1, 200))] if rng.random() < 0.5 else []
    counts = [Count("spent", 1, limit=rng.choice((50, 400)))] if rng.random() < 0.3 else []
    bys = {rg: with_session(random_ladder(rng, counters=False), to, rounding) for rg in (10, 20, 30)}
    bys = {rg: msgspec.structs.replace(by, counts=tuple(counts)) for rg, by in bys.items()}
    outcome = world.start(*(ask(rg, rng.choice((1, 50, 300)), by=by, minimum=30) for rg, by in bys.items()))
    granted = {line.rating_group: line.granted for line in outcome.lines}
    for turn in range(12):
        free = sum(one.amount - one.held for one in world.account.buckets) + limit
        if rng.random() < 0.4 and free > 0:
            world.event(ask(asked=free, whole=True), session=f"other;{turn}")
        some = rng.sample(sorted(bys), rng.randrange(1, 4))
        used = {rg: rng.choice((0, granted[rg], rng.randrange(granted[rg] + 1))) for rg in some}
        outcome = world.update(*(ask(rg, rng.choice((-1, 50, 300)), used=used[rg], by=bys[rg]) for rg in some))
        granted |= {line.rating_group: line.granted for line in outcome.lines}
        purses = world.account.buckets
        assert sum(one.amount for one in purses) + limit >= sum(one.held for one in purses)
        assert all(one.amount >= one.held for one in purses if one.id in bonus)
        if counts:
            used_of, held_of = world.counter("spent")
            assert used_of + held_of <= max(counts[0].limit, 0)
    world.stop(*(use(granted[rg], rg, by=by) for rg, by in bys.items() if granted[rg]))
    assert sum(one.amount for one in world.account.buckets) + limit >= 0
    assert world.bucket(MAIN).held == 0


# --- counters


@pytest.mark.parametrize("cuts", [(100,), (33, 33, 34), (7,) * 14 + (2,), (1,) * 100])
def test_a_cap_over_a_period_leaves_the_same_however_the_session_is_cut(opened: Opened, cuts: tuple[int, ...]) -> None:
    """`Counters that price count what a line comes to before`: 45 units at 1 up to the cap, then free."""
    cap = Count("cap", 1, cap=True)
    by = ladder(money(1, counter="cap", counter_reach=45), money(0), counts=[cap], session=(10, UP))
    world = opened(1_000)
    world.start(ask(10, 100, by=by))
    for cut in cuts:
        world.update(ask(10, 100, used=cut, by=by))
    world.stop()
    assert (world.money, world.counter("cap")) == ((950, 0), (45, 0))


def test_a_limit_of_what_is_spent_counts_what_is_charged(opened: Opened) -> None:
    by = ladder(money(1), counts=[Count("spent", 1, limit=25)], session=(10, UP))
    world = opened(1_000)
    assert only(world.start(ask(10, 100, by=by))).granted == 20
    assert only(world.update(ask(10, 100, used=11, by=by))).granted == 0
    assert world.counter("spent") == (20, 0)


def test_the_sum_is_exact(opened: Opened) -> None:
    """A third of a micro-unit each, of three lines: rounded up to whole ones by each line, then with the session."""
    by, world = ladder(money(1, per=3), session=(10, HALF_UP)), opened(1_000)
    world.start(*(ask(rg, 50, by=by) for rg in (10, 20, 30)))
    world.stop(*(use(13, rg, by=by) for rg in (10, 20, 30)))
    exact = 3 * -(-Fraction(13, 3) // 1)
    assert world.session().sums == [RoundedSum(10, HALF_UP, int(exact))]
    assert world.money == (1_000 - 20, 0)


# --- charging tags


@pytest.mark.parametrize("seed", range(20))
def test_what_tags_come_to_adds_up_to_the_rounded_sum(opened: Opened, seed: int) -> None:
    """Each entry has the tags of the line that it charges, and the entries of a line are what it was told to cost."""
    rng = Random(seed)
    to, rounding, start = rng.choice((7, 10, 1_000)), rng.choice(list(SumRounding)), 10_000_000
    world = opened(start)
    for _ in range(rng.randrange(3)):
        start += world.bucket(world.grant_bucket(Kind.MONEY, rng.randrange(1, 200))).amount
    bys = {rg: with_session(random_ladder(rng, counters=False), to, rounding) for rg in (10, 20, 30)}
    bys = {rg: msgspec.structs.replace(by, terms=f"tag.product=p{rg}") for rg, by in bys.items()}
    plain = {rg: msgspec.structs.replace(by, sum_to=0) for rg, by in bys.items()}
    slowly = {rg: Blockwise(by, BlockwiseFunds([(Kind.MONEY, "", start)]), {}, 0, 0) for rg, by in plain.items()}
    told = {f"p{rg}": 0 for rg in bys}
    world.start(*(ask(rg, 50, by=by) for rg, by in bys.items()))
    for _ in range(rng.randrange(2, 8)):
        used = {rg: rng.randrange(1, 60) for rg in rng.sample(sorted(bys), rng.randrange(1, 4))}
        for line in world.update(*(ask(rg, 50, used=used[rg], by=bys[rg]) for rg in used)).lines:
            told[f"p{line.rating_group}"] += line.cost
        for rg, units in used.items():
            slowly[rg].use(units)
        by_tag = dict.fromkeys(told, 0)
        for record in world.records:
            for entry in record.entries:
                if entry.why == "usage":
                    by_tag[tags_in(record.usages[entry.line].terms)["product"]] -= entry.amount
        assert by_tag == told
        assert sum(by_tag.values()) == multiple(sum(one.cost for one in slowly.values()), to, rounding)
