"""A transfer moves what is free from one bucket to another one of its kind, all of it or nothing, and the account is
neither richer nor poorer (charging.md section 10: `transit` nets to zero)."""

from __future__ import annotations

import contextlib

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from balances.structs.account import MAIN
from balances.structs.charge import Result
from balances.structs.posting import Posting, PostingOutcome
from balances.structs.record import CounterAccount
from tariffs.units import EXACT_MAX, Kind
from tests.balances.rules.account_harness import Counterparts, ask, bundle, ladder, money, use
from tests.balances.rules.conftest import Opened
from tests.servers import LiveValkey

MIXED = ladder(bundle(Kind.OCTETS), money(1))


def has(world: Counterparts) -> dict[int, int]:
    """What the account has of each kind."""
    found: dict[int, int] = {}
    for one in world.account.buckets:
        found[one.kind] = found.get(one.kind, 0) + one.amount
    return found


def refused(world: Counterparts, posted: PostingOutcome | None) -> Result:
    assert world.status == "refused"
    assert posted is not None
    assert not posted.entries
    return Result(posted.result)


def test_both_legs_stand_in_the_ledger(opened: Opened) -> None:
    world = opened(100)
    bonus = world.grant_bucket(Kind.MONEY, 50, scope=["data"])
    posted = world.transfer(bonus, MAIN, 30)
    assert posted is not None
    legs = [(e.bucket, e.amount, e.after, e.counter_account, e.why) for e in posted.entries]
    assert legs == [(bonus, -30, 20, "transit", "transfer"), (MAIN, 30, 130, "transit", "transfer")]
    assert (world.records[-1].kind, posted.balance) == ("transfer", 150)


def test_credit_and_what_is_held_stay(opened: Opened) -> None:
    world = opened(100, credit_limit=1_000)
    bonus = world.grant_bucket(Kind.MONEY, 1, priority=200)
    world.start(ask(asked=80))
    assert refused(world, world.transfer(MAIN, bonus, 21)) == Result.CREDIT_LIMIT
    world.transfer(MAIN, bonus, 20)
    assert world.status == "ok"
    world.stop(use(80))
    assert (world.money, world.bucket(bonus).amount) == ((0, 0), 21)


def test_what_is_no_transfer_is_refused(opened: Opened) -> None:
    world = opened(100)
    octets = world.grant_bucket(Kind.OCTETS, 50)
    bonus = world.grant_bucket(Kind.MONEY, 50)
    for source, target, amount, why in (
        (MAIN, octets, 1, Result.INVALID),
        (MAIN, MAIN, 1, Result.INVALID),
        (bonus, MAIN, 0, Result.INVALID),
        (bonus, MAIN, -1, Result.INVALID),
        (MAIN, 99, 1, Result.NOT_FOUND),
        (99, MAIN, 1, Result.NOT_FOUND),
        (bonus, MAIN, 51, Result.CREDIT_LIMIT),
        (bonus, MAIN, EXACT_MAX, Result.CREDIT_LIMIT),
    ):
        assert refused(world, world.transfer(source, target, amount)) == why


def test_a_bucket_that_has_ended_takes_nothing(opened: Opened) -> None:
    world = opened()
    plenty = world.grant_bucket(Kind.OCTETS, 50, priority=200)
    ending = world.grant_bucket(Kind.OCTETS, 50, until_ms=world.now_ms + 1_000)
    world.start(ask(asked=10, by=MIXED))
    world.wait(1_000)
    assert refused(world, world.transfer(plenty, ending, 1)) == Result.NOT_FOUND
    assert refused(world, world.transfer(ending, plenty, 1)) == Result.CREDIT_LIMIT


def test_once_per_key(opened: Opened) -> None:
    world = opened(100)
    bonus = world.grant_bucket(Kind.MONEY, 50)
    first = world.transfer(bonus, MAIN, 30, key="k")
    assert (world.transfer(bonus, MAIN, 30, key="k"), world.status) == (first, "again")
    assert (world.transfer(bonus, MAIN, 20, key="k"), world.status) == (None, "conflict")
    assert world.money == (130, 0)


MOVES = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(-5, 250)), max_size=12)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=MOVES, asked=st.integers(1, 150))
def test_what_an_account_has_is_conserved(valkey: LiveValkey, moves: list[tuple[int, int, int]], asked: int) -> None:
    """Of each kind, whatever is moved where beside whatever hold; the legs against `transit` make zero, and what was
    granted can be used and is paid."""
    world = Counterparts(valkey.fresh())
    with contextlib.closing(world.twins):
        world.topup(100)
        for kind, amount in ((Kind.MONEY, 100), (Kind.OCTETS, 100), (Kind.OCTETS, 0)):
            world.post(Posting(-1, kind, amount, "topup", "bundle", priority=10))
        before = has(world)
        granted = world.start(ask(asked=asked, by=MIXED)).lines[0].granted
        for source, target, amount in moves:
            world.transfer(source, target, amount)
            assert has(world) == before
        legs = [e.amount for r in world.records for e in r.entries if e.counter_account == CounterAccount.TRANSIT]
        assert sum(legs) == 0
        world.stop(use(granted, by=MIXED))
        assert min(bucket.amount for bucket in world.account.buckets) >= 0
        world.audit()
