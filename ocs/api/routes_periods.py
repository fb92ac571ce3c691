"""Months of the ledger that are closed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from balances.ledger.closing import ClosedBook, ClosedPeriod
from balances.ledger.dropping import DroppedMonth, What
from ocs.api import schema_ledger as schema
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.texts import time_of
from ocs.backoffice import closing, dropping
from ocs.backoffice.amounts import KINDS, quantity
from tariffs.units import Kind


async def close_period(call: ApiCall) -> ApiReply:
    closed = await closing.close(call.backoffice, call.path["month"], call.caller)
    return ApiReply(_view(*closed, await dropping.drops(call.backoffice)))


async def list_periods(call: ApiCall) -> ApiReply:
    gone = await dropping.drops(call.backoffice)
    return ApiReply(schema.ClosedPeriods([_view(*one, gone) for one in await closing.periods(call.backoffice)]))


async def plan_usage_drop(call: ApiCall) -> ApiReply:
    return await _plan(call, "usage")


async def plan_entries_drop(call: ApiCall) -> ApiReply:
    return await _plan(call, "entries")


async def drop_usage(call: ApiCall) -> ApiReply:
    return await _drop(call, "usage")


async def drop_entries(call: ApiCall) -> ApiReply:
    return await _drop(call, "entries")


async def _plan(call: ApiCall, what: What) -> ApiReply:
    found = await dropping.plan(call.backoffice, call.path["month"], what)
    sizes: dict[str, schema.DropSize] = {
        name: schema.DropSize(size.rows, size.octets) for name, size in found.sizes.items()
    }
    return ApiReply(schema.DropPlanView(found.month, sizes, list(found.obstacles)))


async def _drop(call: ApiCall, what: What) -> ApiReply:
    found, deleted = await dropping.drop(call.backoffice, call.path["month"], what, call.caller)
    gone = {one.what: time_of(one.dropped_ms) for one in found}
    return ApiReply(schema.DroppedMonthView(call.path["month"], gone, deleted))


def _view(period: ClosedPeriod, books: Sequence[ClosedBook], gone: Sequence[DroppedMonth]) -> schema.ClosedPeriodView:
    dropped = {one.what: time_of(one.dropped_ms) for one in gone if one.until_ms == period.until_ms}
    sums: dict[str, dict[str, str]] = {}
    for one in books:
        name = one.currency if one.kind == Kind.MONEY else KINDS[one.kind]
        sums.setdefault(name, {})[one.book] = quantity(one.kind, one.amount)
    return schema.ClosedPeriodView(
        month=period.month,
        from_=time_of(period.from_ms),
        until=time_of(period.until_ms),
        closed=time_of(period.closed_ms),
        closed_by=period.closed_by,
        entries=period.entries,
        accounts=period.accounts,
        sums=sums,
        usage_dropped=dropped.get("usage"),
        entries_dropped=dropped.get("entries"),
    )


OPERATIONS: Final = (
    Operation(
        "GET",
        "/v1/ledger/periods",
        list_periods,
        "Months of the ledger that are closed, the oldest first",
        "ledger.read",
        answer=schema.ClosedPeriods,
    ),
    Operation(
        "GET",
        "/v1/ledger/periods/{month}/usage",
        plan_usage_drop,
        "What dropping the usage records of a month would do, and what stands in the way",
        "ledger.read",
        answer=schema.DropPlanView,
    ),
    Operation(
        "GET",
        "/v1/ledger/periods/{month}/entries",
        plan_entries_drop,
        "The same of its ledger entries and usage records",
        "ledger.read",
        answer=schema.DropPlanView,
    ),
    Operation(
        "DELETE",
        "/v1/ledger/periods/{month}/usage",
        drop_usage,
        "Drop the usage records of a closed month, for good",
        "ledger.drop",
        answer=schema.DroppedMonthView,
        problems=("conflict",),
        description="Its entries stay. Months are dropped one after the other, once the last three whole months do not"
        " reach back to them and the ledger was proven after they were closed. Nothing of the month is rated again,"
        " explained or refunded afterwards.",
    ),
    Operation(
        "DELETE",
        "/v1/ledger/periods/{month}/entries",
        drop_entries,
        "Drop the ledger entries and usage records of a closed month, for good",
        "ledger.drop",
        answer=schema.DroppedMonthView,
        problems=("conflict",),
        description="What each account had at its end is kept, and proven with the rest of the ledger.",
    ),
    Operation(
        "POST",
        "/v1/ledger/periods/{month}/close",
        close_period,
        "Close a month of the ledger: from then on nothing in it changes",
        "ledger.close",
        answer=schema.ClosedPeriodView,
        problems=("conflict",),
        description="Months are closed one after the other, once they are over (UTC) and all of them is copied. One"
        " that is closed is answered as it was closed.",
    ),
)
