"""What comes late into a month that is closed is posted at the first instant after it (charging.md section 20).

An entry says when it was posted by the clock of whoever asked for it: a process that stood still, or a batch that took
long, may ask in a month that was closed meanwhile. A copy that has such entries and a closing wait for each other, so
an entry is either counted by the closing or finds it done.
"""

from __future__ import annotations

from typing import Any, Final

from balances.ledger.months import Month
from balances.ledger.record import ENTRY_COLUMNS, Row

_AT_MS: Final = ENTRY_COLUMNS.index("at_ms")


async def follow_closed(pg: Any, entries: list[Row], now_ms: int) -> None:
    """In the transaction that copies the entries, before they are written. What is of the month of now is of one that
    nobody closes yet."""
    month_ms = Month.at(now_ms).from_ms
    if all(entry[_AT_MS] >= month_ms for entry in entries):
        return
    await pg.execute("LOCK TABLE ledger_periods IN ROW EXCLUSIVE MODE")
    until_ms = await pg.fetchval("SELECT COALESCE(max(until_ms), 0) FROM ledger_periods")
    for place, entry in enumerate(entries):
        if entry[_AT_MS] < until_ms:
            entries[place] = (*entry[:_AT_MS], until_ms, *entry[_AT_MS + 1 :])
