"""Months of the ledger that are closed: nothing in them changes any more (charging.md section 20)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from balances.ledger import closing
from balances.ledger.closing import ClosedBook, ClosedPeriod, NotClosable
from balances.ledger.months import Month
from ocs.backoffice.errors import Conflict, Invalid
from ocs.backoffice.ledger import copy_status
from ocs.backoffice.statements import SETTLES_MS

if TYPE_CHECKING:
    from ocs.backoffice.backoffice import BackOffice


async def close(backoffice: BackOffice, name: str, actor: str) -> tuple[ClosedPeriod, Sequence[ClosedBook]]:
    """Close a month, once it is over and all that was posted in it is copied."""
    month = month_named(name)
    until_ms = month.next.from_ms
    if until_ms > backoffice.now_ms() - SETTLES_MS:
        raise Conflict(f"{month.name} is not over")
    async with backoffice.alone():
        await _all_copied(backoffice, month, until_ms)
        try:
            closed = await closing.close(backoffice.pool, month, actor, backoffice.now_ms())
        except NotClosable as why:
            raise Conflict(str(why)) from why
    return closed, await closing.books(backoffice.pool, closed.until_ms)


def month_named(name: str) -> Month:
    try:
        return Month.named(name)
    except ValueError:
        raise Invalid("month", "expected a month such as 2026-10") from None


async def _all_copied(backoffice: BackOffice, month: Month, until_ms: int) -> None:
    """What was posted in the month is in PostgreSQL: the streams are asked after it was over."""
    status = await copy_status(backoffice)
    if status.stopped:
        raise Conflict(f"{status.stopped} shards are not copied: `ocs ledger status`")
    if status.quarantined:
        raise Conflict("records wait in quarantine, which may be of that month: `ocs ledger quarantine list`")
    if not all(one.head for one in status.shards):
        raise Conflict("not every part of the live store can be asked: try again")
    if status.lag and status.oldest_ms < until_ms:
        raise Conflict(f"{status.lag} records are not copied yet, some of them from {month.name}: try again")


async def periods(backoffice: BackOffice) -> Sequence[tuple[ClosedPeriod, Sequence[ClosedBook]]]:
    """All that are closed, the oldest first."""
    found = await closing.periods(backoffice.pool)
    return [(one, await closing.books(backoffice.pool, one.until_ms)) for one in found]
