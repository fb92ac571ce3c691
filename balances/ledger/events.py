"""Events that follow from records, written in the transaction that copies the record: each exactly once, none skipped,
in order for each account (docs/events.md).

Numbers: whoever appends raises `event_head` last thing before the commit, and holds that row's lock until then. So
numbers have no gap, and become visible in their order: a reader that has read up to a number has missed nothing,
whatever commits late. An account is in one shard, whose row its copier holds: events of an account are in the order of
its records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from balances.keys import is_later_leg, is_nobody, is_return_leg
from balances.ledger import event_data, fee_events
from balances.ledger.event_data import KIND_WORDS, AccountState
from balances.ledger.event_filter import EventFilter
from balances.ledger.heads import states
from balances.ledger.in_words import money, quantity, time_of
from balances.ledger.record import RecordedCall, fit
from balances.packing import unpack_answer
from balances.structs.account import MAIN, NEVER, REFUSING, Account, SuspendReasons
from balances.structs.blob import blob_of
from balances.structs.charge import Flag, Outcome, Phase, Result
from balances.structs.record import PAID_IN, CounterAccount, Record
from balances.structs.session import Session, SessionState
from balances.structs.thresholds import Crossing, CrossingKind, CrossingOf
from tariffs.ladder import limit_key_parts
from tariffs.units import Kind

CHANNEL: Final = "ocs_events"
"""PostgreSQL notifies it with the commit that appends."""

ON_DEMAND: Final = frozenset({"account.opened", "balance.changed", "session.ended", "session.opened"})
"""Types of which there may be as many as calls: written only while somebody asks for them."""

OUTBOX_CHANNEL: Final = "ocs_outbox"
"""PostgreSQL notifies it with the commit that puts something into the outbox."""

COLUMNS: Final = ("seq", "id", "type", "account", "service", "subject", "at_ms", "data")

SUSPENDED: Final = (SuspendReasons.CREDIT | SuspendReasons.FEE | REFUSING) & ~SuspendReasons.CLOSED

_REASONS: Final[dict[SuspendReasons, event_data.SuspensionReason]] = {
    SuspendReasons.CREDIT: "credit",
    SuspendReasons.BARRED: "barred",
    SuspendReasons.FRAUD: "fraud",
    SuspendReasons.OPERATOR: "operator",
    SuspendReasons.OVERDUE: "overdue",
    SuspendReasons.FEE: "fee",
}
_ACCOUNT: Final = msgspec.msgpack.Decoder(Account)
_OUTCOME: Final = msgspec.msgpack.Decoder(Outcome)
GOES_ON: Final = frozenset({Result.OK, Result.SESSION_UNKNOWN, Result.REMEMBERED})
"""How an UPDATE is answered that does not end its session, or finds it ended."""
_SESSION: Final = msgspec.msgpack.Decoder(Session)
_json: Final = msgspec.json.Encoder().encode


Adding = Callable[..., None]
"""(type, data, subject, service): one more event of the record; empty: account and service of the record."""


class EventRow(NamedTuple):
    """An event before it has its number."""

    id: str
    type: str
    account: str
    service: str
    subject: str
    at_ms: int
    data: str
    """JSON."""


async def append(pg: Any, rows: Sequence[EventRow]) -> None:
    """Give events their numbers, last thing in the caller's transaction: appending elsewhere waits for its end."""
    if not rows:
        return
    last = await pg.fetchval("UPDATE event_head SET last = last + $1 RETURNING last", len(rows))
    first = last - len(rows) + 1
    await pg.copy_records_to_table(
        "events", records=[(seq, *row) for seq, row in enumerate(rows, first)], columns=COLUMNS
    )
    await pg.execute(f"NOTIFY {CHANNEL}")


async def put_out(
    pg: Any,
    type_: str,
    data: msgspec.Struct,
    *,
    at_ms: int,
    key: str,
    subject: str,
    account: str = "",
    service: str = "",
) -> None:
    """Put into the outbox what is no record, in the caller's transaction (ocs/events/outbox.py says more)."""
    row = EventRow(
        f"{type_}:{visible(key)}", type_, fit(account), fit(service), fit(subject), at_ms, _json(data).decode()
    )
    await pg.execute(
        "INSERT INTO event_outbox (id, type, account, service, subject, at_ms, data)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7)",
        *row,
    )
    await pg.execute(f"NOTIFY {OUTBOX_CHANNEL}")


def visible(key: str) -> str:
    """An id is one line of text wherever it is sent."""
    return fit("".join(letter if letter.isprintable() else "?" for letter in key))


async def asked_for(pg: Any) -> list[EventFilter]:
    """Who asks for types that are written on demand."""
    found = await pg.fetch("SELECT types, accounts, services FROM event_consumers WHERE until IS NULL OR until > now()")
    filters = {EventFilter(tuple(types), tuple(accounts), tuple(services)) for types, accounts, services in found}
    return [one for one in filters if one.of(ON_DEMAND)]


async def events_of(pg: Any, copied: Sequence[tuple[int, RecordedCall]]) -> list[EventRow]:
    """Those of records that are about to be written, in order; (shard, call)."""
    if not copied:
        return []
    demand = await asked_for(pg)
    before = await _states_before(pg, [call for _, call in copied])
    rows: list[EventRow] = []
    for shard, call in copied:
        if not demand and _tells_nothing(call):
            continue
        try:
            rows.extend(happened(shard, call, demand, before.get(id(call))))
        except Exception as why:  # an event must not keep money from the ledger, and must not be missing silently
            detail = f"shard {shard}, record {call.id}: {why!r}"
            told = event_data.InvariantViolated("no event can be made of a record", detail)
            rows.append(_row(shard, call, "invariant.violated", told))
    return rows


FEE: Final = "fee"
"""Name of the crossing that says that a recurring fee is not paid, or is."""
_EXPIRY: Final = str(CounterAccount.EXPIRY)


def _tells_nothing(call: RecordedCall) -> bool:
    """Whether a record has no event that is always kept: nearly all have none."""
    record = call.record
    if record.kind != "charge" or record.threshold_events:
        return False
    for entry in record.entries:  # noqa: SIM110 - a generator costs more than the rest
        if entry.counter_account == _EXPIRY:
            return False
    return True


def happened(
    shard: int, call: RecordedCall, demand: Sequence[EventFilter], before: int | None = None
) -> list[EventRow]:
    """The events of one record. demand: who asks for what is written on demand; before: state of the account before it
    (SuspendReasons), where settings were changed by hand."""
    record = call.record
    if not record.account or is_nobody(record.account):
        return []
    made: list[EventRow] = []

    def add(type_: str, told: msgspec.Struct, subject: str = "", service: str = "") -> None:
        made.append(_row(shard, call, type_, told, subject, service))

    wanted = {type_ for type_ in ON_DEMAND for one in demand if one.takes(type_, record.account, record.service)}
    kind = record.kind
    if kind == "open" and "account.opened" in wanted and call.account_state is not None:
        add("account.opened", _opened(call))
    if record.session and (wanted or kind == "expire"):
        _of_session(call, wanted, add)
    if "balance.changed" in wanted and record.entries:
        add("balance.changed", _changed(call))
    if kind == "post":
        _of_top_up(call, add)
        _of_adjustment(call, add)
        _of_transfer(call, add)
    if kind == "fee":
        for type_, told in fee_events.of_fee(call):
            add(type_, told, f"{record.account}/{told.bucket}" if isinstance(told, event_data.AllowanceRenewed) else "")
    if record.entries:
        for entry in record.entries:
            if entry.counter_account == CounterAccount.EXPIRY:
                left = quantity(entry.kind, -entry.amount)
                told = event_data.BucketExpired(
                    record.account, entry.bucket, KIND_WORDS[entry.kind], record.currency, left
                )
                add("bucket.expired", told, f"{record.account}/{entry.bucket}")
    if record.threshold_events or kind == "close" or (kind == "settings" and record.actor):
        _of_state(call, before, add)
    if kind == "close":
        _of_merge(call, add)
    return _numbered(made)


def _numbered(made: list[EventRow]) -> list[EventRow]:
    """Several of one type in a record have each an id of its own."""
    seen: dict[str, int] = {}
    rows = []
    for row in made:
        times = seen[row.type] = seen.get(row.type, -1) + 1
        rows.append(row._replace(id=f"{row.id}-{times}") if times else row)
    return rows


def _row(
    shard: int, call: RecordedCall, type_: str, told: msgspec.Struct, subject: str = "", service: str = ""
) -> EventRow:
    """Its id says which record it is of, and is the same for ever (durability.md rule 1)."""
    record = call.record
    of = subject or record.account
    name = f"{shard}-{call.id.epoch}-{call.id.n}-{type_}"
    data = _json(told).decode()
    return EventRow(name, type_, fit(record.account), fit(service or record.service), fit(of), record.at_ms, data)


def _of_session(call: RecordedCall, wanted: set[str], add: Adding) -> None:
    record = call.record
    if record.kind == "expire":
        if record.reason != "abandoned" or call.session_state is None:
            return
        session = _SESSION.decode(call.session_state)
        add("session.abandoned", event_data.SessionAbandoned(**_about(call, session)), record.session)
        return
    if record.kind != "charge" or call.session_state is None or not wanted & {"session.opened", "session.ended"}:
        return
    session = _SESSION.decode(call.session_state)
    opens = record.phase == Phase.START or session.opened_ms == record.at_ms
    if opens and session.state == SessionState.OPEN and "session.opened" in wanted:
        add("session.opened", event_data.SessionOpened(**_about(call, session)), record.session)
    if session.state == SessionState.CLOSED and "session.ended" in wanted and _ends(call, session):
        debited = money(sum(line.debited for line in session.lines))
        told = event_data.SessionEnded(**_about(call, session), currency=record.currency, debited=debited)
        add("session.ended", told, record.session)


def _ends(call: RecordedCall, session: Session) -> bool:
    """Whether it was not closed before: what comes to a closed session is marked late, and a second TERMINATION has a
    number of its own. Sessions that their client runs by itself may be recorded only (charging.md section 8)."""
    record = call.record
    if any(usage.flags & Flag.LATE for usage in record.usages):
        return False
    if record.phase == Phase.RECORD:
        return bool(session.reported_ms or session.met_begin)
    if record.phase not in (Phase.UPDATE, Phase.STOP) or _was_refused(session, record.key):
        return False
    low, high = Phase.STOP << 32, (Phase.STOP + 1) << 32
    stops = sum(
        last - first + 1
        for first, last in zip(session.seen[::2], session.seen[1::2], strict=False)
        if low <= first < high
    )
    return stops <= 1


def _was_refused(session: Session, key: str) -> bool:
    """Whether an UPDATE before the request of this key was refused as a whole, which ended the session."""
    for answer in map(unpack_answer, session.answers):
        if answer.key == key or not answer.key.startswith(f"{int(Phase.UPDATE)}:"):
            continue
        if _OUTCOME.decode(blob_of(answer.outcome)).result not in GOES_ON:
            return True
    return False


def _about(call: RecordedCall, session: Session) -> dict[str, Any]:
    return {
        "session": call.record.session,
        "incarnation": session.incarnation,
        "account": call.record.account,
        "subscriber": session.subscriber,
        "service": session.service,
        "peer": session.peer,
        "opened": time_of(session.opened_ms),
    }


def _opened(call: RecordedCall) -> event_data.AccountOpened:
    account = _ACCOUNT.decode(call.account_state or b"")
    main = sum(bucket.amount for bucket in account.buckets if bucket.id == MAIN)
    return event_data.AccountOpened(account.id, account.currency, money(main), call.record.actor)


def _changed(call: RecordedCall) -> event_data.BalanceChanged:
    record = call.record
    account = _ACCOUNT.decode(call.account_state) if call.account_state is not None else None
    names = {bucket.id: bucket.name for bucket in account.buckets} if account is not None else {}
    changes = [
        event_data.ChangedBalance(
            entry.seq,
            entry.bucket,
            names.get(entry.bucket, ""),
            KIND_WORDS[entry.kind],
            quantity(entry.kind, entry.amount),
            quantity(entry.kind, entry.after),
            entry.counter_account,
            entry.why,
        )
        for entry in record.entries
    ]
    of = (record.session, record.subscriber, record.service, record.reference)
    return event_data.BalanceChanged(record.account, record.currency, changes, *of)


def _of_top_up(call: RecordedCall, add: Adding) -> None:
    record = call.record
    buckets = [
        event_data.ToppedUpBucket(
            entry.bucket,
            KIND_WORDS[entry.kind],
            quantity(entry.kind, entry.amount),
            quantity(entry.kind, entry.after),
            entry.seq,
        )
        for entry in record.entries
        if entry.counter_account in PAID_IN
    ]
    if buckets:
        why = (record.actor, record.reason, record.reference)
        add("top_up.received", event_data.TopUpReceived(record.account, record.currency, buckets, *why))


def _of_adjustment(call: RecordedCall, add: Adding) -> None:
    record = call.record
    for entry in record.entries:
        if entry.counter_account == CounterAccount.ADJUSTMENT:
            told = event_data.AdjustmentPosted(
                record.account,
                record.currency,
                entry.seq,
                entry.bucket,
                KIND_WORDS[entry.kind],
                quantity(entry.kind, entry.amount),
                quantity(entry.kind, entry.after),
                record.actor,
                record.reason,
                record.reference,
            )
            add("adjustment.posted", told)


def _of_transfer(call: RecordedCall, add: Adding) -> None:
    """What leaves an account its owner has asked for; of what comes in, or comes back, he is told."""
    record = call.record
    if not record.transfer or not is_later_leg(record.key):
        return
    for entry in record.entries:
        if entry.counter_account == CounterAccount.TRANSIT:
            of = (record.account, record.transfer, record.counterpart, record.currency)
            amounts = (quantity(entry.kind, entry.amount), quantity(entry.kind, entry.after))
            why = (record.actor, record.reason, record.reference)
            what = (entry.bucket, KIND_WORDS[entry.kind])
            if is_return_leg(record.key):
                add("transfer.returned", event_data.TransferWasReturned(*of, *amounts, *why, *what))
            else:
                add("transfer.received", event_data.TransferReceived(*of, *amounts, *why, *what))


def _of_merge(call: RecordedCall, add: Adding) -> None:
    record = call.record
    if record.transfer:
        why = (record.actor, record.reason, record.reference)
        add("account.merged", event_data.AccountMerged(record.account, record.counterpart, record.transfer, *why))


# --- state


def _of_state(call: RecordedCall, before: int | None, add: Adding) -> None:
    record = call.record
    account = _ACCOUNT.decode(call.account_state or b"")
    now = account.state
    was = _state_before(record, now) if before is None else before
    balance = money(sum(bucket.amount for bucket in account.buckets if bucket.kind == Kind.MONEY))
    actor = record.actor if record.kind == "settings" else ""
    if now & SuspendReasons.CLOSED and not was & SuspendReasons.CLOSED:
        add("account.closed", event_data.AccountWasClosed(account.id, record.actor, record.reason))
    if was & SuspendReasons.CLOSED and not now & SuspendReasons.CLOSED:
        add("account.reopened", event_data.AccountReopened(account.id, actor))
    if now & SUSPENDED and not was & SUSPENDED:
        told = event_data.AccountSuspended(account.id, reasons_of(now), account.currency, balance, actor)
        add("account.suspended", told)
    if was & SUSPENDED and not now & SUSPENDED:
        add("account.resumed", event_data.AccountResumed(account.id, account.currency, balance, actor))
    for crossing in record.threshold_events:
        _crossed(call, crossing, add)
    if record.actor and (record.kind == "settings" or _closes(record)):
        add("account.settings_changed", _settings(call, account))


def _state_before(record: Record, now: int) -> int:
    """The state before a call that was not made by hand: what it crossed says what was."""
    was = now
    for crossing in reversed(record.threshold_events):  # of several the first one counts
        if crossing.of == CrossingOf.ACCOUNT:
            reason = SuspendReasons.FEE if crossing.name == FEE else SuspendReasons.CREDIT
            was = was & ~reason if crossing.kind == CrossingKind.SUSPEND else was | reason
        elif crossing.kind == CrossingKind.OVERDUE:
            was &= ~SuspendReasons.OVERDUE
    if _closes(record):
        was &= ~SuspendReasons.CLOSED
    return was


def _closes(record: Record) -> bool:
    """Whether it closes an account, and does not settle what came in since."""
    return record.kind == "close" and bool(record.generation)


def _crossed(call: RecordedCall, crossing: Crossing, add: Adding) -> None:
    """Of the account's own line its suspension tells; all others are told here."""
    record, unit = call.record, crossing.unit
    amounts = (record.currency, quantity(unit, crossing.level), quantity(unit, crossing.value))
    if crossing.of == CrossingOf.SERVICE:
        if crossing.kind == CrossingKind.SUSPEND:
            told: msgspec.Struct = event_data.ServiceSuspended(record.account, crossing.name, *amounts)
            add("service.suspended", told, service=crossing.name)
        else:
            told = event_data.ServiceResumed(record.account, crossing.name, *amounts)
            add("service.resumed", told, service=crossing.name)
    elif crossing.kind == CrossingKind.ACTIVATED:
        of_use = (record.subscriber, record.service, record.session)
        add("account.activated", event_data.AccountActivated(record.account, *of_use, record.actor))
    elif crossing.of == CrossingOf.LIMIT:
        limit = (record.account, *limit_key_parts(crossing.name))
        if crossing.kind == CrossingKind.REACHED:
            add("limit.reached", event_data.LimitReached(*limit, KIND_WORDS[unit], *amounts))
        else:
            add("limit.cleared", event_data.LimitCleared(*limit))
    elif crossing.of == CrossingOf.THRESHOLD:
        of = (record.account, crossing.name, KIND_WORDS[unit], crossing.bucket, *amounts)
        if crossing.kind == CrossingKind.BELOW:
            add("threshold.crossed", event_data.ThresholdCrossed(*of))
        else:
            add("threshold.cleared", event_data.ThresholdCleared(*of))


def word_of(state: int) -> AccountState:
    """A state in one word: of several the one that refuses most."""
    if state & SuspendReasons.CLOSED:
        return "closed"
    if state & SUSPENDED:
        return "suspended"
    if state & SuspendReasons.GRACE:
        return "grace"
    return "created" if state & SuspendReasons.CREATED else "active"


def reasons_of(state: int) -> list[event_data.SuspensionReason]:
    """Why an account in this state is suspended."""
    return [name for bit, name in _REASONS.items() if state & bit]


def _settings(call: RecordedCall, account: Account) -> event_data.AccountSettingsChanged:
    state = account.state
    return event_data.AccountSettingsChanged(
        account.id,
        account.currency,
        word_of(state),
        reasons_of(state),
        money(account.credit_limit),
        None if account.suspend_below == NEVER else money(account.suspend_below),
        None if account.resume_at == NEVER else money(account.resume_at),
        account.rev,
        call.record.actor,
        call.record.reason,
        time_of(account.grace_until_ms) if account.grace_until_ms else None,
    )


async def _states_before(pg: Any, calls: Iterable[RecordedCall]) -> dict[int, int]:
    """State of the account before each record, by id(), of settings that were changed by hand: a record says only what
    came of it."""
    last: dict[str, RecordedCall] = {}
    found: dict[int, int] = {}
    unknown: dict[str, RecordedCall] = {}
    for call in calls:
        account = call.record.account
        if call.record.kind == "settings" and call.record.actor:
            known = last.get(account)
            if known is not None:
                found[id(call)] = _ACCOUNT.decode(known.account_state or b"").state
            else:
                unknown[fit(account)] = call
        if call.account_state is not None:
            last[account] = call
    if unknown:
        for account, packed in (await states(pg, unknown)).items():
            found[id(unknown[account])] = _ACCOUNT.decode(packed).state
    return found
