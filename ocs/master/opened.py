"""The state of an account when it is opened: unused, with entries for what it begins with (charging.md 14)."""

from __future__ import annotations

from typing import Final

import msgspec

from balances.packing import fresh_account
from balances.structs.account import Account, Bucket, Counter, FeeBucket, FeeMark, SuspendReasons, Take
from balances.structs.record import Entry
from balances.watched import is_below
from ocs.master.accounts import AccountRow
from ocs.master.fee_assignments import OpeningFee
from tariffs.units import EXACT_MAX, Kind
from tariffs.week_hours import clock_of

OPENING: Final = "opening"
"""Where an opening balance comes from, and why."""


def opened(row: AccountRow) -> tuple[Account, list[Entry]]:
    """The opening of an account: always the same, by an import or by the first call that finds the account absent."""
    account = fresh_account(
        row.id,
        row.currency,
        clock_ms=row.created_ms,
        credit_limit=row.credit_limit,
        suspend_below=row.suspend_below,
        resume_at=row.resume_at,
        next_bucket=1 + len(row.buckets),
    )
    main = account.buckets[0]
    main.amount, main.filled = row.balance, max(row.balance, 0) if row.filled is None else row.filled
    others = [
        Bucket(
            number,
            given.kind,
            given.amount,
            0,
            given.priority,
            given.from_ms,
            given.until_ms,
            list(given.scope),
            given.name,
            given.window_ms,
            given.amount if given.filled is None else given.filled,
            given.bonus,
            given.member,
            given.blocker,
            list(given.hours),
            number - 1 if given.is_part else 0,
            given.price,
            given.per,
        )
        for number, given in enumerate(row.buckets, 1)
    ]
    entries = [
        Entry(seq, bucket.id, bucket.kind, bucket.amount, bucket.amount, OPENING, OPENING)
        for seq, bucket in enumerate((one for one in (main, *others) if one.amount), 1)
    ]
    account.seq = len(entries)
    if any(one.hours for one in others):
        account.clock = clock_of(row.time_zone, row.created_ms)
    if others:
        account.buckets += others
        account.buckets.sort(key=lambda bucket: (bucket.priority, bucket.until_ms or EXACT_MAX, bucket.id))
    balance, since_ms = settled_of(account, row.created_ms), max(row.created_ms, 1)
    if row.state is not None:
        account.state, account.grace_until_ms = row.state, row.grace_until_ms
    elif is_short(balance, row.suspend_below, row.resume_at):
        account.state = SuspendReasons.CREDIT
    if row.created:
        account.state |= SuspendReasons.CREATED
    else:
        account.activated_ms = row.created_ms
    account.services = [
        msgspec.structs.replace(
            line,
            suspended_ms=since_ms if is_short(balance, line.suspend_below, line.resume_at) else 0,
        )
        for line in row.services
    ]
    account.thresholds = [
        msgspec.structs.replace(one, crossed_ms=since_ms if is_below(one, account.buckets, row.created_ms) else 0)
        for one in row.thresholds
    ]
    account.counters = [Counter(one.key, one.used, 0, one.until_ms, one.window) for one in row.counters]
    account.fees = [_mark(one) for one in row.fees]
    return account, entries


def _mark(fee: OpeningFee) -> FeeMark:
    return FeeMark(
        fee.chain,
        fee.day,
        fee.from_day,
        fee.day == fee.from_day,
        fee.given,
        fee.suspends,
        [Take(bucket, amount) for bucket, amount in fee.paid],
        [FeeBucket(name, bucket) for name, bucket in fee.units],
        price=fee.price,
    )


def is_short(balance: int, suspend_below: int, resume_at: int) -> bool:
    """Whether an account that is opened with this balance is suspended for credit: as if it had been opened empty, and
    then been given it, so that above zero it has to reach `resume_at`."""
    return balance < (resume_at if suspend_below > 0 else suspend_below)


def settled_of(account: Account, now_ms: int) -> int:
    """Money in the buckets that are valid then."""
    return sum(
        bucket.amount
        for bucket in account.buckets
        if bucket.kind == Kind.MONEY and bucket.from_ms <= now_ms and not 0 < bucket.until_ms <= now_ms
    )
