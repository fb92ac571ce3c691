"""Money given back: of an entry, a session or an event, never more than it cost (charging.md section 9)."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from balances import keys
from balances.ledger import refunds
from balances.ledger.restore import find_refundable
from balances.packing import pack
from balances.structs.account import MAIN
from balances.structs.blob import NO_BLOB, blob_of, raw_of
from balances.structs.charge import Action, Ask, Charge, Outcome, Phase, Result
from balances.structs.posting import Posting
from balances.structs.session import IdempotencyRecord
from ocs.api import schema
from ocs.api.desk import key_reused, settled
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.problems import Problem
from ocs.api.routes_accounts import MOVES, post_one
from ocs.api.texts import MoneyAboveZero, micro_of, money
from ocs.api.views import state_of
from ocs.master.accounts import AccountRow
from tariffs.units import EXACT_MAX, Kind

SessionId = Annotated[str, Meta(min_length=1, max_length=512)]


class OneTime(schema.Input, frozen=True):
    session: SessionId
    number: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 0
    """CC-Request-Number."""


class Refund(schema.Input, frozen=True):
    """One of entry, session and event says what is given back; anything else is an adjustment."""

    amount: MoneyAboveZero
    reason: schema.Reason
    entry: Annotated[int, Meta(ge=1, le=2**53)] | None = None
    """Number of the ledger entry that charged it."""
    session: SessionId | None = None
    """Of its incarnations, the newest that is not wholly given back."""
    event: OneTime | None = None
    reference: schema.Reference = ""


async def refund(call: ApiCall) -> ApiReply:
    body: Refund = call.body
    if [body.entry, body.session, body.event].count(None) != 2:
        raise Problem("invalid", "expected one of entry, session and event; without an original it is an adjustment")
    row = await call.desk.row(call.path["id"])
    amount = micro_of(body.amount, "amount")
    done = await call.desk.recall(row.id, call.key)
    if done is not None and done.fingerprint != call.fingerprint:  # before anything is granted to it
        raise key_reused()
    if body.event is not None:
        return await _of_event(call, row, body.event, amount, done)
    try:
        source = await refunds.grant(
            call.desk.pool,
            row.id,
            call.key,
            call.fingerprint,
            amount,
            seq=body.entry,
            sessions=keys.session_keys_of(body.session) if body.session else [],
        )
    except refunds.RefundRefused as why:
        raise Problem("unresolved", str(why)) from None
    if source is None:
        raise key_reused()
    posting = Posting(MAIN, Kind.MONEY, amount, "revenue", "refund", original=source.seq or 0)
    return await post_one(call, row, posting, body.reason, body.reference, own_only=False)


async def _of_event(
    call: ApiCall, row: AccountRow, event: OneTime, amount: int, done: IdempotencyRecord | None
) -> ApiReply:
    """By the way of REFUND_ACCOUNT, so that parts given back by either add up."""
    now_ms, desk = call.desk.now_ms(), call.desk
    if done is None:
        session, key, original = await _original(call, row, event)
        ask = Ask(-1, -1, Kind.MONEY, [], amount, 0, 0, 0, 0, NO_BLOB, 0)
        charge = Charge(
            *(row.id, "", session, "", Phase.EVENT, event.number, call.key, False, call.fingerprint, 0, False),
            *(now_ms, now_ms, EXACT_MAX, [ask], "", "", "api"),
            action=Action.REFUND,
            once_key=call.key,
            refund_of=key,
            original=raw_of(original),
            actor=call.caller,
            reason=call.body.reason,
            reference=call.body.reference,
        )
        outcome = msgspec.msgpack.decode(await desk.charge(row, charge), type=Outcome)
    else:
        outcome = msgspec.msgpack.decode(blob_of(done.outcome), type=Outcome)
    if outcome.lines[0].result != Result.OK:
        raise Problem("unresolved", "amount: more than is left of the event")
    account, _ = await desk.read(row)
    balance = sum(bucket.amount for bucket in settled(account, now_ms))
    return ApiReply(
        schema.PostingView(row.id, keys.idempotency_key(call.key), [], money(balance), state_of(account.state)), 201
    )


async def _original(call: ApiCall, row: AccountRow, event: OneTime) -> tuple[str, str, bytes]:
    """Session, once key and packed Once of the event; of several under its number the newest with something left, as
    for REFUND_ACCOUNT by Session-Id."""
    spent: tuple[str, str, bytes] | None = None
    for session in keys.session_keys_of(event.session):
        key = keys.event_key(session, event.number)
        once = await call.desk.recall(row.id, key)
        if once is not None and (once.units > 0 or once.cost > 0):
            return session, key, pack(once)
        found = await find_refundable(call.desk.pool, row.id, session, key)
        if found is not None:
            return session, *found
        if once is not None:
            spent = session, key, pack(once)
    if spent is not None:
        return spent
    raise Problem("unresolved", f"event: account {row.id} was charged for no such event in the last 30 days")


OPERATIONS: Final = (
    Operation(
        "POST",
        "/v1/accounts/{id}/refunds",
        refund,
        "Give back money that was charged for an entry, a session or an event",
        answer=schema.PostingView,
        status=201,
        body=Refund,
        keyed=True,
        problems=(*MOVES, "unresolved"),
        description="Parts add up to at most what it cost. Of an event the money goes back to what paid it, and the"
        " answer lists no entries.",
    ),
)
