"""Lists of TMF654: whose is wanted, pages by offset, and the attributes that are asked for (docs/tmf654.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from ocs.api.operation import ApiCall, ApiReply
from ocs.api.schema import ONE_LINE
from ocs.api.texts import Time
from ocs.backoffice import accounts, subscribers
from ocs.backoffice.balance_actions import COUNTED_MAX
from ocs.backoffice.errors import Invalid, NotFound
from ocs.master.accounts import AccountRow
from ocs.patterns import looks
from ocs.tmf654.words import UsageType, bucket_named, identities_of

ACCOUNTS_MAX: Final = 1_000
"""Whose balances or actions one list may be about."""
ALWAYS: Final = ("id", "href")

Some = Annotated[str, looks(r"[^\x00-\x1f]*", ONE_LINE, min_length=1, max_length=255)]
Fields = Annotated[
    str, Meta(max_length=1_000, description="Names of attributes, with commas between; id and href always")
]
Offset = Annotated[int, Meta(ge=0, le=COUNTED_MAX, description="How many of all are passed over")]
Limit = Annotated[int, Meta(ge=1, le=1_000)]


class OneQuery(Struct, frozen=True, forbid_unknown_fields=True):
    fields: Fields = ""


class ListQuery(OneQuery, frozen=True):
    """Whose, and which part of them."""

    offset: Offset = 0
    limit: Limit = 100
    account: Some | None = msgspec.field(name="partyAccount.id", default=None)
    resource: Annotated[
        Some | None, Meta(description="A number in any spelling, or an identity such as imsi:262...")
    ] = msgspec.field(name="logicalResource.id", default=None)
    party: Annotated[Some | None, Meta(description="A customer")] = msgspec.field(name="relatedParty.id", default=None)
    usage_type: UsageType | None = msgspec.field(name="usageType", default=None)


class ActionQuery(ListQuery, frozen=True):
    bucket: Some | None = msgspec.field(name="bucket.id", default=None)
    since: Annotated[Time | None, Meta(description="Of this instant and later")] = msgspec.field(
        name="requestedDate.gte", default=None
    )
    until: Annotated[Time | None, Meta(description="Of this instant and earlier")] = msgspec.field(
        name="requestedDate.lte", default=None
    )


async def whose(call: ApiCall, query: ListQuery, bucket: str | None = None) -> Sequence[AccountRow]:
    """The accounts that a list is about, in the order of their ids. Raises Invalid where they are too many.

    bucket: one whose account alone is wanted
    """
    wanted: set[str] | None = None
    if query.account is not None:
        wanted = {query.account}
    if bucket is not None:
        of_bucket = {bucket_named(bucket).account}
        wanted = of_bucket if wanted is None else wanted & of_bucket
    if query.resource is not None:
        people = await subscribers.having(call.backoffice, identities_of(query.resource, None))
        paying = {account for one in people for account in one.accounts}
        wanted = paying if wanted is None else wanted & paying
    if wanted is not None:
        rows = await accounts.those(call.backoffice, wanted)
        return [row for row in rows if query.party in (None, row.customer)]
    rows = await accounts.page(call.backoffice, "", ACCOUNTS_MAX + 1, query.party)
    if len(rows) > ACCOUNTS_MAX:
        how = "partyAccount.id, logicalResource.id or relatedParty.id"
        raise Invalid("query", f"that would be of more than {ACCOUNTS_MAX} accounts: name some with {how}")
    return rows


async def account_in_body(call: ApiCall, account: str, field: str) -> AccountRow:
    """What a body names is not what is asked for: it is wrong, not missing."""
    try:
        return await accounts.find(call.backoffice, account)
    except NotFound:
        raise Invalid(field, f"there is no account {account[:80]}") from None


def page(found: Sequence[Struct], total: int | None, query: ListQuery) -> ApiReply:
    """A page of a list: 206 where it is not all of it. total: None: more than are counted"""
    headers = {"X-Result-Count": str(len(found))}
    if total is not None:
        headers["X-Total-Count"] = str(total)
    pick = picked(query.fields)
    return ApiReply([pick(one) for one in found], 200 if len(found) == total else 206, headers=headers)


def page_of_all(found: Sequence[Struct], query: ListQuery) -> ApiReply:
    """The page of a list that is here whole."""
    return page(found[query.offset : query.offset + query.limit], len(found), query)


def picked(fields: str) -> Callable[[Struct], Any]:
    """Takes the attributes that are asked for; all unless any are."""
    wanted = {name.strip() for name in fields.split(",")} - {""}
    if not wanted:
        return lambda one: one

    def pick(one: Struct) -> dict[str, Any]:
        whole = msgspec.to_builtins(one, builtin_types=(Decimal,))
        return {name: value for name, value in whole.items() if name in wanted or name in ALWAYS}

    return pick
