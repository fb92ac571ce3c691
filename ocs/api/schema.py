"""Types of the API's requests and answers. OpenAPI is made from them (openapi.py), so each description is at its
field."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from balances.ledger.event_data import AccountState, SuspensionReason
from ocs.api.schema_jobs import JobView
from ocs.api.schema_suspense import SuspenseItem
from ocs.api.texts import (
    Money,
    MoneyAboveZero,
    MoneyFromZero,
    Quantity,
    QuantityAboveZero,
    QuantityNotZero,
    Time,
)
from ocs.charging.identity import KINDS
from ocs.patterns import looks
from ocs.tags import ChargingTags

ONE_LINE: Final = "a text without line breaks and other control characters"

Id = Annotated[
    str,
    looks(
        r"[A-Za-z0-9][A-Za-z0-9._:@+-]{0,63}",
        "an id of 1 to 64 letters, digits and . _ : @ + -, which begins with a letter or a digit",
        examples=["family-1"],
    ),
]
Currency = Annotated[
    str, looks("[A-Z]{3}", 'three capital letters such as "EUR"', description="ISO 4217", examples=["EUR"])
]
Identity = Annotated[
    str,
    looks(
        rf"({'|'.join(KINDS)}):[^\x00-\x1f]+",
        f"an identity: {', '.join(f'{kind}:' for kind in KINDS)} and what is behind it",
        max_length=255,
        description="`msisdn:` and `imsi:` with digits, `sip:`, `nai:`, `private:`, `username:`, `mac:`",
        examples=["msisdn:491700000001"],
    ),
]
BillingDay = Annotated[int, Meta(ge=1, le=31)]
After = Annotated[
    str,
    looks("[A-Za-z0-9._:@+-]{0,64}", '"next" of the page before', description="Where the page before ended"),
]
Text = Annotated[str, looks(r"[^\x00-\x1f]*", ONE_LINE, max_length=255)]
Reference = Annotated[
    str,
    looks(
        r"[^\x00-\x1f]*",
        ONE_LINE,
        max_length=255,
        description="Yours, kept and shown. It is not a key: repeats are known by their Idempotency-Key alone",
    ),
]
Reason = Annotated[str, looks(r"[^\x00-\x1f]*", ONE_LINE, min_length=1, max_length=255)]
AttributeName = Annotated[
    str,
    looks(
        "[A-Za-z_][A-Za-z0-9_-]{0,63}",
        "a name of 1 to 64 letters, digits, - and _, which begins with a letter or _",
        examples=["segment"],
    ),
]
AttributeValue = Annotated[
    str, looks(r"[^\x00-\x1f\x7f-\x9f]*", ONE_LINE, min_length=1, max_length=255, examples=["gold"])
]
Tag = Annotated[str, looks("[!-~]{1,64}", "1 to 64 visible ASCII characters without blanks")]
Kind = Literal["money", "octets", "seconds", "units"]
Customer = Annotated[
    str,
    looks(r"[^\x00-\x1f]*", ONE_LINE, max_length=64, description="Your reference of a customer", examples=["C-1007"]),
]
TimeZone = Annotated[str, Meta(max_length=64, examples=["Europe/Berlin"])]
Scope = Annotated[list[Tag], Meta(max_length=16)]
Priority = Annotated[int, Meta(ge=0, le=1000)]
BucketName = Annotated[str, looks(r"[^\x00-\x1f]*", ONE_LINE, max_length=64)]
Hours = Annotated[
    str,
    Meta(
        max_length=255,
        description='Hours of the week on the account\'s clock, such as "00:00-06:00" or "mon-fri 22:00-06:00, sat"',
    ),
]
ValidFor = Annotated[int, Meta(ge=1, le=100 * 366 * 86_400)]
Password = Annotated[str, looks(r"[^\x00-\x1f]*", ONE_LINE, max_length=128)]


class Input(Struct, frozen=True, forbid_unknown_fields=True):
    """A body; a field that is not known is refused, because it was meant to do something."""


class TaggedInput(Input, frozen=True, kw_only=True):
    """A posting."""

    tags: ChargingTags = {}


# --- accounts -----------------------------------------------------------------------------------------------------


class AccountPut(Input, frozen=True):
    """An account. What is left out of an update stays as it is."""

    currency: Currency
    credit_limit: MoneyFromZero | None = None
    """How far below zero the main balance may go; new: 0. To raise it takes `accounts.give-credit`."""
    suspend_below: Money | None = None
    """Suspended for credit below this settled balance; "" in the answer: never."""
    resume_at: Money | None = None
    """Resumed from this settled balance on; new: as suspend_below."""
    time_zone: TimeZone | None = None
    """In which tariffs without a zone of their own see the time; new: UTC."""
    billing_day: BillingDay | None = None
    """On which its billing month begins, for recurring fees; a month without it begins on its last day. New: 1."""
    state: AccountState | None = None
    """`created` only for a new one, which is active from its first use; `closed` only of an empty one (else
    `/v1/accounts/{id}/closing`)."""
    grace_until: Time | None = None
    """With state `grace`, which is served until then and suspended as `overdue` after that."""
    suspend_for: Literal["operator", "barred", "fraud"] | None = None
    """Why, when state is suspended."""
    customer: Customer | None = None
    """Whose it is: accounts of one customer have one statement."""
    tags: Annotated[list[Tag], Meta(max_length=16)] | None = None
    """What accounts are sorted by."""


class BucketMoney(Struct, frozen=True):
    """Money of a bucket of units."""

    id: int
    """By which entries name it, and it is adjusted."""
    amount: Money
    held: Money


BucketPer = Annotated[int, Meta(ge=1, le=2**40)]
"""Units that a price is for."""


class BucketView(Struct, frozen=True):
    id: int
    kind: Kind
    amount: Quantity
    held: Quantity
    """Of `amount`, set aside for grants under way."""
    priority: int
    valid_from: Time | None
    valid_until: Time | None
    valid_for_s: int | None
    """From its first use, which has not been yet."""
    scope: list[str]
    """Services it may pay; empty: all."""
    name: str
    main: bool
    """The one money bucket that may go below zero."""
    bonus: bool
    """Given, not paid for: it pays for use, and is never transferred or paid out."""
    member: str | None
    """The only subscriber it pays for; null: all of the account."""
    blocker: bool
    """What it may pay is paid by nothing behind it: no bucket of a lower priority, and no money after units."""
    hours: str | None
    """When it pays use, on the account's clock; null: at any time."""
    money: BucketMoney | None
    """In the same bucket, for what its units do not pay; null: none."""
    price: Money | None
    """What `per` of its units cost besides, from money; null: nothing."""
    per: int


class CounterView(Struct, frozen=True):
    key: str
    used: int
    held: int
    until: Time | None


class ThresholdView(Struct, frozen=True):
    name: str
    kind: Kind
    below: Quantity | None
    percent: int | None
    rearm: Quantity | None
    rearm_percent: int | None
    bucket: str
    service: str | None
    state: Literal["armed", "crossed"]
    crossed_since: Time | None
    value: Quantity
    """What it looks at now."""
    level: Quantity | None
    """Below which it is crossed now; null: a percentage of buckets that were never filled."""
    tariff: str | None
    """That brings it; null: it is the account's own."""


class ServiceLineView(Struct, frozen=True):
    service: str
    suspend_below: Money
    resume_at: Money
    state: Literal["active", "suspended"]
    suspended_since: Time | None


class AccountView(Struct, frozen=True):
    id: str
    currency: str
    time_zone: str | None
    """null while PostgreSQL, which alone knows it, does not answer."""
    billing_day: int
    """On which its billing month begins."""
    state: AccountState
    suspended_for: list[SuspensionReason]
    grace_until: Time | None
    """When its grace ends."""
    customer: str
    """"" for nobody's."""
    tags: list[str]
    activated: Time | None
    """When it became active; null: it is not yet, or that was before it was kept."""
    balance: Money
    """Settled: holds not subtracted, credit limit not added."""
    held: Money
    available: Money
    """What can still be granted: balance - held + credit limit, of buckets every service may use, up to a blocker."""
    credit_limit: Money
    suspend_below: Money | None
    resume_at: Money | None
    buckets: list[BucketView]
    counters: list[CounterView]
    thresholds: list[ThresholdView]
    """Notification thresholds."""
    services: list[ServiceLineView]
    """With a line of suspension of their own."""
    seq: int
    """Number of the last ledger entry."""
    rev: int
    """Revision of the settings: the ETag."""
    created: Time | None
    """null likewise."""


class AccountRef(Struct, frozen=True):
    id: str
    currency: str
    time_zone: str
    created: Time
    customer: str
    tags: list[str]
    state: AccountState | None
    """As of its last record in PostgreSQL, which follows within a second; null: it has none yet."""
    suspended_for: list[SuspensionReason]
    free: Money | None
    """Money that any service may use and nothing holds, likewise; below zero: debt."""


class AccountPage(Struct, frozen=True):
    items: list[AccountRef]
    next: str | None
    """Give it as `after` for the next page; null at the end."""


# --- postings -----------------------------------------------------------------------------------------------------


class TopUp(TaggedInput, frozen=True):
    amount: QuantityAboveZero
    kind: Kind = "money"
    valid_from: Time | None = None
    valid_until: Time | None = None
    valid_for_s: ValidFor | None = None
    """Its validity begins with its first use and ends so many seconds later; instead of valid_until."""
    scope: Scope = []
    """Services it may pay; empty: all."""
    priority: Priority | None = None
    """Lower pays first; bonuses and bundles 50, the main balance 100."""
    name: BucketName = ""
    bonus: bool = False
    """Given, not paid for: it pays for use, and is never transferred or paid out."""
    member: Id | None = None
    """The only subscriber it pays for; left out: all of the account."""
    blocker: bool = False
    """What it may pay is paid by nothing behind it: no bucket of a lower priority, and no money after units."""
    hours: Hours | None = None
    """When it pays use, on the account's clock; left out: at any time."""
    money: MoneyAboveZero | None = None
    """Of octets, seconds or units: so much money in the same bucket. It pays what they do not, for the same services
    and as long."""
    price: MoneyAboveZero | None = None
    """Of octets, seconds or units: what `per` of them cost besides, from money that may pay the same services."""
    per: BucketPer = 1
    reference: Reference = ""
    offer: Id | None = None
    """Of money for the main balance: what `/v1/top-up-offers/{id}` of this name gives comes with it."""


class BucketPut(Input, frozen=True):
    """What is set of a bucket that is there."""

    blocker: bool
    """False lifts the block: what is behind it pays again."""


class Adjustment(TaggedInput, frozen=True):
    amount: QuantityNotZero
    """Below zero to take away."""
    reason: Reason
    bucket: Annotated[int, Meta(ge=0, le=2**31)] = 0
    """0 is the main balance."""
    reference: Reference = ""
    force: bool = False
    """Take what is held too: needs the permission `accounts.adjust-held`."""


class WantedTransfer(TaggedInput, frozen=True):
    amount: QuantityAboveZero
    to: Annotated[int, Meta(ge=0, le=2**31)]
    """A bucket of the same kind, that has not ended."""
    reason: Reason
    from_: Annotated[int, Meta(ge=0, le=2**31)] = msgspec.field(default=0, name="from")
    """0 is the main balance."""
    reference: Reference = ""


class PostedEntry(Struct, frozen=True):
    seq: int
    bucket: int
    kind: Kind
    amount: Quantity
    balance_after: Quantity
    """Of the bucket."""
    counter_account: str
    why: str


class PostingView(Struct, frozen=True):
    account: str
    key: str
    """The Idempotency-Key."""
    entries: list[PostedEntry]
    balance: Money
    """Settled money of the account afterwards."""
    state: AccountState


class Closing(TaggedInput, frozen=True):
    """An account is closed, with all that it still has."""

    reason: Reason
    remainder: Literal["payout", "write-off"] | None = None
    """What becomes of what is left. `payout`: own money is paid out, bonus money and units are written off;
    `write-off`: all is, a debt too; left out: an account that is not empty is not closed."""
    reference: Reference = ""


class LedgerEntry(Struct, frozen=True):
    seq: int
    time: Time
    """Of posting: periods count by it."""
    event_time: Time
    """Of use when it was used; of anything else the same."""
    bucket: int
    kind: Kind
    amount: Quantity
    balance_after: Quantity
    counter_account: str
    why: str
    session: str
    incarnation: int
    """How often its Session-Id was begun; 0: no session."""
    service: str
    subscriber: str
    actor: str
    reason: str
    reference: str
    net: Money | None
    tax: Money | None
    """Of `amount`; null where its tariff says nothing of tax."""
    exchange_rate: str
    """By which a price in another currency came to `amount`; "" for none."""
    original_seq: int | None
    """The entry that this one corrects or refunds."""
    tags: dict[str, str]


class LedgerPage(Struct, frozen=True):
    items: list[LedgerEntry]
    next_after_seq: int | None
    """Give it as `after_seq` for the next page; null at the end."""
    next_before_seq: int | None
    """The same as `before_seq`, where the newest come first."""
    kept_from: Time | None = None
    """Entries before this instant are not kept any more; null: all are."""


# --- subscribers --------------------------------------------------------------------------------------------------


class AssignmentView(Input, frozen=True, rename={"from_": "from"}):
    """A tariff, and from when until when it is in force; without bounds: always. The first that has a price counts."""

    tariff: Id
    from_: Time | None = None
    until: Time | None = None


class SubscriberPut(Input, frozen=True):
    account: Id
    identities: Annotated[list[Identity], Meta(max_length=32)]
    tariffs: Annotated[list[AssignmentView], Meta(max_length=32)]
    password: Password | None = None
    """For RADIUS; never shown. Left out: stays as it is; "": none."""
    barred: bool = False
    """Refused (4010), whatever its account has; what it used is still settled."""
    attributes: Annotated[dict[AttributeName, AttributeValue], Meta(max_length=32)] = {}
    """What tariffs may ask of the subscriber (segment, contract, a price of its own), and what a NAS is told of it by
    RADIUS (framed_ip_address, filter_id, session_timeout). Left out: none."""
    payers: Annotated[dict[Tag, Id], Meta(max_length=16)] = {}
    """By service, the account that pays for it in the place of `account`. Left out: none."""
    tags: ChargingTags = {}
    """Charging tags of all that the subscriber is charged: they stand on entries and usage records."""


class SubscriberView(Struct, frozen=True):
    id: str
    account: str
    identities: list[str]
    tariffs: list[AssignmentView]
    barred: bool
    attributes: dict[str, str]
    payers: dict[str, str]
    """By service, the account that pays for it in the place of `account`."""
    tags: dict[str, str]
    """Charging tags of all that it is charged."""
    version: int
    """The ETag."""
    created: Time


class Found(Struct, frozen=True):
    """At most 100 of each."""

    accounts: list[AccountRef]
    """Those of the subscribers found are among them."""
    subscribers: list[SubscriberView]


class SubscriberPage(Struct, frozen=True):
    items: list[SubscriberView]
    next: str | None


# --- sessions -----------------------------------------------------------------------------------------------------


class SessionLine(Struct, frozen=True):
    rating_group: int | None
    service_identifier: int | None
    unit: Kind
    used: int
    granted: int
    """Granted and not reported yet."""
    debited: Money
    held: Money
    """Money held for it; unit buckets are not counted here."""
    hold_expires: Time | None
    final: bool
    """Waits for money: the network was told that these are the last units, or was refused."""
    tariff: str


class SessionView(Struct, frozen=True):
    id: str
    """Names it in this API."""
    session_id: str
    """As the network says it."""
    sub_session_id: int | None
    incarnation: int
    """How often the Session-Id was begun: a client may use it again."""
    account: str
    subscriber: str
    service: str
    state: Literal["open", "closed", "refused", "abandoned", "unknown"]
    peer: str
    realm: str
    via: str
    opened: Time
    touched: Time
    lines: list[SessionLine]
    suspense: list[SuspenseItem] | None = None
    """What it reported and was not charged; null in lists, and while PostgreSQL does not answer."""
    jobs: list[JobView] | None = None
    """What the network was told of it, the newest first; null likewise."""


class SessionPage(Struct, frozen=True):
    items: list[SessionView]
    next: str | None
    """Give it as `after` for the next page; null at the end."""


class PeerView(Struct, frozen=True):
    name: str
    """Its Origin-Host; `guest` for all that are not configured."""
    configured: bool
    reuses_numbers: bool
    session_id_not_unique: bool
    tariff_change: bool
    marks: dict[str, int]
    """What was unusual about its requests, and how often since the store was set up."""


class PeerPage(Struct, frozen=True):
    items: list[PeerView]


class PushView(Struct, frozen=True):
    """What became of a request sent to a network element."""

    session: str
    result: str
    """A Result-Code, `no-route` or `timeout`."""
    host: str


# --- the ledger ---------------------------------------------------------------------------------------------------


class FindingView(Struct, frozen=True):
    what: str
    account: str
    detail: str


class Proof(Struct, frozen=True):
    """What `ocs ledger verify` found."""

    sound: bool
    accounts: int
    """Compared with Redis."""
    absent: int
    """Only in PostgreSQL: they come back when they are needed."""
    entries: int
    dropped: int
    """Entries of months that were dropped: what they were closed with stands for them."""
    recovered: int
    """Entries that stand for what a restored backup had lost."""
    orphaned: int
    """Records that never reached PostgreSQL and were taken back."""
    sums: dict[str, dict[str, Quantity]]
    """Per currency or unit: what came from (below zero) and went to each counter account."""
    findings: list[FindingView]


class Rebuilt(Struct, frozen=True):
    accounts: int
    """Brought into Redis, which did not have them."""


# --- the server ---------------------------------------------------------------------------------------------------


class Health(Struct, frozen=True):
    status: Literal["ok", "degraded", "unavailable"]
    checks: dict[str, str]
