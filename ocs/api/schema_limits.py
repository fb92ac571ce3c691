"""Types of spending limits."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from ocs.api.schema import Input, Kind, Scope
from ocs.api.texts import Quantity, Time
from ocs.patterns import looks

LimitAmount = Annotated[
    str,
    looks(
        r"[0-9]{1,16}(\.[0-9]{1,6})?",
        'an amount of money such as "10.00", or a whole number of octets, seconds or units, not below zero',
        max_length=24,
        description="Money as a decimal string, or a whole number of octets, seconds or units",
        examples=["10.00", "1073741824"],
    ),
]
Network = Annotated[
    str,
    looks(
        r"[0-9]{5,6}|[0-9]{1,5}\*",
        'MCC and MNC of a network such as "26201", or the begin of several such as "262*"',
        examples=["262*"],
    ),
]
Networks = Annotated[list[Network], Meta(max_length=256)]
Period = Annotated[
    str,
    Meta(
        max_length=32,
        description="day, week, month, year, ever, or a billing month: `month from 15`; in the zone of the account",
        examples=["month", "month from 15"],
    ),
]


class LimitPut(Input, frozen=True):
    """No more than this is granted in a period; what was used beyond a grant is charged all the same."""

    amount: LimitAmount
    period: Period
    kind: Kind = "money"
    """Of money what use costs; else what lines of that unit use, whatever pays it."""
    services: Scope = msgspec.field(default_factory=list)
    """Those that count; empty: all."""
    visited: Networks = msgspec.field(default_factory=list)
    """Only what is used in these networks; empty: in all ..."""
    not_visited: Networks = msgspec.field(default_factory=list)
    """... but these: abroad, where they are those at home. Where a network is not told, neither holds."""


class LimitView(Struct, frozen=True):
    name: str
    shared: bool
    """All subscribers of the account together."""
    amount: Quantity
    kind: Kind
    period: str
    services: list[str]
    visited: list[str]
    not_visited: list[str]
    used: Quantity
    """In the period of now."""
    held: Quantity
    """For grants under way."""
    left: Quantity
    """What may still be granted."""
    since: Time | None
    """When the period began."""
    until: Time | None
    """When it ends, and there is room again; null: never."""


class LimitList(Struct, frozen=True):
    items: list[LimitView]
