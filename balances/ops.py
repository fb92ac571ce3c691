"""Every structure the live store keeps or exchanges, written once.

A struct is a msgpack array (`array_like`), so Lua sees it as a table indexed from 1 and `lua/*.lua` write
`LINE.total` where `scripts.py` puts the number. Lua has no nil inside arrays: absent is 0, "" or an empty list,
and the sentinel NEVER where 0 means something. Lua hands strings back as msgpack text of any octets, so fields that
carry packed structs are `Raw` (see `packed` and `blob`). Everything is whole numbers below 2**53 (tariffs/units.py).
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final

import msgspec

from tariffs.units import EXACT_MAX

FORMAT: Final = 1
"""Version written into every stored blob."""

NEVER: Final = -EXACT_MAX
"""A threshold that no balance falls below."""

MAIN: Final = 0
"""Id of the one money bucket that may go below zero, by the account's credit limit and by use that happened."""

ASIDE: Final = "aside"
"""Kind of the records that only set use aside."""

LINES_MAX: Final = 32
"""Lines of a request that are granted something, the first ones ..."""
LINES_SETTLED_MAX: Final = 128
"""... and those whose use is charged; the use of the rest is set aside."""
BUCKETS_MAX: Final = 64
ANSWERS_KEPT: Final = 4
FORMER_KEPT: Final = 10
"""Answers of earlier incarnations a session keeps: of the last one its INITIAL's and four more, and as many before."""
SAME_MS: Final = 240_000
"""So long after an answer the same End-to-End-Id means the same request (RFC 6733 section 3)."""
COUNTER_KEPT_MS: Final = 7 * 86_400_000 + 300_000
"""How long a counter outlives its period: use of that period that is reported late must find it as it stood, as late as
is believed (`event_behind_ms` of ocs/charging/settings.py)."""
SESSION_LINES_MAX: Final = 128
"""Lines a session keeps: beyond that the one idle for longest makes room, or the new one is refused a grant."""
ASIDE_WAITING_MAX: Final = 4_000
"""Records of a shard that may wait to be copied before use of nobody known is turned away (3004)."""
INTERVALS_MAX: Final = 64
"""Intervals of numbers a session remembers."""
FACTS_MAX: Final = 4_096
"""Octets of facts a session keeps (charging.md 5)."""
WHOLE: Final = -2
"""In the place of a line: all lines of a session."""


def blob(raw: msgspec.Raw) -> bytes:
    """The octets of a msgpack text, whatever they are."""
    data = bytes(raw)
    head = data[0]
    return data[1 if head <= 0xBF else {0xD9: 2, 0xDA: 3, 0xDB: 5}[head] :]


def packed(data: bytes) -> msgspec.Raw:
    """Octets as msgpack text: Redis' cmsgpack reads no binary type, and takes text for any octets."""
    size = len(data)
    if size < 32:
        return msgspec.Raw(bytes((0xA0 | size,)) + data)
    if size < 256:
        return msgspec.Raw(bytes((0xD9, size)) + data)
    if size < 65536:
        return msgspec.Raw(b"\xda" + size.to_bytes(2) + data)
    return msgspec.Raw(b"\xdb" + size.to_bytes(4) + data)


NO_BLOB: Final = packed(b"")


class Phase(IntEnum):
    """What a request asks of the session. Also the high part of a seen number."""

    START = 1
    UPDATE = 2
    STOP = 3
    EVENT = 4
    RECORD = 5
    """Use that has already happened: charged without a grant."""


class Action(IntEnum):
    """What an EVENT asks (RFC 8506 section 8.41)."""

    DEBIT = 0
    REFUND = 1
    CHECK = 2
    PRICE = 3


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


class SessionState(IntEnum):
    OPEN = 1
    CLOSED = 2
    REFUSED = 3
    """Its INITIAL was refused: nothing is held, a repeat is decided anew."""
    ABANDONED = 4
    """Its last hold expired unreported; a report reopens it."""
    UNKNOWN = 5
    """Only known from a report without an INITIAL: kept so that the report is charged once."""


class Flag(IntFlag):
    """Marks on a usage record: what was unusual."""

    LATE = 1
    UNMATCHED = 2
    OVERRUN = 4
    RENUMBERED = 8
    CONFLICT = 16
    EVENT_TIME = 32
    """The client's Event-Timestamp was out of bounds: arrival time was used."""
    FREE = 64
    SUSPENSE = 128
    """Reported use that was not charged: beyond the bound, beyond 2**53, or of nobody we know; of a refund what no
    bucket had room for."""
    REOPENED = 256
    OTHER_UNIT = 512
    """Use was reported, but not in the unit that was granted."""
    ABANDONED = 1024
    REFUND = 2048
    REUSED = 4096
    """An INITIAL that used a Session-Id again: a new incarnation."""
    OTHER_SUBSCRIBER = 8192
    """The request named somebody else than the session was opened for, who pays all the same."""
    EQUAL = 16384
    """On no record: a request with a new End-to-End-Id and T clear that got the answer of an equal one before."""
    ROUNDED = 32768
    """Reported money finer than a micro-unit, rounded as the service says."""


class Suspense(IntEnum):
    """Why reported use was set aside instead of charged (charging.md section 2)."""

    NONE = 0
    OVER_BOUND = 1
    """More than one report is believed to have used: beyond the bound of the grant."""
    OTHER_UNIT = 2
    """In another unit than the one that was granted."""
    NO_PRICE = 3
    """Nothing prices it."""
    TOO_LARGE = 4
    """An amount, its price or a balance would pass 2**53."""
    UNUSABLE = 5
    """An amount nobody can use: negative, or of another currency. What is known of it is set aside, 0 if nothing is."""
    NOBODY = 6
    """Of nobody known."""
    TOO_MANY_LINES = 7
    """In more lines than one request may have."""

    @property
    def word(self) -> str:
        """As people and programs are told it: `over-bound`; "" for NONE."""
        return self.name.lower().replace("_", "-") if self else ""


class Result(IntEnum):
    """Why a line, or a request, got what it got. `ocs/charging/outcomes.py` has one row for each."""

    OK = 0
    CREDIT_LIMIT = 1
    """Funds do not cover the first block, or the account is suspended for credit."""
    DENIED = 2
    """Account barred, closed, or suspended by the operator or for fraud."""
    NOT_APPLICABLE = 3
    """The service is not controlled: use it freely."""
    RATING_FAILED = 4
    USER_UNKNOWN = 5
    SESSION_UNKNOWN = 6
    UNABLE = 7
    """Request makes no sense in this state (an INITIAL after its TERMINATION)."""
    REMEMBERED = 8
    """A repeat whose answer is forgotten: nothing moved now."""
    NO_GRANT = 9
    """Settled; no units were asked for."""
    NOT_FOUND = 10
    """The original of a refund is not known."""
    TOO_MUCH = 11
    """More is refunded than was paid, or an amount of the back office or a price asked for would pass 2**53."""
    INVALID = 12
    STALE_REVISION = 13
    """If-Match does not name the current revision."""


# --- the account ------------------------------------------------------------------------------------------------


class Bucket(msgspec.Struct, array_like=True):
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


class Take(msgspec.Struct, array_like=True):
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


class Counter(msgspec.Struct, array_like=True):
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


class Account(msgspec.Struct, array_like=True):
    """`{s}:acct:<id>`: all that a charge needs of who pays."""

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


# --- the session ------------------------------------------------------------------------------------------------


class Line(msgspec.Struct, array_like=True):
    """One rating group + service identifier of a session, or the whole of a single-service one."""

    rating_group: int
    """-1 for none."""
    service_id: int
    unit: int
    """Kind the line counts in, fixed by its first grant."""
    total: int = 0
    """Units used so far."""
    paid_ahead: int = 0
    """Units of started blocks that are paid and not used yet."""
    rest: int = 0
    """Left over by the rounding of the current run of equal price (tariffs.units.muldiv)."""
    rest_price: int = 0
    rest_per: int = 0
    rest_rounding: int = 0
    fee_paid: bool = False
    debited: int = 0
    """Money debited so far, micro-units."""
    granted: int = 0
    """Units granted and not reported yet."""
    hold: list[Take] = []
    ladder: msgspec.Raw = NO_BLOB
    """The packed `tariffs.ladder.Ladder` the hold was made with: reports are settled by it."""
    due_ms: int = 0
    """When the hold expires; 0 when nothing is held."""
    final: bool = False
    """Waits for money: a Final-Unit-Indication is outstanding, or the last answer refused the line for credit or for a
    suspension (charging.md section 5: whom RAR goes to)."""
    touched_ms: int = 0
    spent: int = 0
    """Sum of the blocks that money paid, before a minimum or maximum charge..."""
    charged: int = 0
    """... and what was due for it, without the set-up fee."""
    change_ms: int = 0
    """When the price changes inside the hold's ladder; use is reported before or after it; 0: it does not."""
    grade: str = ""
    """Of the last grant."""
    part: int = 0
    """1: what is charged beside the line of the same rating group and service identifier, in another unit."""
    ahead_ms: int = 0
    """When `paid_ahead` lapses, used up or not; 0: never."""
    reach_ms: int = 0
    """Use by time from then on is not priced by `ladder`; 0: all of it is."""


class Answer(msgspec.Struct, array_like=True):
    """A request answered, so that a repeat is answered the same."""

    key: str
    fingerprint: str
    end_to_end: int
    moved: bool
    """False for a refusal that changed nothing: it is only replayed for the same End-to-End-Id."""
    outcome: msgspec.Raw
    at_ms: int = 0


class Session(msgspec.Struct, array_like=True):
    """Field `<session id>` of the hash `{s}:sess:<account>`."""

    version: int
    id: str
    subscriber: str
    service: str
    state: int
    peer: str
    """Origin-Host of the client: RAR and ASR go to it."""
    realm: str
    via: str
    """Origin-Host of the directly connected peer its last request came through."""
    opened_ms: int
    touched_ms: int
    forget_ms: int
    """When a closed session is forgotten; 0 while it is open."""
    due_ms: int
    """Its score in `{s}:due`: no later than the next thing supervision has to do."""
    seen: list[int]
    """Numbers charged, as flat intervals low, high, low, high ... of phase * 2**32 + number."""
    answers: list[msgspec.Raw]
    """The last ANSWERS_KEPT, each a packed `Answer`: a request looks into those of its own key only."""
    lines: list[Line]
    facts: msgspec.Raw = NO_BLOB
    """What its requests told that prices depend on, the last one told of each (balances/facts.py)."""
    incarnation: int = 1
    """How often the Session-Id was begun (charging.md section 3). All but `id` and `former` begins anew with it."""
    initial: msgspec.Raw = NO_BLOB
    """The packed `Answer` of the INITIAL, kept for as long as the session; NO_BLOB before there was one."""
    reported: bool = False
    """Something came after the INITIAL."""
    former: list[msgspec.Raw] = []
    """Packed answers of earlier incarnations, the newest first."""
    origin_state: int = 0
    """Origin-State-Id of `peer` when it last asked something of the session; 0: it said none."""


# --- a charge ---------------------------------------------------------------------------------------------------


class ReportPeriod(IntEnum):
    """When reported use happened, if the price changed inside the grant (RFC 8506 section 8.27)."""

    BEFORE = 0
    """Also where nothing is said."""
    INDETERMINATE = 1
    AFTER = 2


class UsageReport(msgspec.Struct, array_like=True):
    """Use reported for a line, one per tariff period; amounts in each unit, -1 where none was given."""

    money: int
    octets: int
    seconds: int
    units: int
    at_ms: int
    """Instant of the use: for seconds, its end."""
    period: int = ReportPeriod.BEFORE


class NextPrice(msgspec.Struct, array_like=True):
    """What prices use by time from an instant on."""

    from_ms: int
    ladder: msgspec.Raw
    """Packed Ladder; NO_BLOB: nothing of its own, the one before goes on."""


CUTS_MAX: Final = 64
"""Pieces that use by time is cut into in one call. What is left then has no price."""


class Ask(msgspec.Struct, array_like=True):
    """One line of a request."""

    rating_group: int
    service_id: int
    unit: int
    """Kind to grant in, and to settle in where the line has none yet."""
    reports: list[UsageReport]
    asked: int
    """Units wanted: -1 no grant, 0 the default, else the amount. Of an event: -1 for zero, which costs nothing.
    Of a refund: 0 all that is left."""
    default: int
    minimum: int
    maximum: int
    priority: int
    """Lower is served first when funds are short."""
    ladder: msgspec.Raw
    """Packed Ladder in force now; NO_BLOB when the line cannot be rated (`refusal` says why)."""
    validity_ms: int
    """Jittered Validity-Time of a grant; the hold lives twice as long."""
    change_ms: int = 0
    """When the price of volume changes inside the ladder, 0: it does not."""
    free: bool = False
    """Price 0: granted under credit suspension too."""
    emergency: bool = False
    """Never refused."""
    portal: bool = False
    """The service's final action keeps a refused user online (REDIRECT, RESTRICT_ACCESS)."""
    refusal: int = Result.OK
    """Decided by rating: RATING_FAILED, NOT_APPLICABLE, DENIED; use is settled all the same."""
    whole: bool = False
    """All that is wanted or nothing."""
    until_ms: int = 0
    """No grant is used beyond this instant, from which on `ladder` does not price use by time; 0: no such instant."""
    dearest: msgspec.Raw = NO_BLOB
    """A grant that may be used on both sides of `change_ms` holds by this ladder, and the network is told of the change
    (Tariff-Time-Change); NO_BLOB: none may."""
    blocks: bool = False
    """Granted to the end of the last block."""
    part: int = 0
    """1: beside the ask before it, in another unit: both are granted, or neither is."""
    set_aside: int = Suspense.NONE
    """Not NONE: what this line reports is not charged, for this reason; its hold is released all the same. One of
    TOO_MANY_LINES is no line of the session."""
    flags: int = 0
    """Marks of what it reports (Flag), decided before."""
    later: list[NextPrice] = []
    """What prices use by time after the ladder it began with, in order."""
    known_ms: int = 0
    """How far `later` knows; use from then on has no price. 0: to the end of what is used."""


class Charge(msgspec.Struct, array_like=True):
    """Input of charge.lua: one credit-control request of one account."""

    account: str
    subscriber: str
    session: str
    """Session-Id, with "|<CC-Sub-Session-Id>" where there is one."""
    service: str
    phase: int
    number: int
    key: str
    """Request key inside the session: "<phase>:<number>", with End-to-End-Id for peers that reuse numbers."""
    countable: bool
    """The number may be remembered in `Session.seen` (false for peers that reuse numbers)."""
    fingerprint: str
    """Hash of the money content: units per line, asks, action."""
    end_to_end: int
    resend: bool
    """The T bit: potentially retransmitted."""
    now_ms: int
    event_ms: int
    profile_rev: int
    asks: list[Ask]
    peer: str
    realm: str
    via: str
    action: int = Action.DEBIT
    once_key: str = ""
    """EVENT: where its answer is kept (keys.event_key)."""
    overrun_factor: int = 10
    """Reported use above this many times the grant, or above the maximum if that is more, goes to suspense."""
    remember_ms: int = 3_600_000
    """How long a closed session, or an event's answer, is remembered."""
    idle_ms: int = 172_800_000
    """How long a session that holds nothing stays open."""
    single: bool = False
    """A request without Multiple-Services-Credit-Control: a refused UPDATE ends the session (RFC 8506 table 6)."""
    flags: int = 0
    """Flags decided before (EVENT_TIME)."""
    refund_of: str = ""
    """REFUND: once key of the original event (see keys.event_key)."""
    original: msgspec.Raw = NO_BLOB
    """REFUND: the original as PostgreSQL has it (packed Once), for when Redis no longer does."""
    refund_free: int = 0
    """REFUND without original: the most the service allows, micro-units (0: not allowed)."""
    refund_until_ms: int = 0
    """REFUND: until when units given back to a bucket that is gone can be used."""
    told: msgspec.Raw = NO_BLOB
    """Facts that this request of a session tells (balances/facts.py)..."""
    facts: msgspec.Raw = NO_BLOB
    """... and those it was rated by. If these are not what the session told before, with `told`, nothing is done, and
    the reply `facts` brings what the session told: it is to be rated again."""
    seek: bool = False
    """UPDATE, STOP: where the account does not have the session nothing is written: the answer is `elsewhere`."""
    origin_state: int = 0
    """Origin-State-Id of `peer`; 0: it said none."""
    actor: str = ""
    """Of the back office: who gives it back, ..."""
    reason: str = ""
    """... why, ..."""
    reference: str = ""
    """... and what they call it."""


class LineOutcome(msgspec.Struct, array_like=True):
    rating_group: int
    service_id: int
    unit: int
    result: int
    granted: int
    """Units the client may use until it reports, 0 with `result` OK only for NO_GRANT."""
    validity_ms: int
    change_ms: int
    final: bool
    cost: int
    """Money debited by this request, micro-units."""
    debited: int
    """Money debited by the line so far."""
    flags: int = 0
    grade: str = ""
    """How what is granted is delivered."""
    part: int = 0


class Outcome(msgspec.Struct, array_like=True):
    """What is answered, stored with the request's key; everything an answer needs that is not in the request."""

    result: int
    lines: list[LineOutcome]
    cost: int = 0
    """Money debited by this request."""
    debited: int = 0
    """Money debited by the session so far."""
    balance: int = 0
    """Own money after the call: settled balance, holds not subtracted."""
    enough: bool = True
    """CHECK_BALANCE."""
    low: bool = False
    """Settled balance is below `resume_at` (Low-Balance-Indication)."""


class IdempotencyRecord(msgspec.Struct, array_like=True):
    """`{s}:once:<account>:<key>`: the answer of an event or of a posting, for a limited time."""

    version: int
    fingerprint: str
    end_to_end: int
    moved: bool
    outcome: msgspec.Raw
    units: int = 0
    """Units debited and not refunded yet."""
    cost: int = 0
    """Money debited and not refunded yet."""
    takes: list[PaidAmount] = []
    """What was paid and not refunded yet, in the order it was paid."""
    feeds: list[Feed] = []
    """What counters were raised by and not turned back yet."""
    terms: str = ""
    """Tax and exchange rate it was debited with."""


class PaidAmount(msgspec.Struct, array_like=True):
    """An amount of one bucket that an event cost."""

    bucket: int
    amount: int
    kind: int


class Feed(msgspec.Struct, array_like=True):
    """A counter raised by an event, or as it stood before use."""

    key: str
    amount: int
    what: int = 0
    """COUNT_UNITS or COUNT_MONEY."""
    until_ms: int = 0
    """End of the period or window it was raised in."""


# A script returns a Redis array: a word of its EXIT line, then (charge and post) the packed outcome, then the
# changes it made to the number of open sessions, of lines that hold something, and of the money held.
class Reply(msgspec.Struct):
    """What every script returns, decoded."""

    status: str
    outcome: bytes = b""
    sessions: int = 0
    holds: int = 0
    held_micro: int = 0
    marks: int = 0
    """charge: what was unusual about the request (Flag), to be counted for its sender."""


# --- postings ---------------------------------------------------------------------------------------------------


class Posting(msgspec.Struct, array_like=True):
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


class Post(msgspec.Struct, array_like=True):
    """Input of post.lua: top-up, adjustment, refund, fee: all its postings or none, once per key."""

    account: str
    key: str
    """"" for none: then nothing protects a repeat."""
    fingerprint: str
    now_ms: int
    postings: list[Posting]
    own_only: bool
    """Refuse what free own money (amount - held) does not cover."""
    remember_ms: int
    actor: str
    reason: str
    reference: str = ""
    keeps_held: bool = False
    """Refuse to take from the main bucket what is held: it and the credit limit would not cover that any more."""


class PostingOutcome(msgspec.Struct, array_like=True):
    """Outcome of post.lua: the entries, in order."""

    result: int
    entries: list[Entry]
    balance: int
    state: int


class AccountSettings(msgspec.Struct, array_like=True):
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


class Sweep(msgspec.Struct, array_like=True):
    """Input of sweep.lua: one session, or the account's buckets where `session` is ""."""

    account: str
    session: str
    now_ms: int
    remember_ms: int = 3_600_000
    idle_ms: int = 172_800_000
    touched_ms: int = 0
    """End the session now, abandoned and with its holds released, if it was last touched at this instant: its client
    does not know it any more. 0: only what is due."""


class RestoredKey(msgspec.Struct, array_like=True):
    """A packed session or Once to put back, and the instant supervision looks at it or it is forgotten."""

    key: str
    packed: msgspec.Raw
    until_ms: int


class AccountOpening(msgspec.Struct, array_like=True):
    """Input of open.lua: an account as it comes in, with nothing held."""

    account: msgspec.Raw
    sessions: list[RestoredKey]
    onces: list[RestoredKey]
    now_ms: int
    kind: str
    """"open" a new account, "restore" one PostgreSQL knows."""
    actor: str = ""


# --- the record -------------------------------------------------------------------------------------------------


class Entry(msgspec.Struct, array_like=True):
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


class Short(msgspec.Struct, array_like=True, frozen=True):
    """A bucket that could have paid, if others did not hold it."""

    bucket: int
    kind: int


class Usage(msgspec.Struct, array_like=True):
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
    counters: list[Feed] = []
    """Counters its steps depend on, as they stood before it."""
    part: int = 0
    set_aside: int = Suspense.NONE
    """Why `suspense` was not charged. What is not NONE is in the list of suspense."""


class Record(msgspec.Struct, array_like=True):
    """Field `r` of a stream entry: what one call did. Fields `a`, `s`, `o`, `c`, `p`, absent where there is none, carry
    the account, session and Once after the call, the rating inputs, and the Once of a refunded event, packed: with them
    the call can be redone."""

    version: int
    kind: str
    """charge, post, open, settings, sweep, restore"""
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
    crossings: list[str] = []
    """"suspend", "resume": once per crossing of a threshold."""
    nudges: list[str] = []
    """RARs due now: "holder" the session that holds most of what is `short`, "final" every session that waits for money
    (some came in, or room), "all" every session that holds something (a lower limit), "members" those of subscribers
    the account serves no more."""
    once_key: str = ""
    once_until_ms: int = 0
    refund_of: str = ""
    """Once key of the event refunded; field `p` of the stream entry is that Once after the refund."""
    incarnation: int = 0
    """Of the session; 0 where there is none."""
    short: list[Short] = []
    """What a line was refused, or granted little of, because others hold it."""
