"""Bounds on connections that have not identified themselves, for one address and for all, and which of them is closed
when there is no room for another. Pure: a connection is any hashable value.

The one that has been silent for longest goes first, of the same address when that has too many. So a client that opens
connections and says nothing on them only pushes out his own kind, and a client that speaks finds room.
"""

from __future__ import annotations

from collections import Counter
from typing import Generic, TypeVar

T = TypeVar("T")


class ConnectionRoom(Generic[T]):
    """
    most:       silent and speaking connections together; 0: no such bound
    silent_max: of those that have not said what they want
    of_address: of one address, silent and speaking; 0: no such bound
    silent_of_address: of one address, silent; 0: no such bound
    """

    def __init__(self, *, most: int = 0, silent_max: int, of_address: int = 0, silent_of_address: int = 0) -> None:
        self._most, self._silent_max = most, silent_max
        self._of_address, self._silent_of_address = of_address, silent_of_address
        self._address: dict[T, str] = {}
        self._counts: Counter[str] = Counter()
        self._silent: dict[T, None] = {}  # in the order in which they fell silent
        self._silent_of: dict[str, dict[T, None]] = {}

    def __len__(self) -> int:
        return len(self._address)

    @property
    def silent(self) -> int:
        return len(self._silent)

    def enter(self, one: T, address: str) -> T | None:
        """A new connection, silent at first. Returns the connection to be closed for it: another one, itself if all
        others have identified themselves, or None."""
        goes: T | None = None
        silent_here = len(self._silent_of.get(address, ()))
        if self._silent_of_address and silent_here >= self._silent_of_address:
            goes = next(iter(self._silent_of[address]))
        elif self._of_address and self._counts[address] >= self._of_address:
            goes = next(iter(self._silent_of.get(address, ())), one)
        elif len(self._silent) >= self._silent_max or (self._most and len(self._address) >= self._most):
            goes = next(iter(self._silent), one)
        if goes is not None and goes != one:
            self.leave(goes)
        if goes != one:
            self._address[one] = address
            self._counts[address] += 1
            self.is_silent(one)
        return goes

    def speaks(self, one: T) -> None:
        """The connection has sent its request or CER, and is served."""
        if one in self._silent:
            del self._silent[one]
            address = self._address[one]
            of = self._silent_of[address]
            del of[one]
            if not of:
                del self._silent_of[address]

    def is_silent(self, one: T) -> None:
        """The connection was served and is silent again."""
        address = self._address.get(one)
        if address is not None and one not in self._silent:
            self._silent[one] = None
            self._silent_of.setdefault(address, {})[one] = None

    def leave(self, one: T) -> None:
        """The connection has ended or is being closed."""
        if one in self._address:
            self.speaks(one)
            address = self._address.pop(one)
            self._counts[address] -= 1
            if not self._counts[address]:
                del self._counts[address]
