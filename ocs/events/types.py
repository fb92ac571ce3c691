"""Every type of event: its name, the schema of its data, and where it comes from. OpenAPI, the table in docs/events.md
and the checks of subscriptions follow from it.

A new type of what is no record: a struct for its data below, a row, and a call of `ocs.events.outbox.emit`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal

from msgspec import Struct

from balances.ledger import event_data
from balances.ledger.event_data import AmountKind
from balances.ledger.event_filter import BY_NAME_ONLY, EventFilter
from balances.ledger.events import ON_DEMAND


class BucketExpiring(Struct, frozen=True):
    """A bucket that still has something will end soon (`events.expiring_soon_s`). Once for each end."""

    account: str
    bucket: int
    bucket_name: str
    kind: AmountKind
    currency: str
    amount: str
    """What is in it."""
    until: str


class JobFailed(Struct, frozen=True):
    """A request to the network was given up: a session goes on, or stays barred, against what its account says."""

    job: str
    kind: str
    """What was to be done: reauthorize, abort, change, disconnect."""
    account: str
    session: str
    peer: str
    attempts: int
    result: str
    """Of the last attempt, as the peer said it, or why none was possible."""


class SessionAsked(Struct, frozen=True):
    """A platform that charges over HTTP is to report what a session used, or to end it, and does what the answer to its
    report says."""

    session: str
    platform: str
    account: str
    subscriber: str
    service: str
    asked: Literal["report", "end"]
    cause: str
    """suspended, depleted, members, limit, waits, price, holder."""


class VoucherBatchExported(Struct, frozen=True):
    """The plain codes of a batch went out: by whom, and whether all of them arrived, after which they are kept no
    more."""

    batch: str
    vouchers: int
    actor: str
    complete: bool


class VoucherLockedOut(Struct, frozen=True):
    """Somebody tried too many wrong codes, and gets no more looked at for a while."""

    kind: Literal["account", "source"]
    name: str
    wrong: int
    until: str


class VoucherRedeemed(Struct, frozen=True):
    """A voucher was claimed for an account; the credit follows, or is there already."""

    account: str
    batch: str
    serial: int
    kind: AmountKind
    currency: str
    amount: str
    actor: str
    source: str
    reference: str


class TariffPublished(Struct, frozen=True):
    """A version of a tariff was published."""

    tariff: str
    version: int
    valid_from: str | None
    """null: from the beginning of time."""


class ApprovalRequested(Struct, frozen=True):
    """Something was asked for that a second person has to approve."""

    approval: str
    caller: str
    permission: str
    target: str
    """Method and path of the request."""


class ApprovalDecided(Struct, frozen=True):
    """A second person approved or rejected it, or nobody did in time."""

    approval: str
    caller: str
    """Who asked for it."""
    permission: str
    target: str
    state: Literal["approved", "rejected", "expired"]
    by: str
    """Empty where it expired."""
    reason: str


class EventKind(Struct, frozen=True):
    """A type of event."""

    name: str
    data: type[Struct]
    subject: str
    """What its `subject` names."""
    version: int = 1

    @property
    def on_demand(self) -> bool:
        """Written only while somebody asks for it."""
        return self.name in ON_DEMAND

    @property
    def by_name_only(self) -> bool:
        """Not among all types: somebody has to name it."""
        return self.name in BY_NAME_ONLY

    @property
    def summary(self) -> str:
        return " ".join((self.data.__doc__ or "").split())


KINDS: Final[Sequence[EventKind]] = (
    EventKind("account.opened", event_data.AccountOpened, "account"),
    EventKind("account.activated", event_data.AccountActivated, "account"),
    EventKind("account.merged", event_data.AccountMerged, "account"),
    EventKind("account.reopened", event_data.AccountReopened, "account"),
    EventKind("account.settings_changed", event_data.AccountSettingsChanged, "account"),
    EventKind("account.suspended", event_data.AccountSuspended, "account"),
    EventKind("account.resumed", event_data.AccountResumed, "account"),
    EventKind("account.closed", event_data.AccountWasClosed, "account"),
    EventKind("adjustment.posted", event_data.AdjustmentPosted, "account"),
    EventKind("approval.decided", ApprovalDecided, "approval"),
    EventKind("approval.requested", ApprovalRequested, "approval"),
    EventKind("allowance.renewed", event_data.AllowanceRenewed, "account/bucket"),
    EventKind("balance.changed", event_data.BalanceChanged, "account"),
    EventKind("bucket.expiring", BucketExpiring, "account/bucket"),
    EventKind("bucket.expired", event_data.BucketExpired, "account/bucket"),
    EventKind("fee.charged", event_data.FeeCharged, "account"),
    EventKind("fee.failed", event_data.FeeFailed, "account"),
    EventKind("fee.lapsed", event_data.FeeLapsed, "account"),
    EventKind("fee.returned", event_data.FeeReturned, "account"),
    EventKind("invariant.violated", event_data.InvariantViolated, "what it is about"),
    EventKind("job.failed", JobFailed, "job"),
    EventKind("limit.cleared", event_data.LimitCleared, "account"),
    EventKind("limit.reached", event_data.LimitReached, "account"),
    EventKind("service.resumed", event_data.ServiceResumed, "account"),
    EventKind("service.suspended", event_data.ServiceSuspended, "account"),
    EventKind("session.asked", SessionAsked, "session"),
    EventKind("session.opened", event_data.SessionOpened, "session"),
    EventKind("session.ended", event_data.SessionEnded, "session"),
    EventKind("session.abandoned", event_data.SessionAbandoned, "session"),
    EventKind("shard.stopped", event_data.ShardStopped, "shard"),
    EventKind("tariff.published", TariffPublished, "tariff"),
    EventKind("threshold.cleared", event_data.ThresholdCleared, "account"),
    EventKind("threshold.crossed", event_data.ThresholdCrossed, "account"),
    EventKind("top_up.received", event_data.TopUpReceived, "account"),
    EventKind("transfer.received", event_data.TransferReceived, "account"),
    EventKind("transfer.returned", event_data.TransferWasReturned, "account"),
    EventKind("voucher.locked_out", VoucherLockedOut, "account or source"),
    EventKind("voucher.redeemed", VoucherRedeemed, "account"),
    EventKind("voucher_batch.exported", VoucherBatchExported, "batch"),
)
TYPES: Final = {kind.name: kind for kind in KINDS}


def schema_uri(name: str, version: int) -> str:
    """Names the schema of a type; the document is in /openapi.json under `webhooks`."""
    return f"urn:ocs:event:{name}:{version}"


def unknown_types(asked: Iterable[str]) -> list[str]:
    """Names, or `session.*`, that no type has."""
    return [name for name in asked if not EventFilter((name,)).of(TYPES)]
