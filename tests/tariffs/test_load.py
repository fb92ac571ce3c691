"""A document that is refused is told where and what was expected."""

from __future__ import annotations

import gc
import json
import weakref
from importlib.resources import files

import pytest

from tariffs.build_ladder import find
from tariffs.document import TariffError
from tariffs.inputs import Inputs
from tariffs.load import load_tariff
from tariffs.price import price_of
from tariffs.tariff import Tariff
from tests.tariffs.tables import ladder

HEAD = 'tariff = "t"\ncurrency = "EUR"\n'
FLAT = 'flat = { price = "0.05", per = "1 min" }'


def load(text: str) -> Tariff:
    return load_tariff(text, source="t.toml")


REFUSED = [
    # what is written, where it is wrong, what is said
    ("tariff = ", "", "is not TOML"),
    ('currency = "EUR"', "", "missing required field `tariff`"),
    ('tariff = "t"\ncurrency = "eur"\n[[rows]]\nfree = true', "currency", 'three capital letters such as "EUR"'),
    ('tariff = "a b"\ncurrency = "EUR"\n[[rows]]\nfree = true', "tariff", "expected an id of letters"),
    (HEAD + "rows = []", "rows", "expected 1 to"),
    (HEAD + "colour = 1\n[[rows]]\nfree = true", "", "unknown field `colour`"),
    (HEAD + "valid_from = 2030-01-01T00:00:00\n[[rows]]\nfree = true", "valid_from", "a time with its zone"),
    (HEAD + "[[rows]]\nfree = true\nflatt = 1", "rows[1].flatt", "unknown key; expected one of"),
    (HEAD + "[[rows]]\nfree = true\nwhen = { apn = { not = [] } }", "rows[1].when.apn.not", "length >= 1"),
    (HEAD + "[[rows]]\nfree = true\nwhen = { apn = { no = 'x' } }", "rows[1].when.apn", "unknown field `no`"),
    (HEAD + "[[rows]]\nfree = true\nwhen = { not = { apn = 'x' } }", "rows[1].when", "unknown field `not`"),
    (HEAD + "[[rows]]\nfree = true\nwhen = { time = { not = 'x' } }", "rows[1].when.time", "a band (none is there)"),
    (HEAD + "[[rows]]\nfree = true\nwhen = { role = { not = 'x' } }", "rows[1].when", 'expected a number or "none"'),
    (
        HEAD + "tables.w = { '49' = 'x' }\n[[rows]]\nwhen = { to = { not = 'w:x' } }\n"
        "flat = { price = 'to.zone', per = 1 }",
        "rows[1].flat",
        "to.zone: expected `to` to name zones",
    ),
    (
        HEAD + "discounts = [{ name = 'd', amount = 1, of = 'list' }]\n[[rows]]\nfree = true",
        "discounts[0]",
        "expected `of` with `percent`",
    ),
    (HEAD + "[[rows]]\nname = 'x'", "rows[1]", "exactly one of barred, uncontrolled, free, bundle, flat, not none"),
    (HEAD + f"[[rows]]\nfree = true\n{FLAT}", "rows[1]", "not free and flat"),
    (HEAD + "[[rows]]\nfree = true\n[[rows]]\nflat = { per = 1 }", "rows[2].flat", "missing required field `price`"),
    (HEAD + "[[rows]]\nflat = { price = '0.1', per = 1, pre = 2 }", "rows[1].flat", "unknown field `pre`"),
    (HEAD + "[[rows]]\nflat = { price = 'ten', per = 1 }", "rows[1].flat.price", 'an amount of money such as "0.05"'),
    (HEAD + "[[rows]]\nflat = { price = '-1', per = 1 }", "rows[1].flat.price", "not negative"),
    (HEAD + "[[rows]]\nflat = { price = 'NaN', per = 1 }", "rows[1].flat.price", "an amount of money"),
    (HEAD + "[[rows]]\nflat = { price = true, per = 1 }", "rows[1].flat.price", "an amount of money"),
    (HEAD + f"[[rows]]\nflat = {{ price = '1e{99}', per = 1 }}", "rows[1].flat.price", "at most 30 digits"),
    (HEAD + "[[rows]]\nflat = { price = '1', per = '3 parsec' }", "rows[1].flat.per", "a unit out of octet"),
    (HEAD + "[[rows]]\nflat = { price = '1', per = '0 s' }", "rows[1].flat.per", "from 1 to 2^53"),
    (HEAD + "[[rows]]\nflat = { price = '1', per = '' }", "rows[1].flat.per", 'such as "1 MB"'),
    (
        HEAD + "[[rows]]\nflat = { price = '1', per = '1 s', increment = '1 MB' }",
        "rows[1].flat",
        "expected an increment in seconds",
    ),
    (
        HEAD + "[[rows]]\nflat = { price = '1', per = 1, rounding = 'off' }",
        "rows[1].flat.rounding",
        "expected one of up, down, half_up, not 'off'",
    ),
    (
        HEAD + f"[[rows]]\n{FLAT}\n[[taxes]]\nname = 'v'\npercent = 1\nincluded = true\nrounding = 'off'",
        "taxes[0].rounding",
        "expected one of up, down, half_up, half_even, not 'off'",
    ),
    (HEAD + "[[rows]]\nflat = { price = '1', per = '1 octet' }", "rows[1].flat", "at most 0.008191 for 1 octet"),
    (HEAD + "[[rows]]\nflat = { price = '9999999999', per = 1 }", "rows[1].flat", "at most 8589.934591 for 1 unit"),
    (
        HEAD + "[[rows]]\nflat = { price = '0.01', per = '100000007 octets', increment = '1' }",
        "rows[1].flat",
        "cannot be computed exactly",
    ),
    (HEAD + f"[[rows]]\n{FLAT}\nsetup = {{ fee = '0.0000001' }}", "rows[1].setup", "whole micro-units"),
    (HEAD + f"[[rows]]\n{FLAT}\nsetup = {{ fee = '9999999999' }}", "rows[1].setup", "at most 9007199254.740991"),
    (HEAD + "[[rows]]\nfree = true\nsetup = { fee = '1' }", "rows[1].setup", "expected a price in the same row"),
    (HEAD + "[[rows]]\nbarred = true\nminimum = { charge = '1' }", "rows[1].minimum", "expected a price"),
    (
        HEAD + f"[[rows]]\n{FLAT}\nminimum = {{ charge = '2' }}\nmaximum = {{ charge = '1' }}",
        "rows[1].maximum",
        "not below the minimum charge",
    ),
    (HEAD + f"[[rows]]\n{FLAT}\nmaximum = {{ charge = '0' }}", "rows[1].maximum", "above 0"),
    (HEAD + f"[[rows]]\nwhen = {{ serivce = 'data' }}\n{FLAT}", "rows[1].when", "unknown field `serivce`"),
    (HEAD + f"[[rows]]\nwhen = {{ rating_group = 'all' }}\n{FLAT}", "rows[1].when", 'a number or "none"'),
    (HEAD + f"[[rows]]\nwhen = {{ subscriber = {{ 'a b' = 'x' }} }}\n{FLAT}", "rows[1].when", "letters, digits"),
    (HEAD + f"[[rows]]\nwhen = {{ subscriber = {{ a = [] }} }}\n{FLAT}", "rows[1].when", "expected a value of a"),
    ('tariff = "t\u00e4"\ncurrency = "EUR"\n[[rows]]\nfree = true', "tariff", "expected an id of letters"),
    (
        HEAD + "[[rows]]\nflat = { price = 'subscriber.price', per = '1 s', increment = '1 MB' }",
        "rows[1].flat",
        "expected an increment in seconds",
    ),
    (
        HEAD + f"[[rows]]\nwhen = {{ rat_type = 'LTE' }}\n{FLAT}",
        "rows[1].when",
        'rat_type: expected a number or "none"',
    ),
]


REFUSED += [  # a list that is empty is no condition that is left out
    (HEAD + f"[[rows]]\nwhen = {{ {key} = [] }}\n{FLAT}", f"rows[1].when.{key}", "length >= 1")
    for key in ("apn", "rat_type", "rating_group", "to", "time")
]
REFUSED += [
    (HEAD + f"bands.night = {{ {key} = [] }}\n[[rows]]\n{FLAT}", f"bands.night.{key}", "length >= 1")
    for key in ("days", "hours", "except")
]
REFUSED += [
    (
        HEAD + f"[[discounts]]\nname = 'd'\npercent = 5\nwhen = {{ visited = [] }}\n[[rows]]\n{FLAT}",
        "discounts[0].when.visited",
        "length",
    ),
    (HEAD + f"bands.'p/night' = {{ hours = '22:00-24:00' }}\n[[rows]]\n{FLAT}", "bands.p/night", 'without "/"'),
]

WORLD = f"[[rows]]\nwhen = {{ to = 'world' }}\n{FLAT.replace('0.05', 'to.price')}"
PRICED = HEAD + "tables.world = 'world.csv'\n" + WORLD
BELOW = f"[[rows]]\nbelow = {{ monthly = '1 GB' }}\n{FLAT}"
COUNTER = "counters.daily = { counts = 'money', period = 'day' }\n"

REFUSED += [
    (HEAD + BELOW, "rows[1].below", "a counter (none is there), not 'monthly': declare [counters.monthly]"),
    (HEAD + COUNTER + BELOW, "rows[1].below", "a counter (daily), not 'monthly': declare [counters.monthly]"),
    (HEAD + COUNTER.replace("money", "euro") + BELOW, "counters.daily.counts", "'euro'"),
    (HEAD + "tables = { a = { 1 = 'x' }, b = { 1 = 'x', 2 = 3 } }", "tables.b.2", "expected `str`"),
    (
        HEAD + "[[discounts]]\nname = 'd'\nwhen = { subscriber = { plan = 1 } }\npercent = 5",
        "discounts[0].when.subscriber.plan",
        "expected `str",
    ),
    (HEAD + "[[discounts]]\nname = 'd'\npercent = 'ten'", "discounts[0].percent", "expected a percentage from 0 to"),
    (HEAD + "tables.world = { 49 = '' }\n" + WORLD, "tables.world", "a zone for the prefix '49'"),
    (
        HEAD + "tables.world = { 49 = 'home' }\n" + WORLD,
        "rows[1].flat",
        "to.price: expected a column of tables.world (prefix, zone), not 'price'",
    ),
]


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("prefix,zone,peak\n49,home,1", "to.price: expected a column of world.csv (prefix, zone, peak), not 'price'"),
        (
            "prefix,zone,price\n1,us,1\n\n49,home,",
            "something in the column price, not an empty cell (world.csv line 4,",
        ),
        ("# July\nprefix,zone,price\n49,home,x", "'x' (world.csv line 3, prefix 49)"),
        ("prefix;zone;price\n49;home;0,05", "not '0,05' (world.csv line 2, prefix 49)"),
        ("prefix,zone,price\n49,home,99999", "at most 8053.063679 for 60 s, not 99999: "),
        ("prefix,zone,price\n49,home,0,05", "world.csv line 2: expected 3 cells (prefix, zone, price), not 4"),
        ("prefix,zone,price\n49,,1", "world.csv line 2: expected a zone for the prefix '49'"),
    ],
)
def test_a_table_says_where(written: str, why: str) -> None:
    with pytest.raises(TariffError) as refused:
        load_tariff(PRICED, source="t.toml", files={"world.csv": written.encode()})
    assert why in refused.value.why


@pytest.mark.parametrize(("text", "key", "why"), REFUSED)
def test_refused(text: str, key: str, why: str) -> None:
    with pytest.raises(TariffError) as refused:
        load(text)
    assert refused.value.key == key
    assert why in refused.value.why
    assert str(refused.value).startswith("t.toml: ")


def test_a_promotion_includes_no_rows() -> None:
    promotion = HEAD + 'promotion = true\ninclude = ["rows.toml"]\n[[discounts]]\nname = "x"\npercent = 5'
    with pytest.raises(TariffError, match=r"rows.toml: rows: expected none in a promotion"):
        load_tariff(promotion, source="t.toml", files={"rows.toml": f"[[rows]]\n{FLAT}".encode()})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[]", "expected an object"),
        ('{"tariff": "t", "tariff": "u"}', "given twice"),
        ('{"tariff": NaN}', "NaN is no number"),
        ("[" * 100_000, "nested"),
        ("{", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b" " * (8 * 2**20 + 1), "expected at most"),
    ],
)
def test_refused_json(text: str | bytes, why: str) -> None:
    with pytest.raises(TariffError, match=why):
        load_tariff(text, source="t.json")


def test_money_is_read_exactly_however_it_is_written() -> None:
    prices = ['"0.0004"', "0.0004", '"4e-4"', "0.00040"]
    found = {ladder(f'flat = {{ price = {price}, per = "1 MB" }}').steps for price in prices}
    assert len(found) == 1
    (steps,) = found
    assert (steps[0].price, steps[0].per) == (400, 1)


def test_toml_and_json_are_the_same_document() -> None:
    document = {"tariff": "t", "currency": "EUR", "rows": [{"flat": {"price": "0.05", "per": "1 min"}}]}
    both = [load(HEAD + f"[[rows]]\n{FLAT}"), load_tariff(json.dumps(document), source="t.json")]
    ladders = [find(one, None, None, Inputs("voice")) for one in both]
    assert ladders[0] is not None
    assert ladders[0] == ladders[1]


EXAMPLES = {file.name: file.read_bytes() for file in (files("tariffs") / "examples").iterdir()}


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name.endswith(".toml")])
def test_examples_load(name: str) -> None:
    load_tariff(EXAMPLES[name], source=name, files=EXAMPLES)


def test_valid_from_is_an_instant() -> None:
    found = load(HEAD + "valid_from = 2024-01-01T00:00:00.250+01:00\n[[rows]]\nfree = true")
    assert found.from_ms == 1_704_063_600_250


def test_large_use_stays_exact() -> None:
    """The dearest price that is taken, for a terabyte."""
    found = ladder('flat = { price = "8191", per = "1 MB" }')
    assert price_of(found, 2**40) == 8191 * 10**6 * 2**20 < 2**53


def test_a_tariff_that_was_replaced_is_gone_at_once() -> None:
    """No cycles: workers keep the collector of garbage away from catalogues (ocs/processes/catalog_follower.py)."""
    text = (
        HEAD
        + f"""
        zone = "Europe/Berlin"
        numbers = {{ country = "49" }}
        tables = {{ home = {{ "4930" = "Berlin" }} }}
        bands = {{ day = {{ hours = "08:00-20:00" }} }}
        counters = {{ used = {{ counts = "seconds", period = "month" }} }}
        discounts = [{{ name = "off", percent = 10, when = {{ subscriber = {{ segment = "gold" }} }} }}]
        rows = [
            {{ name = "a", when = {{ called = "4930*", time = "day" }}, below = {{ used = "1 h" }}, {FLAT} }},
            {{ name = "b", when = {{ to = "home" }}, {FLAT} }},
            {{ name = "c", {FLAT} }},
        ]"""
    )
    gc.collect()
    gc.disable()
    try:
        found = load(text.replace("\n            ", " ").replace("\n        ]", "]"))
        find(found, None, None, Inputs("voice", called="030123"), 1_800_000_000_000)
        seen = weakref.ref(found)
        del found
        assert seen() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("written", ["1_000", "٠.٠٥", "０.０５", "1 000", "1,5", "0x10", "inf", "nan", "", "."])
def test_only_digits_of_0_to_9_are_a_price(written: str) -> None:
    """Decimal takes underscores and the digits of every script; in a table, in an attribute and here they are slips."""
    text = f'tariff = "t"\ncurrency = "EUR"\n[[rows]]\nflat = {{ price = "{written}", per = "1 min" }}'
    with pytest.raises(TariffError, match="expected an amount of money"):
        load_tariff(text, source="t.toml")
    table = f"prefix,zone,price\n49,home,{written.replace(',', '.')}_\n".encode()
    text = 'tariff = "t"\ncurrency = "EUR"\ntables.w = "w.csv"\n[[rows]]\nwhen = { to = "w" }\n'
    with pytest.raises(TariffError, match="expected an amount of money"):
        load_tariff(text + 'flat = { price = "to.price", per = "1 min" }', source="t.toml", files={"w.csv": table})


@pytest.mark.parametrize("written", ["1000", "0.05", ".05", "5.", "1e-3", " 0.05 ", "+0.05"])
def test_numbers_as_people_write_them(written: str) -> None:
    text = f'tariff = "t"\ncurrency = "EUR"\n[[rows]]\nflat = {{ price = "{written}", per = "1 min" }}'
    load_tariff(text, source="t.toml")
