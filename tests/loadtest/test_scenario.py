"""Scenario files."""

from pathlib import Path

import pytest

from loadtest.scenario import load, shipped
from loadtest.shelf import ScenarioError

GOOD = """
name = "x"
prices = [{ service = "data", rating_group = 10, unit = "octets", block = 100, price = "0.5" }]
plays = [{ service = "data", lines = [{ rating_group = 10, unit = "octets", use = [0, 5] }] }]
"""


@pytest.mark.parametrize("name", shipped())
def test_what_is_shipped_can_be_played(name: str) -> None:
    scenario = load(name)
    assert scenario.name == name
    assert scenario.about
    assert scenario.requests_per_session >= 1


def test_a_file_and_what_the_command_line_overrides(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(GOOD)
    scenario = load(str(tmp_path / "x.toml"), rate=7, duration_s=None)
    assert (scenario.rate, scenario.duration_s) == (7, 30.0)
    assert scenario.price_of("data", scenario.plays[0].lines[0]).cost(101) == 1_000_000


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ('name = "x"', 'nome = "x"', "nome"),
        ("block = 100", "block = 0", "block"),
        ('price = "0.5"', 'price = "cheap"', "cheap"),
        ('price = "0.5"', 'price = "-1"', "-1"),
        ("use = [0, 5]", "use = [6, 5]", "not a range"),
        ('rating_group = 10, unit = "octets", use', 'rating_group = 11, unit = "octets", use', "no price for data"),
        ('rating_group = 10, unit = "octets", use', 'rating_group = 10, unit = "seconds", use', "no price for data"),
        ("use = [0, 5] }]", 'use = [0, 5] }, { unit = "octets", use = [0, 1] }]', "all different"),
        ('service = "data", lines', 'service = "fax", lines', "fax"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, before: str, after: str, why: str) -> None:
    assert before in GOOD
    (tmp_path / "x.toml").write_text(GOOD.replace(before, after))
    with pytest.raises(ScenarioError, match=why):
        load(str(tmp_path / "x.toml"))


def test_a_missing_scenario_names_those_there_are() -> None:
    with pytest.raises(ScenarioError, match="mixed"):
        load("mixd")
