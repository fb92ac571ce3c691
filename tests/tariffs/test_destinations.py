"""Longest prefix against asking every prefix, tables through CSV and back, and numbers as they are dialled."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tariffs.destinations import DestinationRow, Numbers, PrefixTable, read_table, write_table

PREFIXES = st.text("0123", max_size=5)
WHOLE = st.text("0123", min_size=1, max_size=6) | st.sampled_from(
    ["sip:a@b", "info@example.org", "*100#", "a;b,c", '"']
)
NUMBERS = st.text("0123", max_size=8) | WHOLE | st.text(max_size=8)


def refuses(why: str) -> AbstractContextManager[object]:
    return pytest.raises(ValueError, match=re.escape(why))


def table(*prefixes: str) -> PrefixTable:
    return PrefixTable("world", [DestinationRow("world", prefix, f"zone of {prefix}", {}) for prefix in prefixes])


def read(text: str | bytes) -> PrefixTable:
    return read_table("world", text if isinstance(text, bytes) else text.encode(), source="world.csv")


def found(of: PrefixTable, number: str, *, short: bool = False) -> str | None:
    entry = of.find(number, short)
    return entry.prefix if entry is not None else None


def rows(of: PrefixTable) -> list[tuple[str, str, str, dict[str, str]]]:
    return [(entry.table, entry.prefix, entry.zone, dict(entry.columns)) for entry in of.entries()]


# --- finding


def looked_up(prefixes: set[str], number: str, short: bool) -> str | None:
    """Of this whole number, else the longest that the number begins with, else the one for all."""
    if f"={number}" in prefixes:
        return f"={number}"
    if short:
        return None
    if not number or not set(number) <= set("0123456789"):
        return None
    fitting = [one for one in prefixes if not one.startswith("=") and number.startswith(one)]
    return max(fitting, key=len, default=None)


@given(st.sets(PREFIXES | WHOLE.map("={}".format), max_size=30), NUMBERS, st.booleans())
def test_the_longest_prefix_counts(prefixes: set[str], number: str, short: bool) -> None:
    of = table(*prefixes)
    assert found(of, number, short=short) == looked_up(prefixes, number, short)
    assert len(of) == len(prefixes)
    assert of.zones == {f"zone of {prefix}" for prefix in prefixes}


@pytest.mark.parametrize(
    ("number", "short", "prefix"),
    [
        ("4917012345", False, "4917"),
        ("4930123456", False, "49"),
        ("49", False, "49"),
        ("4", False, ""),
        ("33123456", False, ""),
        ("112", False, "=112"),  # a whole number goes before every prefix ...
        ("1123", False, "112"),  # ... and is not the begin of others
        ("112", True, "=112"),
        ("4917", True, None),  # a short code is not the begin of a number
        ("info@example.org", False, "=info@example.org"),
        ("49170@example.org", False, None),  # no number, so not even the row for all others
        ("+4917012345", False, None),
        ("٤٩", False, None),
        ("", False, None),
    ],
)
def test_which_entry_is_found(number: str, short: bool, prefix: str | None) -> None:
    assert found(table("", "49", "4917", "112", "=112", "=info@example.org"), number, short=short) == prefix


def test_no_entry_is_found() -> None:
    assert table("49").find("33123") is None
    assert table().find("49") is None


def test_an_entry_is_itself() -> None:
    """It is part of the keys that prices are remembered by."""
    one, other = DestinationRow("t", "49", "z", {}), DestinationRow("t", "49", "z", {})
    assert one != other
    assert len({one, one, other}) == 2
    assert repr(one) == "t:z (49)"
    assert repr(DestinationRow("t", "", "z", {})) == "t:z (any number)"


def test_a_plus_is_dropped() -> None:
    assert [DestinationRow("t", prefix, "z", {}).prefix for prefix in ("+49", "=+49301", "=+a")] == [
        "49",
        "=49301",
        "=+a",
    ]


def test_columns_of_a_table() -> None:
    entries = [
        DestinationRow("t", "1", "z", {"peak": "0.1"}),
        DestinationRow("t", "2", "z", {"setup": "0.1", "off": "1"}),
    ]
    assert PrefixTable("t", entries).columns == ("off", "peak", "setup")
    assert PrefixTable("t", entries, ["setup", "later"]).columns == ("setup", "later", "off", "peak")


def test_a_long_table() -> None:
    """As long as the price list of a carrier: every prefix is found, by itself and with digits behind it."""
    lines = ["prefix,zone,peak", *(f"{number},z{number % 300},0.{number % 97}" for number in range(100_000, 300_000))]
    of = read("\n".join(lines))
    assert len(of) == 200_000
    assert len(of.zones) == 300
    for number in range(100_000, 300_000, 997):
        for dialled in (f"{number}", f"{number}5551234"):
            entry = of.find(dialled)
            assert entry is not None
            assert (entry.prefix, entry.columns) == (str(number), {"peak": f"0.{number % 97}"})
    assert of.find("99999") is None
    assert len({id(entry.columns) for entry in of.entries()}) <= 97 * 300  # shared, not one for each row


# --- CSV

CELLS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=6).map(str.strip)


@st.composite
def tables(draw: st.DrawFn) -> PrefixTable:
    columns = draw(st.lists(st.sampled_from(["peak", "off-peak", "_x", "Inc2"]), unique=True))
    entries = []
    for prefix in draw(st.sets(PREFIXES | WHOLE.map("={}".format), max_size=8)):
        given = {column: cell for column in columns if (cell := draw(CELLS))}
        entries.append(DestinationRow("world", prefix, draw(CELLS.filter(bool)), given))
    return PrefixTable("world", entries, columns)


@given(tables())
def test_a_table_that_is_written_reads_back(of: PrefixTable) -> None:
    text = write_table(of)
    again = read(text)
    assert (again.name, again.columns, again.zones, rows(again)) == (of.name, of.columns, of.zones, rows(of))
    assert write_table(again) == text
    assert rows(read("\ufeff" + text.replace("\n", "\r\n"))) == rows(of)  # as a spreadsheet saves it


@given(st.binary(max_size=200) | st.text('prefix,zone;"=#+49 \n\r', max_size=80).map(str.encode))
def test_rubbish_is_refused_politely(junk: bytes) -> None:
    for content in (junk, b"prefix,zone,peak\n" + junk):
        try:
            read(content)
        except ValueError as bad:
            assert re.match(r"world\.csv line \d+: expected ", str(bad)), bad  # noqa: PT017


def test_a_table_as_product_managers_write_it() -> None:
    of = read(
        """
        # Prices of 2026, from "carrier
        zone ; prefix ; whole ; peak ; off-peak

        Germany; 49 +4950 ; ; 0.01 ; "0.005"
        Germany mobile;4915 4916 4917;no;0.05;
        emergency;110 112;Yes;;
        "rest; of the world";*;;0.50;0.50
        ;;;;
        """.replace("        ", "")
    )
    assert of.columns == ("peak", "off-peak")
    assert rows(of) == [
        ("world", "", "rest; of the world", {"peak": "0.50", "off-peak": "0.50"}),
        ("world", "49", "Germany", {"peak": "0.01", "off-peak": "0.005"}),
        ("world", "4915", "Germany mobile", {"peak": "0.05"}),
        ("world", "4916", "Germany mobile", {"peak": "0.05"}),
        ("world", "4917", "Germany mobile", {"peak": "0.05"}),
        ("world", "4950", "Germany", {"peak": "0.01", "off-peak": "0.005"}),
        ("world", "=110", "emergency", {}),
        ("world", "=112", "emergency", {}),
    ]
    written = write_table(of).splitlines()
    assert written[:3] == [
        "prefix,zone,whole,peak,off-peak",
        "*,rest; of the world,,0.50,0.50",
        "49,Germany,,0.01,0.005",
    ]
    assert written[-1] == "112,emergency,yes,,"


def test_a_comment_that_a_spreadsheet_put_in_quotes() -> None:
    assert len(read('"# one, two; three",\nprefix,zone\n"# four, five",\n49,de\n')) == 1


HEAD = "prefix,zone,peak\n"
REFUSED = [
    # content, where, what was expected
    ("", 1, "expected a header with the columns prefix and zone, not an empty file"),
    ("# nothing\n\n", 3, "expected a header with the columns prefix and zone, not an empty file"),
    ("\nPrefix,zone\n", 2, "expected a header with the columns prefix and zone, not Prefix, zone"),
    ("prefix,peak\n", 1, "expected a header with the columns prefix and zone, not prefix, peak"),
    ("prefix,zone,peak price\n", 1, "expected a column named with letters, digits, '-' and '_', not 'peak price'"),
    ("prefix,zone,2nd\n", 1, "expected a column named with letters, digits, '-' and '_', not '2nd'"),
    ("prefix,zone,\n", 1, "expected a column named with letters, digits, '-' and '_', not ''"),
    ("prefix,zone,peak,peak\n", 1, "expected each column once, not 'peak' twice"),
    (HEAD + "49,de,1\n\n#\n50,de\n", 5, "expected 3 cells (prefix, zone, peak), not 2"),
    (HEAD + "49,de,0,05\n", 2, "expected 3 cells (prefix, zone, peak), not 4"),
    (HEAD + "49,,1\n", 2, "expected a zone for the prefix '49', not an empty one"),
    (HEAD + "49a,de,1\n", 2, 'expected a prefix such as "49", "+49" or "=112" (a whole number), not \'49a\''),
    (HEAD + "4.9E+11,de,1\n", 2, "expected a prefix such as"),
    (HEAD + "49-50,de,1\n", 2, "expected a prefix such as"),
    (HEAD + "+,de,1\n", 2, "expected a prefix such as"),
    (HEAD + "49 =112,de,1\n", 2, "expected \"yes\" in a column whole for a whole number, not '=112'"),
    ("prefix,zone,whole\n49,de,maybe\n", 2, "expected \"yes\" or nothing in the column whole, not 'maybe'"),
    ("prefix,zone,whole\n1a b,de,yes\n* 4,de,yes\n", 3, "expected a whole number such as 112, not '*'"),
    (HEAD + "49,de,1\n,nl,1\n", 3, 'expected a prefix, or "*" for all other numbers'),
    (HEAD + f"{'1' * 25},de,1\n", 2, "expected a prefix of at most 24 digits"),
    (HEAD + "49,de,1\n50,nl,1\n+49,de,1\n", 4, "expected each prefix once, but '49' is on line 2 already"),
    (HEAD + "49 49,de,1\n", 2, "expected each prefix once, but '49' is on line 2 already"),
    (HEAD + "*,de,1\n*,nl,1\n", 3, "expected each prefix once, but '' is on line 2 already"),
    (HEAD + '49,de,"1\n2"\n', 2, "expected quotes that end on the line they begin on"),
    (HEAD + '49,de,1\n50,de,"1\n', 3, "expected cells as CSV has them, and quotes that end"),
    (HEAD + '49,"de"x,1\n', 2, "expected cells as CSV has them, and quotes that end"),
    (HEAD.encode() + b"49,de,1\n50,d\xe9,1\n", 3, "expected UTF-8"),
]


@pytest.mark.parametrize(("content", "line", "why"), REFUSED)
def test_a_table_that_is_refused(content: str | bytes, line: int, why: str) -> None:
    with refuses(f"world.csv line {line}: {why}"):
        read(content)


def test_entries_that_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with refuses("expected each prefix once, not '49' twice"):
        table("49", "+49")
    with refuses("expected a prefix such as"):
        table("4 9")
    with refuses("expected a whole number such as \"=112\", not '=1 2'"):
        table("=1 2")
    with refuses("expected a zone for the prefix '49', not an empty one"):
        DestinationRow("world", "49", "", {})
    monkeypatch.setattr("tariffs.destinations.ENTRIES_MAX", 2)
    with refuses("expected at most 2 prefixes, not 3"):
        table("1", "2", "3")


# --- numbers

GERMANY = Numbers("49")
AMERICA = Numbers("1", international="011", national="1", national_digits=(10,))
ITALY = Numbers("39", national="", keep_national=True)
SPAIN = Numbers("34", national="")
RUSSIA = Numbers("7", international="810", national="8", short=3)
PLANS = {"Germany": GERMANY, "America": AMERICA, "Italy": ITALY, "Spain": SPAIN, "Russia": RUSSIA}


@pytest.mark.parametrize(
    "line",
    """
        Germany   +491701234567     491701234567
        Germany   00491701234567    491701234567
        Germany   01701234567       491701234567
        Germany   491701234567      491701234567
        Germany   0033123456789     33123456789
        Germany   112               112               short
        Germany   115000            115000            short
        Germany   1150001           1150001
        Germany   0                 0                 short
        Germany   00                00                short
        Germany   +112              112
        Germany   anna@example.org  anna@example.org
        Germany   +49170x           +49170x
        Germany   +                 +
        Germany   *100#             *100#
        Germany   ++49              ++49
        America   12125551234       12125551234
        America   01144201234567    44201234567
        America   911               911               short
        America   2125551234        12125551234
        Italy     0612345678        390612345678
        Italy     +390612345678     390612345678
        Italy     0033123456789     33123456789
        Italy     393471234567      393471234567
        Spain     34912345678       34912345678
        Spain     0612345678        0612345678
        Russia    84951234567       74951234567
        Russia    81044201234567    44201234567
        Russia    112               112               short
    """.strip().splitlines(),
)
def test_numbers_as_they_are_dialled(line: str) -> None:
    plan, dialled, normal, *short = line.split()
    assert PLANS[plan].normal(dialled) == (normal, bool(short))


@given(st.sampled_from(sorted(PLANS)), NUMBERS | st.text("+0123456789 ", max_size=20))
def test_every_text_has_a_normal_form(plan: str, number: str) -> None:
    normal, short = PLANS[plan].normal(number)
    assert normal or not number
    assert not short or (normal == number and len(number) <= 6)


def test_prefixes_as_written_are_put_in_order() -> None:
    assert Numbers("49", "00") == Numbers("49", ("00",))
    assert Numbers("49", ("00", "010")).international == ("010", "00")
    assert Numbers("49", "").normal("0049170") == ("49049170", False)
    assert msgspec.convert({"country": "39", "keep_national": True}, Numbers).normal("06123") == ("3906123", False)


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ({"country": "+49"}, "country: expected digits such as \"49\", not '+49'"),
        ({"country": ""}, "country: expected digits such as \"49\", not ''"),
        ({"country": "49", "international": ["00", "x"]}, "international: expected digits such as \"00\", not 'x'"),
        ({"country": "49", "national": "(0)"}, "national: expected digits such as \"0\", not '(0)'"),
        ({"country": "7", "international": ["8"], "national": "8"}, "national: expected another prefix than an inter"),
        ({"country": "49", "short": 16}, "short: expected 0 to 15 digits, not 16"),
        ({"country": "49", "area": "30"}, "unknown field `area`"),
    ],
)
def test_a_plan_that_is_refused(written: dict[str, object], why: str) -> None:
    with refuses(why):
        msgspec.convert(written, Numbers)
