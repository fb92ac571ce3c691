"""charging.md section 4, "Rounding of a tax": the tax in what a line has cost so far is rounded, at any time."""

from __future__ import annotations

from fractions import Fraction
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from balances.ledger.terms import MoneyTerms, given_tax, read
from balances.structs.charge import Action
from balances.structs.posting import FeeStep
from balances.structs.record import Entry, Record
from tariffs.ladder import Ladder
from tariffs.units import EXACT_MAX, Kind, SumRounding
from tests.balances.rules.account_harness import Counterparts, ask, ladder, money, use
from tests.balances.rules.conftest import Opened
from tests.balances.rules.test_random_sessions import random_ladder
from tests.balances.rules.test_recurring_fees import fee
from tests.tariffs.blockwise import multiple

VAT = "tax=190000;tax_to=10000/half_up"


def taxed(by: Ladder, terms: str = VAT) -> Ladder:
    return msgspec.structs.replace(by, terms=terms)


def rounded_tax(gross: int, ppm: int, to: int, rounding: int) -> int:
    """By the rule: of an amount with tax, the tax as a multiple of `to`."""
    exact = Fraction(gross * ppm, 1_000_000 + ppm)
    return multiple(exact, to, SumRounding(rounding))


def entries_of(record: Record) -> list[tuple[Entry, str]]:
    """Those of money, with their terms."""
    found = [entry for entry in record.entries if entry.kind == Kind.MONEY]
    return [(one, record.usages[one.line].terms if one.line >= 0 else one.terms) for one in found]


def taxes(world: Counterparts, session: str) -> list[int]:
    """What the ledger writes for entries of use, in order."""
    records = [record for record in world.records if record.session == session]
    return [read(terms).tax_in(one.amount, one.before) for record in records for one, terms in entries_of(record)]


# --- arithmetic


@given(st.integers(0, EXACT_MAX), st.integers(0, 1_000_000), st.integers(1, 10**7), st.sampled_from(SumRounding))
def test_the_tax_of_all_at_once_is_the_rounded_one(gross: int, ppm: int, to: int, rounding: SumRounding) -> None:
    terms = read(f"tax={ppm};tax_to={to}/{rounding.name.lower()}")
    assert terms == MoneyTerms(ppm, None, to, rounding, None)
    assert terms.tax_in(-gross, 0) == -rounded_tax(gross, ppm, to, rounding)
    assert terms.tax_in(gross, gross) == rounded_tax(gross, ppm, to, rounding)


@given(st.lists(st.integers(0, 10**6), max_size=20), st.integers(0, 10**6), st.sampled_from(SumRounding))
def test_taxes_of_parts_add_up_to_it(parts: list[int], ppm: int, rounding: SumRounding) -> None:
    terms, before, total = read(f"tax={ppm};tax_to=10000/{rounding.name.lower()}"), 0, 0
    for part in parts:
        total, before = total - terms.tax_in(-part, before), before + part
    assert total == rounded_tax(before, ppm, 10_000, rounding)


@given(st.integers(-(10**12), 10**12))
def test_without_a_rounding_each_entry_is_rounded_by_itself(amount: int) -> None:
    exact = Fraction(abs(amount) * 190_000, 1_190_000)
    assert read("tax=190000").tax_in(amount, 777) == (1 if amount >= 0 else -1) * int(exact + Fraction(1, 2))


def test_a_correction_says_its_tax_itself() -> None:
    assert read(";".join(given_tax(-1_597))).tax_in(-10_000, 0) == -1_597
    assert given_tax(None) == ()


# --- what is charged


@pytest.mark.parametrize("cuts", [(100,), (33, 33, 34), (7,) * 14 + (2,), (1,) * 100])
def test_a_session_has_the_same_tax_however_it_is_cut(opened: Opened, cuts: tuple[int, ...]) -> None:
    """100 units at 0.001234 with 19 %: 0.1234 contain 0.0197, and 0.02 rounded to cents."""
    by, world = taxed(ladder(money(1_234))), opened(1_000_000)
    world.start(ask(10, 100, by=by))
    for cut in cuts:
        world.update(ask(10, 100, used=cut, by=by))
    world.stop()
    assert sum(taxes(world, "gw;1")) == -20_000
    assert all(tax % 10_000 == 0 for tax in taxes(world, "gw;1"))


@pytest.mark.parametrize("seed", range(40))
def test_any_line_contains_the_rounded_tax_after_each_report(opened: Opened, seed: int) -> None:
    """Set-up fee, minimum, maximum, several buckets, use beyond the grant, another line beside it."""
    rng = Random(seed)
    to, rounding = rng.choice((7, 1_000, 10_000)), rng.choice(list(SumRounding))
    by = taxed(random_ladder(rng, counters=False), f"tax=190000;tax_to={to}/{rounding.name.lower()};rate=1.5")
    world = opened(10_000_000)
    for _ in range(rng.randrange(3)):
        world.grant_bucket(Kind.MONEY, rng.randrange(1, 2_000))
    started = world.start(ask(10, rng.choice((1, 50, 300)), by=by), ask(20, 50))
    granted = started.lines[0].granted
    for turn in range(rng.randrange(2, 12)):
        used = rng.choice((0, granted, rng.randrange(granted + 1), granted + 3))
        wish = rng.choice((-1, 1, 50, 300))
        send = world.update if turn or wish < 0 else world.stop
        outcome = send(ask(10, wish, used=used, by=by), use(turn, 20))
        granted = outcome.lines[0].granted
        taxed_money = [
            (one, terms)
            for record in world.records
            for one, terms in entries_of(record)
            if terms.startswith("tax=") and record.session
        ]
        charged = -sum(one.amount for one, _ in taxed_money)
        assert sum(read(terms).tax_in(one.amount, one.before) for one, terms in taxed_money) == -rounded_tax(
            charged, 190_000, to, rounding
        )


def test_each_line_has_a_sum_of_its_own(opened: Opened) -> None:
    by, world = taxed(ladder(money(1))), opened(1_000_000)
    world.start(ask(10, 50_000, by=by), ask(20, 50_000, by=by))
    world.stop(use(40_000, 10, by=by), use(40_000, 20, by=by))
    assert taxes(world, "gw;1") == [-10_000, -10_000]  # 0.04 contain 0.006


def test_a_new_incarnation_begins_anew(opened: Opened) -> None:
    by, world = taxed(ladder(money(1))), opened(1_000_000)
    world.start(ask(10, 50_000, by=by))
    world.stop(use(20_000, by=by))
    world.start(ask(10, 50_000, by=by), number=0)
    world.stop(use(20_000, by=by))
    assert taxes(world, "gw;1") == [0, 0]  # each contains 0.0032


def test_late_use_goes_on_with_the_sum(opened: Opened) -> None:
    by, world = taxed(ladder(money(1))), opened(1_000_000)
    world.start(ask(10, 50_000, by=by))
    world.stop(use(20_000, by=by))
    world.stop(use(20_000, by=by))
    assert taxes(world, "gw;1") == [0, -10_000]  # together 0.0064


# --- events and what is given back


@pytest.mark.parametrize("seed", range(20))
def test_refunds_of_an_event_give_back_its_tax(opened: Opened, seed: int) -> None:
    """Of one line or two, in any parts; after each the tax is that of what is left."""
    rng = Random(seed)
    by, world = taxed(ladder(money(rng.choice((1, 777))))), opened(100_000_000)
    if rng.random() < 0.5:
        world.grant_bucket(Kind.MONEY, 20_000)
    lines = [ask(rg, rng.randrange(1, 90_000), by=by, whole=True) for rg in (10, 20)[: rng.randrange(1, 3)]]
    cost = world.event(*lines).cost
    assert -sum(taxes(world, "sms;1")) == rounded_tax(cost, 190_000, 10_000, SumRounding.HALF_UP)
    key, left = world.sent[-1].once_key, cost
    while left:
        part = min(left, rng.randrange(1, cost + 1))
        all_of_it = part == left
        back = ask(10, 0 if all_of_it else part, by=None, unit=Kind.MONEY)
        world.event(back, action=Action.REFUND, refund_of=key, session=f"back;{left}")
        left -= part
        told = [
            read(terms).tax_in(one.amount, one.before)
            for record in world.records
            if record.session
            for one, terms in entries_of(record)
        ]
        assert -sum(told) == rounded_tax(left, 190_000, 10_000, SumRounding.HALF_UP)


# --- recurring fees


@pytest.mark.parametrize("seed", range(20))
def test_a_fee_that_is_paid_in_parts_contains_the_tax_of_what_was_paid(opened: Opened, seed: int) -> None:
    """Also of what is kept of it, when its end gives a part back."""
    rng = Random(seed)
    price, world, charged = rng.randrange(50_000, 200_000), opened(), 0

    def told() -> tuple[int, int]:
        """Charged so far, and the tax in it."""
        found = [one for record in world.records for one in entries_of(record) if one[0].why == "fee"]
        tax = sum(read(terms).tax_in(one.amount, one.before) for one, terms in found)
        return -sum(one.amount for one, _ in found), -tax

    for _ in range(4):
        world.topup(rng.randrange(1, price // 3))
        if rng.random() < 0.3:
            world.grant_bucket(Kind.MONEY, rng.randrange(1, 9_000))
        fee(world, amount=price, is_partial=True, terms=VAT)
        charged, tax = told()
        assert tax == rounded_tax(charged, 190_000, 10_000, SumRounding.HALF_UP)
    fee(world, amount=rng.randrange(charged), step=FeeStep.END, terms=VAT)
    charged, tax = told()
    assert tax == rounded_tax(charged, 190_000, 10_000, SumRounding.HALF_UP)
