"""What is remembered of requests: sessions with their lines and answers, and answers of what is done once."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import msgspec

from balances.structs.account import CounterAmount, Take
from balances.structs.blob import NO_BLOB

ANSWERS_KEPT: Final = 4

FORMER_KEPT: Final = 10
"""Answers of earlier incarnations a session keeps: of the last one its INITIAL's and four more, and as many before."""

SAME_MS: Final = 240_000
"""So long after an answer the same End-to-End-Id means the same request (RFC 6733 section 3)."""

SESSION_LINES_MAX: Final = 128
"""Lines a session keeps: beyond that the one idle for longest makes room, or the new one is refused a grant."""

INTERVALS_MAX: Final = 64
"""Intervals of numbers a session remembers."""

FACTS_MAX: Final = 4_096
"""Octets of facts a session keeps (charging.md 5)."""

LADDERS_KEPT: Final = 1_000
"""Ladders that a server keeps unpacked."""

BYGONES_KEPT: Final = 2
"""Ended incarnations whose counters a session keeps, for reports that come late."""

WHOLE: Final = -2
"""In the place of a line: all lines of a session."""


class SessionState(IntEnum):
    OPEN = 1
    CLOSED = 2
    REFUSED = 3
    """Its INITIAL was refused: nothing is held, a repeat is decided anew."""
    ABANDONED = 4
    """Its last hold expired unreported; a report reopens it."""
    UNKNOWN = 5
    """Only known from a report without an INITIAL: kept so that the report is charged once."""


class CounterReading(msgspec.Struct, array_like=True, gc=False):
    """How far a counter of the client was counted (`charge.Cumulative`)."""

    place: int
    value: int
    """All that it showed, also what was set aside; one that wrapped goes on here."""
    at_ms: int
    """Instant of the newest report of it."""


class RoundedSum(msgspec.Struct, array_like=True, gc=False):
    """What lines come to that are rounded together, before that (`tariffs.ladder.Ladder.sum_to`)."""

    to: int
    rounding: int
    exact: int
    """Micro-units. Charged of it is what it is rounded to, always."""


class Line(msgspec.Struct, array_like=True, gc=False):
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
    """Sum of the blocks that money paid, less what is off, before rounding, a minimum or maximum charge..."""
    charged: int = 0
    """... and what was due for it, without the set-up fee."""
    change_ms: int = 0
    """When the price changes inside the hold's ladder; use is reported before or after it; 0: it does not."""
    grade: str = ""
    """Of the last grant."""
    secondary: int = 0
    """1: what is charged beside the line of the same rating group and service identifier, in another unit."""
    ahead_ms: int = 0
    """When `paid_ahead` lapses, used up or not; 0: never."""
    reach_ms: int = 0
    """Use by time from then on is not priced by `ladder`; 0: all of it is."""
    readings: list[CounterReading] = []
    """Of the counters that its reports show."""


def waits_for_money(line: Line) -> bool:
    """Whether it waits for money and holds none: nothing at all, or the rest of a block that is paid."""
    return line.final and not line.hold and line.granted <= line.paid_ahead


class Answer(msgspec.Struct, array_like=True, gc=False):
    """A request answered, so that a repeat is answered the same."""

    key: str
    fingerprint: str
    end_to_end: int
    moved: bool
    """False for a refusal that changed nothing: it is only replayed for the same End-to-End-Id."""
    outcome: msgspec.Raw
    at_ms: int = 0


class Bygone(msgspec.Struct, array_like=True, gc=False):
    """An incarnation that ended, of a session whose client reports by counters: what comes late is charged there."""

    incarnation: int
    token: str
    began_ms: int
    lines: list[Line]
    """They hold nothing."""
    sums: list[RoundedSum] = []


class Session(msgspec.Struct, array_like=True, gc=False):
    """Field `<session id>` of the hash `{s}:acct:<account>`, beside its account."""

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
    token: str = ""
    """Of the newest report, as the next four: the reference it was authorised under (`Charge.token`) ..."""
    began_ms: int = 0
    """... when it began by the client's clock ..."""
    lasted_s: int = -1
    """... how long it had lasted ..."""
    reported_ms: int = 0
    """... and the instant of that report; 0: there was none."""
    met_begin: bool = False
    """The client said that it begins: what its counters can show is known from then on."""
    bygone: list[Bygone] = []
    """The newest first."""
    identification: str = ""
    """By what `peer` knows it, where that is more than `id`: attributes of RADIUS as hex (RFC 5176 section 3)."""
    sums: list[RoundedSum] = []
    """Of lines that are rounded with their session, those of each rounding."""


class PaidAmount(msgspec.Struct, array_like=True, gc=False):
    """An amount of one bucket that an event cost."""

    bucket: int
    amount: int
    kind: int


class IdempotencyRecord(msgspec.Struct, array_like=True, gc=False):
    """`{s}:once:<account>:<key>`: the answer of an event or of a posting, for a limited time."""

    version: int
    fingerprint: str
    end_to_end: int
    moved: bool
    outcome: msgspec.Raw
    units: int = 0
    """Units debited and not refunded yet. Of a refund by the back office this and the next three are what it gave
    back, in the same places."""
    cost: int = 0
    """Money debited and not refunded yet."""
    takes: list[PaidAmount] = []
    """What was paid and not refunded yet, in the order it was paid."""
    counted: list[CounterAmount] = []
    """What counters were raised by and not turned back yet."""
    terms: str = ""
    """Tax and exchange rate it was debited with. Of a refund by the back office: fingerprint and end-to-end id of the
    event, whose key may be used again."""
