"""charging.md sections 4 and 5 on random ladders: any cut has the one price, and use within its grants is covered."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from balances.structs.account import MAIN
from balances.structs.charge import Flag
from tariffs.ladder import Count, Ladder, Step
from tariffs.units import Kind
from tests.balances.rules.account_harness import Counterparts, ask, bundle, ladder, money, only, use
from tests.balances.rules.conftest import Opened
from tests.tariffs.blockwise import Blockwise, BlockwiseFunds

FED = (Count("tier", 0), Count("cap", 1))


def random_ladder(rng: Random, *, counters: bool) -> Ladder:
    steps = []
    for _ in range(rng.randrange(4)):
        block, reach = rng.choice((1, 2, 7, 60)), rng.choice((0, 0, rng.randrange(1, 200)))
        counter = rng.choice(("", "", "tier", "cap")) if counters else ""
        bounds: dict[str, Any] = {"reach": reach, "counter": counter, "counter_reach": rng.randrange(300)}
        if rng.random() < 0.5:
            kind = rng.choice((Kind.OCTETS, Kind.UNITS))
            steps.append(Step(kind, "data", block, rng.choice((block, 1, 3)), **bounds))
        else:
            price, per = rng.choice((0, 1, 2, 9, 50)), rng.choice((1, 1, 2, 3, 1000))
            steps.append(money(price, block, per=per, rounding=rng.randrange(3), **bounds))
    last = money(rng.choice((0, 1, 2, 9)), rng.choice((1, 7, 60)), per=rng.choice((1, 3)), rounding=rng.randrange(3))
    return ladder(
        *steps, last, fee=rng.choice((0, 0, 25)), off=rng.choice((0, 0, 40)), to=rng.choice((0, 0, 10)),
        rounding=rng.randrange(4), counts=FED if counters else ())  # fmt: skip


def some_buckets(world: Counterparts, rng: Random) -> list[int]:
    kinds = [rng.choice((Kind.MONEY, Kind.OCTETS, Kind.UNITS)) for _ in range(rng.randrange(4))]
    return [world.grant_bucket(kind, rng.randrange(1, 200)) for kind in kinds]


@pytest.mark.parametrize("seed", range(80))
def test_any_session_costs_what_its_units_cost_block_by_block(opened: Opened, seed: int) -> None:
    """`Without shared counters this equals ladder(total) - debited`, of every bucket, whatever was granted and when."""
    rng = Random(seed)
    world = opened(10_000_000)
    by, ids = random_ladder(rng, counters=True), [*some_buckets(world, rng), MAIN]
    funds = BlockwiseFunds([(world.bucket(of).kind, "", world.bucket(of).amount) for of in ids])
    slowly = Blockwise(by, funds, {}, 0, 0)
    total, granted = 0, only(world.start(ask(asked=rng.choice((1, 50, 300)), by=by))).granted
    for _ in range(rng.randrange(8)):
        used = rng.choice((0, granted, rng.randrange(granted + 1), granted + rng.randrange(5)))
        granted = only(world.update(ask(asked=rng.choice((1, 50, 300)), used=used, by=by))).granted
        total += used
    last = rng.randrange(granted + 1)
    world.stop(use(last, by=by))
    slowly.use(total + last)
    assert [world.bucket(of).amount if world.has_bucket(of) else 0 for of in ids] == funds.balances
    assert world.counter("tier") == (total + last, 0)
    assert world.counter("cap") == (slowly.cost, 0)


@pytest.mark.parametrize("seed", range(80))
def test_use_within_the_grants_of_parallel_sessions_is_always_covered(opened: Opened, seed: int) -> None:
    """Four sessions of two lines each on little money: never beyond the credit limit, and every hold has its money."""
    rng = Random(seed)
    limit = rng.choice((0, 0, 100))
    world = opened(rng.randrange(1, 1_500), credit_limit=limit)
    some_buckets(world, rng)
    by, granted = random_ladder(rng, counters=rng.random() < 0.5), dict[str, dict[int, int]]()
    for turn in range(40):
        name = rng.choice([*granted, "new"])
        if name == "new" and len(granted) < 4:
            name = f"gw;{turn}"
            outcome = world.start(
                *(ask(rg, rng.choice((1, 50, 300)), by=by, minimum=30) for rg in (10, 20)), session=name
            )
        elif name == "new":
            continue
        elif rng.random() < 0.2:
            left = granted.pop(name)
            world.stop(*(use(rng.randrange(left[rg] + 1), rg, by=by) for rg in left), session=name)
            continue
        else:
            left = granted[name]
            asks = [ask(rg, rng.choice((-1, 50, 300)), used=rng.randrange(left[rg] + 1), by=by) for rg in left]
            outcome = world.update(*rng.sample(asks, rng.choice((1, len(asks)))), session=name)
        granted.setdefault(name, {}).update({line.rating_group: line.granted for line in outcome.lines})
        purses = [bucket for bucket in world.account.buckets if bucket.kind == Kind.MONEY]
        assert sum(bucket.amount for bucket in purses) + limit >= sum(bucket.held for bucket in purses)
        assert not world.flagged(Flag.OVERRUN)


def test_use_of_a_rising_tier_within_the_grant_is_covered(opened: Opened) -> None:
    """`can never be granted the same money or counter room: counters have held too` (section 5)."""
    by = ladder(money(1, counter="tier", counter_reach=100), money(10), counts=[Count("tier")])
    world = opened(1_100)
    world.start(ask(asked=100, by=by), session="a")  # holds 100 micro-units and all the cheap room
    for session, units in (("b", 50), ("c", 45)):
        assert only(world.start(ask(asked=units, by=by), session=session)).granted == units
        world.stop(use(units, by=by), session=session)  # pays the cheap price: the rest of its hold is for a
    assert world.money == (1_100 - 50 - 45, 5 + 950)
    world.event(ask(asked=world.money[0] - world.money[1], maximum=0, whole=True))  # the rest goes elsewhere
    world.stop(use(100, by=by), session="a")
    assert world.money == (0, 0)


def test_use_of_a_falling_tier_within_the_grant_is_covered(opened: Opened) -> None:
    """Who reports first pays the dear price, out of what the other held for it."""
    by = ladder(money(10, counter="tier", counter_reach=100), money(1), counts=[Count("tier")])
    world = opened(1_100)
    world.start(ask(asked=100, by=by), session="a")
    world.start(ask(asked=100, by=by), session="b")
    assert world.money == (1_100, 1_100)
    world.stop(use(100, by=by), session="b")
    assert world.money == (100, 100)
    world.stop(use(100, by=by), session="a")
    assert world.money == (0, 0)


def test_what_is_not_used_of_a_tier_is_given_back_at_once(opened: Opened) -> None:
    """The dearest units of all that is held, for they would be the last."""
    by = ladder(money(1, counter="tier", counter_reach=100), money(10), counts=[Count("tier")])
    world = opened(2_000)
    world.start(ask(asked=100, by=by), session="a")
    world.start(ask(asked=50, by=by), session="b")
    assert world.money == (2_000, 600)
    world.stop(use(20, by=by), session="a")  # 80 of the 150 are given back: 50 dear ones and 30 cheap ones
    assert world.money == (1_980, 50)
    world.stop(use(50, by=by), session="b")
    assert world.money == (1_930, 0)


def test_a_bundle_is_shared_by_the_lines_of_a_session(opened: Opened) -> None:
    """Two lines of one request are never granted the same units of a bundle either."""
    world = opened()
    world.grant_bucket(Kind.OCTETS, 300)
    by = ladder(bundle(Kind.OCTETS), money(1))
    lines = world.start(ask(10, 200, by=by), ask(20, 200, by=by)).lines
    assert sum(line.granted for line in lines) == 300
