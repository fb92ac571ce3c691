"""Tells of buckets that will end soon, once for each end."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from balances.ledger.event_data import KIND_WORDS
from balances.ledger.heads import states
from balances.ledger.in_words import quantity, time_of
from balances.structs.account import Account
from ocs.events.outbox import emit
from ocs.events.types import BucketExpiring

AT_ONCE: Final = 200
GONE_MS: Final = 86_400_000
"""An end that is past is forgotten after so long."""

_ACCOUNT: Final = msgspec.msgpack.Decoder(Account)


async def tell_expiring(pool: Any, now_ms: int, soon_ms: int) -> int:
    """Tell of some that end within so many milliseconds and still have something; returns how many were looked at. They
    are marked in the transaction that tells, so any number of processes may do this at once."""
    async with pool.acquire() as pg, pg.transaction():
        due = await pg.fetch(
            "SELECT account, bucket, until_ms FROM bucket_ends WHERE NOT told AND until_ms <= $1"
            " ORDER BY until_ms LIMIT $2 FOR UPDATE SKIP LOCKED",
            now_ms + soon_ms,
            AT_ONCE,
        )
        if not due:
            return 0
        packed = await states(pg, [row["account"] for row in due])
        accounts = {account: _ACCOUNT.decode(state) for account, state in packed.items()}
        for row in due:
            account = accounts.get(row["account"])
            if account is not None and row["until_ms"] > now_ms:
                await _tell(pg, account, row["bucket"], row["until_ms"], now_ms)
        await pg.execute(
            "UPDATE bucket_ends b SET told = true FROM unnest($1::text[], $2::bigint[]) AS w(account, bucket)"
            " WHERE b.account = w.account AND b.bucket = w.bucket",
            [row["account"] for row in due],
            [row["bucket"] for row in due],
        )
        return len(due)


async def _tell(pg: Any, account: Account, bucket_id: int, until_ms: int, now_ms: int) -> None:
    for bucket in account.buckets:
        if bucket.id == bucket_id and bucket.until_ms == until_ms and bucket.amount > 0:
            told = BucketExpiring(
                account.id,
                bucket.id,
                bucket.name,
                KIND_WORDS[bucket.kind],
                account.currency,
                quantity(bucket.kind, bucket.amount),
                time_of(until_ms),
            )
            key, subject = f"{account.id}/{bucket.id}/{until_ms}", f"{account.id}/{bucket.id}"
            await emit(pg, "bucket.expiring", told, at_ms=now_ms, key=key, subject=subject, account=account.id)


async def forget_ends(pool: Any, now_ms: int) -> None:
    """Ends that are past are of no use to anybody."""
    await pool.execute("DELETE FROM bucket_ends WHERE until_ms < $1", now_ms - GONE_MS)
