"""Accounts, what is posted to them, and their ledger."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta, Struct

from balances import keys
from balances.structs.account import MAIN, NEVER, Account, SuspendReasons
from balances.structs.posting import AccountSettings, Post, Posting
from ocs.api import schema
from ocs.api.desk import BY_HAND, REMEMBER_MS, Entries
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.problems import Problem
from ocs.api.texts import Time, count_of, micro_of, money, ms_of, time_of
from ocs.api.views import KINDS, account_view, posted_view, quantity
from ocs.charging.currencies import NUMBERS
from ocs.master import accounts
from ocs.master.accounts import AccountRow, check_currency
from ocs.patterns import looks
from tariffs.units import Kind

Limit = Annotated[int, Meta(ge=1, le=1000)]
KIND_OF: Final = {name: kind for kind, name in KINDS.items()}
REASONS: Final = {
    "operator": SuspendReasons.OPERATOR,
    "barred": SuspendReasons.BARRED,
    "fraud": SuspendReasons.FRAUD,
}
BONUS_PRIORITY: Final = 50


class AccountsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    after: schema.After = ""
    limit: Limit = 100


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
    limit: Limit = 100


@cache
def is_zone(name: str) -> bool:
    """Whether there is a time zone of that name."""
    try:
        ZoneInfo(name)
    except (ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError with an odd text; a directory is an OSError
        return False
    except KeyError:
        return False
    return True


async def put_account(call: ApiCall) -> ApiReply:
    body: schema.AccountPut = call.body
    account = call.path["id"]
    if body.time_zone is not None and not (len(body.time_zone) <= 64 and is_zone(body.time_zone)):
        raise Problem("invalid", f"time_zone: expected a name such as Europe/Berlin, found {body.time_zone!r}")
    wanted = _settings(body, account, call)
    row = await accounts.get(call.desk.pool, account)
    if row is None:
        call.precondition.check(None)
        row, made = await call.desk.create(_new(body, account, wanted))
        if made:
            if body.state not in (None, "active"):
                await call.desk.settings(row, wanted)
            return await _shown(call, row, status=201)
    return await _update(call, row, body, wanted)


def _new(body: schema.AccountPut, account: str, wanted: AccountSettings) -> AccountRow:
    if body.currency not in NUMBERS:
        raise Problem("invalid", f"currency: expected an ISO 4217 code such as EUR, found {body.currency}")
    below = NEVER if wanted.suspend_below is None else wanted.suspend_below
    resume = below if wanted.resume_at is None else wanted.resume_at
    if resume < below:
        raise Problem("invalid", "resume_at: not below suspend_below, or the account would never be at rest")
    return AccountRow(
        id=account,
        currency=body.currency,
        time_zone=body.time_zone or "UTC",
        credit_limit=wanted.credit_limit or 0,
        suspend_below=below,
        resume_at=resume,
    )


def _settings(body: schema.AccountPut, account: str, call: ApiCall) -> AccountSettings:
    wanted = AccountSettings(account, call.desk.now_ms(), None, actor=call.caller, reason="settings")
    if body.credit_limit is not None:
        wanted.credit_limit = micro_of(body.credit_limit, "credit_limit")
    if body.suspend_below is not None:
        wanted.suspend_below = micro_of(body.suspend_below, "suspend_below")
    if body.resume_at is not None:
        wanted.resume_at = micro_of(body.resume_at, "resume_at")
    if body.suspend_for is not None and body.state != "suspended":
        raise Problem("invalid", "suspend_for: only with state: suspended")
    match body.state:
        case "active":
            wanted.clear_state = BY_HAND | SuspendReasons.CLOSED
        case "suspended":
            wanted.set_state = REASONS[body.suspend_for or "operator"]
        case "closed":
            wanted.set_state = SuspendReasons.CLOSED
    return wanted


async def _update(call: ApiCall, row: AccountRow, body: schema.AccountPut, wanted: AccountSettings) -> ApiReply:
    check_currency(row, body.currency)
    now, _ = await call.desk.read(row)
    zone_changes = body.time_zone not in (None, row.time_zone)
    if wanted.suspend_below is not None and wanted.resume_at is None and now.resume_at < wanted.suspend_below:
        wanted.resume_at = wanted.suspend_below
    if not zone_changes and not _changes(now, wanted):
        return await _shown(call, row)
    call.precondition.check(now.rev)
    wanted.if_rev = now.rev  # as it was when we looked: the script compares again
    await call.desk.settings(row, wanted)
    if zone_changes:
        assert body.time_zone is not None
        await accounts.set_time_zone(call.desk.pool, row.id, body.time_zone)
        await call.desk.publish()
        row = await call.desk.row(row.id)
    return await _shown(call, row)


def _changes(now: Account, wanted: AccountSettings) -> bool:
    return (
        any(
            value is not None and value != getattr(now, name)
            for name, value in (
                ("credit_limit", wanted.credit_limit),
                ("suspend_below", wanted.suspend_below),
                ("resume_at", wanted.resume_at),
            )
        )
        or (now.state | wanted.set_state) & ~wanted.clear_state != now.state
    )


async def get_account(call: ApiCall) -> ApiReply:
    return await _shown(call, await call.desk.row(call.path["id"]))


async def _shown(call: ApiCall, row: AccountRow, status: int = 200) -> ApiReply:
    account, _ = await call.desk.read(row)
    return ApiReply(account_view(row, account, call.desk.now_ms()), status, version=account.rev)


async def list_accounts(call: ApiCall) -> ApiReply:
    query: AccountsQuery = call.query
    rows = await accounts.page(call.desk.pool, query.after, query.limit)
    items = [schema.AccountRef(row.id, row.currency, row.time_zone, time_of(row.created_ms)) for row in rows]
    return ApiReply(schema.AccountPage(items, items[-1].id if len(items) == query.limit else None))


# --- postings -----------------------------------------------------------------------------------------------------


def _amount(text: str, kind: int) -> int:
    return micro_of(text, "amount") if kind == Kind.MONEY else count_of(text, "amount")


async def top_up(call: ApiCall) -> ApiReply:
    body: schema.TopUp = call.body
    kind = KIND_OF[body.kind]
    from_ms = ms_of(body.valid_from, "valid_from") or 0
    until_ms = ms_of(body.valid_until, "valid_until") or 0
    if from_ms < 0 or until_ms < 0 or (until_ms and until_ms <= from_ms):
        raise Problem("invalid", "valid_until: after valid_from, both after 1970")
    if body.valid_for_s and until_ms:
        raise Problem("invalid", "valid_for_s: not beside valid_until")
    special = from_ms or until_ms or body.valid_for_s or body.scope or body.name or body.priority is not None
    plain = kind == Kind.MONEY and not special
    posting = Posting(
        bucket=MAIN if plain else -1,
        kind=kind,
        amount=_amount(body.amount, kind),
        counter_account="top-up",
        why="top-up",
        priority=BONUS_PRIORITY if body.priority is None else body.priority,
        from_ms=from_ms,
        until_ms=until_ms,
        scope=body.scope,
        name=body.name,
        window_ms=(body.valid_for_s or 0) * 1_000,
    )
    row = await call.desk.row(call.path["id"])
    account, _ = await call.desk.read(row)

    async def check() -> None:
        await call.desk.check_scope(body.scope)
        if until_ms and until_ms <= call.desk.now_ms():
            raise Problem("invalid", f"valid_until: in the future, found {body.valid_until}")
        if account.state & SuspendReasons.CLOSED:
            raise Problem("account-closed", "open it again (state: active) before money goes there")

    return await post_one(call, row, posting, "top-up", body.reference, own_only=False, check=check)


async def adjust(call: ApiCall) -> ApiReply:
    body: schema.Adjustment = call.body
    row = await call.desk.row(call.path["id"])
    account, _ = await call.desk.read(row)
    bucket = next((bucket for bucket in account.buckets if bucket.id == body.bucket), None)
    kind = bucket.kind if bucket else Kind.MONEY
    amount = _amount(body.amount, kind)

    rules = call.desk.adjustments
    if call.caller not in rules.callers:
        raise Problem("forbidden", f"{call.caller} adjusts no balances (adjustments.callers)")
    if body.force and call.caller not in rules.force:
        raise Problem("forbidden", f"force: {call.caller} takes nothing that is held (adjustments.force)")

    async def check() -> None:
        if bucket is None:
            raise Problem("not-found", f"account {row.id} has no bucket {body.bucket}")
        if kind == Kind.MONEY and abs(amount) > micro_of(rules.limit, "adjustments.limit"):
            raise Problem("invalid", f"amount: at most {rules.limit} at a time (adjustments.limit)")

    posting = Posting(body.bucket, kind, amount, counter_account="adjustment", why="adjustment")
    return await post_one(
        call, row, posting, body.reason, body.reference, own_only=False, check=check, keeps_held=not body.force
    )


async def post_one(
    call: ApiCall,
    row: AccountRow,
    posting: Posting,
    reason: str,
    reference: str,
    *,
    own_only: bool,
    check: Any = None,
    keeps_held: bool = False,
) -> ApiReply:
    """One posting, once for the key of the call, and what became of it."""
    posted = await call.desk.post(
        row,
        Post(
            account=row.id,
            key=call.key,
            fingerprint=call.fingerprint,
            now_ms=call.desk.now_ms(),
            postings=[posting],
            own_only=own_only,
            remember_ms=REMEMBER_MS,
            actor=call.caller,
            reason=reason,
            reference=reference,
            keeps_held=keeps_held,
        ),
        check,
    )
    return ApiReply(posted_view(row.id, keys.idempotency_key(call.key), posted), 201)


async def list_ledger(call: ApiCall) -> ApiReply:
    query: LedgerQuery = call.query
    row = await call.desk.row(call.path["id"])
    newest = query.order == "newest"
    found = await call.desk.ledger(
        row.id,
        Entries(
            after_seq=query.after_seq,
            before_seq=query.before_seq,
            from_ms=ms_of(query.from_, "from"),
            until_ms=ms_of(query.until, "until"),
            kind=None if query.kind is None else KIND_OF[query.kind],
            why=query.why,
            newest_first=newest,
            limit=query.limit,
        ),
    )
    items = [
        schema.LedgerEntry(
            seq=entry["seq"],
            time=time_of(entry["at_ms"]),
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
        )
        for entry in found
    ]
    more = items[-1].seq if len(items) == query.limit else None
    return ApiReply(schema.LedgerPage(items, None if newest else more, more if newest else None))


MOVES: Final = ("key-required", "key-reused", "not-found", "insufficient-funds", "no-room", "fate-unknown")
UPDATES: Final = ("version-conflict", "version-required")

OPERATIONS: Final = (
    Operation(
        "PUT",
        "/v1/accounts/{id}",
        put_account,
        "Create an account, or change its settings",
        answer=schema.AccountView,
        also=(201,),
        body=schema.AccountPut,
        conditional=True,
        problems=(*UPDATES, "immutable", "fate-unknown"),
    ),
    Operation(
        "GET",
        "/v1/accounts/{id}",
        get_account,
        "An account with its state and balances",
        answer=schema.AccountView,
        problems=("not-found",),
    ),
    Operation("GET", "/v1/accounts", list_accounts, "All accounts", answer=schema.AccountPage, query=AccountsQuery),
    Operation(
        "POST",
        "/v1/accounts/{id}/topups",
        top_up,
        "Top up: the main balance, or a new bucket that is limited in time or scope",
        answer=schema.PostingView,
        status=201,
        body=schema.TopUp,
        keyed=True,
        problems=(*MOVES, "account-closed"),
    ),
    Operation(
        "POST",
        "/v1/accounts/{id}/adjustments",
        adjust,
        "Correct a balance, up or down",
        answer=schema.PostingView,
        status=201,
        body=schema.Adjustment,
        keyed=True,
        problems=MOVES,
    ),
    Operation(
        "GET",
        "/v1/accounts/{id}/ledger",
        list_ledger,
        "Every change of every bucket, oldest or newest first, of a time, a kind or a reason",
        answer=schema.LedgerPage,
        query=LedgerQuery,
        problems=("not-found",),
        description="From PostgreSQL, which follows within a second.",
    ),
)
