"""Charging tags that a tariff says (charging.md section 17)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balances.ledger import terms
from tariffs.catalog import Assignment, Catalog
from tariffs.document import TariffError
from tariffs.explain import explain
from tariffs.fee_price import fee_price
from tariffs.inputs import Inputs
from tariffs.ladder import Ladder
from tariffs.load import load_tariff
from tariffs.rating import rate
from tariffs.tags import TAGS_MAX, as_terms, check_tags
from tariffs.tariff import Tariff

DOCUMENT = """
tariff = "t"
currency = "EUR"
zone = "UTC"
tags = { channel = "network", cost_centre = "7 ä;=%" }
bands.night = { hours = "22:00-06:00" }
bands.noon = { hours = "12:00-13:00" }
[[rows]]
name = "first"
when = { rating_group = 10 }
first = "1 MB"
flat = { price = "0.10", per = "1 MB" }
[[rows]]
name = "video"
when = { rating_group = 10 }
flat = { price = "0.20", per = "1 MB" }
tags = { channel = "video" }
[[rows]]
name = "night"
when = { time = "night" }
flat = { price = "0.005", per = "1 MB" }
tags = { channel = "night" }
[[rows]]
name = "noon"
when = { time = "noon" }
flat = { price = "0.02", per = "1 MB" }
[[rows]]
name = "rest"
flat = { price = "0.01", per = "1 MB" }
[[fees]]
name = "rental"
price = "1.00"
every = "month"
tags = { channel = "rental" }
"""
NOON_MS = 1_772_452_800_000 - 7_200_000  # 2026-03-02T10:00:00Z


def tariff(text: str = DOCUMENT) -> Tariff:
    return load_tariff(text, source="t.toml")


def ladder(rating_group: int, at_ms: int = NOON_MS) -> Ladder:
    (rated,) = rate(Catalog([tariff()]), [Assignment("t")], "EUR", [(rating_group, None)], Inputs("data"), at_ms)
    assert rated.ladder is not None
    return rated.ladder


def test_the_first_row_that_says_some_and_the_tariff_below_it() -> None:
    centre = {"cost_centre": "7 ä;=%"}
    assert terms.tags_in(ladder(10).terms) == centre | {"channel": "video"}
    assert terms.tags_in(ladder(11).terms) == centre | {"channel": "network"}
    assert terms.tags_in(ladder(11, NOON_MS + 13 * 3_600_000).terms) == centre | {"channel": "night"}
    fee = tariff().parts.fees[0]
    assert terms.tags_in(fee_price(fee, tariff(), Inputs("fee"), NOON_MS).terms) == centre | {"channel": "rental"}
    said = [(where, {*tags}) for where, tags in tariff().said_tags() if tags]
    channel = {"channel"}
    rows = [(f"row {name}: tags", channel) for name in ("video", "night")]
    assert said == [("tags", {"channel", "cost_centre"}), *rows, ("fee rental: tags", channel)]


def test_no_grant_runs_from_one_set_into_another() -> None:
    """What a report says of use before and after a band's edge it says together: it has one set of tags."""
    catalog, chain = Catalog([tariff()]), [Assignment("t")]
    two_hours = 2 * 3_600_000
    (rated,) = rate(catalog, chain, "EUR", [(11, None)], Inputs("data"), NOON_MS)
    assert rated.change_ms == NOON_MS + two_hours  # noon has another price and the same tags
    (rated,) = rate(catalog, chain, "EUR", [(11, None)], Inputs("data"), NOON_MS + 4 * 3_600_000)
    assert (rated.change_ms, rated.cut_ms) == (0, NOON_MS + 12 * 3_600_000)


def test_an_explanation_shows_them() -> None:
    told = explain(Catalog([tariff()]), [Assignment("t")], "EUR", (10, None), Inputs("data"), NOON_MS)
    assert told.ladder[-1] == "tagged channel = video, cost_centre = 7 ä;=%"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('channel = "network"', 'Channel = "x"', "t.toml: tags: expected keys"),
        ('channel = "network"', 'channel = "a\\nb"', "t.toml: tags: expected 1 to 64 characters"),
        ('channel = "video"', 'channel = ""', "rows[2].tags: expected 1 to 64 characters"),
        ('{ channel = "video" }', '"video"', "rows[2].tags"),
        ('{ channel = "video" }', "{ channel = 7 }", "rows[2].tags"),
        ('channel = "rental"', "channel = '" + 65 * "x" + "'", "fees[1].tags: expected 1 to 64"),
    ],
)
def test_what_is_no_tag(old: str, new: str, says: str) -> None:
    with pytest.raises(TariffError) as refused:
        tariff(DOCUMENT.replace(old, new))
    assert says in str(refused.value)


def test_where_nothing_is_charged_there_are_none() -> None:
    with pytest.raises(TariffError, match=r"rows\[1\]\.tags: expected a row that is sold"):
        tariff('tariff = "t"\ncurrency = "EUR"\n[[rows]]\nbarred = true\ntags = { channel = "x" }\n')
    promotion = 'tariff = "t"\ncurrency = "EUR"\npromotion = true\ntags = { channel = "x" }\n'
    with pytest.raises(TariffError, match="tags: expected none in a promotion"):
        tariff(promotion)


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"]), min_size=1, max_size=64)
KEYS = st.from_regex(r"\A[a-z][a-z0-9_-]{0,31}\Z")


@given(st.dictionaries(KEYS, TEXTS.filter(str.isprintable), max_size=TAGS_MAX))
def test_any_text_comes_back_from_the_terms(tags: dict[str, str]) -> None:
    check_tags(tags)
    text = ";".join(["tax=190000", "rate=1.5", *as_terms(tags)])
    assert terms.tags_in(text) == tags
    assert terms.read(text)[0] == 190_000
    assert str(terms.read(text)[1]) == "1.5"
    assert text.isascii()


def test_those_of_a_posting_win() -> None:
    assert terms.tagged("tax=1;tag.a=x;tag.b=y", '{"b":"z"}') == '{"a":"x","b":"z"}'
    assert terms.tagged("tax=1", '{"b":"z"}') == '{"b":"z"}'
    assert terms.tagged("", "") is None
    assert terms.tags_in("tag.a=%00%zz") == {"a": " %zz"}


def test_tags_alone_say_nothing_of_tax() -> None:
    assert [terms.says_of_money(one) for one in ("", "tag.a=x", "tax=0;tag.a=x", "rate=1.5")] == [
        False,
        False,
        True,
        True,
    ]
