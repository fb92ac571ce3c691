"""What the API takes and gives about prices: quotes, and why something cost what it did."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from ocs.api.schema import Id, Identity, Input, Text
from ocs.api.schema_suspense import SuspenseItem
from ocs.api.texts import Money, Quantity, Time
from tariffs.explain import Explanation

Name = Annotated[str, Meta(max_length=64)]
Fact = Text
Number = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Unit = Literal["octets", "seconds", "units"]


class EventQuery(Input, frozen=True, kw_only=True):
    """A use that may happen, or might have happened."""

    subscriber: Id | None = None
    """By id..."""
    identity: Identity | None = None
    """... or by one of its identities."""
    service: Annotated[str, Meta(max_length=64, examples=["voice"])]
    """Name of its row in the service table."""
    rating_group: Number | None = None
    service_id: Number | None = None
    amount: Annotated[int, Meta(ge=0, le=2**53 - 1, examples=[180])] = 1
    unit: Unit | None = None
    """Of the amount; what the service counts in unless given."""
    at: Time | None = None
    """Now unless given."""
    service_context: Fact = ""
    apn: Fact = ""
    rat_type: Number | None = None
    visited: Fact = ""
    location: Fact = ""
    calling: Fact = ""
    called: Fact = ""
    role: Number | None = None
    event_type: Fact = ""
    media: Fact = ""
    charging_characteristics: Fact = ""
    node: Fact = ""
    port_type: Number | None = None
    user_time_zone: Fact = ""
    equipment: Fact = ""
    network: Fact = ""
    """What else the network tells, as tariffs name it: `name=value;name=value`."""


class QuoteBody(Struct, frozen=True):
    """What it would cost now, with the bundles and counters of the account as they are; nothing is touched."""

    priced: bool
    reason: str
    """Why it is not."""
    price: Money | None
    currency: str
    amount: int
    unit: Unit
    tariff: str
    """Tariff, version and rows."""


class EventExplained(Struct, frozen=True):
    """Why a use costs what it does. Bundles and counters are not looked at: `price` is what money would pay alone."""

    subscriber: str
    account: str
    currency: str
    price: Money | None
    blocks: list[str]
    """How that is climbed."""
    explanation: Explanation


class Payment(Struct, frozen=True):
    """An entry that a piece led to, in the order in which buckets paid."""

    seq: int
    bucket: int
    kind: Literal["money", "octets", "seconds", "units"]
    amount: Quantity
    balance_after: Quantity
    net: Money | None
    tax: Money | None
    exchange_rate: str
    """"" for none."""


class CorrectionExplained(Struct, frozen=True):
    """An entry that a later rating led to."""

    seq: int
    time: Time
    amount: Money
    """Above zero was given back, below zero was taken."""
    reason: str


class PieceExplained(Struct, frozen=True):
    """A settled piece, grant, event or refusal, from the records kept of it."""

    usage: str
    """Its reference: "<epoch>-<n>/<line>"."""
    time: Time
    incarnation: int
    """How often its Session-Id was begun; 0: no session."""
    phase: Literal["start", "update", "stop", "event", "record"]
    service: str
    rating_group: int | None
    service_identifier: int | None
    beside: bool
    """Charged beside the line of the same rating group, in another unit."""
    unit: Literal["money", "octets", "seconds", "units"]
    used: int
    set_aside: Quantity
    """Reported and not charged, in `unit`: it is in the list of suspense."""
    set_aside_for: str | None
    """Why; null where nothing was."""
    total: int
    """Of the line, after it."""
    granted: int
    result: str
    flags: list[str]
    cost: Money
    tariff: str
    tags: dict[str, str]
    """Charging tags."""
    ladder: list[str]
    """By which it was priced, as it is kept."""
    counters: dict[str, int]
    """That its steps depend on, as they stood before it."""
    stood: list[str]
    """The same in words."""
    blocks: list[str]
    """How the cost was climbed."""
    reproduced: bool
    """That gives the recorded cost."""
    paid: list[Payment]
    corrections: list[CorrectionExplained]


class SessionExplained(Struct, frozen=True):
    session: str
    account: str
    cost: Money
    corrected: Money
    """What corrections gave back, or below zero took, since."""
    pieces: list[PieceExplained]
    """In the order they were charged in."""
    suspense: list[SuspenseItem]
    """What of it was not charged, and what became of that."""


class EntryExplained(Struct, frozen=True):
    account: str
    seq: int
    time: Time
    amount: Quantity
    why: str
    counter_account: str
    reason: str
    """Why whoever made it did so; "" for what use costs."""
    piece: PieceExplained | None
    """The use that it pays or corrects; None: there is none."""
    rating: Explanation | None
    """Which rows of the tariff price such use, and why the others do not."""
    same_ladder: bool
    """The tariff, asked again with what was on record, makes the ladder that is kept."""
    corrections: list[int]
    """Numbers of the entries that correct or refund it."""
