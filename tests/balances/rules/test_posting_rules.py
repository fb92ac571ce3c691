"""What a posting may say beside its amounts: own money only, states that refuse it, so much in a period, as much as
there is, and a refusal that is final (charging.md section 17)."""

from __future__ import annotations

from typing import Any

import pytest

from balances.structs.account import MAIN, SuspendReasons
from balances.structs.charge import Result
from balances.structs.posting import ClosingRest, Posting, PostingOutcome
from tariffs.ladder import Count, Counted
from tariffs.units import Kind
from tests.balances.rules.account_harness import Counterparts, ask, use
from tests.balances.rules.conftest import Opened


def out(amount: int, *, up_to: bool = False, bucket: int = MAIN) -> Posting:
    return Posting(bucket, Kind.MONEY, -amount, "transit", "transfer", up_to=up_to)


def refusal(world: Counterparts, posted: PostingOutcome | None) -> Result:
    assert world.status == "refused"
    assert posted is not None
    return Result(posted.result)


def test_own_money_is_neither_held_nor_bonus_nor_credit(opened: Opened) -> None:
    world = opened(100, credit_limit=1_000)
    world.grant_bucket(Kind.MONEY, 500, priority=200)
    world.start(ask(asked=80))
    assert refusal(world, world.post(out(21), own_only=True)) == Result.CREDIT_LIMIT
    world.post(out(20), own_only=True)
    assert (world.status, world.money) == ("ok", (80, 80))
    world.stop(use(80))
    assert world.money == (0, 0)


@pytest.mark.parametrize("state", [SuspendReasons.FRAUD, SuspendReasons.CLOSED, SuspendReasons.CREDIT])
def test_a_state_that_is_named_refuses_and_no_other(opened: Opened, state: SuspendReasons) -> None:
    world = opened(100)
    world.settings(set_state=state)
    posted = world.post(out(10), denied_in=SuspendReasons.FRAUD | SuspendReasons.CLOSED)
    if state == SuspendReasons.CREDIT:
        assert world.money == (90, 0)
    else:
        assert refusal(world, posted) == Result.DENIED


def test_so_much_in_a_period_and_so_often(opened: Opened) -> None:
    world = opened(1_000)
    day = world.now_ms + 1_000
    counts = [Count("n", Counted.UNITS, day, limit=3), Count("m", Counted.MONEY, day, limit=100)]
    for amount, status in ((60, "ok"), (41, "refused"), (40, "ok"), (1, "refused")):
        world.post(out(amount), counts=counts)
        assert world.status == status
    assert (world.counter("n"), world.counter("m"), world.money) == ((2, 0), (100, 0), (900, 0))
    assert refusal(world, world.post(out(901), counts=[Count("x", Counted.UNITS, day, limit=3)], own_only=True))
    assert world.counter("x") == (0, 0), "one that is refused has not counted"


def test_as_much_as_there_is(opened: Opened) -> None:
    """Of a debit what is free, of a credit what is owed; a posting that comes to nothing is none."""
    world = opened(100)
    world.start(ask(asked=80))
    world.post(out(10**15, up_to=True))
    assert world.money == (80, 80)
    assert refusal(world, world.post(out(5, up_to=True))) == Result.INVALID
    assert refusal(world, world.post(out(5, up_to=True, bucket=77))) == Result.INVALID
    world.stop(use(130))
    assert world.money == (-50, 0)
    world.post(Posting(MAIN, Kind.MONEY, 10**15, "write-off", "write-off", up_to=True))
    assert world.money == (0, 0)
    assert (
        refusal(world, world.post(Posting(MAIN, Kind.MONEY, 1, "write-off", "write-off", up_to=True))) == Result.INVALID
    )


def test_a_final_refusal_stays_one(opened: Opened) -> None:
    world = opened(5)
    first = world.post(out(10), own_only=True, final=True, key="k")
    assert refusal(world, first) == Result.CREDIT_LIMIT
    [kept] = [record for record in world.records if record.kind == "refuse"]
    assert (kept.once_key, kept.entries) == ("k", [])
    world.topup(100)
    assert (world.post(out(10), own_only=True, final=True, key="k"), world.status) == (first, "again")
    assert world.money == (105, 0)
    assert refusal(world, world.post(out(200), own_only=True, key="l")) == Result.CREDIT_LIMIT
    world.topup(100)
    world.post(out(200), own_only=True, key="l")
    assert (world.status, world.money) == ("ok", (5, 0)), "one that is not final is decided anew"


def test_no_more_is_moved_than_the_call_may_move(opened: Opened) -> None:
    """Whatever it comes to when it is done; what lapses by itself is moved by nobody."""
    world = opened(100)
    world.grant_bucket(Kind.MONEY, 500, until_ms=world.now_ms + 10)
    world.wait(20)
    assert refusal(world, world.post(out(10**15, up_to=True), moves_max=[99, 0, 0, 0])) == Result.LIMITED
    assert refusal(world, world.post(out(10**15, up_to=True), moves_max=[0])) == Result.LIMITED
    world.post(out(10**15, up_to=True), moves_max=[100, -1, -1, -1])
    assert (world.status, world.money) == ("ok", (0, 0))


def test_a_closing_moves_all_that_it_pays_out_and_writes_off(opened: Opened) -> None:
    world = opened(100)
    world.grant_bucket(Kind.MONEY, 50, bonus=True)
    world.grant_bucket(Kind.OCTETS, 7)
    for moves_max in ([149, -1, -1, -1], [150, 6, 0, 0]):
        assert refusal(world, world.close(ClosingRest.PAYOUT, moves_max=moves_max)) == Result.LIMITED
        assert world.account.state == 0
    world.close(ClosingRest.PAYOUT, moves_max=[150, 7, 0, 0])
    assert (world.status, world.money) == ("ok", (0, 0))


def test_debt_takes_nothing_that_is_held(opened: Opened) -> None:
    """Only what was spent can be owed."""
    world = opened(100, credit_limit=20)
    world.start(ask(asked=80))
    by_debt: dict[str, Any] = {"keeps_held": True, "permits_debt": True}
    assert refusal(world, world.post(out(41), **by_debt)) == Result.CREDIT_LIMIT
    world.post(out(40), **by_debt)
    assert (world.status, world.money) == ("ok", (60, 80))
    world.stop(use(80))
    assert refusal(world, world.post(out(1), keeps_held=True)) == Result.CREDIT_LIMIT
    world.post(out(1_000), **by_debt)
    assert (world.status, world.money) == ("ok", (-1_020, 0))


WEB = '{"channel":"web"}'


def test_what_is_posted_says_its_tags(opened: Opened) -> None:
    """Charging tags are on the record of a posting, refused for good or done, and on nothing that follows without."""
    world = opened(100)
    bucket = world.grant_bucket(Kind.MONEY, 10)
    world.topup(50, tags=WEB)
    world.post(out(500), own_only=True, final=True, tags=WEB)
    assert world.status == "refused"
    world.topup(1)
    world.transfer(MAIN, bucket, 5, tags=WEB)
    world.close(ClosingRest.WRITE_OFF, tags=WEB)
    said = [(one.record.kind, one.record.tags) for one in world.twins.model.ledger][-5:]
    assert said == [("post", WEB), ("refuse", WEB), ("post", ""), ("transfer", WEB), ("close", WEB)]
