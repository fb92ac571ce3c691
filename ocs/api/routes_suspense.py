"""Suspense: the list of use that was reported and not charged, and its settlement (charging.md section 2)."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from balances.structs.charge import Suspense
from ocs.api import schema, schema_suspense
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.routes_accounts import order_of
from ocs.api.texts import Money, Quantity, Time, ms_of
from ocs.api.views import suspense_view
from ocs.backoffice import suspense
from ocs.backoffice.amounts import micro_of
from ocs.backoffice.suspense import WantedSettlement, WantedSuspense
from ocs.patterns import looks

WORDS: Final = {why.word: why for why in Suspense if why}


class Query(Struct, frozen=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    account: schema.Id | None = None
    """Whose use it was, or who was charged for it."""
    session: Annotated[str, Meta(min_length=1, max_length=512)] | None = None
    reason: schema_suspense.SetAside | None = None
    state: schema_suspense.SuspenseState | None = None
    from_: Time | None = None
    until: Time | None = None
    """Half open, by the first use."""
    after: Annotated[str, looks(r"([0-9]{1,16}:[0-9-]{1,60})?", '"next" of the page before')] = ""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class Settlement(schema.TaggedInput, frozen=True):
    action: Literal["charge", "write-off"]
    reason: schema.Reason
    amount: Money | None = None
    """What to charge for all of it. Left out: an amount of money as it is; else by the tariffs published now, as they
    were in force when it was used."""
    account: schema.Id | None = None
    """Who pays, where nobody is known to have used it."""
    expected: Quantity | None = None
    """Its amount as you saw it: refused where it has grown since."""


async def list_suspense(call: ApiCall) -> ApiReply:
    query: Query = call.query
    at_ms, _, id_ = query.after.partition(":")
    rows = await suspense.page(
        call.backoffice,
        WantedSuspense(
            account=query.account,
            session=query.session,
            set_aside=WORDS[query.reason] if query.reason else None,
            state=query.state,
            from_ms=ms_of(query.from_, "from") or 0,
            until_ms=ms_of(query.until, "until") or 2**62,
            after=(int(at_ms or -1), id_),
            limit=query.limit,
        ),
    )
    full = len(rows) == query.limit
    return ApiReply(
        schema_suspense.SuspensePage(
            [suspense_view(row) for row in rows], f"{rows[-1]['at_ms']}:{rows[-1]['id']}" if full else None
        )
    )


async def get_suspense(call: ApiCall) -> ApiReply:
    return ApiReply(suspense_view(await suspense.get(call.backoffice, call.path["id"])))


async def settle(call: ApiCall) -> ApiReply:
    body: Settlement = call.body
    wanted = WantedSettlement(
        charge=body.action == "charge",
        micro=None if body.amount is None else micro_of(body.amount, "amount"),
        account=body.account,
        expected=body.expected,
    )
    order = order_of(call, body.reason, "")
    return ApiReply(suspense_view(await suspense.settle(call.backoffice, call.path["id"], wanted, order)))


OPERATIONS: Final = (
    Operation(
        "GET",
        "/v1/suspense",
        list_suspense,
        "Use that was reported and not charged, oldest first",
        "suspense.read",
        answer=schema_suspense.SuspensePage,
        query=Query,
        description="Beyond the bound of what is believed, in another unit than was granted, without a price, of nobody"
        " known ... (`reason`). What nobody known used is one row for each session and line, and grows. From"
        " PostgreSQL, which follows within a second.",
    ),
    Operation(
        "GET",
        "/v1/suspense/{id}",
        get_suspense,
        "One of them",
        "suspense.read",
        answer=schema_suspense.SuspenseItem,
        problems=("not-found",),
    ),
    Operation(
        "POST",
        "/v1/suspense/{id}/settle",
        settle,
        "Charge it or write it off, once",
        "suspense.settle",
        answer=schema_suspense.SuspenseItem,
        body=Settlement,
        keyed=True,
        problems=("key-required", "key-reused", "not-found", "conflict", "no-room", "fate-unknown"),
        description="A charge is an entry `suspense` of the main balance against revenue, also where it makes debt:"
        " the use has happened. A write-off moves no money and is kept with who decided it and why.",
    ),
)
