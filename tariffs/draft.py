"""The price of one row while its elements build it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from fractions import Fraction
from typing import Final

from tariffs.destinations import DestinationRow
from tariffs.ladder import Step
from tariffs.notation import LARGEST, Amount, Blocks, Column, WrittenPrice, laid_at
from tariffs.phrases import amount, quantity
from tariffs.terms import NO_TERMS, Terms
from tariffs.units import EXACT_MAX, MICRO, PER_MAX, Kind, Rounding, SumRounding

LARGEST_USE: Final = {Kind.OCTETS: 2**40, Kind.SECONDS: 2**26, Kind.UNITS: 2**20}
"""What one line can use at most (a terabyte, two years, a million messages): a price that would pass 2^53
micro-units there is refused when it is loaded (charging.md section 2)."""

FINEST: Final = (10**6, 10**5, 10**4, 1000, 100, 10, 1)
"""A price per block that cannot be held exactly is rounded half up to the finest of these parts of a micro-unit that
can. Only prices that were changed (discount, tax, exchange) ever are: one that is written so is refused."""

ROUNDINGS: Final = {"up": Rounding.UP, "down": Rounding.DOWN, "half_up": Rounding.HALF_UP}
SUM_ROUNDINGS: Final = {rounding.name.lower(): rounding for rounding in SumRounding}

HALF: Final = Fraction(1, 2)


class RatingVerdict(Enum):
    """Whether a line is priced, barred, free or not controlled."""

    PRICED = "priced"
    RATING_FAILED = "rating failed"
    """No tariff in force has a row for it."""
    NOT_YET = "not yet"
    """No row of this tariff now, but one later."""
    NOT_APPLICABLE = "not applicable"
    """Used freely and not controlled."""
    DENIED = "denied"
    """Not sold to this subscriber."""


class LadderDraft:
    """What elements read and change, in the order of `tariffs.elements.known.Element`."""

    def __init__(self, service: str, entries: Mapping[str, DestinationRow] = {}, terms: Terms = NO_TERMS) -> None:
        self.service = service
        """Tag of the steps: what a bucket's scope must contain."""
        self.entries = entries
        """Of the tables of destinations: "to" for the called number, "from" for the calling one."""
        self.terms = terms
        self.verdict = RatingVerdict.PRICED
        self.unit: Kind | None = None
        """What the line counts in; None: whatever the service counts in."""
        self.steps: list[Step] = []
        self.beside_unit: Kind | None = None
        self.beside: list[Step] = []
        """What is charged besides, in another unit."""
        self.grade = ""
        self.fee = 0
        self.fee_waived = False
        self.off = self.least = self.most = 0
        self.most_ends = False
        self.round: tuple[int, int] | None = None
        """See elements/round.py: to a multiple of so many micro-units, in which direction; None: not said."""
        self.round_session = False
        """That is of the sum of the session."""
        self.per_period = False
        """Blocks end with the period of the row's counter."""
        self.free = False
        self.emergency = False
        self.grant: tuple[bool, bool, int, int] | None = None
        """See elements/grant.py: whole, blocks, minimum, quantum; None: not said."""

    def need_price(self) -> None:
        """For elements that change a price: ValueError where there is none."""
        if not self.steps or self.free:
            raise ValueError("expected a price in the same row: `flat` or `bundle`")

    def _column(self, column: Column) -> str:
        if column.place == "subscriber":
            found = self.terms.attributes.get(column.name)
            if not found:
                raise ValueError(f"expected the subscriber to have the attribute {column.name}")
            return found
        entry = self.entries.get(column.place)
        if entry is None:
            raise ValueError(f"expected `{column.place}` among the conditions of the row, for {column!r}")
        found = entry.columns.get(column.name)
        if found is None:
            raise ValueError(f"expected something in the column {column.name}, not an empty cell")
        return found

    def value(self, price: WrittenPrice) -> Amount:
        """As the document says, or the column that it names; ValueError where that is none."""
        return price.value(self._column)

    def increment(self, blocks: Blocks, kind: Kind) -> tuple[int, int]:
        """The first block and each further one, in units of this kind."""
        found = blocks.value(self._column)
        with laid_at(blocks.written):
            return found.in_unit(kind)

    def money(self, price: WrittenPrice, *, fee: bool = False) -> int:
        """An amount that is due as such, in micro-units: a fee, a minimum charge."""
        written = self.value(price)
        debited, same = self.terms.apply(written, fee=fee, changed=fee)
        with laid_at(price.written):
            micro = written.micro if same else int(debited * MICRO + HALF)
            if micro > EXACT_MAX:
                raise ValueError(f"expected at most {LARGEST}, not {amount(debited)}")
        return micro

    def price_per_block(self, price: WrittenPrice, per_units: int, block: int, kind: Kind) -> tuple[int, int]:
        """The price of `block` units as micro-units per a number of blocks, reduced."""
        debited, same = self.terms.apply(self.value(price))
        exact = Fraction(debited * MICRO * block, per_units)
        use = LARGEST_USE[kind]
        if exact * use > EXACT_MAX * block:
            largest = Fraction(EXACT_MAX * per_units // use, MICRO)
            with laid_at(price.written):
                raise ValueError(
                    f"expected at most {amount(largest)} for {quantity(kind, per_units)}, not {amount(debited)}:"
                    f" {quantity(kind, use)} of use must stay below 2^53 micro-units"
                )
        if _representable(exact):
            return exact.numerator, exact.denominator
        if same and not isinstance(price.written, Column):
            raise ValueError(
                f"expected a price that is a fraction of numbers up to {PER_MAX}: {exact} micro-units for each"
                f" {block} {kind.name.lower()} cannot be computed exactly"
            )
        rounded = next(near for part in FINEST if _representable(near := Fraction(int(exact * part + HALF), part)))
        return rounded.numerator, rounded.denominator


def _representable(price: Fraction) -> bool:
    return price.denominator == 1 or max(price.numerator, price.denominator) <= PER_MAX
