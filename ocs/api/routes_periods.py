"""Months of the ledger that are closed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from balances.ledger.closing import ClosedBook, ClosedPeriod
from ocs.api import schema_ledger as schema
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.texts import time_of
from ocs.backoffice import closing
from ocs.backoffice.amounts import KINDS, quantity
from tariffs.units import Kind


async def close_period(call: ApiCall) -> ApiReply:
    return ApiReply(_view(*await closing.close(call.backoffice, call.path["month"], call.caller)))


async def list_periods(call: ApiCall) -> ApiReply:
    return ApiReply(schema.ClosedPeriods([_view(*one) for one in await closing.periods(call.backoffice)]))


def _view(period: ClosedPeriod, books: Sequence[ClosedBook]) -> schema.ClosedPeriodView:
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
