"""TOML from outside, looked at before it is parsed: the parser takes a time that grows with the square of the parts of
a key (20,000 dots: ten seconds), and recurses into brackets."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from typing import Any, Final

PARTS_MAX: Final = 32
"""Of a key: `a.b.c` has three. No document of ours needs more than five."""
DEPTH_MAX: Final = 32
"""Brackets within brackets, of a whole document read as if it were one line."""

# Everything is possessive, and what is not closed ends with its line: whatever the text, it is gone over once.
_PART: Final = r"""(?:[A-Za-z0-9_-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')"""
_TOKEN: Final = re.compile(
    rf"""(?P<key>(?<![A-Za-z0-9_-]){_PART}(?:[ \t]*+\.[ \t]*+{_PART}){{{PARTS_MAX}}})"""
    r"""|(?P<bracket>[\[\]{}])|"(?:[^"\\\n]|\\.)*+"?|'[^'\n]*+'?|\#[^\n]*+"""
)


def parse(text: str, *, parse_float: Callable[[str], Any] = float) -> dict[str, Any]:
    """The document; ValueError where it is none, or would take too long to read."""
    depth = 0
    for found in _TOKEN.finditer(text):
        if found["key"]:
            raise ValueError(f"a key has more than {PARTS_MAX} parts")
        if found["bracket"]:
            depth = max(0, depth + (1 if found["bracket"] in "[{" else -1))
        if depth > DEPTH_MAX:
            raise ValueError(f"brackets are nested more than {DEPTH_MAX} deep")
    return tomllib.loads(text, parse_float=parse_float)
