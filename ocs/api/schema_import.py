"""What an import takes, line by line, and what it answers."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from balances.ledger.event_data import AccountState, SuspensionReason
from balances.structs.thresholds import THRESHOLDS_MAX
from ocs.api import schema
from ocs.api.schema_limits import LimitPut
from ocs.api.schema_thresholds import ServiceLinePut, ThresholdPut
from ocs.api.schema_vouchers import VoucherBatchPut
from ocs.api.texts import Money, MoneyAboveZero, MoneyFromZero, QuantityFromZero, Time
from ocs.master.vouchers import LOT
from ocs.patterns import looks
from ocs.tags import ChargingTags
from tariffs.limits import LIMITS_MAX


class ImportBucket(schema.Input, frozen=True, omit_defaults=True):
    """A bucket that a new account begins with, beside its main balance."""

    amount: QuantityFromZero
    """More than zero, but of a blocker that is used up, or beside money."""
    kind: schema.Kind = "money"
    name: schema.BucketName = ""
    scope: schema.Scope = msgspec.field(default_factory=list)
    priority: schema.Priority | None = None
    valid_from: Time | None = None
    valid_until: Time | None = None
    valid_for_s: schema.ValidFor | None = None
    bonus: bool = False
    """Given, not paid for."""
    member: schema.Id | None = None
    """The only subscriber it pays for."""
    filled: QuantityFromZero | None = None
    """What percentages are of; else its amount."""
    blocker: bool = False
    """What it may pay is paid by nothing behind it."""
    hours: schema.Hours | None = None
    """When it pays use, on the account's clock."""
    money: MoneyFromZero | None = None
    """Of octets, seconds or units: money in the same bucket."""
    money_filled: MoneyFromZero | None = None
    """What percentages of that money are of; else that money."""
    price: MoneyAboveZero | None = None
    """Of octets, seconds or units: what `per` of them cost besides."""
    per: schema.BucketPer = 1


class ImportThreshold(ThresholdPut, frozen=True, kw_only=True, omit_defaults=True):
    """A notification threshold of its own that a new account begins with."""

    name: str


class ImportServiceLine(ServiceLinePut, frozen=True, kw_only=True, omit_defaults=True):
    """A service with a line of suspension of its own."""

    service: schema.Tag


class ImportLimit(LimitPut, frozen=True, kw_only=True, omit_defaults=True):
    """A limit of what is spent or used in a period. Nothing is used of it yet."""

    name: schema.Tag


Limits = Annotated[list[ImportLimit], Meta(max_length=LIMITS_MAX)]


Day = Annotated[str, looks(r"\d{4}-\d{2}-\d{2}", "a day such as 2026-12-01")]


class ImportFee(schema.Input, frozen=True, omit_defaults=True):
    """A recurring fee that goes on from where it was."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    began: Time
    settled: Day | None = None
    """The first day that is not paid; left out: none is."""


class ImportFees(schema.Input, frozen=True, kw_only=True, omit_defaults=True):
    """Recurring fees of an assignment that the line has."""

    tariff: schema.Id
    from_: Time | None = msgspec.field(name="from", default=None)
    """As the assignment says."""
    began: Time
    """When the assignment began: periods that are counted from there go on."""
    fees: Annotated[list[ImportFee], Meta(min_length=1, max_length=16)]


COUNTERS_MAX: Final = 5_000
Serial = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Digest = Annotated[str, looks("[0-9a-f]{64}", "32 octets in hexadecimal")]


class ImportCounter(schema.Input, frozen=True, omit_defaults=True):
    """What was used of a limit or of a tier of a tariff, in the period that runs."""

    key: Annotated[str, looks(r"[^\x00-\x1f\x7f]{1,512}", "a key on one line", examples=["limit=anna|abroad|2026-12"])]
    """As the account has it: of a limit "limit=", its subscriber ("" for all together), name and period."""
    used: Annotated[int, Meta(ge=0, le=2**53 - 1)]
    """Micro-units of money, else whole units."""
    until: Time | None = None
    """When its period or window ends; left out: never."""
    window: Literal["renews", "once"] | None = None
    """Of one that runs from its first use: what comes after its end."""


class ImportFeePart(schema.Input, frozen=True, omit_defaults=True):
    amount: MoneyFromZero
    bucket: Annotated[int, Meta(ge=-1, le=64)] = 0
    """What paid it: 0 the main one, 1 the first of `buckets` and so on, money of units counted by itself; -1: one that
    is gone."""


class ImportFeeUnits(schema.Input, frozen=True):
    name: Annotated[str, Meta(max_length=64)]
    """Of the included units."""
    bucket: Annotated[int, Meta(ge=1, le=64)]
    """Likewise."""


class ImportPaidFee(schema.Input, frozen=True, kw_only=True, omit_defaults=True):
    """What was paid of a recurring fee's period that runs, and given with it."""

    subscriber: schema.Id
    tariff: schema.Id
    began: Time
    """When the assignment began."""
    name: Annotated[str, Meta(min_length=1, max_length=64)]
    from_: Day = msgspec.field(name="from")
    """First day of that period."""
    settled: Day
    """First day that is not paid; that of `from`: it is not paid in full."""
    paid: Annotated[list[ImportFeePart], Meta(max_length=64)] = msgspec.field(default_factory=list)
    """In the order in which it was paid."""
    price: Annotated[str, Meta(max_length=1024)] = ""
    """What the whole period costs, as the server wrote it."""
    given: bool = False
    """Its units were given, though it is not paid: grace."""
    suspends: bool = False
    """The account is suspended while it is not paid."""
    units: Annotated[list[ImportFeeUnits], Meta(max_length=64)] = msgspec.field(default_factory=list)


class ImportAccount(schema.Input, frozen=True, omit_defaults=True):
    """An account to be opened. Of one that exists, what is said here must be what it was opened with."""

    id: schema.Id
    currency: schema.Currency
    time_zone: schema.TimeZone | None = None
    billing_day: schema.BillingDay | None = None
    credit_limit: MoneyFromZero | None = None
    suspend_below: Money | None = None
    resume_at: Money | None = None
    balance: Money | None = None
    """What its main balance begins with; below zero a debt."""
    filled: MoneyFromZero | None = None
    """What percentages of the main balance are of; else what it begins with."""
    created: bool | None = None
    """Opened before anybody uses it: active from its first use."""
    state: AccountState | None = None
    """That it begins in; else as its balance says."""
    suspended_for: Annotated[list[SuspensionReason], Meta(max_length=6)] | None = None
    """Why; needed with state: suspended, and only with it."""
    grace_until: Time | None = None
    """Needed with state: grace; with suspended where its grace goes on."""
    customer: schema.Customer | None = None
    tags: Annotated[list[schema.Tag], Meta(max_length=16)] | None = None
    buckets: Annotated[list[ImportBucket], Meta(max_length=32)] | None = None
    thresholds: Annotated[list[ImportThreshold], Meta(max_length=THRESHOLDS_MAX)] | None = None
    services: Annotated[list[ImportServiceLine], Meta(max_length=THRESHOLDS_MAX)] | None = None
    limits: Limits | None = None
    """Of all its subscribers together."""
    counters: Annotated[list[ImportCounter], Meta(max_length=COUNTERS_MAX)] | None = None
    """What was used of limits and tiers; else nothing."""
    fees: Annotated[list[ImportPaidFee], Meta(max_length=512)] | None = None
    """What was paid of the periods of recurring fees that run."""


class ImportSubscriber(schema.Input, frozen=True, omit_defaults=True):
    """A subscriber to be created. Of one that exists, what is said here must be so."""

    id: schema.Id
    account: schema.Id | None = None
    """Who pays; left out: the account of the same line."""
    identities: Annotated[list[schema.Identity], Meta(max_length=32)] | None = None
    tariffs: Annotated[list[schema.AssignmentView], Meta(max_length=32)] | None = None
    password: schema.Password | None = None
    stored_password: Annotated[str, Meta(max_length=1024)] | None = None
    """Instead: as a server kept it, sealed by the same `sealing_keys`, or hashed."""
    barred: bool | None = None
    attributes: Annotated[dict[schema.AttributeName, schema.AttributeValue], Meta(max_length=32)] | None = None
    payers: Annotated[dict[schema.Tag, schema.Id], Meta(max_length=16)] | None = None
    """By service, the account that pays for it in the place of `account`."""
    tags: ChargingTags | None = None
    limits: Limits | None = None
    fees: Annotated[list[ImportFees], Meta(max_length=32)] | None = None
    """How far recurring fees are; of a new subscriber only."""


class ImportVoucherBatch(VoucherBatchPut, frozen=True, kw_only=True):
    """A batch of vouchers, without them. Of one that exists its state and `exported` are not looked at."""

    id: schema.Id
    state: Literal["made", "active", "blocked"]
    exported: Time | None = None
    """When its codes went out in clear, on the server that it comes from: they go out no more."""


class ImportRedeemed(schema.Input, frozen=True):
    serial: Serial
    time: Time
    account: Annotated[str, Meta(max_length=64)]


class ImportVouchers(schema.Input, frozen=True, omit_defaults=True):
    """Up to 1,000 vouchers of a batch that is there. Of those that exist only their codes are compared."""

    batch: schema.Id
    first: Serial
    """Serial number of the first; the others follow one by one."""
    digests: Annotated[list[Digest], Meta(min_length=1, max_length=LOT)]
    """What their codes are stored as: without the key of vouchers of both servers nobody can make a code of one."""
    blocked: Annotated[list[Serial], Meta(max_length=LOT)] = msgspec.field(default_factory=list)
    redeemed: Annotated[list[ImportRedeemed], Meta(max_length=LOT)] = msgspec.field(default_factory=list)
    """On the server that they come from: nothing is credited for these."""
    sealed: Annotated[str, Meta(max_length=200_000)] = ""
    """Their codes, sealed by that key, while nobody has them in clear."""


class ImportLine(schema.Input, frozen=True, omit_defaults=True):
    """One line: an account, a subscriber or both, which go in together or not at all; or a batch of vouchers, or some
    of its vouchers."""

    account: ImportAccount | None = None
    subscriber: ImportSubscriber | None = None
    voucher_batch: ImportVoucherBatch | None = None
    vouchers: ImportVouchers | None = None


class ImportCounts(Struct, frozen=True):
    """Of all lines up to this one."""

    lines: int
    errors: int
    accounts_created: int
    accounts_unchanged: int
    subscribers_created: int
    subscribers_unchanged: int
    vouchers_created: int
    vouchers_unchanged: int
    given: dict[str, Money]
    """Money that new accounts began with, by currency."""


class ImportRefusal(Struct, frozen=True, tag="error", tag_field="event"):
    """A line that did not go in."""

    line: int
    """From 1; that of CSV with the header is 1."""
    field: str
    problem: str
    """As `type` of a refusal: never changes."""
    detail: str


class ImportProgress(ImportCounts, frozen=True, tag="progress", tag_field="event"):
    """So far everything is done, and stays."""


class ImportDone(ImportCounts, frozen=True, tag="done", tag_field="event"):
    """The last line, when all of it was read."""

    checked: bool
    """Only looked at: nothing was changed."""
    errors_not_shown: int


class ImportStopped(ImportCounts, frozen=True, tag="stopped", tag_field="event"):
    """The last line, when it could not go on: do the same import again, it goes on where this one ended."""

    problem: str
    detail: str


ImportEvent = ImportRefusal | ImportProgress | ImportDone | ImportStopped
