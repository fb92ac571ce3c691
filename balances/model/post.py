"""Top-up, adjustment, refund or fee of the back office: all its postings or none, once per key. Twin of
lua/post.lua."""

from __future__ import annotations

from balances.model.account import AccountChange
from balances.model.kept import ModelStore
from balances.model.posting import add_bucket, begin_posting, end_posting, fill, refusal_of_move
from balances.structs.account import Bucket, SuspendReasons
from balances.structs.charge import Reply, Result
from balances.structs.posting import Post, Posting
from balances.structs.record import CounterAccount


def post(store: ModelStore, post: Post) -> Reply:
    change = begin_posting(store, post)
    if isinstance(change, Reply):
        return change
    result = Result.OK
    for posting in post.postings:
        if result == Result.OK:
            result = move(change, post, posting)
    return end_posting(store, change, post, "post", result)


def move(change: AccountChange, post: Post, posting: Posting) -> Result:
    """One posting, to a bucket that is there or is made for it."""
    if posting.counter_account == CounterAccount.TOP_UP and change.account.state & SuspendReasons.CLOSED:
        return Result.DENIED
    if posting.bucket >= 0:
        bucket = change.bucket_of(posting.bucket)
        if bucket is None:
            return Result.NOT_FOUND
    else:
        valid = (posting.priority, posting.from_ms, posting.until_ms)
        made = Bucket(0, posting.kind, 0, 0, *valid, posting.scope, posting.name, posting.window_ms)
        made.bonus, made.member = posting.bonus, posting.member
        bucket = add_bucket(change, made)
        if bucket is None:
            return Result.TOO_MUCH
    why = refusal_of_move(change, bucket, posting.amount, own_only=post.own_only, keeps_held=post.keeps_held)
    if why != Result.OK:
        return why
    if entry := change.post_entry(bucket, posting.amount, posting.counter_account, posting.why):
        entry.original, entry.terms = posting.original, posting.terms
    if posting.amount > 0 and (posting.bucket < 0 or posting.counter_account == CounterAccount.TOP_UP):
        fill(bucket)
    change.look_at_end(bucket)
    return Result.OK
