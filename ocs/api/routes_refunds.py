"""Money given back: of an entry, a session or an event, never more than it cost (charging.md section 9)."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from ocs.api import schema
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.routes_accounts import MOVES, order_of, posted
from ocs.api.texts import MoneyAboveZero
from ocs.backoffice import refunds
from ocs.backoffice.amounts import micro_of
from ocs.backoffice.errors import Invalid
from ocs.backoffice.refunds import ChargedEvent, RefundSource

SessionId = Annotated[str, Meta(min_length=1, max_length=512)]


class OneTime(schema.Input, frozen=True):
    session: SessionId
    number: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 0
    """CC-Request-Number."""


class Refund(schema.TaggedInput, frozen=True):
    """One of entry, session and event says what is given back; anything else is an adjustment."""

    amount: MoneyAboveZero
    reason: schema.Reason
    entry: Annotated[int, Meta(ge=1, le=2**53)] | None = None
    """Number of the ledger entry that charged it."""
    session: SessionId | None = None
    """Of its incarnations, the newest that is not wholly given back."""
    event: OneTime | None = None
    reference: schema.Reference = ""


async def refund(call: ApiCall) -> ApiReply:
    body: Refund = call.body
    if body.tags and body.event is not None:
        raise Invalid("tags", "not with event: what is given back of an event is a charge, which has none")
    event = ChargedEvent(body.event.session, body.event.number) if body.event is not None else None
    done = await refunds.refund(
        call.backoffice,
        call.path["id"],
        RefundSource(body.entry, body.session, event),
        micro_of(body.amount, "amount"),
        order_of(call, body.reason, body.reference),
    )
    return posted(call, *done)


OPERATIONS: Final = (
    Operation(
        "POST",
        "/v1/accounts/{id}/refunds",
        refund,
        "Give back money that was charged for an entry, a session or an event",
        "accounts.refund",
        answer=schema.PostingView,
        status=201,
        body=Refund,
        keyed=True,
        problems=(*MOVES, "unresolved"),
        description="Parts add up to at most what it cost. Of an event the money goes back to what paid it, and the"
        " answer lists no entries.",
    ),
)
