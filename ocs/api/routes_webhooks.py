"""Webhooks: where events are delivered to, and what became of deliveries (docs/webhooks.md)."""

from __future__ import annotations

import secrets
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from ocs.api import schema, schema_webhooks
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.texts import time_of, time_or_none
from ocs.backoffice import webhooks
from ocs.backoffice.webhooks import WantedWebhook, WebhookState
from ocs.events.webhooks.deliveries import WebhookDelivery
from ocs.patterns import looks


class WebhookQuery(Struct, frozen=True, forbid_unknown_fields=True):
    after: schema.After = ""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class DeliveryQuery(Struct, frozen=True, forbid_unknown_fields=True):
    state: Literal["waiting", "delivered", "dead"] | None = None
    after: Annotated[str, looks("[0-9]{0,18}", '"next" of the page before')] = ""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


def webhook_view(found: WebhookState) -> schema_webhooks.WebhookView:
    one = found.webhook
    return schema_webhooks.WebhookView(
        id=one.id,
        form=one.form,
        url=one.url,
        description=one.description,
        types=list(one.filter.types),
        accounts=list(one.filter.accounts),
        services=list(one.filter.services),
        state="paused" if one.paused_for else "failing" if one.failing_ms else "active",
        paused_for=one.paused_for or None,
        why=one.why,
        failing_since=time_or_none(one.failing_ms),
        waiting=found.waiting,
        dead=found.dead,
        delivered=one.delivered,
        last_delivered=time_or_none(one.delivered_ms),
        old_secret_until=time_or_none(one.old_until_ms),
        version=one.version,
        created=time_of(one.created_ms),
        created_by=one.created_by,
        secret=found.secret,
    )


def delivery_view(one: WebhookDelivery) -> schema_webhooks.DeliveryView:
    return schema_webhooks.DeliveryView(
        event=one.event,
        type=one.type,
        account=one.account or None,
        state=one.state,
        attempts=one.attempts,
        created=time_of(one.made_ms),
        first_failed=time_or_none(one.failed_ms),
        last_attempt=time_or_none(one.last_ms),
        next_attempt=time_or_none(one.next_ms) if one.state == "waiting" else None,
        result=one.result,
    )


def _reply(found: WebhookState, status: int = 200) -> ApiReply:
    return ApiReply(webhook_view(found), status, version=found.webhook.version)


async def create_webhook(call: ApiCall) -> ApiReply:
    body: schema_webhooks.WebhookPost = call.body
    wanted = WantedWebhook(
        url=body.url,
        description=body.description,
        types=body.types,
        accounts=body.accounts,
        services=body.services,
    )
    id_ = body.id or f"wh-{secrets.token_hex(8)}"
    found = await webhooks.create(call.backoffice, id_, wanted, after=body.after, actor=call.caller)
    return _reply(found, 201)


async def get_webhook(call: ApiCall) -> ApiReply:
    return _reply(await webhooks.get(call.backoffice, call.path["id"]))


async def list_webhooks(call: ApiCall) -> ApiReply:
    query: WebhookQuery = call.query
    items = [webhook_view(one) for one in await webhooks.page(call.backoffice, query.after, query.limit)]
    return ApiReply(schema_webhooks.WebhookPage(items, items[-1].id if len(items) == query.limit else None))


async def change_webhook(call: ApiCall) -> ApiReply:
    body: schema_webhooks.WebhookPatch = call.body
    wanted = WantedWebhook(
        url=body.url,
        description=body.description,
        types=body.types,
        accounts=body.accounts,
        services=body.services,
    )
    return _reply(await webhooks.change(call.backoffice, call.path["id"], wanted, call.precondition.check))


async def delete_webhook(call: ApiCall) -> ApiReply:
    await webhooks.delete(call.backoffice, call.path["id"], call.precondition.check)
    return ApiReply(None, 204)


async def rotate_secret(call: ApiCall) -> ApiReply:
    body: schema_webhooks.SecretRotation = call.body
    return _reply(await webhooks.rotate_secret(call.backoffice, call.path["id"], body.overlap_s))


async def pause_webhook(call: ApiCall) -> ApiReply:
    return _reply(await webhooks.pause(call.backoffice, call.path["id"]))


async def resume_webhook(call: ApiCall) -> ApiReply:
    return _reply(await webhooks.resume(call.backoffice, call.path["id"]))


async def test_webhook(call: ApiCall) -> ApiReply:
    made = await webhooks.test(call.backoffice, call.path["id"], secrets.token_hex(8))
    return ApiReply(delivery_view(made), 202)


async def list_deliveries(call: ApiCall) -> ApiReply:
    query: DeliveryQuery = call.query
    rows = await webhooks.delivery_page(
        call.backoffice, call.path["id"], query.state, int(query.after or 0), query.limit
    )
    full = len(rows) == query.limit
    return ApiReply(
        schema_webhooks.DeliveryPage([delivery_view(one) for one in rows], str(rows[-1].seq) if full else None)
    )


async def get_delivery(call: ApiCall) -> ApiReply:
    return ApiReply(delivery_view(await webhooks.delivery(call.backoffice, call.path["id"], call.path["event"])))


async def retry_delivery(call: ApiCall) -> ApiReply:
    return ApiReply(delivery_view(await webhooks.retry(call.backoffice, call.path["id"], call.path["event"])))


async def retry_dead_letters(call: ApiCall) -> ApiReply:
    return ApiReply(schema_webhooks.Retried(await webhooks.retry_dead(call.backoffice, call.path["id"])))


UPDATES: Final = ("version-conflict", "version-required")
VIEW: Final = schema_webhooks.WebhookView

OPERATIONS: Final = (
    Operation(
        "POST",
        "/v1/webhooks",
        create_webhook,
        "Have events delivered to a URL",
        "webhooks.write",
        answer=VIEW,
        status=201,
        body=schema_webhooks.WebhookPost,
        problems=("conflict", "unresolved"),
        description="Each event is a POST of CloudEvents JSON, signed as Standard Webhooks says with the `secret` of"
        " this answer, which is shown only now. At least once, and in order for each account (docs/webhooks.md).",
    ),
    Operation(
        "GET",
        "/v1/webhooks",
        list_webhooks,
        "Webhooks",
        "webhooks.read",
        answer=schema_webhooks.WebhookPage,
        query=WebhookQuery,
    ),
    Operation(
        "GET", "/v1/webhooks/{id}", get_webhook, "A webhook", "webhooks.read", answer=VIEW, problems=("not-found",)
    ),
    Operation(
        "PATCH",
        "/v1/webhooks/{id}",
        change_webhook,
        "Change where it is or what it gets",
        "webhooks.write",
        answer=VIEW,
        body=schema_webhooks.WebhookPatch,
        conditional=True,
        problems=(*UPDATES, "not-found"),
        description="What waits already is delivered to the new URL, whatever is wanted now.",
    ),
    Operation(
        "DELETE",
        "/v1/webhooks/{id}",
        delete_webhook,
        "Forget a webhook, and what has not arrived",
        "webhooks.write",
        status=204,
        conditional=True,
        problems=(*UPDATES, "not-found"),
    ),
    Operation(
        "POST",
        "/v1/webhooks/{id}/rotate-secret",
        rotate_secret,
        "A new secret; both sign for a while",
        "webhooks.write",
        answer=VIEW,
        body=schema_webhooks.SecretRotation,
        problems=("not-found", "conflict"),
    ),
    Operation(
        "POST",
        "/v1/webhooks/{id}/pause",
        pause_webhook,
        "Deliver nothing until it is resumed; events wait",
        "webhooks.write",
        answer=VIEW,
        problems=("not-found",),
    ),
    Operation(
        "POST",
        "/v1/webhooks/{id}/resume",
        resume_webhook,
        "Go on at once with all that waits",
        "webhooks.write",
        answer=VIEW,
        problems=("not-found",),
    ),
    Operation(
        "POST",
        "/v1/webhooks/{id}/test",
        test_webhook,
        "Deliver an event of type webhook.test",
        "webhooks.write",
        answer=schema_webhooks.DeliveryView,
        status=202,
        problems=("not-found", "conflict"),
        description="What became of it says its delivery, under the id in the answer, for a day.",
    ),
    Operation(
        "GET",
        "/v1/webhooks/{id}/deliveries",
        list_deliveries,
        "Deliveries that wait, that were given up, or that needed more than one attempt",
        "webhooks.read",
        answer=schema_webhooks.DeliveryPage,
        query=DeliveryQuery,
        problems=("not-found",),
        description="What arrived at the first attempt is counted and not listed; what needed more is, for a day. Dead"
        " letters can be sent again for 30 days.",
    ),
    Operation(
        "GET",
        "/v1/webhooks/{id}/deliveries/{event:path}",
        get_delivery,
        "One of them, by the id of the event",
        "webhooks.read",
        answer=schema_webhooks.DeliveryView,
        problems=("not-found",),
    ),
    Operation(
        "POST",
        "/v1/webhooks/{id}/deliveries/retry",
        retry_dead_letters,
        "Send all dead letters again, the oldest 500",
        "webhooks.write",
        answer=schema_webhooks.Retried,
        problems=("not-found",),
    ),
    Operation(
        "POST",
        "/v1/webhooks/{id}/deliveries/{event:path}/retry",
        retry_delivery,
        "Send a dead letter again, or what waits at once",
        "webhooks.write",
        answer=schema_webhooks.DeliveryView,
        problems=("not-found", "conflict"),
    ),
)
