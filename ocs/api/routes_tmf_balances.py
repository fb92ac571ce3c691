"""TMF654 v4: buckets, what they have together, and the history of actions; all of it is only read (docs/tmf654.md)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec

from balances.structs.account import REFUSING, Account, Bucket, SuspendReasons
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.routes_tmf_actions import PostedQuery, balance_action, posted_one, posted_page
from ocs.api.texts import time_or_none
from ocs.api.tmf_lists import ListQuery, OneQuery, Some, page_of_all, picked, whose
from ocs.backoffice import accounts
from ocs.backoffice.balance_actions import ACTIONS
from ocs.backoffice.errors import NotFound
from ocs.master.accounts import AccountRow
from ocs.tmf654.resources import (
    TmfAccumulatedBalance,
    TmfBalanceAction,
    TmfBucket,
    TmfPeriod,
    TmfQuantity,
    TmfRef,
)
from ocs.tmf654.words import (
    BASE,
    KIND_OF_USAGE,
    BucketStatus,
    NamedBucket,
    UsageType,
    number_of,
    units_of,
    usage_of,
)
from tariffs.units import Kind

READ_AT_ONCE: Final = 32
"""Accounts of the live store."""
STOPPED: Final = REFUSING | SuspendReasons.CREDIT | SuspendReasons.FEE


class BucketQuery(ListQuery, frozen=True):
    id: Annotated[Some | None, msgspec.Meta(description="Of one bucket")] = None
    status: BucketStatus | None = None


async def _read(call: ApiCall, rows: Sequence[AccountRow]) -> list[tuple[AccountRow, Account]]:
    """The accounts as they are now, in the order of the rows."""
    found = []
    for begin in range(0, len(rows), READ_AT_ONCE):
        some = rows[begin : begin + READ_AT_ONCE]
        read = await asyncio.gather(*(accounts.read(call.backoffice, row) for row in some))
        found += [(row, account) for row, (account, _) in zip(some, read, strict=True)]
    return found


def _owner(row: AccountRow) -> tuple[TmfRef, list[TmfRef] | None]:
    """partyAccount and relatedParty."""
    party = TmfRef(row.customer, role="customer", referred_type="Customer") if row.customer else None
    return TmfRef(row.id, referred_type="PartyAccount"), [party] if party is not None else None


def _in_order(account: Account) -> Sequence[Bucket]:
    """By number: the order in which they pay changes."""
    return sorted(account.buckets, key=lambda one: one.id)


def bucket_href(id_: str) -> str:
    return f"{BASE}/bucket/{id_}"


def _bucket(row: AccountRow, account: Account, one: Bucket, now_ms: int) -> TmfBucket:
    name = NamedBucket(account.id, one.id)
    units = units_of(one.kind, account.currency)
    free = number_of(one.kind, one.amount - one.held)
    owner, party = _owner(row)
    return TmfBucket(
        id=name.id,
        href=bucket_href(name.id),
        name=one.name or None,
        description=_priced(account, one, units) if one.price else None,
        is_shared=not one.member,
        remaining_value=TmfQuantity(free, units),
        remaining_value_name=f"{free} {units}",
        reserved_value=TmfQuantity(number_of(one.kind, one.held), units),
        status=_status(account, one, now_ms),
        usage_type=usage_of(one.kind, one.scope),
        valid_for=TmfPeriod(time_or_none(one.from_ms), time_or_none(one.until_ms))
        if one.from_ms or one.until_ms
        else None,
        party_account=owner,
        related_party=party,
        type="Bucket",
    )


def _priced(account: Account, one: Bucket, units: str) -> str:
    return f"{number_of(Kind.MONEY, one.price)} {account.currency} for {one.per} {units}"


def _status(account: Account, one: Bucket, now_ms: int) -> BucketStatus:
    if one.until_ms and one.until_ms <= now_ms:
        return "expired"
    return "suspended" if account.state & STOPPED else "active"


async def tmf_list_buckets(call: ApiCall) -> ApiReply:
    query: BucketQuery = call.query
    now_ms = call.backoffice.now_ms()
    read = await _read(call, await whose(call, query, query.id))
    all_ = [_bucket(row, account, one, now_ms) for row, account in read for one in _in_order(account)]
    found = [
        one
        for one in all_
        if query.id in (None, one.id)
        and query.usage_type in (None, one.usage_type)
        and query.status in (None, one.status)
    ]
    return page_of_all(found, query)


async def tmf_get_bucket(call: ApiCall) -> ApiReply:
    query: OneQuery = call.query
    id_ = call.path["bucket"]
    row, account = await _account_of(call, id_)
    for one in account.buckets:
        if NamedBucket(account.id, one.id).id == id_:
            return ApiReply(picked(query.fields)(_bucket(row, account, one, call.backoffice.now_ms())))
    raise NotFound(f"there is no bucket {id_}, or it has ended")


async def _account_of(call: ApiCall, id_: str) -> tuple[AccountRow, Account]:
    """Of what has the id of an account, a colon, and more."""
    row = await accounts.find(call.backoffice, id_.rpartition(":")[0])
    account, _ = await accounts.read(call.backoffice, row)
    return row, account


def _accumulated(row: AccountRow, account: Account, now_ms: int) -> list[TmfAccumulatedBalance]:
    """One for each usage type that the account has a bucket of."""
    by_usage: dict[UsageType, list[Bucket]] = {}
    for one in _in_order(account):
        if one.from_ms <= now_ms and (not one.until_ms or one.until_ms > now_ms):
            by_usage.setdefault(usage_of(one.kind, one.scope), []).append(one)
    owner, party = _owner(row)
    return [
        TmfAccumulatedBalance(
            id=f"{account.id}:{usage}",
            href=f"{BASE}/accumulatedBalance/{account.id}:{usage}",
            name=usage,
            bucket=[TmfRef(id_ := NamedBucket(account.id, one.id).id, bucket_href(id_)) for one in buckets],
            total_balance=TmfQuantity(
                number_of(kind := KIND_OF_USAGE[usage], sum(one.amount - one.held for one in buckets)),
                units_of(kind, account.currency),
            ),
            usage_type=usage,
            party_account=owner,
            related_party=party,
            type="AccumulatedBalance",
        )
        for usage, buckets in by_usage.items()
    ]


async def tmf_list_accumulated_balances(call: ApiCall) -> ApiReply:
    query: ListQuery = call.query
    now_ms = call.backoffice.now_ms()
    read = await _read(call, await whose(call, query))
    all_ = [one for row, account in read for one in _accumulated(row, account, now_ms)]
    return page_of_all([one for one in all_ if query.usage_type in (None, one.usage_type)], query)


async def tmf_get_accumulated_balance(call: ApiCall) -> ApiReply:
    query: OneQuery = call.query
    id_ = call.path["balance"]
    row, account = await _account_of(call, id_)
    for one in _accumulated(row, account, call.backoffice.now_ms()):
        if one.id == id_:
            return ApiReply(picked(query.fields)(one))
    raise NotFound(f"there is no accumulated balance {id_}")


async def tmf_list_history(call: ApiCall) -> ApiReply:
    return await posted_page(call, balance_action, ACTIONS)


async def tmf_get_history(call: ApiCall) -> ApiReply:
    query: OneQuery = call.query
    return ApiReply(picked(query.fields)(balance_action(await posted_one(call, ACTIONS))))


LISTS: Final = (206,)

OPERATIONS: Final = (
    Operation(
        "GET",
        f"{BASE}/bucket",
        tmf_list_buckets,
        "Buckets of accounts",
        "accounts.read",
        answer=list[TmfBucket],
        also=LISTS,
        query=BucketQuery,
        description="Of one account, number or customer; of all only where there are at most 1,000 accounts.",
    ),
    Operation(
        "GET",
        f"{BASE}/bucket/{{bucket}}",
        tmf_get_bucket,
        "A bucket",
        "accounts.read",
        answer=TmfBucket,
        query=OneQuery,
        problems=("not-found",),
    ),
    Operation(
        "GET",
        f"{BASE}/accumulatedBalance",
        tmf_list_accumulated_balances,
        "What accounts have of each usage type, in all buckets that are valid now",
        "accounts.read",
        answer=list[TmfAccumulatedBalance],
        also=LISTS,
        query=ListQuery,
    ),
    Operation(
        "GET",
        f"{BASE}/accumulatedBalance/{{balance}}",
        tmf_get_accumulated_balance,
        "What an account has of a usage type",
        "accounts.read",
        answer=TmfAccumulatedBalance,
        query=OneQuery,
        problems=("not-found",),
    ),
    Operation(
        "GET",
        f"{BASE}/balanceActionHistory",
        tmf_list_history,
        "Top-ups, adjustments and transfers, the newest first",
        "accounts.read",
        answer=list[TmfBalanceAction],
        also=LISTS,
        query=PostedQuery,
        description="From the ledger in PostgreSQL, which follows within a second, whoever asked for them and however."
        " X-Total-Count is left out above 10,000: say from when until when.",
    ),
    Operation(
        "GET",
        f"{BASE}/balanceActionHistory/{{action}}",
        tmf_get_history,
        "An action of the history",
        "accounts.read",
        answer=TmfBalanceAction,
        query=OneQuery,
        problems=("not-found", "fate-unknown"),
    ),
)
