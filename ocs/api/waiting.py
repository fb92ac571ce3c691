"""Requests that wait for a second person: put on the list as they were sent, and done from there."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response

from ocs.access.approvals import Approval
from ocs.access.roles import Authority
from ocs.api import schema_access
from ocs.api.auditing import performed
from ocs.api.operation import ApiCall, Operation, SentRequest, call_of, response_of
from ocs.api.problems import Problem, media_type_of, problem_of, refusal_of
from ocs.api.texts import time_of, time_or_none
from ocs.backoffice import approvals
from ocs.backoffice.approvals import Executed
from ocs.backoffice.backoffice import BackOffice
from ocs.backoffice.errors import BackOfficeError, Conflict, FateUnknown, Forbidden, Unavailable


def approval_view(one: Approval) -> schema_access.ApprovalView:
    sent = msgspec.msgpack.decode(one.request, type=SentRequest)
    return schema_access.ApprovalView(
        approval=one.id,
        state=one.state,
        caller=one.caller,
        address=one.address,
        permission=one.permission,
        operation=one.operation,
        target=one.target,
        body=_json(sent.body),
        asked=time_of(one.asked_ms),
        expires=time_of(one.expires_ms),
        decided=time_or_none(one.decided_ms),
        decided_by=one.decided_by,
        reason=one.reason,
        status=one.status or None,
        answer=_json(one.answer or b""),
    )


def _json(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


async def wait(call: ApiCall, sent: SentRequest, path: str) -> Response:
    """202 with what waits; once it was done, what it was answered with."""
    now_ms = call.backoffice.now_ms()
    who = call.authority
    wanted = Approval(
        id=secrets.token_hex(8),
        caller=who.caller,
        roles=list(who.roles),
        scopes=sorted(who.permissions),
        address=who.address,
        permission=call.operation.permission,
        operation=call.operation.name,
        target=f"{call.operation.method} {path}",
        request=msgspec.msgpack.encode(sent),
        key=call.key,
        fingerprint=call.fingerprint,
        asked_ms=now_ms,
        expires_ms=now_ms + call.backoffice.access.approval_s * 1_000,
    )
    one = await approvals.ask(call.backoffice, wanted)
    if one.status:
        media_type = media_type_of(path) if one.status >= 400 else "application/json"
        return Response(one.answer or b"", one.status, media_type=media_type if one.answer else None)
    if one.state in ("rejected", "expired"):
        raise Conflict(f"approval {one.id} is {one.state}: {one.reason or 'ask anew, with another Idempotency-Key'}")
    content = msgspec.json.encode(approval_view(one))
    return Response(content, 202, {"Location": f"/v1/approvals/{one.id}"}, media_type="application/json")


class ApprovedRequests:
    """Does what was approved.

    operations: by name
    """

    def __init__(self, backoffice: BackOffice, operations: Mapping[str, Operation]) -> None:
        self._backoffice, self._operations = backoffice, operations

    def repeatable(self, operation: str) -> bool:
        return self._operations[operation].repeatable

    async def execute(self, one: Approval, authority: Authority) -> Executed:
        operation = self._operations[one.operation]
        sent = msgspec.msgpack.decode(one.request, type=SentRequest)
        try:
            if not authority.may(one.permission):  # its role has changed since
                raise Forbidden(f"{authority.caller} lacks the permission {one.permission} now")
            response = response_of(
                operation, await performed(call_of(operation, self._backoffice, authority, sent), one.target)
            )
            return Executed(response.status_code, bytes(response.body))
        except (Unavailable, FateUnknown):
            raise
        except BackOfficeError as error:
            problem = problem_of(error)
        except Problem as found:
            problem = found
        refusal = refusal_of(problem, one.target.partition(" ")[2])
        return Executed(refusal.status, refusal.body)
