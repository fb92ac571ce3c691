"""Operations on the audit trail: who asks is known while it is done, and what came of it is written (docs/audit.md)."""

from __future__ import annotations

import secrets
from typing import Any

import msgspec

from ocs.api.operation import ApiCall, ApiReply
from ocs.api.problems import Problem, problem_of
from ocs.audit import trail
from ocs.audit.trail import UNDER_WAY, AuditedRequest
from ocs.backoffice.backoffice import trouble_of
from ocs.backoffice.errors import BackOfficeError, FateUnknown
from ocs.telemetry.log import logger


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
        await _conclude(call, one, problem_of(error).status, error.detail)
        raise
    except Problem as problem:
        await _conclude(call, one, problem.status, problem.detail)
        raise
    else:
        await _conclude(call, one, reply.status, _plain(reply.value))
        return reply
    finally:
        UNDER_WAY.reset(outside)


async def _conclude(call: ApiCall, one: AuditedRequest, status: int, answer: Any) -> None:
    """It was done, or refused, whether this can be written now or not: else the keeper writes it, from the ledger."""
    if not one.intended:
        return
    try:
        await trail.conclude(call.backoffice.pool, one, status, answer)
    except Exception as why:
        if trouble_of(why) is None:
            raise
        logger().warning("audit.later", request=one.request, why=repr(why))


def _plain(value: Any) -> Any:
    """As JSON has it; None for what is none."""
    if isinstance(value, bytes):
        return None
    try:
        return msgspec.to_builtins(value)
    except TypeError:
        return None
