"""Transfers between accounts, and merges, which transfer all that there is: which legs of each are on record, and which
one is next (charging.md section 17).

The first leg takes the amount from the account it leaves and is the intent: when its record is copied, the row is
there. Only then is the second leg made, and only when the refusal of the second is copied is the amount returned. So
whatever a store loses, each leg follows from a record that PostgreSQL has, and each is made once, by its key.

The first leg of a merge closes the account. It waits until nothing of it is held, so the row is there before, written
by the transaction that moves the subscribers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, Final, Protocol

import msgspec

from balances import keys
from balances.packing import unpack_posted
from balances.redis.pending import Pending
from balances.structs.account import MAIN, Bucket, SuspendReasons
from balances.structs.blob import blob_of
from balances.structs.charge import Reply
from balances.structs.posting import AccountClosing, ClosingRest, Post, Posting
from balances.structs.record import CounterAccount, Record
from balances.structs.session import IdempotencyRecord
from tariffs.units import Kind

KEPT_MS: Final = 7 * 86_400_000
"""How long the live store remembers a second leg: longer than PostgreSQL may be behind."""

_buckets: Final = msgspec.json.Decoder(list[Bucket]).decode
_ONCE: Final = msgspec.msgpack.Decoder(IdempotencyRecord)


class TransferState(IntEnum):
    """How far it is: a later state is higher."""

    ORDERED = -1
    """A merge: its subscribers have moved, and what it has stays until nothing of it is held."""
    SENT = 0
    """It has left its account."""
    REFUSED = 1
    """The other one does not take it, for good."""
    RECEIVED = 2
    RETURNED = 3

    @property
    def ended(self) -> bool:
        return self >= TransferState.RECEIVED


def transfer_id(account: str, key: str) -> str:
    """Of what is asked for with this once key: the same for ever."""
    return hashlib.sha256(f"{account}\n{key}".encode()).hexdigest()[:24]


def leg_row(record: Record, account: str, counterpart: str, once: bytes | None) -> tuple[Any, ...]:
    """What one leg says of its transfer: parameters of the statement below.

    account, counterpart: as PostgreSQL keeps them
    once:                 the packed IdempotencyRecord, which says why it was refused
    """
    is_first = not keys.is_later_leg(record.key)
    if record.kind == "refuse":
        state = TransferState.REFUSED
    elif is_first:
        state = TransferState.SENT if record.left or record.kind != "close" else TransferState.RECEIVED
    else:
        state = TransferState.RETURNED if keys.is_return_leg(record.key) else TransferState.RECEIVED
    leaves = is_first or state == TransferState.RETURNED
    legs = [entry for entry in record.entries if entry.counter_account == CounterAccount.TRANSIT]
    seq = legs[0].seq if legs else None
    return (
        record.transfer,
        *((account, counterpart) if leaves else (counterpart, account)),
        _money(record.left) if record.left else abs(legs[0].amount) if legs else 0,
        record.currency,
        state,
        record.at_ms if is_first else None,
        record.at_ms if state.ended else None,
        seq if is_first else None,
        seq if state.ended else None,
        record.actor,
        record.reason,
        record.reference,
        unpack_posted(blob_of(_ONCE.decode(once).outcome)).result if once and record.kind == "refuse" else None,
        msgspec.json.encode(record.left).decode() if record.left else None,
        record.tags,
    )


def _money(buckets: Sequence[Bucket]) -> int:
    return sum(bucket.amount for bucket in buckets if bucket.kind == Kind.MONEY)


_WRITE: Final = """
    INSERT INTO transfers (id, source, target, amount, currency, state, sent_ms, ended_ms, sent_seq, ended_seq,
        actor, reason, reference, refused, moved, tags)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15::text::jsonb, $16)
    ON CONFLICT (id) DO UPDATE SET state = GREATEST(transfers.state, EXCLUDED.state),
        amount = CASE WHEN EXCLUDED.moved IS NOT NULL THEN EXCLUDED.amount WHEN transfers.merges THEN transfers.amount
            ELSE GREATEST(transfers.amount, EXCLUDED.amount) END,
        moved = COALESCE(transfers.moved, EXCLUDED.moved),
        sent_ms = COALESCE(transfers.sent_ms, EXCLUDED.sent_ms),
        ended_ms = COALESCE(transfers.ended_ms, EXCLUDED.ended_ms),
        sent_seq = COALESCE(transfers.sent_seq, EXCLUDED.sent_seq),
        ended_seq = COALESCE(transfers.ended_seq, EXCLUDED.ended_seq),
        refused = COALESCE(transfers.refused, EXCLUDED.refused)
"""


async def write(pg: Any, legs: Sequence[tuple[Any, ...]]) -> None:
    """In the transaction that copies the legs; in the order of ids, so that two copiers wait for each other."""
    if legs:
        await pg.executemany(_WRITE, sorted(legs, key=lambda leg: leg[0]))


async def order_merge(pg: Any, row: Sequence[Any], follows: str | None = None) -> bool:
    """In the transaction that moves the subscribers; False: it is ordered already.

    row:      id, source, target, currency, when, actor, reason, reference, tags
    follows:  the merge that this one goes after, with what came in late
    """
    made = await pg.fetchval(
        "INSERT INTO transfers"
        " (id, source, target, amount, currency, state, sent_ms, actor, reason, reference, tags, merges, follows)"
        " VALUES ($1, $2, $3, 0, $4, -1, $5, $6, $7, $8, $9, true, $10) ON CONFLICT (id) DO NOTHING RETURNING id",
        *row,
        follows,
    )
    return made is not None


async def merging(pg: Any, id_: str, source: str, target: str) -> Mapping[str, Any] | None:
    """Another merge on its way from one of the two, or into the first: what it has would go to a closed account, or
    stay with one."""
    row: Mapping[str, Any] | None = await pg.fetchrow(
        "SELECT * FROM transfers WHERE merges AND state < 2 AND id <> $1 AND (source IN ($2, $3) OR target = $2)"
        " LIMIT 1",
        id_,
        source,
        target,
    )
    return row


async def read(pool: Any, id_: str) -> Mapping[str, Any] | None:
    row: Mapping[str, Any] | None = await pool.fetchrow("SELECT * FROM transfers WHERE id = $1", id_)
    return row


async def unfinished(
    pool: Any, before_ms: int, after: tuple[int, str] = (-1, ""), at_once: int = 100
) -> Sequence[Mapping[str, Any]]:
    """Those that left before then and are still on their way, the oldest first, after (sent_ms, id)."""
    rows: Sequence[Mapping[str, Any]] = await pool.fetch(
        "SELECT * FROM transfers WHERE state < 2 AND sent_ms < $1 AND (sent_ms, id) > ($2, $3)"
        " ORDER BY sent_ms, id LIMIT $4",
        before_ms,
        *after,
        at_once,
    )
    return rows


async def page(pool: Any, account: str, before_ms: int, before_id: str, limit: int) -> Sequence[Mapping[str, Any]]:
    """Of an account, from or to it, the newest first, before (sent_ms, id)."""
    rows: Sequence[Mapping[str, Any]] = await pool.fetch(
        "SELECT * FROM transfers WHERE (source = $1 OR target = $1) AND (sent_ms, id) < ($2, $3)"
        " ORDER BY sent_ms DESC, id DESC LIMIT $4",
        account,
        before_ms,
        before_id,
        limit,
    )
    return rows


def next_leg(row: Mapping[str, Any], now_ms: int) -> Post | AccountClosing:
    """What is to be done of one that is on its way. The key is made of its id, so it is done once."""
    # Of which nobody knows any more where it was going, goes back (durability.md rule 12).
    is_return = row["state"] == TransferState.REFUSED or (row["state"] == TransferState.SENT and not row["target"])
    id_: str = row["id"]
    if row["state"] == TransferState.ORDERED:
        return AccountClosing(
            account=row["source"],
            key=keys.merge_key(id_),
            fingerprint=id_,
            now_ms=now_ms,
            remember_ms=KEPT_MS,
            actor=row["actor"],
            reason=row["reason"],
            reference=row["reference"],
            rest=ClosingRest.TRANSIT,
            transfer=id_,
            counterpart=row["target"],
            tags=row["tags"],
        )
    why = ("merge" if row["merges"] else "transfer") + ("-return" if is_return else "")
    moved = [Bucket(MAIN, Kind.MONEY, row["amount"])] if row["moved"] is None else _buckets(row["moved"])
    return Post(
        account=row["source"] if is_return else row["target"],
        key=keys.transfer_return_key(id_) if is_return else keys.transfer_key(id_),
        fingerprint=id_,
        now_ms=now_ms,
        remember_ms=KEPT_MS,
        actor=row["actor"],
        reason=row["reason"],
        reference=row["reference"],
        postings=_postings(moved, why),
        denied_in=0 if is_return else SuspendReasons.CLOSED,
        final=not is_return,
        transfer=id_,
        counterpart=row["target"] if is_return else row["source"],
        tags=row["tags"],
    )


_KEPT: Final = tuple(name for name in Bucket.__struct_fields__ if name in Posting.__struct_fields__)
"""What a bucket is, wherever it stands."""


def _postings(moved: Sequence[Bucket], why: str) -> list[Posting]:
    """Money of units comes in with its units, where there are any left; else it is a bucket by itself."""
    there = {bucket.id for bucket in moved} - {MAIN}
    parts = {bucket.part_of: bucket for bucket in moved if bucket.part_of in there}
    postings = []
    for bucket in moved:
        if bucket.part_of not in there:
            postings.append(_posting(bucket, why))
            if bucket.id in parts:
                postings.append(_posting(parts[bucket.id], why, is_part=True))
    return postings


def _posting(bucket: Bucket, why: str, *, is_part: bool = False) -> Posting:
    """What comes in of a bucket that left: to the main one, or as a bucket of its own that is as it was."""
    if bucket.id == MAIN:
        return Posting(MAIN, Kind.MONEY, bucket.amount, CounterAccount.TRANSIT, why)
    kept = {name: getattr(bucket, name) for name in _KEPT}
    return Posting(bucket=-1, counter_account=CounterAccount.TRANSIT, why=why, is_part=is_part, **kept)


class LegStore(Protocol):
    """The operations that legs are."""

    def post(self, post: Post) -> Pending[Reply]: ...
    def close(self, close: AccountClosing) -> Pending[Reply]: ...


def make(store: LegStore, leg: Post | AccountClosing) -> Pending[Reply]:
    return store.post(leg) if isinstance(leg, Post) else store.close(leg)
