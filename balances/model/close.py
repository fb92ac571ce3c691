"""An account is closed, with what it still has, once per key. Twin of lua/close.lua."""

from __future__ import annotations

import copy

from balances.model.account import AccountChange
from balances.model.kept import ModelStore
from balances.model.posting import begin_posting, end_posting, moves_too_much
from balances.structs.account import MAIN, Bucket, SuspendReasons
from balances.structs.charge import Reply, Result
from balances.structs.posting import AccountClosing, ClosingRest
from balances.structs.record import CounterAccount
from tariffs.units import Kind


def close(store: ModelStore, close: AccountClosing) -> Reply:
    change = begin_posting(store, close)
    if isinstance(change, Reply):
        return change
    account = change.account
    if any(bucket.held for bucket in account.buckets):
        return Reply("held")
    left: list[Bucket] = []
    for bucket in account.buckets:
        goes_to = rest_of(close, bucket)
        if bucket.amount and goes_to is None:
            return Reply("remains")
        if goes_to == CounterAccount.TRANSIT and bucket.amount:
            left.append(copy.copy(bucket))
        if goes_to is not None:
            change.post_entry(bucket, -bucket.amount, goes_to, "merge" if goes_to == "transit" else goes_to)
    shut(change)
    result = Result.LIMITED if moves_too_much(change, close.moves_max) else Result.OK
    merged = {"transfer": close.transfer, "counterpart": close.counterpart, "left": left, "tags": close.tags}
    return end_posting(store, change, close, "close", result, None, **merged)


def rest_of(close: AccountClosing, bucket: Bucket) -> str | None:
    """The counter-account that what a bucket still has goes to; None: it stays, and the account is not closed."""
    if close.rest == ClosingRest.TRANSIT:
        return CounterAccount.TRANSIT
    if close.rest == ClosingRest.PAYOUT and bucket.kind == Kind.MONEY and not bucket.bonus:
        return CounterAccount.PAYOUT if bucket.amount >= 0 else None
    return CounterAccount.WRITE_OFF if close.rest else None


def shut(change: AccountChange) -> None:
    """Nothing is granted from here on, and only the main bucket is left."""
    account = change.account
    account.buckets = [bucket for bucket in account.buckets if bucket.id == MAIN]
    if not account.state & SuspendReasons.CLOSED:
        account.rev += 1
        change.raise_generation()
    account.state = (account.state | SuspendReasons.CLOSED) & ~(SuspendReasons.GRACE | SuspendReasons.CREATED)
    account.grace_until_ms = 0
