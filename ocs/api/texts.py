"""Money and instants as the API writes them: decimal strings and RFC 3339, exact both ways."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Final

from msgspec import Meta

from balances.ledger.in_words import EPOCH
from balances.ledger.in_words import time_of as time_of
from balances.structs.account import WeekHours
from ocs.backoffice.errors import Invalid
from ocs.patterns import looks
from tariffs.week_hours import read_week_hours, written_week_hours

_MONEY: Final = r"[0-9]{1,10}(\.[0-9]{1,6})?"
_MONEY_IN_WORDS: Final = 'an amount such as "12.50": digits, at most ten before the point and six after it'
_NOT_ZERO: Final = r"(?=.*[1-9])"
_QUANTITY: Final = r"[0-9]{1,16}(\.[0-9]{1,6})?"
_QUANTITY_IN_WORDS: Final = 'an amount of money such as "12.50", or a whole number of octets, seconds or units'


def _money(pattern: str, words: str, *examples: str) -> Meta:
    text = "Money as a decimal string, at most six decimals, less than 2^53 micro-units either way"
    return looks(pattern, words, max_length=18, description=text, examples=list(examples))


def _quantity(pattern: str, words: str, *examples: str) -> Meta:
    text = "Money as a decimal string, or a whole number of octets, seconds or units"
    return looks(pattern, words, max_length=24, description=text, examples=list(examples))


Money = Annotated[str, _money(f"-?{_MONEY}", _MONEY_IN_WORDS, "12.345678", "-5", "20.00")]
MoneyFromZero = Annotated[str, _money(_MONEY, f"{_MONEY_IN_WORDS}, not below zero", "20.00")]
MoneyAboveZero = Annotated[str, _money(_NOT_ZERO + _MONEY, f"{_MONEY_IN_WORDS}, more than zero", "20.00")]
MoneyNotZero = Annotated[str, _money(f"-?{_NOT_ZERO}{_MONEY}", f"{_MONEY_IN_WORDS}, other than zero", "-5.00")]
Quantity = Annotated[str, _quantity(f"-?{_QUANTITY}", _QUANTITY_IN_WORDS, "10.00", "1073741824")]
QuantityFromZero = Annotated[str, _quantity(_QUANTITY, f"{_QUANTITY_IN_WORDS}, not below zero", "10.00", "1073741824")]
QuantityAboveZero = Annotated[
    str, _quantity(_NOT_ZERO + _QUANTITY, f"{_QUANTITY_IN_WORDS}, more than zero", "10.00", "1073741824")
]
QuantityNotZero = Annotated[
    str, _quantity(f"-?{_NOT_ZERO}{_QUANTITY}", f"{_QUANTITY_IN_WORDS}, other than zero", "-5.00", "1073741824")
]
Time = Annotated[
    str,
    looks(
        r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)",
        "an instant with its offset, such as 2026-03-29T02:00:00+02:00",
        max_length=40,
        description="An instant, RFC 3339 with its offset; kept to the millisecond",
        examples=["2026-03-29T02:00:00+02:00"],
    ),
]


def hours_of(text: str | None, field: str) -> list[WeekHours]:
    """Hours of the week as they are written; none where nothing is said."""
    try:
        return [WeekHours(*one) for one in read_week_hours(text or "")]
    except ValueError as bad:
        raise Invalid(field, str(bad)) from None


def hours_in_words(hours: Sequence[WeekHours]) -> str | None:
    """As `hours_of` reads them; None: at any time."""
    return written_week_hours([(one.days, one.from_s, one.until_s) for one in hours]) or None


_FRACTION: Final = re.compile(r"\.(\d+)")


def ms_of(text: str | None, field: str) -> int | None:
    """Unix milliseconds of an RFC 3339 instant; finer digits are cut."""
    if text is None:
        return None
    plain = _FRACTION.sub(lambda found: f".{found[1][:6].ljust(6, '0')}", text.upper().replace(" ", "T"))
    try:
        instant = datetime.fromisoformat(plain)
        return (instant - EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        raise Invalid(field, f"not an instant that exists: {text}") from None


def time_or_none(ms: int) -> str | None:
    return time_of(ms) if ms else None
