"""Refuses JSON objects with a member given twice: which of the two was meant cannot be known (RFC 8259 section 4)."""

from __future__ import annotations

import json
from typing import Any, Final


class Twice(Exception):
    """The text names the member."""


def each_once(text: bytes) -> None:
    """Twice where an object has a name more than once, however it is written. `text` is JSON."""
    _decode(text.decode())


def _pairs(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) == len(pairs):
        return
    names = set()
    for name, _ in pairs:
        if name in names:
            raise Twice(f"{name[:80]}: given twice in one object")
        names.add(name)


_decode: Final = json.JSONDecoder(object_pairs_hook=_pairs, parse_float=str, parse_int=str).decode
