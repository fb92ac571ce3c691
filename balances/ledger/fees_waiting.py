"""Who waits for money to pay a recurring fee, and got some: looked at at once (charging.md section 21)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from balances.ledger.record import RecordedCall, fit
from balances.structs.record import Record


async def hurry(pg: Any, copied: Sequence[tuple[int, RecordedCall]]) -> None:
    """In the transaction that copies the records."""
    came = {call.record.account for _, call in copied if call.record.reauthorize and _brings_money(call.record)}
    if came:
        await pg.execute(
            "UPDATE fee_assignments SET due_ms = 1 WHERE waiting AND account = ANY($1)", sorted(map(fit, came))
        )


def _brings_money(record: Record) -> bool:
    """Something came in, or somebody changed what may be spent. What a fee itself gives brings no other one on its
    way."""
    if record.kind == "settings":
        return record.actor != "" and "final" in record.reauthorize
    return record.kind != "fee" and any(entry.amount > 0 for entry in record.entries)
