"""The worked example of the README is worked out."""

from __future__ import annotations

import re
from decimal import Decimal
from importlib.resources import files

from tariffs.inputs import Inputs
from tariffs.load import load_tariff
from tariffs.making import find
from tariffs.price import price_of


def test_worked_example() -> None:
    text = (files("tariffs") / "README.md").read_text()
    (document,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    rated = find(load_tariff(document, source="README.md"), None, None, Inputs("voice"))
    assert rated is not None
    assert rated.ladder is not None
    rows = re.findall(r"^\| (\d+) \| ([\d.]+) \|", text, re.MULTILINE)
    assert len(rows) == 7
    for seconds, price in rows:
        assert price_of(rated.ladder, int(seconds), ms_per_unit=1000) == Decimal(price) * 1_000_000, seconds
