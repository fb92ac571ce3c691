"""From a written price to the debited amount: surcharges and discounts, tax, currency exchange."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Final, Literal

import msgspec

from tariffs.match import Match
from tariffs.notation import Amount, Column, Percent, Share
from tariffs.phrases import amount
from tariffs.tags import as_terms
from tariffs.units import EXACT_MAX, MICRO

NOTHING_OFF: Final = "0"


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A discount or a surcharge as written; it changes what the one before it left, by a part of that or of the list
    price."""

    name: str
    when: Match = Match()
    percent: Share | None = None
    of: Literal["rest", "list"] = "rest"
    """Percent of what is left, or of the price as written, before any surcharge or discount."""
    amount: Amount | None = None
    """For each `per` of the price it changes, or off the set-up fee."""
    fees: bool = False
    """It changes the set-up fee and not the price."""
    stack: bool = True
    """False: no further one of its list is looked at where this one applies."""

    def __post_init__(self) -> None:
        if (self.percent is None) == (self.amount is None):
            raise ValueError("expected either `percent` or `amount`")
        if self.percent is None and self.of == "list":
            raise ValueError("expected `of` with `percent`: an amount is the same of any price")
        where = self.percent.written if self.percent is not None else None
        if isinstance(where, Column) and where.place != "subscriber":
            raise ValueError(f"expected a percentage, or an attribute such as subscriber.discount, not {where!r}")

    @property
    def attribute(self) -> str:
        """The attribute of the subscriber that says how much; "" for none."""
        where = self.percent.written if self.percent is not None else None
        return where.name if isinstance(where, Column) else ""

    def apply(self, price: Fraction, listed: Fraction, sign: int, attributes: Mapping[str, str]) -> Fraction:
        """A subscriber without the attribute has 0; ValueError for one that has nonsense there.

        price:   what the changes before it left
        listed:  the price as written
        """
        if self.percent is None:
            part: Fraction = self.amount or Fraction(0)
        else:
            percent = self.percent.value(lambda column: attributes.get(column.name) or NOTHING_OFF)
            part = (listed if self.of == "list" else price) * percent * ONE_PERCENT
        return max(price + sign * part, Fraction(0))


ONE_PERCENT: Final = Fraction(1, 100)


class Tax(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tax scheme as written; the first whose conditions hold counts."""

    name: str
    percent: Percent
    included: bool
    """Prices of the document contain it (what shops show), or it is added to them."""
    round_to: Amount | None = None
    """The tax of what a line, an event or a fee has cost so far is a multiple of this amount of the account's currency,
    at any time; None: each entry's is rounded by itself, to a micro-unit (charging.md section 4)."""
    rounding: Literal["up", "down", "half_up", "half_even"] = "half_up"
    when: Match = Match()

    def __post_init__(self) -> None:
        if self.round_to is not None and not 0 < self.round_to * MICRO <= EXACT_MAX:
            raise ValueError(f"expected `round_to` above 0 and below 2^53 micro-units, not {amount(self.round_to)}")
        if self.round_to is not None and (self.round_to * MICRO).denominator != 1:
            raise ValueError(f"expected `round_to` in whole micro-units, not {amount(self.round_to)}")

    @property
    def ppm(self) -> int:
        """Of the net amount, in parts per million."""
        return int(self.percent * 10_000)


class CurrencyExchange(msgspec.Struct, frozen=True):
    """One unit of the tariff's currency in the account's, and the day the rate is of."""

    rate: Amount
    written: str
    """As it was stored, for the ledger."""
    day: str


class Terms:
    """The changes, tax and exchange that hold for one line at one time."""

    __slots__ = ("attributes", "changes", "exchange", "tags", "tax")

    def __init__(
        self,
        changes: Sequence[tuple[int, Change]] = (),
        tax: Tax | None = None,
        exchange: CurrencyExchange | None = None,
        attributes: Mapping[str, str] = {},
        tags: Mapping[str, str] = {},
    ) -> None:
        """
        changes: (+1 surcharge or -1 discount, what), in order
        tags:    charging tags of what is debited
        """
        self.changes, self.tax, self.exchange, self.attributes = tuple(changes), tax, exchange, attributes
        self.tags = tags

    def trace(self, price: Fraction, *, fee: bool = False, changed: bool = True) -> Iterator[tuple[str, Fraction]]:
        """The price after each, with its name. `changed` False: surcharges and discounts do not touch it."""
        listed = price
        if changed:
            for sign, change in self.changes:
                if change.fees is fee:
                    price = change.apply(price, listed, sign, self.attributes)
                    yield f"{change.name} (of the list price)" if change.of == "list" else change.name, price
        if self.tax is not None and not self.tax.included:
            price += price * Fraction(self.tax.ppm, MICRO)
            yield self.tax.name, price
        if self.exchange is not None:
            price *= self.exchange.rate
            yield f"exchange rate {self.exchange.written} of {self.exchange.day}", price

    def apply(self, price: Fraction, *, fee: bool = False, changed: bool = True) -> tuple[Fraction, bool]:
        """The amount debited for a written price, and whether it equals the price."""
        steps = [step for _, step in self.trace(price, fee=fee, changed=changed)]
        after = steps[-1] if steps else price
        return after, after == price

    def __str__(self) -> str:
        """As they stand on usage records: "tax=190000;rate=1.0923;tag.product=video" (balances/ledger/terms.py reads
        them)."""
        parts = []
        if self.tax is not None:
            parts.append(f"tax={self.tax.ppm}")
            if self.tax.round_to is not None:
                parts.append(f"tax_to={int(self.tax.round_to * MICRO)}/{self.tax.rounding}")
        if self.exchange is not None:
            parts.append(f"rate={self.exchange.written}")
        return ";".join([*parts, *as_terms(self.tags)])


NO_TERMS: Final = Terms()
