"""What the API says about the copy of the live store to PostgreSQL, and takes about records that cannot be copied."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from ocs.api.schema import Id, Input, Reason
from ocs.api.texts import Quantity, Time


class Shard(Struct, frozen=True):
    """How far the records of one shard are in PostgreSQL."""

    shard: int
    cursor: str
    """The last record in PostgreSQL."""
    head: str
    """The last record in the live store."""
    lag: int
    """Records in between."""
    stopped: str
    """Why it is not copied any more until a person has looked; "" while it is."""


class HeldAccount(Struct, frozen=True):
    """An account in quarantine: not copied, not restored."""

    account: str
    shard: int
    records: int
    first: str
    """The record that cannot be copied; all later ones of the account follow it."""
    why: str
    since: Time


class LastProof(Struct, frozen=True):
    """The last proof of the whole ledger (`POST /v1/ledger/verify`, and the keeper's daily one)."""

    began: Time
    ended: Time
    by: str
    """A caller, or `keeper`."""
    accounts: int
    """Compared between the stores."""
    entries: int
    findings: int
    text: str
    """The first of them."""


class LedgerStatus(Struct, frozen=True):
    lag_entries: int
    oldest: Time | None
    """Instant of the oldest record that is not in PostgreSQL, null when all are."""
    stopped: int
    """Shards."""
    shards: list[Shard]
    """All of them."""
    quarantined: list[HeldAccount]
    lost_answers: int
    """Acknowledged, and in no store since the live one came back: see /v1/ledger/lost."""
    verified: LastProof | None
    """Null: the ledger was never proved."""


class RecoverLedger(Input, frozen=True):
    reason: Reason
    dry_run: bool = False
    """Only say what would be brought back."""


class LedgerRecovery(Struct, frozen=True):
    """What was brought back into PostgreSQL from the live store."""

    dry_run: bool
    """Nothing was written; what the streams have is not known yet."""
    changes: int
    """Of master data, by which the live store was ahead."""
    copied: int
    """Records that the streams still had."""
    gaps: int
    """Shards whose streams lack records: what those did to each balance is posted as `recovered`."""
    orphaned: int
    """Records that were taken back, because their accounts had gone another way."""
    answers: int
    """Of events and postings, by their keys."""
    voucher_claims: int
    refund_grants: int
    transfer_legs: int
    """Of transfers and merges, lost with their records: out of `recovered`, and under their transfer again."""
    legs_by_hand: list[str]
    """Accounts, at most 20, with legs of which more than the main balance moved: compare both sides."""
    accounts: int
    """Of which only the ledger knew. What is not in the live store is gone: customer, tags, billing day."""
    subscribers: int
    """With identities, tariffs, payers, limits and passwords."""
    tariffs: int
    """Versions."""
    rates: int
    without_profile: list[str]
    """Identities, at most 20, that the live store does not have: deleted after the backup. They are served again."""
    fees_stopped: list[str]
    """Subscribers, at most 20, whose recurring fees wait: no entry says from when on they are settled."""


class LostAnswer(Struct, frozen=True):
    """It was acknowledged, and no store knows it any more."""

    account: str
    session: str
    request_key: str
    time: Time
    currency: str
    cost: Quantity
    """What it took from the account; below zero: gave it."""
    found: Time


class LostAnswers(Struct, frozen=True):
    items: list[LostAnswer]


class Accepted(Struct, frozen=True):
    answers: int


class KeptEntry(Struct, frozen=True):
    seq: int
    bucket: int
    amount: Quantity
    balance_after: Quantity


class KeptRecord(Struct, frozen=True):
    """A record in quarantine, as far as it can be read."""

    id: str
    kind: str
    """"broken" where it cannot be read."""
    time: Time | None
    """null where it cannot be read."""
    session: str
    why: str
    """"" where it only follows one that is broken."""
    entries: list[KeptEntry]


class Quarantine(Struct, frozen=True):
    items: list[HeldAccount]


class KeptRecords(Struct, frozen=True):
    items: list[KeptRecord]


class QuarantineDecision(Input, frozen=True):
    """Stands beside the records for ever."""

    reason: Reason


class Resume(Input, frozen=True):
    reason: Reason
    account: Id | None = None
    """Whose the record is that stopped the shard, where it names nobody: it is quarantined under this name."""


class SettledRecords(Struct, frozen=True):
    account: str
    replayed: int
    """Records copied as they are."""
    recovered: int
    """Records of which only the difference is posted."""
    dropped: bool
    """The live store had gone another way: the account comes back from PostgreSQL."""


class Resumed(Struct, frozen=True):
    shard: Annotated[int, Meta(ge=0)]


class ClosedPeriodView(Struct, frozen=True, rename={"from_": "from"}):
    """A month of the ledger in which nothing changes any more."""

    month: str
    """2026-10, in UTC, by posting time."""
    from_: Time
    until: Time
    closed: Time
    closed_by: str
    entries: int
    accounts: int
    """That have entries in it."""
    sums: dict[str, dict[str, Quantity]]
    """Per currency or unit: what came from (below zero) and went to each counter-account."""
    usage_dropped: Time | None
    """Since when its usage records are not kept any more; null: they are."""
    entries_dropped: Time | None


class DropSize(Struct, frozen=True):
    """About what goes."""

    rows: int
    octets: int
    """0 where they stand in one table with other months: its room is used again, and not given back."""


class DropPlanView(Struct, frozen=True):
    """What dropping a month would do."""

    month: str
    would_go: dict[str, DropSize]
    """`usage`, `entries`."""
    obstacles: list[str]
    """What stands in the way; empty: nothing."""


class DroppedMonthView(Struct, frozen=True):
    month: str
    dropped: dict[str, Time]
    """`usage`, `entries`: since when each is gone."""
    deleted: bool
    """From the disk too; else the keeper goes on with that."""


class ClosedPeriods(Struct, frozen=True):
    items: list[ClosedPeriodView]
