"""Whole-number arithmetic of money and units: the only place where a price is rounded.

Money is a whole number of micro-units (10^-6 of the currency unit); octets, seconds and service-specific
units are whole. Everything stays below 2**53, the range in which Lua's numbers are exact.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

EXACT_MAX: Final = 2**53 - 1
"""Largest amount any field may hold; Lua doubles are exact up to here."""

SECONDS_MAX: Final = 2**32 - 1
"""Most seconds that one request names, as of CC-Time (RFC 8506 8.21): their milliseconds are exact as well."""

MICRO: Final = 1_000_000
"""Micro-units in one unit of a currency."""

PER_MAX: Final = 2**26
"""Largest `per` of a price: remainder times remainder must stay exact in Lua (see `muldiv`)."""


class TooLarge(ArithmeticError):
    """An amount passes 2**53: nothing is done."""


class Kind(IntEnum):
    """What a bucket holds and what a line counts; also the index into a report's used amounts."""

    MONEY = 0
    OCTETS = 1
    SECONDS = 2
    UNITS = 3


class Rounding(IntEnum):
    """Direction of the one rounding of a step's cumulative sum."""

    UP = 0
    DOWN = 1
    HALF_UP = 2


class SumRounding(IntEnum):
    """Direction in which the sum that is due of a line, or of a session, is rounded to a multiple of some amount."""

    UP = 0
    DOWN = 1
    HALF_UP = 2
    HALF_EVEN = 3


def round_sum(amount: int, to: int, rounding: int) -> int:
    """`amount`, not below 0, as a multiple of `to`; 0: as it is. Of a larger amount it is never less, so what is due of
    a sum that grows in parts is the same however it is cut."""
    if to == 0:
        return amount
    whole, part = divmod(amount, to)
    if rounding == SumRounding.UP:
        more = part > 0
    elif rounding == SumRounding.DOWN:
        more = False
    else:
        more = 2 * part > to or (2 * part == to and (rounding == SumRounding.HALF_UP or whole % 2 == 1))
    return (whole + more) * to


def largest_sum(due: int, to: int, rounding: int) -> int:
    """The largest amount, up to 2**53, of which at most `due` is due once it is rounded."""
    if to == 0:
        return min(due, EXACT_MAX)
    whole = due // to
    if rounding == SumRounding.UP:
        more = 0
    elif rounding == SumRounding.DOWN:
        more = to - 1
    elif rounding == SumRounding.HALF_EVEN and whole % 2 == 0:
        more = to // 2
    else:
        more = (to - 1) // 2
    return min(whole * to + more, EXACT_MAX)


def most_rounded(amount: int, to: int, rounding: int) -> int:
    """The most that a sum which is rounded so can grow by while it grows by `amount`, wherever it stands."""
    if to == 0:
        return amount
    whole, part = divmod(amount, to)
    return (whole + (part > 0 or _passes_a_tie(whole, to, rounding))) * to


def largest_covered(money: int, to: int, rounding: int) -> int:
    """The largest amount, up to 2**53, of which `most_rounded` is at most `money`."""
    if to == 0:
        return min(money, EXACT_MAX)
    whole = min(money, EXACT_MAX) // to
    return whole * to - _passes_a_tie(whole, to, rounding)


def _passes_a_tie(multiples: int, to: int, rounding: int) -> bool:
    """From one tie to another one an odd number of multiples away: one of them is rounded down, the other one up."""
    return rounding == SumRounding.HALF_EVEN and to % 2 == 0 and multiples % 2 == 1


def blocks_started(units: int, block: int) -> int:
    """Blocks begun by `units`: a started block is a paid block."""
    return -(-units // block)


def muldiv(a: int, b: int, rest: int, per: int, rounding: int) -> tuple[int, int]:
    """`(a * b + rest) / per` rounded once: returns (quotient, new rest).

    `rest` is what earlier roundings of the same run left over (in 1/per micro-units, may be negative), so that a
    sum rounded in parts equals the sum rounded once. Written without a product larger than
    max(result, per * per), because the Lua twin (lua/lib/amount.lua) has only 53 bits.
    """
    whole, part = a // per, a % per
    many, few = b // per, b % per
    left = part * few + rest
    if rounding == Rounding.DOWN:
        quotient = left // per
    elif rounding == Rounding.UP:
        quotient = -(-left // per)
    else:
        quotient = (2 * left + per) // (2 * per)
    return whole * b + part * many + quotient, left - quotient * per


def share(amount: int, part: int, whole: int) -> int:
    """`amount * part / whole` rounded down, with 0 <= part <= whole: a fair share that never adds up to more.

    `whole` is scaled below PER_MAX first (exactness in Lua), so a share may be a hair smaller than the exact one.
    """
    while whole > PER_MAX:
        whole, part = whole // 2, part // 2
    if whole == 0:
        return 0
    return muldiv(amount, part, 0, whole, Rounding.DOWN)[0]
