"""TMF654 v4: reserveBalance, done by /v1/reservations. To complete one is to debit it, to cancel one to release it
(docs/tmf654.md)."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final, Literal

from msgspec import Struct

from balances.keys import idempotency_key
from balances.structs.account import MAIN
from balances.structs.session import SessionState
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.routes_tmf_actions import (
    EUR,
    TmfAmount,
    TmfValidity,
    TmfWish,
    above_zero,
    check_resource,
)
from ocs.api.schema import Reason
from ocs.api.texts import ms_of, time_of, time_or_none
from ocs.api.tmf_lists import ListQuery, OneQuery, account_in_body, page_of_all, picked, whose
from ocs.backoffice import reservations, subscribers
from ocs.backoffice.errors import Invalid
from ocs.backoffice.reservations import Reservation, WantedReservation
from ocs.charging.request import CLIENT
from ocs.tmf654.actions import bucket_ref
from ocs.tmf654.resources import TmfPeriod, TmfQuantity, TmfRef, TmfReserveBalance
from ocs.tmf654.words import BASE, ActionStatus, NamedBucket, UsageType, amount_in, bucket_named, number_of
from tariffs.units import Kind

SERVICE: Final = "generic"
"""What buckets and limits see."""
ONLY_MONEY: Final = (
    "units are held by what uses them, a charging session (POST /v1/charging/sessions), since which buckets pay for"
    " them says the tariff"
)
LASTS_S: Final = 3_600
LASTS_S_MAX: Final = 30 * 86_400


class TmfReserveBalanceCreate(TmfWish, frozen=True, rename="camel", kw_only=True):
    """Money of the account of the main bucket `ACCOUNT:0`, until `validFor.endDateTime` or for an hour. Whose limits
    count says `logicalResource`; it may be left out where the account pays for one subscriber only."""

    party_account: TmfRef
    valid_for: TmfValidity | None = None


class TmfReserveBalanceUpdate(Struct, frozen=True, rename="camel", kw_only=True):
    """`completed` debits `amount`, or all that is reserved; `cancelled` releases it."""

    status: Literal["completed", "cancelled"]
    reason: Reason | None = None
    amount: TmfAmount | None = None


class ReservationQuery(ListQuery, frozen=True):
    status: ActionStatus | None = None


def _view(id_: str, found: Reservation) -> TmfReserveBalance:
    status: ActionStatus = "created"
    if found.state != SessionState.OPEN:
        status = "completed" if found.confirmed else "cancelled"
    units = found.reserved if status == "created" else found.confirmed
    usage: UsageType = "monetary"
    return TmfReserveBalance(
        id=id_,
        href=f"{BASE}/reserveBalance/{id_}",
        status=status,
        amount=TmfQuantity(number_of(Kind.MONEY, units), found.currency),
        bucket=bucket_ref(NamedBucket(found.account, MAIN)),
        usage_type=usage,
        requested_date=time_of(found.opened_ms),
        confirmation_date=None if status == "created" else time_of(found.touched_ms),
        party_account=TmfRef(found.account, referred_type="PartyAccount"),
        valid_for=TmfPeriod(end_date_time=time_or_none(found.until_ms)) if found.until_ms else None,
        logical_resource=[TmfRef(found.subscriber, referred_type="Subscriber")],
        type="ReserveBalance",
    )


async def tmf_reserve(call: ApiCall) -> ApiReply:
    body: TmfReserveBalanceCreate = call.body
    named = bucket_named(body.bucket.id)
    if body.usage_type != "monetary":
        raise Invalid("usageType", f"expected monetary: {ONLY_MONEY}")
    if named.number != MAIN:
        why = "which buckets pay for what is reserved says their order, as in every session"
        raise Invalid("bucket.id", f"expected {named.account}:{MAIN}: {why}")
    if body.party_account.id != named.account:
        raise Invalid("partyAccount.id", f"expected {named.account}, whose bucket it is")
    row = await account_in_body(call, named.account, "bucket.id")
    amount = above_zero(amount_in(body.amount.amount, body.amount.units, Kind.MONEY, row.currency))
    lasts_s = LASTS_S
    until_ms = ms_of(body.valid_for.end_date_time, "validFor.endDateTime") if body.valid_for is not None else None
    if until_ms is not None:
        lasts_s = (until_ms - call.backoffice.now_ms()) // 1_000
        if not 10 <= lasts_s <= LASTS_S_MAX:
            raise Invalid("validFor.endDateTime", "expected at least 10 seconds and at most 30 days from now")
    subscriber = await _who(call, body, row.id)
    key = idempotency_key(call.key).encode()
    id_ = blake2b(key, digest_size=12).hexdigest()
    message = int.from_bytes(blake2b(key, digest_size=6).digest())
    wanted = WantedReservation(id_, (f"subscriber:{subscriber}",), SERVICE, amount, lasts_s)
    made = _view(id_, await reservations.reserve(call.backoffice, CLIENT + call.caller, wanted, message))
    return ApiReply(made, 201, headers={"Location": made.href})


async def _who(call: ApiCall, body: TmfReserveBalanceCreate, account: str) -> str:
    """The subscriber for whom it is reserved, whose payer the account is."""
    if len(body.logical_resource) > 1:
        raise Invalid("logicalResource", "expected one: it is reserved for one subscriber")
    if body.logical_resource:
        return await check_resource(call, body.logical_resource[0], account, "logicalResource", SERVICE)
    people = await subscribers.page(call.backoffice, account, "", 2)
    payers = [one.id for one in people if one.payer(SERVICE) == account]
    if len(people) != 1 or not payers:
        raise Invalid("logicalResource", f"expected for whom: account {account} does not pay for exactly one")
    return payers[0]


async def tmf_list_reservations(call: ApiCall) -> ApiReply:
    query: ReservationQuery = call.query
    found: list[TmfReserveBalance] = []
    if query.usage_type in (None, "monetary"):
        for row in await whose(call, query):
            of_it = await reservations.of_account(call.backoffice, CLIENT + call.caller, row.id)
            found += [_view(id_, one) for id_, one in of_it]
    return page_of_all([one for one in found if query.status in (None, one.status)], query)


async def tmf_get_reservation(call: ApiCall) -> ApiReply:
    query: OneQuery = call.query
    id_ = call.path["reservation"]
    found = await reservations.get(call.backoffice, CLIENT + call.caller, id_)
    return ApiReply(picked(query.fields)(_view(id_, found)))


async def tmf_change_reservation(call: ApiCall) -> ApiReply:
    body: TmfReserveBalanceUpdate = call.body
    id_, client = call.path["reservation"], CLIENT + call.caller
    amount = 0 if body.status == "cancelled" else None
    if body.amount is not None:
        if body.status == "cancelled":
            raise Invalid("amount", "only with status: completed")
        now = await reservations.get(call.backoffice, client, id_)
        amount = above_zero(amount_in(body.amount.amount, body.amount.units, Kind.MONEY, now.currency))
    return ApiReply(_view(id_, await reservations.finish(call.backoffice, client, id_, amount)))


async def tmf_cancel_reservation(call: ApiCall) -> ApiReply:
    await reservations.finish(call.backoffice, CLIENT + call.caller, call.path["reservation"], 0)
    return ApiReply(None, 204)


REFUSALS: Final = ("conflict", "key-reused", "fate-unknown")
PATH: Final = f"{BASE}/reserveBalance"

OPERATIONS: Final = (
    Operation(
        "POST",
        PATH,
        tmf_reserve,
        "Reserve money",
        "charging.charge",
        answer=TmfReserveBalance,
        status=201,
        body=TmfReserveBalanceCreate,
        examples={"a film": EUR | {"partyAccount": {"id": "demo-1"}}},
        keyed=True,
        key_optional=True,
        problems=(*REFUSALS, "insufficient-funds", "account-barred"),
        description="All of the amount is held, or nothing. A reservation is its caller's.",
    ),
    Operation(
        "GET",
        PATH,
        tmf_list_reservations,
        "Reservations of this caller: open ones, and those that ended within the hour",
        "charging.read",
        answer=list[TmfReserveBalance],
        also=(206,),
        query=ReservationQuery,
    ),
    Operation(
        "GET",
        f"{PATH}/{{reservation}}",
        tmf_get_reservation,
        "A reservation, until an hour after its end",
        "charging.read",
        answer=TmfReserveBalance,
        query=OneQuery,
        problems=("not-found",),
    ),
    Operation(
        "PATCH",
        f"{PATH}/{{reservation}}",
        tmf_change_reservation,
        "Debit what is reserved (completed), or release it (cancelled)",
        "charging.charge",
        answer=TmfReserveBalance,
        body=TmfReserveBalanceUpdate,
        problems=(*REFUSALS, "not-found"),
    ),
    Operation(
        "DELETE",
        f"{PATH}/{{reservation}}",
        tmf_cancel_reservation,
        "Release what is reserved",
        "charging.charge",
        status=204,
        problems=(*REFUSALS, "not-found"),
    ),
)
