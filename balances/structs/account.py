"""Who pays: an account with its buckets and counters, as the live store keeps it."""

from __future__ import annotations

from enum import IntEnum, IntFlag, StrEnum
from typing import Final

import msgspec

from balances.structs.thresholds import ServiceSuspension, Threshold
from tariffs.units import EXACT_MAX

NEVER: Final = -EXACT_MAX
"""A threshold that no balance falls below."""

MAIN: Final = 0
"""Id of the one money bucket that may go below zero, by the account's credit limit and by use that happened."""

BUCKETS_MAX: Final = 64

COUNTER_KEPT_MS: Final = 7 * 86_400_000 + 300_000
"""How long a counter outlives its period: use of that period that is reported late must find it as it stood, as late as
is believed (`event_behind_ms` of ocs/charging/settings.py)."""


FEES_MAX: Final = 512
"""Recurring fees of an account, of all its subscribers together."""

FEE_KEPT_MS: Final = 40 * 86_400_000
"""How long the mark of a fee outlives its assignment: a call that is older than FEE_STALE_MS finds it still, or is
refused."""
FEE_STALE_MS: Final = 30 * 86_400_000


class AccountField(StrEnum):
    """A field of the hash of an account beside its sessions, which stand there by their keys."""

    ACCOUNT = " "
    """The packed `Account`. No key of a session is a blank (balances/keys.py)."""


class SuspendReasons(IntFlag):
    """Reasons an account is suspended; 0 is active."""

    ACTIVE = 0
    CREDIT = 1
    """Automatic, below `suspend_below`: cleared by a credit that reaches `resume_at`."""
    BARRED = 2
    FRAUD = 4
    OPERATOR = 8
    CLOSED = 16
    GRACE = 32
    """Refuses nothing: served until `Account.grace_until_ms`, then OVERDUE."""
    CREATED = 64
    """Refuses nothing: nobody has used it yet (charging.md section 16)."""
    OVERDUE = 128
    """A grace has ended."""
    FEE = 256
    """Automatic, while a recurring fee that suspends is not paid: cleared by the call that takes it."""


REFUSING: Final = (
    SuspendReasons.BARRED
    | SuspendReasons.FRAUD
    | SuspendReasons.OPERATOR
    | SuspendReasons.CLOSED
    | SuspendReasons.OVERDUE
)
"""Reasons for which nothing is granted at all, whatever it costs (charging.md section 7)."""


class WeekHours(msgspec.Struct, array_like=True, gc=False):
    """Hours of some days of the week, half open, on the account's clock."""

    days: int
    """Bit 0 is Monday."""
    from_s: int
    """Second of the day."""
    until_s: int
    """Beyond the end of the day where they go past midnight: those hours belong to the day they begin on."""


class Bucket(msgspec.Struct, array_like=True, gc=False):
    """One balance. Buckets of an account are kept in the order of payment: priority, soonest expiry, id."""

    id: int
    kind: int
    amount: int
    held: int = 0
    priority: int = 100
    from_ms: int = 0
    until_ms: int = 0
    """First instant it can no longer pay; 0 for never."""
    scope: list[str] = []
    """Services it may pay; empty for all."""
    name: str = ""
    window_ms: int = 0
    """Its validity begins with its first use and ends so long after; 0: once it has begun, or where it has no such."""
    filled: int = 0
    """What it had after its last fill: opening, top-up, renewal. Percentages are of this; 0: it had none yet."""
    bonus: bool = False
    """It was given, not paid for: it pays for use, and is never transferred or paid out (charging.md section 5)."""
    member: str = ""
    """The only subscriber it pays for; "" for all of the account."""
    blocker: bool = False
    """No grant that it may pay is paid by a bucket behind it (charging.md section 22); never the main one."""
    hours: list[WeekHours] = []
    """When it pays use (charging.md section 22), in the order they begin; empty: at any time. Never of the main one."""
    part_of: int = 0
    """The bucket of units whose money it is (charging.md section 22); 0: it is a bucket by itself."""
    price: int = 0
    """Of units: what `per` of them cost besides, micro-units (charging.md section 22); 0: nothing. Only in a store that
    is written in format 3."""
    per: int = 1
    rest: int = 0
    """What rounding has charged too much of all units it has paid, in 1/per micro-units: not above 0."""


class Take(msgspec.Struct, array_like=True, gc=False):
    """An amount of one bucket: held for a line, or debited."""

    bucket: int
    amount: int


class CounterWindow(IntEnum):
    """How a counter's time runs."""

    NONE = 0
    """By the calendar: another key for each period."""
    RENEWS = 1
    """From its first use, and from the first one after its end again."""
    ONCE = 2
    """From its first use; then it is kept, past every bound."""


class Counter(msgspec.Struct, array_like=True, gc=False):
    """Use over a period, for tiers and caps."""

    key: str
    used: int
    held: int
    until_ms: int = 0
    """When its period or window ends; 0: never, or a window that has not begun."""
    window: int = 0
    """See Window."""
    sharers: int = 0
    """Lines with a hold whose price depends on it (tariffs.ladder.tier_of) ..."""
    pool: list[Take] = []
    """... and the money they hold together."""
    reached_ms: int = 0
    """Since when the limit that it counts for is reached (charging.md 15); 0: it is not."""
    turned: int = 0
    """What refunds by the back office turned back since it began, or began anew, and no reversal counted again."""


class CounterAmount(msgspec.Struct, array_like=True, gc=False):
    """A counter raised by an event, or as it stood before use."""

    key: str
    amount: int
    what: int = 0
    """Counted."""
    until_ms: int = 0
    """End of the period or window it was raised in."""


class FeeBucket(msgspec.Struct, array_like=True, gc=False):
    """A bucket of included units that a fee has given."""

    name: str
    """Of the included units."""
    bucket: int


class FeeMark(msgspec.Struct, array_like=True, gc=False):
    """How far a recurring fee of an assignment is settled (charging.md 21). Days are ordinals of the calendar, so that
    they are the same in every zone."""

    chain: str
    """Which fee of which assignment (keys.fee_chain)."""
    day: int
    """First day that is not settled: no day is ever charged twice."""
    from_day: int = 0
    """First day of the period that `paid` is of."""
    short: bool = False
    """That period begins with `day`, and is not paid in full."""
    given: bool = False
    """Its included units were given, though it is not paid: grace."""
    suspends: bool = False
    """The account is suspended while this is not paid."""
    paid: list[Take] = []
    """What buckets paid of that period; after the end what was not given back, because the account was closed."""
    buckets: list[FeeBucket] = []
    """Included units that were given, the oldest first."""
    ended_ms: int = 0
    """When the assignment was settled for good; 0: it goes on."""
    price: str = ""
    """`Fee.price` of the period that `paid` is of, as it was tried last."""


class Account(msgspec.Struct, array_like=True, gc=False):
    """Field AccountField.ACCOUNT of `{s}:acct:<id>`: all that a charge needs of who pays."""

    version: int
    id: str
    currency: str
    rev: int
    """Revision of the settings (If-Match)."""
    profile_rev: int
    """Newest change of a subscriber or assignment of this account that was projected; an older charge is `stale`."""
    seq: int
    """Number of the last ledger entry."""
    clock_ms: int
    """Latest instant seen: time never runs backwards for an account."""
    state: int
    credit_limit: int
    suspend_below: int
    resume_at: int
    next_bucket: int
    buckets: list[Bucket]
    counters: list[Counter]
    # The lists stand before `generation`, so that the steady path sees in one octet each that they are empty.
    thresholds: list[Threshold] = []
    """Notification thresholds, at most THRESHOLDS_MAX, in the order of their names."""
    services: list[ServiceSuspension] = []
    """Services with a line of their own, at most THRESHOLDS_MAX, in the order of their names."""
    generation: int = 0
    """Raised by 1 by each call that changes what the network may do: a suspension or its end, a change of state, limit
    or members (durability.md rule 10)."""
    grace_until_ms: int = 0
    """When its grace ends; 0: it is in none."""
    activated_ms: int = 0
    """When it became active: opened so, by its first use, or by hand; 0: not yet, or before that was kept."""
    fees: list[FeeMark] = []
    """How far recurring fees are settled, at most FEES_MAX."""
    clock: list[int] = []
    """The clock on the wall of its time zone, for hours of buckets: seconds from UTC, and then in pairs an instant in
    seconds and what holds from then on. Empty: no bucket had hours yet."""
