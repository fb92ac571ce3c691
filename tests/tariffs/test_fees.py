"""Recurring fees of a document: periods, prices, proration, and what is refused (charging.md 21)."""

from __future__ import annotations

from datetime import date
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tariffs.document import TariffError
from tariffs.fee_course import FeeCourse, next_period
from tariffs.fee_periods import FeeCalendar, FeePeriod, day_of, midnight_ms
from tariffs.fee_price import applies, fee_price
from tariffs.fees import FEE, FeeRule
from tariffs.inputs import Inputs
from tariffs.load import compile_tariff
from tariffs.notation import Amount
from tariffs.tariff import Tariff
from tariffs.terms import CurrencyExchange
from tariffs.units import Kind

BERLIN = ZoneInfo("Europe/Berlin")


def tariff(*fees: dict[str, Any], **document: Any) -> Tariff:
    return compile_tariff({"tariff": "t", "currency": "EUR", "fees": list(fees)} | document, source="t.toml")


def rule(**fee: Any) -> FeeRule:
    return tariff({"name": "base", "price": "10", "every": "month"} | fee).parts.fees[0]


def day(text: str) -> int:
    return date.fromisoformat(text).toordinal()


def at(text: str, hour: int = 12) -> int:
    return midnight_ms(BERLIN, day(text)) + hour * 3_600_000


def course(began: str, ended: str = "", billing_day: int = 1, **others: bool) -> FeeCourse:
    return FeeCourse(FeeCalendar(BERLIN, billing_day, day(began)), at(ended) if ended else 0, **others)


@pytest.mark.parametrize(
    ("every", "on", "period"),
    [
        ("day", "2026-03-29", ("2026-03-29", "2026-03-30")),
        ("week", "2026-11-29", ("2026-11-23", "2026-11-30")),
        ("week from thu", "2026-11-25", ("2026-11-19", "2026-11-26")),
        ("month", "2024-02-29", ("2024-02-01", "2024-03-01")),
        ("month from 31", "2026-02-27", ("2026-01-31", "2026-02-28")),
        ("month from 31", "2026-02-28", ("2026-02-28", "2026-03-31")),
        ("month from 30", "2024-02-29", ("2024-02-29", "2024-03-30")),
        ("month from start", "2026-03-01", ("2026-02-28", "2026-03-31")),
        ("billing month", "2026-03-14", ("2026-02-15", "2026-03-15")),
        ("30 d", "2026-03-02", ("2026-03-02", "2026-04-01")),
        ("once", "2026-03-02", ("2026-03-02", "9999-12-31")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_periods_are_whole_days(every: str, on: str, period: tuple[str, str]) -> None:
    of = FeeCalendar(BERLIN, 15, day("2026-01-31"))
    assert FeePeriod.read(every).around(day(on), of) == tuple(map(day, period))


@pytest.mark.parametrize("every", ["day", "week from sun", "month from 29", "month from start", "billing month", "9 d"])
def test_periods_follow_each_other_without_gap(every: str) -> None:
    period, of = FeePeriod.read(every), FeeCalendar(BERLIN, 31, day("2026-01-31"))
    first, until = period.around(day("2026-01-31"), of)
    for _ in range(60):
        for each in (first, until - 1):
            assert period.around(each, of) == (first, until)
        first, until = until, period.around(until, of).until_day
        assert first < until


def test_a_day_lasts_as_long_as_the_clock_says() -> None:
    """Midnight to midnight, on the days the clock is moved too."""
    for text, hours in (("2026-03-29", 23), ("2026-10-25", 25), ("2026-11-01", 24)):
        assert midnight_ms(BERLIN, day(text) + 1) - midnight_ms(BERLIN, day(text)) == hours * 3_600_000
        assert day_of(BERLIN, midnight_ms(BERLIN, day(text))) == day(text)
        assert day_of(BERLIN, midnight_ms(BERLIN, day(text)) - 1) == day(text) - 1


def planned(fee: FeeRule, of: FeeCourse, began: str, settled: str = "") -> tuple[str, str, int, Fraction] | None:
    found = next_period(fee, of, at(began), day(settled) if settled else 0)
    if found is None:
        return None
    days = date.fromordinal(found.from_day).isoformat(), date.fromordinal(found.until_day).isoformat()
    return (*days, found.due_ms, found.part)


def test_the_first_period_begins_with_the_assignment_and_costs_its_days() -> None:
    of = course("2026-11-10")
    assert planned(rule(), of, "2026-11-10") == ("2026-11-10", "2026-12-01", at("2026-11-10"), Fraction(21, 30))
    whole = rule(prorate=["changed", "last"])
    assert planned(whole, of, "2026-11-10") == ("2026-11-10", "2026-12-01", at("2026-11-10"), Fraction(1))
    later = planned(rule(), of, "2026-11-10", "2026-12-01")
    assert later == ("2026-12-01", "2027-01-01", at("2026-12-01", 0), Fraction(1))


def test_arrears_are_due_at_the_end_or_with_the_assignment() -> None:
    fee = rule(due="arrears")
    of = course("2026-11-10", "2026-12-11")
    assert planned(fee, of, "2026-11-10") == ("2026-11-10", "2026-12-01", at("2026-12-01", 0), Fraction(21, 30))
    last = planned(fee, of, "2026-11-10", "2026-12-01")
    assert last == ("2026-12-01", "2027-01-01", at("2026-12-11"), Fraction(10, 31))
    assert planned(fee, of, "2026-11-10", "2027-01-01") is None


def test_a_change_is_prorated_as_a_change() -> None:
    fee = rule(prorate=["changed"])
    assert planned(fee, course("2026-11-10", begins_by_change=True), "2026-11-10")[3] == Fraction(21, 30)  # type: ignore[index]
    assert planned(fee, course("2026-11-10"), "2026-11-10")[3] == 1  # type: ignore[index]
    ends = course("2026-11-01", "2026-11-10", ends_by_change=True)
    assert planned(fee, ends, "2026-11-01")[3] == Fraction(9, 30)  # type: ignore[index]
    assert planned(fee, course("2026-11-01", "2026-11-10"), "2026-11-01")[3] == 1  # type: ignore[index]


def test_two_that_follow_each_other_cost_the_whole_month() -> None:
    fee = rule()
    one = planned(fee, course("2026-11-01", "2026-11-10", ends_by_change=True), "2026-11-01")
    other = planned(fee, course("2026-11-10", begins_by_change=True), "2026-11-10")
    assert one is not None
    assert other is not None
    assert one[3] + other[3] == 1


def test_at_least_a_day_is_charged() -> None:
    assert planned(rule(), course("2026-11-10", "2026-11-10"), "2026-11-10") is None  # it ends as it begins
    ends_later = course("2026-11-10")._replace(ended_ms=at("2026-11-10", 13))
    assert planned(rule(), ends_later, "2026-11-10")[3] == Fraction(1, 30)  # type: ignore[index]


def test_another_zone_charges_no_day_twice() -> None:
    """Settled to the first of December, whatever the hour is there when it is asked again."""
    for name in ("Pacific/Kiritimati", "America/Los_Angeles"):
        of = FeeCourse(FeeCalendar(ZoneInfo(name), 1, day("2026-11-01")))
        found = next_period(rule(), of, at("2026-11-01"), day("2026-12-01"))
        assert found is not None
        assert found.from_day == day("2026-12-01")
        assert found.due_ms == midnight_ms(ZoneInfo(name), day("2026-12-01"))


INPUTS = Inputs(FEE, attributes={"segment": "gold", "fee": "7.5"}, time_zone="Europe/Berlin")


def test_the_price_is_changed_taxed_exchanged_and_rounded_once() -> None:
    of = tariff(
        {"name": "base", "price": "9.99", "every": "month"},
        discounts=[
            {"name": "gold", "percent": 10, "fees": True, "when": {"subscriber": {"segment": "gold"}}},
            {"name": "use", "percent": 50},
        ],
        taxes=[{"name": "on fees", "percent": 7, "included": False, "when": {"service": "fee"}},
               {"name": "VAT", "percent": 19, "included": False}],
    )  # fmt: skip
    exchange = CurrencyExchange(Amount.read("1.1"), "1.1", "2026-11-01")
    made = fee_price(of.parts.fees[0], of, INPUTS, at("2026-11-10"), Fraction(21, 30), exchange)
    exact = Fraction("9.99") * Fraction(9, 10) * Fraction(107, 100) * Fraction(11, 10) * Fraction(21, 30)
    assert (made.micro, made.terms) == (int(round(exact, 2) * 1_000_000), "tax=70000;rate=1.1")
    assert [name for name, _ in made.trace] == [
        "base as written",
        "gold",
        "on fees",
        "exchange rate 1.1 of 2026-11-01",
        "7 of 10 parts of the period",
        "rounded half up to 0.01",
    ]


@pytest.mark.parametrize(("rounding", "micro"), [("up", 3_340_000), ("down", 3_330_000), ("half_up", 3_330_000)])
def test_rounding_is_as_written(rounding: str, micro: int) -> None:
    of = tariff({"name": "base", "price": "10", "every": "month", "rounding": rounding})
    assert fee_price(of.parts.fees[0], of, INPUTS, 0, Fraction(1, 3)).micro == micro
    fine = tariff({"name": "base", "price": "10", "every": "month", "rounding": rounding, "round_to": "0.000001"})
    assert fee_price(fine.parts.fees[0], fine, INPUTS, 0, Fraction(1, 3)).micro in (3_333_333, 3_333_334)


def test_a_price_may_stand_with_the_subscriber() -> None:
    of = tariff({"name": "base", "price": "subscriber.fee", "every": "month"})
    assert fee_price(of.parts.fees[0], of, INPUTS, 0).micro == 7_500_000
    with pytest.raises(ValueError, match="expected the subscriber to have the attribute fee"):
        fee_price(of.parts.fees[0], of, Inputs(FEE), 0)


def test_conditions_say_who_pays() -> None:
    of = tariff({"name": "base", "price": "1", "every": "month", "when": {"subscriber": {"segment": "gold"}}})
    assert applies(of.parts.fees[0], of, INPUTS)
    assert not applies(of.parts.fees[0], of, Inputs(FEE))


def test_included_units_are_read() -> None:
    units = {"name": "data", "amount": "10 GB", "scope": "data", "rollover": 2, "carried_max": "15 GB"}
    [found] = rule(includes=[units]).allowances
    assert (found.kind, found.amount, found.carried_max) == (Kind.OCTETS, 10 * 2**30, 15 * 2**30)
    assert rule(includes=[{"name": "m", "amount": "5.00", "kind": "money"}]).allowances[0].amount == 5_000_000
    both = rule(includes=[{"name": "b", "amount": "1 GB", "money": "2.50"}])
    assert both.allowances[0].money == 2_500_000
    assert any("1 GB and 2.5 EUR (b)" in text for text in both.in_words("EUR"))
    priced = rule(includes=[{"name": "p", "amount": "1 GB", "price": "0.02", "per": "1 MB"}])
    assert (priced.allowances[0].price, priced.allowances[0].per) == (20_000, 2**20)
    assert any("1 GB (p), at 0.02 EUR for 1 MB" in text for text in priced.in_words("EUR"))


@pytest.mark.parametrize(
    ("fee", "key", "why"),
    [
        ({"every": "month from 32"}, "fees[0].every", "expected day, week"),
        ({"every": "weekly"}, "fees[0].every", "expected day, week"),
        ({"price": "to.fee"}, "fees[1].price", "expected an amount, or an attribute"),
        ({"retry": "10 s"}, "fees[1].retry", "at least a minute"),
        ({"grace": "1 GB"}, "fees[1].grace", "expected a time"),
        ({"round_to": "0"}, "fees[1].round_to", "at least one"),
        ({"when": {"service": "data"}}, "fees[1].when", "attributes of the subscriber"),
        ({"due": "arrears", "includes": [{"name": "a", "amount": 1}]}, "fees[1].includes", "in advance"),
        ({"includes": [{"name": "a", "amount": 1, "carried_max": 2}]}, "fees[1].includes[1].carried_max", "rollover"),
        ({"includes": [{"name": "a", "amount": "x"}]}, "fees[1].includes[1].amount", "expected a unit out of"),
        ({"includes": [{"name": "a", "amount": 1}] * 2}, "fees[1].includes", "each name once"),
        (
            {"includes": [{"name": "a", "amount": "5", "kind": "money", "money": "1"}]},
            "fees[1].includes[1].money",
            "beside octets, seconds or units",
        ),
        ({"includes": [{"name": "a", "amount": 1, "money": "0"}]}, "fees[1].includes[1].money", "more than zero"),
        ({"includes": [{"name": "a", "amount": 1, "money": "-1"}]}, "fees[1].includes[1].money", ""),
        (
            {"includes": [{"name": "a", "amount": 2, "money": "1", "rollover": 1, "carried_max": 1}]},
            "fees[1].includes[1].carried_max",
            "none with money",
        ),
        ({"includes": [{"name": "a", "amount": 1, "price": "0", "per": 1}]}, "fees[1].includes[1].price", "more than"),
        ({"includes": [{"name": "a", "amount": 1, "price": "x", "per": 1}]}, "fees[1].includes[1].price", "amount"),
        ({"includes": [{"name": "a", "amount": 1, "price": "1"}]}, "fees[1].includes[1].per", "what the price is for"),
        ({"includes": [{"name": "a", "amount": 1, "per": 1}]}, "fees[1].includes[1].per", "only with price"),
        ({"includes": [{"name": "a", "amount": 1, "price": "1", "per": "1 s"}]}, "fees[1].includes[1].per", "units"),
        (
            {"includes": [{"name": "a", "amount": "5", "kind": "money", "price": "1", "per": 1}]},
            "fees[1].includes[1].price",
            "of octets, seconds or units",
        ),
        (
            {"includes": [{"name": "a", "amount": "1 GB", "price": "0.000001", "per": "1 GB"}]},
            "fees[1].includes[1].price",
            "neither is above",
        ),
        ({"sort": 1}, "fees[0]", "unknown field"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_named(fee: dict[str, Any], key: str, why: str) -> None:
    with pytest.raises(TariffError) as found:
        rule(**fee)
    assert found.value.key == key
    assert why in found.value.why


def test_a_name_counts_once_and_a_promotion_may_be_nothing_but_a_fee() -> None:
    one = {"name": "base", "price": "1", "every": "month"}
    with pytest.raises(TariffError, match="once, not again"):
        tariff(one, one)
    assert tariff(one, promotion=True).parts.fees[0].name == "base"
    assert not tariff(one).rows


def test_a_fee_is_told_in_words() -> None:
    told = [*rule(grace="3 d", partial=True, suspend=True).in_words("EUR")]
    assert told == [
        "10 EUR every month, in advance",
        "prorated by days: the first and changed and last period",
        "rounded half up to 0.01, once, after tax and proration",
        "paid by own money and the credit limit; money is short: tried again every 1 d and when money comes in",
        "what is there is taken, the rest later",
        "in grace for 3 d",
        "after that the account is suspended until it is paid",
    ]
