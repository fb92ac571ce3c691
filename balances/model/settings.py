"""Change an account's versioned fields, or tell it that a subscriber of it changed. Twin of lua/settings.lua."""

from __future__ import annotations

import copy

from balances.model.account import AccountChange
from balances.model.kept import Appended, ModelStore
from balances.model.life import activate, look_at_grace
from balances.model.thresholds import check_thresholds, may_suspend, may_watch, set_services, set_thresholds
from balances.packing import pack
from balances.structs.account import MAIN, REFUSING, SuspendReasons
from balances.structs.charge import Reply
from balances.structs.posting import AccountSettings
from balances.structs.thresholds import CrossingKind
from tariffs.units import EXACT_MAX


def settings(store: ModelStore, asked: AccountSettings) -> Reply:
    stored = store.accounts.get(asked.account)
    if stored is None:
        return Reply("absent")
    if asked.if_rev is not None and asked.if_rev != stored.rev:
        return Reply("revision", pack(stored))
    change = AccountChange(copy.deepcopy(stored), asked.now_ms)
    account = change.account
    due: set[str] = set()
    limited: list[str] = []
    if asked.profile_rev is not None and asked.profile_rev > account.profile_rev:
        due |= {"members", "final"}  # a member may be served no more, or again, or at another price
        account.profile_rev = asked.profile_rev
        limited = asked.limited
    if asked.credit_limit is not None:
        if asked.credit_limit != account.credit_limit:
            due.add("all" if asked.credit_limit < account.credit_limit else "final")
        account.credit_limit = asked.credit_limit
    if asked.suspend_below is not None:
        account.suspend_below = asked.suspend_below
    if asked.resume_at is not None:
        account.resume_at = asked.resume_at
    amounts = (account.credit_limit, account.suspend_below, account.resume_at)
    if account.resume_at < account.suspend_below or any(abs(amount) > EXACT_MAX for amount in amounts):
        return Reply("refused", pack(stored))
    if not may_watch(asked.thresholds or ()) or not may_suspend(asked.services or ()):
        return Reply("refused", pack(stored))
    if asked.clear_state & SuspendReasons.CREATED:
        activate(change)
    account.state = (account.state | asked.set_state) & ~asked.clear_state
    if account.state & ~stored.state & REFUSING:
        due.add("all")
    if stored.state & ~account.state & REFUSING:
        due.add("final")
    until_ms = account.grace_until_ms if asked.grace_until_ms is None else asked.grace_until_ms
    account.grace_until_ms = until_ms if account.state & SuspendReasons.GRACE else 0
    look_at_grace(change)
    if asked.thresholds is not None:
        set_thresholds(change, asked.thresholds)
    if asked.services is not None:
        set_services(change, asked.services)
        due |= {"final", "all"}  # one may be served again, or no more
    for one in asked.buckets:
        bucket = change.bucket_of(one.bucket)
        if bucket is None or bucket.id == MAIN:
            return Reply("refused", pack(stored))
        if bucket.blocker != one.blocker:
            due.add("all" if one.blocker else "final")
        bucket.blocker = one.blocker
    account.clock = asked.clock or account.clock
    check_thresholds(change)
    if any(crossing.kind == CrossingKind.RESUME for crossing in change.threshold_events):
        due.add("final")
    if due:
        change.raise_generation()
    change.reauthorize = [kind for kind in ("members", "final", "all") if kind in due]
    change.reauthorize += [f"limits {subscriber}" for subscriber in limited]
    told = (asked.credit_limit, asked.suspend_below, asked.resume_at, asked.thresholds, asked.services)
    moved = (account.state, account.grace_until_ms) != (stored.state, stored.grace_until_ms)
    if moved or asked.buckets or any(field is not None for field in told):
        account.rev += 1
    store.ledger.append(Appended(change.change_record("settings", actor=asked.actor, reason=asked.reason), account))
    store.accounts[account.id] = account
    if change.due_ms:
        store.look_by(account.id, "", change.due_ms)
    return Reply("ok", pack(account))
