"""Payouts, write-offs, and reversals of what was posted by hand (charging.md section 17)."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from ocs.api import schema
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.routes_accounts import MOVES, order_of, posted
from ocs.api.texts import MoneyAboveZero
from ocs.backoffice import payouts, reversals
from ocs.backoffice.amounts import micro_of


class Payout(schema.TaggedInput, frozen=True):
    reason: schema.Reason
    amount: MoneyAboveZero | None = None
    """Left out: all own money that is not held."""
    reference: schema.Reference = ""


class WriteOff(schema.TaggedInput, frozen=True):
    reason: schema.Reason
    reference: schema.Reference = ""


class Reversal(schema.TaggedInput, frozen=True):
    entry: Annotated[int, Meta(ge=1, le=2**53)]
    """Number of an entry of the posting; all its entries are taken back."""
    reason: schema.Reason
    permit_debt: bool = False
    """Also what was spent already, which makes debt; needs the permission `accounts.make-debt`."""
    reference: schema.Reference = ""


async def pay_out(call: ApiCall) -> ApiReply:
    body: Payout = call.body
    amount = None if body.amount is None else micro_of(body.amount, "amount")
    order = order_of(call, body.reason, body.reference)
    return posted(call, *await payouts.pay_out(call.backoffice, call.path["id"], amount, order))


async def write_off(call: ApiCall) -> ApiReply:
    body: WriteOff = call.body
    order = order_of(call, body.reason, body.reference)
    return posted(call, *await payouts.write_off(call.backoffice, call.path["id"], order))


async def reverse(call: ApiCall) -> ApiReply:
    body: Reversal = call.body
    if body.permit_debt:
        call.require("accounts.make-debt")
    order = order_of(call, body.reason, body.reference)
    done = await reversals.reverse(call.backoffice, call.path["id"], body.entry, order, permit_debt=body.permit_debt)
    return posted(call, *done)


OPERATIONS: Final = (
    Operation(
        "POST",
        "/v1/accounts/{id}/payouts",
        pay_out,
        "Pay out own money",
        "accounts.pay-out",
        answer=schema.PostingView,
        status=201,
        body=Payout,
        keyed=True,
        problems=(*MOVES, "account-barred", "unresolved"),
        description="What is in the main balance and not held: no bonus, no credit. An account suspected of fraud is"
        " paid nothing.",
    ),
    Operation(
        "POST",
        "/v1/accounts/{id}/write-offs",
        write_off,
        "Write off what an account owes",
        "accounts.write-off",
        answer=schema.PostingView,
        status=201,
        body=WriteOff,
        keyed=True,
        problems=(*MOVES, "unresolved"),
        description="The debt of the main balance in the instant it is done becomes zero.",
    ),
    Operation(
        "POST",
        "/v1/accounts/{id}/reversals",
        reverse,
        "Take back what was posted by hand, whole and once",
        "accounts.reverse",
        answer=schema.PostingView,
        status=201,
        body=Reversal,
        keyed=True,
        problems=(*MOVES, "unresolved", "conflict"),
        description="Of a top-up, adjustment, payout, write-off, refund, or transfer inside the account. Each entry"
        " says which one it takes back. What was spent already is refused, unless debt is permitted.",
    ),
)
