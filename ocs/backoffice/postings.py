"""What is posted to accounts by hand, each once for its key: top-ups, adjustments, transfers, corrections. And the
entries that are there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from balances import keys
from balances.ledger.kept import gone, kept
from balances.ledger.restore import Quarantined, find_once
from balances.packing import unpack_posted
from balances.structs.account import MAIN, SuspendReasons, WeekHours
from balances.structs.blob import blob_of
from balances.structs.charge import Reply, Result
from balances.structs.posting import (
    AccountClosing,
    AccountOperation,
    ClosingRest,
    CounterReturn,
    Post,
    Posting,
    PostingOutcome,
    Transfer,
)
from balances.structs.record import Entry
from balances.structs.session import IdempotencyRecord
from ocs.backoffice import accounts
from ocs.backoffice.allowances import WITHOUT_LIMIT, CountedMoves, Warrant, allow, take_back
from ocs.backoffice.amounts import KINDS
from ocs.backoffice.bucket_prices import reduced
from ocs.backoffice.errors import (
    AccountBarred,
    AccountClosed,
    BackOfficeError,
    InsufficientFunds,
    Invalid,
    KeyReused,
    LimitPassed,
    NoRoom,
    NotFound,
    Unresolved,
)
from ocs.master import clocks, subscribers
from ocs.master.prices_kept import check_prices_kept
from tariffs.units import Kind
from tariffs.week_hours import clock_of

if TYPE_CHECKING:
    from asyncpg import Record

    from balances.redis.pending import Pending
    from ocs.backoffice.backoffice import BackOffice
    from ocs.master.accounts import AccountRow

REMEMBER_MS: Final = 86_400_000
"""How long Redis remembers an Idempotency-Key; PostgreSQL does so for 30 days."""

BONUS_PRIORITY: Final = 50
"""Of a bucket beside the main balance, unless given."""

Check = Callable[[], Awaitable[None]]
"""Refuses what is no longer possible; not asked about a repeat of what was done."""


class Order(msgspec.Struct, frozen=True):
    """The caller of a posting and its idempotency key."""

    actor: str
    key: str
    """Scoped to the caller."""
    fingerprint: str
    """Of all that was asked with the key."""
    reason: str
    reference: str = ""
    warrant: Warrant = WITHOUT_LIMIT
    """What it is allowed by."""
    tags: str = ""
    """Charging tags, as a record has them."""


class WantedTopUp(msgspec.Struct, frozen=True, kw_only=True):
    """A top-up. Money without any option goes to the main balance; anything else makes a new bucket."""

    kind: int
    amount: int
    from_ms: int = 0
    until_ms: int = 0
    until: str = ""
    """The same as it was written, for who is told that it is past."""
    valid_for_s: int = 0
    scope: Sequence[str] = ()
    priority: int | None = None
    name: str = ""
    bonus: bool = False
    """Given, not paid for."""
    member: str = ""
    """The only subscriber it is for."""
    blocker: bool = False
    hours: Sequence[WeekHours] = ()
    money: int = 0
    """Beside units, in the same bucket (charging.md section 22); micro-units."""
    price: int = 0
    """Of units: what `per` of them cost besides; micro-units."""
    per: int = 1

    @property
    def is_plain(self) -> bool:
        """Money for the main balance."""
        timed = self.from_ms or self.until_ms or self.valid_for_s
        special = (
            timed or self.scope or self.name or self.bonus or self.member or self.blocker or self.hours or self.money
        )
        return self.kind == Kind.MONEY and not special and self.priority is None


def with_money(units: Posting, money: int) -> list[Posting]:
    """A new bucket of units, with so much money in it (charging.md section 22): where it blocks, its money does."""
    if not money:
        return [units]
    part = msgspec.structs.replace(units, kind=Kind.MONEY, amount=money, price=0, per=1, is_part=True)
    return [msgspec.structs.replace(units, blocker=False), part]


async def top_up(
    backoffice: BackOffice, account: str, wanted: WantedTopUp, order: Order
) -> tuple[AccountRow, PostingOutcome]:
    """Add money or units that were paid for. Raises AccountClosed for a closed account."""
    if wanted.from_ms < 0 or wanted.until_ms < 0 or (wanted.until_ms and wanted.until_ms <= wanted.from_ms):
        raise Invalid("valid_until", "after valid_from, both after 1970")
    if wanted.valid_for_s and wanted.until_ms:
        raise Invalid("valid_for_s", "not beside valid_until")
    if wanted.money and wanted.kind == Kind.MONEY:
        raise Invalid("money", "beside octets, seconds or units: an amount of money has it in `amount`")
    if wanted.price and wanted.kind == Kind.MONEY:
        raise Invalid("price", "of octets, seconds or units")
    price, per = reduced(wanted.price, wanted.per)
    posting = Posting(
        bucket=MAIN if wanted.is_plain else -1,
        kind=wanted.kind,
        amount=wanted.amount,
        counter_account="top-up",
        why="top-up",
        priority=BONUS_PRIORITY if wanted.priority is None else wanted.priority,
        from_ms=wanted.from_ms,
        until_ms=wanted.until_ms,
        scope=[*wanted.scope],
        name=wanted.name,
        window_ms=wanted.valid_for_s * 1_000,
        bonus=wanted.bonus,
        member=wanted.member,
        blocker=wanted.blocker,
        hours=[*wanted.hours],
        price=price,
        per=per,
    )
    row = await accounts.find(backoffice, account)
    now, _ = await accounts.read(backoffice, row)

    async def check() -> None:
        await check_scope(backoffice, wanted.scope)
        if wanted.price:
            await check_prices_kept(backoffice.pool)
        if wanted.member and await subscribers.get(backoffice.pool, wanted.member) is None:
            raise Unresolved(f"there is no subscriber {wanted.member}")
        if wanted.until_ms and wanted.until_ms <= backoffice.now_ms():
            raise Invalid("valid_until", f"in the future, found {wanted.until}")
        if now.state & SuspendReasons.CLOSED:
            raise AccountClosed(closed(row.id))

    first, *parts = with_money(posting, wanted.money)
    return row, await post_one(backoffice, row, first, order, check=check, parts=parts)


def closed(account: str) -> str:
    """Why no money goes there, and what to do."""
    return f"account {account} is closed: open it again (state: active) before money goes there"


async def check_scope(backoffice: BackOffice, scope: Sequence[str]) -> None:
    """Raises Invalid for a scope that is neither a service nor a tag of a published tariff: its bucket could pay
    nothing."""
    known = await backoffice.scopes() if scope else ()
    for tag in scope:
        if tag not in known:
            raise Invalid("scope", f"expected some of {', '.join(known)}, found {tag!r}")


async def adjust(
    backoffice: BackOffice, account: str, bucket: int, amount_of: Callable[[int], int], order: Order, *, force: bool
) -> tuple[AccountRow, PostingOutcome]:
    """Correct a balance by hand, up or down.

    amount_of: the amount, given the kind of the bucket
    force:     also what is held
    """
    row = await accounts.find(backoffice, account)
    now, _ = await accounts.read(backoffice, row)
    found = next((one for one in now.buckets if one.id == bucket), None)
    kind = found.kind if found else Kind.MONEY
    amount = amount_of(kind)

    async def check() -> None:
        if found is None:
            raise NotFound(f"account {row.id} has no bucket {bucket}")

    posting = Posting(bucket, kind, amount, counter_account="adjustment", why="adjustment")
    return row, await post_one(backoffice, row, posting, order, check=check, keeps_held=not force)


async def correct(
    backoffice: BackOffice, account: str, amount: int, order: Order, *, original_seq: int, terms: str
) -> tuple[AccountRow, PostingOutcome]:
    """Post the difference that a rerating found, as a signed entry of one usage record.

    amount:       above zero is given back, below zero is taken, also where that makes debt
    original_seq: entry that it corrects; 0: the use cost nothing
    terms:        tax and exchange rate, as they stand on the usage record
    """
    row = await accounts.find(backoffice, account)
    if original_seq and not await _paid(backoffice, row.id, original_seq):
        why = await gone(backoffice.pool, row.id, original_seq)
        raise Unresolved(
            f"original_seq: account {row.id} has no entry of money {original_seq}{why and f' any more: {why}'}"
        )
    posting = Posting(
        MAIN, Kind.MONEY, amount, counter_account="revenue", why="rerate", original=original_seq, terms=terms
    )
    return row, await post_one(backoffice, row, posting, order)


async def _paid(backoffice: BackOffice, account: str, seq: int) -> bool:
    query = "SELECT EXISTS (SELECT FROM ledger_entries WHERE account = $1 AND seq = $2 AND kind = 0)"
    return bool(await backoffice.pool.fetchval(query, account, seq))


async def transfer(
    backoffice: BackOffice, account: str, source: int, target: int, amount_of: Callable[[int], int], order: Order
) -> tuple[AccountRow, PostingOutcome]:
    """From one bucket to another one of the same kind: what is free of it, and no credit.

    amount_of: the amount, given the kind of the bucket that it leaves
    """
    if source == target:
        raise Invalid("to", "another bucket than from")
    row = await accounts.find(backoffice, account)
    now, _ = await accounts.read(backoffice, row)
    kinds = {one.id: one.kind for one in now.buckets}
    amount = amount_of(kinds.get(source, Kind.MONEY))

    async def check() -> None:
        for bucket in (source, target):
            if bucket not in kinds:
                raise NotFound(f"account {row.id} has no bucket {bucket}")
        if kinds[source] != kinds[target]:
            unit_from, unit_to = KINDS[kinds[source]], KINDS[kinds[target]]
            raise Invalid("to", f"a bucket of {unit_from}, as bucket {source} is; bucket {target} is of {unit_to}")

    wanted = Transfer(
        account=row.id,
        key=order.key,
        fingerprint=order.fingerprint,
        now_ms=backoffice.now_ms(),
        remember_ms=REMEMBER_MS,
        actor=order.actor,
        reason=order.reason,
        reference=order.reference,
        source=source,
        target=target,
        amount=amount,
        tags=order.tags,
    )
    named = f"{source} or {target}, or it has ended"
    moved = Moved(order.warrant, {kinds.get(source, Kind.MONEY): amount})
    return row, await _once(backoffice, row, wanted, lambda: backoffice.store.transfer(wanted), check, named, moved)


RESTS: Final = {None: ClosingRest.REFUSED, "payout": ClosingRest.PAYOUT, "write-off": ClosingRest.WRITE_OFF}
"""What may be said of what a closed account still has, as it is said."""


async def close(
    backoffice: BackOffice, account: str, remainder: str | None, order: Order
) -> tuple[AccountRow, PostingOutcome]:
    """Close an account, and settle what it still has (charging.md section 16). Raises StillHeld, BalanceRemains.

    remainder:  one of RESTS
    """
    row = await accounts.find(backoffice, account)
    wanted = AccountClosing(
        account=row.id,
        key=order.key,
        fingerprint=order.fingerprint,
        now_ms=backoffice.now_ms(),
        remember_ms=REMEMBER_MS,
        actor=order.actor,
        reason=order.reason,
        reference=order.reference,
        rest=RESTS[remainder],
        tags=order.tags,
    )

    by = Moved(order.warrant, lambda: at_rest(backoffice, row, wanted.now_ms))
    return row, await _once(backoffice, row, wanted, lambda: backoffice.store.close(wanted), None, "", by)


async def at_rest(backoffice: BackOffice, row: AccountRow, now_ms: int) -> Amounts:
    """What an account has and owes, by kind: what its closing moves. now_ms: of that closing"""
    now, _ = await accounts.read(backoffice, row)
    amounts: dict[int, int] = dict.fromkeys(Kind, 0)
    for bucket in now.buckets:
        if not 0 < bucket.until_ms <= now_ms:  # else it lapses by itself
            amounts[bucket.kind] += abs(bucket.amount)
    return amounts


# --- once for a key


Amounts = Mapping[int, int]
"""By kind; given above zero."""

TRIES: Final = 5
"""Of what is moved as it is then, against limits that were asked for what it was shortly before."""


class Moved(NamedTuple):
    """What a caller moves, and by what right."""

    warrant: Warrant
    amounts: Amounts | Callable[[], Awaitable[Amounts]]
    """What is moved as it is then: how much that is now."""


async def post_one(
    backoffice: BackOffice,
    row: AccountRow,
    posting: Posting,
    order: Order,
    *,
    check: Check | None = None,
    parts: Sequence[Posting] = (),
    keeps_held: bool = False,
    own_only: bool = False,
    denied_in: int = 0,
    moved: Callable[[], Awaitable[Amounts]] | None = None,
    returns: Sequence[CounterReturn] = (),
) -> PostingOutcome:
    """Make one posting, once per key of the order, and return its outcome.

    parts:    money of the bucket of units that it makes
    moved:    how much it would be now, where the posting does not say it
    returns:  what is turned back of counters
    """
    wanted = Post(
        account=row.id,
        key=order.key,
        fingerprint=order.fingerprint,
        now_ms=backoffice.now_ms(),
        postings=[posting, *parts],
        own_only=own_only,
        remember_ms=REMEMBER_MS,
        actor=order.actor,
        reason=order.reason,
        reference=order.reference,
        keeps_held=keeps_held,
        denied_in=denied_in,
        clock=clock_of(row.time_zone or "UTC", backoffice.now_ms()) if posting.hours else [],
        tags=order.tags,
        returns=[*returns],
    )
    amounts = moved or {one.kind: one.amount for one in wanted.postings}
    return await post(backoffice, row, wanted, check, Moved(order.warrant, amounts))


async def post(
    backoffice: BackOffice, row: AccountRow, wanted: Post, check: Check | None = None, moved: Moved | None = None
) -> PostingOutcome:
    """Post, once per key."""
    named = ", ".join(str(posting.bucket) for posting in wanted.postings)
    return await _once(backoffice, row, wanted, lambda: backoffice.store.post(wanted), check, named, moved)


async def _once(
    backoffice: BackOffice,
    row: AccountRow,
    wanted: Post | Transfer | AccountClosing,
    call: Callable[[], Pending[Reply]],
    check: Check | None,
    named: str,
    moved: Moved | None,
) -> PostingOutcome:
    """An operation of the posting frame, once per key.

    named:  the buckets it names
    moved:  what the caller's limits are compared with; None: nothing
    """
    known = await recall(backoffice, row.id, wanted.key)
    if known is not None:
        if known.fingerprint != wanted.fingerprint:
            raise KeyReused
        return _posted(blob_of(known.outcome), wanted, named)
    if check is not None:
        await check()
    if moved is None:
        return await _call(backoffice, row, wanted, call, named, CountedMoves())
    now = moved.amounts if callable(moved.amounts) else None
    amounts = moved.amounts if not callable(moved.amounts) else {}
    for tries in range(1, TRIES + 1):
        if now is not None:
            amounts = await now()
        counted = await allow(backoffice, moved.warrant, row, amounts, wanted.key)
        if now is not None and not isinstance(wanted, Transfer):
            wanted.moves_max = list(counted.moves_max)
        try:
            return await _call(backoffice, row, wanted, call, named, counted)
        except LimitPassed:
            if now is None or tries == TRIES:
                raise
    raise AssertionError("it was tried")


async def _call(
    backoffice: BackOffice,
    row: AccountRow,
    wanted: AccountOperation,
    call: Callable[[], Pending[Reply]],
    named: str,
    counted: CountedMoves,
) -> PostingOutcome:
    """One call; what was counted for it is taken back where it is refused."""
    reply = await accounts.call(backoffice, row.id, call, wanted.key)
    if reply.status in ("conflict", "refused", "held", "remains"):
        await take_back(backoffice, counted)
    if reply.status == "conflict":
        raise KeyReused
    if reply.status == "ok" and isinstance(wanted, Post):
        await clocks.keep_clock(backoffice.pool, backoffice.store, row.id, wanted.clock, backoffice.now_ms())
    accounts.check_closed(row, reply.status)
    return _posted(reply.outcome, wanted, named)


def _posted(outcome: bytes, wanted: AccountOperation, named: str) -> PostingOutcome:
    posted = unpack_posted(outcome)
    if posted.result != Result.OK:
        raise _refusal(Result(posted.result), wanted, named)
    return posted


def _refusal(result: Result, wanted: AccountOperation, named: str) -> BackOfficeError:
    match result:
        case Result.CREDIT_LIMIT:
            if isinstance(wanted, Post) and wanted.permits_debt:
                why = "debt is made only while nothing is held (ocs session list): again when its sessions have ended"
                return InsufficientFunds(f"account {wanted.account} has money held and cannot cover it: {why}")
            return InsufficientFunds(f"what account {wanted.account} has, without what is held, does not cover it")
        case Result.NOT_FOUND:
            return NotFound(f"there is no bucket {named}")
        case Result.DENIED:
            if isinstance(wanted, Post) and wanted.denied_in:
                return AccountBarred(f"account {wanted.account} is suspended by hand or overdue, or closed")
            return AccountClosed(closed(wanted.account))
        case Result.LIMITED:
            return LimitPassed("it would be more than may be moved, or changes faster than it can be read")
        case Result.INVALID:
            return Unresolved(f"account {wanted.account} has nothing of it: nothing is moved")
        case _:
            why = "it would pass 2^53 (all the account has of one kind counts), or the account is full of buckets"
            return NoRoom(why)


async def recall(backoffice: BackOffice, account: str, key: str) -> IdempotencyRecord | None:
    """The stored answer under this idempotency key from PostgreSQL, which keeps keys longer than Redis."""
    packed: Any = await backoffice.bounded(backoffice.redis.get(keys.once(account, key)))
    try:
        packed = packed or await find_once(backoffice.pool, account, key)
    except Quarantined:
        raise accounts.in_quarantine(account) from None
    return msgspec.msgpack.decode(packed, type=IdempotencyRecord) if packed is not None else None


async def outcome_of(backoffice: BackOffice, row: AccountRow, seq: int) -> PostingOutcome:
    """Of a posting whose key is forgotten: its entry, and the account as it is now."""
    found: Any = await backoffice.pool.fetchrow(
        "SELECT bucket, kind, amount, after, counter_account, why FROM ledger_entries WHERE account = $1 AND seq = $2",
        row.id,
        seq,
    )
    entries = [Entry(seq=seq, line=-1, **found)] if found is not None else []
    now, _ = await accounts.read(backoffice, row)
    balance = sum(bucket.amount for bucket in accounts.settled(now, backoffice.now_ms()))
    return PostingOutcome(Result.OK, entries, balance, now.state)


# --- what is there

LEDGER: Final = """
    SELECT e.seq, e.at_ms, e.bucket, e.kind, e.amount, e.after, e.counter_account, e.why,
        e.actor, e.reason, e.reference, e.net, e.tax, e.currency_rate, e.original_seq, e.tags,
        COALESCE(c.session, u.session) AS session, COALESCE(c.service, u.service) AS service,
        COALESCE(c.subscriber, u.subscriber) AS subscriber, COALESCE(c.incarnation, u.incarnation) AS incarnation,
        LEAST(COALESCE(u.at_ms, e.at_ms), e.at_ms) AS event_ms
    FROM ledger_entries e LEFT JOIN calls c USING (shard, epoch, n)
        LEFT JOIN usage_records u ON u.account = e.account AND u.epoch = e.epoch AND u.n = e.n AND u.line = e.usage_line
    WHERE e.account = $1 AND e.seq > $2 AND e.seq < $3 AND ($4::bigint IS NULL OR e.at_ms >= $4)
        AND ($5::bigint IS NULL OR e.at_ms < $5) AND ($6::int IS NULL OR e.kind = $6)
        AND ($7::text IS NULL OR e.why = $7) AND ($8::text IS NULL OR e.tags @> $8::text::jsonb)
    ORDER BY e.seq {order} LIMIT $9
"""


class WantedEntries(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries of an account are wanted; None: any."""

    after_seq: int
    before_seq: int
    from_ms: int | None
    until_ms: int | None
    kind: int | None
    why: str | None
    tag: str | None
    """A charging tag, as JSON."""
    newest_first: bool
    limit: int


async def kept_from_ms(backoffice: BackOffice) -> int:
    """From when on entries are kept; 0: for ever."""
    return (await kept(backoffice.pool)).entries_from_ms


async def entries(backoffice: BackOffice, account: str, wanted: WantedEntries) -> Sequence[Record]:
    """Entries of the ledger in PostgreSQL, which follows the live store within a second."""
    row = await accounts.find(backoffice, account)
    found: Sequence[Record] = await backoffice.pool.fetch(
        LEDGER.format(order="DESC" if wanted.newest_first else "ASC"),
        row.id,
        wanted.after_seq,
        wanted.before_seq,
        wanted.from_ms,
        wanted.until_ms,
        wanted.kind,
        wanted.why,
        wanted.tag,
        wanted.limit,
    )
    return found
