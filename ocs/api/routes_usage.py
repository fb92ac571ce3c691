"""Usage records: pages of them, and all of a period as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from balances.ledger.terms import tags_in
from balances.ledger.usage import UsageFilter, UsageRow
from balances.structs.charge import Flag, Result
from ocs.api import schema
from ocs.api.explaining import PHASES
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.schema_usage import UsageItem, UsagePage
from ocs.api.texts import Time, ms_of, time_of
from ocs.backoffice import accounts, usage
from ocs.backoffice.amounts import KINDS, money, quantity
from ocs.backoffice.statements import check_period
from ocs.tags import TagWanted, term_wanted

CSV: Final = "text/csv"
EVER: Final = 2**53 - 1


class UsageQuery(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    from_: Annotated[Time | None, Meta(description="Used at this instant and later")] = msgspec.field(
        default=None, name="from"
    )
    until: Annotated[Time | None, Meta(description="Used before this instant")] = None
    subscriber: schema.Id | None = None
    service: schema.Tag | None = None
    tag: TagWanted | None = None


class UsagePageQuery(UsageQuery, frozen=True, forbid_unknown_fields=True, kw_only=True):
    after: Annotated[str, Meta(max_length=40, description="`next_after` of the page before")] = ""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


def _wanted(query: UsageQuery) -> UsageFilter:
    from_ms, until_ms = ms_of(query.from_, "from") or 0, ms_of(query.until, "until")
    until_ms = EVER if until_ms is None else until_ms
    return UsageFilter(from_ms, until_ms, query.subscriber or "", query.service or "", term_wanted(query.tag))


async def list_usage(call: ApiCall) -> ApiReply:
    query: UsagePageQuery = call.query
    found = await usage.page(call.backoffice, call.path["id"], _wanted(query), usage.key_of(query.after), query.limit)
    items = [_item(row) for row in found]
    return ApiReply(UsagePage(items, items[-1].usage if len(items) == query.limit else None))


def _item(row: UsageRow) -> UsageItem:
    return UsageItem(
        usage=f"{row.epoch}-{row.n}/{row.line}",
        time=time_of(row.at_ms),
        subscriber=row.subscriber,
        session=row.session,
        incarnation=row.incarnation,
        phase=PHASES[row.phase],
        service=row.service,
        rating_group=None if row.rating_group < 0 else row.rating_group,
        service_identifier=None if row.service_id < 0 else row.service_id,
        unit=KINDS[row.unit],
        used=row.used,
        granted=row.granted,
        cost=money(row.cost),
        currency=row.currency,
        result=Result(row.result).name.lower().replace("_", " "),
        flags=[str(flag.name).lower().replace("_", " ") for flag in Flag if row.flags & flag],
        set_aside=quantity(row.unit, row.suspense),
        tariff=row.tag,
        tags=tags_in(row.terms),
    )


# --- as CSV


async def get_usage_csv(call: ApiCall) -> ApiReply:
    wanted = _wanted(call.query)
    check_period(wanted.from_ms, wanted.until_ms)
    row = await accounts.find(call.backoffice, call.path["id"])
    return ApiReply(_csv(usage.all_pages(call.backoffice, row.id, wanted)), media_type=CSV)


async def _csv(pages: AsyncIterator[Sequence[UsageRow]]) -> AsyncGenerator[bytes, None]:
    yield _cells([UsageItem.__struct_fields__])
    async for rows in pages:
        yield _cells([_line(_item(row)) for row in rows])


def _line(item: UsageItem) -> list[Any]:
    said = msgspec.structs.asdict(item)
    said["flags"] = ";".join(item.flags)
    said["tags"] = ";".join(f"{key}={text}" for key, text in item.tags.items())
    return ["" if value is None else value for value in said.values()]


def _cells(rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)  # RFC 4180
    return text.getvalue().encode()


OPERATIONS: Final = (
    Operation(
        "GET",
        "/v1/accounts/{id}/usage",
        list_usage,
        "Usage records of an account: what was used, granted and refused, also at price 0",
        "accounts.read",
        answer=UsagePage,
        query=UsagePageQuery,
        problems=("not-found",),
        description="In the order in which they were charged, from PostgreSQL, which follows within a second.",
    ),
    Operation(
        "GET",
        "/v1/accounts/{id}/usage.csv",
        get_usage_csv,
        "The usage records of an account as CSV",
        "accounts.read",
        answer=str,
        answer_media_type=CSV,
        query=UsageQuery,
        problems=("not-found",),
        description="Any number of them, as they are read.",
    ),
)
