"""What the API gives about use that was reported and not charged."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from ocs.api.texts import Money, Quantity, Time

SetAside = Literal["over-bound", "other-unit", "no-price", "too-large", "unusable", "nobody", "too-many-lines"]
SuspenseState = Literal["open", "charging", "charged", "written-off"]


class SuspenseSettled(Struct, frozen=True):
    account: str | None
    """Who was charged."""
    charged: Money | None
    seq: int | None
    """The entry that says so."""
    by: str
    reason: str
    time: Time


class SuspenseItem(Struct, frozen=True):
    """Use that was reported and not charged."""

    id: str
    account: str | None
    """null: nobody is known to have used it."""
    subscriber: str
    session: str
    request: str
    """Of the session, that it was first reported in."""
    service: str
    rating_group: int | None
    service_identifier: int | None
    unit: Literal["money", "octets", "seconds", "units"]
    amount: Quantity
    currency: str | None
    """Of an amount of money; null where it is not known or not money."""
    reason: str
    """Why it was not charged: `over-bound`, `other-unit`, `no-price`, `too-large`, `unusable`, `nobody` ..."""
    reports: int
    """That it is the sum of."""
    time: Time
    """Of the first use."""
    last: Time
    state: SuspenseState
    """`charging`: decided, and its entry on the way to PostgreSQL."""
    settled: SuspenseSettled | None


class SuspensePage(Struct, frozen=True):
    items: list[SuspenseItem]
    next: str | None
    """Give it as `after` for the next page; null at the end."""
