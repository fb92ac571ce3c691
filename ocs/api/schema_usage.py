"""Bodies of usage records."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from ocs.api import schema
from ocs.api.texts import Money, Quantity, Time


class UsageItem(Struct, frozen=True):
    """Something that was used, granted, refused or given back, also at price 0."""

    usage: str
    """Its reference: "<epoch>-<n>/<line>"."""
    time: Time
    """Of the use."""
    subscriber: str
    session: str
    incarnation: int
    phase: Literal["start", "update", "stop", "event", "record"]
    service: str
    rating_group: int | None
    service_identifier: int | None
    unit: schema.Kind
    used: int
    """In `unit`; below zero where it was given back."""
    granted: int
    cost: Money
    currency: str
    result: str
    flags: list[str]
    set_aside: Quantity
    """Reported and not charged: it is in the list of suspense."""
    tariff: str
    tags: dict[str, str]
    """Charging tags."""


class UsagePage(Struct, frozen=True):
    items: list[UsageItem]
    next_after: str | None
    """`after` of the next page."""
