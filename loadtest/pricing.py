"""What use costs, computed a second time for the audit: whole numbers, no code shared with the server.

A started block is a paid block, and what counts is the line's total: however a session is cut into reports, a line
of `total` units costs `cost(total)`. So a report costs `cost(total now) - cost(total before)`, which is how blocks
paid ahead carry over from one report to the next.
"""

import re
from fractions import Fraction

MICRO = 1_000_000
AMOUNT = re.compile(r"-?[0-9]+(\.[0-9]+)?")


class LoadPrice:
    """`price` (in currency units, as finely as you like) per started block of `block` units."""

    __slots__ = ("_bottom", "_top", "block")

    def __init__(self, price: str, block: int) -> None:
        micro = Fraction(price) * MICRO
        if micro < 0 or block <= 0:
            raise ValueError(f"a price of {price} per {block} is not one")
        self.block, self._top, self._bottom = block, micro.numerator, micro.denominator

    def cost(self, units: int) -> int:
        """Micro-units for a line of that many units: rounded once, up, on the sum."""
        return -(-(-(-units // self.block) * self._top) // self._bottom)


def micro(text: str) -> int:
    """The micro-units of an amount as the API writes it. A digit beyond the sixth is an error, not rounded away."""
    if not AMOUNT.fullmatch(text):
        raise ValueError(f"{text!r} is not an amount")
    amount = Fraction(text) * MICRO
    if amount.denominator != 1:
        raise ValueError(f"{text!r} is finer than a micro-unit")
    return amount.numerator


def text(amount_micro: int) -> str:
    """12345678 -> "12.345678"."""
    whole, rest = divmod(abs(amount_micro), MICRO)
    return f"{'-' * (amount_micro < 0)}{whole}.{rest:06d}"
