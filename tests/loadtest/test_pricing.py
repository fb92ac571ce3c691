"""The prices that the simulator computes for its audit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.pricing import LoadPrice, micro, text

PRICES = st.sampled_from(["0", "0.01", "0.05", "0.0004", "0.0000003", "12.345678", "0.1234567891"])


@given(PRICES, st.integers(1, 2_000_000), st.lists(st.integers(0, 10_000_000), max_size=12))
def test_however_it_is_cut_it_costs_the_same(price: str, block: int, reports: list[int]) -> None:
    list_price, total, paid = LoadPrice(price, block), 0, 0
    for used in reports:
        paid += list_price.cost(total + used) - list_price.cost(total)
        total += used
    assert paid == list_price.cost(sum(reports))


@pytest.mark.parametrize(
    ("price", "block", "units", "due"),
    [
        ("0.01", 1_048_576, 0, 0),
        ("0.01", 1_048_576, 1, 10_000),
        ("0.01", 1_048_576, 1_048_576, 10_000),
        ("0.01", 1_048_576, 1_048_577, 20_000),
        ("0.05", 60, 61, 100_000),
        ("0.07", 1, 1, 70_000),
        ("0.0000004", 1, 1, 1),  # a price finer than a micro-unit: rounded up, once
        ("0.0000004", 1, 5, 2),
    ],
)
def test_a_started_block_is_a_paid_block(price: str, block: int, units: int, due: int) -> None:
    assert LoadPrice(price, block).cost(units) == due


@given(st.integers(-(2**60), 2**60))
def test_amounts_come_back_as_they_went(amount: int) -> None:
    assert micro(text(amount)) == amount


@pytest.mark.parametrize("wrong", ["0.0000001", "nan", "inf", "", "1,5", "1/3", "1e9", "+1"])
def test_what_is_no_amount_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"amount|micro-unit"):
        micro(wrong)


@pytest.mark.parametrize(("price", "block"), [("-1", 1), ("1", 0)])
def test_what_is_no_price_is_refused(price: str, block: int) -> None:
    with pytest.raises(ValueError, match="not one"):
        LoadPrice(price, block)
