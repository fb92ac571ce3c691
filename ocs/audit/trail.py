"""The audit trail: what a request says of itself, and its rows in PostgreSQL (docs/audit.md).

Master data: the row is written by the transaction that makes the change (triggers, 028_audit.sql); that knows the
caller by settings of its connection. The live store: an intent is written before the call, its outcome after the reply;
where a process ends in between, the keeper writes it as the ledger has it.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

SECRETS: Final = frozenset({"password", "secret", "token", "code", "voucher"})
"""Names of members: `code` is that of a voucher, and TMF654 calls it `voucher`."""
FIELDS: Final = (
    "id, at, kind, request, caller, credential, address, operation, target, account, key, before::text AS before,"
    " after::text AS after"
)


class AuditedRequest(Struct):
    """Who asks for a change, from where, by which operation."""

    request: str
    """Made up for each request; "": nobody asks, and no intent is written."""
    caller: str
    credential: str
    address: str
    operation: str
    target: str
    account: str = ""
    key: str = ""
    body: Any = None
    intended: bool = False
    """An intent is written, so an outcome has to follow."""


UNDER_WAY: Final[ContextVar[AuditedRequest | None]] = ContextVar("audited", default=None)
"""The request that is being served; None: what is done is no person's wish."""

SETTINGS: Final = "SELECT " + ", ".join(
    f"set_config('ocs.{name}', ${place}, false)"
    for place, name in enumerate(("request", "caller", "credential", "address", "operation", "account"), 1)
)


def settings() -> tuple[str, ...] | None:
    """What a connection has to be told of the request under way, as arguments of SETTINGS."""
    one = UNDER_WAY.get()
    if one is None:
        return None
    return (one.request, one.caller, one.credential, one.address, one.operation, one.account)


async def intend(pool: Any, account: str, key: str, before: Any) -> None:
    """Write the intent of the request under way, once, before anything is asked of the live store.

    key: under which it is done once; "": it has none
    """
    one = UNDER_WAY.get()
    if one is None or one.intended:
        return
    one.account, one.key = account, key
    await _append(pool, "intent", one, before, shown(one.body))
    one.intended = True


async def conclude(pool: Any, one: AuditedRequest, status: int, answer: Any) -> None:
    """Write what came of an intent."""
    await _append(pool, "outcome", one, None, {"status": status, "answer": shown(answer)})


async def _append(pool: Any, kind: str, one: AuditedRequest, before: Any, after: Any) -> None:
    await pool.execute(
        "INSERT INTO audit (kind, request, caller, credential, address, operation, target, account, key, before, after)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::text::jsonb, $11::text::jsonb)",
        kind,
        one.request,
        one.caller,
        one.credential,
        one.address,
        one.operation,
        one.target,
        one.account,
        one.key,
        _text(before),
        _text(after),
    )


def _text(value: Any) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode().replace("\\u0000", "\\ufffd")


def shown(value: Any) -> Any:
    """The same without secrets."""
    if isinstance(value, dict):
        return {name: "***" if name in SECRETS and inner else shown(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shown(inner) for inner in value]
    return value


AuditKind = Literal["change", "intent", "outcome"]


class AuditRow(Struct, frozen=True):
    id: int
    at_ms: int
    kind: AuditKind
    request: str
    caller: str
    credential: str
    address: str
    operation: str
    target: str
    account: str
    key: str
    before: Any
    after: Any


class WantedRows(Struct, frozen=True, kw_only=True):
    """None: any."""

    after: int = 0
    account: str | None = None
    caller: str | None = None
    request: str | None = None
    operation: str | None = None
    from_ms: int | None = None
    until_ms: int | None = None
    newest_first: bool = False
    limit: int = 100


async def page(pool: Any, wanted: WantedRows) -> list[AuditRow]:
    """after: the id of the last row of the page before"""
    beyond = "($1 = 0 OR id < $1)" if wanted.newest_first else "id > $1"
    records = await pool.fetch(
        f"SELECT {FIELDS} FROM audit WHERE {beyond} AND ($2::text IS NULL OR account = $2)"
        " AND ($3::text IS NULL OR caller = $3) AND ($4::text IS NULL OR request = $4)"
        " AND ($5::text IS NULL OR operation = $5)"
        " AND ($6::bigint IS NULL OR at >= to_timestamp($6 / 1000.0))"
        " AND ($7::bigint IS NULL OR at < to_timestamp($7 / 1000.0))"
        f" ORDER BY id {'DESC' if wanted.newest_first else 'ASC'} LIMIT $8",
        wanted.after,
        wanted.account,
        wanted.caller,
        wanted.request,
        wanted.operation,
        wanted.from_ms,
        wanted.until_ms,
        wanted.limit,
    )
    return [_row(record) for record in records]


def _row(record: Any) -> AuditRow:
    values = dict(record)
    at = values.pop("at")
    for name in ("before", "after"):
        values[name] = None if values[name] is None else msgspec.json.decode(values[name])
    return AuditRow(at_ms=int(at.timestamp() * 1_000), **values)
