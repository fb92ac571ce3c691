"""What time alone ends: approvals nobody gave, days that are over."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from ocs.access import approvals, moved_by_day
from ocs.access.approvals import Approval
from ocs.events.outbox import emit
from ocs.events.types import ApprovalDecided

EXPIRED_MAX: Final = 100
"""In one transaction."""


async def expire(pool: Any, now_ms: int) -> int:
    """End requests that nobody has decided in time; returns how many."""
    async with pool.acquire() as pg, pg.transaction():
        over = await approvals.expire(pg, now_ms, EXPIRED_MAX)
        for one in over:
            await tell_decided(pg, one)
    return len(over)


async def purge(pool: Any, now_ms: int) -> None:
    """Forget what is over."""
    await approvals.purge(pool, now_ms - approvals.KEPT_MS)
    await moved_by_day.purge(pool, datetime.fromtimestamp(now_ms / 1_000, UTC).date())


async def tell_decided(pg: Any, one: Approval) -> None:
    """The event of a decision, in the transaction that makes it."""
    state = one.state
    assert state == "approved" or state == "rejected" or state == "expired"
    told = ApprovalDecided(one.id, one.caller, one.permission, one.target, state, one.decided_by, one.reason)
    key = f"{one.id}/{state}/{one.decided_ms}"
    await emit(pg, "approval.decided", told, at_ms=one.decided_ms, key=key, subject=one.id)
