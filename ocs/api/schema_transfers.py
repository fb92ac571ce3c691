"""Bodies and answers of transfers between accounts."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from ocs.api import schema
from ocs.api.texts import Money, MoneyAboveZero, Time

TransferStateName = Literal["ordered", "sent", "refused", "received", "returned"]


class TransferOrder(schema.TaggedInput, frozen=True):
    """Own money of one account for another one of the same currency."""

    from_: schema.Id = msgspec.field(name="from")
    to: schema.Id
    amount: MoneyAboveZero
    reason: schema.Reason
    reference: schema.Reference = ""


class Merging(schema.TaggedInput, frozen=True):
    """An account ends; another one of its currency gets its subscribers and all it has."""

    into: schema.Id
    reason: schema.Reason
    reference: schema.Reference = ""


class TransferView(Struct, frozen=True):
    id: str
    from_: str = msgspec.field(name="from")
    to: str
    amount: Money
    currency: str
    state: TransferStateName
    """`sent` and `refused`: on its way, there or back. `received`: done. `returned`: the other account did not take
    it. `ordered`: a merge that waits while something of the account is held."""
    merge: bool
    """All that the account had went, and the account was closed; `amount` is the money of it, below zero a debt."""
    sent: Time | None
    ended: Time | None
    sent_seq: int | None
    """Entry of the account it left."""
    ended_seq: int | None
    """Entry that took it in, or back."""
    actor: str
    reason: str
    reference: str
    tags: dict[str, str]


class TransferPage(Struct, frozen=True):
    items: list[TransferView]
    next: Annotated[str | None, Meta(description="`before` of the next page")]
