"""Statements, and balances of the past."""

from __future__ import annotations

from msgspec import Struct

from ocs.api import schema
from ocs.api.texts import Money, Quantity, Time


class PastBucket(Struct, frozen=True):
    bucket: int
    kind: schema.Kind
    amount: Quantity


class PastBalance(Struct, frozen=True):
    account: str
    currency: str
    as_of: Time | None
    """Of what happened before; null: all."""
    known_at: Time | None
    """As far as it was posted before; null: all."""
    balance: Money
    """Of all buckets of money."""
    buckets: list[PastBucket]
    """That had something, and the main one."""


class KindTotals(Struct, frozen=True):
    """Of all buckets of one kind."""

    kind: schema.Kind
    opening: Quantity
    closing: Quantity


class ReasonTotals(Struct, frozen=True):
    """Entries of one kind of bucket, for one reason."""

    kind: schema.Kind
    why: str
    counter_account: str
    entries: int
    amount: Quantity
    net: Money | None
    tax: Money | None
    """Of `amount`; null where no tariff said anything of tax."""
    tag: str | None
    """With `group_by`: what these entries say under that key; null: nothing."""


class StatementView(Struct, frozen=True, rename={"from_": "from"}):
    """A period by posting time; opening + all amounts = closing."""

    account: str
    customer: str
    currency: str
    from_: Time
    until: Time
    closed: bool
    """It is over, all that was posted in it is here, and it changes no more."""
    totals: list[KindTotals]
    entries: list[ReasonTotals]


class CustomerTotals(Struct, frozen=True):
    """All accounts of the customer in one currency, together."""

    currency: str
    totals: list[KindTotals]
    entries: list[ReasonTotals]


class CustomerStatement(Struct, frozen=True):
    customer: str
    closed: bool
    """Every one of its accounts' is."""
    currencies: list[CustomerTotals]
    accounts: list[StatementView]
