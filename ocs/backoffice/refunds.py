"""Money given back: of an entry, a session or an event, never more than it cost (charging.md section 9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from balances import keys
from balances.ledger import refunds
from balances.ledger.granted import GivenBack, as_term
from balances.ledger.restore import find_refundable
from balances.ledger.terms import given_tax
from balances.packing import pack
from balances.structs.account import MAIN, CounterWindow
from balances.structs.blob import NO_BLOB, blob_of, raw_of
from balances.structs.charge import Action, Ask, Charge, Flag, Outcome, Phase, Result
from balances.structs.posting import Posting, PostingOutcome
from balances.structs.session import IdempotencyRecord
from ocs.backoffice import accounts, limits, postings
from ocs.backoffice.allowances import CountedMoves, allow, take_back
from ocs.backoffice.errors import BackOfficeError, FateUnknown, Invalid, KeyReused, Unavailable, Unresolved
from ocs.backoffice.postings import Order
from tariffs.ladder import Count, Ladder, Step
from tariffs.tags import as_terms
from tariffs.units import EXACT_MAX, Kind

if TYPE_CHECKING:
    from ocs.backoffice.backoffice import BackOffice
    from ocs.master.accounts import AccountRow


class ChargedEvent(NamedTuple):
    """An event as the network named it."""

    session: str
    number: int


class RefundSource(NamedTuple):
    """What is refunded: exactly one field is given."""

    entry: int | None = None
    """Number of the ledger entry that charged it."""
    session: str | None = None
    """Of its incarnations, the newest that is not wholly given back."""
    event: ChargedEvent | None = None


async def refund(
    backoffice: BackOffice, account: str, source: RefundSource, amount: int, order: Order
) -> tuple[AccountRow, PostingOutcome]:
    """Parts add up to at most what it cost. Of an event the money goes back to what paid it, and the outcome names no
    entries."""
    if source.count(None) != 2:
        raise Invalid("", "expected one of entry, session and event; without an original it is an adjustment")
    row = await accounts.find(backoffice, account)
    # What is copied is known under its key, until that is forgotten: so the ledger is asked first.
    posted = await refunds.is_posted(backoffice.pool, row.id, order.key)
    done = await postings.recall(backoffice, row.id, order.key)
    if posted if done is None else done.fingerprint != order.fingerprint:  # before anything is granted to it
        raise KeyReused
    if source.event is not None:
        return row, await _of_event(backoffice, row, source.event, amount, order, done)
    counted = CountedMoves()
    if done is None:  # what is granted and then forbidden would be given back to nobody; the posting counts the same
        counted = await allow(backoffice, order.warrant, row, {Kind.MONEY: amount}, order.key)
    try:
        return row, await _of_use(backoffice, row, source, amount, order)
    except (Unavailable, FateUnknown):
        raise
    except BackOfficeError:  # nothing is moved under this key
        await take_back(backoffice, counted)
        raise


async def _of_use(
    backoffice: BackOffice, row: AccountRow, source: RefundSource, amount: int, order: Order
) -> PostingOutcome:
    now, _ = await accounts.read(backoffice, row)
    try:
        granted = await refunds.grant(
            backoffice.pool,
            row.id,
            order.key,
            order.fingerprint,
            amount,
            seq=source.entry,
            sessions=keys.session_keys_of(source.session) if source.session else [],
            windows={one.key: one.until_ms for one in now.counters if one.window != CounterWindow.NONE},
        )
    except refunds.RefundRefused as why:
        raise Unresolved(str(why)) from None
    if granted is None:
        raise KeyReused
    tags = await refunds.tags_of(backoffice.pool, row.id, granted.source)
    given_back = GivenBack(order.fingerprint, *granted.source, granted.returns)
    posting = Posting(
        *(MAIN, Kind.MONEY, amount, "revenue", "refund"),
        original=granted.source.seq or 0,
        terms=";".join([*given_tax(granted.tax), *as_terms(tags), as_term(given_back)]),
    )
    now_limits = {one.key: one.limit for one in await limits.in_force(backoffice, row, now)}
    returns = [msgspec.structs.replace(one, limit=now_limits.get(one.key, -1)) for one in granted.returns]
    return await postings.post_one(backoffice, row, posting, order, returns=returns)


async def _of_event(
    backoffice: BackOffice,
    row: AccountRow,
    event: ChargedEvent,
    amount: int,
    order: Order,
    done: IdempotencyRecord | None,
) -> PostingOutcome:
    """Refund an event through the same code as REFUND_ACCOUNT, so that refunds by both add up."""
    now_ms = backoffice.now_ms()
    if done is None:
        session, key, original = await _original(backoffice, row, event)
        live, _ = await accounts.read(backoffice, row)
        counts = await limits.in_force(backoffice, row, live)
        ask = Ask(-1, -1, Kind.MONEY, [], amount, 0, 0, 0, 0, _limited(counts), 0)
        charge = Charge(
            *(row.id, "", session, "", Phase.EVENT, event.number, order.key, False, order.fingerprint, 0, False),
            *(now_ms, now_ms, EXACT_MAX, [ask], "", "", "api"),
            action=Action.REFUND,
            once_key=order.key,
            refund_of=key,
            original=raw_of(original),
            actor=order.actor,
            reason=order.reason,
            reference=order.reference,
        )
        counted = await allow(backoffice, order.warrant, row, {Kind.MONEY: amount}, order.key)
        try:
            packed = await _charge(backoffice, row, charge)
        except KeyReused:
            await take_back(backoffice, counted)
            raise
        if not _given_back(packed):
            await take_back(backoffice, counted)
    else:
        packed = blob_of(done.outcome)
    if not _given_back(packed):
        raise Unresolved("amount: more than is left of the event")
    account, _ = await accounts.read(backoffice, row)
    balance = sum(bucket.amount for bucket in accounts.settled(account, now_ms))
    return PostingOutcome(Result.OK, [], balance, account.state)


def _limited(counts: Sequence[Count]) -> msgspec.Raw:
    """A ladder that prices nothing of a refund, whose original is known, and says which limits may have room again."""
    return raw_of(pack(Ladder((Step(price=1),), counts=tuple(counts), tag="money"))) if counts else NO_BLOB


def _given_back(packed: bytes) -> bool:
    return msgspec.msgpack.decode(packed, type=Outcome).lines[0].result == Result.OK


async def _charge(backoffice: BackOffice, row: AccountRow, charge: Charge) -> bytes:
    """Charge as if the request came from the network, once per key; returns the packed outcome."""
    reply = await accounts.call(backoffice, row.id, lambda: backoffice.store.charge(charge, b""), charge.once_key)
    if reply.status not in ("ok", "again"):
        raise Unavailable(f"the live store says: {reply.status}")
    if reply.marks & Flag.CONFLICT:
        raise KeyReused
    return reply.outcome


async def _original(backoffice: BackOffice, row: AccountRow, event: ChargedEvent) -> tuple[str, str, bytes]:
    """Session, once key and packed IdempotencyRecord of the event; of several under its number the newest with
    something left, as for REFUND_ACCOUNT by Session-Id."""
    spent: tuple[str, str, bytes] | None = None
    for session in keys.session_keys_of(event.session):
        key = keys.event_key(session, event.number)
        once = await postings.recall(backoffice, row.id, key)
        if once is not None and (once.units > 0 or once.cost > 0):
            return session, key, pack(once)
        found = await find_refundable(backoffice.pool, row.id, key)
        if found is not None:
            return session, *found
        if once is not None:
            spent = session, key, pack(once)
    if spent is not None:
        return spent
    raise Unresolved(f"event: account {row.id} was charged for no such event in the last 30 days")
