"""Accounts, what is posted to them, and their ledger."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from balances import keys
from balances.structs.account import SuspendReasons
from balances.structs.posting import BucketSetting, PostingOutcome
from ocs import tags
from ocs.api import schema
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.texts import Time, hours_of, ms_of, time_of
from ocs.api.views import account_view, bucket_view, posted_view
from ocs.backoffice import accounts, buckets, offers, postings
from ocs.backoffice.accounts import WantedAccount
from ocs.backoffice.allowances import Warrant
from ocs.backoffice.amounts import KIND_OF, KINDS, amount_of, micro_of, money, quantity
from ocs.backoffice.errors import Invalid, NotFound
from ocs.backoffice.postings import Order, WantedEntries, WantedTopUp
from ocs.master.accounts import AccountRow
from ocs.patterns import looks
from ocs.tags import TagWanted

Limit = Annotated[int, Meta(ge=1, le=1000)]
REASONS: Final = {
    "operator": SuspendReasons.OPERATOR,
    "barred": SuspendReasons.BARRED,
    "fraud": SuspendReasons.FRAUD,
}


class LedgerQuery(Struct, frozen=True, forbid_unknown_fields=True):
    after_seq: Annotated[int, Meta(ge=0, le=2**53)] = 0
    before_seq: Annotated[int, Meta(ge=1, le=2**53)] = 2**53
    order: Literal["oldest", "newest"] = "oldest"
    """Which comes first."""
    from_: Annotated[Time | None, Meta(description="Entries of this instant and later")] = msgspec.field(
        default=None, name="from"
    )
    until: Annotated[Time | None, Meta(description="Entries before this instant")] = None
    kind: schema.Kind | None = None
    """Of the bucket."""
    why: Annotated[str, looks("[a-z-]{1,32}", "why entries were made, such as usage or top-up")] | None = None
    tag: TagWanted | None = None
    limit: Limit = 100


async def put_account(call: ApiCall) -> ApiReply:
    body: schema.AccountPut = call.body
    if body.suspend_for is not None and body.state != "suspended":
        raise Invalid("suspend_for", "only with state: suspended")
    row, made = await accounts.put(
        call.backoffice,
        WantedAccount(
            id=call.path["id"],
            currency=body.currency,
            time_zone=body.time_zone,
            billing_day=body.billing_day,
            credit_limit=_micro_of(body.credit_limit, "credit_limit"),
            suspend_below=_micro_of(body.suspend_below, "suspend_below"),
            resume_at=_micro_of(body.resume_at, "resume_at"),
            state=body.state,
            grace_until_ms=ms_of(body.grace_until, "grace_until"),
            customer=body.customer,
            tags=body.tags,
            suspend_for=REASONS[body.suspend_for or "operator"],
            gives_credit=call.authority.may("accounts.give-credit"),
        ),
        call.caller,
        call.precondition.check,
    )
    return await _shown(call, row, 201 if made else 200)


def _micro_of(text: str | None, field: str) -> int | None:
    return None if text is None else micro_of(text, field)


async def get_account(call: ApiCall) -> ApiReply:
    return await _shown(call, await accounts.find(call.backoffice, call.path["id"]))


async def _shown(call: ApiCall, row: AccountRow, status: int = 200) -> ApiReply:
    account, _ = await accounts.read(call.backoffice, row)
    return ApiReply(account_view(row, account, call.backoffice.now_ms()), status, version=account.rev)


async def put_bucket(call: ApiCall) -> ApiReply:
    body: schema.BucketPut = call.body
    number = call.path["bucket"]
    if not (number.isascii() and number.isdecimal() and len(number) < 10):
        raise NotFound(f"account {call.path['id']} has no bucket {number}")
    wanted = BucketSetting(int(number), body.blocker)
    account, bucket = await buckets.put(call.backoffice, call.path["id"], wanted, call.caller, call.check_revision)
    return ApiReply(bucket_view(account, bucket), version=account.rev)


# --- postings -----------------------------------------------------------------------------------------------------


async def top_up(call: ApiCall) -> ApiReply:
    body: schema.TopUp = call.body
    kind = KIND_OF[body.kind]
    wanted = WantedTopUp(
        kind=kind,
        from_ms=ms_of(body.valid_from, "valid_from") or 0,
        until_ms=ms_of(body.valid_until, "valid_until") or 0,
        until=body.valid_until or "",
        valid_for_s=body.valid_for_s or 0,
        amount=amount_of(body.amount, kind, "amount"),
        scope=body.scope,
        priority=body.priority,
        name=body.name,
        bonus=body.bonus,
        member=body.member or "",
        blocker=body.blocker,
        hours=hours_of(body.hours, "hours"),
        money=_micro_of(body.money, "money") or 0,
        price=_micro_of(body.price, "price") or 0,
        per=body.per,
    )
    if body.offer is not None:
        if not wanted.is_plain:
            raise Invalid("offer", "of money for the main balance: none of the options of a bucket goes with it")
        order = order_of(call, f"offer {body.offer}", body.reference)
        return posted(call, *await offers.top_up(call.backoffice, call.path["id"], body.offer, wanted.amount, order))
    order = order_of(call, "top-up", body.reference)
    return posted(call, *await postings.top_up(call.backoffice, call.path["id"], wanted, order))


async def adjust(call: ApiCall) -> ApiReply:
    body: schema.Adjustment = call.body
    if body.force:
        call.require("accounts.adjust-held")
    done = await postings.adjust(
        call.backoffice,
        call.path["id"],
        body.bucket,
        lambda kind: amount_of(body.amount, kind, "amount"),
        order_of(call, body.reason, body.reference),
        force=body.force,
    )
    return posted(call, *done)


async def transfer(call: ApiCall) -> ApiReply:
    body: schema.WantedTransfer = call.body
    done = await postings.transfer(
        call.backoffice,
        call.path["id"],
        body.from_,
        body.to,
        lambda kind: amount_of(body.amount, kind, "amount"),
        order_of(call, body.reason, body.reference),
    )
    return posted(call, *done)


async def close(call: ApiCall) -> ApiReply:
    body: schema.Closing = call.body
    order = order_of(call, body.reason, body.reference)
    return posted(call, *await postings.close(call.backoffice, call.path["id"], body.remainder, order))


def order_of(call: ApiCall, reason: str, reference: str) -> Order:
    """The caller, the idempotency key and the tags of a posting."""
    if why := tags.undeclared(call.body.tags, call.backoffice.tags):
        raise Invalid("tags", why)
    warrant = Warrant(call.authority, call.operation.permission)
    return Order(call.caller, call.key, call.fingerprint, reason, reference, warrant, tags.written(call.body.tags))


def posted(call: ApiCall, row: AccountRow, outcome: PostingOutcome) -> ApiReply:
    """The outcome of a posting as it is answered."""
    return ApiReply(posted_view(row.id, keys.idempotency_key(call.key), outcome), 201)


async def list_ledger(call: ApiCall) -> ApiReply:
    query: LedgerQuery = call.query
    newest = query.order == "newest"
    found = await postings.entries(
        call.backoffice,
        call.path["id"],
        WantedEntries(
            after_seq=query.after_seq,
            before_seq=query.before_seq,
            from_ms=ms_of(query.from_, "from"),
            until_ms=ms_of(query.until, "until"),
            kind=None if query.kind is None else KIND_OF[query.kind],
            why=query.why,
            tag=tags.wanted(query.tag),
            newest_first=newest,
            limit=query.limit,
        ),
    )
    items = [
        schema.LedgerEntry(
            seq=entry["seq"],
            time=time_of(entry["at_ms"]),
            event_time=time_of(entry["event_ms"]),
            bucket=entry["bucket"],
            kind=KINDS[entry["kind"]],
            amount=quantity(entry["kind"], entry["amount"]),
            balance_after=quantity(entry["kind"], entry["after"]),
            counter_account=entry["counter_account"],
            why=entry["why"],
            session=entry["session"] or "",
            incarnation=entry["incarnation"] or 0,
            service=entry["service"] or "",
            subscriber=entry["subscriber"] or "",
            actor=entry["actor"] or "",
            reason=entry["reason"] or "",
            reference=entry["reference"] or "",
            net=None if entry["net"] is None else money(entry["net"]),
            tax=None if entry["tax"] is None else money(entry["tax"]),
            exchange_rate="" if entry["currency_rate"] is None else str(entry["currency_rate"]),
            original_seq=entry["original_seq"] or None,
            tags=tags.read(entry["tags"]),
        )
        for entry in found
    ]
    more = items[-1].seq if len(items) == query.limit else None
    from_ms = await postings.kept_from_ms(call.backoffice)
    since = time_of(from_ms) if from_ms else None
    return ApiReply(schema.LedgerPage(items, None if newest else more, more if newest else None, since))


MOVES: Final = ("key-required", "key-reused", "not-found", "insufficient-funds", "no-room", "fate-unknown")
UPDATES: Final = ("version-conflict", "version-required")

OPERATIONS: Final = (
    Operation(
        "PUT",
        "/v1/accounts/{id}",
        put_account,
        "Create an account, or change its settings",
        "accounts.write",
        answer=schema.AccountView,
        also=(201,),
        body=schema.AccountPut,
        examples={"prepaid": {"currency": "EUR"}, "postpaid": {"currency": "EUR", "credit_limit": "50.00"}},
        conditional=True,
        problems=(*UPDATES, "immutable", "conflict", "still-held", "balance-remains", "fate-unknown"),
    ),
    Operation(
        "GET",
        "/v1/accounts/{id}",
        get_account,
        "An account with its state and balances",
        "accounts.read",
        answer=schema.AccountView,
        problems=("not-found",),
    ),
    Operation(
        "PUT",
        "/v1/accounts/{id}/buckets/{bucket}",
        put_bucket,
        "Let a bucket block what is behind it, or lift its block",
        "accounts.write",
        answer=schema.BucketView,
        body=schema.BucketPut,
        examples={"the subscriber agrees to spend money": {"blocker": False}},
        conditional=True,
        problems=("not-found", "version-conflict", "fate-unknown"),
        description="Open sessions of the account are asked to report (RAR) where that changes what they may use. With"
        " If-Match only to that revision of the account; without it, to what is there.",
    ),
    Operation(
        "POST",
        "/v1/accounts/{id}/topups",
        top_up,
        "Top up: the main balance, or a new bucket that is limited in time or scope",
        "accounts.top-up",
        answer=schema.PostingView,
        status=201,
        body=schema.TopUp,
        examples={
            "money": {"amount": "5.00", "reference": "counter 4"},
            "1 GB for a week": {"amount": "1073741824", "kind": "octets", "valid_for_s": 604800, "name": "week"},
            "with an offer": {"amount": "10.00", "offer": "spring"},
        },
        keyed=True,
        problems=(*MOVES, "unresolved", "account-closed"),
    ),
    Operation(
        "POST",
        "/v1/accounts/{id}/adjustments",
        adjust,
        "Correct a balance, up or down",
        "accounts.adjust",
        answer=schema.PostingView,
        status=201,
        body=schema.Adjustment,
        examples={"goodwill": {"amount": "1.00", "reason": "goodwill"}},
        keyed=True,
        problems=MOVES,
    ),
    Operation(
        "POST",
        "/v1/accounts/{id}/transfers",
        transfer,
        "Move an amount from one bucket to another one of the same kind",
        "accounts.adjust",
        answer=schema.PostingView,
        status=201,
        body=schema.WantedTransfer,
        keyed=True,
        problems=MOVES,
    ),
    Operation(
        "POST",
        "/v1/accounts/{id}/closing",
        close,
        "Close an account, and pay out or write off what it still has",
        "accounts.close",
        answer=schema.PostingView,
        status=201,
        body=schema.Closing,
        keyed=True,
        problems=(*MOVES, "still-held", "balance-remains"),
    ),
    Operation(
        "GET",
        "/v1/accounts/{id}/ledger",
        list_ledger,
        "Every change of every bucket, oldest or newest first, of a time, a kind or a reason",
        "accounts.read",
        answer=schema.LedgerPage,
        query=LedgerQuery,
        problems=("not-found",),
        description="From PostgreSQL, which follows within a second.",
    ),
)
