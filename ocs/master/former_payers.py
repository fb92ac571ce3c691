"""Which accounts paid before, by identity: repeats of what they were charged for come to them (charging.md section 19).
Kept by identity, because one may go from a subscriber to another one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from asyncpg import Connection

KEPT: Final = 8
"""Of an identity, the last ones. Whoever moves more often within 30 days is looked for in these."""
KEPT_MS: Final = 31 * 86_400_000
"""A day longer than anything is remembered of a request."""

_NOTE: Final = """
    INSERT INTO former_payers (identity, account, change, until_ms)
    SELECT identity, account, $3, $4 FROM unnest($1::text[], $2::text[]) AS ceased(identity, account)
    ON CONFLICT (identity, account) DO UPDATE SET change = $3, until_ms = $4
"""
_FORGET: Final = """
    DELETE FROM former_payers f WHERE identity = ANY($1) AND (until_ms < $2 OR (
        SELECT count(*) FROM former_payers g WHERE g.identity = f.identity AND g.change > f.change) >= $3)
"""

# As arrays of FormerPayer, of the identity `i.identity`; the last one first.
FORMER: Final = """
    COALESCE((SELECT json_agg(json_build_array(f.account, c.currency, c.time_zone, f.change, f.until_ms)
                              ORDER BY f.change DESC, f.account)
              FROM former_payers f JOIN accounts c ON c.id = f.account WHERE f.identity = i.identity), '[]')::text
"""


async def note_ceased(db: Connection, ceased: Sequence[tuple[str, str]], number: int, now_ms: int) -> None:
    """Note identities, each with an account that pays no more for it."""
    identities, accounts = [identity for identity, _ in ceased], [account for _, account in ceased]
    await db.execute(_NOTE, identities, accounts, number, now_ms)
    await db.execute(_FORGET, identities, now_ms - KEPT_MS, KEPT)
