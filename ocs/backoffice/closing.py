"""Months of the ledger that are closed: nothing in them changes any more (charging.md section 20)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from balances import keys
from balances.ledger import closing
from balances.ledger.closing import ClosedBook, ClosedPeriod, NotClosable
from balances.ledger.months import Month
from balances.ledger.quarantine import held
from balances.ledger.reader import StreamReader
from balances.ledger.writer import read_cursors
from ocs.backoffice.errors import Conflict, Invalid
from ocs.backoffice.statements import SETTLES_MS

if TYPE_CHECKING:
    from ocs.backoffice.backoffice import BackOffice


async def close(backoffice: BackOffice, name: str, actor: str) -> tuple[ClosedPeriod, Sequence[ClosedBook]]:
    """Close a month, once it is over and all that was posted in it is copied."""
    try:
        month = Month.named(name)
    except ValueError:
        raise Invalid("month", "expected a month such as 2026-10") from None
    until_ms = month.next.from_ms
    if until_ms > backoffice.now_ms() - SETTLES_MS:
        raise Conflict(f"{month.name} is not over")
    async with backoffice.alone():
        await _all_copied(backoffice, month, until_ms)
        try:
            closed = await closing.close(backoffice.pool.patient, month, actor, backoffice.now_ms())
        except NotClosable as why:
            raise Conflict(str(why)) from why
    return closed, await closing.books(backoffice.pool, closed.until_ms)


async def _all_copied(backoffice: BackOffice, month: Month, until_ms: int) -> None:
    """What was posted in the month is in PostgreSQL: the streams are asked first, after it was over."""
    reader = StreamReader(backoffice.redis)
    _, heads = await reader.heads(range(keys.SHARDS))
    cursors = await read_cursors(backoffice.pool)
    if cursors.stopped:
        raise Conflict(f"{len(cursors.stopped)} shards are not copied: `ocs ledger status`")
    if await held(backoffice.pool):
        raise Conflict("records wait in quarantine, which may be of that month: `ocs ledger quarantine list`")
    lag = await reader.lag(cursors.at, heads)
    if lag.entries and lag.oldest_ms < until_ms:
        raise Conflict(f"{lag.entries} records are not copied yet, some of them from {month.name}: try again")


async def periods(backoffice: BackOffice) -> Sequence[tuple[ClosedPeriod, Sequence[ClosedBook]]]:
    """All that are closed, the oldest first."""
    found = await closing.periods(backoffice.pool)
    return [(one, await closing.books(backoffice.pool, one.until_ms)) for one in found]
