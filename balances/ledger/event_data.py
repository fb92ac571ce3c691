"""What the events that follow from a record of the ledger tell: the `data` of each type, as it is sent.

Money is decimal text, other amounts are whole numbers in text, times are RFC 3339. A field may be added at any time;
one that changes its meaning, or goes, makes a new version of its type (ocs/events/types.py).
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from tariffs.units import Kind

AmountKind = Literal["money", "octets", "seconds", "units"]
AccountState = Literal["created", "active", "suspended", "grace", "closed"]
SuspensionReason = Literal["credit", "barred", "fraud", "operator", "overdue", "fee"]


KIND_WORDS: Final[dict[int, AmountKind]] = {
    Kind.MONEY: "money",
    Kind.OCTETS: "octets",
    Kind.SECONDS: "seconds",
    Kind.UNITS: "units",
}


class AccountOpened(Struct, frozen=True):
    """An account was opened, with what it begins with."""

    account: str
    currency: str
    balance: str
    """Of the main bucket."""
    actor: str


class AccountActivated(Struct, frozen=True):
    """An account that was created is active: by its first use, or by hand."""

    account: str
    subscriber: str
    """Who used it; empty: nobody, it was done by hand."""
    service: str
    session: str
    actor: str
    """Who did it; empty: the first use."""


class AccountWasClosed(Struct, frozen=True):
    """An account was closed by hand, with what it had."""

    account: str
    actor: str
    reason: str


class AccountReopened(Struct, frozen=True):
    """An account that was closed is served again."""

    account: str
    actor: str


class AccountSettingsChanged(Struct, frozen=True):
    """An account was changed by hand: state, credit limit and line of suspension as they are now. Also told when its
    notification thresholds or lines of services were, which stand with the account."""

    account: str
    currency: str
    state: AccountState
    suspended_for: list[SuspensionReason]
    credit_limit: str
    suspend_below: str | None
    resume_at: str | None
    revision: int
    actor: str
    reason: str
    grace_until: str | None
    """When its grace ends; null: it is in none."""


class AccountSuspended(Struct, frozen=True):
    """An account that was active is served no more, for the reasons named."""

    account: str
    reasons: list[SuspensionReason]
    currency: str
    balance: str
    """Money of all buckets, holds not subtracted."""
    actor: str
    """Who did it; empty: the balance fell below `suspend_below`, a grace has ended, or a recurring fee is not paid."""


class AccountResumed(Struct, frozen=True):
    """No reason to suspend the account is left."""

    account: str
    currency: str
    balance: str
    """Money of all buckets, holds not subtracted."""
    actor: str
    """Who did it; empty: the balance reached `resume_at`, or the fee is paid."""


class ServiceSuspended(Struct, frozen=True):
    """The balance fell below the line of a service, which is served no more; other services are."""

    account: str
    service: str
    currency: str
    level: str
    """That line."""
    value: str
    """The balance after the call that crossed it."""


class ServiceResumed(Struct, frozen=True):
    """The balance reached the line at which a service is served again."""

    account: str
    service: str
    currency: str
    level: str
    value: str


class ThresholdCrossed(Struct, frozen=True):
    """A balance fell below a notification threshold; nothing is refused for it."""

    account: str
    threshold: str
    """Its name."""
    kind: AmountKind
    bucket: str
    """Name of the buckets it looks at; empty: all."""
    currency: str
    level: str
    """What was crossed; of a percentage what it came to."""
    value: str
    """What there was after the call that crossed it."""


class ThresholdCleared(Struct, frozen=True):
    """A notification threshold that was crossed is armed again: there is enough above it."""

    account: str
    threshold: str
    kind: AmountKind
    bucket: str
    currency: str
    level: str
    value: str


class LimitReached(Struct, frozen=True):
    """A spending limit was reached: nothing more is granted by it until its period ends."""

    account: str
    subscriber: str
    """Whose it is; empty: of all subscribers of the account together."""
    limit: str
    """Its name."""
    period: str
    """Key of the period, such as 2026-11; empty: it is for ever."""
    kind: AmountKind
    currency: str
    level: str
    """The limit."""
    value: str
    """What was used in the period, settled."""


class LimitCleared(Struct, frozen=True):
    """A spending limit that was reached has room again: its period has ended, it is higher now, or something was given
    back."""

    account: str
    subscriber: str
    limit: str
    period: str
    """In which it was reached."""


class ChangedBalance(Struct, frozen=True):
    """One change of one bucket."""

    entry: int
    """Number of the entry in the ledger of the account."""
    bucket: int
    bucket_name: str
    kind: AmountKind
    amount: str
    """Below zero: it was taken."""
    after: str
    counter_account: str
    why: str


class BalanceChanged(Struct, frozen=True):
    """Buckets of an account changed: all the changes of one call, in order."""

    account: str
    currency: str
    changes: list[ChangedBalance]
    session: str
    """Empty: none."""
    subscriber: str
    service: str
    reference: str


class BucketExpired(Struct, frozen=True):
    """A bucket ended with something left in it, which nobody can use any more."""

    account: str
    bucket: int
    kind: AmountKind
    currency: str
    amount: str
    """What was left."""


class FeeCharged(Struct, frozen=True):
    """A recurring fee was taken, or a part of what was owed of it."""

    account: str
    subscriber: str
    tariff: str
    fee: str
    """Its name."""
    from_day: str
    """First day of the period, 2026-11-01."""
    until_day: str
    """First day after it; "ever" of a fee that is due once."""
    currency: str
    amount: str
    """Taken now."""
    outstanding: str
    """What is still to be paid of the period."""


class FeeReturned(Struct, frozen=True):
    """An assignment ended: what was paid in advance for days after its end was given back."""

    account: str
    subscriber: str
    tariff: str
    fee: str
    currency: str
    amount: str


class FeeFailed(Struct, frozen=True):
    """Money is short of a recurring fee: told once for each period. It is tried again."""

    account: str
    subscriber: str
    tariff: str
    fee: str
    from_day: str
    until_day: str
    currency: str
    outstanding: str


class FeeLapsed(Struct, frozen=True):
    """A period of a recurring fee was passed over: it ended unpaid and nothing was given of it, or the account is
    closed."""

    account: str
    subscriber: str
    tariff: str
    fee: str
    from_day: str
    until_day: str
    currency: str
    amount: str


class AllowanceRenewed(Struct, frozen=True):
    """Units that a recurring fee includes were given, for a new period."""

    account: str
    subscriber: str
    tariff: str
    fee: str
    bucket: int
    name: str
    """Of the bucket."""
    kind: AmountKind
    currency: str
    amount: str
    until: str | None
    """null: it does not end."""


class SessionOpened(Struct, frozen=True):
    """A session began: its first request was accepted."""

    session: str
    incarnation: int
    """How often this Session-Id was begun."""
    account: str
    subscriber: str
    service: str
    peer: str
    """Origin-Host of the network element."""
    opened: str


class SessionEnded(Struct, frozen=True):
    """A session was ended by the network element, or by a refusal. Use reported late for it makes no second event."""

    session: str
    incarnation: int
    account: str
    subscriber: str
    service: str
    peer: str
    opened: str
    currency: str
    debited: str
    """Money it cost in total."""


class SessionAbandoned(Struct, frozen=True):
    """A session ended because nothing came from its network element any more; a later report opens it again."""

    session: str
    incarnation: int
    account: str
    subscriber: str
    service: str
    peer: str
    opened: str


class ToppedUpBucket(Struct, frozen=True):
    """What one bucket received."""

    bucket: int
    kind: AmountKind
    amount: str
    after: str
    entry: int
    """Number of the entry in the ledger of the account."""


class TopUpReceived(Struct, frozen=True):
    """Money or units came in from outside."""

    account: str
    currency: str
    buckets: list[ToppedUpBucket]
    actor: str
    reason: str
    reference: str


class AdjustmentPosted(Struct, frozen=True):
    """A balance was corrected by hand, up or down."""

    account: str
    currency: str
    entry: int
    """Number of the entry in the ledger of the account."""
    bucket: int
    kind: AmountKind
    amount: str
    """Below zero: it was taken."""
    after: str
    actor: str
    reason: str
    reference: str


class TransferReceived(Struct, frozen=True):
    """Money or units came in from another account, one event for each bucket."""

    account: str
    transfer: str
    sender: str
    currency: str
    amount: str
    after: str
    """Of its bucket."""
    actor: str
    reason: str
    reference: str
    bucket: int
    """0: the main one."""
    kind: AmountKind


class TransferWasReturned(Struct, frozen=True):
    """A transfer came back: the other account did not take it."""

    account: str
    transfer: str
    receiver: str
    currency: str
    amount: str
    after: str
    """Of its bucket."""
    actor: str
    reason: str
    reference: str
    bucket: int
    """0: the main one."""
    kind: AmountKind


class AccountMerged(Struct, frozen=True):
    """An account was closed, and all it has goes to another one; told again for what comes in later."""

    account: str
    into: str
    transfer: str
    """By which it goes there."""
    actor: str
    reason: str
    reference: str


class InvariantViolated(Struct, frozen=True):
    """Something the server promises does not hold: a person has to look."""

    what: str
    detail: str


class ShardStopped(Struct, frozen=True):
    """Records of a shard are not copied until a person has looked. Charging goes on."""

    shard: int
    why: str
