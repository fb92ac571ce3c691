"""The table of planted faults fits the code: each text that a fault replaces stands there, once."""

from pathlib import Path

import pytest

from tests.mutants.table import ALWAYS, MUTANTS, PlantedText

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "place", [*ALWAYS, *(place for mutant in MUTANTS for place in mutant.places)], ids=lambda place: place.path
)
def test_a_place_stands_once(place: PlantedText) -> None:
    assert (ROOT / place.path).read_text().count(place.old) == 1, place.old


def test_names_differ_and_tests_are_there() -> None:
    assert len({one.name for one in MUTANTS}) == len(MUTANTS)
    assert [test for one in MUTANTS for test in one.tests if not (ROOT / test).exists()] == []
