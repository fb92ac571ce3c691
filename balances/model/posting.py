"""The posting frame: what every operation of the back office shares that moves amounts of one account, all or none,
once per key. Twin of lua/lib/posting.lua."""

from __future__ import annotations

import copy

from balances.model.account import AccountChange, whole_of
from balances.model.kept import Appended, ModelStore
from balances.model.life import end_grace
from balances.model.thresholds import check_thresholds
from balances.packing import pack
from balances.structs.account import BUCKETS_MAX, MAIN, Bucket, SuspendReasons
from balances.structs.blob import FORMAT, blob_of, raw_of
from balances.structs.charge import Reply, Result
from balances.structs.posting import AccountOperation, BucketExtension, Post, PostingOutcome
from balances.structs.record import CounterAccount, Record
from balances.structs.session import IdempotencyRecord
from tariffs.ladder import Counted
from tariffs.units import EXACT_MAX, Kind


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


def drop_spent(buckets: list[Bucket]) -> None:
    """The first bucket that has nothing, holds nothing and blocks nothing makes room, with its units or money where
    these have nothing either."""
    wholes: dict[int, list[Bucket]] = {}
    for bucket in buckets:
        wholes.setdefault(whole_of(bucket), []).append(bucket)
    for whole, parts in wholes.items():
        if whole != MAIN and not any(part.amount or part.held or part.blocker for part in parts):
            buckets[:] = [bucket for bucket in buckets if whole_of(bucket) != whole]
            return


def add_bucket(change: AccountChange, bucket: Bucket) -> Bucket | None:
    """A new bucket, in the place of an empty one where the account is full; None when there is none.

    bucket:  its id is given here
    """
    account = change.account
    if len(account.buckets) >= BUCKETS_MAX:
        drop_spent(account.buckets)
    if len(account.buckets) >= BUCKETS_MAX:
        return None
    bucket.id = account.next_bucket
    account.next_bucket += 1
    account.buckets.append(bucket)
    return bucket


def refusal_of_move(
    change: AccountChange,
    bucket: Bucket,
    amount: int,
    *,
    own_only: bool,
    keeps_held: bool,
    permits_debt: bool = False,
) -> Result:
    """Why an amount cannot be moved; OK when it can. Nobody takes what is held, but from the main bucket, which may go
    below zero: there own_only refuses what free own money does not cover, and everywhere what was given as bonus;
    keeps_held refuses what free own money and the credit limit do not cover, with permits_debt only while some of it is
    held."""
    is_main, free = bucket.id == MAIN, bucket.amount - bucket.held + amount
    if amount < 0 and own_only and (bucket.bonus or bucket.price):
        return Result.CREDIT_LIMIT
    if amount < 0 and (own_only or not is_main) and free < 0:
        return Result.CREDIT_LIMIT
    keeps_held = keeps_held and not (permits_debt and bucket.held == 0)
    if amount < 0 and keeps_held and is_main and free + change.account.credit_limit < 0:
        return Result.CREDIT_LIMIT
    if amount > change.room_in(bucket) or bucket.amount + amount < -EXACT_MAX:
        return Result.TOO_MUCH
    return Result.OK


def as_much_as_there_is(bucket: Bucket, amount: int) -> int:
    """Of a posting `up_to`: what is free of a debit, what is owed of a credit (charging.md 17)."""
    if amount < 0:
        return -min(-amount, max(bucket.amount - bucket.held, 0))
    return min(amount, max(-bucket.amount, 0))


def is_up_to(post: Post) -> bool:
    """Whether only what there is decides how much is moved: then a post that comes to nothing is none."""
    return all(posting.up_to for posting in post.postings)


def fills(counter_account: str) -> bool:
    return counter_account in (CounterAccount.TOP_UP, CounterAccount.VOUCHER, CounterAccount.TRANSIT)


def extend_buckets(change: AccountChange, extension: BucketExtension) -> None:
    """Buckets of a name end no sooner than an instant: no end comes nearer, none is made, none that has passed is
    undone (charging.md 23)."""
    for bucket in change.account.buckets:
        if bucket.name == extension.name and bucket.until_ms > change.now_ms:
            bucket.until_ms = max(bucket.until_ms, extension.until_ms)
            change.look_at_end(bucket)


def is_top_up(post: Post) -> bool:
    """Whether it begins with one. What a voucher gives besides comes from there too, but in behind what it is worth,
    and a claim is refused by nobody (charging.md section 18)."""
    return post.postings[0].counter_account == CounterAccount.TOP_UP if post.postings else False


def money_taken(post: Post) -> int:
    """Money that a post takes from its account."""
    return max(-sum(posting.amount for posting in post.postings if posting.kind == Kind.MONEY), 0)


def refusal_of_post(change: AccountChange, post: Post) -> Result:
    """Why nothing of a post may be done; OK, and its counters are raised."""
    denied_in = post.denied_in | (SuspendReasons.CLOSED if is_top_up(post) else 0)
    if change.account.state & denied_in:
        return Result.DENIED
    for count in post.counts:
        counter = change.counter_of(count.key)
        amount = 1 if count.what == Counted.UNITS else money_taken(post)
        if count.limit >= 0 and amount + (counter.used if counter else 0) > count.limit:
            return Result.LIMITED
        change.count_usage(count, change.now_ms, amount, 0)
    return Result.OK


def moves_too_much(change: AccountChange, moves_max: list[int]) -> bool:
    """More of some kind than its caller may; what has lapsed was moved by nobody (charging.md section 17)."""
    moved = [0] * len(moves_max)
    for entry in change.entries if moves_max else []:
        if entry.why != "expiry":
            moved[entry.kind] += abs(entry.amount)
    return any(0 <= most < amount for most, amount in zip(moves_max, moved, strict=True))


def fill(bucket: Bucket) -> None:
    """What came in by a top-up, a transfer or with a new bucket: percentages are of what it has now (charging.md
    section 7)."""
    bucket.filled = max(bucket.amount, 0)


def end_posting(
    store: ModelStore,
    change: AccountChange,
    operation: AccountOperation,
    kind: str,
    result: Result,
    source: IdempotencyRecord | None = None,
    **named: object,
) -> Reply:
    """What all that was moved comes to: kept, or refused.

    result:  of all that was moved
    source:  an event of which more may be refunded
    named:   further fields of the record
    """
    if any(entry.amount > 0 for entry in change.entries):
        change.reauthorize = ["final"]
    balance = check_thresholds(change)
    entries = change.entries if result == Result.OK else []
    packed = pack(PostingOutcome(result, entries, balance, change.account.state))
    if result != Result.OK:
        return Reply("refused", packed)
    change.sort()
    if source is not None and isinstance(operation, Post):
        named["refund_of"] = operation.refund_of
        store.answers[operation.account, operation.refund_of] = source
    return write_posting(store, change, operation, kind, packed, source, **named)


def answer_of(operation: AccountOperation, packed: bytes) -> IdempotencyRecord:
    """The outcome as it is kept under the key."""
    return IdempotencyRecord(FORMAT, operation.fingerprint, 0, True, raw_of(packed), takes=[], counted=[])


def record_of(change: AccountChange, operation: AccountOperation, kind: str, **named: object) -> Record:
    """What was done, and who asked for what."""
    return change.change_record(
        kind,
        key=operation.key,
        fingerprint=operation.fingerprint,
        actor=operation.actor,
        reason=operation.reason,
        reference=operation.reference,
        once_key=operation.key,
        once_until_ms=change.now_ms + operation.remember_ms,
        **named,
    )


def write_posting(
    store: ModelStore,
    change: AccountChange,
    operation: AccountOperation,
    kind: str,
    packed: bytes,
    source: IdempotencyRecord | None = None,
    **named: object,
) -> Reply:
    answer = answer_of(operation, packed) if operation.key else None
    record = record_of(change, operation, kind, **named)
    store.ledger.append(Appended(record, change.account, None, answer, original=source))
    store.accounts[operation.account] = change.account
    if answer is not None:
        store.answers[operation.account, operation.key] = answer
    if change.due_ms:
        store.look_by(operation.account, "", change.due_ms)
    return Reply("ok", packed)


def write_refusal(
    store: ModelStore, change: AccountChange, operation: AccountOperation, packed: bytes, **named: object
) -> Reply:
    """A refusal for good: on record and kept under the key, and the account stays as it was."""
    untouched: dict[str, object] = {"entries": [], "threshold_events": [], "reauthorize": [], "generation": 0}
    record = record_of(change, operation, "refuse", **untouched, **named)
    answer = answer_of(operation, packed)
    store.ledger.append(Appended(record, store.accounts[operation.account], None, answer))
    store.answers[operation.account, operation.key] = answer
    return Reply("refused", packed)
