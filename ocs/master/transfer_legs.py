"""The next leg of a transfer, with what only master data knows: the clock of the account, where buckets with hours come
in by a merge, and whether fees that ended with a merge are settled. And where the live store may have forgotten a leg,
whether PostgreSQL would know of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from balances.ledger import transfers
from balances.ledger.transfers import KEPT_MS, TransferState
from balances.structs.posting import AccountClosing, Post
from tariffs.week_hours import clock_of

if TYPE_CHECKING:
    from balances.redis.pending import Pending
    from balances.structs.account import Account

SETTLED_MS: Final = 10_000
"""A fee that has ended is waited for while it is due within so long: claimed by a run, or tried again because the store
did not answer. What is looked at later waits for something else, such as money."""

OLD_MS: Final = KEPT_MS - 86_400_000
"""The live store remembers a leg for longer than this: younger ones it makes once, whoever asks."""
TRIES: Final = 20
WAIT_S: Final = 0.1
"""PostgreSQL follows within 2.3 s."""

_KNOWN: Final = """
    SELECT COALESCE((SELECT seq FROM account_heads WHERE account = $1), 0) >= $2 AS copied,
        EXISTS (SELECT FROM ledger_entries WHERE account = $1 AND why = 'recovered' AND at_ms >= $3) AS gap
"""


class SeqStore(Protocol):
    def account(self, account_id: str) -> Pending[Account | None]: ...


_FEES_END: Final = """
    SELECT EXISTS (SELECT FROM fee_assignments
        WHERE account = $1 AND ended_ms BETWEEN 1 AND $2::bigint AND due_ms <= $2::bigint + $3::bigint)
"""


async def next_leg(pool: Any, store: SeqStore, row: Mapping[str, Any], now_ms: int) -> Post | AccountClosing | None:
    """See balances.ledger.transfers.next_leg; None: it has to wait. row: by the columns of the table"""
    if row["sent_ms"] < now_ms - OLD_MS and not await _would_know(pool, store, row):
        return None
    if row["state"] == TransferState.ORDERED and await pool.fetchval(_FEES_END, row["source"], now_ms, SETTLED_MS):
        return None  # a closed account is given nothing back (charging.md 17, 21)
    leg = transfers.next_leg(row, now_ms)
    if isinstance(leg, Post) and any(posting.hours for posting in leg.postings):
        zone = await pool.fetchval("SELECT time_zone FROM accounts WHERE id = $1", leg.account)
        leg.clock = clock_of(zone or "UTC", now_ms)
    return leg


async def _would_know(pool: Any, store: SeqStore, row: Mapping[str, Any]) -> bool:
    """Whether all that the two accounts did since it left stands in PostgreSQL, with nothing in a gap. Where PostgreSQL
    came from a backup, the leg may have been made before, and be forgotten (durability.md rule 12)."""
    for account in filter(None, (row["source"], row["target"])):
        there = await store.account(account).wait()
        for tries_left in reversed(range(TRIES)):
            known = await pool.fetchrow(_KNOWN, account, there.seq if there else 0, row["sent_ms"] - SETTLED_MS)
            if known["gap"] or (not known["copied"] and not tries_left):
                return False
            if known["copied"]:
                break
            await asyncio.sleep(WAIT_S)
    return True
