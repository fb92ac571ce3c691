"""Struct literals of scripts: `TAKE{ bucket = id, amount = 5 }` becomes the array that it is, `{ id, 5 }`.

Fields may stand in any order; one that is not named has the default of the struct. A field that the struct does not
have, or one without a default that is not named, is an error when the library is made.

A script that reads and writes packed structs itself states with how many fields it knows each (`-- @fields TAKE 2`):
`FIELDS.TAKE` becomes that number, `HEAD.TAKE` the octets that such an array begins with. It is no error that the struct
has more: the script finds that its input is not what it knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from balances.structs import table
from balances.structs.blob import NO_BLOB

_LITERAL: Final = re.compile(r"\b([A-Z]+)\{")
_FIELD: Final = re.compile(r"\s*([a-z_]+)\s*=\s*(.+?)\s*\Z", re.DOTALL)
_KNOWN: Final = re.compile(r"^-- @fields (.+)$", re.MULTILINE)
_OF_KNOWN: Final = re.compile(r"\b(FIELDS|HEAD)\.([A-Z]+)\b")
_OPEN, _CLOSE = "({[", ")}]"


def expanded(code: str) -> str:
    """Lua without comments, with an array for each literal. ValueError: a literal does not fit its struct."""
    found = _LITERAL.search(code)
    while found:
        end = _end_of(code, found.end())
        array = _array(found[1], code[found.end() : end])
        code = code[: found.start()] + array + code[end + 1 :]
        found = _LITERAL.search(code, found.start())
    return code


def known_fields(text: str) -> dict[str, int]:
    """With how many fields the script knows the structs that it reads and writes packed, by name."""
    words = " ".join(_KNOWN.findall(text)).split()
    return {name: int(count) for name, count in zip(words[::2], words[1::2], strict=True)}


def with_known(text: str) -> str:
    """The script, with numbers and octets for `FIELDS.NAME` and `HEAD.NAME`."""
    known = known_fields(text)

    def written(match: re.Match[str]) -> str:
        what, name = match.groups()
        if name not in known:
            raise ValueError(f"a script names {match.group()}, and states no number of fields of it")
        count = known[name]
        if what == "FIELDS":
            return str(count)
        return f"'\\{0x90 + count}'" if count < 16 else f"'\\220\\0\\{count}'"

    return _OF_KNOWN.sub(written, text)


def fields_now(name: str) -> int:
    """How many fields a struct has, by the name that scripts know it by."""
    return len(_STRUCTS[name].__struct_fields__)


def _array(name: str, body: str) -> str:
    struct = _STRUCTS.get(name)
    if struct is None:
        raise ValueError(f"a script makes a {name}, which balances/structs does not have")
    given = dict(_fields(name, body))
    values = []
    for field in msgspec.structs.fields(struct):
        value = given.pop(field.name, None)
        values.append(_default(name, field) if value is None else value)
    if given:
        raise ValueError(f"a script makes a {name} with {', '.join(given)}, which it does not have")
    return "{ " + ", ".join(values) + " }"


def _fields(name: str, body: str) -> Iterator[tuple[str, str]]:
    for part in _parts(body):
        field = _FIELD.match(part)
        if field is None:
            raise ValueError(f"a script makes a {name} with {part.strip()!r}, which names no field")
        yield field[1], field[2]


def _default(name: str, field: Any) -> str:
    if field.default is NO_BLOB:
        return "''"
    match field.default:
        case bool() as value:
            return "true" if value else "false"
        case int() as value:
            return str(int(value))
        case str() as value:
            return repr(value)
    if field.default_factory is list:
        return "{}"
    raise ValueError(f"a script makes a {name} without {field.name}")


def _depths(code: str, start: int) -> Iterator[tuple[int, int, str]]:
    """Place, depth of brackets after it, and character, of all that is in no string."""
    depth, quote = 0, ""
    for place in range(start, len(code)):
        mark = code[place]
        if quote:
            quote = "" if mark == quote and code[place - 1] != "\\" else quote
        elif mark in "'\"":
            quote = mark
        else:
            depth += (mark in _OPEN) - (mark in _CLOSE)
            yield place, depth, mark


def _end_of(code: str, start: int) -> int:
    return next(place for place, depth, _ in _depths(code, start) if depth < 0)


def _parts(body: str) -> Iterator[str]:
    start = 0
    for place, depth, mark in _depths(body, 0):
        if depth == 0 and mark == ",":
            yield body[start:place]
            start = place + 1
    if body[start:].strip():
        yield body[start:]


_STRUCTS: Final[dict[str, type[Any]]] = {
    name.upper(): thing for name, thing in table.types().items() if issubclass(thing, msgspec.Struct)
}
