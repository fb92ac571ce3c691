"""Amounts in words: money as decimal strings, everything else as whole numbers, exact both ways."""

from __future__ import annotations

from typing import Final, Literal

from balances.ledger.in_words import money as money
from balances.ledger.in_words import quantity as quantity
from ocs.backoffice.errors import Invalid
from tariffs.units import EXACT_MAX, MICRO, Kind

KindName = Literal["money", "octets", "seconds", "units"]

KINDS: Final[dict[int, KindName]] = {
    Kind.MONEY: "money",
    Kind.OCTETS: "octets",
    Kind.SECONDS: "seconds",
    Kind.UNITS: "units",
}
KIND_OF: Final = {name: kind for kind, name in KINDS.items()}


def micro_of(text: str, field: str) -> int:
    """Whole micro-units of "12.50"; Invalid, with the field, where that is past 2^53."""
    sign = -1 if text.startswith("-") else 1
    whole, _, fraction = text.removeprefix("-").partition(".")
    amount = sign * (int(whole) * MICRO + int(fraction.ljust(6, "0") or 0))
    if abs(amount) > EXACT_MAX:
        raise Invalid(field, f"at most {money(EXACT_MAX)} either way, found {text}")
    return amount


def count_of(text: str, field: str) -> int:
    """Octets, seconds or units."""
    if "." in text:
        raise Invalid(field, f"a whole number where it is not money, found {text}")
    if abs(int(text)) > EXACT_MAX:
        raise Invalid(field, f"less than 2^53 either way, found {text}")
    return int(text)


def amount_of(text: str, kind: int, field: str) -> int:
    """Of a bucket of this kind."""
    return micro_of(text, field) if kind == Kind.MONEY else count_of(text, field)
