"""The chain of the audit trail: the hash of each row covers the one before it."""

from __future__ import annotations

import hashlib
from typing import Any, Final, NamedTuple

LOCK: Final = 0x0C5_0002
"""Advisory lock: one at a time goes on with the chain."""
ROWS_MAX: Final = 1_000
"""In one transaction, and in one question of a proof."""
FIRST: Final = bytes(32)
LATE_S: Final = 60
"""A row that is not in the chain for so long is a finding: no keeper runs, or a transaction does not end."""


def following(hash_before: bytes, digest: bytes) -> bytes:
    return hashlib.sha256(hash_before + digest).digest()


async def go_on(pool: Any) -> int:
    """Take up rows of transactions before which all older ones have ended; returns how many. Any number may run at
    once."""
    async with pool.acquire() as pg, pg.transaction():
        if not await pg.fetchval("SELECT pg_try_advisory_xact_lock($1)", LOCK):
            return 0
        last = await pg.fetchrow("SELECT n, xid::text, audit, hash FROM audit_chain ORDER BY n DESC LIMIT 1")
        n, xid, audit, hash_ = last or (0, "0", 0, FIRST)
        rows = await pg.fetch(
            "SELECT a.id, a.xid::text AS xid, audit_digest(a) AS digest FROM audit a"
            " WHERE (a.xid, a.id) > ($1::text::xid8, $2) AND a.xid < pg_snapshot_xmin(pg_current_snapshot())"
            " ORDER BY a.xid, a.id LIMIT $3",
            xid,
            audit,
            ROWS_MAX,
        )
        made = []
        for row in rows:
            n, hash_ = n + 1, following(hash_, row["digest"])
            made.append((n, row["xid"], row["id"], hash_))
        if made:
            await pg.executemany(
                "INSERT INTO audit_chain (n, xid, audit, hash) VALUES ($1, $2::text::xid8, $3, $4)", made
            )
        return len(made)


class ChainProof(NamedTuple):
    rows: int
    """In the chain."""
    head: str
    """Hash of the last one, in hex: kept elsewhere, it proves that nothing before it was changed since."""
    findings: list[str]


async def verify(pool: Any, findings_max: int = 100) -> ChainProof:
    """Compute every hash again."""
    found: list[str] = []

    def say(text: str) -> None:
        if len(found) < findings_max:
            found.append(text)

    n, hash_ = 0, FIRST
    while rows := await pool.fetch(
        "SELECT c.n, c.audit, c.hash, audit_digest(a) AS digest, a.id FROM audit_chain c"
        " LEFT JOIN audit a ON a.id = c.audit WHERE c.n > $1 ORDER BY c.n LIMIT $2",
        n,
        ROWS_MAX,
    ):
        for row in rows:
            if row["n"] != n + 1:
                say(f"the chain has no numbers {n + 1} to {row['n'] - 1}")
            n = row["n"]
            if row["id"] is None:
                say(f"row {row['audit']} was removed")
            elif following(hash_, row["digest"]) != row["hash"]:
                say(f"row {row['audit']} is not what it was, or stands where another one stood")
            hash_ = row["hash"]
    for row in await pool.fetch(
        "SELECT a.id FROM audit a WHERE NOT EXISTS (SELECT FROM audit_chain c WHERE c.audit = a.id)"
        " AND (a.at < now() - make_interval(secs => $1) OR (a.xid, a.id) <= (SELECT xid, audit FROM audit_chain"
        " ORDER BY n DESC LIMIT 1)) ORDER BY a.id LIMIT $2",
        LATE_S,
        findings_max,
    ):
        say(f"row {row['id']} is not in the chain")
    return ChainProof(n, hash_.hex(), found)
