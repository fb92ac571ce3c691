"""The copy to PostgreSQL: how far it is, what stopped it, and what a person decides about what cannot be copied."""

from __future__ import annotations

from typing import Final

from balances.ledger.quarantine import Held, QuarantinedRecord, QuarantineOutcome
from ocs.api import schema_ledger as schema
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.texts import time_of, time_or_none
from ocs.backoffice import ledger, quarantine, recovery
from ocs.backoffice.amounts import money, quantity


async def ledger_status(call: ApiCall) -> ApiReply:
    status = await ledger.copy_status(call.backoffice)
    return ApiReply(
        schema.LedgerStatus(
            lag_entries=status.lag,
            oldest=time_or_none(status.oldest_ms),
            stopped=status.stopped,
            shards=[schema.Shard(*shard) for shard in status.shards],
            quarantined=[_held(one) for one in status.quarantined],
            lost_answers=status.lost_answers,
            verified=None
            if (one := status.verified) is None
            else schema.LastProof(
                time_of(one.began_ms), time_of(one.ended_ms), one.by, one.accounts, one.entries, one.findings, one.text
            ),
        )
    )


async def resume_shard(call: ApiCall) -> ApiReply:
    body, shard = call.body, call.path["shard"]
    return ApiReply(
        schema.Resumed(
            await quarantine.resume(call.backoffice, shard, body.account or "", actor=call.caller, reason=body.reason)
        )
    )


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
        for row in await ledger.lost_answers(call.backoffice)
    ]
    return ApiReply(schema.LostAnswers(items))


async def accept_lost_answers(call: ApiCall) -> ApiReply:
    count = await ledger.accept_lost(call.backoffice, actor=call.caller, reason=call.body.reason)
    return ApiReply(schema.Accepted(count))


async def recover_ledger(call: ApiCall) -> ApiReply:
    body = call.body
    done = await recovery.recover(call.backoffice, actor=call.caller, reason=body.reason, dry_run=body.dry_run)
    found = done.master
    return ApiReply(
        schema.LedgerRecovery(
            dry_run=done.dry_run,
            changes=done.changes,
            copied=done.copied,
            gaps=done.gaps,
            orphaned=done.orphaned,
            answers=done.answers,
            voucher_claims=done.claims,
            refund_grants=done.grants,
            transfer_legs=done.legs,
            legs_by_hand=done.legs_by_hand,
            accounts=found.accounts,
            subscribers=found.subscribers,
            tariffs=found.tariffs,
            rates=found.rates,
            without_profile=found.without_profile,
            fees_stopped=found.fees_stopped,
        )
    )


async def list_quarantine(call: ApiCall) -> ApiReply:
    return ApiReply(schema.Quarantine([_held(one) for one in await quarantine.held(call.backoffice)]))


async def get_quarantined(call: ApiCall) -> ApiReply:
    found = await quarantine.kept(call.backoffice, call.path["account"])
    return ApiReply(schema.KeptRecords([_kept(one) for one in found]))


async def replay_quarantined(call: ApiCall) -> ApiReply:
    account = call.path["account"]
    return _settled(
        account, await quarantine.replay(call.backoffice, account, actor=call.caller, reason=call.body.reason)
    )


async def confirm_quarantined(call: ApiCall) -> ApiReply:
    account = call.path["account"]
    return _settled(
        account, await quarantine.confirm(call.backoffice, account, actor=call.caller, reason=call.body.reason)
    )


def _settled(account: str, done: QuarantineOutcome) -> ApiReply:
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
        "ledger.read",
        answer=schema.LedgerStatus,
    ),
    Operation(
        "POST",
        "/v1/ledger/shards/{shard}/resume",
        resume_shard,
        "Copy a stopped shard again, after a person has looked",
        "ledger.repair",
        body=schema.Resume,
        answer=schema.Resumed,
        problems=("not-found", "conflict"),
    ),
    Operation(
        "POST",
        "/v1/ledger/recovery",
        recover_ledger,
        "PostgreSQL was put back from a backup: bring back what the live store still has",
        "ledger.repair",
        body=schema.RecoverLedger,
        answer=schema.LedgerRecovery,
        problems=("conflict",),
        description="Requests are refused for a moment, until every shard is opened anew. It may be repeated.",
    ),
    Operation(
        "GET",
        "/v1/ledger/lost",
        list_lost,
        "Answers that were acknowledged and are in no store since the live one came back",
        "ledger.read",
        answer=schema.LostAnswers,
    ),
    Operation(
        "POST",
        "/v1/ledger/lost/accept",
        accept_lost_answers,
        "A person has taken note of them: they are no finding of the proof any more",
        "ledger.repair",
        body=schema.QuarantineDecision,
        answer=schema.Accepted,
    ),
    Operation(
        "GET",
        "/v1/ledger/quarantine",
        list_quarantine,
        "Accounts whose records cannot be copied, and which are not restored until a person has decided",
        "ledger.read",
        answer=schema.Quarantine,
    ),
    Operation(
        "GET",
        "/v1/ledger/quarantine/{account}",
        get_quarantined,
        "The records of an account in quarantine, in order",
        "ledger.read",
        answer=schema.KeptRecords,
        problems=("not-found",),
    ),
    Operation(
        "POST",
        "/v1/ledger/quarantine/{account}/replay",
        replay_quarantined,
        "The cause is mended: copy the records as they are, all or none",
        "ledger.repair",
        body=schema.QuarantineDecision,
        answer=schema.SettledRecords,
        problems=("conflict",),
    ),
    Operation(
        "POST",
        "/v1/ledger/quarantine/{account}/confirm",
        confirm_quarantined,
        "They stay broken: post what they did to the balances as `recovered`",
        "ledger.repair",
        body=schema.QuarantineDecision,
        answer=schema.SettledRecords,
        problems=("conflict",),
    ),
)
