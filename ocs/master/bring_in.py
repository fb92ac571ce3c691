"""Restores into Redis an account that only PostgreSQL has: from its last record, or as it was created."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from balances import keys
from balances.ledger.reader import STORE_AWAY
from balances.ledger.restore import Quarantined, restore
from balances.packing import pack
from balances.redis.calls import NotSent
from balances.redis.clients import is_cluster
from balances.structs.blob import raw_of
from balances.structs.posting import AccountOpening, RestoredKey
from ocs.master import accounts
from ocs.master.accounts import AccountRow
from ocs.master.opened import opened

if TYPE_CHECKING:
    from asyncpg import Pool
    from redis.asyncio import Redis

    from balances.redis.store import Store


GENERATIONS: Final = 1 << 20
"""Of one account in one epoch there are fewer, and the largest of all stays below 2^53."""


async def bring_in(pool: Pool, redis: Redis, store: Store, account: str, now_ms: int) -> str | None:
    """`ok`, `exists` or why not, as open.lua says, or `quarantined`; None: PostgreSQL does not know the account.
    NotSent where its shard was opened anew meanwhile."""
    epoch = store.link.epoch_of(keys.shard_of(account))
    row = await accounts.get(pool, account)
    try:
        found = await restore(pool, account, now_ms=now_ms)
    except Quarantined:
        return "quarantined"
    projected = int(await redis.get(keys.PROJECTED) or 0)
    if found is None:
        if row is None:
            return None
        check_epoch(store, account, epoch)
        return (await store.open(account, first(row, projected, now_ms)).wait()).status
    # What was projected while the account was away was told to nobody: profiles older than that are stale.
    found.account.profile_rev = max(found.account.profile_rev, projected)
    found.account.generation = generation_after(found.account.generation, int(epoch or 0))
    opening = AccountOpening(
        account=raw_of(pack(found.account)),
        sessions=[RestoredKey(session.id, raw_of(pack(session)), session.due_ms) for session in found.sessions],
        answers=[RestoredKey(key, raw_of(pack(once)), until_ms) for key, once, until_ms in found.answers],
        now_ms=now_ms,
        kind="restore",
        actor="restore",
    )
    if found.sessions:  # `where:` keys before the sessions: a session is never there without one
        pipe = redis.pipeline(transaction=False)
        for session in found.sessions:
            if session.subscriber:
                pipe.set(keys.where(session.id), keys.place(account, session.subscriber), nx=session.forget_ms > 0)
        with contextlib.suppress(
            *(STORE_AWAY if is_cluster(redis) else ())
        ):  # there PostgreSQL is always asked for them
            await pipe.execute()
    check_epoch(store, account, epoch)
    return (await store.open(account, opening).wait()).status


def generation_after(last: int, epoch: int) -> int:
    """The generation of an account restored in this epoch. Calls that were lost may have raised it beyond the last one
    that PostgreSQL knows, and jobs have those numbers: it goes on above all of them (durability.md 10)."""
    return max(last, epoch * GENERATIONS)


def check_epoch(store: Store, account: str, epoch: bytes | None) -> None:
    """What PostgreSQL said of an account holds for the epoch it was asked in: in one that began since then the account
    may have been opened, charged, copied and lost again, and would come back as it was before (durability.md 8)."""
    if epoch is None or store.link.epoch_of(keys.shard_of(account)) != epoch:
        raise NotSent("the live store was opened anew meanwhile")


def first(row: AccountRow, projected: int, now_ms: int) -> AccountOpening:
    """The opening of an account of which PostgreSQL has no record yet: as it was created."""
    account, entries = opened(row)
    account.profile_rev = projected
    return AccountOpening(raw_of(pack(account)), [], [], now_ms, "open", row.opened_by or "open", entries)
