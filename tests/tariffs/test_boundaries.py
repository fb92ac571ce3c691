"""The events a tester would try, with prices worked out by hand."""

from __future__ import annotations

from collections.abc import Mapping

from tariffs.lint.boundaries import BOUNDARIES_MAX, boundaries
from tariffs.load import load_tariff

AT_MS = 1_774_656_000_000
"""2026-03-28T00:00:00Z: a Saturday, the day before the clock is put forward in Berlin."""


def check(text: str, table: str, where: str = "", tables: Mapping[str, bytes] = {}) -> None:
    """Each line of the table: units, price and what, of the boundaries whose line or time has this in it."""
    tariff = load_tariff(f'tariff = "t"\ncurrency = "EUR"\n{text}', source="t.toml", files=tables)
    found = [one for one in boundaries(tariff, AT_MS) if where in f"{one.when} {one.line}: {one.what}"]
    wanted = [line.split(maxsplit=2) for line in table.strip().splitlines()]
    assert [[str(one.units), one.price.replace(" ", "_"), one.what] for one in found] == wanted


def test_blocks_charges_and_fee() -> None:
    check(
        """
        [[rows]]
        name = "call"
        flat = { price = "0.09", per = "1 min", increment = "60/6" }
        setup = { fee = "0.05" }
        minimum = { charge = "0.10" }
        maximum = { charge = "3.00" }
        """,
        """
        1     0.15    1 unit
        59    0.15    one block - 1
        60    0.15    one block
        61    0.15    one block + 1
        66    0.15    first and second block
        67    0.158   first and second block + 1
        1998  3.047   maximum charge: the last unit before it
        1999  3.05    maximum charge: reached
        """,
    )


def test_the_minimum_where_it_is_used_up() -> None:
    check(
        '[[rows]]\nflat = { price = "0.01", per = 1 }\nminimum = { charge = "0.10" }',
        """
        1     0.1     1 unit
        2     0.1     one block + 1
        10    0.1     minimum charge: the last unit it covers
        11    0.11    minimum charge: one more
        """,
    )


def test_tiers() -> None:
    check(
        """
        counters.monthly = { counts = "octets", period = "month" }
        counters.spent = { counts = "money", period = "month" }
        rows = [
            { name = "a", first = "3 MB", flat = { price = "1", per = "1 MB" } },
            { name = "b", below = { monthly = "1 GB" }, flat = { price = "2", per = "1 MB" } },
            { name = "c", below = { spent = "9" }, flat = { price = "4", per = "1 MB" } },
            { name = "d", flat = { price = "8", per = "1 MB" } },
        ]
        """,
        """
        1        1   1 unit
        1048575  1   one block - 1
        1048576  1   one block
        1048577  2   one block + 1
        3145727  3   `first` of "a" - 1
        3145728  3   `first` of "a"
        3145729  5   `first` of "a" + 1
        4194304  5   "monthly" has 1 GB - 1 after 3 MB: one block more
        4194304  7   "monthly" has 1 GB after 3 MB: one block more
        4194304  7   "monthly" has 1 GB + 1 after 3 MB: one block more
        4194304  3.000001  "spent" has 8.999999 after 3 MB: one block more
        4194304  11  "spent" has 9 after 3 MB: one block more
        4194304  11  "spent" has 9.000001 after 3 MB: one block more
        """,
    )


def test_counters_are_preset() -> None:
    check(
        """
        counters.sent = { counts = "units", period = "day" }
        rows = [
            { name = "a", below = { sent = "100 messages" }, flat = { price = "0.01", per = 1 } },
            { name = "b", flat = { price = "0.20", per = 1 } },
        ]
        """,
        """
        1    0.01   1 unit
        2    0.02   one block + 1
        1    0.01   "sent" has 100 units - 1: one block
        1    0.2    "sent" has 100 units: one block
        1    0.2    "sent" has 100 units + 1: one block
        """,
    )


def test_bundles_are_said_and_what_follows_them_is_priced() -> None:
    check(
        """
        rows = [
            { name = "included", bundle = { per = "1 s" } },
            { name = "call", flat = { price = "0.05", per = "1 min" } },
        ]
        """,
        """
        1    paid_by_the_bundle   first unit of the bundle
        1    paid_by_the_bundle   last unit of the bundle
        1    0.05                 1 unit
        59   0.05                 one block - 1
        60   0.05                 one block
        61   0.1                  one block + 1
        """,
    )


def test_what_is_charged_besides() -> None:
    check(
        """
        [[rows]]
        flat = { price = "1", per = "1 min" }
        beside = { price = "0.02", per = "1 MB" }
        """,
        """
        1        0.02   charged besides: 1 unit
        1048575  0.02   charged besides: one block - 1
        1048576  0.02   charged besides: one block
        1048577  0.04   charged besides: one block + 1
        """,
        "besides",
    )


def test_what_is_not_priced() -> None:
    text = """
        rows = [
            { when = { rating_group = 1 }, barred = true },
            { when = { rating_group = 2 }, uncontrolled = true },
        ]
    """
    check(text, "1 denied 1 unit", "rating_group 1")
    check(text, "1 not_applicable 1 unit", "rating_group 2")
    check(text, "1 no_row 1 unit", "any service:")


BANDS = """
    zone = "Europe/Berlin"
    bands.peak = { days = "mon-fri", hours = "08:00-20:00" }
    bands.late = { hours = "01:00-02:30" }
    rows = [
        { name = "peak", when = { service = "voice", time = "peak" }, flat = { price = "0.60", per = "1 min" } },
        { name = "late", when = { service = "voice", time = "late" }, flat = { price = "0.06", per = "1 min" } },
        { name = "else", when = { service = "voice" }, flat = { price = "0.30", per = "1 min", increment = "60/1" } },
    ]
"""


def test_band_changes() -> None:
    check(
        BANDS,
        """
        60   0.3    one second before peak changes: one block
        61   0.9    one second before peak changes: one block + 1
        """,
        "mon 2026-03-30 07:59:59",
    )
    check(BANDS, "60 0.6 first second after peak changes: one block", "mon 2026-03-30 08:00:00+02:00 voice: first")
    check(
        BANDS,
        """
        60   0.6     one second before peak changes: one block
        61   0.605   one second before peak changes: one block + 1
        """,
        "mon 2026-03-30 19:59:59",
    )


def test_the_clock_is_put_forward() -> None:
    """02:30 is never shown: the band ends where the clock goes from 02:00 to 03:00."""
    check(
        BANDS,
        """
        60   0.06    one second before the clock is put forward: one block
        61   0.065   one second before the clock is put forward: one block + 1
        """,
        "sun 2026-03-29 01:59:59+01:00",
    )
    check(
        BANDS,
        "60 0.3 first second after the clock is put forward: one block",
        "sun 2026-03-29 03:00:00+02:00 voice: first second after",
    )


def test_a_holiday_months_ahead() -> None:
    check(
        """
        zone = "Europe/Berlin"
        bands.peak = { days = "mon-fri", hours = "08:00-20:00" }
        bands.feast = { dates = ["2026-12-25"] }
        rows = [
            { when = { service = "voice", time = "feast" }, flat = { price = "0.06", per = "1 min" } },
            { when = { service = "voice", time = "peak" }, flat = { price = "0.60", per = "1 min" } },
            { when = { service = "voice" }, flat = { price = "0.30", per = "1 min" } },
        ]
        """,
        """
        60   0.3    one second before feast changes: one block
        61   0.36   one second before feast changes: one block + 1
        """,
        "2026-12-24 23:59:59",
    )


def test_destinations_first_and_last() -> None:
    table = b"prefix,zone,price\n33,France,0.10\n49,Germany,0.05\n491,Mobile,0.20\n"
    text = 'tables.w = "w.csv"\n[[rows]]\nwhen = { to = "w" }\nflat = { price = "to.price", per = "1 min" }'
    for line, price in (("to w France (33)", "0.1"), ("to w Mobile (491)", "0.2")):
        tariff = load_tariff(f'tariff = "t"\ncurrency = "EUR"\n{text}', source="t.toml", files={"w.csv": table})
        blocks = [one for one in boundaries(tariff, AT_MS) if one.what == "one block" and line in one.line]
        assert [(one.price, one.unit, one.tag) for one in blocks] == [(price, "seconds", "t@1:1")]


def test_capped_and_said_so() -> None:
    rows = "".join(
        f'[[rows]]\nname = "{n}"\nwhen = {{ rating_group = {n} }}\nflat = {{ price = "0.01", per = "1 MB" }}\n'
        for n in range(700)
    )
    tariff = load_tariff(f'tariff = "t"\ncurrency = "EUR"\n{rows}', source="t.toml")
    found = boundaries(tariff, AT_MS)
    assert len(found) == BOUNDARIES_MAX + 1
    assert found[-1].what == "capped: these are the first 2,000, and there are more"
