"""Structs that scripts make by name (balances/redis/literals.py)."""

from __future__ import annotations

from importlib import resources

import pytest

from balances.redis.literals import expanded, fields_now, known_fields, with_known

STEADY = resources.files("balances").joinpath("lua/lib/steady.lua").read_text()


@pytest.mark.parametrize(
    ("written", "array"),
    [
        ("TAKE{ bucket = 3, amount = f(a, { 1, 2 }) }", "{ 3, f(a, { 1, 2 }) }"),
        ("TAKE{ amount = 5, bucket = id }", "{ id, 5 }"),
        ("TAKE{ bucket = 'a, b = } c', amount = x[1] }", "{ 'a, b = } c', x[1] }"),
        ("x = SHORT{ bucket = 1, kind = 2 }, y", "x = { 1, 2, '' }, y"),
        ("{ TAKE{ bucket = 1, amount = 2 }, TAKE{ bucket = 3, amount = 4 } }", "{ { 1, 2 }, { 3, 4 } }"),
        (
            "COUNTER{ key = k, used = 0, held = 0, pool = { TAKE{ bucket = 1, amount = 2 } } }",
            "{ k, 0, 0, 0, 0, 0, { { 1, 2 } }, 0, 0 }",
        ),
        (
            "BUCKET{ id = 1, kind = 0, amount = 9 }",
            "{ 1, 0, 9, 0, 100, 0, 0, {}, '', 0, 0, false, '', false, {}, 0, 0, 1, 0 }",
        ),
        ("line[LINE.total]", "line[LINE.total]"),
    ],
)
def test_fields_go_to_their_places(written: str, array: str) -> None:
    assert expanded(written) == array


def test_what_has_no_blob_is_an_empty_text() -> None:
    assert expanded("NEXTPRICE{ from_ms = 1, ladder = '' }") == "{ 1, '' }"
    assert "NO_BLOB" not in expanded("LINE{ rating_group = 1, service_id = 2, unit = 3 }")


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("TAKE{ bucket = 1 }", "a TAKE without amount"),
        ("TAKE{ bucket = 1, amount = 2, held = 3 }", "a TAKE with held, which it does not have"),
        ("TAKEN{ bucket = 1 }", "a TAKEN, which balances/structs does not have"),
        ("TAKE{ 1, 2 }", "names no field"),
    ],
)
def test_what_does_not_fit_stops_the_start(written: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        expanded(written)


def test_a_script_states_once_how_many_fields_it_knows() -> None:
    text = "-- @fields TAKE 2 LINE 25\nif fields_of(octets, at, FIELDS.LINE) then return HEAD.LINE .. HEAD.TAKE end"
    assert with_known(text).splitlines()[1] == "if fields_of(octets, at, 25) then return '\\220\\0\\25' .. '\\146' end"
    with pytest.raises(ValueError, match=r"names FIELDS\.ENTRY, and states no number of fields of it"):
        with_known("-- @fields TAKE 2\nreturn FIELDS.ENTRY")


@pytest.mark.parametrize(("name", "known"), sorted(known_fields(STEADY).items()))
def test_the_steady_path_knows_all_fields(name: str, known: int) -> None:
    """Else charge.lua decides every request that has one of it, at more than twice the cost."""
    assert known == fields_now(name), (
        f"{name} has {fields_now(name)} fields, and lua/lib/steady.lua knows {known} of them:"
        " bring what reads and writes it there up to it, then its number in the line `@fields`"
    )
