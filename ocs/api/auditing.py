"""Operations on the audit trail: who asks is known while it is done, and what came of it is written (docs/audit.md)."""

from __future__ import annotations

import secrets
from typing import Any

import msgspec

from ocs.api.operation import ApiCall, ApiReply
from ocs.api.problems import Problem, problem_of
from ocs.audit.trail import UNDER_WAY, AuditedRequest
from ocs.backoffice import audit
from ocs.backoffice.errors import BackOfficeError, FateUnknown


async def performed(call: ApiCall, target: str) -> ApiReply:
    """What the operation answers. Raises what it raises.

    target: method and path, for people
    """
    operation = call.operation
    if not operation.audited:
        return await operation.handle(call)
    one = AuditedRequest(
        request=secrets.token_hex(8),
        caller=call.authority.caller,
        credential=call.authority.credential,
        address=call.authority.address,
        operation=operation.name,
        target=target,
        account=call.path.get("id", "") if operation.path.startswith("/v1/accounts/") else "",
        key=call.key,
        body=_plain(call.body),
    )
    outside = UNDER_WAY.set(one)
    try:
        reply = await operation.handle(call)
    except FateUnknown:
        raise  # the keeper writes what came of it
    except BackOfficeError as error:
        await audit.conclude(call.backoffice, one, problem_of(error).status, error.detail)
        raise
    except Problem as problem:
        await audit.conclude(call.backoffice, one, problem.status, problem.detail)
        raise
    else:
        await audit.conclude(call.backoffice, one, reply.status, _plain(reply.value))
        return reply
    finally:
        UNDER_WAY.reset(outside)


def _plain(value: Any) -> Any:
    """As JSON has it; None for what is none."""
    if isinstance(value, bytes):
        return None
    try:
        return msgspec.to_builtins(value)
    except TypeError:
        return None
