"""What comes into an account after its merge follows to where it went: a refund, a transfer that came back (charging.md
section 17).

Where it went is what the last merge says that a person ordered. What follows that one may come back, because the other
account was closed meanwhile, or merged on: then it follows again, to where that went, but to the same account no sooner
than a day later.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from balances.ledger import transfers
from balances.ledger.transfers import TransferState
from balances.structs.account import SuspendReasons
from ocs.master.account_search import WantedStandings, standing

if TYPE_CHECKING:
    from asyncpg import Pool, Record

AT_ONCE: Final = 100
CHAIN_MAX: Final = 32
"""So many merges, one after the other, are followed."""
AGAIN_MS: Final = 86_400_000
"""After which it is tried again with an account that did not take it."""

CLAIMED_MS: Final = 10_000
"""A voucher that was claimed no later after the merge was claimed by who did not know of it."""

# Where nothing was left to go along, no entry says when the account was closed.
_MERGED: Final = """
    SELECT t.*, h.seq, ARRAY(SELECT target FROM transfers WHERE source = closed.account AND follows IS NOT NULL
            AND state = 3 AND ended_ms > $2) AS refused_by,
        EXISTS (SELECT FROM ledger_entries e WHERE e.account = t.source
            AND (e.seq > t.sent_seq OR (t.sent_seq IS NULL AND e.at_ms > t.ended_ms))
            AND (e.why IN ('top-up', 'transfer', 'adjustment') OR (e.why = 'merge' AND e.amount > 0)
                OR (e.why = 'voucher' AND NOT EXISTS (SELECT FROM voucher_claims v WHERE v.account = e.account
                    AND v.seq = e.seq AND v.claimed_ms <= $3 + COALESCE((SELECT at_ms FROM ledger_entries l
                        WHERE l.account = t.source AND l.seq = t.sent_seq), t.ended_ms))))
           ) OR EXISTS (SELECT FROM ledger_brought b WHERE b.account = t.source
            AND b.seq >= t.sent_seq + GREATEST(jsonb_array_length(t.moved), 1)
           ) OR EXISTS (SELECT FROM ledger_closings c, ledger_kept k WHERE c.account = t.source AND t.sent_seq IS NULL
            AND c.until_ms > t.ended_ms AND c.until_ms <= k.entries_from_ms
           ) AS reopened
    FROM unnest($1::text[]) AS closed (account) JOIN account_heads h ON h.account = closed.account
    CROSS JOIN LATERAL (SELECT * FROM transfers WHERE source = closed.account AND merges AND follows IS NULL
        ORDER BY sent_ms DESC, id DESC LIMIT 1) t
"""
_STATE: Final = "SELECT state FROM standings WHERE account = $1"


async def order_late_money(pool: Pool, now_ms: int) -> None:
    """Order the merge of what is there now: one for each state of an account, whoever orders it. None while another one
    of it is on its way."""
    after = (0, "")
    while found := await standing(pool, WantedStandings(state="closed", free_from=1), after, AT_ONCE):
        for merged in await _merged(pool, [one.account for one in found], now_ms):
            await _order(pool, merged, now_ms)
        after = (found[-1].free, found[-1].account)


async def _merged(pool: Pool, accounts: Sequence[str], now_ms: int) -> Sequence[Record]:
    """Of each its last merge, if the other account took all of it, and nobody has put money into this one by hand
    since: then it was opened again, and what comes in may be somebody else's. Of entries that were dropped nobody knows
    what they were: they may have been such. A voucher that was claimed before is credited to a closed account too."""
    rows = await pool.fetch(_MERGED, accounts, now_ms - AGAIN_MS, CLAIMED_MS)
    return [row for row in rows if row["state"] == TransferState.RECEIVED and not row["reopened"]]


async def _order(pool: Pool, merged: Record, now_ms: int) -> None:
    account, heir = merged["source"], await _heir(pool, merged["target"], now_ms)
    if heir is None or heir in merged["refused_by"]:
        return
    id_ = transfers.transfer_id(account, f"late {merged['seq']}")
    said = (merged["currency"], now_ms, merged["actor"], merged["reason"], merged["reference"], merged["tags"])
    async with pool.acquire() as db, db.transaction():
        if await transfers.merging(db, id_, account, heir) is None:
            await transfers.order_merge(db, (id_, account, heir, *said), merged["id"])


async def _heir(pool: Pool, account: str, now_ms: int) -> str | None:
    """Where it went in the end; None where that is closed too, or on its way elsewhere: what comes would come back."""
    for _ in range(CHAIN_MAX):
        state = await pool.fetchval(_STATE, account)
        if state is None or not state & SuspendReasons.CLOSED:
            return account
        merged = await _merged(pool, [account], now_ms)
        if not merged:
            return None
        account = merged[0]["target"]
    return None
