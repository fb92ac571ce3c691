"""Import: a file of accounts and subscribers, taken as it arrives and answered as it is done."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct
from starlette.requests import ClientDisconnect

from balances.ledger.reader import STORE_AWAY
from balances.ledger.writer import AWAY
from ocs.api.import_file import CSV, NDJSON, ImportFile
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.problems import TYPE, Problem, problem_of
from ocs.api.schema_import import ImportDone, ImportEvent, ImportProgress, ImportRefusal, ImportStopped
from ocs.backoffice.amounts import money
from ocs.backoffice.errors import BackOfficeError
from ocs.backoffice.imports import begun
from ocs.master.bulk import Import, ImportTotals
from ocs.stores.bounded_postgres import Away
from ocs.telemetry.log import logger

STOPS: Final[tuple[type[Exception], ...]] = (BackOfficeError, Problem, Away, *AWAY, *STORE_AWAY)
_encode: Final = msgspec.json.Encoder().encode


class ImportQuery(Struct, frozen=True, forbid_unknown_fields=True):
    check: bool = False
    """Only look: say what would be done, and change nothing."""
    errors: Annotated[int, Meta(ge=0, le=1_000_000)] = 1_000
    """How many lines that do not go in are named; the rest is counted. More than a few thousand only for who reads the
    answer while it sends."""


async def import_lines(call: ApiCall) -> ApiReply:
    """The answer begins with the first batch: what is wrong with the whole is refused before."""
    assert call.stream is not None
    file, may = ImportFile(call.stream, call.media_type, call.caller), call.authority.may("vouchers.write")
    try:
        await file.begin()
    except BackOfficeError:
        await file.drain()
        raise
    return ApiReply(_events(call, file, begun(call.backoffice, call.caller, vouchers=may)), media_type=NDJSON)


async def _events(call: ApiCall, file: ImportFile, work: Import) -> AsyncGenerator[bytes, None]:
    query: ImportQuery = call.query
    counts, not_shown = ImportTotals(given={}), 0
    try:
        async with contextlib.aclosing((work.check if query.check else work.run)(file.batches())) as batches:
            async for done in batches:
                shown = done.errors[: max(query.errors - (counts.errors - not_shown), 0)]
                not_shown += len(done.errors) - len(shown)
                counts = msgspec.structs.replace(done.totals, given=dict(done.totals.given))
                for line, why in shown:
                    yield _line(ImportRefusal(line, why.field, TYPE + why.kind, why.detail))
                yield _line(ImportProgress(**_counts(counts)))
    except ClientDisconnect:
        return  # nobody is there to read it; the lines before the cut are in, or come with the same file again
    except STOPS as why:
        logger().warning("import.stopped", why=repr(why))
        detail = f"{str(why) or type(why).__name__}; import the same file again, it goes on from here"
        yield _line(ImportStopped(**_counts(counts), problem=TYPE + _kind(why), detail=detail))
    except Exception:
        logger().exception("import.failed")
        yield _line(
            ImportStopped(**_counts(counts), problem=f"{TYPE}internal", detail="it is in the log of the server")
        )
    else:
        yield _line(ImportDone(**_counts(counts), checked=query.check, errors_not_shown=not_shown))


def _kind(why: Exception) -> str:
    match why:
        case Problem():
            return why.kind
        case BackOfficeError():
            return problem_of(why).kind
        case _:
            return "store-unavailable"


def _counts(counts: ImportTotals) -> dict[str, Any]:
    return msgspec.structs.asdict(counts) | {"given": {name: money(micro) for name, micro in counts.given.items()}}


def _line(event: ImportEvent) -> bytes:
    return _encode(event) + b"\n"


OPERATIONS: Final = (
    Operation(
        "POST",
        "/v1/import",
        import_lines,
        "Import accounts with what they begin with, and subscribers: a file of any length, line by line",
        "accounts.import",
        answer=ImportEvent,
        answer_media_type=NDJSON,
        body=bytes,
        streamed=True,
        body_bytes_max=1 << 50,
        media_types=(NDJSON, CSV),
        query=ImportQuery,
        description="A line goes in whole or not at all. What exists is never changed: a line that says the same counts"
        " as unchanged, one that says otherwise is an error of that line. The same file again changes nothing; after a"
        " cut it goes on where it ended. The answer is a JSON object per line as the work goes on, the last one `done`"
        " or `stopped`.",
    ),
)
