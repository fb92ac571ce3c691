"""Export: all accounts and subscribers, and vouchers, as an import takes them in, written as they are read."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Annotated, Final, NamedTuple

from msgspec import Struct

from ocs.api.export_lines import account_line, as_csv, as_ndjson, csv_header, subscriber_line, voucher_line
from ocs.api.import_file import CSV, NDJSON
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.schema_import import ImportLine
from ocs.backoffice import exports
from ocs.backoffice.errors import Invalid
from ocs.patterns import looks

_AFTER: Final = re.compile(r"(account|subscriber|vouchers):([^/]+)(?:/([0-9]+))?")
Write = Callable[[Sequence[ImportLine]], bytes]


class ExportQuery(Struct, frozen=True, forbid_unknown_fields=True):
    passwords: bool = False
    """With the passwords of subscribers as they are kept; needs a permission of its own."""
    vouchers: bool = False
    """With batches of vouchers; needs a permission of its own. NDJSON only."""
    after: Annotated[
        str,
        looks(
            "((account|subscriber):[A-Za-z0-9._:@+-]{1,64}|vouchers:[A-Za-z0-9._:@+-]{1,64}/[0-9]{1,10})?",
            "account:ID, subscriber:ID or vouchers:BATCH/FIRST of the last line",
            description="Go on after this line: account:ID, subscriber:ID or vouchers:BATCH/FIRST (0: of the line of"
            " the batch itself). All accounts come before all subscribers, and these before all vouchers.",
        ),
    ] = ""


async def export_ndjson(call: ApiCall) -> ApiReply:
    return ApiReply(_written(call, _from(call), as_ndjson, b""), media_type=NDJSON)


async def export_csv(call: ApiCall) -> ApiReply:
    if call.query.vouchers:
        raise Invalid("vouchers", "only in NDJSON: no row of CSV could say them")
    begin = _from(call)
    return ApiReply(_written(call, begin, as_csv, b"" if begin.after else csv_header()), media_type=CSV)


class ExportBegin(NamedTuple):
    """Of what it goes on, and after which line."""

    kind: str
    after: str
    """Id of it."""
    first: int
    """Of vouchers, serial number of the first in that line."""


def _from(call: ApiCall) -> ExportBegin:
    query: ExportQuery = call.query
    if query.passwords:
        call.require("passwords.export")
    if query.vouchers:
        call.require("vouchers.export")
    if not query.after:
        return ExportBegin("account", "", 0)
    found = _AFTER.fullmatch(query.after)
    if found is None or (found[1] == "vouchers") != (found[3] is not None):
        raise Invalid("after", f"expected account:ID, subscriber:ID or vouchers:BATCH/FIRST, found {query.after!r}")
    if found[1] == "vouchers" and not query.vouchers:
        raise Invalid("after", "expected vouchers=true: this line is of vouchers")
    return ExportBegin(found[1], found[2], min(int(found[3] or 0), 2**31 - 1))


async def _written(call: ApiCall, begin: ExportBegin, write: Write, head: bytes) -> AsyncGenerator[bytes, None]:
    kind, after, first = begin
    if head:
        yield head
    if kind == "account":
        async for accounts in exports.all_accounts(call.backoffice, after):
            yield write([account_line(one, call.backoffice.now_ms()) for one in accounts])
        kind, after = "subscriber", ""
    if kind == "subscriber":
        async for people in exports.all_subscribers(call.backoffice, after, passwords=call.query.passwords):
            yield write([subscriber_line(one) for one in people])
        after = ""
    if call.query.vouchers:
        async for row, lot in exports.all_vouchers(call.backoffice, after, first):
            yield write([voucher_line(row, lot)])


ABOUT: Final = (
    "Written as it is read, so it is of no one instant; any length, in little memory. An answer that is cut goes on"
    " with `after`. What sessions hold is in the balances; sessions and entries are not in it."
)
OPERATIONS: Final = (
    Operation(
        "GET",
        "/v1/export",
        export_ndjson,
        "All accounts with what they have, and all subscribers, as an import takes them: NDJSON",
        "accounts.export",
        answer=ImportLine,
        answer_media_type=NDJSON,
        query=ExportQuery,
        description=ABOUT,
    ),
    Operation(
        "GET",
        "/v1/export.csv",
        export_csv,
        "The same as CSV; what no cell can say is JSON in its cell",
        "accounts.export",
        answer=str,
        answer_media_type=CSV,
        query=ExportQuery,
        description=ABOUT,
    ),
)
