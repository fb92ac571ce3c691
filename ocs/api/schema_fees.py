"""Types of recurring fees."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from ocs.api.schema import Id
from ocs.api.texts import Money, Time

Day = Annotated[str, Meta(description="A day of the account's calendar", examples=["2026-11-01"])]


class FeeRunView(Struct, frozen=True):
    """The run that settles what is due. Counts are of all time."""

    paused_by: str | None
    """Who stopped it; null: it runs."""
    paused_since: Time | None
    began: Time | None
    """Of the run that goes on, or was the last one."""
    moved: Time | None
    """When it did something last."""
    looked: int
    """Assignments that were looked at."""
    taken: int
    """Periods that were settled."""
    short: int
    """Tries for which money was short."""
    due: int
    """Assignments that are due now."""
    oldest: Time | None
    """When the earliest of them was due."""
    next: Time | None
    """When the next one will be."""
    waiting: int
    """Assignments that wait for money."""
    troubled: int
    """Assignments of which a fee has no price now, or no room."""


class ExpectedFeeView(Struct, frozen=True, kw_only=True):
    """A period of a fee that would be taken, if there were money enough."""

    account: str
    subscriber: str
    tariff: str
    fee: str
    from_day: Day
    until_day: Day
    """First day after it; "ever" of a fee that is due once."""
    due: Time
    currency: str
    amount: Money
    """Below zero: given back, at the end of the assignment."""
    includes: list[str]
    """Units that come with it."""
    made_of: list[str]
    """How the amount came about."""


class DueFees(Struct, frozen=True):
    items: list[ExpectedFeeView]
    next: str | None
    """Give it as `after` for the next page; null at the end. A page may have no items."""


class FeeView(Struct, frozen=True, kw_only=True):
    """A recurring fee of a subscriber, as it is now."""

    account: str
    tariff: str
    fee: str
    began: Time
    ends: Time | None
    """Of the assignment; null: it goes on."""
    settled_until: Day | None
    """First day that is not settled; null: none is."""
    state: str
    """running, short, ended"""
    paid: Money
    """Of the period that was settled last, or is being paid."""
    tried_again: Time | None
    next: ExpectedFeeView | None


class FeeList(Struct, frozen=True):
    items: list[FeeView]


class FeeWords(Struct, frozen=True):
    """What a document says of a fee."""

    fee: str
    says: list[str]


class FeeQuoteView(Struct, frozen=True):
    """What the fees of a tariff are, and what an assignment would cost."""

    tariff: str
    """With its version."""
    currency: str
    fees: list[FeeWords]
    periods: list[ExpectedFeeView]
    """At most 60."""
    reason: str
    """Why a fee has no price; "" where all have."""


class FeeQuoteQuery(Struct, frozen=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    subscriber: Id | None = None
    """Whose attributes, account and promotions count; else nobody's, UTC and the currency of the tariff."""
    from_: Time | None = None
    """When the assignment would begin; else now."""
    until: Time | None = None
    """When it would end; else it goes on."""
    at: Time | None = None
    """Up to when; else for a year."""


class DueFeesQuery(Struct, frozen=True, forbid_unknown_fields=True):
    at: Time | None = None
    """Up to when; else now."""
    after: Annotated[str, Meta(max_length=40)] = ""
    limit: Annotated[int, Meta(ge=1, le=500)] = 100
    """Assignments of a page."""
