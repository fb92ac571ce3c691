"""Top-up, adjustment, refund, payout, write-off or fee of the back office, or one leg of a transfer between accounts:
all its postings or none, once per key. Twin of lua/post.lua."""

from __future__ import annotations

from collections.abc import Sequence

from balances.model.account import AccountChange
from balances.model.kept import ModelStore
from balances.model.life import prolong_grace
from balances.model.posting import (
    add_bucket,
    as_much_as_there_is,
    begin_posting,
    end_posting,
    extend_buckets,
    fill,
    fills,
    is_up_to,
    moves_too_much,
    refusal_of_move,
    refusal_of_post,
    write_refusal,
)
from balances.model.reached import reset_limits, turn_back_counters
from balances.model.refunded_again import refundable_again
from balances.structs.account import Bucket
from balances.structs.charge import Reply, Result
from balances.structs.posting import Post, Posting
from balances.structs.record import Entry


def post(store: ModelStore, post: Post) -> Reply:
    change = begin_posting(store, post)
    if isinstance(change, Reply):
        return change
    result, before = refusal_of_post(change, post), len(change.entries)
    for extension in post.extends:
        extend_buckets(change, extension)
    prolong_grace(change, post.grace_until_ms)
    reset_limits(change, post.resets)
    turn_back_counters(change, post.returns)
    whole = 0  # the bucket that was made last, whose money may follow
    for posting in post.postings:
        if result == Result.OK:
            result = move(change, post, posting, whole)
            if posting.bucket < 0 and not posting.is_part:
                whole = change.account.next_bucket - 1
    if result == Result.OK and len(change.entries) == before and is_up_to(post):
        result = Result.INVALID
    if result == Result.OK and moves_too_much(change, post.moves_max):
        result = Result.LIMITED
    named = {"transfer": post.transfer, "counterpart": post.counterpart, "tags": post.tags}
    source = None
    if post.refund_of and _moves_all(change.entries[before:], post):
        source = refundable_again(post, store.answers.get((post.account, post.refund_of)))
    reply = end_posting(store, change, post, "post", result, source, **named)
    if reply.status == "refused" and post.final and post.key:
        return write_refusal(store, change, post, reply.outcome, **named)
    return reply


def _moves_all(entries: Sequence[Entry], post: Post) -> bool:
    return [one.amount for one in entries] == [one.amount for one in post.postings]


def move(change: AccountChange, post: Post, posting: Posting, whole: int) -> Result:
    """One posting, to a bucket that is there or is made for it. `up_to`: as much as there is, so it is never
    refused."""
    if posting.bucket >= 0:
        bucket = change.bucket_of(posting.bucket)
        if bucket is None:
            return Result.OK if posting.up_to else Result.NOT_FOUND
    else:
        valid = (posting.priority, posting.from_ms, posting.until_ms)
        made = Bucket(0, posting.kind, 0, 0, *valid, posting.scope, posting.name, posting.window_ms)
        made.bonus, made.member, made.blocker = posting.bonus, posting.member, posting.blocker
        made.hours, made.part_of = posting.hours, whole if posting.is_part else 0
        made.price, made.per = posting.price, posting.per
        if made.hours:
            change.account.clock = post.clock
        bucket = add_bucket(change, made)
        if bucket is None:
            return Result.TOO_MUCH
    amount = as_much_as_there_is(bucket, posting.amount) if posting.up_to else posting.amount
    # what takes back a bonus takes it from where it went
    own_only = post.own_only and not ((bucket.bonus or bucket.price) and posting.original > 0)
    kept = {"keeps_held": post.keeps_held, "permits_debt": post.permits_debt}
    why = refusal_of_move(change, bucket, amount, own_only=own_only, **kept)
    if why != Result.OK:
        return why
    if entry := change.post_entry(bucket, amount, posting.counter_account, posting.why):
        entry.original, entry.terms = posting.original, posting.terms
    if amount > 0 and (posting.bucket < 0 or fills(posting.counter_account)):
        fill(bucket)
    change.look_at_end(bucket)
    return Result.OK
