"""TOML that would take long to read is refused before it is read; everything else is read as ever."""

import tomllib
from importlib.resources import files

import pytest

from tariffs.document import TariffError
from tariffs.document import parse as parse_document
from tariffs.toml import DEPTH_MAX, PARTS_MAX, parse

MANY = 20_001
LONG = {
    "bare": ".".join("a" * MANY) + " = 1",
    "spaced": " . ".join("a" * MANY) + " = 1",
    "quoted": ".".join(['"a"'] * MANY) + " = 1",
    "literal": ".".join(["'a.b'"] * MANY) + " = 1",
    "escaped": ".".join(['"a\\"b"'] * MANY) + " = 1",
    "long parts": ".".join([f'"{"a" * 300}"'] * 2_000) + " = 1",
    "a table": "[" + ".".join("a" * MANY) + "]",
    "tables": "[[" + ".".join("a" * MANY) + "]]",
    "inside": 'x = { s = "a string", ' + ".".join("a" * MANY) + " = 1 }",
    "in an array": "x = [\n1,\n{" + ".".join("a" * MANY) + " = 1 }]",
    "one too many": ".".join("a" * (PARTS_MAX + 1)) + " = 1",
}


@pytest.mark.parametrize("name", LONG)
def test_a_key_of_many_parts(name: str) -> None:
    """`TOML with a key of 20,000 dots costs 10 s of CPU: bounded.`"""
    with pytest.raises(ValueError, match="more than 32 parts"):
        parse(LONG[name])
    with pytest.raises(TariffError, match="more than 32 parts"):
        parse_document(LONG[name], source="t.toml", form="toml")


@pytest.mark.parametrize("text", ["x = " + "[" * 100_000, "x = " + "{a=" * 100_000, "x = " + "[\n{a=" * 50_000])
def test_brackets_in_brackets(text: str) -> None:
    with pytest.raises(ValueError, match="deep"):
        parse(text)


@pytest.mark.parametrize(
    "text", ['"\\' * 20_000, '"' * 20_001, "'a\n" * 20_000, 'x = "' + '\\"' * 20_000, "a" * 100_000]
)
def test_what_is_not_closed_is_not_toml(text: str) -> None:
    with pytest.raises(ValueError, match=r"line|end"):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        ".".join("a" * PARTS_MAX) + " = 1",
        'x = "' + "a." * 50_000 + '"',
        "x = '" + "[" * 1_000 + "'",
        "# " + ".".join("a" * MANY) + " [[[[" * 20,
        "x = " + "[" * DEPTH_MAX + "]" * DEPTH_MAX,
        "\n".join(f"x{number} = [{{ a = 1 }}]" for number in range(1_000)),
    ],
)
def test_what_looks_like_it_and_is_not(text: str) -> None:
    assert parse(text) == tomllib.loads(text)


def test_every_example_is_read_as_ever() -> None:
    found = [one for one in files("tariffs").joinpath("examples").iterdir() if one.name.endswith(".toml")]
    assert found
    for one in found:
        assert parse(one.read_text()) == tomllib.loads(one.read_text())
