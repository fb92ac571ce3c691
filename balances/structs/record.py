"""What one call appends to the stream of its shard: entries, usage records, and what they follow from."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from balances.structs.account import Bucket, CounterAmount
from balances.structs.blob import NO_BLOB
from balances.structs.charge import Suspense
from balances.structs.thresholds import Crossing

ASIDE: Final = "aside"
"""Kind of the records that only set use aside."""

ASIDE_WAITING_MAX: Final = 4_000
"""Records of a shard that may wait to be copied before use of nobody known is turned away (3004)."""


class CounterAccount(StrEnum):
    """Where an amount comes from, or goes to, that leaves or enters a bucket."""

    REVENUE = "revenue"
    """Use of services, and what is given back of it."""
    EXPIRY = "expiry"
    """What a bucket still had when it ended."""
    SUSPENSE = "suspense"
    """What nobody can explain: differences after a loss of both stores."""
    FEE = "fee"
    """Recurring fees, what is given back of them, and the units that they include."""
    TOP_UP = "top-up"
    VOUCHER = "voucher"
    """What was paid for when the voucher was sold."""
    ADJUSTMENT = "adjustment"
    TRANSIT = "transit"
    """What is on its way from one bucket to another one, of the same account or of another one: nets to zero."""
    PAYOUT = "payout"
    """Own money that was paid back."""
    WRITE_OFF = "write-off"
    """What was given up: a debt, or what a closed account still had."""


PAID_IN: Final = frozenset({CounterAccount.TOP_UP, CounterAccount.VOUCHER})
"""What came in from outside."""


class Entry(msgspec.Struct, array_like=True, gc=False):
    """One change of one bucket. `amount` leaves `counter_account` and enters the bucket: both legs in one row."""

    seq: int
    bucket: int
    kind: int
    amount: int
    after: int
    counter_account: str
    why: str
    line: int = -1
    """Index of the usage it pays, -1 for none."""
    original: int = 0
    """Number of the entry that it corrects; 0: of none."""
    terms: str = ""
    """Tax and exchange rate, where no usage says them."""
    before: int = 0
    """Micro-units that were charged before it, and not given back, of the line, event or fee that it is of: a tax is
    rounded of the sum (charging.md section 4)."""


class Short(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """A bucket that could have paid, or a limit that would have left more, if others did not hold it."""

    bucket: int
    """-1: none, it is the limit of `counter`."""
    kind: int
    counter: str = ""


class Usage(msgspec.Struct, array_like=True, gc=False):
    """One settled piece, event or refusal, also at price 0."""

    rating_group: int
    service_id: int
    unit: int
    used: int
    """Units reported and charged."""
    suspense: int
    """Units reported and not charged; below zero: refunded and not given back."""
    total: int
    """Units of the line so far."""
    cost: int
    granted: int
    result: int
    flags: int
    tag: str
    """Tariff, version and rows of the ladder it was charged by."""
    at_ms: int
    terms: str = ""
    """Tax and exchange rate in that ladder."""
    ladder: msgspec.Raw = NO_BLOB
    """The packed ladder itself: with it the price can be shown for ever, whatever becomes of the tariff."""
    counters: list[CounterAmount] = []
    """Counters its steps depend on, as they stood before it."""
    secondary: int = 0
    set_aside: int = Suspense.NONE
    """Why `suspense` was not charged. What is not NONE is in the list of suspense."""
    exact: int = -1
    """Of a session: what the line came to before its session was rounded, which is what counters that prices depend on
    counted (charging.md section 4); -1: its cost."""
    priced: int = 0
    """What of `cost` is for prices that buckets have (charging.md 22): the ladder knows nothing of it."""


class Record(msgspec.Struct, array_like=True, gc=False):
    """Field `r` of a stream entry: what one call did. Fields `a`, `s`, `o`, `c`, `p`, absent where there is none, carry
    the account, session and Once after the call, the rating inputs, and the Once of a refunded event, packed: with them
    the call can be redone."""

    version: int
    kind: str
    """charge, post, transfer, close, refuse (a posting, for good), open, settings, expire, restore"""
    account: str
    currency: str
    subscriber: str = ""
    session: str = ""
    service: str = ""
    phase: int = 0
    at_ms: int = 0
    event_ms: int = 0
    key: str = ""
    fingerprint: str = ""
    end_to_end: int = 0
    entries: list[Entry] = []
    usages: list[Usage] = []
    actor: str = ""
    reason: str = ""
    reference: str = ""
    threshold_events: list[Crossing] = []
    """Once per crossing (charging.md section 7)."""
    reauthorize: list[str] = []
    """Whom the network has to tell now: "holder" the session that holds most of what is `short`, "final" every session
    that waits for money (some came in, or room), "all" every session that holds something (a lower limit), "members"
    those of subscribers the account serves no more, "depleted" those of clients that go on without money,
    "limits anna" what that subscriber holds ("limits " what anybody does): its spending limits changed."""
    once_key: str = ""
    once_until_ms: int = 0
    refund_of: str = ""
    """Once key of the event refunded; field `p` of the stream entry is that Once after the refund."""
    incarnation: int = 0
    """Of the session; 0 where there is none."""
    short: list[Short] = []
    """What a line was refused, or granted little of, because others hold it."""
    generation: int = 0
    """The account's generation after this call, if the call raised it; else 0."""
    transfer: str = ""
    """Id of the transfer between accounts of which this is a leg ..."""
    counterpart: str = ""
    """... and the account at its other end."""
    left: list[Bucket] = []
    """Of an account that is merged: its buckets with what left in each, as they were."""
    tags: str = ""
    """Charging tags of a posting, as JSON: {"channel":"web"}; "" for none."""
