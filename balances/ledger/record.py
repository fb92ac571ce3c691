"""One entry of a shard's stream, and the rows it becomes. Pure.

A stream entry `<epoch>-<n>` carries packed structs of balances/structs in named fields:
r Record, a Account, s Session, o Once (all after the call), p Once of the event a refund gave back, c rating inputs.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec

from balances.facts import of_line
from balances.keys import is_nobody, suspense_id, voucher_of
from balances.ledger import granted, terms
from balances.ledger.intents import intent_of, row_of
from balances.ledger.transfers import leg_row
from balances.packing import unpack_answer
from balances.structs.account import Account, Take
from balances.structs.blob import FORMAT, NO_BLOB, READS, blob_of
from balances.structs.charge import Flag
from balances.structs.record import Record, Usage
from balances.structs.session import IdempotencyRecord
from balances.structs.thresholds import Crossing, CrossingOf
from tariffs.ladder import as_kept, limits_of
from tariffs.units import Kind


class RecordId(NamedTuple):
    """Names a record inside its shard for ever: the opening it was written under, and its number in it."""

    epoch: int
    n: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.n}" if self.n >= 0 else "0-0"


START: Final = RecordId(0, -1)
"""Before every record."""


def parse_id(text: bytes) -> RecordId:
    epoch, _, n = text.decode().partition("-")  # of octets `int` makes text first, each time
    return RecordId(int(epoch), int(n))


def follows(before: RecordId, after: RecordId, opened_epoch: int) -> bool:
    """Whether nothing can be missing between two records read one after the other.

    Inside an epoch n counts without gap; a new epoch counts from 0. That the end of the older epoch is complete is
    known only when PostgreSQL itself opened the new one, because an opening copies all there was before.
    """
    if after.epoch == before.epoch:
        return after.n == before.n + 1
    return after.n == 0 and after.epoch == opened_epoch


class LineHead(msgspec.Struct, array_like=True, gc=False):
    """The front of Line, as far as what it holds is concerned."""

    rating_group: int
    service_id: int
    unit: int
    total: int = 0
    paid_ahead: int = 0
    rest: int = 0
    rest_price: int = 0
    rest_per: int = 0
    rest_rounding: int = 0
    fee_paid: bool = False
    debited: int = 0
    granted: int = 0
    hold: list[Take] = []
    ladder: msgspec.Raw = NO_BLOB
    due_ms: int = 0


class SessionHead(msgspec.Struct, array_like=True, gc=False):
    """The front of Session: what the writer and the gauges need, without unpacking its answers and holds."""

    version: int
    id: str
    subscriber: str
    service: str
    state: int
    peer: str
    realm: str
    via: str
    opened_ms: int
    touched_ms: int
    forget_ms: int
    due_ms: int
    seen: msgspec.Raw
    answers: list[msgspec.Raw]
    lines: list[LineHead]
    facts: msgspec.Raw = NO_BLOB
    incarnation: int = 1
    initial: msgspec.Raw = NO_BLOB
    reported: bool = False
    former: list[msgspec.Raw] = []

    @property
    def holds(self) -> int:
        """Lines with a hold."""
        held = 0
        for line in self.lines:
            if line.due_ms:
                held += 1
        return held


class RecordedCall(msgspec.Struct, gc=False):
    """A decoded stream entry."""

    id: RecordId
    record: Record
    packed: bytes
    account_state: bytes | None
    session_state: bytes | None
    once_state: bytes | None
    refund_state: bytes | None
    inputs: bytes | None
    fields: list[bytes] = []
    """The entry as it stood in the stream: name, value, name, value ..."""
    broken: str = ""
    """Why it cannot be copied, "" when it can. Then only `record.account` and what else can be read is right."""
    account_after: Account | None = None
    """`account_state`, of one that was read in a stream."""
    session_after: SessionHead | None = None
    """Of `session_state`, likewise."""

    @property
    def ends(self) -> list[tuple[int, int]]:
        """(bucket, until_ms) of buckets of the account after it that end."""
        after = self.account_after
        return [] if after is None else [(bucket.id, bucket.until_ms) for bucket in after.buckets if bucket.until_ms]

    def raw(self) -> list[bytes]:
        """The whole entry; what an opening wrote for an account (snapshot.py) stood in no stream."""
        if self.fields:
            return self.fields
        named = (self.packed, self.account_state, self.session_state, self.once_state, self.refund_state, self.inputs)
        return [part for name, value in zip(b"rasopc", named, strict=True) if value for part in (bytes((name,)), value)]


class Undecodable(Exception):
    """A stream entry that does not even say which account it is of."""


class NewerFormat(Exception):
    """A record of a stored format that this build does not read: it is for another process, and for nobody's
    quarantine. It is met only where this one was not heard of when the store came to be written so."""


class WordedRecord(Record, array_like=True):
    """A record as it was written before a crossing said more than its kind."""

    threshold_events: list[Any] = msgspec.field(default_factory=list)


BROKEN: Final = "broken"
"""Kind of what stands for a record that cannot be read."""

_RECORD: Final = msgspec.msgpack.Decoder(Record)
_WORDED: Final = msgspec.msgpack.Decoder(WordedRecord)
_ACCOUNT: Final = msgspec.msgpack.Decoder(Account)
_ONCE: Final = msgspec.msgpack.Decoder(IdempotencyRecord)
_ANY: Final = msgspec.msgpack.Decoder()
session_head: Final = msgspec.msgpack.Decoder(SessionHead).decode
_JSON: Final = msgspec.json.Encoder()
_pack: Final = msgspec.msgpack.Encoder().encode


def decode(entry: list[Any]) -> RecordedCall:
    """`[id, [field, value, ...]]` as the server sends it. What cannot be read is still a call, `broken`, of the account
    that it names; Undecodable when it names none."""
    at, raw = entry
    fields = dict(zip(*[iter(raw)] * 2, strict=False))
    get = fields.get
    packed = get(b"r", b"")
    account, session = get(b"a") or None, get(b"s") or None
    once, refund = get(b"o") or None, get(b"p") or None
    broken, after, head = "", None, None
    try:
        record = _record(packed)
        if record.version > READS[-1]:
            raise NewerFormat(f"a record of stored format {record.version}; this version reads up to {READS[-1]}")
        # Whatever a restore will read has to be readable.
        if account is not None:
            after = _ACCOUNT.decode(account)
            if after.id != record.account:
                broken = "the account after it is another one than its own"
        if session is not None:
            head = session_head(session)
        if once is not None:
            _ONCE.decode(once)
        if refund is not None:
            _ONCE.decode(refund)
    except (ValueError, msgspec.MsgspecError) as why:
        broken = f"it cannot be read: {why}"
        record = Record(FORMAT, BROKEN, named_account(fields), "")
        if not record.account:
            raise Undecodable(f"stream entry {at.decode(errors='replace')} cannot be read: {why}") from why
    return RecordedCall(
        parse_id(at), record, packed, account, session, once, refund, get(b"c") or None, raw, broken, after, head
    )


def _record(packed: bytes) -> Record:
    try:
        return _RECORD.decode(packed)
    except msgspec.ValidationError:
        record = _WORDED.decode(packed)
        if not all(isinstance(word, str) for word in record.threshold_events):
            raise
        events = [Crossing(word, CrossingOf.ACCOUNT, "", 0, 0) for word in record.threshold_events]
        return Record(**msgspec.structs.asdict(record) | {"threshold_events": events})


def crossings_json(crossings: list[Crossing]) -> str | None:
    """As `calls.threshold_events` has them; NULL where there are none."""
    if not crossings:
        return None
    rows = [msgspec.structs.asdict(one) | {"unit": Kind(one.unit).name.lower()} for one in crossings]
    return _as_jsonb(rows)


def named_account(fields: Mapping[bytes, bytes]) -> str:
    """Whose an entry is that cannot be read as a whole, "" when it does not say: the record names the account in its
    third place, the state after it in its second."""
    for name, place in ((b"r", 2), (b"a", 1)):
        try:
            found = _ANY.decode(fields[name])[place]
        except (KeyError, IndexError, TypeError, ValueError, msgspec.MsgspecError):
            continue
        if isinstance(found, str) and found:
            return found
    return ""


INDEXED_MAX: Final = 400


def fit(text: str) -> str:
    """A peer's text as PostgreSQL can keep and index it: no NUL, and short enough for a b-tree page.

    One peer with a strange Session-Id must not stop the copying of a shard. Look-ups pass through here too.
    """
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    if len(text) > INDEXED_MAX:
        text = text[:INDEXED_MAX] + "#" + hashlib.sha256(text.encode()).hexdigest()
    return text


@lru_cache(4_096)
def inputs_json(packed: bytes) -> str:
    """Rating inputs as jsonb takes them."""
    try:
        return _as_jsonb(_ANY.decode(packed))
    except (msgspec.MsgspecError, TypeError, ValueError):
        return '{"packed":"' + b64encode(packed).decode() + '"}'


_NUL: Final = re.compile(r"((?<!\\)(?:\\\\)*)\\u0000")
"""As JSON writes it. The six characters `\\u0000` of a peer's text are no NUL: their backslash is written as two."""


def _as_jsonb(value: Any) -> str:
    """JSON without NUL, for which jsonb has no room."""
    text = _JSON.encode(value).decode()
    return _NUL.sub("\\1\ufffd", text) if "\\u0000" in text else text


def inputs_by_line(packed: bytes) -> Callable[[int, int], str]:
    """(rating group, service identifier) -> rating inputs of that line, as jsonb takes them."""
    if b"\xa5lines" not in packed:
        text = inputs_json(packed)
        return lambda group, service_id: text
    try:
        inputs = _ANY.decode(packed)
        lines = msgspec.convert(inputs.pop("lines", []), list[tuple[int, int, dict[str, int | str]]])
    except (msgspec.MsgspecError, AttributeError):
        text = inputs_json(packed)
        return lambda group, service_id: text
    return lambda group, service_id: inputs_json(_pack(inputs | of_line(lines, group, service_id)))


CALL_COLUMNS: Final = (
    "shard", "epoch", "n", "position", "account", "session", "kind", "phase", "subscriber", "service", "request_key",
    "fingerprint", "end_to_end", "at_ms", "event_ms", "actor", "reason", "reference", "threshold_events",
    "session_state", "once_key", "refund_of", "incarnation", "generation",
)  # fmt: skip
USAGE_COLUMNS: Final = (
    "account", "epoch", "n", "line", "shard", "currency", "subscriber", "session", "service", "request_key", "phase",
    "at_ms", "rating_group", "service_id", "unit", "used", "suspense", "total", "cost", "granted", "result", "flags",
    "tag", "inputs", "secondary", "terms", "ladder", "counters", "set_aside", "incarnation", "limits",
    "exact", "priced",
)  # fmt: skip
ENTRY_COLUMNS: Final = (
    "account", "seq", "shard", "epoch", "n", "bucket", "kind", "amount", "after", "currency", "counter_account", "why",
    "at_ms", "request_key", "usage_line", "actor", "reason", "reference", "net", "tax", "currency_rate",
    "original_account", "original_seq", "tags",
)  # fmt: skip

Row = tuple[Any, ...]

Chain = dict[int, int]
"""Balance after the last entry by bucket, and the last seq under SEQ."""
SEQ: Final = -1


class Rows(NamedTuple):
    """What one batch adds to the tables."""

    calls: list[Row]
    usages: list[Row]
    entries: list[Row]
    ladders: dict[bytes, bytes]
    """Hash -> packed ladder, as usage records name them."""
    suspense: list[Row]
    """Columns of balances.ledger.suspense."""
    shown: list[Row]
    """The same of nobody known, where the amount is what a counter shows."""
    settled: list[Row]
    """Of that list, what was charged: id, payer, money, entry, who, why, when."""
    credited: list[Row]
    """Of the claims of vouchers, what was credited: batch, serial, entry, when."""
    copied: list[tuple[int, RecordedCall]]
    """(shard, call) of each of `calls`: what events follow from (events.py)."""
    intents: list[Row]
    """Columns of balances.ledger.intents."""
    legs: list[Row]
    """Parameters of balances.ledger.transfers."""
    granted: list[Row]
    """Parameters of balances.ledger.granted."""
    taken_back: list[Row]
    """Account and number of each entry that a reversal took back."""
    chains: dict[str, Chain]
    """Where the entries of each account lead, for `account_heads`."""

    def lengths(self) -> tuple[int, ...]:
        """How many there are of each, but for ladders: one too many does no harm."""
        return (
            len(self.calls), len(self.usages), len(self.entries), len(self.suspense), len(self.shown),
            len(self.settled), len(self.credited), len(self.copied), len(self.intents), len(self.legs),
            len(self.granted), len(self.taken_back),
        )  # fmt: skip

    def cut(self, lengths: tuple[int, ...]) -> None:
        """Take back what was added since."""
        for rows, length in zip((rows for rows in self if isinstance(rows, list)), lengths, strict=True):
            del rows[length:]


def no_rows() -> Rows:
    """To begin with."""
    return Rows([], [], [], {}, [], [], [], [], [], [], [], [], [], {})


def without_usages(call: RecordedCall) -> RecordedCall:
    """A call whose usage is on record already."""
    return msgspec.structs.replace(call, record=msgspec.structs.replace(call.record, usages=[]))


@lru_cache(16_384)
def ladder_hash(packed: bytes) -> bytes:
    """By its content: the same ladder is kept once."""
    return hashlib.blake2b(packed, digest_size=16).digest()


_BLANK: Final[tuple[object, ...]] = (FORMAT, "", "", "", 0, "", "", "", 0, 0, 0, 0, [])
_ANSWERED: Final = b"\x9f" + b"".join(map(_pack, _BLANK))
"""Up to its answers, of a packed Session of which the rest has defaults."""
_UNANSWERED: Final = _ANSWERED + b"\x90\x90"


def answered(record: Record, session: bytes, head: SessionHead) -> bytes:
    """What `calls` keeps of a session after a call: a packed Session with nothing in it but the answer of this very
    request. The whole of it, which is in `session_heads`, made more than half of a row that is kept 30 days. Where an
    answer cannot be read, it is kept whole: that must not keep money from the ledger."""
    fingerprint = fit(record.fingerprint)
    try:
        for raw in (*reversed(head.answers), head.initial, *head.former):
            if raw == NO_BLOB:
                continue
            answer = unpack_answer(raw)
            if answer.key == record.key and answer.fingerprint == fingerprint:
                return b"".join((_ANSWERED, b"\x91", raw, b"\x90"))
    except (ValueError, LookupError, msgspec.MsgspecError):
        return session
    return _UNANSWERED


_ABANDONED: Final = int(Flag.ABANDONED)
_COUNTER: Final = int(Flag.COUNTER)
"""A flag asked for as a flag costs as much as all else of a row."""


def _incarnation(record: Record, usage: Usage) -> int:
    """What an INITIAL found held when it began the session again is of the one before."""
    ended = record.kind == "charge" and usage.flags & _ABANDONED
    return record.incarnation - 1 if ended else record.incarnation


def add_rows(rows: Rows, shard: int, position: int, call: RecordedCall) -> None:
    """Append the rows of one call, in the order of the columns above."""
    record = call.record
    epoch, n = call.id
    account, session, key = fit(record.account), fit(record.session), fit(record.key)
    subscriber, service = fit(record.subscriber), fit(record.service)
    actor, reason, reference = fit(record.actor) or None, fit(record.reason) or None, fit(record.reference) or None
    state = None
    if call.session_state is not None:
        head = call.session_after
        if head is None:  # what an opening wrote, which stood in no stream
            head = call.session_after = session_head(call.session_state)
        state = answered(record, call.session_state, head)
    keeps = call.once_state is not None
    refunds = call.refund_state is not None
    rows.calls.append((
        shard, epoch, n, position, account, session, record.kind, record.phase, subscriber, service, key,
        fit(record.fingerprint), record.end_to_end, record.at_ms, record.event_ms, actor, reason, reference,
        crossings_json(record.threshold_events), state, fit(record.once_key) if keeps else None,
        fit(record.refund_of) if refunds else None, record.incarnation, record.generation,
    ))  # fmt: skip
    rows.copied.append((shard, call))
    intent = intent_of(shard, call.id, record, call.account_state)
    if intent is not None:
        rows.intents.append(row_of(intent, account, session))
    if record.transfer:
        rows.legs.append(leg_row(record, account, fit(record.counterpart), call.once_state))
    if record.usages:
        inputs_of = inputs_by_line(call.inputs) if call.inputs is not None else None
        for line, usage in enumerate(record.usages):
            inputs = inputs_of(usage.rating_group, usage.service_id) if inputs_of is not None else None
            whole = blob_of(usage.ladder)
            packed, limits = as_kept(whole), limits_of(whole)
            ladder = ladder_hash(packed) if packed else None
            if ladder is not None:
                rows.ladders[ladder] = packed
            counters = _as_jsonb({fed.key: fed.amount for fed in usage.counters}) if usage.counters else None
            rows.usages.append((
                account, epoch, n, line, shard, record.currency, subscriber, session, service, key, record.phase,
                usage.at_ms, usage.rating_group, usage.service_id, usage.unit, usage.used, usage.suspense, usage.total,
                usage.cost, usage.granted, usage.result, usage.flags, usage.tag, inputs, usage.secondary,
                usage.terms or None, ladder, counters, usage.set_aside, _incarnation(record, usage),
                _as_jsonb(limits) if limits else None, None if usage.exact < 0 else usage.exact, usage.priced,
            ))  # fmt: skip
            if usage.set_aside:
                (rows.shown if usage.flags & _COUNTER else rows.suspense).append((
                    f"{shard}-{epoch}-{n}-{line}", None if is_nobody(account) else account,
                    subscriber, session, service, key, usage.rating_group, usage.service_id, usage.unit,
                    usage.suspense, record.currency, usage.set_aside, usage.at_ms, usage.at_ms, inputs,
                ))  # fmt: skip
    for entry in record.entries:
        given = record.usages[entry.line].terms if 0 <= entry.line < len(record.usages) else entry.terms
        net = tax = rate = None
        if terms.says_of_money(given) and entry.kind == Kind.MONEY:
            said = terms.read(given)
            tax, rate = said.tax_in(entry.amount, entry.before), said.rate
            net = entry.amount - tax
        rows.entries.append((
            account, entry.seq, shard, epoch, n, entry.bucket, entry.kind, entry.amount, entry.after,
            record.currency, entry.counter_account, entry.why, record.at_ms, key,
            entry.line if entry.line >= 0 else None, actor, reason, reference, net, tax, rate,
            account if entry.original else None, entry.original or None,
            terms.tagged(given, record.tags) if entry.why != "expiry" else None,
        ))  # fmt: skip
    if record.kind == "post" and (settled := suspense_id(record.key)) is not None:
        rows.settled.extend(
            (settled, account, -entry.amount, entry.seq, actor, reason, record.at_ms) for entry in record.entries[:1]
        )
    if record.kind == "post" and (voucher := voucher_of(record.key)) is not None:
        rows.credited.extend((*voucher, entry.seq, record.at_ms) for entry in record.entries[:1])
    if record.kind == "post":
        for entry in record.entries:
            if entry.why == "refund" and (row := granted.row_of(account, key, entry.amount, entry.terms)):
                rows.granted.append(row)
            elif entry.why == "reversal" and entry.original:
                rows.taken_back.append((account, entry.original))
