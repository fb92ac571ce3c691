"""The price that a bucket of units may have of its own (charging.md section 22)."""

from __future__ import annotations

from fractions import Fraction
from math import gcd

from tariffs.units import EXACT_MAX, PER_MAX


def reduced(price: int, per: int) -> tuple[int, int]:
    """The same price, in lower terms where as it is written it cannot be charged exactly; ValueError where it cannot.

    price:  micro-units; 0: there is none
    per:    for so many units
    """
    if not price:
        return 0, 1
    if _is_exact(price, per):
        return price, per
    common = gcd(price, per)
    price, per = price // common, per // common
    if not _is_exact(price, per):
        raise ValueError(f"expected price and units of which, without common factors, neither is above {PER_MAX}")
    return price, per


def _is_exact(price: int, per: int) -> bool:
    """As of the price of a step (check_ladder of tariffs/ladder.py)."""
    return per <= PER_MAX and (per == 1 or price <= PER_MAX)


def exchanged(price: int, per: int, rate: Fraction) -> tuple[int, int]:
    """In another currency, as near as it can be charged; ValueError where that is too much."""
    exact = price * rate
    if exact > EXACT_MAX:
        raise ValueError("the price of its units is more than can be counted in the currency of the account")
    if exact.denominator == 1 and _is_exact(int(exact), per):
        return int(exact), per
    each = Fraction(exact, per)
    near = each.limit_denominator(max(PER_MAX // (int(each) + 1), 1))
    return near.numerator, near.denominator
