"""Types of top-up offers."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from ocs.api.schema import ONE_LINE, BucketName, BucketPer, Currency, Id, Input, Kind, Priority, Scope, Text
from ocs.api.texts import Money, MoneyAboveZero, Quantity, QuantityAboveZero, Time
from ocs.patterns import looks

Days = Annotated[int, Meta(ge=1, le=3660)]
Percent = Annotated[
    str,
    looks(
        r"(?=.*[1-9])[0-9]{1,3}(\.[0-9]{1,2})?",
        "more than zero, at most three digits before the point and two after it",
        max_length=6,
        description="Of what is paid",
        examples=["10", "12.50"],
    ),
]


class GivenBonus(Input, frozen=True):
    """Bonus money, as a bucket of its own: it pays for use, and is never transferred or paid out."""

    amount: MoneyAboveZero | None = None
    """So much ..."""
    percent: Percent | None = None
    """... and so much of what is paid. One of both is needed."""
    round_to: MoneyAboveZero = "0.01"
    """The percentage is rounded down to a multiple of this."""
    maximum: MoneyAboveZero | None = None
    """It is never more."""
    days: Days | None = None
    """It ends so many times 24 hours after the top-up; left out: never."""
    scope: Scope = field(default_factory=list)
    """Services it may pay; empty: all."""
    priority: Priority = 50
    """Lower pays first; the main balance has 100."""
    name: BucketName = ""


class GivenUnits(Input, frozen=True):
    """Units, as a bucket of their own."""

    kind: Literal["octets", "seconds", "units"]
    amount: QuantityAboveZero
    money: MoneyAboveZero | None = None
    """So much money in the same bucket: it pays what they do not, for the same services and as long."""
    price: MoneyAboveZero | None = None
    """What `per` of them cost besides, from money that may pay the same services."""
    per: BucketPer = 1
    days: Days | None = None
    """It ends so many times 24 hours after the top-up; left out: never."""
    scope: Scope = field(default_factory=list)
    """Services it may pay; empty: all."""
    priority: Priority = 50
    name: BucketName = ""


class GivenValidity(Input, frozen=True):
    """Buckets of the account with this name end no sooner than so many times 24 hours after the top-up. None ends
    sooner than before."""

    bucket: Annotated[str, looks(r"[^\x00-\x1f]+", ONE_LINE, max_length=64, examples=["week"])]
    days: Days


class PayBand(Input, frozen=True):
    """What an amount of `minimum` to `maximum`, both included, gives besides itself."""

    minimum: MoneyAboveZero
    maximum: MoneyAboveZero | None = None
    """Left out of the last band: any more."""
    bonus: GivenBonus | None = None
    units: Annotated[list[GivenUnits], Meta(max_length=8)] = field(default_factory=list)
    extends: Annotated[list[GivenValidity], Meta(max_length=8)] = field(default_factory=list)
    resets: Annotated[list[Id], Meta(max_length=16)] = field(default_factory=list)
    """Spending limits by their names, of the account and of its subscribers: what was used of them in this period is
    forgotten."""
    grace_days: Days | None = None
    """A grace that the account is in ends no sooner than so many times 24 hours after the top-up; none begins or ends
    by that."""


PayBands = Annotated[list[PayBand], Meta(min_length=1, max_length=16)]


class TopUpOfferPut(Input, frozen=True):
    """An offer as a whole: what is left out of it is no part of it any more."""

    currency: Currency
    """Of the accounts it is for."""
    bands: PayBands
    """In the order of their amounts. An amount in none of them is refused."""
    description: Text = ""


class TopUpOfferView(Struct, frozen=True):
    id: str
    version: int
    """The ETag."""
    currency: str
    bands: list[PayBand]
    description: str
    changed: Time
    changed_by: str


class TopUpOfferPage(Struct, frozen=True):
    items: list[TopUpOfferView]
    next: str | None
    """Give it as `after` for the next page; null at the end."""


class TopUpQuoteQuery(Input, frozen=True):
    amount: MoneyAboveZero
    offer: Id


class QuotedBucket(Struct, frozen=True):
    """A bucket that would be made."""

    kind: Kind
    amount: Quantity
    money: Money | None
    """Beside units, in the same bucket."""
    price: Money | None
    """What `per` of the units cost besides; null: nothing."""
    per: int
    name: str
    scope: list[str]
    priority: int
    valid_until: Time | None


class QuotedExtension(Struct, frozen=True):
    """A bucket that would end later."""

    bucket: int
    name: str
    valid_until: Time
    """As it is now."""
    extended_until: Time


class QuotedReset(Struct, frozen=True):
    """A spending limit that would begin anew."""

    limit: str
    subscriber: str | None
    """null: of all subscribers of the account."""
    period: str
    used: int
    """In this period: micro-units of money, or units."""


class TopUpQuote(Struct, frozen=True):
    """What a top-up would do now."""

    account: str
    offer: str
    version: int
    amount: Money
    """For the main balance."""
    gives: list[QuotedBucket]
    extends: list[QuotedExtension]
    resets: list[QuotedReset]
    grace_until: Time | None
    """When a grace of the account would end then; null: it is in none, or it ends as it would."""
