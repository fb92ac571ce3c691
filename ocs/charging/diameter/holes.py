"""Where messages of one shape differ: a message cut at its holes, and joined of its pieces again. Pure."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from functools import lru_cache
from struct import Struct
from typing import Any, Final

from ocs.charging.request_template import Unlike
from protocol.diameter.avp import HEADER, VENDOR
from protocol.diameter.header import SIZE

Hole = tuple[int, int]
"""Where a number or a text lies in a message: from, to."""
Pieces = tuple[Any, ...]
"""Octets that are fixed and what lies in a hole, in turns; the first and the last are octets."""
IDS: Final[Hole] = (12, 20)
"""Hop-by-Hop and End-to-End Identifier, as one number."""


class Layout:
    """Where messages of one shape have their holes. `cut` makes pieces of a message; `join` makes it of these again."""

    __slots__ = ("cut", "join", "size", "slots")

    def __init__(self, size: int, numbers: frozenset[Hole], texts: frozenset[Hole], signed: Hole | None) -> None:
        form, last = ">", 0
        holes = sorted(numbers | texts)
        for hole in holes:
            length = hole[1] - hole[0]
            if hole[0] < last:
                raise Unlike
            form += f"{hole[0] - last}s"
            if hole in texts:
                form += f"{length}s"
            elif length in (4, 8):
                kind = "I" if length == 4 else "Q"
                form += kind.lower() if hole == signed else kind
            else:
                raise Unlike
            last = hole[1]
        layout = Struct(f"{form}{size - last}s")
        self.cut: Callable[[bytes], Pieces] = layout.unpack
        self.join: Callable[..., bytes] = layout.pack
        self.size = layout.size
        self.slots = {hole: 2 * place + 1 for place, hole in enumerate(holes)}
        """Of each hole its place among the pieces."""


_layout: Final = lru_cache(4_096)(Layout)


def layout_of(octets: bytes, numbers: Iterable[Hole], texts: Iterable[Hole] = (), signed: Hole | None = None) -> Layout:
    """The same for messages of the same shape.

    signed: the one hole whose number may be negative
    """
    return _layout(len(octets), frozenset(numbers), frozenset(texts), signed)


def avps(octets: bytes, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Key, where it begins, and where its data begins and ends, of the AVPs of a message or group that was judged."""
    while start + 8 <= end:
        code, word = HEADER.unpack_from(octets, start)
        length, data = word & 0xFFFFFF, start + 8
        if word >> 24 & VENDOR:
            code |= int.from_bytes(octets[data : data + 4], "big") << 32
            data += 4
        yield code, start, data, start + length
        start += length + 3 & ~3


def only(octets: bytes, within: Hole, keys: Container[int]) -> dict[int, Hole]:
    """Where those AVPs have their data, each of which may be there once."""
    found: dict[int, Hole] = {}
    for key, _, data, end in avps(octets, *within):
        if key in keys:
            if key in found:
                raise Unlike
            found[key] = data, end
    return found


def whole(octets: bytes) -> Hole:
    """All AVPs of a message."""
    return SIZE, len(octets)
