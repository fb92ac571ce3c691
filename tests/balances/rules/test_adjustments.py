"""What is held is nobody else's: an adjustment takes only what the account and its credit limit have beside it, unless
it is forced (charging.md section 5)."""

from __future__ import annotations

from random import Random

import pytest

from balances.structs.account import MAIN
from balances.structs.posting import Posting
from tariffs.units import Kind
from tests.balances.rules.account_harness import Counterparts, ask, bundle, ladder, money, use
from tests.balances.rules.conftest import Opened

DATA = ladder(bundle(Kind.OCTETS), money(1))


def adjust(world: Counterparts, amount: int, *, bucket: int = MAIN, force: bool = False) -> bool:
    kind = Kind.MONEY if bucket == MAIN else Kind.OCTETS
    world.post(Posting(bucket, kind, amount, "adjustment", "adjustment"), keeps_held=not force)
    assert world.status in ("ok", "refused")
    return world.status == "ok"


@pytest.mark.parametrize("seed", range(12))
def test_what_was_granted_stays_paid_for_whatever_is_adjusted(opened: Opened, seed: int) -> None:
    """Adjustments, top-ups and grants in any order: allowed is exactly what leaves the holds covered, and when all that
    was granted has been used nothing is below the credit limit, and no bundle below zero."""
    rng = Random(seed)
    limit = rng.choice((0, 0, 300))
    world = opened(rng.choice((0, 500, 1_000)), credit_limit=limit)
    octets = world.grant_bucket(Kind.OCTETS, 200)
    granted: dict[str, int] = {}
    for number in range(30):
        dice, amount = rng.random(), rng.choice((1, 10, 99, 100, 250))
        if dice < 0.3:
            outcome = world.start(ask(asked=amount, by=DATA), session=f"gw;{number}")
            granted[f"gw;{number}"] = outcome.lines[0].granted
        elif dice < 0.4:
            world.topup(amount)
        elif dice < 0.5 and granted:
            session = rng.choice([*granted])
            world.stop(use(rng.randint(0, granted.pop(session)), by=DATA), session=session)
        elif dice < 0.8:
            total, held = world.money
            amount = rng.choice((amount, max(total - held + limit, 0), total - held + limit + 1))
            free = total - held + limit
            assert adjust(world, -amount) == (amount <= free or amount <= 0), (amount, total, held)
        else:
            bucket = world.bucket(octets)
            amount = rng.choice((amount, bucket.amount - bucket.held, bucket.amount - bucket.held + 1))
            forced = rng.random() < 0.5  # no bundle goes below what is held of it, forced or not
            assert adjust(world, -amount, bucket=octets, force=forced) == (amount <= bucket.amount - bucket.held)
    for session, units in granted.items():
        world.stop(use(units, by=DATA), session=session)
    assert world.money[0] >= -limit
    assert world.money[1] == world.bucket(octets).held == 0
    assert world.bucket(octets).amount >= 0


def test_who_forces_takes_what_is_held_and_no_hold_is_lost(opened: Opened) -> None:
    world = opened(100)
    world.start(ask(asked=80))
    assert not adjust(world, -21)
    assert adjust(world, -20)
    assert not adjust(world, -1)
    assert adjust(world, -50, force=True)
    assert world.money == (30, 80)
    world.stop(use(80))  # all that was granted is settled all the same
    assert world.money == (-50, 0)
