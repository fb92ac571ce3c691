"""charging.md section 15: limits of what is spent. Numbers are worked out from the text by hand."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from balances import keys
from balances.structs.blob import raw_of
from balances.structs.charge import Action, Flag, NextPrice, Phase, Result
from balances.structs.thresholds import CrossingOf
from tariffs.ladder import Count, Counted, Ladder
from tariffs.units import Kind
from tests.balances.rules.account_harness import (
    HOUR,
    START_MS,
    Counterparts,
    ask,
    bundle,
    grants,
    ladder,
    money,
    only,
    use,
)
from tests.balances.rules.conftest import Opened

KEY = "=kid:month:2027-01"


def limited(limit: int, *steps: Any, key: str = KEY, what: int = Counted.MONEY, **others: Any) -> Ladder:
    """One micro-unit for each octet, unless steps say another price; no more than the limit is granted."""
    return ladder(*(steps or (money(1),)), counts=[Count(key, what, limit=limit)], **others)


def test_a_grant_is_bounded_by_what_the_limit_leaves(opened: Opened) -> None:
    world = opened(100_000)
    by = limited(250)
    assert only(world.start(ask(asked=100, by=by))).granted == 100
    assert world.counter(KEY) == (0, 100)
    line = only(world.update(ask(asked=100, used=100, by=by)))
    assert (line.granted, line.final) == (100, False)
    line = only(world.update(ask(asked=100, used=100, by=by)))
    assert (line.granted, line.final) == (50, True)
    assert world.counter(KEY) == (200, 50)
    assert only(world.update(ask(asked=100, used=50, by=by))).result == Result.CREDIT_LIMIT
    assert world.counter(KEY) == (250, 0)
    assert world.money == (99_750, 0)
    assert world.line().final  # it waits for room


def test_parallel_sessions_never_pass_it_together(opened: Opened) -> None:
    world = opened(100_000)
    by = limited(250)
    assert only(world.start(ask(asked=200, by=by), session="gw;1")).granted == 200
    assert grants(world.start(ask(asked=200, by=by), session="gw;2")) == [50]
    third = world.start(ask(asked=200, by=by), session="gw;3")
    assert third.result == Result.CREDIT_LIMIT
    assert [(one.bucket, one.counter) for one in world.records[-1].short] == [(-1, KEY)]
    assert world.records[-1].reauthorize == ["holder"]
    world.stop(use(20), session="gw;1")
    assert world.counter(KEY) == (20, 50)
    assert grants(world.start(ask(asked=200, by=by), session="gw;4")) == [180]


def test_a_grant_that_only_others_cut_short_is_not_final(opened: Opened) -> None:
    world = opened(100_000)
    by = limited(250)
    world.start(ask(asked=200, by=by), session="gw;1")
    line = only(world.start(ask(asked=100, by=by, minimum=80), session="gw;2"))
    assert (line.granted, line.final) == (50, False)
    assert [one.counter for one in world.records[-1].short] == [KEY]


def test_use_beyond_the_grant_is_charged_in_full_and_settlement_is_never_refused(opened: Opened) -> None:
    world = opened(100_000)
    by = limited(100)
    world.start(ask(asked=100, by=by))
    world.stop(use(180, by=by))
    assert world.money == (99_820, 0)
    assert world.counter(KEY) == (180, 0)
    assert world.flagged(Flag.OVERRUN)
    assert world.start(ask(asked=1, by=by), session="gw;2").result == Result.CREDIT_LIMIT


def test_what_costs_nothing_is_granted_at_a_limit_of_money(opened: Opened) -> None:
    world = opened(100_000)
    free = limited(0, money(0))
    assert only(world.start(ask(asked=100, by=free))).granted == 100
    assert world.start(ask(asked=1, by=limited(0)), session="gw;2").result == Result.CREDIT_LIMIT


def test_a_bundle_does_not_spend_money(opened: Opened) -> None:
    world = opened(1_000)
    world.grant_bucket(Kind.OCTETS, 500)
    by = limited(50, bundle(Kind.OCTETS), money(1))
    assert only(world.start(ask(asked=1_000, by=by))).granted == 550
    assert world.counter(KEY) == (0, 50)
    world.stop(use(520, by=by))
    assert world.counter(KEY) == (20, 0)


def test_a_limit_of_units_counts_units_whatever_pays_them(opened: Opened) -> None:
    world = opened(1_000)
    world.grant_bucket(Kind.OCTETS, 500)
    by = limited(100, bundle(Kind.OCTETS), money(1), what=Counted.UNITS)
    assert only(world.start(ask(asked=80, by=by))).granted == 80
    line = only(world.update(ask(asked=80, used=80, by=by)))
    assert (line.granted, line.final) == (20, True)
    assert only(world.update(ask(asked=80, used=20, by=by))).result == Result.CREDIT_LIMIT


def test_whole_blocks_only_are_bought_within_it(opened: Opened) -> None:
    world = opened(100_000)
    by = limited(25, money(10, block=60))
    line = only(world.start(ask(asked=1_000, by=by)))
    assert (line.granted, line.final) == (120, True)
    assert world.counter(KEY) == (0, 20)


def test_a_setup_fee_counts_and_is_not_held_beyond_it(opened: Opened) -> None:
    world = opened(100_000)
    assert world.start(ask(asked=10, by=limited(20, fee=25))).result == Result.CREDIT_LIMIT
    assert only(world.start(ask(asked=100, by=limited(40, fee=25)), session="gw;2")).granted == 15


def test_a_lower_limit_leaves_holds_and_refuses_grants(opened: Opened) -> None:
    world = opened(100_000)
    world.start(ask(asked=100, by=limited(1_000)))
    assert only(world.update(ask(asked=100, used=100, by=limited(50)))).result == Result.CREDIT_LIMIT
    assert world.counter(KEY) == (100, 0)
    assert only(world.update(ask(asked=100, by=limited(150)))).granted == 50  # raised again


def test_a_new_period_has_room_again_and_late_use_counts_in_the_one_it_was_granted_in(opened: Opened) -> None:
    world = opened(100_000)
    january = ladder(money(1), counts=[Count(KEY, 1, START_MS + HOUR, limit=100)])
    february = ladder(money(1), counts=[Count("=kid:month:2027-02", 1, START_MS + 800 * HOUR, limit=100)])
    line = only(world.start(ask(asked=100, by=january, until_ms=START_MS + HOUR, validity_ms=2 * HOUR)))
    assert line.validity_ms == HOUR
    world.wait(HOUR)
    assert only(world.update(ask(asked=100, used=100, by=february))).granted == 100
    assert world.counter(KEY) == (100, 0)
    assert world.counter("=kid:month:2027-02") == (0, 100)


def test_several_lines_share_what_it_leaves(opened: Opened) -> None:
    world = opened(100_000)
    by = limited(90)
    outcome = world.start(ask(10, 100, by=by), ask(20, 200, by=by))
    assert grants(outcome) == [31, 59]  # one each, 88 in proportion 99 to 199, and what rounding leaves for the first
    assert world.counter(KEY) == (0, 90)


def test_two_limits_bound_by_the_narrower(opened: Opened) -> None:
    world = opened(100_000)
    both = [Count("=kid:day:1", 1, limit=40), Count(KEY, 1, limit=1_000)]
    assert only(world.start(ask(asked=100, by=ladder(money(1), counts=both)))).granted == 40
    assert world.counter("=kid:day:1") == world.counter(KEY) == (0, 40)


def test_an_event_is_all_or_nothing_against_it(opened: Opened) -> None:
    world = opened(100_000)
    by = limited(25)
    assert only(world.event(ask(asked=20, by=by, whole=True))).cost == 20
    outcome = world.event(ask(asked=6, by=by, whole=True), session="sms;2")
    assert (only(outcome).result, world.money) == (Result.CREDIT_LIMIT, (99_980, 0))
    assert only(world.event(ask(asked=5, by=by, whole=True), session="sms;3")).cost == 5
    assert world.counter(KEY) == (25, 0)


def test_an_event_does_not_take_what_a_session_holds(opened: Opened) -> None:
    world = opened(100_000)
    by = limited(25)
    world.start(ask(asked=20, by=by))
    assert only(world.event(ask(asked=6, by=by, whole=True))).result == Result.CREDIT_LIMIT
    assert only(world.event(ask(asked=5, by=by, whole=True), session="sms;2")).result == Result.OK


def test_a_refund_turns_it_back(opened: Opened) -> None:
    world = opened(100_000)
    by = limited(25)
    world.event(ask(asked=20, by=by, whole=True))
    key = world.sent[-1].once_key
    world.event(ask(asked=0, by=by), action=Action.REFUND, session="sms;r", refund_of=key)
    assert world.counter(KEY) == (0, 0)
    assert only(world.event(ask(asked=25, by=by, whole=True), session="sms;2")).result == Result.OK


def test_check_balance_sees_it_and_a_price_enquiry_does_not(opened: Opened) -> None:
    world = opened(100_000)
    by = limited(25)
    assert world.event(ask(asked=25, by=by), action=Action.CHECK).enough
    assert not world.event(ask(asked=26, by=by), action=Action.CHECK).enough
    assert not world.event(ask(asked=20, by=by), ask(20, 20, by=by), action=Action.CHECK).enough
    assert world.event(ask(asked=26, by=by), action=Action.PRICE).cost == 26


def test_money_that_is_asked_for_counts(opened: Opened) -> None:
    """CC-Money holds and settles one to one."""
    world = opened(100_000)
    by = limited(30)
    assert only(world.start(ask(asked=100, by=by, unit=Kind.MONEY))).granted == 30
    world.stop(use(10, by=by, unit=Kind.MONEY))
    assert world.counter(KEY) == (10, 0)


def test_use_that_has_happened_counts(opened: Opened) -> None:
    world = opened(100_000)
    world.request(Phase.RECORD, [use(70, by=limited(25))])
    assert world.counter(KEY) == (70, 0)


def test_time_that_goes_on_into_the_next_period_is_counted_in_both(opened: Opened) -> None:
    """Every second counts in the period it was used in (charging.md 4 and 6, time)."""
    world = opened(100_000)
    first = ladder(money(1), counts=[Count("=kid:day:1", 1, START_MS + 60_000, limit=1_000)])
    second = ladder(money(1), counts=[Count("=kid:day:2", 1, START_MS + 24 * HOUR, limit=1_000)])
    world.start(ask(asked=100, by=first, unit=Kind.SECONDS, until_ms=START_MS + 60_000))
    world.wait(100_000)
    later = [NextPrice(START_MS + 60_000, raw_of(msgspec.msgpack.encode(second)))]
    world.stop(use(100, by=second, unit=Kind.SECONDS, later=later))
    assert world.counter("=kid:day:1") == (60, 0)
    assert world.counter("=kid:day:2") == (40, 0)


@pytest.mark.parametrize("grant", [7, 40, 1_000], ids=str)
def test_a_session_cut_into_reports_spends_no_more_than_the_limit(opened: Opened, grant: int) -> None:
    world = opened(100_000)
    by = limited(100, money(9, block=10))
    got = only(world.start(ask(asked=grant, by=by))).granted
    while True:
        line = only(world.update(ask(asked=grant, used=got, by=by)))
        if line.result != Result.OK:
            break
        got = line.granted
    assert world.counter(KEY) == (99, 0)  # eleven blocks; a twelfth would come to 108
    assert world.money == (100_000 - 99, 0)


def test_a_change_of_limits_names_whose_they_are(opened: Opened) -> None:
    world = opened(1_000)
    world.settings(profile_rev=3, limited=["anna", ""])
    assert world.records[-1].reauthorize == ["members", "final", "limits anna", "limits "]
    world.settings(profile_rev=3, limited=["anna"])
    assert world.records[-1].reauthorize == [], "it was told already"


def crossed(world: Counterparts) -> list[tuple[str, str, int, int]]:
    events = world.records[-1].threshold_events
    assert all(one.of == CrossingOf.LIMIT for one in events)
    return [(one.kind, one.name, one.level, one.value) for one in events]


def test_a_limit_is_reached_once_by_what_was_used_and_never_by_what_is_held(opened: Opened) -> None:
    world = opened(100_000)
    by = limited(100)
    world.start(ask(asked=100, by=by))
    assert crossed(world) == []
    world.update(ask(asked=100, used=60, by=by))
    assert crossed(world) == []
    world.update(ask(asked=100, used=45, by=by))
    assert crossed(world) == [("reached", KEY, 100, 105)]
    world.update(ask(asked=100, by=by))
    assert crossed(world) == []
    assert world.account.generation == 0
    world.update(ask(asked=100, by=limited(200)))
    assert crossed(world) == [("room", KEY, 200, 105)]
    world.update(ask(asked=100, used=10, by=limited(110)))
    assert crossed(world) == [("reached", KEY, 110, 115)]


def test_the_end_of_its_period_makes_room_and_asks_who_waits(opened: Opened) -> None:
    world = opened(100_000)
    by = ladder(money(1), counts=[Count(KEY, 1, START_MS + HOUR, limit=100)])
    world.start(ask(asked=100, by=by))
    world.update(ask(asked=100, used=100, by=by))
    assert crossed(world) == [("reached", KEY, 100, 100)]
    world.wait(HOUR - 1)
    assert world.expire("") == "later"
    world.wait(1)
    assert world.expire("") == "ok"
    assert [one[:2] for one in crossed(world)] == [("room", KEY)]
    assert world.records[-1].reauthorize == ["final"]
    assert world.expire("") == "gone"
    assert world.counter(KEY) == (100, 0)


def test_its_end_is_watched_over_by_a_store_that_the_account_was_restored_to(opened: Opened) -> None:
    """durability.md rule 8: what is due comes back with the account, also where its time came meanwhile."""
    world = opened(100_000)
    by = ladder(money(1), counts=[Count(KEY, 1, START_MS + HOUR, limit=100)])
    world.start(ask(asked=100, by=by))
    world.stop(use(100, by=by))
    assert [one[0] for one in crossed(world)] == ["reached"]
    account, twins = world.account, world.twins
    model, shard = twins.model, keys.shard_of(account.id)
    for redis in (twins.redis, twins.general):
        redis.delete(keys.account(account.id), keys.due(shard))
    model.due.clear()
    del model.accounts[account.id], model.sessions[account.id]
    world.wait(2 * HOUR)
    assert twins.open(account, world.now_ms) == "ok"
    assert twins.redis.zscore(keys.due(shard), keys.due_member(account.id, "")) == START_MS + HOUR
    assert world.expire("") == "ok"
    assert [one[:2] for one in crossed(world)] == [("room", KEY)]


def test_what_a_refund_turns_back_makes_room(opened: Opened) -> None:
    world = opened(100_000)
    by = limited(20)
    world.event(ask(asked=20, by=by, whole=True))
    assert crossed(world) == [("reached", KEY, 20, 20)]
    key = world.sent[-1].once_key
    world.event(ask(asked=0, by=by), action=Action.REFUND, session="sms;r", refund_of=key)
    assert crossed(world) == [("room", KEY, 20, 0)]
