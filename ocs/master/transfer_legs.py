"""The next leg of a transfer, with what only master data knows: the clock of the account, where buckets with hours come
in by a merge, and whether fees that ended with a merge are settled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from balances.ledger import transfers
from balances.ledger.transfers import TransferState
from balances.structs.posting import AccountClosing, Post
from tariffs.week_hours import clock_of

SETTLED_MS: Final = 10_000
"""A fee that has ended is waited for while it is due within so long: claimed by a run, or tried again because the store
did not answer. What is looked at later waits for something else, such as money."""

_FEES_END: Final = """
    SELECT EXISTS (SELECT FROM fee_assignments
        WHERE account = $1 AND ended_ms BETWEEN 1 AND $2::bigint AND due_ms <= $2::bigint + $3::bigint)
"""


async def next_leg(pool: Any, row: Mapping[str, Any], now_ms: int) -> Post | AccountClosing | None:
    """See balances.ledger.transfers.next_leg; None: it has to wait. row: by the columns of the table"""
    if row["state"] == TransferState.ORDERED and await pool.fetchval(_FEES_END, row["source"], now_ms, SETTLED_MS):
        return None  # a closed account is given nothing back (charging.md 17, 21)
    leg = transfers.next_leg(row, now_ms)
    if isinstance(leg, Post) and any(posting.hours for posting in leg.postings):
        zone = await pool.fetchval("SELECT time_zone FROM accounts WHERE id = $1", leg.account)
        leg.clock = clock_of(zone or "UTC", now_ms)
    return leg
