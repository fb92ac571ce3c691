"""Requests that wait for a second person, in PostgreSQL. Their states:

pending -> approved -> done | failed        approved: it is being done
pending -> rejected | expired               for good
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

from msgspec import Struct

ApprovalState = Literal["pending", "approved", "done", "failed", "rejected", "expired"]

FIELDS: Final = (
    "id, caller, roles, scopes, address, permission, operation, target, request, key, fingerprint, asked_ms,"
    " expires_ms, state, decided_by, decided_ms, reason, status, answer"
)
KEPT_MS: Final = 90 * 86_400_000
"""How long those that are over are listed."""


class Approval(Struct, frozen=True, kw_only=True):
    id: str
    caller: str
    roles: Sequence[str]
    """Of the caller when it was asked."""
    scopes: Sequence[str]
    address: str
    permission: str
    operation: str
    target: str
    request: bytes
    """As it was sent (ocs.api.operation)."""
    key: str = ""
    """Scoped to the caller; "": where none is needed."""
    fingerprint: str = ""
    asked_ms: int
    expires_ms: int
    state: ApprovalState = "pending"
    decided_by: str = ""
    decided_ms: int = 0
    reason: str = ""
    status: int = 0
    answer: bytes | None = None


async def ask(pg: Any, wanted: Approval) -> bool:
    """Whether this made it: of two under one key the first one stands."""
    made = await pg.fetchval(
        "INSERT INTO approvals (id, caller, roles, scopes, address, permission, operation, target, request, key,"
        " fingerprint, asked_ms, expires_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
        " ON CONFLICT DO NOTHING RETURNING id",
        wanted.id,
        wanted.caller,
        list(wanted.roles),
        list(wanted.scopes),
        wanted.address,
        wanted.permission,
        wanted.operation,
        wanted.target,
        wanted.request,
        wanted.key,
        wanted.fingerprint,
        wanted.asked_ms,
        wanted.expires_ms,
    )
    return made is not None


async def get(pg: Any, id_: str, *, lock: bool = False) -> Approval | None:
    record = await pg.fetchrow(f"SELECT {FIELDS} FROM approvals WHERE id = $1{' FOR UPDATE' if lock else ''}", id_)
    return Approval(**record) if record else None


async def of_key(pg: Any, caller: str, key: str) -> Approval | None:
    record = await pg.fetchrow(f"SELECT {FIELDS} FROM approvals WHERE caller = $1 AND key = $2", caller, key)
    return Approval(**record) if record else None


async def page(pg: Any, state: ApprovalState | None, after: tuple[int, str], limit: int) -> Sequence[Approval]:
    """In the order they were asked for. after: asked_ms and id of the last one"""
    records = await pg.fetch(
        f"SELECT {FIELDS} FROM approvals WHERE ($1::text IS NULL OR state = $1) AND (asked_ms, id) > ($2, $3)"
        " ORDER BY asked_ms, id LIMIT $4",
        state,
        *after,
        limit,
    )
    return [Approval(**record) for record in records]


async def decide(pg: Any, id_: str, state: ApprovalState, by: str, reason: str, now_ms: int) -> Approval:
    record = await pg.fetchrow(
        "UPDATE approvals SET state = $2, decided_by = $3, reason = $4, decided_ms = $5 WHERE id = $1"
        f" RETURNING {FIELDS}",
        id_,
        state,
        by,
        reason,
        now_ms,
    )
    return Approval(**record)


async def finish(pg: Any, id_: str, status: int, answer: bytes) -> Approval:
    """What it was answered with. The first answer stands."""
    record = await pg.fetchrow(
        "UPDATE approvals SET state = CASE WHEN $2::int < 400 THEN 'done' ELSE 'failed' END, status = $2, answer = $3"
        f" WHERE id = $1 AND state = 'approved' RETURNING {FIELDS}",
        id_,
        status,
        answer,
    )
    found = Approval(**record) if record else await get(pg, id_)
    assert found is not None
    return found


async def expire(pg: Any, now_ms: int, limit: int) -> Sequence[Approval]:
    """Those nobody has decided in time."""
    records = await pg.fetch(
        "UPDATE approvals SET state = 'expired', decided_ms = $1 WHERE id IN (SELECT id FROM approvals WHERE"
        f" state = 'pending' AND expires_ms <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING {FIELDS}",
        now_ms,
        limit,
    )
    return [Approval(**record) for record in records]


async def purge(pg: Any, before_ms: int) -> None:
    await pg.execute("DELETE FROM approvals WHERE state IN ('done', 'failed', 'rejected', 'expired') AND asked_ms < $1",
                     before_ms)  # fmt: skip
