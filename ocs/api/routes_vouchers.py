"""Vouchers: batches of codes, and their redemption (docs/vouchers.md)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from balances import keys
from ocs.api import schema_vouchers as schema
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.routes_accounts import MOVES, order_of
from ocs.api.schema import After, Id
from ocs.api.texts import ms_of, time_of, time_or_none
from ocs.api.views import posted_view
from ocs.backoffice import subscribers, vouchers
from ocs.backoffice.amounts import KIND_OF, KINDS, amount_of, quantity
from ocs.backoffice.errors import Invalid, NotFound
from ocs.backoffice.vouchers import WantedRedemption
from ocs.master.voucher_codes import IMPORTED_MAX, CodeAlphabet, length_for
from ocs.master.vouchers import BatchRow, VoucherBatch, VoucherRow
from tariffs.units import Kind

NDJSON: Final = "application/x-ndjson"


class BatchesQuery(Struct, frozen=True, forbid_unknown_fields=True):
    after: After = ""
    limit: Annotated[int, Meta(ge=1, le=100)] = 50


class VouchersQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Those of a batch by their serial numbers, or those that an account redeemed, the newest first."""

    batch: Id | None = None
    account: Id | None = None
    after: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


async def put_batch(call: ApiCall) -> ApiReply:
    made = await vouchers.make_batch(call.backoffice, batch_of(call.path["id"], call.body), call.caller)
    return ApiReply(await _batch_view(call, made))


def batch_of(id_: str, body: schema.VoucherBatchPut) -> VoucherBatch:
    """Raises Invalid."""
    kind, alphabet = KIND_OF[body.kind], CodeAlphabet(body.codes)
    if (body.currency is not None) != (kind == Kind.MONEY):
        raise Invalid("currency", "needed for money, and only there")
    if alphabet is CodeAlphabet.IMPORTED and body.length is not None:
        raise Invalid("length", "imported codes have their own")
    made_here = IMPORTED_MAX if alphabet is CodeAlphabet.IMPORTED else length_for(alphabet)
    return VoucherBatch(
        id=id_,
        kind=kind,
        amount=amount_of(body.amount, kind, "amount"),
        currency=body.currency or "",
        valid_for_s=body.valid_for_s,
        from_first_use=body.from_first_use,
        priority=body.priority,
        scope=body.scope,
        name=body.name,
        expires_ms=ms_of(body.expires, "expires"),
        alphabet=alphabet,
        length=body.length or made_here,
        count=body.count,
        reference=body.reference,
        offer=body.offer or "",
    )


async def get_batch(call: ApiCall) -> ApiReply:
    return ApiReply(await _batch_view(call, await vouchers.batch_of(call.backoffice, call.path["id"])))


async def list_batches(call: ApiCall) -> ApiReply:
    query: BatchesQuery = call.query
    rows = await vouchers.batches(call.backoffice, query.after, query.limit)
    items = [await _batch_view(call, row) for row in rows]
    return ApiReply(schema.VoucherBatchPage(items, items[-1].id if len(items) == query.limit else None))


async def put_batch_state(call: ApiCall) -> ApiReply:
    body = call.body
    row = await vouchers.set_state(call.backoffice, call.path["id"], body.state, takes_back=body.take_back)
    return ApiReply(await _batch_view(call, row))


async def import_codes(call: ApiCall) -> ApiReply:
    row, known = await vouchers.take_in(call.backoffice, call.path["id"], call.body.codes)
    return ApiReply(schema.CodesImported(row["id"], row["made"], known))


async def export_codes(call: ApiCall) -> ApiReply:
    lots = await vouchers.exported(call.backoffice, call.path["id"], call.caller)
    return ApiReply(_lines(lots), media_type=NDJSON)


async def _lines(lots: AsyncIterator[list[tuple[int, str]]]) -> AsyncGenerator[bytes, None]:
    async for lot in lots:
        yield b"".join(msgspec.json.encode(schema.ExportedCode(*one)) + b"\n" for one in lot)


async def _batch_view(call: ApiCall, row: BatchRow) -> schema.VoucherBatchView:
    report = await vouchers.report(call.backoffice, row)
    kind = row["kind"]
    return schema.VoucherBatchView(
        id=row["id"],
        state="moved" if row["moved_ms"] is not None else row["state"],
        kind=KINDS[kind],
        amount=quantity(kind, row["amount"]),
        currency=row["currency"] or None,
        valid_for_s=row["valid_for_s"],
        from_first_use=row["from_first_use"],
        priority=row["priority"],
        scope=row["scope"],
        name=row["name"],
        expires=time_or_none(row["expires_ms"] or 0),
        codes=row["alphabet"],
        length=row["length"],
        count=row["count"],
        made=row["made"],
        redeemed=report.redeemed,
        credited=report.credited,
        blocked=report.blocked,
        outstanding=report.outstanding,
        redeemed_value=quantity(kind, report.redeemed * row["amount"]),
        outstanding_value=quantity(kind, report.outstanding * row["amount"]),
        reference=row["reference"],
        offer=row["offer"] or None,
        created=time_of(row["created_ms"]),
        created_by=row["created_by"],
        exported=time_or_none(row["exported_ms"] or 0),
    )


# --- single vouchers


async def list_vouchers(call: ApiCall) -> ApiReply:
    query: VouchersQuery = call.query
    if (query.batch is None) == (query.account is None):
        raise Invalid("batch", "expected it, or an account, and not both")
    if query.batch is not None:
        rows = await vouchers.of_batch(call.backoffice, query.batch, query.after, query.limit)
        following = rows[-1]["serial"] if len(rows) == query.limit else None
    else:
        rows, following = await vouchers.redeemed_by(call.backoffice, query.account or "", query.limit), None
    return ApiReply(schema.VoucherPage([_voucher_view(call, row) for row in rows], following))


async def get_voucher(call: ApiCall) -> ApiReply:
    return ApiReply(_voucher_view(call, await vouchers.voucher_of(call.backoffice, call.path["id"], _serial(call))))


async def find_voucher(call: ApiCall) -> ApiReply:
    return ApiReply(_voucher_view(call, await vouchers.voucher_with(call.backoffice, call.body.code)))


async def block_voucher(call: ApiCall) -> ApiReply:
    return await _blocked(call, blocked=True)


async def unblock_voucher(call: ApiCall) -> ApiReply:
    return await _blocked(call, blocked=False)


async def _blocked(call: ApiCall, *, blocked: bool) -> ApiReply:
    changed = await vouchers.block(call.backoffice, call.path["id"], _serial(call), blocked=blocked)
    return ApiReply(_voucher_view(call, changed))


def _serial(call: ApiCall) -> int:
    text = call.path["serial"]
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise Invalid("serial", f"a number, found {text!r}")
    return int(text)


def _voucher_view(call: ApiCall, row: VoucherRow) -> schema.VoucherView:
    return schema.VoucherView(
        batch=row["batch"],
        serial=row["serial"],
        state=vouchers.state_of(row, call.backoffice.now_ms()),  # type: ignore[arg-type]
        kind=KINDS[row["kind"]],
        amount=quantity(row["kind"], row["amount"]),
        currency=row["currency"] or None,
        expires=time_or_none(row["expires_ms"] or 0),
        account=row["account"],
        redeemed=time_or_none(row["claimed_ms"] or 0),
        redeemed_by=row["claimed_by"],
        source=row["source"] or None,
        reference=row["reference"] or None,
        credited=time_or_none(row["credited_ms"] or 0),
        entry=row["seq"],
    )


async def redeem_voucher(call: ApiCall) -> ApiReply:
    body: schema.Redemption = call.body
    account = await _account(call, body)
    order = order_of(call, "voucher", body.reference)
    row, claim, outcome = await vouchers.redeem(
        call.backoffice, WantedRedemption(body.code, account, body.source), order
    )
    posting = posted_view(row.id, keys.idempotency_key(call.key), outcome)
    amount = quantity(claim["kind"], claim["amount"])
    return ApiReply(schema.RedemptionView(claim["batch"], claim["serial"], amount, KINDS[claim["kind"]], posting), 201)


async def _account(call: ApiCall, body: schema.Redemption) -> str:
    if [body.account, body.subscriber, body.identity].count(None) != 2:
        raise Invalid("account", "expected exactly one of account, subscriber and identity")
    if body.account is not None:
        return body.account
    if body.subscriber is not None:
        return (await subscribers.get(call.backoffice, body.subscriber)).account
    found = await subscribers.by_identity(call.backoffice, body.identity or "")
    if found is None:
        raise NotFound(f"there is no subscriber {body.identity}")
    return found.account


BATCH: Final = "/v1/voucher-batches/{id}"
VOUCHER: Final = f"{BATCH}/vouchers/{{serial}}"

OPERATIONS: Final = (
    Operation(
        "PUT",
        BATCH,
        put_batch,
        "Make a batch of vouchers and their codes",
        "vouchers.write",
        answer=schema.VoucherBatchView,
        body=schema.VoucherBatchPut,
        problems=("conflict",),
        description="A batch is made once and never changed; the same PUT again goes on where the first was cut off."
        " Its vouchers are worth nothing before it is activated.",
    ),
    Operation(
        "GET",
        BATCH,
        get_batch,
        "A batch, with what became of it",
        "vouchers.read",
        answer=schema.VoucherBatchView,
        problems=("not-found",),
    ),
    Operation(
        "GET",
        "/v1/voucher-batches",
        list_batches,
        "All batches: made, redeemed and outstanding, in numbers and in value",
        "vouchers.read",
        answer=schema.VoucherBatchPage,
        query=BatchesQuery,
    ),
    Operation(
        "PUT",
        f"{BATCH}/state",
        put_batch_state,
        "Activate a batch, block it, unblock it",
        "vouchers.write",
        answer=schema.VoucherBatchView,
        body=schema.BatchStatePut,
        problems=("not-found", "conflict"),
    ),
    Operation(
        "POST",
        f"{BATCH}/import",
        import_codes,
        "Take in codes that were made elsewhere",
        "vouchers.write",
        answer=schema.CodesImported,
        body=schema.CodesToImport,
        problems=("not-found", "conflict"),
        description="Of a batch of imported codes. The same codes again are passed over.",
    ),
    Operation(
        "POST",
        f"{BATCH}/export",
        export_codes,
        "The plain codes, once: afterwards nobody has them",
        "vouchers.export",
        answer=schema.ExportedCode,
        streamed=True,
        answer_media_type=NDJSON,
        problems=("not-found", "conflict", "forgotten"),
        description="A line of JSON for each. When all were taken they are kept no more; who was cut off may begin"
        " again.",
    ),
    Operation(
        "GET",
        VOUCHER,
        get_voucher,
        "A voucher by its serial number",
        "vouchers.read",
        answer=schema.VoucherView,
        problems=("not-found",),
    ),
    Operation(
        "POST",
        f"{VOUCHER}/block",
        block_voucher,
        "Block a voucher",
        "vouchers.write",
        answer=schema.VoucherView,
        problems=("not-found", "conflict"),
    ),
    Operation(
        "POST",
        f"{VOUCHER}/unblock",
        unblock_voucher,
        "Unblock a voucher",
        "vouchers.write",
        answer=schema.VoucherView,
        problems=("not-found", "conflict"),
    ),
    Operation(
        "GET",
        "/v1/vouchers",
        list_vouchers,
        "Vouchers of a batch, or what an account redeemed",
        "vouchers.read",
        answer=schema.VoucherPage,
        query=VouchersQuery,
        problems=("not-found",),
    ),
    Operation(
        "POST",
        "/v1/vouchers/find",
        find_voucher,
        "The voucher that has a code, for a care desk; nothing is redeemed",
        "vouchers.read",
        answer=schema.VoucherView,
        body=schema.CodeToFind,
        problems=("not-found",),
    ),
    Operation(
        "POST",
        "/v1/vouchers/redeem",
        redeem_voucher,
        "Redeem a voucher: its value goes to the account, once",
        "vouchers.redeem",
        answer=schema.RedemptionView,
        status=201,
        body=schema.Redemption,
        keyed=True,
        problems=(*MOVES, "account-closed", "conflict", "locked-out"),
        description="Wrong codes are counted for the account and for the source; too many lock it out for a while"
        " (429).",
    ),
)
