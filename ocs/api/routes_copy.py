"""The copy to PostgreSQL: how far it is, what stopped it, and what a person decides about what cannot be copied."""

from __future__ import annotations

from typing import Final

from balances import keys
from balances.ledger import quarantine
from balances.ledger.quarantine import Held, NotSettled, QuarantinedRecord, QuarantineOutcome
from balances.ledger.reader import StreamReader
from balances.ledger.writer import read_cursors
from ocs.api import schema_ledger as schema
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.problems import Problem
from ocs.api.texts import money, time_of, time_or_none
from ocs.api.views import quantity
from ocs.stores.witness import accept_lost, lost_answers
from ocs.telemetry.log import logger


async def ledger_status(call: ApiCall) -> ApiReply:
    desk = call.desk
    cursors = await read_cursors(desk.pool)
    reader = StreamReader(desk.redis)
    _, heads = await reader.heads(range(keys.SHARDS))
    shards = []
    for shard, cursor in sorted(cursors.at.items()):
        lag = await reader.lag({shard: cursor}, heads) if heads[shard] > cursor else None
        entries = lag.entries if lag is not None else 0
        shards.append(schema.Shard(shard, str(cursor), str(heads[shard]), entries, cursors.stopped.get(shard, "")))
    whole = await reader.lag(cursors.at, heads)
    return ApiReply(
        schema.LedgerStatus(
            lag_entries=whole.entries,
            oldest=time_or_none(whole.oldest_ms),
            stopped=len(cursors.stopped),
            shards=shards,
            quarantined=[_held(one) for one in await quarantine.held(desk.pool)],
            lost_answers=await desk.pool.fetchval("SELECT count(*) FROM lost_answers WHERE accepted_at IS NULL"),
        )
    )


async def resume_shard(call: ApiCall) -> ApiReply:
    number = call.path["shard"]
    if not (number.isascii() and number.isdecimal()) or int(number) >= keys.SHARDS:
        raise Problem("not-found", f"there is no shard {number}")
    account, reason = call.body.account or "", call.body.reason
    try:
        await quarantine.resume(
            call.desk.pool, call.desk.redis, int(number), account=account, reason=reason, actor=call.caller
        )
    except NotSettled as why:
        raise Problem("conflict", str(why)) from None
    logger().warning("ledger.resumed", shard=int(number), account=account, by=call.caller, reason=reason)
    return ApiReply(schema.Resumed(int(number)))


async def list_lost(call: ApiCall) -> ApiReply:
    items = [
        schema.LostAnswer(
            account=row["account"],
            session=row["session"],
            request_key=row["request_key"],
            time=time_of(row["at_ms"]),
            currency=row["currency"],
            cost=money(row["cost"]),
            found=time_of(row["found_ms"]),
        )
        for row in await lost_answers(call.desk.pool)
    ]
    return ApiReply(schema.LostAnswers(items))


async def accept_lost_answers(call: ApiCall) -> ApiReply:
    count = await accept_lost(call.desk.pool, actor=call.caller, reason=call.body.reason)
    logger().warning("ledger.lost_accepted", count=count, by=call.caller, reason=call.body.reason)
    return ApiReply(schema.Accepted(count))


async def list_quarantine(call: ApiCall) -> ApiReply:
    return ApiReply(schema.Quarantine([_held(one) for one in await quarantine.held(call.desk.pool)]))


async def get_quarantined(call: ApiCall) -> ApiReply:
    found = await quarantine.kept(call.desk.pool, call.path["account"])
    if not found:
        raise Problem("not-found", f"account {call.path['account']} is not in quarantine")
    return ApiReply(schema.KeptRecords([_kept(one) for one in found]))


async def replay_quarantined(call: ApiCall) -> ApiReply:
    account = call.path["account"]
    try:
        done = await quarantine.replay(call.desk.pool, account, actor=call.caller, reason=call.body.reason)
    except NotSettled as why:
        raise Problem("conflict", str(why)) from None
    return _settled(call, account, done)


async def confirm_quarantined(call: ApiCall) -> ApiReply:
    account = call.path["account"]
    try:
        done = await quarantine.confirm(
            call.desk.pool, call.desk.redis, account, actor=call.caller, reason=call.body.reason
        )
    except NotSettled as why:
        raise Problem("conflict", str(why)) from None
    return _settled(call, account, done)


def _settled(call: ApiCall, account: str, done: QuarantineOutcome) -> ApiReply:
    logger().warning("ledger.settled", account=account, by=call.caller, **done._asdict())
    return ApiReply(schema.SettledRecords(account, *done))


def _held(one: Held) -> schema.HeldAccount:
    return schema.HeldAccount(one.account, one.shard, one.records, one.first, one.why, time_of(one.since_ms))


def _kept(one: QuarantinedRecord) -> schema.KeptRecord:
    entries = [
        schema.KeptEntry(entry.seq, entry.bucket, quantity(entry.kind, entry.amount), quantity(entry.kind, entry.after))
        for entry in one.entries
    ]
    return schema.KeptRecord(one.id, one.kind, time_or_none(one.at_ms), one.session, one.why, entries)


OPERATIONS: Final = (
    Operation(
        "GET",
        "/v1/ledger/status",
        ledger_status,
        "How far PostgreSQL is behind the live store, what is stopped, who is in quarantine",
        answer=schema.LedgerStatus,
    ),
    Operation(
        "POST",
        "/v1/ledger/shards/{shard}/resume",
        resume_shard,
        "Copy a stopped shard again, after a person has looked",
        body=schema.Resume,
        answer=schema.Resumed,
        problems=("not-found", "conflict"),
    ),
    Operation(
        "GET",
        "/v1/ledger/lost",
        list_lost,
        "Answers that were acknowledged and are in no store since the live one came back",
        answer=schema.LostAnswers,
    ),
    Operation(
        "POST",
        "/v1/ledger/lost/accept",
        accept_lost_answers,
        "A person has taken note of them: they are no finding of the proof any more",
        body=schema.QuarantineDecision,
        answer=schema.Accepted,
    ),
    Operation(
        "GET",
        "/v1/ledger/quarantine",
        list_quarantine,
        "Accounts whose records cannot be copied, and which are not restored until a person has decided",
        answer=schema.Quarantine,
    ),
    Operation(
        "GET",
        "/v1/ledger/quarantine/{account}",
        get_quarantined,
        "The records of an account in quarantine, in order",
        answer=schema.KeptRecords,
        problems=("not-found",),
    ),
    Operation(
        "POST",
        "/v1/ledger/quarantine/{account}/replay",
        replay_quarantined,
        "The cause is mended: copy the records as they are, all or none",
        body=schema.QuarantineDecision,
        answer=schema.SettledRecords,
        problems=("conflict",),
    ),
    Operation(
        "POST",
        "/v1/ledger/quarantine/{account}/confirm",
        confirm_quarantined,
        "They stay broken: post what they did to the balances as `recovered`",
        body=schema.QuarantineDecision,
        answer=schema.SettledRecords,
        problems=("conflict",),
    ),
)
