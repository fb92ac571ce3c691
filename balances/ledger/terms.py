"""Tax, exchange rate and charging tags of a debit, as the ladder that priced it says:
`tax=190000;rate=1.0923;tag.product=video%20club`. Pure."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

import msgspec

from tariffs.units import MICRO

TAG: Final = "tag."
"""What the name of a charging tag begins with among terms."""
GIVEN_BACK: Final = "of="
"""Of a refund: what it gives back of (granted.py)."""
_encode: Final = msgspec.json.Encoder(order="sorted").encode


@lru_cache(4_096)
def read(terms: str) -> tuple[int, Decimal | None]:
    """(tax in parts per million of the net amount, exchange rate or None)"""
    parts = dict(part.split("=", 1) for part in terms.split(";") if part)
    rate = parts.get("rate")
    return int(parts.get("tax", 0)), None if rate is None else Decimal(rate)


def says_of_money(terms: str) -> bool:
    """Whether they say a tax or a rate: these come first."""
    return bool(terms) and not terms.startswith((TAG, GIVEN_BACK))


@lru_cache(4_096)
def tags_in(terms: str) -> dict[str, str]:
    """The charging tags; in their texts, which PostgreSQL has to take, nothing that is not printed."""
    found = {}
    for part in terms.split(";"):
        name, _, text = part.partition("=")
        if name.startswith(TAG):
            found[name.removeprefix(TAG)] = "".join(each if each.isprintable() else " " for each in unquote(text))
    return found


@lru_cache(4_096)
def tagged(terms: str, tags: str) -> str | None:
    """Of an entry, as JSON: those of its terms, and those that its posting says (JSON), which win; None: none."""
    found = tags_in(terms)
    if not found:
        return tags or None
    said = msgspec.json.decode(tags, type=dict[str, str]) if tags else {}
    return _encode({**found, **said}).decode()


def tax_in(amount: int, ppm: int) -> int:
    """The tax contained in an amount, rounded half up to a micro-unit, with its sign: a refund gives it back alike."""
    tax = (2 * abs(amount) * ppm + MICRO + ppm) // (2 * (MICRO + ppm))
    return tax if amount >= 0 else -tax
