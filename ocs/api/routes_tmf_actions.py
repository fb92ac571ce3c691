"""TMF654 v4: top-ups, adjustments and transfers, done by the operations of /v1 and read from the ledger
(docs/tmf654.md)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from balances.structs.account import MAIN
from balances.structs.posting import PostingOutcome
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.routes_accounts import MOVES, order_of
from ocs.api.routes_transfers import done_or_on_its_way
from ocs.api.schema import Reason, Reference
from ocs.api.texts import Time, ms_of
from ocs.api.tmf_lists import ActionQuery, OneQuery, account_in_body, page, picked, whose
from ocs.backoffice import balance_actions, postings, subscribers, transfers, vouchers
from ocs.backoffice.balance_actions import ADJUSTMENTS, TOP_UPS, TRANSFERS, ActionRow, WantedActions
from ocs.backoffice.errors import Conflict, Invalid, NotFound
from ocs.backoffice.postings import WantedTopUp
from ocs.backoffice.transfers import WantedTransferOut
from ocs.backoffice.vouchers import WantedRedemption
from ocs.master.accounts import AccountRow
from ocs.tags import ChargingTags
from ocs.tmf654.actions import STATUS, adjustment_action, move_action, of_entry, top_up_action, transfer_action
from ocs.tmf654.resources import (
    TmfAction,
    TmfAdjustBalance,
    TmfBalanceAction,
    TmfRef,
    TmfTopupBalance,
    TmfTransferBalance,
)
from ocs.tmf654.words import (
    BASE,
    KIND_OF_USAGE,
    SMS,
    ActionStatus,
    NamedBucket,
    UsageType,
    amount_in,
    bucket_named,
    identities_of,
    usage_of,
)
from tariffs.units import Kind

RECURS: Final = (
    "nothing is topped up or adjusted again by itself; a recurring fee of a tariff takes money each period, and gives"
    " the units that it includes (docs/fees.md)"
)
Absent = Annotated[None, Meta(description="Not taken: see docs/tmf654.md")]


class TmfAmount(Struct, frozen=True):
    amount: Annotated[Decimal, Meta(description="A JSON number, read exactly; of money at most six decimals")]
    units: Annotated[str, Meta(max_length=40, examples=["EUR", "MB", "seconds"])]
    """The currency of the account; for data octets, kB, MB, GB, KiB, MiB, GiB; for voice seconds, minutes, hours; for
    sms and other units."""


class TmfValidity(Struct, frozen=True, rename="camel"):
    start_date_time: Time | None = None
    end_date_time: Time | None = None


class TmfWish(Struct, frozen=True, rename="camel", kw_only=True):
    """Attributes that are not named here are passed over, as TMF630 asks."""

    amount: TmfAmount
    usage_type: UsageType
    bucket: TmfRef
    description: Reference = ""
    """Kept as the `reference` of the entry."""
    reason: Reason | None = None
    logical_resource: Annotated[list[TmfRef], Meta(max_length=8)] = []
    """Of whom: refused unless it is somebody of the account."""
    tags: ChargingTags = {}
    """Beyond TMF654."""


class TmfTopupBalanceCreate(TmfWish, frozen=True, rename="camel", kw_only=True):
    """The bucket `ACCOUNT:0` is the main one; `ACCOUNT:new` makes one, with the name that `bucket.name` says and the
    validity of `validFor`."""

    party_account: TmfRef
    valid_for: TmfValidity | None = None
    voucher: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    """Code of one, which is redeemed: `amount` has to be what it is worth. It says itself into which bucket, and until
    when. Never shown again."""
    is_auto_topup: bool = False
    """Only false, as what follows is left out: what recurs is a fee of a tariff (docs/fees.md)."""
    number_of_periods: int | None = None
    recurring_period: str | None = None


class TmfAdjustBalanceCreate(TmfWish, frozen=True, rename="camel", kw_only=True):
    """An amount below zero is taken."""

    party_account: TmfRef | None = None
    adjust_type: Literal["oneTime", "recurring"] | None = None
    """Only oneTime: what recurs is a fee of a tariff (docs/fees.md)."""


class TmfTransferBalanceCreate(TmfWish, frozen=True, rename="camel", kw_only=True):
    """Own money, from the main bucket of an account to that of another one; or what is free of one bucket of an account
    to another one of it, of the same kind."""

    reason: Reason
    receiver_bucket: TmfRef
    receiver_bucket_usage_type: UsageType
    receiver_logical_resource: TmfRef | None = None
    cost_owner: Absent = None
    transfer_cost: Absent = None


class TmfActionUpdate(Struct, frozen=True, rename="camel"):
    status: ActionStatus


# --- what is wished for


def _kind(usage: UsageType) -> Kind:
    return KIND_OF_USAGE[usage]


def above_zero(amount: int) -> int:
    """The same. Raises Invalid for any other."""
    if amount <= 0:
        raise Invalid("amount.amount", "expected more than zero")
    return amount


async def _account(call: ApiCall, wish: TmfWish, party: TmfRef | None) -> tuple[AccountRow, NamedBucket]:
    """The account and the bucket that a wish is about."""
    named = bucket_named(wish.bucket.id)
    if party is not None and party.id != named.account:
        raise Invalid("partyAccount.id", f"expected {named.account}, whose bucket it is, found {party.id[:80]!r}")
    row = await account_in_body(call, named.account, "bucket.id")
    for resource in wish.logical_resource:
        await check_resource(call, resource, row.id, "logicalResource")
    return row, named


async def check_resource(call: ApiCall, resource: TmfRef, account: str, field: str, service: str | None = None) -> str:
    """The subscriber that is meant. Raises Invalid where the account pays nothing for it. service: that it pays for;
    None: any
    """
    people = await subscribers.having(call.backoffice, identities_of(resource.id, resource.referred_type))
    mine = [one.id for one in people if account in (one.accounts if service is None else {one.payer(service)})]
    if not mine:
        raise Invalid(field, f"expected somebody whom account {account} pays for, found {resource.id[:80]!r}")
    return mine[0]


async def tmf_top_up(call: ApiCall) -> ApiReply:
    body: TmfTopupBalanceCreate = call.body
    if body.is_auto_topup:
        raise Invalid("isAutoTopup", f"expected false: {RECURS}")
    for field, given in (("numberOfPeriods", body.number_of_periods), ("recurringPeriod", body.recurring_period)):
        if given is not None:
            raise Invalid(field, f"expected none: {RECURS}")
    row, named = await _account(call, body, body.party_account)
    if body.voucher is not None:
        return await _by_voucher(call, body, row, named, body.voucher)
    kind, period = _kind(body.usage_type), body.valid_for or TmfValidity()
    name = (body.bucket.name or "") if named.number is None else ""
    if len(name) > 64 or any(letter < " " for letter in name):
        raise Invalid("bucket.name", "expected at most 64 characters, without control characters")
    until = period.end_date_time
    wanted = WantedTopUp(
        kind=kind,
        amount=above_zero(amount_in(body.amount.amount, body.amount.units, kind, row.currency)),
        from_ms=ms_of(period.start_date_time, "validFor.startDateTime") or 0,
        until_ms=ms_of(until, "validFor.endDateTime") or 0,
        until=until or "",
        scope=(SMS,) if body.usage_type == "sms" else (),
        name=name,
    )
    if named.number is None and kind == Kind.MONEY and not (name or wanted.from_ms or wanted.until_ms):
        raise Invalid("bucket", "a new bucket of money has a name or a validFor, or the main one would do")
    if named.number is not None and (named.number != MAIN or kind != Kind.MONEY or wanted.from_ms or wanted.until_ms):
        into = f"{row.id}:{MAIN} for money without validFor, or {row.id}:new for a bucket of its own"
        raise Invalid("bucket.id", f"expected {into}, found {named.id}")
    order = order_of(call, body.reason or "top-up", body.description)
    _, outcome = await postings.top_up(call.backoffice, row.id, wanted, order)
    return await _made(call, row, outcome, top_up_action)


async def _by_voucher(
    call: ApiCall, body: TmfTopupBalanceCreate, row: AccountRow, named: NamedBucket, code: str
) -> ApiReply:
    call.require("vouchers.redeem")
    if named.number not in (None, MAIN) or body.bucket.name:
        raise Invalid("bucket.id", f"expected {row.id}:{MAIN} or {row.id}:new: the voucher says into which bucket")
    if body.valid_for is not None:
        raise Invalid("validFor", "not with a voucher, which says until when")
    kind = _kind(body.usage_type)
    worth = kind, above_zero(amount_in(body.amount.amount, body.amount.units, kind, row.currency))
    source = body.logical_resource[0].id if body.logical_resource else ""
    order = order_of(call, "voucher", body.description)
    try:
        paid, _, outcome = await vouchers.redeem(call.backoffice, WantedRedemption(code, row.id, source, worth), order)
    except NotFound as why:
        raise Invalid("voucher", why.detail) from None
    except Invalid as why:
        raise Invalid("voucher" if why.field == "code" else why.field, why.message) from None
    return await _made(call, paid, outcome, top_up_action, at=0)


async def tmf_adjust(call: ApiCall) -> ApiReply:
    body: TmfAdjustBalanceCreate = call.body
    if body.adjust_type == "recurring":
        raise Invalid("adjustType", f"expected oneTime: {RECURS}")
    row, named = await _account(call, body, body.party_account)
    if named.number is None:
        raise Invalid("bucket.id", "expected a bucket that is there, such as demo-1:0")
    wanted = _kind(body.usage_type)

    def amount_of(kind: int) -> int:
        if kind != wanted:
            raise Invalid("usageType", f"expected {usage_of(kind)}, as the bucket is, found {body.usage_type}")
        amount = amount_in(body.amount.amount, body.amount.units, kind, row.currency)
        if not amount:
            raise Invalid("amount.amount", "expected something other than zero")
        return amount

    order = order_of(call, body.reason or "adjustment", body.description)
    try:
        _, outcome = await postings.adjust(call.backoffice, row.id, named.number, amount_of, order, force=False)
    except NotFound as why:
        raise Invalid("bucket.id", why.detail) from None
    return await _made(call, row, outcome, adjustment_action)


async def _made(
    call: ApiCall, row: AccountRow, outcome: PostingOutcome, view: Callable[[ActionRow], TmfAction], at: int = -1
) -> ApiReply:
    """201 with the action as the ledger has it, once it is copied; before that as it was answered.

    at: of which entry
    """
    entry = outcome.entries[at]
    answered = {
        "account": row.id,
        "seq": entry.seq,
        "bucket": entry.bucket,
        "kind": entry.kind,
        "amount": entry.amount,
        "currency": row.currency,
        "at_ms": call.backoffice.now_ms(),
        "actor": call.caller,
        "reason": call.body.reason or entry.why,
        "reference": call.body.description,
    }
    made = view(await balance_actions.copied(call.backoffice, row.id, entry.seq) or answered)
    return ApiReply(made, 201, headers={"Location": made.href})


async def tmf_transfer(call: ApiCall) -> ApiReply:
    body: TmfTransferBalanceCreate = call.body
    row, named = await _account(call, body, None)
    receiver = bucket_named(body.receiver_bucket.id, "receiverBucket.id")
    if receiver.account == named.account:
        return await _within(call, body, row, named, receiver)
    if (named.number, receiver.number) != (MAIN, MAIN) or {body.usage_type, body.receiver_bucket_usage_type} != {
        "monetary"
    }:
        raise Invalid(
            "bucket.id", "expected the main buckets of two accounts, such as demo-1:0, and money; or two buckets of one"
        )
    if body.receiver_logical_resource is not None:
        resource = body.receiver_logical_resource
        await check_resource(call, resource, receiver.account, "receiverLogicalResource")
    amount = above_zero(amount_in(body.amount.amount, body.amount.units, Kind.MONEY, row.currency))
    wanted = WantedTransferOut(named.account, receiver.account, amount)
    sent = await transfers.send(call.backoffice, wanted, order_of(call, body.reason, body.description))
    made = transfer_action(sent)
    return ApiReply(made, done_or_on_its_way(sent), headers={"Location": made.href})


async def _within(
    call: ApiCall, body: TmfTransferBalanceCreate, row: AccountRow, named: NamedBucket, receiver: NamedBucket
) -> ApiReply:
    """From a bucket of an account to another one of it; the resource is the entry that takes."""
    if named.number is None or receiver.number is None:
        raise Invalid("bucket.id", "expected buckets that are there, such as demo-1:0")
    if body.receiver_bucket_usage_type != body.usage_type:
        raise Invalid("receiverBucketUsageType", f"expected {body.usage_type}, as the bucket that it leaves")
    if body.receiver_logical_resource is not None:
        await check_resource(call, body.receiver_logical_resource, row.id, "receiverLogicalResource")
    kind = _kind(body.usage_type)

    def amount_of(found: int) -> int:
        if found != kind:
            raise Invalid("usageType", f"expected {usage_of(found)}, as the bucket is, found {body.usage_type}")
        return above_zero(amount_in(body.amount.amount, body.amount.units, kind, row.currency))

    order = order_of(call, body.reason, body.description)
    try:
        _, outcome = await postings.transfer(call.backoffice, row.id, named.number, receiver.number, amount_of, order)
    except NotFound as why:
        raise Invalid("bucket.id", why.detail) from None
    return await _made(call, row, outcome, lambda entry: move_action(entry, receiver.number), at=0)


# --- what is there


def balance_action(row: ActionRow) -> TmfBalanceAction:
    """An entry of the ledger in the history."""
    why = row["why"]
    type_: Any = "TopupBalance" if why in TOP_UPS else "AdjustBalance" if why in ADJUSTMENTS else "TransferBalance"
    return TmfBalanceAction(**of_entry(row, "balanceActionHistory"), type=type_)


async def wanted_of(call: ApiCall, query: ActionQuery, whys: Sequence[str]) -> WantedActions:
    """What a query asks for."""
    rows = await whose(call, query, query.bucket)
    return WantedActions(
        accounts=[row.id for row in rows if query.usage_type != "sms"],  # the ledger says `other` of all units
        whys=whys,
        bucket=bucket_named(query.bucket).number if query.bucket is not None else None,
        kind=None if query.usage_type is None else _kind(query.usage_type),
        from_ms=ms_of(query.since, "requestedDate.gte"),
        until_ms=ms_of(query.until, "requestedDate.lte"),
        offset=query.offset,
        limit=query.limit,
    )


class PostedQuery(ActionQuery, frozen=True):
    status: ActionStatus | None = None


async def posted_page(call: ApiCall, view: Callable[[ActionRow], TmfAction], whys: Sequence[str]) -> ApiReply:
    """A page of what was posted for these reasons."""
    query: PostedQuery = call.query
    if query.status not in (None, "completed"):  # what is on the ledger is done
        return page([], 0, query)
    found = await balance_actions.entries(call.backoffice, await wanted_of(call, query, whys))
    return page([view(row) for row in found.rows], found.total, query)


async def posted_one(call: ApiCall, whys: Sequence[str]) -> ActionRow:
    """The entry that the path names."""
    named = bucket_named(call.path["action"], "id")
    return await balance_actions.entry(call.backoffice, named.account, named.number or 0, whys)


async def tmf_list_top_ups(call: ApiCall) -> ApiReply:
    return await posted_page(call, top_up_action, TOP_UPS)


async def tmf_list_adjustments(call: ApiCall) -> ApiReply:
    return await posted_page(call, adjustment_action, ADJUSTMENTS)


async def tmf_list_transfers(call: ApiCall) -> ApiReply:
    query: PostedQuery = call.query
    states = [state for state, status in STATUS.items() if status == query.status] if query.status else None
    wanted = await wanted_of(call, query, TRANSFERS)
    if (wanted.bucket or MAIN) != MAIN or query.usage_type not in (None, "monetary"):
        return page([], 0, query)
    found = await balance_actions.transfers(call.backoffice, wanted, states)
    return page([transfer_action(row) for row in found.rows], found.total, query)


async def tmf_get_top_up(call: ApiCall) -> ApiReply:
    return _shown(call, top_up_action(await posted_one(call, TOP_UPS)))


async def tmf_get_adjustment(call: ApiCall) -> ApiReply:
    return _shown(call, adjustment_action(await posted_one(call, ADJUSTMENTS)))


async def tmf_get_transfer(call: ApiCall) -> ApiReply:
    return _shown(call, await _transfer_of(call))


def _shown(call: ApiCall, action: TmfAction) -> ApiReply:
    query: OneQuery = call.query
    return ApiReply(picked(query.fields)(action))


async def tmf_change_top_up(call: ApiCall) -> ApiReply:
    return _unchanged(top_up_action(await posted_one(call, TOP_UPS)))


async def tmf_change_adjustment(call: ApiCall) -> ApiReply:
    return _unchanged(adjustment_action(await posted_one(call, ADJUSTMENTS)))


async def tmf_change_transfer(call: ApiCall) -> ApiReply:
    return _unchanged(await _transfer_of(call))


async def _transfer_of(call: ApiCall) -> TmfAction:
    """Between accounts by its id, within one by the entry that takes."""
    id_ = call.path["action"]
    if ":" not in id_:
        return transfer_action(await transfers.get(call.backoffice, id_))
    named = bucket_named(id_, "id")
    taken, given = await balance_actions.move(call.backoffice, named.account, named.number or 0)
    return move_action(taken, given["bucket"])


async def tmf_cancel_top_up(call: ApiCall) -> ApiReply:
    return await tmf_change_top_up(call)


async def tmf_cancel_adjustment(call: ApiCall) -> ApiReply:
    return await tmf_change_adjustment(call)


async def tmf_cancel_transfer(call: ApiCall) -> ApiReply:
    return await tmf_change_transfer(call)


def _unchanged(action: TmfAction) -> ApiReply:
    """Everything is done at once, and what has left an account comes back only where the other one does not take it."""
    how = "post the reverse" if action.status == "completed" else "it cannot be called back"
    raise Conflict(f"it is {action.status}: {how}")


MOVED: Final = (*(kind for kind in MOVES if kind not in ("key-required", "not-found")), "account-closed")
EUR: Final = {"amount": {"amount": 5.00, "units": "EUR"}, "usageType": "monetary", "bucket": {"id": "demo-1:0"}}
TOP_UP_EXAMPLES: Final = {
    "money": EUR | {"partyAccount": {"id": "demo-1"}, "description": "counter 4"},
    "1 GB until the new year": {
        "amount": {"amount": 1, "units": "GB"},
        "usageType": "data",
        "bucket": {"id": "demo-1:new", "name": "promotion"},
        "partyAccount": {"id": "demo-1"},
        "validFor": {"endDateTime": "2099-12-31T23:59:59+01:00"},
    },
}
TRANSFER_EXAMPLE: Final = EUR | {
    "reason": "gift",
    "logicalResource": [{"id": "+49 170 0000001"}],
    "receiverBucket": {"id": "demo-2:0"},
    "receiverBucketUsageType": "monetary",
    "receiverLogicalResource": {"id": "+49 170 0000002"},
}


def _operations(
    path: str,
    resource: type[TmfAction],
    permission: str,
    words: str,
    handlers: Sequence[Callable[[ApiCall], Awaitable[ApiReply]]],
    create: Operation,
) -> Sequence[Operation]:
    """What every collection of actions has. handlers: list, get, change, cancel"""
    collection, one = f"{BASE}/{path}", f"{BASE}/{path}/{{action}}"
    list_, get, change, cancel = handlers
    known, unchanging = ("not-found", "fate-unknown"), ("not-found", "fate-unknown", "conflict")
    return (
        msgspec.structs.replace(create, path=collection),
        Operation(
            "GET",
            collection,
            list_,
            f"{words}, the newest first",
            "accounts.read",
            answer=list[resource],  # type: ignore[valid-type]
            also=(206,),
            query=PostedQuery,
        ),
        Operation(
            "GET", one, get, f"One of {words.lower()}", "accounts.read", answer=resource, query=OneQuery, problems=known
        ),
        Operation(
            "PATCH",
            one,
            change,
            f"Refused (409): {words.lower()} are done at once",
            permission,
            answer=resource,
            body=TmfActionUpdate,
            problems=unchanging,
        ),
        Operation(
            "DELETE",
            one,
            cancel,
            f"Refused (409): {words.lower()} are done at once",
            permission,
            status=204,
            problems=unchanging,
        ),
    )


OPERATIONS: Final = (
    *_operations(
        "topupBalance",
        TmfTopupBalance,
        "accounts.top-up",
        "Top-ups",
        (tmf_list_top_ups, tmf_get_top_up, tmf_change_top_up, tmf_cancel_top_up),
        Operation(
            "POST",
            "",
            tmf_top_up,
            "Top up: the main bucket, or a new one",
            "accounts.top-up",
            answer=TmfTopupBalance,
            status=201,
            body=TmfTopupBalanceCreate,
            examples=TOP_UP_EXAMPLES,
            keyed=True,
            key_optional=True,
            problems=(*MOVED, "conflict", "locked-out"),
        ),
    ),
    *_operations(
        "adjustBalance",
        TmfAdjustBalance,
        "accounts.adjust",
        "Adjustments",
        (tmf_list_adjustments, tmf_get_adjustment, tmf_change_adjustment, tmf_cancel_adjustment),
        Operation(
            "POST",
            "",
            tmf_adjust,
            "Correct a bucket, up or down",
            "accounts.adjust",
            answer=TmfAdjustBalance,
            status=201,
            body=TmfAdjustBalanceCreate,
            examples={"goodwill": EUR | {"reason": "goodwill"}},
            keyed=True,
            key_optional=True,
            problems=MOVED,
        ),
    ),
    *_operations(
        "transferBalance",
        TmfTransferBalance,
        "accounts.transfer",
        "Transfers",
        (tmf_list_transfers, tmf_get_transfer, tmf_change_transfer, tmf_cancel_transfer),
        Operation(
            "POST",
            "",
            tmf_transfer,
            "Transfer own money from one account to another one, or between buckets of one",
            "accounts.transfer",
            answer=TmfTransferBalance,
            status=201,
            body=TmfTransferBalanceCreate,
            examples={"gift": TRANSFER_EXAMPLE},
            keyed=True,
            key_optional=True,
            problems=(*MOVED, "account-barred", "limit-passed", "transfer-returned"),
            description="202: it has left, and arrives by itself; its status is `created` until then.",
        ),
    ),
)
