"""From when on usage records and ledger entries are kept: months before that were closed, and dropped (dropping.py).

Whoever adds up entries takes `kept_entries` and, for what was before, `ledger_brought`, in one statement: so it sees
both before a month is dropped, or both after it. A transaction of several statements reads entries first: from then on
no partition goes while it lasts.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

from balances.ledger.record import fit


class NotKept(Exception):
    """What was asked needs records that are not kept any more; the text is meant for the caller."""


class KeptSince(NamedTuple):
    """0: for ever."""

    entries_from_ms: int
    usage_from_ms: int
    """Never before the other one."""


async def kept(pg: Any) -> KeptSince:
    return KeptSince(*await pg.fetchrow("SELECT entries_from_ms, usage_from_ms FROM ledger_kept"))


async def gone(pg: Any, account: str, seq: int) -> str:
    """Why there is no such entry any more; "": it was not dropped."""
    row = await pg.fetchrow(
        "SELECT entries_from_ms, (SELECT max(seq) FROM ledger_brought WHERE account = $1) AS seq FROM ledger_kept",
        fit(account),
    )
    return entries_since(row["entries_from_ms"]) if 0 < seq <= (row["seq"] or 0) else ""


def entries_since(from_ms: int) -> str:
    return f"entries are kept from {day(from_ms)} on"


def usage_since(from_ms: int) -> str:
    return f"usage records are kept from {day(from_ms)} on"


def day(at_ms: int) -> str:
    """The day that begins at this instant (UTC), for people."""
    return datetime.fromtimestamp(at_ms // 1_000, UTC).strftime("%Y-%m-%d")
