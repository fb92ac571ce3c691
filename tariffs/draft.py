"""A ladder while the elements of a row build it."""

from __future__ import annotations

from enum import Enum
from fractions import Fraction
from typing import Final

from tariffs.ladder import Count, Ladder, Step, affordable
from tariffs.notation import Amount
from tariffs.units import EXACT_MAX, MICRO, PER_MAX, Kind, Rounding, blocks_started, muldiv

LARGEST_USE: Final = {Kind.OCTETS: 2**40, Kind.SECONDS: 2**26, Kind.UNITS: 2**20}
"""What one line can use at most (a terabyte, two years, a million messages): a price that would pass 2^53
micro-units there is refused when it is loaded (charging.md section 2)."""


class Verdict(Enum):
    """What rating says of a line."""

    PRICED = "priced"
    RATING_FAILED = "rating failed"
    """No tariff in force has a row for it."""
    NOT_APPLICABLE = "not applicable"
    """Used freely and not controlled."""
    DENIED = "denied"
    """Not sold to this subscriber."""


class Draft:
    """What elements read and change, in the order of `tariffs.elements.Element`."""

    def __init__(self, service: str) -> None:
        self.service = service
        """Tag of the steps paid with money: what a bucket's scope must contain."""
        self.verdict = Verdict.PRICED
        self.unit: Kind | None = None
        """What the line counts in; None: whatever the service counts in."""
        self.steps: list[Step] = []
        self.fee = 0
        self.counts: tuple[Count, ...] = ()
        self.free = False
        self.emergency = False
        self.least = 0
        """Minimum charge, micro-units."""

    def need_price(self) -> None:
        """For elements that change a price: ValueError where there is none."""
        if not self.steps or self.free:
            raise ValueError("expected a price in the same row: `flat`")

    def ladder(self, tag: str) -> Ladder:
        return Ladder(steps=tuple(self.steps), fee=self.fee, counts=self.counts, tag=tag)


def price_per_block(price: Amount, per_units: int, block: int, kind: Kind) -> tuple[int, int]:
    """The price of `block` units as micro-units per a number of blocks, exact and reduced."""
    exact = Fraction(price * MICRO * block, per_units)
    micro, per = exact.numerator, exact.denominator
    if Fraction(micro * LARGEST_USE[kind], per * block) > EXACT_MAX:
        raise ValueError(
            f"expected a price that stays below 2^53 micro-units for {LARGEST_USE[kind]} {kind.name.lower()}"
        )
    if per > PER_MAX or (per > 1 and micro > PER_MAX):
        raise ValueError(
            f"expected a price that is a fraction of numbers up to {PER_MAX}: {micro}/{per} micro-units for each"
            f" {block} {kind.name.lower()} cannot be computed exactly"
        )
    return micro, per


def price_of_blocks(step: Step, blocks: int) -> int:
    """What the first `blocks` of a step cost."""
    return muldiv(step.price, blocks, 0, step.per, step.rounding)[0]


def blocks_within(step: Step, start: int, money: int) -> tuple[int, bool]:
    """Blocks of a step beginning at unit `start` that `money` covers, and whether those are all it has."""
    total = blocks_started(max(step.reach - start, 0), step.block) if step.reach else None
    if step.price == 0:
        if total is None:
            raise ValueError("is never reached: the last step costs nothing")
        return total, True
    covered = affordable(step, money, 0)
    return (covered, False) if total is None or covered < total else (total, True)


ROUNDINGS: Final = {"up": Rounding.UP, "down": Rounding.DOWN, "half_up": Rounding.HALF_UP}
