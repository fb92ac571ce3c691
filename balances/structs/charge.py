"""One request of charge.lua and what it is answered."""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final

import msgspec

from balances.structs.blob import NO_BLOB

SHARINGS_MAX: Final = 4
"""How often what is short is shared anew, for those whose part of an empty bucket can be had of another one."""
LINES_MAX: Final = 32
"""Lines of a request that are granted something, the first ones ..."""

LINES_SETTLED_MAX: Final = 128
"""... and those whose use is charged; the use of the rest is set aside."""

CUTS_MAX: Final = 64
"""Pieces that use by time is cut into in one call. What is left then has no price."""


SLACK_S: Final = 60
"""A counter of seconds may show so many more than its session is open (charging.md section 2)."""


class Phase(IntEnum):
    """What a request asks of the session. Also the high part of a seen number."""

    START = 1
    UPDATE = 2
    STOP = 3
    EVENT = 4
    RECORD = 5
    """Use that has already happened: charged without a grant."""


class Course(IntEnum):
    """What a request says of a session that its client runs by itself and reports by counters (charging.md 8)."""

    NONE = 0
    """It is no such session."""
    BEGINS = 1
    GOES_ON = 2
    ENDS = 3


SAME_START_MS: Final = 60_000
"""Two reports whose sessions began no further apart may be of one session."""


class Action(IntEnum):
    """What an EVENT asks (RFC 8506 section 8.41)."""

    DEBIT = 0
    REFUND = 1
    CHECK = 2
    PRICE = 3


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
    CLOCK = 65536
    """The client named another reference or begin for a session whose counters go on."""
    COUNTER = 131072
    """What was set aside of nobody known is what a counter shows: all since its session began."""


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
    TOO_MANY_SESSIONS = 14
    """As many sessions of the subscriber are open as may be. Of no outcome: nothing is on record."""
    LIMITED = 15
    """The back office would move more in a period than it may (`Post.counts`)."""


class ReportPeriod(IntEnum):
    """When reported use happened, if the price changed inside the grant (RFC 8506 section 8.27)."""

    BEFORE = 0
    """Also where nothing is said."""
    INDETERMINATE = 1
    AFTER = 2


class Cumulative(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """A counter of the client that shows all use since the session began, as RADIUS accounting has (charging.md 8)."""

    place: int
    """Which one of its line, from 1."""
    wraps_at: int = 0
    """It begins again at 0 there, as one of 32 bits does; 0: it does not."""
    per_second: int = 0
    """It gains no more in a second; 0: nobody says."""
    counted: int = 0
    """What PostgreSQL knows was counted of it, in a session that the live store has forgotten."""


class UsageReport(msgspec.Struct, array_like=True, gc=False):
    """Use reported for a line, one per tariff period; amounts in each unit, -1 where none was given."""

    money: int
    octets: int
    seconds: int
    units: int
    at_ms: int
    """Instant of the use: for seconds, its end."""
    period: int = ReportPeriod.BEFORE
    cumulative: list[Cumulative] = []
    """Empty: the amounts are what was used since the last report. Else its one counter, which the amounts show."""


class NextPrice(msgspec.Struct, array_like=True, gc=False):
    """What prices use by time from an instant on."""

    from_ms: int
    ladder: msgspec.Raw
    """Packed Ladder; NO_BLOB: nothing of its own, the one before goes on."""


class Ask(msgspec.Struct, array_like=True, gc=False):
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
    secondary: int = 0
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


class Charge(msgspec.Struct, array_like=True, gc=False):
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
    course: int = Course.NONE
    """Not NONE: the session is its client's, whatever is granted, and is told from another one of its name by ..."""
    token: str = ""
    """... the reference that was given for it when it was authorised; "" says nothing, ..."""
    began_ms: int = 0
    """... by when it began, 0 says nothing, ..."""
    lasted_s: int = -1
    """... and by how long it has lasted; -1 says nothing."""
    adopts: str = ""
    """The session that holds what was authorised before this one began: it ends with this call."""
    identification: str = ""
    """By what `peer` knows the session when it is told something of it; "" says nothing."""
    restarted_ms: int = 0
    """When `peer` last lost all that began before: two begins on both sides of that are two sessions. 0: not asked."""
    sessions_max: int = -1
    """START: so many sessions of the subscriber and service may be open, with this one, else nothing is done and the
    reply is `crowded`; -1: as many as there are. Not counted are ..."""
    replaces: list[str] = []
    """... these, which are told to end because this one begins."""
    moved_rev: int = 0
    """Not 0: the account ceased to pay for the subscriber by this change of the master data. It answers what it knows,
    and settles what it began; for anything else nothing is done and the reply is `elsewhere`, or `untold` where the
    account does not know of the change yet: then a first request may still arrive there (charging.md section 19)."""
    covered: bool = False
    """UPDATE of a session with one line: where less is held than what it reports and asks for, nothing is done and the
    reply is `lapsed` (charging.md section 17)."""


class LineOutcome(msgspec.Struct, array_like=True, gc=False):
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
    secondary: int = 0


class Outcome(msgspec.Struct, array_like=True, gc=False):
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


# A script returns a Redis array: a word of its EXIT line, then (charge and post) the packed outcome, then (charge)
# marks and whether its record is urgent.
class Reply(msgspec.Struct, gc=False):
    """What every script returns, decoded."""

    status: str
    outcome: bytes = b""
    marks: int = 0
    """charge: what was unusual about the request (Flag), to be counted for its sender."""
    urgent: int = 0
    """charge: 1 where its record crosses a threshold or gives reason to ask sessions to report (Record.reauthorize)."""
