"""charging.md section 9: one-time events, refunds, enquiries, and use that has already happened."""

from __future__ import annotations

from typing import Any

import pytest

from balances.keys import event_key
from balances.structs.account import SuspendReasons
from balances.structs.charge import Action, Flag, Outcome, Phase, Result
from tariffs.ladder import Count
from tariffs.units import Kind
from tests.balances.rules.account_harness import (
    FREE,
    HOUR,
    MINUTE,
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

DATA = ladder(bundle(Kind.OCTETS), money(1))
FIRST = event_key("sms;1", 0)


def debit(world: Counterparts, units: int, **others: Any) -> Outcome:
    return world.event(ask(asked=units, **({"maximum": 0, "whole": True} | others)))


def refund(world: Counterparts, units: int = 0, of: str = FIRST, unit: Kind = Kind.OCTETS, **others: Any) -> Outcome:
    return world.event(ask(asked=units, maximum=0, unit=unit), action=Action.REFUND, refund_of=of, **others)


# --- debit ----------------------------------------------------------------------------------------------------


def test_an_event_is_debited_at_once(opened: Opened) -> None:
    """DIRECT_DEBITING: nothing is held."""
    world = opened(1_000)
    paid = debit(world, 100)
    assert (paid.result, only(paid).granted, paid.cost) == (Result.OK, 100, 100)
    assert world.money == (900, 0)


def test_an_event_is_all_or_nothing(opened: Opened) -> None:
    """`DIRECT_DEBITING is all or nothing per line unless the service row allows part`."""
    world = opened(99)
    refused = debit(world, 100)
    assert (refused.result, only(refused).granted, refused.cost) == (Result.CREDIT_LIMIT, 0, 0)
    assert world.money == (99, 0)


def test_a_service_may_allow_part(opened: Opened) -> None:
    """`unless the service row allows part`."""
    world = opened(99)
    assert only(debit(world, 100, whole=False)).granted == 99
    assert world.money == (0, 0)


def test_all_or_nothing_is_of_each_line(opened: Opened) -> None:
    """`per line`."""
    world = opened(150)
    lines = [ask(rg, asked=100, maximum=0, whole=True) for rg in (10, 20)]
    outcome = world.event(*lines)
    assert grants(outcome) == [100, 0]
    assert [line.result for line in outcome.lines] == [Result.OK, Result.CREDIT_LIMIT]
    assert world.money == (50, 0)


def test_an_event_is_paid_to_the_end_of_the_credit_limit(opened: Opened) -> None:
    """Spendable, with what sessions hold taken off."""
    world = opened(50, credit_limit=100)
    world.start(ask(asked=60))
    assert debit(world, 91).result == Result.CREDIT_LIMIT
    assert debit(world, 90).result == Result.OK
    assert world.money == (-40, 60)


def test_an_event_never_takes_part_of_a_bundle_when_the_whole_is_not_covered(opened: Opened) -> None:
    """Nothing: neither the bundle that would have paid the first half."""
    world = opened(10)
    of = world.grant_bucket(Kind.OCTETS, 50)
    assert debit(world, 100, by=DATA).result == Result.CREDIT_LIMIT
    assert (world.bucket(of).amount, world.money) == (50, (10, 0))


def test_a_repeated_event_is_debited_once(opened: Opened) -> None:
    """Section 3, of events: within the hour Redis remembers."""
    world = opened(1_000)
    paid = debit(world, 100)
    world.wait(HOUR - 1)
    assert world.repeat(resend=True, end_to_end=7) == paid
    assert (world.status, world.money) == ("again", (900, 0))


def test_a_refused_event_is_decided_anew_for_another_end_to_end_id(opened: Opened) -> None:
    """[Top-up in between.]"""
    world = opened()
    refused = debit(world, 100)
    world.topup(1_000)
    assert world.repeat(resend=True) == refused
    assert world.repeat(end_to_end=7).result == Result.OK
    assert world.money == (900, 0)


def test_another_event_under_a_used_number_is_charged_and_flagged(opened: Opened) -> None:
    """Section 3: renumbered, once as well; a retransmission of other content is a conflict."""
    world = opened(1_000)
    first = debit(world, 100)
    second = world.event(ask(asked=30, maximum=0, whole=True), number=0)
    assert second.cost == 30
    assert world.flagged(Flag.RENUMBERED)
    assert world.repeat(end_to_end=7) == second
    assert world.repeat(world.sent[0], end_to_end=8) == first
    assert world.event(ask(asked=31, maximum=0, whole=True), number=0, resend=True) == first
    assert world.flagged(Flag.CONFLICT)
    assert world.money == (870, 0)


def test_an_event_of_money_is_one_to_one(opened: Opened) -> None:
    """CC-Money is not rated."""
    world = opened(1_000)
    assert debit(world, 250, unit=Kind.MONEY).cost == 250
    assert world.money == (750, 0)


def test_a_free_event_is_served_at_balance_zero_and_on_record(opened: Opened) -> None:
    """`every settled piece, event and refusal, also at price 0` (section 1)."""
    world = opened()
    assert only(debit(world, 3, by=FREE, free=True)).granted == 3
    assert (world.usage.used, world.usage.cost) == (3, 0)


def test_an_event_of_a_barred_account_is_denied(opened: Opened) -> None:
    """4010."""
    world = opened(1_000)
    world.settings(set_state=SuspendReasons.FRAUD)
    assert debit(world, 1).result == Result.DENIED
    assert world.money == (1_000, 0)


def test_an_event_with_a_fee_pays_it(opened: Opened) -> None:
    """The set-up fee of its line; each event is a line of its own."""
    world = opened(1_000)
    for _ in range(2):
        assert debit(world, 10, by=ladder(money(1), fee=50)).cost == 60
    assert world.money == (880, 0)


def test_a_refund_of_a_rounded_event_gives_back_what_was_charged(opened: Opened) -> None:
    """`A refund gives back, in proportion, what was charged` (section 4)."""
    world = opened(1_000)
    assert debit(world, 13, by=ladder(money(1), to=10)).cost == 20
    refund(world, 5)
    assert world.money == (987, 0)
    refund(world, 8)
    assert world.money == (1_000, 0)


# --- refund ---------------------------------------------------------------------------------------------------


def test_a_refund_without_an_amount_gives_all_back(opened: Opened) -> None:
    """`REFUND_ACCOUNT finds the original by Refund-Information (sent by us at the debit)`."""
    world = opened(1_000)
    debit(world, 100)
    back = refund(world)
    assert (back.result, only(back).granted) == (Result.OK, 100)
    assert world.money == (1_000, 0)
    assert world.flagged(Flag.REFUND)


def test_a_refund_is_made_once(opened: Opened) -> None:
    """Its repeat is a repeat; a second refund finds nothing left."""
    world = opened(1_000)
    debit(world, 100)
    back = refund(world)
    assert world.repeat(resend=True, end_to_end=7) == back
    assert refund(world, 1).result == Result.TOO_MUCH
    assert world.money == (1_000, 0)


def test_parts_add_up_to_at_most_the_debit(opened: Opened) -> None:
    """`parts add up to at most the debit`."""
    world = opened(1_000)
    debit(world, 100)
    assert refund(world, 30).result == Result.OK
    assert refund(world, 50).result == Result.OK
    assert world.money == (980, 0)
    assert refund(world, 21).result == Result.TOO_MUCH
    assert world.money == (980, 0)
    assert refund(world, 20).result == Result.OK
    assert world.money == (1_000, 0)


def test_more_than_was_paid_is_not_refunded(opened: Opened) -> None:
    """Not at all, rather than up to it."""
    world = opened(1_000)
    debit(world, 100)
    assert refund(world, 101).result == Result.TOO_MUCH
    assert world.money == (900, 0)


def test_the_last_paid_bucket_is_refunded_first(opened: Opened) -> None:
    """`last-paid bucket first`."""
    world = opened(1_000)
    bonus = world.grant_bucket(Kind.MONEY, 60)
    debit(world, 100)
    assert (world.bucket(bonus).amount, world.money) == (0, (960, 0))
    refund(world, 50)
    assert (world.bucket(bonus).amount, world.money) == (10, (1_000, 0))
    refund(world)
    assert (world.bucket(bonus).amount, world.money) == (60, (1_000, 0))


def test_units_of_a_bundle_are_refunded_to_it(opened: Opened) -> None:
    """The money was paid last; then the units."""
    world = opened(1_000)
    of = world.grant_bucket(Kind.OCTETS, 60)
    debit(world, 100, by=DATA)
    refund(world)
    assert (world.bucket(of).amount, world.money) == (60, (1_000, 0))


def test_counters_turn_back(opened: Opened) -> None:
    """`counters turn back`, by the part that was refunded."""
    by = ladder(money(1), counts=[Count("tier")])
    world = opened(1_000)
    debit(world, 100, by=by)
    assert world.counter("tier") == (100, 0)
    refund(world, 30)
    assert world.counter("tier") == (70, 0)
    refund(world)
    assert world.counter("tier") == (0, 0)


def test_money_of_an_expired_bucket_is_refunded_to_main(opened: Opened) -> None:
    """`an expired bucket: money to main`."""
    world = opened(0)
    world.grant_bucket(Kind.MONEY, 100, until_ms=world.now_ms + MINUTE)
    debit(world, 80)
    world.wait(MINUTE)
    world.expire("")
    refund(world)
    assert world.money == (80, 0)


def test_units_of_an_expired_bucket_are_back_for_a_configured_time(opened: Opened) -> None:
    """`units back for a configured time`."""
    world = opened(0)
    of = world.grant_bucket(Kind.OCTETS, 100, until_ms=world.now_ms + MINUTE)
    debit(world, 80, by=DATA)
    world.wait(MINUTE)
    world.expire("")
    assert not world.has_bucket(of)
    refund(world, refund_until_ms=world.now_ms + HOUR)
    [back] = [bucket for bucket in world.account.buckets if bucket.kind == Kind.OCTETS]
    assert (back.amount, back.until_ms) == (80, world.now_ms + HOUR)


def test_a_refund_of_an_unknown_event_is_not_found(opened: Opened) -> None:
    """`without original only where the service allows`."""
    world = opened(1_000)
    assert refund(world, 10, of="gone 1").result == Result.NOT_FOUND
    assert world.money == (1_000, 0)


@pytest.mark.parametrize(("amount", "balance"), [(50, 50), (51, 0)])
def test_a_refund_without_original_is_limited(opened: Opened, amount: int, balance: int) -> None:
    """`... up to a limit`."""
    world = opened()
    refunded = refund(world, amount, of="gone 1", refund_free=50, unit=Kind.MONEY)
    assert (refunded.result == Result.OK, world.money) == (balance > 0, (balance, 0))


def test_rated_units_are_refunded_without_original(opened: Opened) -> None:
    """`credit account by RSU money or rated units`."""
    world = opened()
    assert refund(world, 50, of="gone 1", refund_free=50, unit=Kind.OCTETS).result == Result.OK
    assert world.money == (50, 0)


def test_a_refund_lifts_the_suspension(opened: Opened) -> None:
    """A credit like any other (section 7)."""
    world = opened(1_000, suspend_below=950, resume_at=950)
    debit(world, 100)
    assert world.account.state == SuspendReasons.CREDIT
    refund(world)
    assert world.account.state == SuspendReasons.ACTIVE


def test_a_refund_is_given_in_any_state(opened: Opened) -> None:
    """It is settlement: what was not delivered is given back to a barred account too."""
    world = opened(1_000)
    debit(world, 100)
    world.settings(set_state=SuspendReasons.BARRED)
    assert refund(world).result == Result.OK
    assert world.money == (1_000, 0)


# --- enquiries ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("units", "enough"), [(70, True), (71, False)])
def test_check_balance_compares_with_what_is_spendable(opened: Opened, units: int, enough: bool) -> None:
    """`CHECK_BALANCE holds nothing`; 2001 in both cases."""
    world = opened(50, credit_limit=100)
    world.start(ask(asked=80))
    before = world.account.buckets
    checked = world.event(ask(asked=units, maximum=0, whole=True), action=Action.CHECK)
    assert (checked.result, checked.enough) == (Result.OK, enough)
    assert world.account.buckets == before


def test_check_balance_looks_anew_each_time(opened: Opened) -> None:
    """Nothing moved, so another End-to-End-Id is another question."""
    world = opened(50)
    assert not world.event(ask(asked=100, maximum=0, whole=True), action=Action.CHECK).enough
    world.topup(50)
    assert world.repeat(end_to_end=7).enough


def test_price_enquiry_touches_nothing(opened: Opened) -> None:
    """`PRICE_ENQUIRY touches nothing`: `price only, balance not looked at`."""
    world = opened()
    before = (world.account, len(world.records), world.twins.sessions("acc"))
    priced = world.event(ask(asked=100, maximum=0, by=ladder(money(7), fee=50)), action=Action.PRICE)
    assert (priced.result, priced.cost) == (Result.OK, 750)
    assert (world.account, len(world.records), world.twins.sessions("acc")) == before


def test_price_enquiry_of_a_suspended_account_has_its_price(opened: Opened) -> None:
    """The balance is not looked at, nor what it led to."""
    world = opened(-50, suspend_below=0, resume_at=0)
    assert world.event(ask(asked=10, maximum=0), action=Action.PRICE).cost == 10


# --- sessions as events, and use that has happened ------------------------------------------------------------


def test_an_event_with_reservation_is_a_session(opened: Opened) -> None:
    """`Event with reservation is a session of I + T`."""
    world = opened(1_000)
    world.start(ask(asked=1, unit=Kind.UNITS))
    assert world.money == (1_000, 1)
    world.stop(use(1, unit=Kind.UNITS))
    assert world.money == (999, 0)


def test_recorded_use_is_charged_without_a_grant_once(opened: Opened) -> None:
    """`enters at the same waist as phase RECORD: charged without grant, once`."""
    world = opened(1_000)
    recorded = world.request(Phase.RECORD, [use(300)], session="cdr;1")
    assert recorded.result == Result.OK
    assert sum(grants(recorded)) == 0
    assert world.money == (700, 0)
    assert world.usage.flags == 0
    assert world.repeat(end_to_end=7) == recorded
    assert world.money == (700, 0)


def test_recorded_use_is_charged_in_any_state_and_below_zero(opened: Opened) -> None:
    """It has happened."""
    world = opened(100)
    world.settings(set_state=SuspendReasons.BARRED)
    assert world.request(Phase.RECORD, [use(300)], session="cdr;1").result == Result.OK
    assert world.money == (-200, 0)
