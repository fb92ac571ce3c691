"""Statements, and balances of the past."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from ocs import tags
from ocs.api import schema
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.schema_statements import (
    CustomerStatement,
    CustomerTotals,
    KindTotals,
    PastBalance,
    PastBucket,
    ReasonTotals,
    StatementView,
)
from ocs.api.texts import Time, ms_of, time_of
from ocs.backoffice import accounts, statements
from ocs.backoffice.amounts import KINDS, money, quantity
from ocs.backoffice.statements import Statement
from ocs.tags import TagKey, TagWanted
from tariffs.units import Kind

CSV: Final = "text/csv"
COLUMNS: Final = (
    *("seq", "posted", "happened", "kind", "bucket", "amount", "balance_after", "counter_account", "why", "net", "tax"),
    *("currency", "subscriber", "service", "session", "reason", "reference", "tags"),
)


class PastQuery(Struct, frozen=True, forbid_unknown_fields=True):
    as_of: Annotated[
        Time | None, Meta(description="Of what happened before: use by its own time, not its report's")
    ] = None
    known_at: Annotated[Time | None, Meta(description="As far as it was posted before: what was known then")] = None


class PeriodQuery(Struct, frozen=True, forbid_unknown_fields=True):
    from_: Annotated[Time, Meta(description="Posted at this instant and later")] = msgspec.field(name="from")
    until: Annotated[Time, Meta(description="Posted before this instant")]


class LinesQuery(PeriodQuery, frozen=True, forbid_unknown_fields=True, kw_only=True):
    tag: TagWanted | None = None


class StatementQuery(PeriodQuery, frozen=True, forbid_unknown_fields=True, kw_only=True):
    group_by: Annotated[TagKey | None, Meta(description="Key of a charging tag: entries are summed by it too")] = None


class CustomerQuery(StatementQuery, frozen=True, forbid_unknown_fields=True):
    customer: schema.Customer


async def get_balance(call: ApiCall) -> ApiReply:
    query: PastQuery = call.query
    as_of, known = ms_of(query.as_of, "as_of"), ms_of(query.known_at, "known_at")
    row, found = await statements.balance(call.backoffice, call.path["id"], as_of, known)
    return ApiReply(
        PastBalance(
            account=row.id,
            currency=row.currency,
            as_of=None if as_of is None else time_of(as_of),
            known_at=None if known is None else time_of(known),
            balance=money(sum(one.amount for one in found if one.kind == Kind.MONEY)),
            buckets=[PastBucket(one.bucket, KINDS[one.kind], quantity(one.kind, one.amount)) for one in found],
        )
    )


def _period(query: PeriodQuery) -> tuple[int, int]:
    return ms_of(query.from_, "from") or 0, ms_of(query.until, "until") or 0


async def get_statement(call: ApiCall) -> ApiReply:
    query: StatementQuery = call.query
    found = await statements.of_account(call.backoffice, call.path["id"], *_period(query), query.group_by)
    return ApiReply(_shown(found))


async def get_customer_statement(call: ApiCall) -> ApiReply:
    query: CustomerQuery = call.query
    of = (*_period(query), query.group_by)
    each, together = await statements.of_customer_accounts(call.backoffice, query.customer, *of)
    return ApiReply(
        CustomerStatement(
            customer=query.customer,
            closed=all(one.closed for one in each),
            currencies=[CustomerTotals(one.currency, _totals(one), _reasons(one)) for one in together],
            accounts=[_shown(one) for one in each],
        )
    )


def _shown(found: Statement) -> StatementView:
    return StatementView(
        account=found.row.id,
        customer=found.row.customer,
        currency=found.row.currency,
        from_=time_of(found.from_ms),
        until=time_of(found.until_ms),
        closed=found.closed,
        totals=_totals(found.sums),
        entries=_reasons(found.sums),
    )


def _totals(sums: Any) -> list[KindTotals]:
    return [
        KindTotals(KINDS[one.kind], quantity(one.kind, one.opening), quantity(one.kind, one.closing))
        for one in sums.kinds
    ]


def _reasons(sums: Any) -> list[ReasonTotals]:
    return [
        ReasonTotals(
            KINDS[one.kind],
            one.why,
            one.counter_account,
            one.entries,
            quantity(one.kind, one.amount),
            None if one.net is None else money(one.net),
            None if one.tax is None else money(one.tax),
            one.tag,
        )
        for one in sums.reasons
    ]


# --- as CSV


async def get_lines(call: ApiCall) -> ApiReply:
    query: LinesQuery = call.query
    from_ms, until_ms = _period(query)
    statements.check_period(from_ms, until_ms)
    row = await accounts.find(call.backoffice, call.path["id"])
    await statements.check_kept(call.backoffice, from_ms)
    entries = statements.lines(call.backoffice, row.id, from_ms, until_ms, tags.wanted(query.tag))
    return ApiReply(_csv(entries, row.currency), media_type=CSV)


async def _csv(entries: AsyncIterator[Sequence[Any]], currency: str) -> AsyncGenerator[bytes, None]:
    yield _cells([COLUMNS])
    async for page in entries:
        yield _cells([_line(entry, currency) for entry in page])


def _cells(rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)  # RFC 4180
    return text.getvalue().encode()


def _line(entry: Any, currency: str) -> tuple[Any, ...]:
    kind = entry["kind"]
    return (
        *(entry["seq"], time_of(entry["at_ms"]), time_of(entry["event_ms"]), KINDS[kind], entry["bucket"]),
        *(quantity(kind, entry["amount"]), quantity(kind, entry["after"]), entry["counter_account"], entry["why"]),
        *("" if entry[name] is None else money(entry[name]) for name in ("net", "tax")),
        *(currency, entry["subscriber"], entry["service"], entry["session"], entry["reason"], entry["reference"]),
        ";".join(f"{key}={text}" for key, text in tags.read(entry["tags"]).items()),
    )


OPERATIONS: Final = (
    Operation(
        "GET",
        "/v1/accounts/{id}/balance",
        get_balance,
        "What an account had at a past moment, and what was known of it at another one",
        "accounts.read",
        answer=PastBalance,
        query=PastQuery,
        problems=("not-found",),
        description="From PostgreSQL, which follows within a second.",
    ),
    Operation(
        "GET",
        "/v1/accounts/{id}/statement",
        get_statement,
        "A period of an account: opening, entries by reason, closing, tax",
        "accounts.read",
        answer=StatementView,
        query=StatementQuery,
        problems=("not-found",),
    ),
    Operation(
        "GET",
        "/v1/accounts/{id}/statement.csv",
        get_lines,
        "The entries of a period as CSV, with the time of posting and the time of use",
        "accounts.read",
        answer=str,
        answer_media_type=CSV,
        query=LinesQuery,
        problems=("not-found",),
        description="Any number of entries, as they are read.",
    ),
    Operation(
        "GET",
        "/v1/statement",
        get_customer_statement,
        "A period of all accounts of a customer: each, and together by currency",
        "accounts.read",
        answer=CustomerStatement,
        query=CustomerQuery,
        problems=("not-found",),
    ),
)
