"""Packets that come again (RFC 5080 section 2.2.2): same source, identifier and code, and the same authenticator. Who
was answered gets the same octets again; what is under way is not begun twice. Pure: time is an argument."""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

KEPT_MS: Final = 30_000
"""Clients try again for about so long."""
ENTRIES_MAX: Final = 65_536


class Seen(Enum):
    NEW = "new"
    UNDER_WAY = "under way"


class ExchangeKey(NamedTuple):
    """One place where an answer can be waited for."""

    source: tuple[str, int]
    identifier: int
    code: int


class _Exchange:
    __slots__ = ("answer", "at_ms", "authenticator")

    def __init__(self, authenticator: bytes, at_ms: int) -> None:
        self.authenticator, self.at_ms = authenticator, at_ms
        self.answer: bytes | None = None


class DuplicateWindow:
    def __init__(self, entries_max: int = ENTRIES_MAX, kept_ms: int = KEPT_MS) -> None:
        self._entries_max, self._kept_ms = entries_max, kept_ms
        self._known: dict[ExchangeKey, _Exchange] = {}  # the oldest first

    def __len__(self) -> int:
        return len(self._known)

    def begin(self, key: ExchangeKey, authenticator: bytes, now_ms: int) -> bytes | Seen:
        """The answer it had, UNDER_WAY, or NEW: then it is under way from now on. Only for packets that are proven:
        others must not push anything out."""
        known = self._known.get(key)
        if known is not None:
            if known.authenticator == authenticator and now_ms - known.at_ms <= self._kept_ms:
                return Seen.UNDER_WAY if known.answer is None else known.answer
            del self._known[key]  # the identifier is used again
        self._make_room(now_ms)
        self._known[key] = _Exchange(authenticator, now_ms)
        return Seen.NEW

    def done(self, key: ExchangeKey, authenticator: bytes, answer: bytes) -> None:
        known = self._known.get(key)
        if known is not None and known.authenticator == authenticator:
            known.answer = answer

    def forget(self, key: ExchangeKey, authenticator: bytes) -> None:
        """Nothing came of it: when it comes again it is new."""
        known = self._known.get(key)
        if known is not None and known.authenticator == authenticator:
            del self._known[key]

    def _make_room(self, now_ms: int) -> None:
        for key, known in list(_first(self._known)):
            if now_ms - known.at_ms <= self._kept_ms and len(self._known) < self._entries_max:
                return
            del self._known[key]


AT_ONCE: Final = 4
"""Looked at with each new one: more leave than come."""


def _first(known: dict[ExchangeKey, _Exchange]) -> list[tuple[ExchangeKey, _Exchange]]:
    found = []
    for pair in known.items():
        found.append(pair)
        if len(found) >= AT_ONCE:
            break
    return found
