"""Wrong codes that were tried lately, and who is locked out for them: kept in PostgreSQL, so that no restart forgives.

A try is counted before its code is looked at and taken back when it was right. So of tries at the same time no more are
looked at than one after the other would be: they wait for each other's row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ocs.config.backoffice import VoucherRules

Guesser = tuple[str, str]
"""(`account` or `source`, its name)"""
KEPT_MAX: Final = 100_000
"""Rows; beyond it the oldest go."""

_COUNT: Final = """
    INSERT INTO voucher_tries AS t (kind, name, wrong, since_ms, locked_ms) VALUES ($1, $2, 1, $3, 0)
    ON CONFLICT (kind, name) DO UPDATE SET
        wrong = CASE WHEN t.since_ms < $4 THEN 1 ELSE t.wrong + 1 END,
        since_ms = CASE WHEN t.since_ms < $4 THEN $3 ELSE t.since_ms END
    RETURNING wrong, locked_ms
"""


async def count(pg: Any, guessers: Sequence[Guesser], rules: VoucherRules, now_ms: int) -> int:
    """Count a try of each, in the caller's transaction; until when one of them is locked out, 0 where none is."""
    locked_ms = 0
    for kind, name in sorted(guessers):  # in one order everywhere, so that no two wait for each other
        row = await pg.fetchrow(_COUNT, kind, name, now_ms, now_ms - rules.window_s * 1_000)
        if row["locked_ms"] > now_ms:
            locked_ms = max(locked_ms, row["locked_ms"])
    return locked_ms


async def take_back(pg: Any, guessers: Sequence[Guesser], *, forgiven: bool) -> None:
    """It was no wrong try; forgiven: those before it are forgotten too."""
    for kind, name in sorted(guessers):
        wrong = "0" if forgiven else "greatest(wrong - 1, 0)"
        await pg.execute(f"UPDATE voucher_tries SET wrong = {wrong} WHERE kind = $1 AND name = $2", kind, name)


async def lock_out(pg: Any, guessers: Sequence[Guesser], rules: VoucherRules, now_ms: int) -> list[tuple[Guesser, int]]:
    """After a wrong try that was counted: who is locked out by it, and how many wrong ones that were."""
    locked = []
    for kind, name in sorted(guessers):
        wrong = await pg.fetchval(
            "UPDATE voucher_tries t SET wrong = 0, locked_ms = $4 FROM voucher_tries b"
            " WHERE t.kind = $1 AND t.name = $2 AND t.wrong >= $3 AND b.kind = t.kind AND b.name = t.name"
            " RETURNING b.wrong",
            kind,
            name,
            rules.wrong_max,
            now_ms + rules.locked_s * 1_000,
        )
        if wrong is not None:
            locked.append(((kind, name), int(wrong)))
    return locked


async def forget(pool: Any, before_ms: int, now_ms: int, most: int = KEPT_MAX) -> None:
    """Delete what says nothing any more, and the oldest where there are too many."""
    await pool.execute(
        "DELETE FROM voucher_tries WHERE locked_ms <= $2 AND (since_ms < $1 OR wrong = 0)", before_ms, now_ms
    )
    await pool.execute(
        "DELETE FROM voucher_tries WHERE (kind, name) IN"
        " (SELECT kind, name FROM voucher_tries ORDER BY since_ms DESC OFFSET $1)",
        most,
    )
