"""Outcomes that nobody wrote, because a process ended first: as the ledger has them."""

from __future__ import annotations

from typing import Any, Final

import msgspec

OLD_S: Final = 60
"""Older intents without an outcome are looked at: what was under way then is over."""
SURE_S: Final = 900
"""Where the ledger has no record of it by then, nothing was done."""
AT_ONCE_MAX: Final = 200
LOOKED_BACK: Final = "2 days"


async def settle(pool: Any) -> int:
    """Write outcomes that are missing; returns how many."""
    rows = await pool.fetch(
        "SELECT i.id, i.request, i.caller, i.credential, i.address, i.operation, i.target, i.account, i.key,"
        " i.at < now() - make_interval(secs => $2) AS sure FROM audit i WHERE i.kind = 'intent'"
        f" AND i.at < now() - make_interval(secs => $1) AND i.at > now() - interval '{LOOKED_BACK}'"
        " AND NOT EXISTS (SELECT FROM audit o WHERE o.request = i.request AND o.kind = 'outcome')"
        " ORDER BY i.id LIMIT $3",
        OLD_S,
        SURE_S,
        AT_ONCE_MAX,
    )
    written = 0
    for row in rows:
        entries = await pool.fetch(
            "SELECT e.seq, e.bucket, e.amount, e.after FROM once o JOIN ledger_entries e"
            " ON e.account = o.account AND e.epoch = o.epoch AND e.n = o.n WHERE o.account = $1 AND o.key = $2"
            " ORDER BY e.seq",
            row["account"],
            row["key"],
        ) if row["key"] else []  # fmt: skip
        if not entries and not row["sure"]:
            continue
        after = {"by": "ledger", "entries": [dict(entry) for entry in entries]}
        await pool.execute(
            "INSERT INTO audit (kind, request, caller, credential, address, operation, target, account, key, after)"
            " SELECT 'outcome', $1, $2, $3, $4, $5, $6, $7, $8, $9::text::jsonb WHERE NOT EXISTS (SELECT FROM audit"
            " WHERE request = $1 AND kind = 'outcome')",
            *tuple(row)[1:9],
            msgspec.json.encode(after).decode(),
        )
        written += 1
    return written
