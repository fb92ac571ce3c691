"""Types of notification thresholds, and of services with a line of suspension of their own."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from ocs.api.schema import BucketName, Input, Kind, ServiceLineView, Tag, ThresholdView
from ocs.api.texts import Money, Quantity

Percentage = Annotated[int, Meta(ge=1, le=100)]


class ThresholdPut(Input, frozen=True):
    """Told when a settled amount falls below it, and when it has risen again. Nothing is refused below it."""

    kind: Kind = "money"
    """Of the buckets it looks at, and of its amounts."""
    below: Quantity | None = None
    """Crossed below this amount; or ..."""
    percent: Percentage | None = None
    """... below so many percent of what the buckets had at their last fill: opening, top-up, transfer in."""
    rearm: Quantity | None = None
    """Armed again from this amount on; else from `below` on."""
    rearm_percent: Percentage | None = None
    """Armed again from so many percent on; else from `percent` on."""
    bucket: BucketName = ""
    """Only buckets of this name; else all of the kind."""
    service: Tag | None = None
    """Only buckets that may pay this service."""


class ThresholdList(Struct, frozen=True):
    items: list[ThresholdView]


class ServiceLinePut(Input, frozen=True):
    """The line at which a service is suspended for credit, in the place of the account's own."""

    suspend_below: Money
    """Suspended below this settled balance."""
    resume_at: Money | None = None
    """Resumed from this settled balance on; else as suspend_below."""


class ServiceLineList(Struct, frozen=True):
    items: list[ServiceLineView]
