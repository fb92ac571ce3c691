"""Notification thresholds that a tariff brings for the accounts of its subscribers, as written: `[[thresholds]]`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

import msgspec

from tariffs.counters import KINDS
from tariffs.notation import Amount, Quantity
from tariffs.units import Kind

NAME: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f/]{1,64}")
"""Of a notification threshold."""
NAME_IN_WORDS: Final = "1 to 64 characters without line breaks and /"

DEFAULTS_MAX: Final = 8
"""Thresholds of one tariff: an account has room for its own beside them."""

Percentage = Annotated[int, msgspec.Meta(ge=1, le=100)]


class DefaultThreshold(msgspec.Struct, frozen=True, omit_defaults=True):
    """A threshold that a tariff brings; it means what one of an account does (charging.md section 7)."""

    name: str
    kind: int
    """See Kind."""
    below: int
    rearm: int
    percent: int = 0
    bucket: str = ""
    service: str = ""
    currency: str = ""
    """Of an amount of money: it says nothing to an account that is kept in another one."""


class ThresholdDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """As written; the keys are those of the API."""

    name: str
    kind: Literal["octets", "seconds", "units", "money"] = "money"
    """Of the buckets it looks at."""
    below: Any = None
    """Crossed below this amount, such as "5.00" or "1 GB"; or ..."""
    percent: Percentage | None = None
    """... below so many percent of what the buckets had at their last fill."""
    rearm: Any = None
    """Armed again from this amount on; else from `below` on."""
    rearm_percent: Percentage | None = None
    """Armed again from so many percent on; else from `percent` on."""
    bucket: str = ""
    """Only buckets of this name."""
    service: str = ""
    """Only buckets that may pay this service."""

    def compiled(self, currency: str) -> DefaultThreshold:
        """Raises ValueError that begins with the key that is wrong."""
        if not NAME.fullmatch(self.name):
            raise ValueError(f"name: expected {NAME_IN_WORDS}, not {self.name[:80]!r}")
        if len(self.bucket) > 64:
            raise ValueError("bucket: expected at most 64 characters")
        if (self.below is None) == (self.percent is None):
            raise ValueError("below: expected below or percent, one of them")
        kind = KINDS[self.kind]
        if self.percent is not None:
            if self.rearm is not None:
                raise ValueError("rearm: expected rearm_percent, of a percentage")
            percent, below, rearm, way_back = self.percent, 0, self.rearm_percent or self.percent, "rearm_percent"
            currency = ""
        else:
            if self.rearm_percent is not None:
                raise ValueError("rearm_percent: expected only with percent")
            percent, below, way_back = 0, _amount("below", self.below, kind), "rearm"
            rearm = below if self.rearm is None else _amount("rearm", self.rearm, kind)
            currency = currency if kind == Kind.MONEY else ""
        if rearm < (percent or below):
            raise ValueError(f"{way_back}: expected no less than where it is crossed, or it would never be at rest")
        return DefaultThreshold(self.name, kind, below, rearm, percent, self.bucket, self.service, currency)


def _amount(key: str, written: Any, kind: Kind) -> int:
    try:
        if kind == Kind.MONEY:
            return _money(written)
        quantity = Quantity.read(written)
    except ValueError as bad:
        raise ValueError(f"{key}: {bad}") from None
    if quantity.kind != kind:
        raise ValueError(f"{key}: expected {kind.name.lower()}, as its kind says, not {written!r}")
    return quantity.amount


def _money(written: Any) -> int:
    """In micro-units; below zero for accounts with a credit limit."""
    if isinstance(written, str) and written.startswith("-"):
        return -Amount.read(written[1:]).micro
    if isinstance(written, int | Decimal) and written < 0:
        return -Amount.read(-written).micro
    return Amount.read(written).micro


def once_each(found: Iterable[DefaultThreshold]) -> str:
    """A name that is there twice; "": none."""
    seen: set[str] = set()
    for one in found:
        if one.name in seen:
            return one.name
        seen.add(one.name)
    return ""
