"""Tells that the books do not agree."""

from __future__ import annotations

from typing import Any, Final

from balances.ledger.event_data import InvariantViolated
from balances.ledger.verify import LedgerFinding
from ocs.events.outbox import emit

TOLD_MAX: Final = 20
"""Findings named in an event."""


def in_a_line(findings: list[LedgerFinding]) -> str:
    """How many, and the first of them; "" for none."""
    if not findings:
        return ""
    named = "; ".join(f"{found.what} {found.account}: {found.detail}" for found in findings[:TOLD_MAX])
    return f"{len(findings)} finding{'' if len(findings) == 1 else 's'}: {named}"


async def tell_unsound(pool: Any, proof: str, findings: list[LedgerFinding], now_ms: int) -> None:
    """Event `invariant.violated`. proof: a short name of what found it"""
    told = InvariantViolated("the books do not agree", in_a_line(findings))
    async with pool.acquire() as pg:
        await emit(pg, "invariant.violated", told, at_ms=now_ms, key=f"{proof}/{now_ms}", subject="ledger")
