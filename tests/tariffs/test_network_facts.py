"""What a network tells under configured names: one text for all of it, and conditions on each."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tariffs.catalog import Assignment, Catalog
from tariffs.explain import explain
from tariffs.inputs import Inputs
from tariffs.lint.linter import lint
from tariffs.load import load_tariff
from tariffs.network_facts import OCTETS_MAX, in_one_text, taken_apart

DOCUMENT = """
tariff = "pools"
currency = "EUR"
[[rows]]
name = "gold"
when = { service = "data", network = { pool = ["gold*", "platinum"] } }
flat = { price = "0.01", per = "1 MB" }
[[rows]]
name = "no class"
when = { service = "data", network.class = "" }
flat = { price = "0.02", per = "1 MB" }
[[rows]]
name = "rest"
when = { service = "data" }
flat = { price = "0.05", per = "1 MB" }
"""


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,32}", fullmatch=True), st.text(max_size=90), max_size=8))
def test_what_is_put_together_is_taken_apart_again(told: dict[str, str]) -> None:
    text = in_one_text(told)
    assert len(text.encode(errors="replace")) <= OCTETS_MAX
    found = dict(taken_apart(text))
    assert in_one_text(found) == text, "the same facts are the same octets"
    assert found.keys() <= told.keys()
    for name, value in found.items():
        assert value == "".join(each if each.isprintable() else " " for each in told[name].replace(";", ",")).strip()


def test_what_does_not_fit_is_left_out_whole() -> None:
    told = {"a": "x" * 200, "b": "y" * 100, "c": "z"}
    assert taken_apart(in_one_text(told)) == {"a": "x" * 200, "c": "z"}


def test_conditions_ask_for_each_of_them_and_an_explanation_names_it() -> None:
    catalog = Catalog([load_tariff(DOCUMENT, source="pools.toml")])

    def row(network: str) -> str:
        found = explain(catalog, [Assignment("pools")], "EUR", (None, None), Inputs("data", network=network), 0)
        (priced,) = (one for one in found.rows if one.fate == "prices")
        return priced.row

    told = ("pool=gold-7", "class=x;pool=platinum", "pool=silver", "class=x;pool=silver", "")
    assert [row(network) for network in told] == ["gold", "gold", "no class", "rest", "no class"]
    asked = explain(catalog, [Assignment("pools")], "EUR", (None, None), Inputs("data", network="class=x"), 0)
    assert "  network.class = x" in list(asked.lines())


def test_the_linter_knows_them_as_facts() -> None:
    tariff = load_tariff(DOCUMENT, source="pools.toml")
    assert [one for one in lint(tariff, 0) if one.severity == "error"] == []
    hidden = DOCUMENT.replace('network.class = ""', 'network.pool = "gold-1"')
    assert [one.where for one in lint(load_tariff(hidden, source="p.toml"), 0) if "no class" in one.where]
