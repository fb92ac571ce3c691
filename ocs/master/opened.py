"""The state of an account when it is opened: unused, with entries for what it begins with (charging.md 14)."""

from __future__ import annotations

from typing import Final

import msgspec

from balances.packing import fresh_account
from balances.structs.account import Account, Bucket, SuspendReasons
from balances.structs.record import Entry
from balances.watched import is_below
from ocs.master.accounts import AccountRow
from tariffs.units import EXACT_MAX, Kind

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
    main.amount = main.filled = row.balance
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
            given.amount,
            given.bonus,
            given.member,
        )
        for number, given in enumerate(row.buckets, 1)
    ]
    entries = [
        Entry(seq, bucket.id, bucket.kind, bucket.amount, bucket.amount, OPENING, OPENING)
        for seq, bucket in enumerate((one for one in (main, *others) if one.amount), 1)
    ]
    account.seq = len(entries)
    if others:
        account.buckets += others
        account.buckets.sort(key=lambda bucket: (bucket.priority, bucket.until_ms or EXACT_MAX, bucket.id))
    # As if it had been opened empty, and then been given these: below zero no threshold is crossed, above it what is
    # given has to reach `resume_at`.
    balance, since_ms = _settled(account, row.created_ms), max(row.created_ms, 1)
    if row.suspend_below > 0 and balance < row.resume_at:
        account.state = SuspendReasons.CREDIT
    if row.created:
        account.state |= SuspendReasons.CREATED
    else:
        account.activated_ms = row.created_ms
    account.services = [
        msgspec.structs.replace(
            line, suspended_ms=since_ms if line.suspend_below > 0 and balance < line.resume_at else 0
        )
        for line in row.services
    ]
    account.thresholds = [
        msgspec.structs.replace(one, crossed_ms=since_ms if is_below(one, account.buckets, row.created_ms) else 0)
        for one in row.thresholds
    ]
    return account, entries


def _settled(account: Account, now_ms: int) -> int:
    return sum(
        bucket.amount
        for bucket in account.buckets
        if bucket.kind == Kind.MONEY and bucket.from_ms <= now_ms and not 0 < bucket.until_ms <= now_ms
    )
