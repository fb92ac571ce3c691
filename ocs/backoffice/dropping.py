"""Closed months whose usage records, or entries too, are not kept any longer (charging.md section 20)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from balances.ledger import dropping
from balances.ledger.dropping import DroppedMonth, NotDroppable, Size, What
from ocs.backoffice.closing import month_named
from ocs.backoffice.errors import Conflict

if TYPE_CHECKING:
    from ocs.backoffice.backoffice import BackOffice


class DropPlan(NamedTuple):
    """What dropping a month would do."""

    month: str
    sizes: dict[What, Size]
    """Of each that would go."""
    obstacles: Sequence[str]


async def plan(backoffice: BackOffice, name: str, what: What) -> DropPlan:
    month, pool = month_named(name), backoffice.pool.patient
    gone = {one.what for one in await dropping.drops(pool) if one.until_ms >= month.next.from_ms}
    kinds: tuple[What, ...] = ("usage", "entries") if what == "entries" else ("usage",)
    sizes = {one: await dropping.size(pool, month, one) for one in kinds if one not in gone}
    found = await dropping.obstacles(pool, month, what, backoffice.now_ms()) if what not in gone else []
    return DropPlan(month.name, sizes, found)


async def drops(backoffice: BackOffice) -> Sequence[DroppedMonth]:
    """All there were, the oldest first."""
    return await dropping.drops(backoffice.pool)


async def drop(backoffice: BackOffice, name: str, what: What, actor: str) -> tuple[Sequence[DroppedMonth], bool]:
    """Drop a month; and whether all of it is deleted already: else the keeper goes on with it."""
    month, pool = month_named(name), backoffice.pool.patient
    async with backoffice.alone():
        try:
            # By a connection that knows who asks: the row is on the audit trail.
            await dropping.drop(backoffice.pool, month, what, actor, backoffice.now_ms())
        except NotDroppable as why:
            raise Conflict(str(why)) from why
        await dropping.delete(pool, backoffice.now_ms())
    found = [one for one in await dropping.drops(pool) if one.until_ms == month.next.from_ms]
    return found, all(one.deleted_ms is not None for one in found)
