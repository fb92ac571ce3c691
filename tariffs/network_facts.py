"""What a network tells in attributes of its own, under the names that a configuration gives them: several facts in one
text, `name=value;name=value`, by name. So sessions remember them as one fact, and the same facts are the same octets.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

OCTETS_MAX: Final = 256
"""Of all of them, the bound of a fact that is remembered."""
BETWEEN: Final = ";"


def in_one_text(told: Mapping[str, str]) -> str:
    """Empty values say nothing. What is not printed stands as a blank and a semicolon as a comma; a value that does not
    fit any more is left out whole, for the beginning of one might be another."""
    lines: list[str] = []
    room = OCTETS_MAX
    for name in sorted(told):
        value = "".join(each if each.isprintable() else " " for each in told[name].replace(BETWEEN, ",")).strip()
        line = f"{name}={value}"
        takes = len(line.encode(errors="replace")) + bool(lines)
        if value and takes <= room:
            lines.append(line)
            room -= takes
    return BETWEEN.join(lines)


@lru_cache(4_096)
def taken_apart(text: str) -> Mapping[str, str]:
    """By name. A piece without a name, or of a name that was there before, says nothing."""
    found: dict[str, str] = {}
    for piece in text.split(BETWEEN):
        name, equals, value = piece.partition("=")
        if equals and name.strip():
            found.setdefault(name.strip(), value)
    return MappingProxyType(found)
