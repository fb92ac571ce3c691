"""The ledger as a whole: its proof, and Redis filled from it."""

from __future__ import annotations

from typing import Final

from ocs.api import schema
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.backoffice import ledger
from ocs.backoffice.amounts import money


async def verify_ledger(call: ApiCall) -> ApiReply:
    report = await ledger.verify(call.backoffice, call.caller)
    return ApiReply(
        schema.Proof(
            sound=report.sound,
            accounts=report.accounts,
            absent=report.absent,
            entries=report.entries,
            dropped=report.dropped,
            recovered=report.recovered,
            orphaned=report.orphaned,
            sums={
                name: {book: money(sum_) if name.isupper() else str(sum_) for book, sum_ in books.items()}
                for name, books in report.sums.items()
            },
            findings=[schema.FindingView(found.what, found.account, found.detail) for found in report.findings],
        )
    )


async def rebuild_store(call: ApiCall) -> ApiReply:
    return ApiReply(schema.Rebuilt(await ledger.rebuild(call.backoffice)))


OPERATIONS: Final = (
    Operation(
        "POST",
        "/v1/ledger/verify",
        verify_ledger,
        "Prove the ledger: every entry, balance and hold, all sums",
        "ledger.verify",
        answer=schema.Proof,
        problems=("conflict",),
        description="Looks at every account, beside the traffic: it may take minutes.",
    ),
    Operation(
        "POST",
        "/v1/ledger/rebuild",
        rebuild_store,
        "Bring every account into Redis that only PostgreSQL has",
        "ledger.verify",
        answer=schema.Rebuilt,
        problems=("conflict",),
    ),
)
