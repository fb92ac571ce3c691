"""Bodies and answers about vouchers."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from ocs.api.schema import (
    BucketName,
    Currency,
    Id,
    Identity,
    Input,
    Kind,
    PostingView,
    Priority,
    Reference,
    Scope,
    TaggedInput,
    ValidFor,
)
from ocs.api.texts import Quantity, QuantityAboveZero, Time
from ocs.backoffice.vouchers import COUNT_MAX
from ocs.patterns import looks

Code = Annotated[
    str,
    looks(
        "[0-9A-Za-z -]{4,96}",
        "4 to 96 letters and digits, with blanks and dashes between them",
        examples=["3A7KD-9FGHT-WXC4P"],
    ),
]
VoucherState = Literal["made", "active", "blocked", "redeemed", "expired", "moved"]
BatchState = Literal["made", "active", "blocked", "moved"]


class VoucherBatchPut(Input, frozen=True, kw_only=True):
    """A batch: what each of its vouchers is worth, and how its codes look. Never changed afterwards."""

    amount: QuantityAboveZero
    kind: Kind = "money"
    currency: Currency | None = None
    """Of money, where it is needed."""
    valid_for_s: ValidFor | None = None
    """What is credited ends so long after it was redeemed; a bucket of its own."""
    from_first_use: bool = False
    """`valid_for_s` begins with the first use instead."""
    priority: Priority = 50
    """Of that bucket: lower pays first."""
    scope: Scope = field(default_factory=list)
    """Services that it may pay; empty: all."""
    name: BucketName = ""
    expires: Time | None = None
    """The codes can be redeemed until then."""
    count: Annotated[int, Meta(ge=0, le=COUNT_MAX)]
    """How many; 0 with `imported` codes."""
    codes: Literal["letters", "digits", "imported"] = "letters"
    """Letters and digits without look-alikes; digits for keypads; or made elsewhere."""
    length: Annotated[int, Meta(ge=4, le=64)] | None = None
    """Characters of a code with its check character; as many as 64 bits of randomness take, unless given."""
    reference: Reference = ""
    offer: Id | None = None
    """A top-up offer: the money goes to the main balance, with what the offer gives when it is redeemed."""


class VoucherBatchView(Struct, frozen=True):
    id: str
    state: BatchState
    kind: Kind
    amount: Quantity
    currency: str | None
    valid_for_s: int | None
    from_first_use: bool
    priority: int
    scope: list[str]
    name: str
    expires: Time | None
    codes: Literal["letters", "digits", "imported"]
    length: int
    count: int
    made: int
    """How many there are; fewer than `count`: the making was cut off, PUT it again."""
    redeemed: int
    credited: int
    """Of those redeemed, how many are in the ledger already."""
    blocked: int
    """One by one."""
    outstanding: int
    """Neither redeemed nor blocked one by one."""
    redeemed_value: Quantity
    outstanding_value: Quantity
    reference: str
    offer: str | None
    created: Time
    created_by: str
    exported: Time | None
    """When its plain codes went out, after which they are not kept."""


class VoucherBatchPage(Struct, frozen=True):
    items: list[VoucherBatchView]
    next: str | None


class BatchStatePut(Input, frozen=True):
    state: Literal["active", "blocked", "moved"]
    """moved: to another server; none of its vouchers is good here any more."""
    take_back: bool = False
    """Of one that was moved: it is good here again, and is to be no more where it went."""


class CodesToImport(Input, frozen=True):
    codes: Annotated[list[Code], Meta(min_length=1, max_length=10_000)]


class CodesImported(Struct, frozen=True):
    batch: str
    made: int
    """Vouchers of the batch now."""
    known: int
    """Of these codes, how many it had before."""


class VoucherView(Struct, frozen=True):
    batch: str
    serial: int
    state: VoucherState
    kind: Kind
    amount: Quantity
    currency: str | None
    expires: Time | None
    account: str | None
    """Who redeemed it."""
    redeemed: Time | None
    redeemed_by: str | None
    """The caller."""
    source: str | None
    reference: str | None
    credited: Time | None
    entry: int | None
    """Its number in the ledger of the account, once it is copied."""


class VoucherPage(Struct, frozen=True):
    items: list[VoucherView]
    next: int | None


class Redemption(TaggedInput, frozen=True, kw_only=True):
    """Who it is for: an account, a subscriber by id, or by one of its identities."""

    code: Code
    account: Id | None = None
    subscriber: Id | None = None
    identity: Identity | None = None
    source: Annotated[str, looks(r"[^\x00-\x1f]*", "a text on one line", max_length=64)] = ""
    """Where the code was typed: a number, an address. Wrong codes are counted for it too."""
    reference: Reference = ""


class RedemptionView(Struct, frozen=True):
    batch: str
    serial: int
    amount: Quantity
    kind: Kind
    posting: PostingView


class CodeToFind(Input, frozen=True):
    code: Code


class ExportedCode(Struct, frozen=True):
    """A line of the export."""

    serial: int
    code: str
