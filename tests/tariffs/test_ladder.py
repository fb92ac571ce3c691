"""Laws of the ladder (charging.md section 4, and the words at the top of tariffs/climb.py), on random ladders."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tariffs.climb import Climbed, affordable, climb
from tariffs.ladder import Count, Counted, Ladder, Step, StepDues, check_ladder
from tariffs.price import StartPosition, price_of, units_for
from tariffs.units import EXACT_MAX, PER_MAX, Kind, Rounding, SumRounding, TooLarge, largest_sum, muldiv, round_sum
from tests.tariffs.blockwise import Blockwise, BlockwiseFunds, counted, multiple, rounded

AT_MS = 1_800_000_000_000
MAIN = (int(Kind.MONEY), "")


class LadderCase(NamedTuple):
    """A ladder, who pays, where the counters stand, and whether a unit takes time."""

    ladder: Ladder
    buckets: list[tuple[int, str, int]]
    counters: dict[str, int]
    ms_per_unit: int


BOUNDS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "reach": st.integers(1, 200),
        "counter": st.sampled_from(["tier", "cap", "other"]),
        "until_ms": st.integers(-1_000, 150_000).map(lambda ms: AT_MS + ms),
        "stop": st.just(True),
    },
)
SCOPES = st.sampled_from(["", "data"])
BLOCK = st.sampled_from([1, 2, 7, 60])


GRADE = st.sampled_from(["", "", "", "slow"])


@st.composite
def money_step(draw: st.DrawFn, *, bounded: bool = True, single: bool = False) -> Step:
    return Step(
        scope=draw(SCOPES),
        block=draw(BLOCK),
        price=draw(st.sampled_from([0, 1, 2, 9, 50])),
        per=1 if single else draw(st.sampled_from([1, 1, 2, 3, 1000])),
        rounding=draw(st.sampled_from(Rounding)),
        counter_reach=draw(st.integers(0, 300)),
        single=single,
        grade=draw(GRADE),
        **(draw(BOUNDS) if bounded else {}),
    )


@st.composite
def bundle_step(draw: st.DrawFn) -> Step:
    kind, block = draw(st.sampled_from([Kind.OCTETS, Kind.SECONDS])), draw(BLOCK)
    price = draw(st.sampled_from([block, block, 1, 3]))
    return Step(
        kind,
        draw(SCOPES),
        block,
        price,
        counter_reach=draw(st.integers(0, 300)),
        single=draw(st.booleans()),
        grade=draw(GRADE),
        **(draw(BOUNDS) | {"stop": False}),
    )


@st.composite
def some_dues(draw: st.DrawFn, *, ends: bool) -> StepDues:
    least = draw(st.sampled_from([0, 0, 0, 3, 70]))
    most = draw(st.sampled_from([0, 0, 0, least + 1, least + 100]))
    waived = draw(st.booleans())
    stops = ends and most > 0 and draw(st.booleans())
    off = draw(st.sampled_from([0, 0, 40, 400]))
    to = draw(st.sampled_from([0, 0, 10, 7]))
    rounding = draw(st.sampled_from(SumRounding))
    return StepDues(draw(st.sampled_from([0, 0, 25])), waived, least, most, stops, off, to, rounding)


@st.composite
def cases(
    draw: st.DrawFn,
    *,
    money_only: bool = False,
    stops: bool = True,
) -> LadderCase:
    # Blocks that one bucket pays are of one whole price: else it would depend on the cut which of them is which.
    single = draw(st.sampled_from([False, False, False, True]))
    one_money = money_step(single=single)
    some = one_money if money_only else st.one_of(one_money, bundle_step())
    steps = [*draw(st.lists(some, max_size=4)), draw(money_step(bounded=False, single=single))]
    counts = draw(st.sets(st.sampled_from([("tier", Counted.UNITS), ("cap", Counted.MONEY)])).map(sorted))
    # What climb is known to do wrong is left out here, and has its own tests at the end.
    known = {"other"} | {"tier", "cap"} - {key for key, _ in counts}
    steps = [
        msgspec.structs.replace(step, counter="")
        if step.counter in known or (step.counter == "cap" and (step.kind != Kind.MONEY or step.per > 1))
        else step
        for step in steps
    ]
    if not stops:
        steps = [msgspec.structs.replace(step, stop=False, grade="") for step in steps]
    dues = () if single else draw(st.lists(some_dues(ends=stops), max_size=2).map(tuple))
    steps = [msgspec.structs.replace(step, dues=draw(st.integers(0, len(dues)))) for step in steps]
    ladder = Ladder(tuple(steps), dues, tuple(Count(key, what) for key, what in counts))
    check_ladder(ladder)
    units = st.tuples(st.sampled_from([int(Kind.OCTETS), int(Kind.SECONDS)]), SCOPES, st.integers(0, 200))
    bonus = st.tuples(st.just(int(Kind.MONEY)), SCOPES, st.integers(0, 200))
    buckets = [] if money_only else draw(st.lists(st.one_of(units, bonus), max_size=4))
    counters = draw(st.fixed_dictionaries({}, optional={key: st.integers(0, 250) for key in ("tier", "cap", "other")}))
    main = draw(st.integers(0, 2_000))
    return LadderCase(ladder, [*buckets, (*MAIN, main)], counters, draw(st.sampled_from([0, 1_000, 7])))


class Climber:
    """A line that is reported in pieces."""

    def copy(self) -> Climber:
        copied = Climber(self.case)
        copied.line, copied.funds = msgspec.structs.replace(self.line), self.funds.copy()
        copied.counters, copied.at_ms, copied.cost = dict(self.counters), self.at_ms, self.cost
        return copied

    def __init__(self, case: LadderCase) -> None:
        self.case, self.line, self.funds = case, StartPosition(), BlockwiseFunds(case.buckets)
        self.counters, self.at_ms, self.cost = dict(case.counters), AT_MS, 0

    def climb(self, units: int, *, grant: bool) -> Climbed:
        climbed = climb(
            self.case.ladder, self.line, units, self.counters, self.funds,
            at_ms=self.at_ms, ms_per_unit=self.case.ms_per_unit, grant=grant,
        )  # fmt: skip
        self.counters = counted(self.case.ladder, self.counters, climbed.units, climbed.cost)
        self.at_ms += climbed.units * self.case.ms_per_unit
        self.cost += climbed.cost
        return climbed

    def use(self, units: int) -> int:
        climbed = self.climb(units, grant=False)
        assert climbed.units == units
        return climbed.cost


def oracle(case: LadderCase) -> Blockwise:
    return Blockwise(case.ladder, BlockwiseFunds(case.buckets), dict(case.counters), AT_MS, case.ms_per_unit)


UNITS = st.integers(0, 400)
CUTS = st.lists(st.one_of(st.integers(0, 5), st.integers(0, 150)), min_size=1, max_size=8)


@settings(max_examples=300)
@given(cases(), UNITS)
def test_the_price_is_what_block_by_block_makes(case: LadderCase, units: int) -> None:
    """`each further block is priced where it begins (band, tier, bucket)`."""
    climber, slowly = Climber(case), oracle(case)
    climber.use(units)
    slowly.use(units)
    assert climber.cost == slowly.cost
    assert climber.funds.balances == slowly.funds.balances
    assert (climber.line.total, climber.line.paid_ahead) == (units, slowly.paid_to - units)


@settings(max_examples=300)
@given(cases(), CUTS)
def test_however_a_use_is_cut_its_price_is_the_same(case: LadderCase, cuts: list[int]) -> None:
    """`cutting a session into reports ... never changes its price`, nor who pays it."""
    whole, pieces = Climber(case), Climber(case)
    whole.use(sum(cuts))
    for cut in cuts:
        pieces.use(cut)
    assert pieces.cost == whole.cost
    assert pieces.funds.balances == whole.funds.balances
    assert (pieces.line.total, pieces.line.paid_ahead) == (whole.line.total, whole.line.paid_ahead)


@settings(max_examples=300)
@given(cases(), CUTS, st.integers(0, 200))
def test_a_grant_is_what_block_by_block_covers(case: LadderCase, cuts: list[int], asked: int) -> None:
    """`a block of which any part stays uncovered is not granted at all`, wherever the line stands."""
    climber, slowly = Climber(case), oracle(case)
    for cut in cuts:
        climber.use(cut)
        slowly.use(cut)
    before = slowly.cost
    climbed = climber.climb(asked, grant=True)
    assert climbed.units == slowly.grant(asked)
    assert climbed.cost == slowly.cost - before
    assert climber.funds.balances == slowly.funds.balances


@settings(max_examples=300)
@given(cases(), CUTS, st.integers(0, 200), st.data())
def test_any_use_up_to_a_grant_costs_at_most_its_hold(
    case: LadderCase, cuts: list[int], asked: int, data: st.DataObject
) -> None:
    """`nothing is granted that is not covered`: of no bucket is more taken than was held."""
    climber = Climber(case)
    for cut in cuts:
        climber.use(cut)
    granted = climber.copy()
    units = granted.climb(asked, grant=True).units
    climber.use(data.draw(st.integers(0, units)))
    for used, held in zip(climber.funds.balances, granted.funds.balances, strict=True):
        assert used >= held


@given(cases(), UNITS, st.integers(0, 60))
def test_more_units_never_cost_less(case: LadderCase, units: int, more: int) -> None:
    """`more units never cost less money`."""
    few, many = Climber(case), Climber(case)
    assert few.use(units) <= many.use(units + more)


@settings(max_examples=300)
@given(cases(money_only=True, stops=False), UNITS)
def test_the_price_of_units_buys_them(case: LadderCase, units: int) -> None:
    """`units_for and price_of are inverse`: units_for(price_of(n)) >= n."""
    price = price_of(case.ladder, units, at_ms=AT_MS, ms_per_unit=case.ms_per_unit, counters=case.counters)
    bought = units_for(
        case.ladder, price, most=1_000, at_ms=AT_MS, ms_per_unit=case.ms_per_unit, counters=case.counters
    )
    assert bought >= units


@settings(max_examples=300)
@given(cases(money_only=True), st.integers(0, 3_000))
def test_what_money_buys_costs_no_more(case: LadderCase, money: int) -> None:
    """price_of(units_for(m)) <= m."""
    units = units_for(case.ladder, money, most=500, at_ms=AT_MS, ms_per_unit=case.ms_per_unit, counters=case.counters)
    assert price_of(case.ladder, units, at_ms=AT_MS, ms_per_unit=case.ms_per_unit, counters=case.counters) <= money


# --- rounding -------------------------------------------------------------------------------------------------


@given(st.sampled_from(Rounding), st.integers(1, 50), st.integers(1, 1_000), CUTS)
def test_a_run_of_equal_price_is_rounded_once(rounding: Rounding, price: int, per: int, cuts: list[int]) -> None:
    """`rounded once on the step's cumulative sum` (section 2)."""
    ladder = Ladder((Step(price=price, per=per, rounding=rounding),))
    climber = Climber(LadderCase(ladder, [(*MAIN, 0)], {}, 0))
    for cut in cuts:
        climber.use(cut)
    assert climber.cost == rounded(Fraction(price * sum(cuts), per), rounding)


@given(st.integers(0, 3_000), st.integers(0, 3_000), st.integers(0, 60), st.sampled_from(SumRounding))
def test_a_rounded_sum_grows_with_the_sum_and_can_be_turned_round(
    one: int, more: int, to: int, rounding: SumRounding
) -> None:
    due = round_sum(one, to, rounding)
    assert due == multiple(one, to, rounding) <= round_sum(one + more, to, rounding)
    largest = largest_sum(due, to, rounding)
    assert one <= largest
    assert round_sum(largest, to, rounding) == due < round_sum(largest + 1, to, rounding)


EDGE = st.one_of(st.integers(0, 100), st.integers(0, EXACT_MAX), st.integers(EXACT_MAX - 100, EXACT_MAX))
PER = st.one_of(st.integers(1, 10), st.integers(1, PER_MAX), st.integers(PER_MAX - 10, PER_MAX))


@given(EDGE, EDGE, st.integers(-PER_MAX, PER_MAX), PER, st.sampled_from(Rounding))
def test_muldiv_is_exact(a: int, b: int, rest: int, per: int, rounding: Rounding) -> None:
    """`by a multiply-divide that cannot overflow`: (a * b + rest) / per, rounded once; what is left over is exact."""
    quotient, left = muldiv(a, b, rest, per, rounding)
    assert quotient == rounded(Fraction(a * b + rest, per), rounding)
    assert a * b + rest == quotient * per + left


@settings(max_examples=300)
@given(EDGE, PER, EDGE, st.integers(1, EXACT_MAX), st.sampled_from(Rounding))
def test_prices_are_exact_up_to_2_to_the_53(price: int, per: int, units: int, block: int, rounding: Rounding) -> None:
    """`|amount| < 2^53 (Lua is exact to there)`."""
    if per > 1:
        price %= PER_MAX + 1
    ladder = Ladder((Step(block=block, price=price, per=per, rounding=rounding),))
    check_ladder(ladder)
    exact = rounded(Fraction(price * -(-units // block), per), rounding)
    if exact > EXACT_MAX or -(-units // block) * block > EXACT_MAX:  # a started block is counted whole
        with pytest.raises(TooLarge):
            price_of(ladder, units)
        return
    assert price_of(ladder, units) == exact
    assert units_for(ladder, exact, most=units) == units


@settings(max_examples=300)
@given(EDGE, PER, st.integers(-PER_MAX, PER_MAX), EDGE, st.sampled_from(Rounding))
def test_affordable_is_the_most_that_money_pays(
    price: int, per: int, rest: int, money: int, rounding: Rounding
) -> None:
    """`The most blocks of a money step whose price, rounded as the step says, is within available`."""
    price = max(price % (PER_MAX + 1) if per > 1 else price, 1)
    rest = {Rounding.UP: -(abs(rest) % per), Rounding.DOWN: abs(rest) % per}.get(rounding, rest % per - per // 2)
    if rounding == Rounding.HALF_UP and not -per <= 2 * rest < per:
        return
    step = Step(price=price, per=per, rounding=rounding)
    blocks = affordable(step, money, rest)
    assert muldiv(price, blocks, rest, per, rounding)[0] <= money
    assert muldiv(price, blocks + 1, rest, per, rounding)[0] > money


@pytest.mark.parametrize("units", [1, 59, 60, 61, EXACT_MAX - 60, EXACT_MAX - EXACT_MAX % 60])
def test_the_largest_units_keep_their_blocks(units: int) -> None:
    """Edges of the block: started is paid."""
    ladder = Ladder((Step(block=60, price=1),))
    assert price_of(ladder, units) == -(-units // 60)


# --- where climb departs from its words -----------------------------------------------------------------------


def settled(case: LadderCase, cuts: list[int]) -> tuple[int, list[int]]:
    climber = Climber(case)
    for cut in cuts:
        climber.use(cut)
    return climber.cost, climber.funds.balances


TWO_BUNDLES = LadderCase(
    Ladder((Step(Kind.OCTETS, "", 60, 60), Step(Kind.SECONDS, "", 7, 7), Step(block=1, price=5))),
    [(Kind.OCTETS, "", 47), (Kind.SECONDS, "", 1), (*MAIN, 35)],
    {},
    0,
)


def test_a_block_that_two_bundles_leave_open_is_not_granted() -> None:
    """`a block of which any part stays uncovered is not granted at all`: 47 + 1 + 7 are not 60."""
    assert Climber(TWO_BUNDLES).climb(81, grant=True) == Climbed(0, 0)


def test_use_of_a_block_that_two_bundles_leave_open_is_covered() -> None:
    """`nothing is granted that is not covered`."""
    held = Climber(TWO_BUNDLES).climb(81, grant=True)
    assert Climber(TWO_BUNDLES).use(min(1, held.units)) <= held.cost


HALVES = Ladder(
    (Step(block=2, price=1, per=2, rounding=Rounding.HALF_UP, counter="cap", counter_reach=1), Step(block=1, price=1)),
    counts=(Count("cap", Counted.MONEY),),
)


def test_a_step_that_a_money_counter_ends_is_cut_without_effect() -> None:
    """`Without shared counters ... cutting never changes its price`: the 1/2 of the first block is 1 half up."""
    case = LadderCase(HALVES, [(*MAIN, 0)], {}, 0)
    assert settled(case, [2, 4])[0] == 5
    assert settled(case, [6])[0] == 5


def test_a_bundle_does_not_move_a_money_counter() -> None:
    """A bundle costs no money, so the counter it is bounded by stays where it is."""
    ladder = Ladder(
        (Step(Kind.OCTETS, "", 1, 1, counter="cap", counter_reach=1), Step()), counts=(Count("cap", Counted.MONEY),)
    )
    assert settled(LadderCase(ladder, [(Kind.OCTETS, "", 7), (*MAIN, 0)], {}, 0), [4]) == (0, [3, 0])


def test_a_counter_the_line_does_not_feed_does_not_move() -> None:
    """`counter_reach: ends when the counter named has this value`; only `counts` are fed."""
    ladder = Ladder((Step(price=1, counter="other", counter_reach=1), Step(price=50)))
    assert settled(LadderCase(ladder, [(*MAIN, 0)], {}, 0), [3]) == (3, [-3])


# --- what random ladders seldom meet --------------------------------------------------------------------------


def test_whole_blocks_before_one_that_is_not_covered_stay_granted() -> None:
    ladder = Ladder((Step(Kind.OCTETS, "", 60, 60), Step(block=60, price=9)))
    case = LadderCase(ladder, [(Kind.OCTETS, "", 130), (*MAIN, 8)], {}, 0)
    assert Climber(case).climb(180, grant=True) == Climbed(120, 0, "")


def test_a_waived_fee_waits_for_the_first_block_of_money() -> None:
    ladder = Ladder((Step(Kind.OCTETS, "", 1, 1, dues=1), Step(price=2, dues=1)), (StepDues(25, waived=True),))
    case = LadderCase(ladder, [(Kind.OCTETS, "", 3), (*MAIN, 0)], {}, 0)
    assert [settled(case, cuts)[0] for cuts in ([3], [2, 1], [4], [3, 1], [1, 2, 1, 1])] == [0, 0, 27, 27, 29]


def test_an_empty_bundle_of_another_grade_does_not_end_a_grant() -> None:
    steps = (Step(price=1, reach=5), Step(Kind.OCTETS, "", 1, 1, grade="slow"), Step(price=1))
    assert Climber(LadderCase(Ladder(steps), [(*MAIN, 99)], {}, 0)).climb(9, grant=True) == Climbed(9, 9, "")
    full = LadderCase(Ladder(steps), [(Kind.OCTETS, "", 1), (*MAIN, 99)], {}, 0)
    assert Climber(full).climb(9, grant=True) == Climbed(5, 5, "")


@pytest.mark.parametrize(("least", "most", "units", "cost"), [(0, 0, 30, 40), (15, 0, 30, 45), (0, 5, 30, 5)])
def test_a_cap_counts_what_is_due_and_not_what_blocks_cost(least: int, most: int, units: int, cost: int) -> None:
    """Ten units of 1 until the cap has 10, then 1.5 each; a minimum of 15 has it full at once, a maximum of 5 never."""
    steps = (Step(price=1, counter="cap", counter_reach=10, dues=1), Step(price=3, per=2, dues=1))
    ladder = Ladder(steps, (StepDues(least=least, most=most),), (Count("cap", Counted.MONEY),))
    assert settled(LadderCase(ladder, [(*MAIN, 0)], {}, 0), [units])[0] == cost
    assert settled(LadderCase(ladder, [(*MAIN, 0)], {}, 0), [1] * units)[0] == cost
