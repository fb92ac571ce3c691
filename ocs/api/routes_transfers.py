"""Transfers between accounts (charging.md section 17)."""

from __future__ import annotations

import re
from typing import Annotated, Final

from msgspec import Meta, Struct

from balances.ledger.transfers import TransferState
from ocs import tags
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.routes_accounts import MOVES, order_of
from ocs.api.schema_transfers import Merging, TransferOrder, TransferPage, TransferView
from ocs.api.texts import time_or_none
from ocs.backoffice import merges, transfers
from ocs.backoffice.amounts import micro_of, money
from ocs.backoffice.errors import Invalid
from ocs.backoffice.merges import WantedMerge
from ocs.backoffice.transfers import TransferRow, WantedTransferOut

_BEFORE: Final = re.compile(r"(\d{1,16})-([0-9a-f]{24})")
NEWEST: Final = (2**62, "")


class TransfersQuery(Struct, frozen=True, forbid_unknown_fields=True):
    before: Annotated[str, Meta(max_length=64, description="`next` of the page before")] = ""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


def transfer_view(row: TransferRow) -> TransferView:
    return TransferView(
        id=row["id"],
        from_=row["source"],
        to=row["target"],
        amount=money(row["amount"]),
        currency=row["currency"],
        state=TransferState(row["state"]).name.lower(),  # type: ignore[arg-type]
        sent=time_or_none(row["sent_ms"] or 0),
        ended=time_or_none(row["ended_ms"] or 0),
        sent_seq=row["sent_seq"],
        ended_seq=row["ended_seq"],
        merge=row["merges"],
        actor=row["actor"],
        reason=row["reason"],
        reference=row["reference"],
        tags=tags.read(row["tags"]),
    )


async def send(call: ApiCall) -> ApiReply:
    body: TransferOrder = call.body
    wanted = WantedTransferOut(body.from_, body.to, micro_of(body.amount, "amount"))
    row = await transfers.send(call.backoffice, wanted, order_of(call, body.reason, body.reference))
    status = done_or_on_its_way(row)
    return ApiReply(transfer_view(row), status, headers={"Location": f"/v1/transfers/{row['id']}"})


def done_or_on_its_way(row: TransferRow) -> int:
    """The status of HTTP that says so."""
    return 201 if row["state"] == TransferState.RECEIVED else 202


async def merge(call: ApiCall) -> ApiReply:
    body: Merging = call.body
    order = order_of(call, body.reason, body.reference)
    row = await merges.merge(call.backoffice, WantedMerge(call.path["id"], body.into), order)
    done = row["state"] == TransferState.RECEIVED
    return ApiReply(transfer_view(row), 201 if done else 202, headers={"Location": f"/v1/transfers/{row['id']}"})


async def get_transfer(call: ApiCall) -> ApiReply:
    return ApiReply(transfer_view(await transfers.get(call.backoffice, call.path["transfer"])))


async def list_transfers(call: ApiCall) -> ApiReply:
    query: TransfersQuery = call.query
    before = NEWEST
    if query.before:
        found = _BEFORE.fullmatch(query.before)
        if found is None:
            raise Invalid("before", f"expected `next` of the page before, found {query.before!r}")
        before = (int(found[1]), found[2])
    rows = await transfers.of_account(call.backoffice, call.path["id"], before, query.limit)
    more = f"{rows[-1]['sent_ms']}-{rows[-1]['id']}" if len(rows) == query.limit else None
    return ApiReply(TransferPage([transfer_view(row) for row in rows], more))


OPERATIONS: Final = (
    Operation(
        "POST",
        "/v1/accounts/{id}/merge",
        merge,
        "Merge an account into another one: subscribers, money, buckets; then it is closed",
        "accounts.merge",
        answer=TransferView,
        status=201,
        also=(202,),
        body=Merging,
        examples={"two contracts become one": {"into": "demo-family", "reason": "married"}},
        keyed=True,
        problems=(*MOVES, "account-closed", "conflict", "transfer-returned"),
        description="Its subscribers move at once, and its open sessions end with it. What it has follows when nothing"
        " of it is held and the fees that end with it are settled: 201 when all is there, 202 while it waits or is on"
        " its way; `GET /v1/transfers/{transfer}` says so, and nobody is needed to go on. Limits that its subscribers"
        " share stay behind, those of a subscriber go with it and begin anew. One on its way is waited for: 409.",
    ),
    Operation(
        "POST",
        "/v1/transfers",
        send,
        "Transfer own money from one account to another one",
        "accounts.transfer",
        answer=TransferView,
        status=201,
        also=(202,),
        body=TransferOrder,
        keyed=True,
        problems=(*MOVES, "account-closed", "account-barred", "limit-passed", "transfer-returned", "unresolved"),
        description="What is held, bonus and credit cannot leave. 201: both legs are done. 202: the amount has left the"
        " one account and is on its way; it arrives, or comes back, without anybody's doing: ask at Location, or"
        " repeat the request. 409 transfer-returned: the other account did not take it, and all of it is back.",
    ),
    Operation(
        "GET",
        "/v1/transfers/{transfer}",
        get_transfer,
        "A transfer between accounts, and how far it is",
        "accounts.read",
        answer=TransferView,
        problems=("not-found",),
    ),
    Operation(
        "GET",
        "/v1/accounts/{id}/transfers",
        list_transfers,
        "Transfers from and to an account, the newest first",
        "accounts.read",
        answer=TransferPage,
        query=TransfersQuery,
        problems=("not-found",),
    ),
)
