"""What a refund turns back of counters, and its reversal counts again (charging.md section 9). Numbers are worked out
from the text by hand."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from balances.keys import event_key
from balances.packing import pack
from balances.structs.account import MAIN
from balances.structs.blob import raw_of
from balances.structs.charge import Action
from balances.structs.posting import CounterReturn, Posting
from balances.structs.record import CounterAccount
from balances.structs.thresholds import CrossingKind
from tariffs.ladder import Count, Counted
from tariffs.units import Kind
from tests.balances.rules.account_harness import ACCOUNT, HOUR, Counterparts, ask, bundle, ladder, money, use
from tests.balances.rules.conftest import Opened

KEY = "limit=kid|monthly|2027-01"
WINDOW = "pass|kid"


def refunded(world: Counterparts, amount: int, *returns: CounterReturn) -> list[CrossingKind]:
    """The crossings that it made."""
    posting = Posting(MAIN, Kind.MONEY, amount, CounterAccount.REVENUE, "refund")
    world.post(posting, returns=list(returns))
    return [CrossingKind(one.kind) for one in world.records[-1].threshold_events]


def used(world: Counterparts, amount: int, *counts: Count) -> None:
    by = ladder(money(1), counts=list(counts))
    world.start(ask(asked=amount, by=by))
    world.stop(use(amount, by=by))


def test_a_limit_that_was_reached_has_room_again_once(opened: Opened) -> None:
    world = opened(1_000)
    used(world, 100, Count(KEY, Counted.MONEY, limit=100))
    back = CounterReturn(KEY, 30, limit=100)
    assert refunded(world, 30, back) == [CrossingKind.ROOM]
    assert world.counter(KEY) == (70, 0)
    assert refunded(world, 30, back) == []
    assert (world.counter(KEY), world.money) == ((40, 0), (960, 0))
    world.audit()


def test_what_is_still_at_its_limit_has_no_room(opened: Opened) -> None:
    world = opened(1_000)
    used(world, 100, Count(KEY, Counted.MONEY, limit=100))
    assert refunded(world, 30, CounterReturn(KEY, 30, limit=70)) == []
    assert world.counter(KEY) == (70, 0)


def test_a_counter_never_falls_below_nothing_and_a_reversal_counts_again(opened: Opened) -> None:
    world = opened(1_000)
    used(world, 50, Count(KEY, Counted.UNITS))
    refunded(world, 50, CounterReturn(KEY, 80), CounterReturn("none", 5))
    assert world.counter(KEY) == (0, 0)
    refunded(world, -50, CounterReturn(KEY, -50))
    assert world.counter(KEY) == (50, 0), "also of one that had come to nothing"
    used(world, 20, Count(KEY, Counted.UNITS))
    refunded(world, -50, CounterReturn(KEY, -50))
    assert world.counter(KEY) == (70, 0), "no more than was turned back"


def test_what_began_anew_meanwhile_counts_again_what_was_turned_back_since(opened: Opened) -> None:
    """An offer began the limit anew after the refund, so its reversal counts nothing; of a later refund of 30 only the
    20 that were used since were turned back, and are counted again."""
    world = opened(1_000)
    used(world, 100, Count(KEY, Counted.MONEY, limit=500))
    refunded(world, 30, CounterReturn(KEY, 30))
    world.topup(10, resets=[KEY])
    refunded(world, -30, CounterReturn(KEY, -30))
    assert world.counter(KEY) == (0, 0)
    used(world, 20, Count(KEY, Counted.MONEY, limit=500))
    refunded(world, 30, CounterReturn(KEY, 30))
    assert world.counter(KEY) == (0, 0)
    refunded(world, -30, CounterReturn(KEY, -30))
    refunded(world, -30, CounterReturn(KEY, -30))
    assert world.counter(KEY) == (20, 0)
    world.audit()


def test_one_that_was_turned_back_whole_is_forgotten_after_its_period(opened: Opened) -> None:
    world = opened(1_000)
    until_ms = world.now_ms + HOUR
    used(world, 50, Count(KEY, Counted.MONEY, until_ms=until_ms))
    refunded(world, 50, CounterReturn(KEY, 50, until_ms))
    assert [one.turned for one in world.account.counters] == [50]
    world.wait(HOUR + 8 * 24 * HOUR)
    world.topup(1)
    assert world.account.counters == []


@pytest.mark.parametrize(
    ("later", "left"),
    [(0, 20), (-26 * HOUR, 20), (26 * HOUR, 20), (26 * HOUR + 1, 50), (-6 * 24 * HOUR, 50)],
    ids=["its period", "of a clock before", "of a clock behind", "another one", "a day and a week"],
)
def test_only_its_own_period_is_turned_back(opened: Opened, later: int, left: int) -> None:
    """Which ends at the midnight of another clock where the use was in another country (section 6)."""
    world = opened(1_000)
    until_ms = world.now_ms + 7 * 24 * HOUR
    used(world, 50, Count(KEY, Counted.MONEY, until_ms=until_ms))
    refunded(world, 30, CounterReturn(KEY, 30, until_ms + later))
    assert world.counter(KEY) == (left, 0)


def test_a_window_is_the_one_it_was_used_in(opened: Opened) -> None:
    world = opened(1_000)
    first_ms = world.now_ms
    used(world, 50, Count(WINDOW, Counted.UNITS, window_ms=HOUR))
    world.wait(HOUR)
    used(world, 40, Count(WINDOW, Counted.UNITS, window_ms=HOUR))
    assert world.counter(WINDOW) == (40, 0)
    refunded(world, 30, CounterReturn(WINDOW, 30, 0, HOUR, first_ms))
    assert world.counter(WINDOW) == (40, 0)
    refunded(world, 30, CounterReturn(WINDOW, 30, 0, HOUR, world.now_ms))
    assert world.counter(WINDOW) == (10, 0)


def test_the_reversal_of_an_events_refund_brings_it_back(opened: Opened) -> None:
    """Of 8 units 4 were a bundle's: half goes back, last paid first, and comes again with all it counted."""
    world = opened(1_000)
    world.grant_bucket(Kind.OCTETS, 4)
    until_ms = world.now_ms + 24 * HOUR
    by = ladder(bundle(Kind.OCTETS), money(1), counts=[Count(KEY, Counted.UNITS, until_ms)])
    world.event(ask(asked=8, by=by))
    event = event_key("sms;1", 0)
    refund: dict[str, Any] = {"once_key": "http 1", "refund_of": event, "actor": "anna", "number": 1}
    world.event(ask(asked=4), action=Action.REFUND, **refund)
    assert (world.counter(KEY), world.money) == ((4, 0), (998, 0))
    given = world.twins.model.answers[ACCOUNT, "http 1"]
    assert (given.units, given.cost, [one.amount for one in given.takes]) == (4, 2, [2, 2])
    back = [Posting(one.bucket, one.kind, -one.amount, CounterAccount.REVENUE, "reversal") for one in given.takes]
    again: dict[str, Any] = {"refund_of": event, "refund": raw_of(pack(given))}
    for _ in range(2):
        world.post(*back, key="v1", returns=[CounterReturn(KEY, -4, until_ms)], **again)
        paid = world.twins.model.answers[ACCOUNT, event]
        assert (paid.units, paid.cost, [one.amount for one in paid.takes]) == (8, 4, [4, 4])
    assert (world.counter(KEY), world.money) == ((8, 0), (996, 0))
    world.event(ask(asked=8), action=Action.REFUND, **refund | {"once_key": "http 2", "number": 2})
    assert (world.counter(KEY), world.money) == ((0, 0), (1_000, 0))
    world.audit()


def test_what_cannot_be_taken_back_whole_is_not_given_again(opened: Opened) -> None:
    """Of a bonus bucket only what it still has is taken."""
    world = opened(1_000)
    bucket = world.grant_bucket(Kind.MONEY, 5)
    world.event(ask(asked=5, by=ladder(money(1))))
    event = event_key("sms;1", 0)
    refund: dict[str, Any] = {"once_key": "http 1", "refund_of": event, "actor": "anna", "number": 1}
    world.event(ask(asked=5), action=Action.REFUND, **refund)
    world.event(ask(asked=3, by=ladder(money(1))), session="sms;2")
    given = world.twins.model.answers[ACCOUNT, "http 1"]
    back = Posting(bucket, Kind.MONEY, -5, CounterAccount.REVENUE, "reversal", up_to=True)
    world.post(back, refund_of=event, refund=raw_of(pack(given)))
    paid = world.twins.model.answers[ACCOUNT, event]
    assert (paid.units, paid.cost, [one.amount for one in paid.takes]) == (0, 0, [0])
    world.audit()


def test_another_event_under_the_key_gets_nothing_of_it(opened: Opened) -> None:
    """A client that counts from the beginning again uses its keys again, when the answers are forgotten."""
    world = opened(1_000)
    world.event(ask(asked=5, by=ladder(money(1))))
    event = event_key("sms;1", 0)
    refund: dict[str, Any] = {"once_key": "http 1", "refund_of": event, "actor": "anna", "number": 1}
    world.event(ask(asked=5), action=Action.REFUND, **refund)
    given = world.twins.model.answers[ACCOUNT, "http 1"]
    other = msgspec.structs.replace(world.twins.model.answers[ACCOUNT, event], end_to_end=7)
    back = Posting(MAIN, Kind.MONEY, -5, CounterAccount.REVENUE, "reversal")
    world.post(back, refund_of="event other 0", original=raw_of(pack(other)), refund=raw_of(pack(given)))
    assert world.status == "ok"
    assert (ACCOUNT, "event other 0") not in world.twins.model.answers
    assert world.records[-1].refund_of == ""
