"""Top-ups with an offer: what of it the store does (charging.md section 23). Numbers are worked out from the text by
hand."""

from __future__ import annotations

from typing import Any

import pytest

from balances.structs.account import MAIN, SuspendReasons
from balances.structs.charge import Action, Result
from balances.structs.posting import BucketExtension, Posting
from balances.structs.thresholds import CrossingKind, CrossingOf
from tariffs.ladder import Count, Counted
from tariffs.units import EXACT_MAX, Kind
from tests.balances.rules.account_harness import HOUR, Counterparts, ask, ladder, money, only, use
from tests.balances.rules.conftest import Opened

KEY = "limit=kid|monthly|2027-01"
LIMITED = ladder(money(1), counts=[Count(KEY, Counted.MONEY, limit=100)])


def paid(world: Counterparts, amount: int = 50, *given: Posting, **others: Any) -> None:
    world.post(Posting(MAIN, Kind.MONEY, amount, "top-up", "top-up"), *given, **others)


def end(world: Counterparts, bucket: int) -> int:
    return world.bucket(bucket).until_ms - world.now_ms


def test_no_end_comes_nearer_none_is_made_and_what_is_given_has_its_own(opened: Opened) -> None:
    world = opened(0)
    short = world.grant_bucket(Kind.OCTETS, 10, name="week", until_ms=world.now_ms + HOUR)
    long = world.grant_bucket(Kind.OCTETS, 10, name="week", until_ms=world.now_ms + 9 * HOUR)
    endless = world.grant_bucket(Kind.OCTETS, 10, name="week")
    unopened = world.grant_bucket(Kind.OCTETS, 10, name="week", window_ms=HOUR)
    other = world.grant_bucket(Kind.OCTETS, 10, name="other", until_ms=world.now_ms + HOUR)
    given = Posting(-1, Kind.OCTETS, 5, "top-up", "bonus", until_ms=world.now_ms + 2 * HOUR, name="week")
    paid(world, 50, given, extends=[BucketExtension("week", world.now_ms + 5 * HOUR)])
    ends = [end(world, of) for of in (short, long, other, other + 1)]
    assert ends == [5 * HOUR, 9 * HOUR, HOUR, 2 * HOUR]
    assert world.bucket(endless).until_ms == 0
    assert (world.bucket(unopened).until_ms, world.bucket(unopened).window_ms) == (0, HOUR)
    world.wait(2 * HOUR)
    world.expire("")
    assert [world.has_bucket(of) for of in (short, long, other, other + 1)] == [True, True, False, False]
    world.wait(3 * HOUR)
    world.expire("")
    assert [world.has_bucket(of) for of in (short, long)] == [False, True]
    world.audit()


def test_a_closed_account_takes_no_payment_but_all_of_a_voucher(opened: Opened) -> None:
    """A claim is never taken back (charging.md section 18): what its offer gives comes with it."""
    world = opened(0)
    world.close()
    given = Posting(-1, Kind.OCTETS, 5, "top-up", "bonus", name="week")
    paid(world, 50, given)
    assert (world.status, world.money) == ("refused", (0, 0))
    world.post(Posting(MAIN, Kind.MONEY, 50, "voucher", "voucher"), given)
    assert (world.status, world.money) == ("ok", (50, 0))
    assert [(one.name, one.amount) for one in world.account.buckets if one.id != MAIN] == [("week", 5)]
    world.post(given)
    assert world.status == "refused"
    world.audit()


def test_one_that_has_ended_stays_ended_also_while_it_is_held(opened: Opened) -> None:
    world = opened(0)
    week = world.grant_bucket(Kind.MONEY, 100, name="week", until_ms=world.now_ms + HOUR)
    world.start(ask(asked=80))
    world.wait(HOUR)
    paid(world, extends=[BucketExtension("week", world.now_ms + 5 * HOUR)])
    assert (world.bucket(week).amount, end(world, week)) == (80, 0)
    world.stop(use(30, at_ms=world.now_ms - 1))
    assert not world.has_bucket(week)
    assert world.money == (50, 0), "what was timed before the end is paid from what was held"


def test_a_limit_begins_anew_what_is_held_stays_held_and_room_is_told_once(opened: Opened) -> None:
    world = opened(1_000)
    world.start(ask(asked=100, by=LIMITED))
    world.start(ask(asked=100, by=LIMITED), session="gw;2")
    world.update(ask(asked=100, used=100, by=LIMITED))
    assert world.counter(KEY) == (100, 0)
    assert [(one.kind, one.name) for one in world.records[-1].threshold_events] == [(CrossingKind.REACHED, KEY)]
    paid(world, resets=[KEY, "limit=|unknown|ever"])
    told = world.records[-1]
    assert [(one.kind, one.of, one.name) for one in told.threshold_events] == [
        (CrossingKind.ROOM, CrossingOf.LIMIT, KEY)
    ]
    assert told.reauthorize == ["final"]
    assert world.counter(KEY) == (0, 0)
    assert only(world.update(ask(asked=60, by=LIMITED))).granted == 60
    paid(world, resets=[KEY])
    assert world.records[-1].threshold_events == []
    assert world.counter(KEY) == (0, 60), "what is held stays held"
    world.stop(use(60, by=LIMITED))
    assert world.counter(KEY) == (60, 0)
    world.audit()


def test_a_refund_turns_back_no_more_than_was_used_since(opened: Opened) -> None:
    world = opened(1_000)
    world.event(ask(asked=70, by=LIMITED, whole=True))
    key = world.sent[-1].once_key
    paid(world, resets=[KEY])
    world.event(ask(asked=20, by=LIMITED, whole=True), session="sms;2")
    assert world.counter(KEY) == (20, 0)
    world.event(ask(asked=0, by=LIMITED), action=Action.REFUND, session="sms;r", refund_of=key)
    assert (world.counter(KEY), world.money) == ((0, 0), (1_030, 0))


def test_all_or_nothing_and_once(opened: Opened) -> None:
    world = opened(0)
    week = world.grant_bucket(Kind.OCTETS, 10, name="week", until_ms=world.now_ms + HOUR)
    world.topup(500)
    world.start(ask(asked=30, by=LIMITED))
    world.update(ask(asked=30, used=30, by=LIMITED))
    before = world.account
    too_much = Posting(-1, Kind.OCTETS, EXACT_MAX, "top-up", "bonus")
    all_of_it: dict[str, Any] = {
        "extends": [BucketExtension("week", world.now_ms + 5 * HOUR)],
        "resets": [KEY],
        "key": "k",
    }
    paid(world, 50, too_much, **all_of_it)
    assert (world.status, world.account) == ("refused", before)
    paid(world, 50, **all_of_it)
    after = world.account
    assert (end(world, week), world.counter(KEY), world.status) == (5 * HOUR, (0, 30), "ok")
    paid(world, 50, **all_of_it)
    assert (world.status, world.account) == ("again", after)


@pytest.mark.parametrize("spent", [0, 40], ids=["whole", "spent"])
def test_a_reversal_takes_the_bonus_from_where_it_went(opened: Opened, spent: int) -> None:
    world = opened(0)
    given = Posting(-1, Kind.MONEY, 40, "top-up", "bonus", priority=10, bonus=True)
    paid(world, 100, given)
    bonus = world.account.buckets[0].id
    if spent:
        world.start(ask(asked=spent))
        world.stop(use(spent))
    back = [
        Posting(MAIN, Kind.MONEY, -100, "top-up", "reversal", original=1),
        Posting(bonus, Kind.MONEY, -40, "top-up", "reversal", original=2),
    ]
    outcome = world.post(*back, own_only=True)
    if not spent:
        assert (world.status, world.money, world.bucket(bonus).amount) == ("ok", (0, 0), 0)
        return
    assert outcome is not None
    assert (world.status, outcome.result, world.money) == ("refused", Result.CREDIT_LIMIT, (100, 0))


def test_a_grace_ends_no_sooner_and_none_begins_or_is_undone(opened: Opened) -> None:
    world = opened(0)
    paid(world, grace_until_ms=world.now_ms + 9 * HOUR)
    assert (world.account.state, world.account.grace_until_ms) == (0, 0)
    world.settings(set_state=SuspendReasons.GRACE, grace_until_ms=world.now_ms + 5 * HOUR)
    rev = world.account.rev
    paid(world, grace_until_ms=world.now_ms + 2 * HOUR)
    assert (world.account.grace_until_ms - world.now_ms, world.account.rev) == (5 * HOUR, rev)
    paid(world, grace_until_ms=world.now_ms + 9 * HOUR)
    assert (world.account.grace_until_ms - world.now_ms, world.account.rev) == (9 * HOUR, rev + 1)
    world.wait(5 * HOUR)
    world.expire("")
    assert world.account.state == SuspendReasons.GRACE, "supervision looks again when it ends"
    world.wait(4 * HOUR)
    paid(world, grace_until_ms=world.now_ms + 9 * HOUR)
    assert (world.account.state, world.account.grace_until_ms) == (SuspendReasons.OVERDUE, 0)
    world.audit()
