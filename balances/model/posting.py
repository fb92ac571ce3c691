"""The posting frame: what every operation of the back office shares that moves amounts of one account, all or none,
once per key. Twin of lua/lib/posting.lua."""

from __future__ import annotations

import copy

from balances.model.account import AccountChange
from balances.model.kept import Appended, ModelStore
from balances.model.life import end_grace
from balances.model.thresholds import check_thresholds
from balances.packing import pack
from balances.structs.account import BUCKETS_MAX, MAIN, Bucket
from balances.structs.blob import FORMAT, blob_of, raw_of
from balances.structs.charge import Reply, Result
from balances.structs.posting import AccountOperation, PostingOutcome
from balances.structs.session import IdempotencyRecord
from tariffs.units import EXACT_MAX


def begin_posting(store: ModelStore, operation: AccountOperation) -> AccountChange | Reply:
    """The account to be changed, at its clock, what has expired gone; or the reply."""
    stored = store.accounts.get(operation.account)
    if stored is None:
        return Reply("absent")
    known = store.answers.get((operation.account, operation.key)) if operation.key else None
    if known is not None:
        if known.fingerprint != operation.fingerprint:
            return Reply("conflict")
        return Reply("again", blob_of(known.outcome))
    change = AccountChange(copy.deepcopy(stored), operation.now_ms)
    end_grace(change)
    change.expire_buckets()
    return change


def add_bucket(change: AccountChange, bucket: Bucket) -> Bucket | None:
    """A new bucket, in the place of an empty one where the account is full; None when there is none.

    bucket:  its id is given here
    """
    account = change.account
    if len(account.buckets) >= BUCKETS_MAX:
        for other in account.buckets:
            if other.id != MAIN and other.amount == 0 and other.held == 0:
                account.buckets.remove(other)
                break
    if len(account.buckets) >= BUCKETS_MAX:
        return None
    bucket.id = account.next_bucket
    account.next_bucket += 1
    account.buckets.append(bucket)
    return bucket


def refusal_of_move(change: AccountChange, bucket: Bucket, amount: int, *, own_only: bool, keeps_held: bool) -> Result:
    """Why an amount cannot be moved; OK when it can. Nobody takes what is held, but from the main bucket, which may go
    below zero: there own_only refuses what free own money does not cover, and everywhere what was given as bonus;
    keeps_held refuses what free own money and the credit limit do not cover."""
    is_main, free = bucket.id == MAIN, bucket.amount - bucket.held + amount
    if amount < 0 and own_only and bucket.bonus:
        return Result.CREDIT_LIMIT
    if amount < 0 and (own_only or not is_main) and free < 0:
        return Result.CREDIT_LIMIT
    if amount < 0 and keeps_held and is_main and free + change.account.credit_limit < 0:
        return Result.CREDIT_LIMIT
    if amount > change.room_in(bucket) or bucket.amount + amount < -EXACT_MAX:
        return Result.TOO_MUCH
    return Result.OK


def fill(bucket: Bucket) -> None:
    """What came in by a top-up, a transfer or with a new bucket: percentages are of what it has now (charging.md
    section 7)."""
    bucket.filled = max(bucket.amount, 0)


def end_posting(
    store: ModelStore, change: AccountChange, operation: AccountOperation, kind: str, result: Result
) -> Reply:
    """What all that was moved comes to: kept, or refused.

    result:  of all that was moved
    """
    if any(entry.amount > 0 for entry in change.entries):
        change.reauthorize = ["final"]
    balance = check_thresholds(change)
    entries = change.entries if result == Result.OK else []
    packed = pack(PostingOutcome(result, entries, balance, change.account.state))
    if result != Result.OK:
        return Reply("refused", packed)
    change.sort()
    return write_posting(store, change, operation, kind, packed)


def write_posting(
    store: ModelStore, change: AccountChange, operation: AccountOperation, kind: str, packed: bytes
) -> Reply:
    answer = None
    if operation.key:
        answer = IdempotencyRecord(FORMAT, operation.fingerprint, 0, True, raw_of(packed), takes=[], counted=[])
    record = change.change_record(
        kind,
        key=operation.key,
        fingerprint=operation.fingerprint,
        actor=operation.actor,
        reason=operation.reason,
        reference=operation.reference,
        once_key=operation.key,
        once_until_ms=change.now_ms + operation.remember_ms,
    )
    store.ledger.append(Appended(record, change.account, None, answer))
    store.accounts[operation.account] = change.account
    if answer is not None:
        store.answers[operation.account, operation.key] = answer
    if change.due_ms:
        store.look_by(operation.account, "", change.due_ms)
    return Reply("ok", packed)
