"""Explanations, as a person reads them."""

from __future__ import annotations

import pytest

from tariffs import phrases
from tariffs.catalog import Assignment, Catalog
from tariffs.explain import Explanation, explain, used
from tariffs.inputs import Inputs
from tariffs.notation import Quantity
from tariffs.units import Kind
from tests.tariffs import tables
from tests.tariffs.tables import tariff


def explained(rows: str, **facts: object) -> Explanation:
    inputs = Inputs("data", **facts)  # type: ignore[arg-type]
    return explain(Catalog([tariff(rows)]), [Assignment("t")], "EUR", (None, None), inputs, 0)


@pytest.mark.parametrize(
    ("kind", "units", "words"),
    [
        (Kind.OCTETS, 1, "1 octet"),
        (Kind.OCTETS, 2, "2 octets"),
        (Kind.OCTETS, 0, "0 octets"),
        (Kind.UNITS, 1, "1 unit"),
        (Kind.UNITS, 100, "100 units"),
        (Kind.SECONDS, 1, "1 s"),
        (None, 1, "1 unit"),
    ],
)
def test_one_is_singular(kind: Kind | None, units: int, words: str) -> None:
    assert phrases.quantity(kind, units) == words
    assert kind is None or not units or repr(Quantity(kind, units)) == words


@pytest.mark.parametrize(
    ("counts", "below", "words"),
    [
        ("money", "9.99", "9.99 EUR"),
        ("octets", "10 MB", "10 MB"),
        ("octets", "1 octet", "1 octet"),
    ],
)
def test_a_limit_is_said_in_what_its_counter_counts(counts: str, below: str, words: str) -> None:
    found = explained(f"""
        counters.c = {{ counts = "{counts}", period = "ever" }}
        rows = [{{ below = {{ c = "{below}" }}, flat = {{ price = "0.001", per = "1 octet" }} }}, {{ free = true }}]
    """)
    assert found.rows[0].why == f"while c is below {words}"
    assert found.ladder[0] == f"1. 0.001 for each 1 octet begun, while c is below {words}"


def test_a_limit_that_an_attribute_says() -> None:
    found = explained(
        """
        counters.c = { counts = "money", period = "ever" }
        rows = [{ below = { c = "subscriber.cap" }, flat = { price = "0.01", per = 1 } }, { free = true }]
        """,
        attributes={"cap": "5"},
    )
    assert found.rows[0].why == "while c is below subscriber.cap"
    assert "while c is below 5 EUR" in found.ladder[0]


def test_a_limit_of_what_the_line_does_not_move() -> None:
    found = explained("""
        counters.c = { counts = "money", period = "ever", when = { service = "voice" } }
        rows = [{ below = { c = "9.99" }, flat = { price = "0.01", per = 1 } }, { free = true }]
    """)
    assert found.rows[0].why == "while c is below 9.99 EUR"


def test_the_beginning_of_a_line() -> None:
    found = explained('rows = [{ first = "2 min", flat = { price = "0.01", per = "1 s" } }, { free = true }]')
    assert found.rows[0].why == "the first 2 min of the line"


def test_what_is_excluded() -> None:
    found = explained(
        """
        bands.peak = { hours = "00:00-01:00:01" }
        rows = [
            { when = { visited = { not = ["262*", ""] } }, flat = { price = "0.05", per = 1 } },
            { when = { time = { not = "peak" } }, flat = { price = "0.01", per = 1 } },
            { flat = { price = "0.02", per = 1 } },
        ]
        """,
        visited="26201",
    )
    assert [row.why for row in found.rows[:2]] == [
        "visited is 26201, and 262* or none is excluded",
        "its time is not peak, and peak holds",
    ]
    assert [span.until[11:19] for span in found.timeline[:1]] == ["01:00:01"]


def test_the_rounding_of_a_session_is_told() -> None:
    one = explained('[[rows]]\nflat = { price = "0.004", per = "1 MB" }\nround = { to = "0.01", of = "session" }')
    assert "what the lines of the session cost together is rounded half up to 0.01" in one.ladder


def test_a_quote_of_a_rounded_session_says_what_it_came_to() -> None:
    rated = tables.rated('[[rows]]\nflat = { price = "0.004", per = "1 MB" }\nround = { to = "0.01", of = "session" }')
    cost, told = used(rated, Kind.OCTETS, 2**22, 0)
    assert cost == 20_000
    assert told == [
        "step 1: 4 MB in 4 blocks at 0.004 = 0.016",
        "the session so far: 0.016, rounded half up to 0.01 = 0.02",
    ]
