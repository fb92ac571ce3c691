"""Tax, exchange rate and charging tags of a debit, as the ladder that priced it says:
`tax=190000;tax_to=10000/half_up;rate=1.0923;tag.product=video%20club`. What corrects an entry may say `tax_is=-1597`
instead: so much of it is tax. Pure."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote

import msgspec

from tariffs.units import MICRO, SumRounding, round_sum

TAG: Final = "tag."
"""What the name of a charging tag begins with among terms."""
GIVEN_BACK: Final = "of="
"""Of a refund: what it gives back of (granted.py)."""
_encode: Final = msgspec.json.Encoder(order="sorted").encode


class MoneyTerms(NamedTuple):
    """What terms say of an amount of money."""

    tax_ppm: int = 0
    """Of the net amount."""
    rate: Decimal | None = None
    """Of the currency exchange."""
    tax_to: int = 0
    """The tax of all that was charged is a multiple of this, in micro-units; 0: each entry's is rounded by itself."""
    rounding: int = SumRounding.HALF_UP
    tax_is: int | None = None
    """The tax itself, in micro-units, with the sign of the amount."""

    def tax_in(self, amount: int, before: int) -> int:
        """The tax that an entry contains, in micro-units, with its sign: by how much that of all that was charged grew,
        or fell.

        amount:  of the entry, below 0 for what is charged
        before:  what was charged before it, and not given back (`Entry.before`)
        """
        if self.tax_is is not None:
            return self.tax_is
        if not self.tax_to:
            return _tax_of(amount, self.tax_ppm, 1, SumRounding.HALF_UP)
        already = _tax_of(before, self.tax_ppm, self.tax_to, self.rounding)
        return already - _tax_of(before - amount, self.tax_ppm, self.tax_to, self.rounding)


def given_tax(micro: int | None) -> tuple[str, ...]:
    """Terms of what corrects an entry, by the tax in it; None: nothing was said of tax."""
    return () if micro is None else (f"tax_is={micro}",)


@lru_cache(4_096)
def read(terms: str) -> MoneyTerms:
    parts = dict(part.split("=", 1) for part in terms.split(";") if part)
    rate, explicit = parts.get("rate"), parts.get("tax_is")
    to, _, rounding = parts.get("tax_to", "0/half_up").partition("/")
    return MoneyTerms(
        int(parts.get("tax", 0)),
        None if rate is None else Decimal(rate),
        int(to),
        SumRounding[rounding.upper()],
        None if explicit is None else int(explicit),
    )


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


def _tax_of(gross: int, ppm: int, to: int, rounding: int) -> int:
    """The tax that an amount contains, a multiple of `to`, with its sign."""
    parts = MICRO + ppm
    tax = round_sum(abs(gross) * ppm, to * parts, rounding) // parts
    return tax if gross >= 0 else -tax
