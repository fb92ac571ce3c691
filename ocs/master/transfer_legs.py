"""The next leg of a transfer, with what only master data knows: the clock of the account, where buckets with hours come
in by a merge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from balances.ledger import transfers
from balances.structs.posting import AccountClosing, Post
from tariffs.week_hours import clock_of


async def next_leg(pool: Any, row: Mapping[str, Any], now_ms: int) -> Post | AccountClosing:
    """See balances.ledger.transfers.next_leg. row: by the columns of the table"""
    leg = transfers.next_leg(row, now_ms)
    if isinstance(leg, Post) and any(posting.hours for posting in leg.postings):
        zone = await pool.fetchval("SELECT time_zone FROM accounts WHERE id = $1", leg.account)
        leg.clock = clock_of(zone or "UTC", now_ms)
    return leg
