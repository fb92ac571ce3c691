"""The worked examples of the README are worked out."""

from __future__ import annotations

import re
from decimal import Decimal
from importlib.resources import files

from tariffs.build_ladder import find
from tariffs.inputs import Inputs
from tariffs.load import load_tariff
from tariffs.price import price_of
from tests.tariffs.customers import Customer

TEXT = (files("tariffs") / "README.md").read_text()


def test_first_example() -> None:
    document = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)[0]
    rated = find(load_tariff(document, source="README.md"), None, None, Inputs("voice"))
    assert rated is not None
    assert rated.ladder is not None
    rows = re.findall(r"^\| (\d+) \| ([\d.]+) \|", TEXT, re.MULTILINE)
    assert len(rows) == 7
    for seconds, price in rows:
        assert price_of(rated.ladder, int(seconds), ms_per_unit=1000) == Decimal(price) * 1_000_000, seconds


def test_examples_with_a_table() -> None:
    """By what prices, and by the oracle."""
    calls, month, roaming, visited, cents = re.findall(r"```toml\n([^`]*)```\n```text\n([^`]*)```", TEXT)
    Customer(calls[0]).check(calls[1])
    Customer(month[0], "data").in_turn(month[1])
    Customer(roaming[0], "data").check(roaming[1])
    Customer(visited[0], "data").in_turn(visited[1])
    Customer(cents[0]).check(cents[1])
