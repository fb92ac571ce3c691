"""Which state of an account may follow which by hand, and what of its settings changes with it (charging.md section
16). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from balances.ledger.event_data import AccountState
from balances.ledger.events import word_of
from balances.structs.account import SuspendReasons
from balances.structs.posting import AccountSettings
from ocs.backoffice.errors import Conflict, Invalid

BY_HAND: Final = SuspendReasons.OPERATOR | SuspendReasons.BARRED | SuspendReasons.FRAUD
ENDS: Final[Mapping[AccountState, SuspendReasons]] = {
    "created": SuspendReasons.ACTIVE,
    "active": BY_HAND | SuspendReasons.OVERDUE | SuspendReasons.GRACE | SuspendReasons.CREATED | SuspendReasons.CLOSED,
    "suspended": SuspendReasons.GRACE,
    "grace": BY_HAND | SuspendReasons.OVERDUE,
    "closed": SuspendReasons.ACTIVE,
}
"""Reasons that end when a state is wished for; closing is an operation of its own (balances/lua/close.lua)."""

FOLLOWERS: Final[Mapping[AccountState, tuple[AccountState, ...]]] = {
    "created": ("created", "active", "suspended", "closed"),
    "active": ("active", "suspended", "grace", "closed"),
    "suspended": ("active", "suspended", "grace", "closed"),
    "grace": ("active", "suspended", "grace", "closed"),
    "closed": ("active", "closed"),
}
"""What may follow each state by hand."""

WHY_NOT: Final[Mapping[tuple[AccountState, AccountState], str]] = {
    ("created", "grace"): "nobody has used it, so nobody owes anything yet",
    ("closed", "suspended"): "it is closed: open it again first (state: active)",
    ("closed", "grace"): "it is closed: open it again first (state: active)",
}


def check_transition(now: int, wanted: AccountState) -> None:
    """Raises Conflict for a state that may not follow. now: the state it is in (SuspendReasons)"""
    before = word_of(now)
    if wanted in FOLLOWERS[before]:
        return
    why = WHY_NOT.get((before, wanted), "no account becomes that again")
    raise Conflict(f"state: not {wanted} after {before}: {why}", state=before, allowed=list(FOLLOWERS[before]))


def wish(
    settings: AccountSettings, state: AccountState, suspend_for: SuspendReasons, grace_until_ms: int | None
) -> None:
    """Put the wish for a state into the settings. grace_until_ms: only with `grace`, which needs it"""
    if (state == "grace") != (grace_until_ms is not None):
        raise Invalid("grace_until", "with state: grace, and only with it")
    if grace_until_ms is not None and grace_until_ms <= settings.now_ms:
        raise Invalid("grace_until", "in the future")
    settings.clear_state = ENDS[state]
    settings.grace_until_ms = grace_until_ms
    if state == "suspended":
        settings.set_state = suspend_for
    elif state == "grace":
        settings.set_state = SuspendReasons.GRACE
