"""Balances that an account, or somebody who watches it, is told about (charging.md section 7)."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

THRESHOLDS_MAX: Final = 16
"""Notification thresholds of an account, and as many lines of services."""


class Threshold(msgspec.Struct, array_like=True, gc=False):
    """A notification threshold: nothing is refused below it, somebody is told. It looks at the sum of the settled
    amounts of one kind in the buckets that are valid now: of all, of those of one name, or that may pay a service."""

    name: str
    """As people call it; one of its account."""
    kind: int
    """Of the buckets, and of what `below` and `rearm` count; see Kind."""
    below: int
    """Crossed below this amount. With `percent`: not used."""
    rearm: int
    """Armed again from this amount on, with `percent` from so many percent; not less than where it is crossed."""
    percent: int = 0
    """Crossed below so many percent of what the buckets had at their last fill (`Bucket.filled`); 0: below `below`."""
    bucket: str = ""
    """Name of the buckets; "" for all."""
    service: str = ""
    """Only buckets that may pay this service; "" for all."""
    crossed_ms: int = 0
    """Since when it is crossed; 0: it is armed."""
    tariff: str = ""
    """That brings it for its subscribers; "" for one of the account's own."""


class ServiceSuspension(msgspec.Struct, array_like=True, gc=False):
    """The line at which one service is suspended for credit, in the place of the account's own."""

    service: str
    suspend_below: int
    resume_at: int
    suspended_ms: int = 0
    """Since when; 0: it is served."""


class CrossingKind(StrEnum):
    SUSPEND = "suspend"
    RESUME = "resume"
    BELOW = "below"
    """A notification threshold was crossed ..."""
    ABOVE = "above"
    """... and is armed again."""
    REACHED = "reached"
    """A spending limit was reached: nothing more is granted ..."""
    ROOM = "room"
    """... and there is room again: something was given back, the limit is higher, or its period has ended."""
    ACTIVATED = "activated"
    """The account was created, and is active now: by its first use, or by hand."""
    OVERDUE = "overdue"
    """The grace of the account has ended."""


class CrossingOf(StrEnum):
    """What was crossed, and so what `Crossing.name` names."""

    ACCOUNT = "account"
    """The account's own line; its name is ""."""
    SERVICE = "service"
    """The line of a service."""
    THRESHOLD = "threshold"
    """A notification threshold."""
    LIMIT = "limit"
    """A spending limit; its name is the key of its counter."""
    LIFE = "life"
    """The account itself, whatever it has (charging.md section 16); its name is ""."""


class Crossing(msgspec.Struct, array_like=True, gc=False):
    """One crossing, once down and once up, on the record of the call that moved the balance."""

    kind: str
    """See CrossingKind."""
    of: str
    """See CrossingOf."""
    name: str
    level: int
    """The amount that was crossed: of a percentage what it was then."""
    value: int
    """The amount after the call, settled."""
    unit: int = 0
    """What both count; see Kind."""
    bucket: str = ""
    """Name of the buckets that the threshold looks at; "" for all."""
