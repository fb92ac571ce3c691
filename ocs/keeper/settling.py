"""Completes what was decided in PostgreSQL and not posted because the process ended: charges of suspense, credits of
vouchers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from balances.ledger import suspense, voucher_claims
from balances.ledger.writer import Pool
from balances.redis.pending import Pending
from balances.structs.charge import Reply
from balances.structs.posting import Post

UNFINISHED_MS: Final = 10_000
"""One whose entry is not copied after so long is posted again."""


class SettlingStore(Protocol):
    def post(self, post: Post) -> Pending[Reply]: ...


class SettlingLog(Protocol):
    def warning(self, event: str, **fields: object) -> object: ...


async def finish(
    pool: Pool, store: SettlingStore, log: SettlingLog, now_ms: int, bring_in: Callable[[str], Awaitable[object]] | None
) -> None:
    """Post the missing entries. The key is made of the row's id, so each is posted once (durability.md rule 10)."""
    before_ms = now_ms - UNFINISHED_MS
    found = [suspense.post_of(row, now_ms) for row in await suspense.unfinished(pool, before_ms)]
    found += [voucher_claims.post_of(row, now_ms) for row in await voucher_claims.unfinished(pool, before_ms)]
    for post in found:
        reply = await store.post(post).wait()
        if reply.status == "absent" and bring_in is not None:
            await bring_in(post.account)
        elif reply.status not in ("ok", "again"):
            log.warning("keeper.unsettled", what=post.key, account=post.account, why=reply.status)
