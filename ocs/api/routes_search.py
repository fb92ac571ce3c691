"""Search: who and which accounts."""

from __future__ import annotations

import re
from typing import Annotated, Final

from msgspec import Meta, Struct

from balances.ledger.event_data import AccountState, SuspensionReason
from balances.structs.account import SuspendReasons
from ocs.api import schema
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.texts import Money
from ocs.api.views import account_ref, subscriber_view
from ocs.backoffice import search
from ocs.backoffice.amounts import micro_of
from ocs.backoffice.errors import Invalid
from ocs.backoffice.search import FoundAccount
from ocs.master.account_search import WantedStandings
from ocs.patterns import looks
from tariffs.units import EXACT_MAX

Said = Annotated[str, looks(r"[^\x00-\x1f]*", schema.ONE_LINE, min_length=1, max_length=255)]
_AFTER: Final = re.compile(r"(-?\d{1,16})=(.*)")
FIRST: Final = (-EXACT_MAX - 1, "")


class SearchQuery(Struct, frozen=True, forbid_unknown_fields=True):
    q: Said


class AccountsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    customer: schema.Customer | None = None
    tag: schema.Tag | None = None
    identity: Said | None = None
    """That pay for whoever has it, in any spelling."""
    state: AccountState | None = None
    suspended_for: SuspensionReason | None = None
    """Suspended for this, whatever else for."""
    currency: schema.Currency | None = None
    free_from: Money | None = None
    """Free money of the currency: this much or more."""
    free_below: Money | None = None
    """Less than this; "0" finds who owes."""
    after: Annotated[
        str,
        looks("[A-Za-z0-9._:@+=-]{0,84}", '"next" of the page before', description="Where the page before ended"),
    ] = ""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


async def search_for(call: ApiCall) -> ApiReply:
    query: SearchQuery = call.query
    found, people = await search.search(call.backoffice, query.q)
    return ApiReply(schema.Found([account_ref(one) for one in found], [subscriber_view(one) for one in people]))


async def list_accounts(call: ApiCall) -> ApiReply:
    query: AccountsQuery = call.query
    wanted = await search.of_people(call.backoffice, _wanted(query), query.identity)
    if wanted.by_standing:
        found = await search.by_standing(call.backoffice, wanted, _after(query.after), query.limit)
    else:
        found = await search.by_id(call.backoffice, wanted, query.after, query.limit)
    more = _next(found[-1], wanted) if len(found) == query.limit else None
    return ApiReply(schema.AccountPage([account_ref(one) for one in found], more))


def _wanted(query: AccountsQuery) -> WantedStandings:
    if query.currency is None and (query.free_from, query.free_below) != (None, None):
        raise Invalid("currency", "needed with an amount: money of two currencies is not compared")
    return WantedStandings(
        state=query.state,
        reason=None if query.suspended_for is None else SuspendReasons[query.suspended_for.upper()],
        currency=query.currency,
        free_from=None if query.free_from is None else micro_of(query.free_from, "free_from"),
        free_below=None if query.free_below is None else micro_of(query.free_below, "free_below"),
        customer=query.customer,
        tag=query.tag,
    )


def _after(text: str) -> tuple[int, str]:
    """(free, id) of the last account of the page before."""
    if not text:
        return FIRST
    found = _AFTER.fullmatch(text)
    if found is None:
        raise Invalid("after", f"expected `next` of the page before, of the same search, found {text!r}")
    return int(found[1]), found[2]


def _next(last: FoundAccount, wanted: WantedStandings) -> str:
    if wanted.by_standing and last.standing is not None:
        return f"{last.standing.free}={last.row.id}"
    return last.row.id


OPERATIONS: Final = (
    Operation(
        "GET",
        "/v1/search",
        search_for,
        "Find by what a caller says: a number in any spelling, an id, a customer, a tag",
        "accounts.read",
        answer=schema.Found,
        query=SearchQuery,
    ),
    Operation(
        "GET",
        "/v1/accounts",
        list_accounts,
        "Accounts: all, of a customer, with a tag, of an identity, in a state, with so much free money",
        "accounts.read",
        answer=schema.AccountPage,
        query=AccountsQuery,
        description="What is asked for together is meant together. With a state, a reason, a currency or an amount they"
        " come in the order of their free money, else in that of their ids. From PostgreSQL, which follows the live"
        " store within a second: an account that changes between two pages may come twice, or not at all.",
    ),
)
