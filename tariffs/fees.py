"""Recurring fees of a tariff, `[[fees]]`: what they cost, what they include, and what happens when money is short
(charging.md section 21)."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec

from tariffs import phrases
from tariffs.bucket_price import reduced
from tariffs.fee_periods import FeePeriod
from tariffs.match import Condition, Match
from tariffs.notation import Amount, Column, Quantity, WrittenPrice
from tariffs.tags import check_tags
from tariffs.units import MICRO, Kind, Rounding
from tariffs.week_hours import HoursOfDays, read_week_hours, written_week_hours

FEE: Final = "fee"
"""The service that a recurring fee is of, for conditions of taxes and changes, and for the scope of who pays it."""

FEES_MAX: Final = 16
"""Of one tariff."""
ROLLOVER_MAX: Final = 12
INCLUDES_MAX: Final = 8
SECOND_MS: Final = 1_000

Prorated = Literal["first", "changed", "last"]
ROUNDINGS: Final = {"up": Rounding.UP, "down": Rounding.DOWN, "half_up": Rounding.HALF_UP}
HALF: Final = Fraction(1, 2)


class IncludedUnits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Units that each period includes, as written: `[[fees.includes]]`."""

    name: str
    """Of the bucket."""
    amount: Any
    """"10 GB", "300 min", 50; of money "5.00"."""
    kind: Literal["", "money"] = ""
    scope: str | tuple[str, ...] = ()
    """Services or tags of bundles that it may pay; empty: all."""
    priority: Annotated[int, msgspec.Meta(ge=0, le=1_000)] = 50
    shared: bool = False
    """For all subscribers of the account; else for the one whose fee it is."""
    rollover: Annotated[int, msgspec.Meta(ge=0, le=ROLLOVER_MAX)] = 0
    """So many periods longer what is left may be used."""
    carried_max: Any = None
    """Of what earlier periods left, at most so much is kept when a period begins."""
    blocker: bool = False
    """What they may pay is paid by nothing behind them: once they are used up no money is spent."""
    money: Any = None
    """Money in the same bucket as units, "5.00": it pays what they do not."""
    price: Any = None
    """What `per` of the units cost besides, "0.02"; as it is debited, with tax."""
    per: Any = None
    """"60 s", "1 MB", 1; with a price only."""
    hours: str = ""
    """When they pay use, on the account's clock: "00:00-06:00", "mon-fri 22:00-06:00, sat"; else at any time."""


class FeeDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """As written."""

    name: str
    price: WrittenPrice
    every: FeePeriod
    when: Match = Match()
    """Only attributes of the subscriber."""
    due: Literal["advance", "arrears"] = "advance"
    prorate: tuple[Prorated, ...] = ("first", "changed", "last")
    """Which periods cost a part where they are cut; others cost the whole."""
    round_to: Amount = Amount(1, 100)
    rounding: Literal["up", "down", "half_up"] = "half_up"
    funds: Literal["own", "credit", "debt"] = "credit"
    """What may pay it: free own money, the credit limit too, or debt as well."""
    retry: Quantity = Quantity(Kind.SECONDS, 86_400)
    """When money is short: how long after a try the next one comes."""
    partial: bool = False
    """Then take what is there."""
    grace: Quantity | None = None
    """So long the units are given though it is not paid, and nothing is suspended."""
    suspend: bool = False
    """Then suspend the account until it is paid."""
    includes: tuple[IncludedUnits, ...] = ()
    tags: dict[str, str] = {}
    """Charging tags of its entries, in the place of the tariff's under these keys."""


class FeeAllowance(NamedTuple):
    """Included units, ready for use."""

    name: str
    kind: Kind
    amount: int
    scope: tuple[str, ...]
    priority: int
    shared: bool
    rollover: int
    carried_max: int
    """-1: any."""
    blocker: bool
    hours: tuple[HoursOfDays, ...]
    money: int
    """In the same bucket as units, micro-units."""
    price: int = 0
    """What `per` of the units cost besides, micro-units."""
    per: int = 1


class FeeRule:
    """A fee of a version of a tariff, ready for use."""

    def __init__(self, written: FeeDocument, conditions: tuple[Condition, ...]) -> None:
        """ValueError that begins with the key that is wrong."""
        self.written, self.conditions = written, conditions
        self.name, self.every = written.name, written.every
        self.in_advance = written.due == "advance"
        self.round_to, self.rounding = Fraction(written.round_to), ROUNDINGS[written.rounding]
        if not self.round_to or self.round_to * MICRO % 1:
            raise ValueError("round_to: expected whole micro-units, at least one")
        for key, one in (("retry", written.retry), ("grace", written.grace)):
            if one is not None and one.kind != Kind.SECONDS:
                raise ValueError(f'{key}: expected a time such as "1 d", not {one!r}')
        if written.retry.amount < 60:
            raise ValueError("retry: expected at least a minute")
        self.retry_ms = written.retry.amount * SECOND_MS
        self.grace_ms = written.grace.amount * SECOND_MS if written.grace is not None else 0
        if written.includes and not self.in_advance:
            raise ValueError("includes: expected `due` in advance: what a fee includes is given when it is taken")
        if isinstance(place := written.price.written, Column) and place.place != "subscriber":
            raise ValueError(f"price: expected an amount, or an attribute such as subscriber.fee, not {place!r}")
        try:
            check_tags(written.tags)
        except ValueError as bad:
            raise ValueError(f"tags: {bad}") from None
        if len(written.includes) > INCLUDES_MAX:
            raise ValueError(f"includes: expected at most {INCLUDES_MAX}, not {len(written.includes)}")
        self.allowances = tuple(_allowance(one, number, self.every) for number, one in enumerate(written.includes, 1))
        if len({one.name for one in self.allowances}) < len(self.allowances):
            raise ValueError("includes: expected each name once")

    def rounded(self, exact: Fraction) -> Fraction:
        """An amount as it is debited."""
        many = exact * Fraction(self.round_to.denominator, self.round_to.numerator)
        if self.rounding == Rounding.HALF_UP:
            many += HALF
        whole = many.numerator // many.denominator
        if self.rounding == Rounding.UP and many.denominator != 1:
            whole += 1
        return whole * self.round_to

    def in_words(self, currency: str) -> Iterator[str]:
        """What the document says of it, for people."""
        written = self.written
        price = written.price.written
        shown = repr(price) if isinstance(price, Column) else phrases.amount(price)
        when = "in advance" if self.in_advance else "in arrears"
        if self.every.is_once:
            yield f"{shown} {currency} once, {when}"
        else:
            yield f"{shown} {currency} every {self.every}, {when}"
            cut = " and ".join(written.prorate)
            yield f"prorated by days: the {cut} period" if cut else "never prorated"
        direction = phrases.DIRECTIONS[self.rounding]
        yield f"rounded {direction} to {phrases.amount(self.round_to)}, once, after tax and proration"
        for condition in self.conditions:
            yield f"if {condition!r}"
        for one in self.allowances:
            amount = phrases.limit(one.kind, one.amount, currency)
            if one.money:
                amount += f" and {phrases.limit(Kind.MONEY, one.money, currency)}"
            text = f"includes {amount} ({one.name})"
            if one.price:
                cost = phrases.limit(Kind.MONEY, one.price, currency)
                text += f", at {cost} for {phrases.quantity(one.kind, one.per)}"
            if one.rollover:
                text += f", usable for {phrases.counted(one.rollover, 'periods')} more"
            if one.carried_max >= 0:
                text += f", at most {phrases.limit(one.kind, one.carried_max, currency)} of it carried over"
            if one.hours:
                text += f", at {written_week_hours(one.hours)} on the account's clock"
            if one.blocker:
                text += "; once it is used up, nothing behind it pays"
            yield text
        yield from self._short_in_words()

    def _short_in_words(self) -> Iterator[str]:
        written = self.written
        if written.funds == "debt":
            yield "money that is missing becomes debt"
            return
        pays = "own money" if written.funds == "own" else "own money and the credit limit"
        yield f"paid by {pays}; money is short: tried again every {written.retry!r} and when money comes in"
        if written.partial:
            yield "what is there is taken, the rest later"
        if written.grace is not None:
            yield f"in grace for {written.grace!r}"
        if written.suspend:
            yield "after that the account is suspended until it is paid"


def _allowance(written: IncludedUnits, number: int, every: FeePeriod) -> FeeAllowance:
    if not 1 <= len(written.name) <= 64:
        raise ValueError(f"includes[{number}].name: expected 1 to 64 characters")
    kind, amount = _amount(f"includes[{number}].amount", written.amount, written.kind)
    carried_max = -1
    if written.carried_max is not None:
        carried_kind, carried_max = _amount(f"includes[{number}].carried_max", written.carried_max, written.kind)
        if carried_kind != kind:
            raise ValueError(f"includes[{number}].carried_max: expected {kind.name.lower()}, as its amount")
        if not written.rollover:
            raise ValueError(f"includes[{number}].carried_max: expected only with rollover")
    if every.is_once and written.rollover:
        raise ValueError(f"includes[{number}].rollover: expected none of a fee that is due once")
    money = 0
    if written.money is not None:
        _, money = _amount(f"includes[{number}].money", written.money, "money")
        if kind == Kind.MONEY or not money:
            raise ValueError(f"includes[{number}].money: expected more than zero, beside octets, seconds or units")
        if carried_max >= 0:
            raise ValueError(f"includes[{number}].carried_max: expected none with money: it is carried whole or not")
    price, per = _price(f"includes[{number}]", written, kind)
    try:
        hours = read_week_hours(written.hours)
    except ValueError as bad:
        raise ValueError(f"includes[{number}].hours: {bad}") from None
    scope = (written.scope,) if isinstance(written.scope, str) else written.scope
    return FeeAllowance(
        written.name,
        kind,
        amount,
        scope,
        written.priority,
        written.shared,
        written.rollover,
        carried_max,
        written.blocker,
        hours,
        money,
        price,
        per,
    )


def _price(at: str, written: IncludedUnits, kind: Kind) -> tuple[int, int]:
    """Of the units: how much for how many of them."""
    if written.price is None:
        if written.per is not None:
            raise ValueError(f"{at}.per: expected only with price")
        return 0, 1
    _, price = _amount(f"{at}.price", written.price, "money")
    if kind == Kind.MONEY or not price:
        raise ValueError(f"{at}.price: expected more than zero, of octets, seconds or units")
    if written.per is None:
        raise ValueError(f"{at}.per: expected what the price is for")
    per_kind, per = _amount(f"{at}.per", written.per, "")
    if per_kind != kind:
        raise ValueError(f"{at}.per: expected {kind.name.lower()}, as its amount")
    try:
        return reduced(price, per)
    except ValueError as bad:
        raise ValueError(f"{at}.price: {bad}") from None


def _amount(key: str, written: Any, kind: str) -> tuple[Kind, int]:
    try:
        if kind == "money":
            return Kind.MONEY, Amount.read(written).micro
        quantity = Quantity.read(written)
    except ValueError as bad:
        raise ValueError(f"{key}: {bad}") from None
    return quantity.kind, quantity.amount
