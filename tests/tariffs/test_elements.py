"""What each element does to a price, as tables."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tariffs.catalog import Assignment, Catalog
from tariffs.draft import RatingVerdict
from tariffs.elements.known import BASES, ELEMENTS
from tariffs.inputs import Inputs
from tariffs.price import price_of, units_for
from tariffs.rating import rate
from tariffs.tariff import Rated
from tariffs.units import Kind, SumRounding
from tests.tariffs.tables import check, ladder, rated, tariff


def test_every_started_megabyte() -> None:
    check(
        'flat = { price = "0.01", per = "1 MB" }',
        """
        use          cost
        1 octets     0.01      # a started block is a paid block
        1 MB         0.01
        1048577      0.02
        10 MB        0.10
        1 GB        10.24
        """,
    )


def test_60_60_by_the_minute() -> None:
    check(
        'flat = { price = "0.05", per = "1 min" }',
        """
        use       cost
        1 s       0.05
        60 s      0.05
        61 s      0.10
        120 s     0.10
        """,
    )


def test_60_1_first_minute_whole_then_by_the_second() -> None:
    check(
        'flat = { price = "0.06", per = "1 min", increment = "60/1" }',
        """
        use       cost
        1 s       0.06
        60 s      0.06
        61 s      0.061
        90 s      0.09
        """,
    )


def test_30_6() -> None:
    check(
        'flat = { price = "0.10", per = "1 min", increment = "30/6" }',
        """
        use       cost
        7 s       0.05
        30 s      0.05
        31 s      0.06
        36 s      0.06
        37 s      0.07
        """,
    )


def test_1_1_with_a_price_that_is_no_whole_number() -> None:
    # 0.05 a minute is 833 1/3 micro-units a second: the sum is rounded, not the second.
    check(
        'flat = { price = "0.05", per = "1 min", increment = "1/1" }',
        """
        use       cost
        1 s       0.000834
        2 s       0.001667
        3 s       0.0025
        60 s      0.05
        """,
    )


def test_finer_than_a_micro_unit() -> None:
    check(
        'flat = { price = "0.0004", per = "1 MB", increment = "1 KB" }',
        """
        use         cost
        1 KB        0.000001
        5 KB        0.000002
        1024 KB     0.0004
        """,
    )


@pytest.mark.parametrize(("rounding", "micro"), [("up", 834), ("down", 833), ("half_up", 833)])
def test_rounding_has_a_direction(rounding: str, micro: int) -> None:
    found = ladder(f'flat = {{ price = "0.05", per = "1 min", increment = "1", rounding = "{rounding}" }}')
    assert price_of(found, 1) == micro


def test_messages() -> None:
    check(
        'flat = { price = "0.07", per = "1 message" }',
        """
        use    cost
        1      0.07
        3      0.21
        """,
    )


def test_set_up_fee_comes_with_the_first_second() -> None:
    check(
        """
        flat  = { price = "0.05", per = "1 min" }
        setup = { fee = "0.10" }
        """,
        """
        use       cost
        1 s       0.15
        60 s      0.15
        61 s      0.20
        """,
    )


def test_minimum_charge() -> None:
    check(
        """
        flat    = { price = "0.05", per = "1 min" }
        minimum = { charge = "0.12" }
        """,
        """
        use       cost
        1 s       0.12
        120 s     0.12     # two minutes would be 0.10
        121 s     0.15     # and three 0.15
        180 s     0.15
        181 s     0.20
        """,
    )


def test_minimum_charge_below_the_first_block_says_nothing() -> None:
    check(
        """
        flat    = { price = "0.05", per = "1 min" }
        minimum = { charge = "0.04" }
        """,
        """
        use      cost
        1 s      0.05
        61 s     0.10
        """,
    )


def test_maximum_charge_then_free() -> None:
    check(
        """
        flat    = { price = "0.05", per = "1 min" }
        maximum = { charge = "0.12" }
        """,
        """
        use        cost
        60 s       0.05
        120 s      0.10
        121 s      0.12    # the block that reaches it costs what is left
        180 s      0.12
        """,
    )
    assert price_of(ladder('flat = { price = "0.05", per = "1 min" }\nmaximum = { charge = "0.12" }'), 10**9) == 120_000


def test_maximum_charge_then_the_end() -> None:
    found = ladder('flat = { price = "0.05", per = "1 min" }\nmaximum = { charge = "0.10", then = "end" }')
    assert units_for(found, 10**9, most=10**6) == 120
    assert price_of(found, 120) == price_of(found, 10**6) == 100_000  # use that happened there costs nothing more


def test_all_together() -> None:
    check(
        """
        flat    = { price = "0.09", per = "1 min", increment = "60/1" }
        setup   = { fee = "0.05" }
        minimum = { charge = "0.10" }
        maximum = { charge = "0.30" }
        """,
        """
        use       cost
        1 s       0.15
        66 s      0.15
        67 s      0.1505
        68 s      0.152
        200 s     0.35
        201 s     0.35
        """,
    )


def test_what_is_off_is_not_charged() -> None:
    check(
        """
        flat  = { price = "0.20", per = "1 min" }
        setup = { fee = "0.05" }
        off   = "0.50"
        """,
        """
        use       cost
        1 s       0.05    # the set-up fee is not of what is off
        120 s     0.05
        121 s     0.15    # 0.60 - 0.50
        181 s     0.35
        """,
    )


def test_minimum_and_maximum_are_of_what_is_left() -> None:
    check(
        """
        flat    = { price = "0.20", per = "1 min" }
        off     = { amount = "0.50" }
        minimum = { charge = "0.03" }
        maximum = { charge = "0.35" }
        """,
        """
        use        cost
        1 s        0.03
        121 s      0.10
        181 s      0.30
        241 s      0.35
        10000 s    0.35
        """,
    )


OFF_LATER = """
[[rows]]
first = "1 min"
%s = { %s per = "1 min" }
[[rows]]
flat = { price = "0.30", per = "1 min" }
off = "0.50"
[[rows]]
flat = { price = "9", per = "1 min" }
off = "7"
"""


@pytest.mark.parametrize(("base", "price", "costs"), [("flat", 'price = "0.10",', 200_000), ("free", "", 100_000)])
def test_it_is_off_from_the_first_block_with_a_price(base: str, price: str, costs: int) -> None:
    text = (
        OFF_LATER % (base, price)
        if price
        else OFF_LATER.replace('%s = { %s per = "1 min" }', 'free = { unit = "seconds" }')
    )
    found = rated(text, "voice").ladder
    assert found is not None
    assert price_of(found, 180) == costs


@given(
    st.integers(1, 500_000), st.integers(1, 120), st.integers(1, 120), st.integers(0, 3_000_000), st.integers(0, 5_000)
)
def test_all_but_what_is_off_is_due(price: int, first: int, further: int, off: int, seconds: int) -> None:
    money = [f"{amount // 10**6}.{amount % 10**6:06}" for amount in (price, off)]
    flat = f'flat = {{ price = "{money[0]}", per = "1 min", increment = "{first}/{further}" }}'
    plain, less = price_of(ladder(flat), seconds), price_of(ladder(f'{flat}\noff = "{money[1]}"'), seconds)
    assert less == max(plain - off, 0)


@pytest.mark.parametrize(
    ("rounding", "costs"),
    [("up", "1 1 1 2 2 3"), ("down", "0 0 1 1 1 2"), ("half_up", "0 1 1 2 2 2"), ("half_even", "0 0 1 2 2 2")],
)
def test_the_sum_of_a_line_is_rounded(rounding: str, costs: str) -> None:
    found = ladder(f'flat = {{ price = "0.001", per = "1 s" }}\nround = {{ to = "0.01", rounding = "{rounding}" }}')
    at = (4, 5, 10, 15, 16, 24)
    assert [price_of(found, seconds) for seconds in at] == [int(cost) * 10_000 for cost in costs.split()]


def test_what_is_rounded_and_in_which_order() -> None:
    check(
        """
        flat    = { price = "0.003", per = "1 s" }
        setup   = { fee = "0.006" }
        off     = "0.005"
        minimum = { charge = "0.014" }
        maximum = { charge = "0.056" }
        round   = "0.01"
        """,
        """
        use     cost
        1 s     0.02      # a fee of 0.01, at least 0.01
        6 s     0.02      # 0.018 - 0.005
        7 s     0.03      # 0.021 - 0.005
        20 s    0.07      # 0.055, the maximum is 0.06
        900 s   0.07
        """,
    )


def test_of_a_session_all_is_rounded_at_once() -> None:
    """Fee, minimum and maximum are in the sum as they are."""
    check(
        """
        flat    = { price = "0.003", per = "1 s" }
        setup   = { fee = "0.006" }
        off     = "0.005"
        minimum = { charge = "0.014" }
        maximum = { charge = "0.056" }
        round   = { to = "0.01", of = "session" }
        """,
        """
        use     cost
        1 s     0.02      # 0.006 + 0.014
        7 s     0.02      # 0.006 + 0.021 - 0.005
        8 s     0.03      # 0.006 + 0.019, half a cent
        20 s    0.06      # 0.006 + 0.055
        900 s   0.06      # 0.006 + 0.056
        """,
    )


def test_no_grant_runs_from_one_rounding_of_the_session_into_another() -> None:
    text = """
        [[rows]]
        when = { time = "night" }
        flat = { price = "0.001", per = "1 s" }
        round = { to = "0.01", of = "session"ANOTHER }
        [[rows]]
        flat = { price = "0.002", per = "1 s" }
        round = { to = "0.01", of = "session" }
    """
    bands = '[bands.night]\nhours = ["00:00-06:00"]\n'

    def at_night(said: str) -> Rated:
        catalog = Catalog([tariff(text.replace("ANOTHER", said), bands)])
        return rate(catalog, [Assignment("t")], "EUR", [(None, None)], Inputs("voice"), 0)[0]

    same, other = at_night(""), at_night(', rounding = "up"')
    assert same.ladder is not None
    assert other.ladder is not None
    assert [len(one.steps) for one in (same.ladder, other.ladder)] == [2, 1]
    assert other.cut_ms == 6 * 3_600_000
    assert (other.ladder.sum_to, other.ladder.sum_rounding) == (10_000, SumRounding.UP)


@pytest.mark.parametrize("to", ["0.0000001", "0", "10000000000"])
def test_what_it_is_rounded_to_is_a_micro_unit_to_2_53_of_them(to: str) -> None:
    with pytest.raises(ValueError, match=f"whole micro-units, at least one, at most 9007199254.740991, not {to}"):
        ladder(f'flat = {{ price = "0.003", per = "1 s" }}\nround = "{to}"')


def test_the_first_row_that_rounds_rounds_the_whole_line() -> None:
    text = """
        [[rows]]
        first = "10 s"
        flat = { price = "0.001", per = "1 s" }
        beside = { price = "0.004", per = "1 KB" }
        [[rows]]
        first = "20 s"
        flat = { price = "0.002", per = "1 s" }
        round = { to = "0.05", rounding = "up" }
        [[rows]]
        flat = { price = "0.003", per = "1 s" }
        round = "0.01"
    """
    found = rated(text, "voice")
    assert found.ladder is not None
    assert [price_of(found.ladder, seconds) for seconds in (0, 1, 25, 30)] == [0, 50_000, 50_000, 100_000]
    assert found.beside is not None
    assert found.beside.ladder is not None
    assert price_of(found.beside.ladder, 2**10) == 50_000


@given(
    st.integers(1, 500_000),
    st.integers(1, 120),
    st.integers(0, 300_000),
    st.sampled_from([("up", 1), ("down", -1), ("half_up", 0), ("half_even", 0)]),
    st.integers(1, 70_000),
    st.integers(0, 5_000),
)
def test_a_rounded_line_costs_the_multiple_that_is_next(
    price: int, block: int, off: int, direction: tuple[str, int], to: int, seconds: int
) -> None:
    money = [f"{amount // 10**6}.{amount % 10**6:06}" for amount in (price, off, to)]
    flat = f'flat = {{ price = "{money[0]}", per = "1 min", increment = "{block}" }}\noff = "{money[1]}"'
    plain = price_of(ladder(flat), seconds)
    due = price_of(ladder(f'{flat}\nround = {{ to = "{money[2]}", rounding = "{direction[0]}" }}'), seconds)
    assert due % to == 0
    assert {1: 0 <= due - plain < to, -1: 0 <= plain - due < to, 0: 2 * abs(due - plain) <= to}[direction[1]]


def test_free_is_granted_and_counted() -> None:
    found = rated("[[rows]]\nfree = true")
    assert (found.verdict, found.free, found.emergency, found.unit) == (RatingVerdict.PRICED, True, False, None)
    assert found.ladder is not None
    assert price_of(found.ladder, 2**40) == 0
    assert rated('[[rows]]\nfree = { unit = "seconds", emergency = true }').unit == Kind.SECONDS


@pytest.mark.parametrize(
    ("element", "verdict"), [("barred", RatingVerdict.DENIED), ("uncontrolled", RatingVerdict.NOT_APPLICABLE)]
)
def test_not_priced(element: str, verdict: RatingVerdict) -> None:
    found = rated(f"[[rows]]\n{element} = true")
    assert (found.verdict, found.ladder, found.packed) == (verdict, None, b"")


LATER = """
[[rows]]
first = "1 min"
free = { unit = "seconds", emergency = true }
[[rows]]
flat = { price = "0.10", per = "1 min" }
beside = { price = "0.02", per = "1 MB" }
grant = { whole = true, quantum = "1 min" }
"""


def test_what_a_later_row_of_the_line_says_holds_from_the_beginning() -> None:
    """Units that are charged side by side are granted together, so that both are from the first on; a line that costs
    something later is not granted as one that is free."""
    found = rated(LATER, "voice")
    assert (found.free, found.emergency, found.whole, found.quantum) == (False, False, True, 60)
    assert found.beside is not None
    assert found.beside.ladder is not None
    assert (found.beside.unit, price_of(found.beside.ladder, 3 * 2**20)) == (Kind.OCTETS, 60_000)
    grants = LATER.replace("free =", "grant = { blocks = true }\nfree =")
    assert (rated(grants, "voice").blocks, rated(grants, "voice").whole) == (True, False)


def test_order_in_the_document_does_not_matter() -> None:
    one = 'flat = { price = "0.05", per = "1 min" }\nminimum = { charge = "0.10" }\nsetup = { fee = "0.01" }'
    other = "\n".join(reversed(one.splitlines()))
    assert ladder(one) == ladder(other)


def test_every_element_is_in_the_readme() -> None:
    from importlib.resources import files

    text = (files("tariffs") / "README.md").read_text()
    for key in ELEMENTS:
        assert f"| `{key}` |" in text, key
    assert set(BASES) == {"barred", "uncontrolled", "free", "bundle", "flat"}


FIRST = st.integers(1, 120)
PRICES = st.integers(1, 500_000)


@given(PRICES, FIRST, FIRST, st.integers(0, 300_000), st.integers(1, 3_000_000), st.integers(0, 5_000))
def test_minimum_and_maximum_bound_the_price(
    price: int, first: int, further: int, least: int, more: int, seconds: int
) -> None:
    """Within a micro-unit for each of the two steps, each of which is rounded once."""
    money = [f"{amount // 10**6}.{amount % 10**6:06}" for amount in (price, least, least + more)]
    found = ladder(
        f'flat = {{ price = "{money[0]}", per = "1 min", increment = "{first}/{further}" }}\n'
        f'minimum = {{ charge = "{money[1]}" }}\nmaximum = {{ charge = "{money[2]}" }}'
    )
    exact = Fraction(0)
    if seconds:
        blocks = max(-(-(seconds - first) // further), 0)
        plain = Fraction(price * (first + blocks * further), 60)
        exact = min(max(plain, Fraction(least)), Fraction(least + more))
    assert abs(price_of(found, seconds, ms_per_unit=1000) - exact) <= 2
