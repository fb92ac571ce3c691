"""A period of a recurring fee is taken once, with the units that it includes, of what is free (charging.md 21)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from balances import keys
from balances.packing import ACCOUNT_FIELD, pack
from balances.structs.account import FEE_KEPT_MS, FEE_STALE_MS, FEES_MAX, MAIN, FeeMark, SuspendReasons, Take
from balances.structs.charge import Result
from balances.structs.posting import Fee, FeeFunds, FeeOutcome, FeeStep, FeeUnits
from tariffs.units import EXACT_MAX, Kind
from tests.balances.rules.account_harness import ACCOUNT, HOUR, Counterparts, ask, bundle, ladder, money, only, use
from tests.balances.rules.conftest import Opened

MONTH, DAYS = 739_000, 30
FIELDS: dict[str, Any] = {"remember_ms": 0, "actor": "fees", "reason": "", "reference": "t@1 base"}
GIGA = FeeUnits("data", Kind.OCTETS, 1_000, scope=["data"])


def fee(world: Counterparts, number: int = 0, amount: int = 100, **others: Any) -> FeeOutcome:
    """Take the number-th month."""
    first = MONTH + number * DAYS
    fields = FIELDS | {
        "chain": "c",
        "subscriber": "sub",
        "step": FeeStep.TAKE,
        "from_day": first,
        "until_day": first + DAYS,
        "now_ms": world.now_ms,
        "key": f"fee|{number}",
    }
    asked = Fee(account=ACCOUNT, fingerprint="", amount=amount, **(fields | others))
    world.status, outcome = world.twins.fee(asked)
    assert outcome is not None, world.status
    return outcome


def legs(outcome: FeeOutcome) -> list[tuple[int, int, str, str]]:
    return [(entry.bucket, entry.amount, entry.counter_account, entry.why) for entry in outcome.entries]


def left(world: Counterparts, name: str = "data") -> list[int]:
    return [bucket.amount for bucket in world.account.buckets if bucket.name == name]


def test_one_call_takes_the_fee_and_gives_what_it_includes(opened: Opened) -> None:
    world = opened(250)
    outcome = fee(world, units=[GIGA], terms="tax=190000", event_ms=world.now_ms - HOUR)
    assert (world.status, outcome.balance) == ("ok", 150)
    assert legs(outcome) == [(MAIN, -100, "fee", "fee"), (1, 1_000, "fee", "allowance")]
    assert [entry.terms for entry in outcome.entries] == ["tax=190000", ""]
    record = world.records[-1]
    assert (record.kind, record.key, record.subscriber, record.service) == ("fee", "fee|0", "sub", "fee")
    assert (record.event_ms, record.at_ms, record.reauthorize) == (world.now_ms - HOUR, world.now_ms, ["final"])
    assert outcome.mark.day == MONTH + DAYS
    world.audit()


def test_no_day_is_taken_twice_and_periods_follow_each_other(opened: Opened) -> None:
    world = opened(1_000)
    fee(world)
    fee(world, 1)
    for number in (0, 1):
        assert not fee(world, number, key="another").entries
        assert world.status == "again"
    world.wait(5 * 365 * 24 * HOUR)
    assert not fee(world, 1, now_ms=world.now_ms).entries
    assert fee(world, 2).entries
    assert world.money == (700, 0)


def test_who_knows_of_more_than_the_account_is_told_where_it_stands_and_nothing_is_taken(opened: Opened) -> None:
    """A failover has lost what the account settled."""
    world = opened(1_000)
    for step in (FeeStep.TAKE, FeeStep.END):
        outcome = fee(world, 1, step=step, known_day=MONTH + DAYS)
        assert (world.status, outcome.entries, outcome.mark.day) == ("again", [], 0)
    fee(world)
    outcome = fee(world, 2, known_day=MONTH + 2 * DAYS)
    assert (world.status, outcome.entries, outcome.mark.day) == ("again", [], MONTH + DAYS)
    assert fee(world, 1, known_day=MONTH + DAYS).entries
    assert world.money == (800, 0)


def test_nothing_is_taken_that_is_held(opened: Opened) -> None:
    world = opened(150)
    world.start(ask(asked=60))
    assert fee(world).result == Result.CREDIT_LIMIT
    assert world.money == (150, 60)
    world.stop(use(50))
    assert fee(world).result == Result.OK
    assert world.money == (0, 0)


def test_buckets_pay_in_their_order_and_only_those_that_may(opened: Opened) -> None:
    world = opened(100)
    world.grant_bucket(Kind.MONEY, 70, scope=["data"])
    bonus = world.grant_bucket(Kind.MONEY, 30, window_ms=HOUR)
    named = world.grant_bucket(Kind.MONEY, 20, scope=["fee"], priority=5)
    assert legs(fee(world))[:3] == [
        (named, -20, "fee", "fee"),
        (bonus, -30, "fee", "fee"),
        (MAIN, -50, "fee", "fee"),
    ]
    assert world.money == (50, 0)


def test_the_credit_limit_counts_where_the_fee_says_so(opened: Opened) -> None:
    world = opened(credit_limit=150)
    assert fee(world, funds=FeeFunds.OWN).result == Result.CREDIT_LIMIT
    assert fee(world).result == Result.OK
    assert fee(world, 1).result == Result.CREDIT_LIMIT
    assert fee(world, 1, funds=FeeFunds.DEBT).result == Result.OK
    assert world.money == (-200, 0)
    bonus = world.grant_bucket(Kind.MONEY, 120)
    assert fee(world, 2).result == Result.CREDIT_LIMIT  # spendable is one sum: 120 - 200 + 150
    assert fee(world, 2, amount=70).result == Result.OK
    assert world.bucket(bonus).amount == 50


def test_short_money_is_told_once_and_tried_again(opened: Opened) -> None:
    world = opened(50)
    outcome = fee(world, units=[GIGA])
    assert (world.status, outcome.entries, outcome.mark.short) == ("ok", [], True)
    written = len(world.records)
    fee(world, units=[GIGA])
    assert (world.status, len(world.records)) == ("refused", written)
    world.topup(50)
    outcome = fee(world, units=[GIGA])
    assert (outcome.mark.short, left(world), world.money) == (False, [1_000], (0, 0))


def test_a_part_is_taken_now_and_the_rest_later(opened: Opened) -> None:
    world = opened(30)
    assert legs(fee(world, is_partial=True, units=[GIGA])) == [(MAIN, -30, "fee", "fee")]
    world.topup(20)
    fee(world, is_partial=True, units=[GIGA])
    assert (world.money, left(world)) == ((0, 0), [])
    world.topup(60)
    outcome = fee(world, is_partial=True, units=[GIGA])
    assert (world.money, left(world), outcome.mark.short) == ((10, 0), [1_000], False)
    assert sum(take.amount for take in outcome.mark.paid) == 100


def test_in_grace_units_come_first_and_the_money_is_owed(opened: Opened) -> None:
    world = opened()
    fee(world, units=[GIGA], gives_first=True)
    assert left(world) == [1_000]
    world.wait(40 * 24 * HOUR)
    outcome = fee(world, units=[GIGA], lapses=True)
    assert (outcome.mark.short, outcome.mark.day) == (True, MONTH)
    world.topup(100)
    outcome = fee(world, units=[GIGA], lapses=True)
    assert (outcome.mark.day, left(world), world.money) == (MONTH + DAYS, [1_000], (0, 0))


def test_what_was_neither_paid_nor_given_lapses_with_its_end(opened: Opened) -> None:
    world = opened(40)
    fee(world, is_partial=False)
    outcome = fee(world, lapses=True, is_partial=True)
    assert (outcome.entries, outcome.mark.day, outcome.mark.short) == ([], MONTH + DAYS, False)
    assert world.money == (40, 0)


def test_an_unpaid_fee_suspends_and_its_payment_resumes(opened: Opened) -> None:
    world = opened(50)
    fee(world, suspends=True)
    assert world.account.state == SuspendReasons.FEE
    assert [(c.kind, c.of, c.name, c.level) for c in world.records[-1].threshold_events] == [
        ("suspend", "account", "fee", 100)
    ]
    assert only(world.start(ask(asked=10), session="gw;2")).result == Result.CREDIT_LIMIT
    assert only(world.start(ask(asked=10, free=True), session="gw;3")).granted == 10
    world.topup(500)
    assert world.account.state == SuspendReasons.FEE  # a top-up alone pays nothing
    fee(world, suspends=True)
    assert world.account.state == SuspendReasons.ACTIVE
    assert world.records[-1].threshold_events[0].kind == "resume"
    assert only(world.start(ask(asked=10), session="gw;4")).granted == 10


def test_carried_units_are_capped_and_the_oldest_lapse_first(opened: Opened) -> None:
    world = opened(1_000)
    carried = msgspec.structs.replace(GIGA, carried_max=1_500)
    for number in range(3):
        fee(world, number, units=[carried])
    assert left(world) == [500, 1_000, 1_000]
    lapsed = [entry for entry in world.records[-1].entries if entry.counter_account == "expiry"]
    assert [(entry.bucket, entry.amount) for entry in lapsed] == [(1, -500)]
    world.audit()


def test_held_units_do_not_lapse(opened: Opened) -> None:
    world = opened(1_000)
    kept_nothing = msgspec.structs.replace(GIGA, carried_max=0)
    fee(world, units=[kept_nothing])
    world.start(ask(asked=300, by=ladder(bundle(Kind.OCTETS), money(1))))
    fee(world, 1, units=[kept_nothing])
    assert sorted(left(world)) == [300, 1_000]


def test_units_that_would_have_ended_are_not_given(opened: Opened) -> None:
    world = opened(1_000)
    ended = msgspec.structs.replace(GIGA, until_ms=world.now_ms)
    lasting = msgspec.structs.replace(GIGA, until_ms=world.now_ms + HOUR, name="more")
    assert legs(fee(world, units=[ended, lasting]))[1:] == [(1, 1_000, "fee", "allowance")]
    world.wait(HOUR)
    world.expire("")
    assert not world.has_bucket(1)


def test_all_or_nothing_where_there_is_no_room(opened: Opened) -> None:
    world = opened(1_000)
    world.grant_bucket(Kind.OCTETS, EXACT_MAX - 999)
    outcome = fee(world, units=[GIGA])
    assert (world.status, outcome.result, outcome.entries, world.money) == ("refused", Result.TOO_MUCH, [], (1_000, 0))
    assert not world.account.fees


def test_the_end_gives_back_to_who_paid_and_takes_the_units(opened: Opened) -> None:
    world = opened(80)
    bonus = world.grant_bucket(Kind.MONEY, 40)
    fee(world, units=[GIGA])
    outcome = fee(world, step=FeeStep.END, amount=30, takes_back=True)
    assert legs(outcome) == [(MAIN, 60, "fee", "fee"), (bonus, 10, "fee", "fee"), (2, -1_000, "expiry", "expiry")]
    assert outcome.mark.ended_ms == world.now_ms
    for step in FeeStep:
        assert not fee(world, 1, step=step).entries
        assert world.status == "again"
    world.audit()


def test_what_would_go_back_to_a_bucket_that_is_gone_lapses(opened: Opened) -> None:
    world = opened(50)
    world.grant_bucket(Kind.MONEY, 50, until_ms=world.now_ms + HOUR)
    fee(world)
    world.wait(2 * HOUR)
    world.expire("")
    assert legs(fee(world, step=FeeStep.END, amount=0)) == [(MAIN, 50, "fee", "fee")]


def test_a_closed_account_pays_nothing(opened: Opened) -> None:
    world = opened(500)
    fee(world)
    world.settings(set_state=SuspendReasons.CLOSED)
    outcome = fee(world, 1)
    assert (outcome.result, outcome.entries, outcome.mark.day) == (Result.DENIED, [], MONTH + 2 * DAYS)
    assert not fee(world, step=FeeStep.END, amount=0).entries
    assert world.money == (400, 0)


@pytest.mark.parametrize("closed", [False, True])
def test_who_asks_for_an_end_again_is_told_what_was_not_given_back(opened: Opened, *, closed: bool) -> None:
    world = opened(500)
    fee(world)
    if closed:
        world.settings(set_state=SuspendReasons.CLOSED)
    for _ in range(2):
        mark = fee(world, step=FeeStep.END, amount=40).mark
        assert (sum(take.amount for take in mark.paid), mark.ended_ms > 0) == (100 if closed else 0, True)
        world.settings(clear_state=SuspendReasons.CLOSED)
    assert world.money == (400 if closed else 460, 0)


def test_a_mark_outlives_every_call_that_might_still_come(opened: Opened) -> None:
    """A call that was made before the end, and is sent long after, finds the mark or is refused as stale."""
    world = opened(1_000)
    fee(world)
    made_ms = world.now_ms
    fee(world, step=FeeStep.END, amount=100)
    world.wait(FEE_KEPT_MS)
    fee(world, chain="another")
    assert [mark.chain for mark in world.account.fees] == ["another"]
    late = Fee(account=ACCOUNT, key="", fingerprint="", amount=100, chain="c", subscriber="sub", step=FeeStep.TAKE,
               from_day=MONTH, until_day=MONTH + DAYS, now_ms=made_ms, **FIELDS)  # fmt: skip
    assert world.twins.fee(late) == ("stale", None)
    assert world.twins.fee(msgspec.structs.replace(late, now_ms=world.now_ms - FEE_STALE_MS))[0] == "ok"


def test_an_account_has_room_for_so_many(opened: Opened) -> None:
    world = opened(1)
    twins, full = world.twins, world.account
    full.fees = [FeeMark(str(number), MONTH) for number in range(FEES_MAX)]
    twins.model.accounts[ACCOUNT] = full
    for client in (twins.redis, twins.general):
        client.hset(keys.account(ACCOUNT), ACCOUNT_FIELD, pack(full))
    assert fee(world, chain="one more", amount=0).result == Result.TOO_MUCH
    assert world.status == "refused"
    assert fee(world, chain="7", amount=0).result == Result.OK


def test_a_price_that_changed_meanwhile_counts_what_was_paid(opened: Opened) -> None:
    world = opened(60)
    fee(world, is_partial=True)
    outcome = fee(world, amount=50, is_partial=True)
    assert (outcome.entries, outcome.mark.paid, outcome.mark.short) == ([], [Take(MAIN, 60)], False)
