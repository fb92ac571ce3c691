"""What waits for a second person: seen, approved, rejected (docs/access.md)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from ocs.access.permissions import KNOWN
from ocs.api import schema_access
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.waiting import ApprovedRequests, approval_view
from ocs.backoffice import approvals
from ocs.patterns import looks

AFTER: Final = re.compile(r"(\d{1,15})\.([0-9a-f]{16})")


class ApprovalQuery(Struct, frozen=True, forbid_unknown_fields=True):
    state: Literal["pending", "approved", "done", "failed", "rejected", "expired"] | None = None
    after: Annotated[str, looks(r"(\d{1,15}\.[0-9a-f]{16})?", '"next" of the page before')] = ""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


async def list_approvals(call: ApiCall) -> ApiReply:
    query: ApprovalQuery = call.query
    place = AFTER.fullmatch(query.after)
    after = (int(place[1]), place[2]) if place else (-1, "")
    rows = await approvals.page(call.backoffice, query.state, after, query.limit)
    more = f"{rows[-1].asked_ms}.{rows[-1].id}" if len(rows) == query.limit else None
    return ApiReply(schema_access.ApprovalPage([approval_view(one) for one in rows], more))


async def get_approval(call: ApiCall) -> ApiReply:
    return ApiReply(approval_view(await approvals.get(call.backoffice, call.path["id"], call.authority)))


async def reject(call: ApiCall) -> ApiReply:
    body: schema_access.Decision = call.body
    return ApiReply(
        approval_view(await approvals.reject(call.backoffice, call.path["id"], call.authority, body.reason))
    )


VIEW: Final = schema_access.ApprovalView


def operations(others: Sequence[Operation]) -> Sequence[Operation]:
    """Those about approvals; the others are what may be approved."""
    known = {operation.name: operation for operation in others}

    async def approve(call: ApiCall) -> ApiReply:
        body: schema_access.Decision = call.body
        executor = ApprovedRequests(call.backoffice, known)
        done = await approvals.approve(
            call.backoffice,
            call.path["id"],
            call.authority,
            body.reason,
            executor.execute,
            repeatable=executor.repeatable,
        )
        return ApiReply(approval_view(done))

    return (
        Operation(
            "GET",
            "/v1/approvals",
            list_approvals,
            "What waits for a second person, or did, in the order it was asked for",
            "approvals.read",
            answer=schema_access.ApprovalPage,
            query=ApprovalQuery,
        ),
        Operation(
            "GET",
            "/v1/approvals/{id}",
            get_approval,
            "One of them",
            KNOWN,
            answer=VIEW,
            problems=("not-found",),
            description="Everybody sees what he asked for; that of others needs `approvals.read`.",
        ),
        Operation(
            "POST",
            "/v1/approvals/{id}/approve",
            approve,
            "Approve what another person asked for: it is done once, as that one",
            "approvals.decide",
            answer=VIEW,
            body=schema_access.Decision,
            problems=("not-found", "conflict", "fate-unknown"),
            description="Needs the permission of what is approved too. `status` and `answer` say what came of it.",
        ),
        Operation(
            "POST",
            "/v1/approvals/{id}/reject",
            reject,
            "Reject it; who asked for it takes it back like this",
            KNOWN,
            answer=VIEW,
            body=schema_access.Decision,
            problems=("not-found", "conflict"),
        ),
    )
