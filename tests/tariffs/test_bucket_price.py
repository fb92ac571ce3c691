"""The price of a bucket as it is charged (charging.md section 22): exact as written, nearly so in another currency."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tariffs.bucket_price import exchanged, reduced
from tariffs.units import EXACT_MAX, PER_MAX


@given(st.integers(1, EXACT_MAX), st.integers(1, 2**40))
def test_lower_terms_are_the_same_price(price: int, per: int) -> None:
    try:
        found = reduced(price, per)
    except ValueError:
        least = Fraction(price, per)
        assert least.denominator > PER_MAX or (least.denominator > 1 and least.numerator > PER_MAX)
        return
    assert Fraction(*found) == Fraction(price, per)


@given(st.integers(1, 10**9), st.integers(1, PER_MAX), st.fractions("0.0001", 10_000, max_denominator=10**6))
def test_an_exchanged_price_can_be_charged_and_is_near(price: int, per: int, rate: Fraction) -> None:
    found, of = exchanged(price, per, rate)
    exact = Fraction(price, per) * rate
    assert of == 1 or max(found, of) <= PER_MAX
    assert abs(Fraction(found, of) - exact) <= max(exact, Fraction(1)) / 2**24
    assert exchanged(20_000, 60, Fraction(3, 2)) == (30_000, 60)


def test_more_than_can_be_counted_is_no_price() -> None:
    with pytest.raises(ValueError, match="more than can be counted"):
        exchanged(EXACT_MAX, 1, Fraction(2))
