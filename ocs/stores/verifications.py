"""What whole proofs of the ledger came to: when, by whom, and how many findings (docs/durability.md)."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from balances.ledger.verify import VerifyReport

KEPT: Final = 400
"""Proofs that are remembered: a year of them, one a day."""


class Verification(Struct, frozen=True):
    """One proof. entries: of PostgreSQL; by: a caller, or `keeper`; text: the first findings"""

    began_ms: int
    ended_ms: int
    by: str
    accounts: int
    entries: int
    findings: int
    text: str


async def last(pool: Any) -> Verification | None:
    row = await pool.fetchrow(
        "SELECT began_ms, ended_ms, by, accounts, entries, findings, text FROM verifications ORDER BY id DESC LIMIT 1"
    )
    return None if row is None else Verification(*row)


async def note(pool: Any, began_ms: int, ended_ms: int, by: str, report: VerifyReport, text: str) -> None:
    """Keep what it came to; the oldest go. text: the first findings, for people"""
    async with pool.acquire() as pg, pg.transaction():
        await pg.execute(
            "INSERT INTO verifications (began_ms, ended_ms, by, accounts, entries, findings, text)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7)",
            *(began_ms, ended_ms, by, report.accounts, report.entries, len(report.findings), text),
        )
        await pg.execute("DELETE FROM verifications WHERE id <= (SELECT max(id) FROM verifications) - $1", KEPT)
