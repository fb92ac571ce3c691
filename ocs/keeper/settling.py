"""Completes what was decided in PostgreSQL and not posted because the process ended: charges of suspense, credits of
vouchers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
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
    pool: Pool,
    store: SettlingStore,
    log: SettlingLog,
    now_ms: Callable[[], int],
    bring_in: Callable[[str], Awaitable[object]] | None,
) -> None:
    """Post the missing entries, each at its own instant: a period that is over when it is posted may be closed. The key
    is made of the row's id, so each is posted once (durability.md rule 10). One that cannot be posted now keeps none
    that are younger from it."""
    async for post in _unposted(pool, now_ms):
        reply = await store.post(post).wait()
        if reply.status == "absent" and bring_in is not None:
            await bring_in(post.account)
        elif reply.status not in ("ok", "again"):
            log.warning("keeper.unsettled", what=post.key, account=post.account, why=reply.status)


async def _unposted(pool: Pool, now_ms: Callable[[], int]) -> AsyncIterator[Post]:
    before_ms = now_ms() - UNFINISHED_MS
    decided = (-1, "")
    while rows := await suspense.unfinished(pool, before_ms, decided):
        for row in rows:
            yield suspense.post_of(row, now_ms())
        decided = (rows[-1]["decided_ms"], rows[-1]["id"])
    claimed = (-1, "", 0)
    while claims := await voucher_claims.unfinished(pool, before_ms, claimed):
        for claim in claims:
            yield voucher_claims.post_of(claim, now_ms())
        claimed = (claims[-1]["claimed_ms"], claims[-1]["batch"], claims[-1]["serial"])
