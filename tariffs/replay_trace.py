"""How the recorded use of a line was climbed, piece by piece, by the ladders that are kept with it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from tariffs.climb import Rung, climb, lapse_ahead
from tariffs.ladder import Ladder
from tariffs.price import StartPosition
from tariffs.units import EXACT_MAX, Kind, TooLarge


class Recorded(msgspec.Struct, frozen=True):
    """A settled piece of one line."""

    unit: int
    used: int
    total: int
    """Of the line after it."""
    at_ms: int
    """For seconds the end of the use."""
    cost: int
    ladder: Ladder | None
    counters: Mapping[str, int]
    units_paid: Sequence[tuple[int, int, int]] = ()
    """What buckets of units paid: (kind, bucket, amount)."""


class PieceTrace(msgspec.Struct, frozen=True):
    """How a piece was climbed; `cost` is the result, which differs from the record where earlier pieces are missing."""

    rungs: list[Rung]
    cost: int


class _Paid:
    """The units that buckets paid, and any amount of money."""

    def __init__(self, units_paid: Iterable[tuple[int, int, int]]) -> None:
        self._left: dict[tuple[int, int], int] = {}
        for kind, bucket, amount in units_paid:
            self._left[kind, bucket] = self._left.get((kind, bucket), 0) + amount

    def payers(self, kind: int, scope: str, *, owing: bool) -> list[int | None]:
        return [None] if owing else [bucket for of, bucket in self._left if of == kind]

    def available(self, kind: int, scope: str, payer: int | None = None) -> int:
        if kind == Kind.MONEY:
            return EXACT_MAX
        return sum(left for (of, bucket), left in self._left.items() if of == kind and payer in (None, bucket))

    def blocks(self, kind: int, scope: str) -> bool:
        return False

    def take(self, kind: int, scope: str, amount: int, payer: int | None = None) -> int:
        for key, left in self._left.items():
            part = min(left, amount) if key[0] == kind and payer in (None, key[1]) else 0
            self._left[key] = left - part
            amount -= part
        return 0

    def mark(self) -> int:
        return 0

    def undo(self, mark: int) -> None:
        """Only grants are undone."""


def trace_pieces(pieces: Iterable[Recorded]) -> list[PieceTrace]:
    """Trace all pieces of a line, in the order in which they were charged."""
    position, told, since_ms = StartPosition(), [], 0
    for piece in pieces:
        if position.total != piece.total - piece.used:  # another session of the same name, or one half forgotten
            position = StartPosition(total=piece.total - piece.used)
        # Volume: some time since the report before.
        lapse_ahead(position, piece.at_ms - piece.used * 1_000 if piece.unit == Kind.SECONDS else since_ms)
        since_ms = piece.at_ms
        told.append(_one(piece, position))
    return told


def _one(piece: Recorded, position: StartPosition) -> PieceTrace:
    if piece.ladder is None:
        position.total += piece.used
        return PieceTrace([], 0)
    ms, rungs = (1_000 if piece.unit == Kind.SECONDS else 0), list[Rung]()
    try:
        climbed = climb(
            piece.ladder,
            position,
            piece.used,
            piece.counters,
            _Paid(piece.units_paid),
            at_ms=piece.at_ms - piece.used * ms,
            ms_per_unit=ms,
            grant=False,
            trace=rungs,
        )
    except TooLarge:
        return PieceTrace([], 0)
    return PieceTrace(rungs, climbed.cost)
