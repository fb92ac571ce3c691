"""Spending limits of subscribers and accounts."""

from __future__ import annotations

from typing import Final

from ocs.api import schema_limits as shown
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.texts import time_or_none
from ocs.backoffice import limits
from ocs.backoffice.amounts import KIND_OF, KINDS, amount_of, quantity
from ocs.backoffice.limits import LimitState
from ocs.master.limits import LimitOwner
from tariffs.limits import SpendingLimit


def _view(state: LimitState) -> shown.LimitView:
    limit = state.limit
    return shown.LimitView(
        name=limit.name,
        shared=limit.shared,
        amount=quantity(limit.kind, limit.amount),
        kind=KINDS[limit.kind],
        period=limit.period,
        services=list(limit.services),
        visited=list(limit.visited),
        not_visited=list(limit.not_visited),
        used=quantity(limit.kind, state.used),
        held=quantity(limit.kind, state.held),
        left=quantity(limit.kind, state.left),
        since=time_or_none(state.from_ms),
        until=time_or_none(state.until_ms),
    )


def _listed(states: list[LimitState]) -> ApiReply:
    return ApiReply(shown.LimitList([_view(state) for state in states]))


def limit_of(name: str, body: shown.LimitPut) -> SpendingLimit:
    """As it is stored, but for who shares it; its period is not looked at."""
    kind = KIND_OF[body.kind]
    return SpendingLimit(
        name=name,
        kind=kind,
        amount=amount_of(body.amount, kind, "amount"),
        period=body.period,
        services=tuple(dict.fromkeys(body.services)),
        visited=tuple(dict.fromkeys(body.visited)),
        not_visited=tuple(dict.fromkeys(body.not_visited)),
    )


async def _put(call: ApiCall, owner: LimitOwner) -> ApiReply:
    state, is_new = await limits.put(call.backoffice, owner, limit_of(call.path["limit"], call.body))
    return ApiReply(_view(state), 201 if is_new else 200)


async def put_subscriber_limit(call: ApiCall) -> ApiReply:
    return await _put(call, LimitOwner(subscriber=call.path["id"]))


async def put_account_limit(call: ApiCall) -> ApiReply:
    return await _put(call, LimitOwner(account=call.path["id"]))


async def list_subscriber_limits(call: ApiCall) -> ApiReply:
    return _listed(await limits.of_subscriber(call.backoffice, call.path["id"]))


async def list_account_limits(call: ApiCall) -> ApiReply:
    return _listed(await limits.of_account(call.backoffice, call.path["id"]))


async def delete_subscriber_limit(call: ApiCall) -> ApiReply:
    await limits.delete(call.backoffice, LimitOwner(subscriber=call.path["id"]), call.path["limit"])
    return ApiReply(None, 204)


async def delete_account_limit(call: ApiCall) -> ApiReply:
    await limits.delete(call.backoffice, LimitOwner(account=call.path["id"]), call.path["limit"])
    return ApiReply(None, 204)


EFFECT: Final = (
    "It counts from the next grant on: open sessions of all whom it limits are asked to report (RAR), what they hold"
    " stays held. What was spent before it was first set does not count; changed, it goes on from what was used."
)

OPERATIONS: Final = (
    Operation(
        "PUT",
        "/v1/subscribers/{id}/limits/{limit}",
        put_subscriber_limit,
        "Limit what a subscriber may spend or use in a period",
        "limits.write",
        answer=shown.LimitView,
        also=(201,),
        body=shown.LimitPut,
        problems=("not-found",),
        description=EFFECT,
    ),
    Operation(
        "GET",
        "/v1/subscribers/{id}/limits",
        list_subscriber_limits,
        "Limits of a subscriber, and those it shares with all of its account: used, held and left",
        "subscribers.read",
        answer=shown.LimitList,
        problems=("not-found",),
    ),
    Operation(
        "DELETE",
        "/v1/subscribers/{id}/limits/{limit}",
        delete_subscriber_limit,
        "Take a limit of a subscriber away",
        "limits.write",
        status=204,
        problems=("not-found",),
    ),
    Operation(
        "PUT",
        "/v1/accounts/{id}/limits/{limit}",
        put_account_limit,
        "Limit what all subscribers of an account may spend or use together in a period",
        "limits.write",
        answer=shown.LimitView,
        also=(201,),
        body=shown.LimitPut,
        problems=("not-found",),
        description=EFFECT,
    ),
    Operation(
        "GET",
        "/v1/accounts/{id}/limits",
        list_account_limits,
        "Limits that all subscribers of an account share: used, held and left",
        "accounts.read",
        answer=shown.LimitList,
        problems=("not-found",),
    ),
    Operation(
        "DELETE",
        "/v1/accounts/{id}/limits/{limit}",
        delete_account_limit,
        "Take a limit of an account away",
        "limits.write",
        status=204,
        problems=("not-found",),
    ),
)
