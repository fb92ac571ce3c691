"""round: to which amounts the price of a line, or of a session, is rounded."""

from __future__ import annotations

from fractions import Fraction
from typing import ClassVar, Literal

from tariffs.draft import SUM_ROUNDINGS, LadderDraft
from tariffs.elements.element import TariffElement
from tariffs.notation import Amount
from tariffs.phrases import amount
from tariffs.units import EXACT_MAX, MICRO


class Round(TariffElement, frozen=True):
    """What money pays of a line, or of all lines of a session together, is a multiple of an amount of the account's
    currency, at any time (charging.md section 4)."""

    key: ClassVar[str] = "round"
    alone: ClassVar[str] = "to"
    """`round = "0.01"` is short for this field."""
    said_once: ClassVar[str] = "round"

    to: Amount
    """0.01 is whole cents."""
    rounding: Literal["up", "down", "half_up", "half_even"] = "half_up"
    """Of the sum."""
    of: Literal["line", "session"] = "line"
    """What is added up before it is rounded."""

    def apply(self, draft: LadderDraft) -> None:
        draft.need_price()
        micro = self.to * MICRO
        if micro.denominator != 1 or not 0 < micro <= EXACT_MAX:
            most = amount(Fraction(EXACT_MAX, MICRO))
            raise ValueError(f"expected `to` in whole micro-units, at least one, at most {most}, not {amount(self.to)}")
        draft.round = int(micro), SUM_ROUNDINGS[self.rounding]
        draft.round_session = self.of == "session"
