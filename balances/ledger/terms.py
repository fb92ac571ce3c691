"""Tax and exchange rate of a debit, as the ladder that priced it says: `tax=190000;rate=1.0923`. Pure."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache

from tariffs.units import MICRO


@lru_cache(4_096)
def read(terms: str) -> tuple[int, Decimal | None]:
    """(tax in parts per million of the net amount, exchange rate or None)"""
    parts = dict(part.split("=", 1) for part in terms.split(";") if part)
    rate = parts.get("rate")
    return int(parts.get("tax", 0)), None if rate is None else Decimal(rate)


def tax_in(amount: int, ppm: int) -> int:
    """The tax contained in an amount, rounded half up to a micro-unit, with its sign: a refund gives it back alike."""
    tax = (2 * abs(amount) * ppm + MICRO + ppm) // (2 * (MICRO + ppm))
    return tax if amount >= 0 else -tax
