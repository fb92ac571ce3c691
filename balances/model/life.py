"""What an account goes through without being told to: its first use, the end of its grace (charging.md section 16).
Twin of lua/lib/life.lua."""

from __future__ import annotations

from balances.model.account import AccountChange
from balances.model.thresholds import note_crossing
from balances.structs.account import SuspendReasons
from balances.structs.thresholds import CrossingKind, CrossingOf


def end_grace(change: AccountChange) -> bool:
    """Whether a grace has ended: the account is suspended then, and the network may do less."""
    account = change.account
    if not 0 < account.grace_until_ms <= change.now_ms:
        return False
    account.state = (account.state | SuspendReasons.OVERDUE) & ~SuspendReasons.GRACE
    account.grace_until_ms = 0
    account.rev += 1
    note_crossing(change, CrossingKind.OVERDUE, CrossingOf.LIFE, "", 0, change.settled())
    change.raise_generation()
    return True


def prolong_grace(change: AccountChange, until_ms: int) -> None:
    """A grace ends no sooner than then; none is begun, none that has ended is undone (charging.md 23). Supervision
    looks when it would have ended, and again then."""
    account = change.account
    if account.state & SuspendReasons.GRACE and account.grace_until_ms < until_ms:
        account.grace_until_ms = until_ms
        account.rev += 1


def activate(change: AccountChange) -> None:
    """An account that was created is active from now on."""
    account = change.account
    if account.state & SuspendReasons.CREATED:
        account.state &= ~SuspendReasons.CREATED
        account.activated_ms = change.now_ms
        note_crossing(change, CrossingKind.ACTIVATED, CrossingOf.LIFE, "", 0, change.settled())


def look_at_grace(change: AccountChange) -> None:
    """Supervision looks at the account when its grace ends."""
    until_ms = change.account.grace_until_ms
    if until_ms:
        change.due_ms = min(change.due_ms or until_ms, until_ms)
