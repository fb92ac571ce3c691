"""The resources of TMF654 v4 as they are given: what is not known, or not asked for with `fields`, is left out."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from ocs.patterns import looks
from ocs.tmf654.words import ActionStatus, BucketStatus, UsageType

Number = Annotated[Decimal, Meta(description="Exact, as it is written: read it as a decimal number")]
When = Annotated[str, Meta(description="RFC 3339", examples=["2026-11-30T07:10:26.214Z"])]


class TmfQuantity(Struct, frozen=True):
    amount: Number
    units: Annotated[str, Meta(examples=["EUR", "octets"])]
    """The currency of the account; octets, seconds or units."""


class TmfRef(Struct, frozen=True, omit_defaults=True):
    """A reference to something, by its id."""

    id: Annotated[
        str, looks(r"[^\x00-\x1f]*", "a text without line breaks and other control characters", examples=["demo-1:0"])
    ]
    href: str | None = None
    name: str | None = None
    role: str | None = None
    referred_type: str | None = msgspec.field(name="@referredType", default=None)


class TmfPeriod(Struct, frozen=True, omit_defaults=True, rename="camel"):
    start_date_time: When | None = None
    end_date_time: When | None = None


class TmfBucket(Struct, frozen=True, omit_defaults=True, rename="camel", kw_only=True):
    """A bucket of an account; it is read here, and made by a top-up or opened with its account."""

    id: Annotated[str, Meta(examples=["demo-1:0"])]
    """The account, a colon, and the number of the bucket in it; 0 is its main one."""
    href: str
    name: str | None = None
    description: str | None = None
    """What its units cost besides, from money: "0.02 EUR for 60 seconds"; left out: nothing."""
    is_shared: bool | None = None
    """false: only one subscriber of the account may use it."""
    remaining_value: TmfQuantity | None = None
    """What nobody holds: it and `reservedValue` together are the balance of the ledger."""
    remaining_value_name: str | None = None
    reserved_value: TmfQuantity | None = None
    status: BucketStatus | None = None
    usage_type: UsageType | None = None
    valid_for: TmfPeriod | None = None
    party_account: TmfRef | None = None
    related_party: list[TmfRef] | None = None
    type: Literal["Bucket"] | None = msgspec.field(name="@type", default=None)


class TmfAccumulatedBalance(Struct, frozen=True, omit_defaults=True, rename="camel", kw_only=True):
    """What all buckets of one kind that an account may use now have together."""

    id: Annotated[str, Meta(examples=["demo-1:monetary"])]
    href: str
    name: str | None = None
    bucket: list[TmfRef] | None = None
    total_balance: TmfQuantity | None = None
    """Without what is held."""
    usage_type: UsageType | None = None
    party_account: TmfRef | None = None
    related_party: list[TmfRef] | None = None
    type: Literal["AccumulatedBalance"] | None = msgspec.field(name="@type", default=None)


class TmfAction(Struct, frozen=True, omit_defaults=True, rename="camel", kw_only=True):
    """What was done with a balance."""

    id: str
    href: str
    status: ActionStatus | None = None
    amount: TmfQuantity | None = None
    bucket: TmfRef | None = None
    usage_type: UsageType | None = None
    description: str | None = None
    """Our `reference`."""
    reason: str | None = None
    requested_date: When | None = None
    confirmation_date: When | None = None
    requestor: TmfRef | None = None
    """The caller who asked for it."""
    party_account: TmfRef | None = None


class TmfTopupBalance(TmfAction, frozen=True, omit_defaults=True, rename="camel", kw_only=True):
    type: Literal["TopupBalance"] | None = msgspec.field(name="@type", default=None)


class TmfAdjustBalance(TmfAction, frozen=True, omit_defaults=True, rename="camel", kw_only=True):
    adjust_type: Literal["oneTime"] | None = None
    type: Literal["AdjustBalance"] | None = msgspec.field(name="@type", default=None)


class TmfTransferBalance(TmfAction, frozen=True, omit_defaults=True, rename="camel", kw_only=True):
    receiver_bucket: TmfRef | None = None
    receiver_bucket_usage_type: UsageType | None = None
    type: Literal["TransferBalance"] | None = msgspec.field(name="@type", default=None)


class TmfReserveBalance(TmfAction, frozen=True, omit_defaults=True, rename="camel", kw_only=True):
    """`amount` is what is held now, or was debited in the end."""

    valid_for: TmfPeriod | None = None
    """Until when it is held."""
    logical_resource: list[TmfRef] | None = None
    type: Literal["ReserveBalance"] | None = msgspec.field(name="@type", default=None)


class TmfBalanceAction(TmfAction, frozen=True, omit_defaults=True, rename="camel", kw_only=True):
    """An action in the history, with one item for each entry of the ledger: what was taken is below zero."""

    type: Literal["TopupBalance", "AdjustBalance", "TransferBalance"] | None = msgspec.field(name="@type", default=None)


class TmfError(Struct, frozen=True, rename="camel", kw_only=True):
    """Why something was not done."""

    code: Annotated[str, Meta(examples=["insufficient-funds"])]
    """Never changes."""
    reason: str
    message: str
    """What is the matter this time."""
    status: Annotated[str, Meta(examples=["409"])]
    reference_error: str
    """The same code as the `type` of /v1."""
    type: Literal["Error"] = msgspec.field(name="@type", default="Error")
