"""Export: all accounts and subscribers, as an import takes them in, written as they are read."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Annotated, Final

from msgspec import Struct

from ocs.api.export_lines import account_line, as_csv, as_ndjson, csv_header, subscriber_line
from ocs.api.import_file import CSV, NDJSON
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.schema_import import ImportLine
from ocs.backoffice import exports
from ocs.backoffice.errors import Invalid
from ocs.patterns import looks

_AFTER: Final = re.compile(r"(account|subscriber):(.+)")
Write = Callable[[Sequence[ImportLine]], bytes]


class ExportQuery(Struct, frozen=True, forbid_unknown_fields=True):
    passwords: bool = False
    """With the passwords of subscribers as they are kept; needs a permission of its own."""
    after: Annotated[
        str,
        looks(
            "((account|subscriber):[A-Za-z0-9._:@+-]{1,64})?",
            "account:ID or subscriber:ID of the last line",
            description="Go on after this line: account:ID or subscriber:ID. All accounts come before all subscribers.",
        ),
    ] = ""


async def export_ndjson(call: ApiCall) -> ApiReply:
    return ApiReply(_written(call, *_from(call), as_ndjson, b""), media_type=NDJSON)


async def export_csv(call: ApiCall) -> ApiReply:
    kind, after = _from(call)
    return ApiReply(_written(call, kind, after, as_csv, b"" if after else csv_header()), media_type=CSV)


def _from(call: ApiCall) -> tuple[str, str]:
    """Of what it goes on, and after which id."""
    query: ExportQuery = call.query
    if query.passwords:
        call.require("passwords.export")
    if not query.after:
        return "account", ""
    found = _AFTER.fullmatch(query.after)
    if found is None:
        raise Invalid("after", f"expected account:ID or subscriber:ID, found {query.after!r}")
    return found[1], found[2]


async def _written(call: ApiCall, kind: str, after: str, write: Write, head: bytes) -> AsyncGenerator[bytes, None]:
    if head:
        yield head
    if kind == "account":
        async for accounts in exports.all_accounts(call.backoffice, after):
            yield write([account_line(one, call.backoffice.now_ms()) for one in accounts])
        after = ""
    async for people in exports.all_subscribers(call.backoffice, after, passwords=call.query.passwords):
        yield write([subscriber_line(one) for one in people])


ABOUT: Final = (
    "Written as it is read, so it is of no one instant; any length, in little memory. An answer that is cut goes on"
    " with `after`. What sessions hold is in the balances; sessions, entries and vouchers are not in it."
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
