"""What accounts owe: free money below zero, as of the last records that were copied."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

_OWED: Final = """
WITH RECURSIVE kinds AS (
    (SELECT currency, state FROM standings ORDER BY currency, state LIMIT 1)
    UNION ALL
    SELECT after.currency, after.state FROM kinds k CROSS JOIN LATERAL (
        SELECT currency, state FROM standings s WHERE (s.currency, s.state) > (k.currency, k.state)
        ORDER BY currency, state LIMIT 1) after
)
SELECT k.currency, count(s.account) AS accounts, COALESCE(sum(-s.free), 0)::bigint AS micro
  FROM kinds k LEFT JOIN standings s ON s.currency = k.currency AND s.state = k.state AND s.free < 0
 GROUP BY k.currency
"""
"""There are few currencies and states: each is found by the index, and of it only the accounts that owe are read."""


class OwedMoney(NamedTuple):
    accounts: int
    micro: int


async def owed(pool: Any) -> dict[str, OwedMoney]:
    """By currency, of those that accounts have."""
    return {row["currency"]: OwedMoney(row["accounts"], row["micro"]) for row in await pool.fetch(_OWED)}
