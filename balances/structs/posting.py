"""Input and outcome of the operations that are no charge: postings, settings, expiry, opening."""

from __future__ import annotations

from enum import IntEnum

import msgspec

from balances.structs.account import CounterAmount, FeeMark, WeekHours
from balances.structs.blob import NO_BLOB
from balances.structs.record import Entry
from balances.structs.thresholds import ServiceSuspension, Threshold
from tariffs.ladder import Count


class Posting(msgspec.Struct, array_like=True, gc=False):
    """One change of one bucket asked by the back office."""

    bucket: int
    """Id of an existing bucket, or -1 to make a new one."""
    kind: int
    amount: int
    """Signed."""
    counter_account: str
    why: str
    priority: int = 100
    from_ms: int = 0
    until_ms: int = 0
    scope: list[str] = []
    name: str = ""
    window_ms: int = 0
    original: int = 0
    """Number of the entry that it corrects; 0: of none."""
    terms: str = ""
    """Tax and exchange rate of what it corrects."""
    bonus: bool = False
    """Of a new bucket; see Bucket."""
    member: str = ""
    """Of a new bucket; see Bucket."""
    up_to: bool = False
    """As much of the amount as there is: of a debit what is free of the bucket, of a credit what the bucket owes."""
    blocker: bool = False
    """Of a new bucket; see Bucket."""
    hours: list[WeekHours] = []
    """Of a new bucket; see Bucket."""
    is_part: bool = False
    """A new bucket is the money of the one that was made before it in the same post."""
    price: int = 0
    """Of a new bucket; see Bucket."""
    per: int = 1


class BucketExtension(msgspec.Struct, array_like=True, gc=False):
    """Buckets that end no sooner than an instant (charging.md 23)."""

    name: str
    """Of all buckets of this name."""
    until_ms: int


class CounterReturn(msgspec.Struct, array_like=True, gc=False):
    """What use had raised a counter by, and a refund turns back (charging.md section 9)."""

    key: str
    amount: int
    """Below zero: it counts again, because the refund was reversed."""
    until_ms: int = 0
    """When its period ends: of another one nothing is turned back; 0: never, or see `window_ms`."""
    window_ms: int = 0
    """Its period lasts so long from its first use; 0: not so."""
    used_ms: int = 0
    """When it was used last, of such a period."""
    limit: int = -1
    """Of spending, as it is now: one that was reached has room again below it; -1: it is no limit, or not any more."""


def return_of(raised: CounterAmount, amount: int) -> CounterReturn:
    """Of what an event raised a counter by: where that ends in the same instant it is of the same period or window."""
    window_ms = 1 if raised.until_ms else 0
    return CounterReturn(raised.key, amount, raised.until_ms, window_ms, raised.until_ms - window_ms)


class AccountOperation(msgspec.Struct, array_like=True, gc=False):
    """What every operation of the back office says that moves amounts. Inputs of such operations inherit it, so these
    fields are the first of each, and the posting frame (lua/lib/posting.lua) reads them."""

    account: str
    key: str
    """Under which it is done once; "" for none: then nothing protects a repeat."""
    fingerprint: str
    """Hash of what is asked: another one under the same key is a conflict."""
    now_ms: int
    remember_ms: int
    """How long its answer is kept in Redis."""
    actor: str
    reason: str
    reference: str


class Post(AccountOperation, array_like=True):
    """Input of post.lua: top-up, adjustment, refund, fee: all its postings or none."""

    postings: list[Posting]
    own_only: bool = False
    """Refuse what free own money (amount - held) does not cover."""
    keeps_held: bool = False
    """Refuse to take from the main bucket what is held: it and the credit limit would not cover that any more."""
    denied_in: int = 0
    """States (SuspendReasons) in which the account refuses it."""
    final: bool = False
    """A refusal is final: it goes on record and is kept under the key, so that a repeat is refused too."""
    transfer: str = ""
    """Id of the transfer between accounts of which this is a leg."""
    counterpart: str = ""
    """The account at the other end of that transfer."""
    counts: list[Count] = []
    """What it feeds: with 1 a posting, or with the money it takes, and refuses beyond the limit of each."""
    clock: list[int] = []
    """Of the account, where it makes a bucket with hours."""
    moves_max: list[int] = []
    """By kind, how much of it may be moved, given and taken together (-1 any), else nothing is; []: any."""
    permits_debt: bool = False
    """With `keeps_held`: where nothing is held of the main bucket it may owe whatever is taken."""
    extends: list[BucketExtension] = []
    """Of buckets that are there before it."""
    resets: list[str] = []
    """Keys of counters of spending limits that begin anew."""
    tags: str = ""
    """See Record."""
    returns: list[CounterReturn] = []
    """Of counters that a refund turns back."""
    grace_until_ms: int = 0
    """A grace that the account is in ends no sooner; 0: when it does."""
    refund_of: str = ""
    """Of the reversal of an event's refund: once key of the event, of which so much may be refunded again."""
    original: msgspec.Raw = NO_BLOB
    """The event as PostgreSQL has it (packed IdempotencyRecord), for when Redis no longer does."""
    refund: msgspec.Raw = NO_BLOB
    """The packed IdempotencyRecord of that refund: what it gave back."""


class Transfer(AccountOperation, array_like=True):
    """Input of transfer.lua: an amount from one bucket to another one of the same kind."""

    source: int
    target: int
    amount: int
    """Above zero, and free own money of the source: nothing held, no credit."""
    tags: str = ""
    """See Record."""


class ClosingRest(IntEnum):
    """What becomes of what an account still has when it is closed (charging.md section 16)."""

    REFUSED = 0
    """It is not closed while it has, or owes, anything."""
    PAYOUT = 1
    """Own money is paid out, bonus money and units are written off; a debt refuses it."""
    WRITE_OFF = 2
    """All is written off, a debt too."""
    TRANSIT = 3
    """All is on its way to another account."""


class AccountClosing(AccountOperation, array_like=True):
    """Input of close.lua: an account is closed, with what it still has."""

    rest: int
    """See ClosingRest."""
    moves_max: list[int] = []
    """As of a Post."""
    transfer: str = ""
    """TRANSIT: id of the merge of which this is the first leg."""
    counterpart: str = ""
    """The account that gets it all."""
    tags: str = ""
    """See Record."""


class FeeStep(IntEnum):
    """What a call does to a recurring fee."""

    TAKE = 0
    """A period is taken, and what it includes is given."""
    END = 1
    """The assignment has ended: what was paid for days after its end is given back, and its units end."""


class FeeFunds(IntEnum):
    """What may pay a fee, beside free own money."""

    OWN = 0
    CREDIT = 1
    """The credit limit too."""
    DEBT = 2
    """Whatever is missing becomes debt of the main bucket."""


class FeeUnits(msgspec.Struct, array_like=True, gc=False):
    """Units that a period includes: a bucket is made of them."""

    name: str
    kind: int
    amount: int
    until_ms: int = 0
    """When it ends; where that is past, nothing is given."""
    scope: list[str] = []
    priority: int = 50
    carried_max: int = -1
    """So much of what earlier periods gave may be left beside it, the rest lapses, the oldest first; -1: any."""
    member: str = ""
    """The only subscriber that they are for; "" for all of the account."""
    blocker: bool = False
    hours: list[WeekHours] = []
    is_part: bool = False
    """Money of the units before it."""
    price: int = 0
    """See Bucket."""
    per: int = 1


class Fee(AccountOperation, array_like=True):
    """Input of fee.lua: one period of a recurring fee, or its end (charging.md 21). It is done once by the days that
    are settled; `key` only names it on record."""

    chain: str
    """See FeeMark."""
    subscriber: str
    step: int
    """See FeeStep."""
    from_day: int
    until_day: int
    """Of the period, half open."""
    amount: int
    """What the period costs. END: what its days before the end cost."""
    event_ms: int = 0
    """When it was due."""
    funds: int = FeeFunds.CREDIT
    is_partial: bool = False
    """Take what is there where it is not enough."""
    gives_first: bool = False
    """Give the units though money is short: grace."""
    lapses: bool = False
    """The period is over: if nothing was paid or given of it, and money is short, it is passed over."""
    suspends: bool = False
    """Suspend the account while it is not paid."""
    takes_back: bool = False
    """END: the units end with it."""
    units: list[FeeUnits] = []
    terms: str = ""
    """Tax and exchange rate."""
    clock: list[int] = []
    """Of the account, where units have hours."""
    price: str = ""
    """TAKE: what the whole period costs, and its terms, as whoever asks for the end will want to know it: kept with
    what is paid."""
    known_day: int = 0
    """First day that is not settled, as an account said before; 0: none did. One that says less now has lost what it
    settled since, and nothing is done."""


class FeeOutcome(msgspec.Struct, array_like=True, gc=False):
    """Outcome of fee.lua."""

    result: int
    entries: list[Entry]
    balance: int
    state: int
    mark: FeeMark
    """How far the fee is settled now; day 0: it never was."""


class PostingOutcome(msgspec.Struct, array_like=True, gc=False):
    """Outcome of post.lua, transfer.lua and close.lua: the entries, in order."""

    result: int
    entries: list[Entry]
    balance: int
    state: int


class BucketSetting(msgspec.Struct, array_like=True, gc=False):
    """What an operator sets of a bucket that is there."""

    bucket: int
    blocker: bool


class AccountSettings(msgspec.Struct, array_like=True, gc=False):
    """Input of settings.lua; None leaves a field as it is."""

    account: str
    now_ms: int
    if_rev: int | None
    credit_limit: int | None = None
    suspend_below: int | None = None
    resume_at: int | None = None
    set_state: int = 0
    clear_state: int = 0
    profile_rev: int | None = None
    actor: str = ""
    reason: str = ""
    limited: list[str] = []
    """With a newer `profile_rev`: subscribers whose spending limits changed; "" for all."""
    thresholds: list[Threshold] | None = None
    """All there are to be; what they say of being crossed is not read."""
    services: list[ServiceSuspension] | None = None
    """All there are to be, likewise."""
    grace_until_ms: int | None = None
    """With GRACE in `set_state`: when it ends."""
    buckets: list[BucketSetting] = []
    """Buckets of which something is set; one that is not there, or is the main one, refuses it all."""
    clock: list[int] = []
    """Of another time zone; empty: it stays."""


class Expire(msgspec.Struct, array_like=True, gc=False):
    """Input of expire.lua: one session, or the account's buckets where `session` is ""."""

    account: str
    session: str
    now_ms: int
    remember_ms: int = 3_600_000
    idle_ms: int = 172_800_000
    touched_ms: int = 0
    """End the session now, abandoned and with its holds released, if it was last touched at this instant: its client
    does not know it any more. 0: only what is due."""


class RestoredKey(msgspec.Struct, array_like=True, gc=False):
    """A packed session or Once to put back, and the instant supervision looks at it or it is forgotten."""

    key: str
    packed: msgspec.Raw
    until_ms: int


class AccountOpening(msgspec.Struct, array_like=True, gc=False):
    """Input of open.lua: an account as it comes in, with nothing held."""

    account: msgspec.Raw
    sessions: list[RestoredKey]
    answers: list[RestoredKey]
    now_ms: int
    kind: str
    """"open" a new account, "restore" one PostgreSQL knows."""
    actor: str = ""
    entries: list[Entry] = []
    """Of a new account: what its buckets begin with, from the counter-account `opening`."""
