"""The audit trail (docs/audit.md)."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct, field

from ocs.api import schema
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.texts import Time, ms_of, time_of
from ocs.audit.trail import WantedRows
from ocs.backoffice import audit


class AuditQuery(Struct, frozen=True, forbid_unknown_fields=True):
    account: schema.Id | None = None
    caller: schema.Text | None = None
    request: schema.Text | None = None
    """All rows of one request."""
    operation: schema.Text | None = None
    """Its name: `operationId` of /openapi.json."""
    from_: Time | None = field(default=None, name="from")
    until: Time | None = None
    order: Literal["oldest", "newest"] = "oldest"
    after: Annotated[int, Meta(ge=0, le=2**53)] = 0
    """`next` of the page before."""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class AuditEntry(Struct, frozen=True):
    id: int
    time: Time
    kind: Literal["change", "intent", "outcome"]
    """`change`: rows of master data, written by the transaction that made it; `intent`: a change in the live store,
    before it was asked for; `outcome`: what came of it."""
    request: str
    """Ties together what one request did; empty for what no request of the API did."""
    caller: str
    """`db:` and a role where somebody used the database itself."""
    credential: str
    address: str
    operation: str
    target: str
    account: str
    key: str
    before: Any
    after: Any


class AuditPage(Struct, frozen=True):
    items: list[AuditEntry]
    next: int | None


class AuditProof(Struct, frozen=True):
    sound: bool
    rows: int
    head: str
    """Hash of the last row, which covers all before it: kept elsewhere, it proves that none was changed since."""
    findings: list[str]


async def list_audit(call: ApiCall) -> ApiReply:
    query: AuditQuery = call.query
    rows = await audit.page(
        call.backoffice,
        WantedRows(
            after=query.after,
            account=query.account,
            caller=query.caller,
            request=query.request,
            operation=query.operation,
            from_ms=ms_of(query.from_, "from"),
            until_ms=ms_of(query.until, "until"),
            newest_first=query.order == "newest",
            limit=query.limit,
        ),
    )
    items = [
        AuditEntry(
            id=row.id,
            time=time_of(row.at_ms),
            kind=row.kind,
            request=row.request,
            caller=row.caller,
            credential=row.credential,
            address=row.address,
            operation=row.operation,
            target=row.target,
            account=row.account,
            key=row.key,
            before=row.before,
            after=row.after,
        )
        for row in rows
    ]
    return ApiReply(AuditPage(items, items[-1].id if len(items) == query.limit else None))


async def verify_audit(call: ApiCall) -> ApiReply:
    proof = await audit.verify(call.backoffice)
    return ApiReply(AuditProof(not proof.findings, proof.rows, proof.head, proof.findings))


OPERATIONS: Final = (
    Operation(
        "GET",
        "/v1/audit",
        list_audit,
        "Who changed money or master data, when, from where, from what to what",
        "audit.read",
        answer=AuditPage,
        query=AuditQuery,
    ),
    Operation(
        "POST",
        "/v1/audit/verify",
        verify_audit,
        "Prove that no row of the trail was changed, removed or put in between",
        "ledger.verify",
        answer=AuditProof,
        problems=("conflict",),
    ),
)
