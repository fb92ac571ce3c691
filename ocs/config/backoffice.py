"""`[transfers]`, `[vouchers]`, `[fees]`, `[ledger]`: what the back office does with money, and how it is proved."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from balances.ledger.months import KEPT_MONTHS
from ocs.config.table import ConfigTable, Seconds
from ocs.config.values import Secret
from ocs.patterns import looks
from ocs.tags import TAGS_MAX, TagKey

MONEY: Final = looks(r"[0-9]{1,9}(\.[0-9]{1,6})?", 'an amount such as "100.00"')


class Transfers(ConfigTable, frozen=True):
    """Transfers between accounts (charging.md section 17)."""

    minimum: Annotated[str, MONEY] = "0.01"
    limit: Annotated[str, MONEY] = "100.00"
    """The most that one may move."""
    day_limit: Annotated[str, MONEY] = "500.00"
    """The most that leaves an account in a day of its time zone ..."""
    day_count: Annotated[int, Meta(ge=1, le=1_000_000)] = 50
    """... and in how many transfers."""


class VoucherRules(ConfigTable, frozen=True):
    """Vouchers and who tries wrong codes (docs/vouchers.md)."""

    keys: tuple[Secret, ...] = ()
    """Under which codes are stored, the newest first: each 32 octets in hex or base64, best `file:`. None: with the
    embedded PostgreSQL a key in the data directory; else there are no vouchers."""
    wrong_max: Annotated[int, Meta(ge=0, le=1_000)] = 5
    """Wrong codes of an account, or of a source, within `window_s`, after which it is locked out; 0: never. Only with a
    lock-out may codes have less than 64 bits of randomness, or be made elsewhere."""
    window_s: Annotated[int, Meta(ge=10, le=31 * 86_400)] = 3_600
    locked_s: Annotated[int, Meta(ge=1, le=31 * 86_400)] = 3_600


class FeeRuns(ConfigTable, frozen=True):
    """The due run of recurring fees (docs/fees.md)."""

    rate: Annotated[int, Meta(ge=1, le=100_000)] = 1_000
    """Assignments a second, at most."""


class Ledger(ConfigTable, frozen=True):
    when_stopped: Literal["unready", "degraded"] = "unready"
    """What /readyz says while a shard is not copied until a person has looked; charging goes on."""
    alarm_s: Seconds = 60
    """How often an alarm about what lasts is repeated."""
    sample_rate: Annotated[int, Meta(ge=0, le=1_000)] = 10
    """Accounts a second that a keeper compares between the stores, all the time; 0: none."""
    verify_at: Annotated[
        str, looks(r"(([01]\d|2[0-3]):[0-5]\d)?", 'a time of day, such as "03:30", or "" for never')
    ] = "03:30"
    """When a keeper proves the whole ledger, in UTC."""
    nice: Annotated[int, Meta(ge=0, le=19)] = 5
    """By how much the keeper and the embedded PostgreSQL give way to processes that answer requests (nice(2))."""
    tags: Annotated[tuple[TagKey, ...], Meta(max_length=TAGS_MAX)] = ()
    """Keys of charging tags that postings may have."""
    keep_usage_months: Annotated[int, Meta(ge=0, le=1_200)] = 0
    """Whole months before the present one of which usage records are kept; 0: for ever."""
    keep_entries_months: Annotated[int, Meta(ge=0, le=1_200)] = 0
    """The same of ledger entries."""

    def __post_init__(self) -> None:
        usage, entries = self.keep_usage_months, self.keep_entries_months
        if 0 < usage < KEPT_MONTHS or 0 < entries < KEPT_MONTHS:
            raise ValueError(f"keep_usage_months and keep_entries_months of 0 (for ever) or {KEPT_MONTHS} and more")
        if entries and not 0 < usage <= entries:
            raise ValueError("keep_usage_months, no more than keep_entries_months: usage goes with its entries")
