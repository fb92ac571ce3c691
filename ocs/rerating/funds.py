"""Which accounts could not have paid what they would have been charged. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tariffs.units import Kind
from tariffs.whatif.replay import Entry, ReplayedPiece, Row

COST, KIND, SEQ = (ReplayedPiece._fields.index(name) for name in ("cost", "kind", "seq"))


class RecordFunds:
    """Funds of one account that would have paid more: its balances by its entries, less the additional charges so
    far."""

    def __init__(self, credit_limit: int, balances: dict[int, int]) -> None:
        """
        credit_limit:  micro-units, today's
        balances:      of its buckets of money, before the first piece
        """
        self._limit, self._balances = credit_limit, balances
        self._apart = 0
        """What more it would have paid up to now."""

    def uncovered(self, row: Row, more: Sequence[Entry], new: int) -> int:
        """Micro-units of this piece that the account could not have paid: the use would have been refused or cut short.
        That is not paid later
        either, so that it does not count against the next piece."""
        if row[KIND] is not None:
            for _, bucket, kind, _, after in _entries(row, more):
                if kind == Kind.MONEY:
                    self._balances[bucket] = after
        self._apart += new - row[COST]
        if self._apart <= 0 or new <= 0:
            return 0
        short = self._apart - max(sum(self._balances.values()) + self._limit, 0)
        if short <= 0:
            return 0
        short = min(short, new)
        self._apart -= short
        return short


def _entries(row: Row, more: Sequence[Entry]) -> Sequence[Any]:
    return (row[SEQ:], *more)
