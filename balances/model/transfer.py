"""An amount from one bucket of an account to another one of the same kind, once per key. Twin of lua/transfer.lua."""

from __future__ import annotations

from balances.model.account import AccountChange
from balances.model.kept import ModelStore
from balances.model.posting import begin_posting, end_posting, fill, refusal_of_move
from balances.structs.charge import Reply, Result
from balances.structs.posting import Transfer
from balances.structs.record import CounterAccount


def transfer(store: ModelStore, transfer: Transfer) -> Reply:
    change = begin_posting(store, transfer)
    if isinstance(change, Reply):
        return change
    return end_posting(store, change, transfer, "transfer", move(change, transfer), tags=transfer.tags)


def move(change: AccountChange, transfer: Transfer) -> Result:
    amount = transfer.amount
    source, target = change.bucket_of(transfer.source), change.bucket_of(transfer.target)
    if source is None or target is None:
        return Result.NOT_FOUND
    if amount <= 0 or source is target or source.kind != target.kind:
        return Result.INVALID
    if 0 < target.until_ms <= change.now_ms:  # only there for what is held of it: what came into it would lapse at once
        return Result.NOT_FOUND
    for bucket, signed in ((source, -amount), (target, amount)):
        why = refusal_of_move(change, bucket, signed, own_only=True, keeps_held=True)
        if why != Result.OK:
            return why
        change.post_entry(bucket, signed, CounterAccount.TRANSIT, "transfer")
    fill(target)
    return Result.OK
