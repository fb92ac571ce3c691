"""The price of a quantity, and the quantity for a price: for a fresh line that only money pays."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tariffs.climb import Rung, climb
from tariffs.ladder import Ladder
from tariffs.units import Kind, largest_sum, round_sum


class _Open(msgspec.Struct):
    """Funds that hold `money` and nothing else."""

    money: int
    taken: int = 0

    def payers(self, kind: int, scope: str, *, owing: bool) -> list[None]:
        return [None] if kind == Kind.MONEY else []

    def available(self, kind: int, scope: str, payer: None = None) -> int:
        return max(self.money - self.taken, 0) if kind == Kind.MONEY else 0

    def blocks(self, kind: int, scope: str) -> bool:
        return False

    def take(self, kind: int, scope: str, amount: int, payer: None = None) -> int:
        self.taken += amount
        return 0

    def mark(self) -> int:
        return self.taken

    def undo(self, mark: int) -> None:
        self.taken = mark


class StartPosition(msgspec.Struct):
    """The position of a line nothing was used of."""

    total: int = 0
    paid_ahead: int = 0
    rest: int = 0
    rest_price: int = 0
    rest_per: int = 0
    rest_rounding: int = 0
    fee_paid: bool = False
    spent: int = 0
    charged: int = 0
    ahead_ms: int = 0


def price_of(
    ladder: Ladder, units: int, *, at_ms: int = 0, ms_per_unit: int = 0, counters: Mapping[str, int] | None = None
) -> int:
    """Money, in micro-units, that `units` of a fresh line cost when no bundle pays: the only one of its session."""
    exact = climb(
        ladder, StartPosition(), units, counters or {}, _Open(0), at_ms=at_ms, ms_per_unit=ms_per_unit, grant=False
    ).cost
    return round_sum(exact, ladder.sum_to, ladder.sum_rounding)


def traced(
    ladder: Ladder,
    units: int,
    counters: Mapping[str, int],
    *,
    at_ms: int,
    ms_per_unit: int,
    line: StartPosition | None = None,
) -> tuple[int, list[Rung]]:
    """As `price_of`, before its session is rounded, with the rungs; from where `line` stands, which is moved."""
    trace: list[Rung] = []
    climbed = climb(
        ladder,
        line or StartPosition(),
        units,
        counters,
        _Open(0),
        at_ms=at_ms,
        ms_per_unit=ms_per_unit,
        grant=False,
        trace=trace,
    )
    return climbed.cost, trace


def units_for(
    ladder: Ladder,
    money: int,
    *,
    most: int,
    at_ms: int = 0,
    ms_per_unit: int = 0,
    counters: Mapping[str, int] | None = None,
) -> int:
    """Units (at most `most`) of a fresh line that `money` covers in whole blocks; as `price_of`."""
    money = largest_sum(money, ladder.sum_to, ladder.sum_rounding) if ladder.sum_to else money
    return climb(
        ladder, StartPosition(), most, counters or {}, _Open(money), at_ms=at_ms, ms_per_unit=ms_per_unit, grant=True
    ).units
