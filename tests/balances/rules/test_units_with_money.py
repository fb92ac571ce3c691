"""charging.md section 22: a bucket of units that has money too. Numbers are worked out from the text by hand."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from balances import keys
from balances.packing import ACCOUNT_FIELD
from balances.structs.account import BUCKETS_MAX, MAIN, Bucket
from balances.structs.charge import Action, Result
from balances.structs.posting import BucketExtension, BucketSetting, ClosingRest, Fee, FeeStep, FeeUnits, Posting
from balances.structs.record import CounterAccount
from tariffs.ladder import Step
from tariffs.units import Kind
from tests.balances.rules.account_harness import ACCOUNT, HOUR, Counterparts, ask, bundle, ladder, money, only, use
from tests.balances.rules.conftest import Opened

PACKAGE = ladder(bundle(Kind.OCTETS), money(1))
TWO_A_BLOCK = ladder(bundle(Kind.OCTETS, 10), money(3, 10))


def sold(world: Counterparts, units: int = 100, amount: int = 50, *, whole: bool = True, **others: Any) -> int:
    """A bucket with units and money; its id, after which comes that of its money."""
    fields: dict[str, Any] = {"priority": 10, "scope": ["data"], "name": "both"} | others
    number = world.account.next_bucket
    made = (CounterAccount.TOP_UP, "bundle")
    world.post(
        Posting(-1, Kind.OCTETS, units, *made, **(fields | {"blocker": False})),
        Posting(-1, Kind.MONEY, amount, *made, is_part=whole, **fields),
    )
    assert world.status == "ok"
    return number


def amounts(world: Counterparts, number: int) -> tuple[int, int, int]:
    """Units, their money, the main balance."""
    return world.bucket(number).amount, world.bucket(number + 1).amount, world.money[0]


def test_its_units_pay_first_then_its_money_then_the_main_balance(opened: Opened) -> None:
    world = opened(1_000)
    number = sold(world)
    world.start(ask(asked=160, by=PACKAGE))
    held = [world.bucket(of).held for of in (number, number + 1, MAIN)]
    assert held == [100, 50, 10]
    world.update(ask(asked=30, used=130, by=PACKAGE))
    assert amounts(world, number) == (0, 20, 1_000)
    world.stop(use(30, by=PACKAGE))
    assert amounts(world, number) == (0, 0, 990)
    world.audit()


def test_for_another_service_it_pays_nothing(opened: Opened) -> None:
    world = opened(1_000)
    number = sold(world, scope=["voice"])
    world.start(ask(asked=30, by=PACKAGE))
    world.stop(use(30, by=PACKAGE))
    assert amounts(world, number) == (100, 50, 970)


@pytest.mark.parametrize("first", [PACKAGE, ladder(money(1))], ids=["units", "money"])
def test_its_validity_begins_for_both_with_the_first_use_of_either(opened: Opened, first: Any) -> None:
    world = opened(0)
    number = sold(world, window_ms=HOUR)
    world.wait(HOUR)
    begun_ms = world.now_ms
    world.start(ask(asked=10, by=first))
    assert [(world.bucket(of).until_ms, world.bucket(of).window_ms) for of in (number, number + 1)] == [
        (begun_ms + HOUR, 0)
    ] * 2
    world.stop(use(10, by=first))
    world.wait(HOUR)
    world.expire("")
    assert not world.has_bucket(number)
    assert not world.has_bucket(number + 1)
    assert {entry.why for entry in world.records[-1].entries} == {"expiry"}
    assert len(world.records[-1].entries) == 2
    world.audit()


def test_two_buckets_by_themselves_begin_each_by_itself(opened: Opened) -> None:
    world = opened(0)
    number = sold(world, window_ms=HOUR, whole=False)
    world.start(ask(asked=10, by=PACKAGE))
    assert [world.bucket(of).window_ms for of in (number, number + 1)] == [0, HOUR]


def begun_alone(world: Counterparts, number: int, until_ms: int) -> None:
    """A build that knows nothing of parts began the units, and not their money."""
    for store in (world.twins.redis, world.twins.general):
        stored: list[Any] = msgspec.msgpack.decode(store.hget(keys.account(ACCOUNT), ACCOUNT_FIELD))
        window, until = (Bucket.__struct_fields__.index(name) for name in ("window_ms", "until_ms"))
        for bucket in stored[12]:
            if bucket[0] == number:
                bucket[window], bucket[until] = 0, until_ms
        store.hset(keys.account(ACCOUNT), ACCOUNT_FIELD, msgspec.msgpack.encode(stored))
    units = next(bucket for bucket in world.twins.model.accounts[ACCOUNT].buckets if bucket.id == number)
    units.window_ms, units.until_ms = 0, until_ms


def test_what_an_older_version_began_alone_goes_on_and_ends_together(opened: Opened) -> None:
    world = opened(0)
    number = sold(world, units=10, window_ms=HOUR)
    begun_alone(world, number, world.now_ms + HOUR // 2)
    world.start(ask(asked=30, by=PACKAGE))  # the money is used for the first time
    assert world.bucket(number + 1).until_ms == world.now_ms + HOUR // 2


def test_what_an_older_version_began_alone_ends_together_unused(opened: Opened) -> None:
    world = opened(1_000)
    number = sold(world, units=10, window_ms=HOUR)
    begun_alone(world, number, world.now_ms + HOUR // 2)
    world.wait(HOUR // 2)
    world.expire("")
    assert not world.has_bucket(number)
    assert world.bucket(number + 1).until_ms == world.now_ms
    world.start(ask(asked=30, by=PACKAGE))
    assert (world.has_bucket(number + 1), world.money) == (False, (1_000, 30))
    world.audit()


def test_where_it_blocks_its_money_does(opened: Opened) -> None:
    world = opened(1_000)
    number = sold(world, blocker=True)
    other = world.grant_bucket(Kind.OCTETS, 20, priority=60)
    line = only(world.start(ask(asked=300, by=PACKAGE)))
    assert (line.granted, line.final) == (170, True)
    assert [world.bucket(of).held for of in (number, other, number + 1, MAIN)] == [100, 20, 50, 0]
    refused = only(world.update(ask(asked=10, used=170, by=PACKAGE)))
    assert (refused.granted, refused.result) == (0, Result.CREDIT_LIMIT)
    world.settings(buckets=[BucketSetting(number + 1, blocker=False)])
    assert only(world.update(ask(asked=10, by=PACKAGE))).granted == 10
    assert world.money == (1_000, 10)


def test_neither_part_makes_room_while_the_other_has_something(opened: Opened) -> None:
    world = opened(0)
    number = sold(world, amount=5)
    spent = sold(world, amount=5)
    world.start(ask(asked=200, by=PACKAGE))
    world.stop(use(200, by=PACKAGE))
    assert [world.bucket(of).amount for of in (number, number + 1, spent, spent + 1)] == [0, 5, 0, 5]
    world.post(Posting(spent + 1, Kind.MONEY, -5, CounterAccount.ADJUSTMENT, "adjustment"))
    for _ in range(BUCKETS_MAX - 5):
        world.grant_bucket(Kind.SECONDS, 1)
    assert len(world.account.buckets) == BUCKETS_MAX
    world.grant_bucket(Kind.SECONDS, 1)  # both parts of the one that has nothing make room
    assert [world.has_bucket(of) for of in (number, number + 1, spent, spent + 1)] == [True, True, False, False]
    world.grant_bucket(Kind.SECONDS, 1)
    world.post(Posting(-1, Kind.SECONDS, 1, CounterAccount.TOP_UP, "bundle"))
    assert world.status == "refused"


def test_it_is_made_whole_or_not_at_all(opened: Opened) -> None:
    world = opened(0)
    for _ in range(BUCKETS_MAX - 2):
        world.grant_bucket(Kind.SECONDS, 1)
    made = (CounterAccount.TOP_UP, "bundle")
    world.post(Posting(-1, Kind.OCTETS, 5, *made), Posting(-1, Kind.MONEY, 5, *made, is_part=True))
    assert world.status == "refused"
    assert len(world.account.buckets) == BUCKETS_MAX - 1


def test_longer_validity_is_of_both(opened: Opened) -> None:
    world = opened(0)
    number = sold(world, until_ms=world.now_ms + HOUR)
    world.topup(5, extends=[BucketExtension("both", world.now_ms + 9 * HOUR)])
    assert {world.bucket(of).until_ms for of in (number, number + 1)} == {world.now_ms + 9 * HOUR}


def test_a_refund_gives_back_units_and_money(opened: Opened) -> None:
    world = opened(1_000)
    number = sold(world, 10, 5)
    world.event(ask(asked=20, by=PACKAGE))
    assert amounts(world, number) == (0, 0, 995)
    world.event(ask(), action=Action.REFUND, session="sms;2", refund_of=world.sent[-1].once_key)
    assert amounts(world, number) == (10, 5, 1_000)
    world.audit()


def test_closing_pays_out_its_money_and_writes_off_its_units(opened: Opened) -> None:
    world = opened(7)
    sold(world)
    posted = world.close(ClosingRest.PAYOUT)
    assert posted is not None
    assert sorted((entry.kind, entry.amount, entry.counter_account) for entry in posted.entries) == [
        (Kind.MONEY, -50, "payout"),
        (Kind.MONEY, -7, "payout"),
        (Kind.OCTETS, -100, "write-off"),
    ]
    assert [bucket.id for bucket in world.account.buckets] == [MAIN]


def fee(world: Counterparts, step: FeeStep, day: int, units: list[FeeUnits], **others: Any) -> Fee:
    once = (ACCOUNT, "", "", world.now_ms, 0, "fees", "", "t@1")
    return Fee(*once, "t|base", "sub", step, day, day + 30, 0, units=units, **others)


def test_a_fee_gives_it_carries_it_and_takes_it_back(opened: Opened) -> None:
    world = opened(0)
    units = FeeUnits("both", Kind.OCTETS, 100, world.now_ms + HOUR, carried_max=30)
    part = FeeUnits("both", Kind.MONEY, 50, world.now_ms + HOUR, is_part=True)
    for day in (700_000, 700_030):
        assert world.twins.fee(fee(world, FeeStep.TAKE, day, [units, part]))[0] == "ok"
    buckets = [(one.kind, one.amount, one.part_of) for one in world.account.buckets if one.id != MAIN]
    assert buckets == [(Kind.OCTETS, 30, 0), (Kind.MONEY, 50, 1), (Kind.OCTETS, 100, 0), (Kind.MONEY, 50, 3)]
    world.twins.fee(fee(world, FeeStep.END, 700_060, [], takes_back=True))
    assert [bucket.id for bucket in world.account.buckets] == [MAIN]
    world.audit()


@pytest.mark.parametrize("seed", range(12))
def test_however_it_is_cut_the_same_is_paid(redis_url: str, seed: int) -> None:
    """`However it is cut, the same`: units, their money and the main balance, whatever was granted between; the same as
    of two buckets by themselves."""
    rng = random.Random(seed)
    units, amount, total = rng.randrange(1, 120), rng.randrange(1, 40), rng.randrange(1, 300)
    by: Any = rng.choice((PACKAGE, TWO_A_BLOCK, ladder(Step(Kind.OCTETS, "data", 7, 9), money(2, 5))))
    paid = set[tuple[int, int, int]]()
    for cuts in (0, 1, 4):
        for whole in (True, False):
            world = Counterparts(redis_url)
            try:
                world.topup(1_000)
                number = sold(world, units, amount, whole=whole, window_ms=rng.choice((0, HOUR)))
                world.start(ask(asked=rng.randrange(1, 300), by=by))
                marks = sorted(rng.randrange(total + 1) for _ in range(cuts))
                for before, after in zip([0, *marks], marks, strict=False):
                    world.update(ask(asked=rng.randrange(1, 300), used=after - before, by=by))
                world.stop(use(total - (marks[-1] if marks else 0), by=by))
                paid.add(amounts(world, number))
                assert all(bucket.held == 0 for bucket in world.account.buckets)
                world.audit()
            finally:
                for store in (world.twins.redis, world.twins.general):
                    store.flushdb()
                world.twins.close()
    assert len(paid) == 1, paid
