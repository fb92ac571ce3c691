"""Notification thresholds of accounts, and services with a line of suspension of their own."""

from __future__ import annotations

from typing import Final

from ocs.api import schema
from ocs.api import schema_thresholds as shown
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.threshold_views import (
    service_line_of,
    service_line_view,
    threshold_of,
    threshold_view,
    threshold_views,
)
from ocs.backoffice import accounts, thresholds


async def put_threshold(call: ApiCall) -> ApiReply:
    wanted = threshold_of(call.path["threshold"], call.body)
    account, is_new = await thresholds.put_threshold(
        call.backoffice, call.path["id"], wanted, call.caller, call.check_revision
    )
    [made] = [one for one in account.thresholds if one.name == wanted.name]
    view = threshold_view(made, account, call.backoffice.now_ms())
    return ApiReply(view, 201 if is_new else 200, version=account.rev)


async def list_thresholds(call: ApiCall) -> ApiReply:
    row = await accounts.find(call.backoffice, call.path["id"])
    account, _ = await accounts.read(call.backoffice, row)
    items = threshold_views(account, call.backoffice.now_ms())
    return ApiReply(shown.ThresholdList(items), version=account.rev)


async def delete_threshold(call: ApiCall) -> ApiReply:
    name = call.path["threshold"]
    await thresholds.delete_threshold(call.backoffice, call.path["id"], name, call.caller, call.check_revision)
    return ApiReply(None, 204)


async def put_service(call: ApiCall) -> ApiReply:
    wanted = service_line_of(call.path["service"], call.body)
    account, is_new = await thresholds.put_service(
        call.backoffice, call.path["id"], wanted, call.caller, call.check_revision
    )
    [made] = [one for one in account.services if one.service == wanted.service]
    return ApiReply(service_line_view(made), 201 if is_new else 200, version=account.rev)


async def list_services(call: ApiCall) -> ApiReply:
    row = await accounts.find(call.backoffice, call.path["id"])
    account, _ = await accounts.read(call.backoffice, row)
    return ApiReply(shown.ServiceLineList([service_line_view(one) for one in account.services]), version=account.rev)


async def delete_service(call: ApiCall) -> ApiReply:
    service = call.path["service"]
    await thresholds.delete_service(call.backoffice, call.path["id"], service, call.caller, call.check_revision)
    return ApiReply(None, 204)


PROBLEMS: Final = ("not-found", "version-conflict", "fate-unknown")
VERSIONED: Final = "With If-Match only to that revision of the account; without it, to what is there."
BEGINS: Final = (
    "One that is set, or changed in any way, begins as it stands: crossed where the account is below it, without an"
    f" event. {VERSIONED}"
)

OPERATIONS: Final = (
    Operation(
        "PUT",
        "/v1/accounts/{id}/thresholds/{threshold}",
        put_threshold,
        "Be told when a balance falls below an amount or a percentage, and when it rises again",
        "thresholds.write",
        answer=schema.ThresholdView,
        also=(201,),
        body=shown.ThresholdPut,
        conditional=True,
        problems=PROBLEMS,
        description=BEGINS,
    ),
    Operation(
        "GET",
        "/v1/accounts/{id}/thresholds",
        list_thresholds,
        "Notification thresholds of an account: armed, or crossed since when",
        "accounts.read",
        answer=shown.ThresholdList,
        problems=("not-found",),
    ),
    Operation(
        "DELETE",
        "/v1/accounts/{id}/thresholds/{threshold}",
        delete_threshold,
        "Take a notification threshold away",
        "thresholds.write",
        status=204,
        conditional=True,
        problems=PROBLEMS,
        description=VERSIONED,
    ),
    Operation(
        "PUT",
        "/v1/accounts/{id}/services/{service}",
        put_service,
        "Suspend one service for credit by a line of its own",
        "thresholds.write",
        answer=schema.ServiceLineView,
        also=(201,),
        body=shown.ServiceLinePut,
        conditional=True,
        problems=PROBLEMS,
        description="At once it counts for the service in the place of the account's line: open sessions of the account"
        f" are asked to report (RAR). {VERSIONED}",
    ),
    Operation(
        "GET",
        "/v1/accounts/{id}/services",
        list_services,
        "Services of an account with a line of suspension of their own",
        "accounts.read",
        answer=shown.ServiceLineList,
        problems=("not-found",),
    ),
    Operation(
        "DELETE",
        "/v1/accounts/{id}/services/{service}",
        delete_service,
        "Take the line of a service away: then the account's counts for it",
        "thresholds.write",
        status=204,
        conditional=True,
        problems=PROBLEMS,
        description=VERSIONED,
    ),
)
