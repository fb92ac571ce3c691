"""Subscribers and their identities."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

from ocs.api import schema
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.texts import ms_of
from ocs.api.views import subscriber_view
from ocs.backoffice import subscribers
from ocs.backoffice.subscribers import identity_of
from ocs.master.subscribers import Subscriber
from tariffs.catalog import Assignment


class Find(Struct, frozen=True, forbid_unknown_fields=True):
    identity: Annotated[str, Meta(max_length=255)] | None = None
    account: schema.Id | None = None
    after: schema.After = ""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


def assignment_of(number: int, written: schema.AssignmentView) -> Assignment:
    """Of the tariff that stands at this place, from 0."""
    from_ms = ms_of(written.from_, f"tariffs[{number}].from") or 0
    until_ms = ms_of(written.until, f"tariffs[{number}].until") or 0
    return subscribers.assignment_of(number, written.tariff, from_ms, until_ms)


async def put_subscriber(call: ApiCall) -> ApiReply:
    body: schema.SubscriberPut = call.body
    saved = await subscribers.put(
        call.backoffice,
        Subscriber(
            id=call.path["id"],
            account=body.account,
            identities=tuple(dict.fromkeys(identity_of(text) for text in body.identities)),
            tariffs=tuple(assignment_of(number, written) for number, written in enumerate(body.tariffs)),
            barred=body.barred,
            attributes=body.attributes,
            payers=body.payers,
            tags=body.tags,
        ),
        body.password,
        call.precondition.check,
    )
    return ApiReply(subscriber_view(saved.now), 200 if saved.before else 201, version=saved.now.version)


async def get_subscriber(call: ApiCall) -> ApiReply:
    found = await subscribers.get(call.backoffice, call.path["id"])
    return ApiReply(subscriber_view(found), version=found.version)


async def find_subscribers(call: ApiCall) -> ApiReply:
    query: Find = call.query
    if query.identity is not None:
        found = await subscribers.by_identity(call.backoffice, query.identity)
        here = found is not None and query.account in (None, found.account)
        return ApiReply(schema.SubscriberPage([subscriber_view(found)] if found and here else [], None))
    rows = await subscribers.page(call.backoffice, query.account, query.after, query.limit)
    items = [subscriber_view(row) for row in rows]
    return ApiReply(schema.SubscriberPage(items, items[-1].id if len(items) == query.limit else None))


async def delete_subscriber(call: ApiCall) -> ApiReply:
    await subscribers.delete(call.backoffice, call.path["id"], call.precondition.check)
    return ApiReply(None, 204)


UPDATES: Final = ("version-conflict", "version-required")

OPERATIONS: Final = (
    Operation(
        "PUT",
        "/v1/subscribers/{id}",
        put_subscriber,
        "Create a subscriber, or replace what is known of one",
        "subscribers.write",
        answer=schema.SubscriberView,
        also=(201,),
        body=schema.SubscriberPut,
        conditional=True,
        problems=(*UPDATES, "identity-taken", "unresolved"),
        description="Effective on every worker within a second. Open sessions of one that is barred, deleted or moves"
        " to another account are asked to report (RAR); what they used is settled where they began.",
    ),
    Operation(
        "GET",
        "/v1/subscribers/{id}",
        get_subscriber,
        "A subscriber",
        "subscribers.read",
        answer=schema.SubscriberView,
        problems=("not-found",),
    ),
    Operation(
        "GET",
        "/v1/subscribers",
        find_subscribers,
        "Subscribers: the one with an identity, those of an account, or all",
        "subscribers.read",
        answer=schema.SubscriberPage,
        query=Find,
    ),
    Operation(
        "DELETE",
        "/v1/subscribers/{id}",
        delete_subscriber,
        "Forget a subscriber; its account, with all that was charged, stays",
        "subscribers.write",
        status=204,
        conditional=True,
        problems=(*UPDATES, "not-found"),
    ),
)
