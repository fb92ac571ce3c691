"""The 256 identifiers of a socket that asks: whose answers are awaited."""

from __future__ import annotations

from typing import Final, Generic, TypeVar

T = TypeVar("T")

IDENTIFIERS: Final = 256


class Identifiers(Generic[T]):
    """`awaited`: by identifier, what is on its way"""

    __slots__ = ("_last", "awaited")

    def __init__(self) -> None:
        self.awaited: dict[int, T] = {}
        self._last = -1

    @property
    def is_full(self) -> bool:
        return len(self.awaited) >= IDENTIFIERS

    def next(self) -> int:
        """The one used longest ago that is free, so that a late answer meets nobody. One must be."""
        while True:
            self._last = (self._last + 1) % IDENTIFIERS
            if self._last not in self.awaited:
                return self._last
