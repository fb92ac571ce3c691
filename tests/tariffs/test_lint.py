"""Each rule of the linter finds what it is for, and leaves alone what only looks like it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tariffs.inputs import Inputs
from tariffs.lint.atoms import OTHER, listed
from tariffs.lint.boundaries import boundaries
from tariffs.lint.case import LintCase, LintFinding
from tariffs.lint.linter import MEANS, SEVERITIES, lint
from tariffs.lint.regions import Region
from tariffs.load import load_tariff
from tariffs.tariff import Tariff

AT_MS = 1_772_323_200_000
"""2026-03-01T00:00:00Z."""

HEAD = 'tariff = "t"\ncurrency = "EUR"\n'

TABLES = {
    "world.csv": b"prefix,zone,whole,peak\n49,Germany,,0.05\n491,Germany,,0.20\n33,France,,0.10\n4,Rest of 4,,0.30\n"
    b"112,sos,yes,0\n",
    "w.csv": b"prefix,zone,peak\n49,Germany,0.05\n491,Germany,0.05\n492,Germany,0.06\n493,Berlin,0.05\n",
    "odd.csv": b"prefix,zone,peak\n490 491 492,Germany,0.20\n493,Germany,0.2\n494,Germany,2.00\n",
    "even.csv": b"prefix,zone,peak\n490 491 492,Germany,0.20\n493 494,Germany,0.30\n",
    "dear.csv": b"prefix,zone,peak\n490,Germany,0.20\n491,Germany,8000\n",
}


def cases() -> list[tuple[list[str], str]]:
    """([rule, "clean"] or [rule, severity, where, what is said], document)."""
    text = Path(__file__).with_name("lint_cases.txt").read_text(encoding="utf-8")
    found = re.findall(r"^=== ([^\n]*)\n(.*?)(?=^=== |\Z)", text, re.MULTILINE | re.DOTALL)
    return [(head.split(" | "), document) for head, document in found]


CASES = cases()


def tariff(text: str, tables: Mapping[str, bytes] = TABLES) -> Tariff:
    return load_tariff(HEAD + text, source="t.toml", files=tables)


def found(text: str, rule: str) -> list[LintFinding]:
    return [finding for finding in lint(tariff(text), AT_MS) if finding.rule == rule]


@pytest.mark.parametrize(("head", "text"), CASES, ids=[f"{n}-{head[0]}" for n, (head, _) in enumerate(CASES)])
def test_rule(head: list[str], text: str) -> None:
    rule, *wanted = head
    findings = found(text, rule)
    if wanted == ["clean"]:
        assert findings == []
        return
    severity, where, says = wanted
    assert [(one.severity, one.where) for one in findings if says in one.text] == [(severity, where)], findings


@pytest.mark.parametrize(("many", "more"), [(31, 0), (32, 1)])
def test_steps(many: int, more: int) -> None:
    tier = '[[rows]]\nname = "r{0}"\nfirst = "{0} MB"\nflat = {{ price = "0.{0:02}", per = "1 MB" }}\n'
    rows = "".join(tier.format(n) for n in range(1, many + 1)) + '[[rows]]\nflat = { price = "1", per = "1 MB" }'
    findings = found(rows, "steps")
    assert len(findings) == more
    assert all("33 rows make 33 steps, and a ladder has at most 32" in one.text for one in findings)


def test_each_rule_is_tried_both_ways() -> None:
    tried = {(head[0], len(head) == 2) for head, _ in CASES}
    tried |= {(rule, clean) for rule in ("steps", "rating", "capped") for clean in (False, True)}  # by other tests here
    assert tried == {(rule, clean) for rule in MEANS for clean in (False, True)}


def test_what_cannot_be_rated_for_another_reason() -> None:
    """An attribute that one row takes as a price and another as a limit: no subscriber can have both."""
    text = """
        counters.c = { counts = "octets", period = "day" }
        rows = [
            { name = "a", below = { c = "subscriber.x" }, flat = { price = "1", per = "1 MB" } },
            { name = "b", flat = { price = "subscriber.x", per = "1 MB" } },
        ]
    """
    assert [(one.severity, one.where) for one in found(text, "rating")] == [("error", 'row "a" + "b"')]
    assert found(text.replace('price = "subscriber.x"', 'price = "subscriber.y"'), "rating") == []


def test_conditions_that_cross_each_other_too_often() -> None:
    facts = [f"subscriber = {{ a{n} = [{', '.join(map(repr, 'xyz'[: n % 3 + 1]))}] }}" for n in range(14)]
    text = "".join(
        f'[[rows]]\nname = "{n}"\nwhen = {{ {fact} }}\nfirst = "{n + 1} MB"\nflat = {{ price = "1", per = "1 MB" }}\n'
        for n, fact in enumerate(facts)
    )
    assert len(found(text, "capped")) == 1
    assert found(text[: text.index('[[rows]]\nname = "5"')], "capped") == []
    assert boundaries(tariff(text), AT_MS)[-1].what.startswith("capped")


EXAMPLES = {file.name: file.read_bytes() for file in (files("tariffs") / "examples").iterdir()}


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name.endswith(".toml")])
def test_what_we_ship_is_as_it_is_meant(name: str) -> None:
    shipped = load_tariff(EXAMPLES[name], source=name, files=EXAMPLES)
    assert [one for one in lint(shipped, shipped.from_ms or AT_MS) if one.severity != "note"] == []
    assert bool(boundaries(shipped, AT_MS)) is not shipped.parts.promotion


def test_the_worst_comes_first_and_nothing_twice() -> None:
    text = """
        bands.peak = { hours = "08:00-20:00" }
        rows = [
            { name = "a", when = { time = "peak", apn = "X" }, flat = { price = "1", per = "1 MB" } },
            { name = "b", when = { time = "peak" }, first = "1 min", flat = { price = "1", per = "1 min" } },
            { name = "c", when = { time = "peak" }, flat = { price = "1", per = "1 MB" } },
        ]
    """
    findings = lint(tariff(text), AT_MS)
    ranks = [SEVERITIES.index(one.severity) for one in findings]
    assert ranks == sorted(ranks)
    assert {0, 1} <= set(ranks)
    assert len(set(findings)) == len(findings)


def test_a_promotion_has_no_rows() -> None:
    text = """
        promotion = true
        bands.xmas = { dates = "2020-12-24" }
        discounts = [{ name = "gone", when = { time = "xmas" }, percent = 10 }, { name = "all", percent = 120 }]
    """
    rules = {(one.rule, one.where) for one in lint(tariff(text), AT_MS)}
    assert rules == {
        ("change-never", 'discount "gone"'),
        ("discount-large", 'discount "all"'),
        ("band-never", 'band "xmas"'),
    }
    assert boundaries(tariff(text), AT_MS) == []


def test_from_when_it_is_valid_on_unless_said_otherwise() -> None:
    text = 'bands.x = { dates = "2027-01-01" }\nrows = [{ when = { time = "x" }, free = true }, { free = true }]'
    valid = "valid_from = 2028-01-01T00:00:00Z\n"
    assert [one for one in lint(tariff(valid + text)) if one.rule == "band-never"]
    assert not [one for one in lint(tariff(text)) if one.rule == "band-never" and "1970" not in one.text]
    for year in (1960, 2096, 2101, 9998):
        lint(tariff(f"valid_from = {year}-01-01T00:00:00Z\n{text}"))


# --- regions


def holds_in(case: LintCase, region: Region, facts: Mapping[str, Any]) -> bool:
    """The line is one of the region. Asked as conditions, one value of each fact at a time."""
    for place, mask in region.box.items():
        dimension, atoms = case.lines.dimensions[place], mask
        for fact in dimension.facts:
            value = getattr(facts[fact], "zone", facts[fact])
            column = [key[dimension.facts.index(fact)] for key in dimension.keys]
            if value not in column:
                begun = [
                    k for k in column if isinstance(k, str) and k.endswith(OTHER) and str(value).startswith(k[:-1])
                ]
                value = max(begun, key=len) if isinstance(value, str) else OTHER
            atoms &= sum(1 << bit for bit, key in enumerate(column) if key == value)
        if not atoms:
            return False
    return True


SERVICE = st.sampled_from(['service = "data"', 'service = "voice"', 'service = ["voice", "sms"]', ""])
MORE = st.lists(
    st.sampled_from(
        [
            "rating_group = 1",
            'rating_group = [1, "none"]',
            'apn = "in*"',
            'apn = ["internet", "ims"]',
            'apn = "*"',
            'called = "4*"',
            'called = ["49*", "112"]',
            'to = ["own:ours"]',
            'to = "own"',
            'to = "world:Germany"',
            'to = ["world:F*", "world:sos"]',
            'to = "world"',
            'subscriber = { segment = "gold" }',
            'subscriber = { segment = ["", "silver"] }',
            'time = "peak"',
            'time = ["off", "peak"]',
        ]
    ),
    max_size=3,
    unique_by=lambda text: text.split()[0],
)
PRICES = st.sampled_from(
    [
        'flat = { price = "0.01", per = "1 MB" }',
        'first = "1 MB"\nflat = { price = "0.02", per = "1 MB" }\nsetup = { fee = "1" }',
        'below = { c = "1 GB" }\nflat = { price = "0.03", per = "1 MB", increment = "1 KB" }',
        'flat = { price = "0.05", per = "1 min", increment = "60/1" }\nminimum = { charge = "0.1" }',
        'bundle = { per = "1 MB" }',
        "free = true",
        "barred = true",
        'flat = { price = "0.01", per = "1 MB" }\nbeside = { price = "0.01", per = "1 min" }\ngrade = "slow"',
    ]
)
ROWS = st.lists(st.tuples(SERVICE, MORE, PRICES), min_size=1, max_size=6)
LINES = st.builds(
    Inputs,
    st.sampled_from(["data", "voice", "sms", "mms"]),
    apn=st.sampled_from(["", "in", "internet", "ims", "x"]),
    called=st.sampled_from(["", "112", "4", "49", "491", "4917", "33", "330", "5", "sip"]),
    attributes=st.sampled_from([{}, {"segment": "gold"}, {"segment": "silver"}, {"segment": "x"}]),
)


def document(rows: list[tuple[str, list[str], str]]) -> str:
    parts = [
        'zone = "Europe/Berlin"\ntables.world = "world.csv"\ntables.own = { "4917" = "ours", "33" = "theirs" }',
        'bands.peak = { days = "mon-fri", hours = "08:00-20:00" }',
        'bands.off = { hours = "18:00-02:30" }\ncounters.c = { counts = "octets", period = "month" }',
    ]
    for service, more, price in rows:
        parts.append(f"[[rows]]\nwhen = {{ {', '.join(filter(None, [service, *more]))} }}\n{price}")
    return "\n".join(parts)


@settings(max_examples=150)
@given(ROWS, LINES, st.sampled_from([None, 1, 2]), st.integers(0, 14 * 24))
def test_a_line_is_in_one_region_and_its_rows_are_those_that_price_it(
    rows: list[tuple[str, list[str], str]], inputs: Inputs, rating_group: int | None, hour: int
) -> None:
    one = tariff(document(rows))
    case = LintCase(one, AT_MS)
    facts = one.view.facts(inputs, rating_group, None)
    names = {text for service, *_ in rows for text in re.findall(r'"(\w+)"', service)}
    if inputs.service not in names and all(service for service, *_ in rows):
        assert one.chain(facts, 0).rows == ()  # a service nobody speaks of
        return
    regions = [region for region in case.lines.regions if holds_in(case, region, facts)]
    assert len(regions) == 1
    holds = case.walk.schedule.at(AT_MS + hour * 3_600_000).holds
    assert holds in case.walk.first
    assert case.chain(regions[0].rows, holds) == one.chain(facts, holds).rows
    plain = case.lines.facts(regions[0].box)
    assert holds_in(case, regions[0], plain)
    assert case.chain(regions[0].rows, holds) == one.chain(plain, holds).rows
    if {"to own", "to world"} <= plain.keys():  # of one number
        find = [one.parts.tables[name].find for name in ("own", "world")]
        there = [[look(number) for look in find] for number in ("", "112", "4", "49", "491", "4917", "33", "5", "1")]
        assert [plain["to own"], plain["to world"]] in there


@settings(max_examples=30)
@given(ROWS)
def test_no_tariff_is_too_much_for_it(rows: list[tuple[str, list[str], str]]) -> None:
    one = tariff(document(rows))
    used = LintCase(one, AT_MS).used
    shadowed = {finding.where for finding in lint(one, AT_MS) if finding.rule in ("shadowed", "never")}
    assert shadowed == {f'row "{row.name}"' for row in one.rows if row not in used}
    boundaries(one, AT_MS)


def test_lists_that_are_too_long_to_read() -> None:
    assert listed(list("abc")) == "a, b and c"
    assert listed([]) == ""
    assert listed(list("abcdefghij")) == "a, b, c, d, e and 5 more"
