"""The balances that are compared after every change: the account's own line, the lines of services, notification
thresholds (charging.md section 7). Twin of lua/lib/thresholds.lua."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from balances.model.account import AccountChange
from balances.structs.account import Account, SuspendReasons
from balances.structs.thresholds import (
    THRESHOLDS_MAX,
    Crossing,
    CrossingKind,
    CrossingOf,
    ServiceSuspension,
    Threshold,
)
from balances.watched import is_below, levels_of, watched
from tariffs.units import EXACT_MAX, Kind


def note_crossing(
    change: AccountChange,
    kind: CrossingKind,
    of: CrossingOf,
    name: str,
    level: int,
    value: int,
    unit: int = Kind.MONEY,
    bucket: str = "",
) -> None:
    """An amount passed a level."""
    change.threshold_events.append(Crossing(kind, of, name, level, value, unit, bucket))
    if of not in (CrossingOf.THRESHOLD, CrossingOf.LIMIT, CrossingOf.LIFE):
        change.raise_generation()


def check_account(change: AccountChange, balance: int) -> None:
    """Suspend or resume the account for credit."""
    account, of = change.account, CrossingOf.ACCOUNT
    if account.state & SuspendReasons.CREDIT:
        if balance >= account.resume_at:
            account.state &= ~SuspendReasons.CREDIT
            note_crossing(change, CrossingKind.RESUME, of, "", account.resume_at, balance)
    elif balance < account.suspend_below:
        account.state |= SuspendReasons.CREDIT
        note_crossing(change, CrossingKind.SUSPEND, of, "", account.suspend_below, balance)


def check_service(change: AccountChange, line: ServiceSuspension, balance: int) -> None:
    """Suspend or resume one service."""
    of, name = CrossingOf.SERVICE, line.service
    if line.suspended_ms:
        if balance >= line.resume_at:
            line.suspended_ms = 0
            note_crossing(change, CrossingKind.RESUME, of, name, line.resume_at, balance)
    elif balance < line.suspend_below:
        line.suspended_ms = max(change.now_ms, 1)
        note_crossing(change, CrossingKind.SUSPEND, of, name, line.suspend_below, balance)


def check_threshold(change: AccountChange, threshold: Threshold) -> None:
    value, filled = watched(threshold, change.account.buckets, change.now_ms)
    levels = levels_of(threshold, filled)
    if levels is None:
        return
    if threshold.crossed_ms and value >= levels.rearm:
        threshold.crossed_ms, kind, level = 0, CrossingKind.ABOVE, levels.rearm
    elif not threshold.crossed_ms and value < levels.below:
        threshold.crossed_ms, kind, level = max(change.now_ms, 1), CrossingKind.BELOW, levels.below
    else:
        return
    of = CrossingOf.THRESHOLD
    note_crossing(change, kind, of, threshold.name, level, value, threshold.kind, threshold.bucket)


def check_thresholds(change: AccountChange) -> int:
    """Notes what was crossed; returns the settled balance."""
    balance = change.settled()
    check_account(change, balance)
    for line in change.account.services:
        check_service(change, line, balance)
    for threshold in change.account.thresholds:
        check_threshold(change, threshold)
    return balance


def service_line(account: Account, service: str) -> ServiceSuspension | None:
    """The line of a service, if it has one of its own."""
    return next((line for line in account.services if line.service == service), None)


def is_suspended(account: Account, service: str) -> bool:
    """Whether a service is suspended for want of money: for a fee that is not paid all are, for credit the service's
    own line says so in the place of the account's."""
    if account.state & SuspendReasons.FEE:
        return True
    line = service_line(account, service)
    return bool(line.suspended_ms) if line is not None else bool(account.state & SuspendReasons.CREDIT)


def resumes_at(account: Account, service: str) -> int:
    """From which balance on a service is served again; below it the network is told that money is low."""
    line = service_line(account, service)
    return line.resume_at if line is not None else account.resume_at


def may_watch(thresholds: Sequence[Threshold]) -> bool:
    """Whether these may be the thresholds of an account: not too many, each name once, amounts that can be counted,
    and no lower level for the way back."""
    return (
        len({one.name for one in thresholds}) == len(thresholds) <= THRESHOLDS_MAX
        and all(0 <= one.percent <= 100 and one.below >= -EXACT_MAX for one in thresholds)
        and all((one.percent or one.below) <= one.rearm <= (100 if one.percent else EXACT_MAX) for one in thresholds)
    )


def may_suspend(services: Sequence[ServiceSuspension]) -> bool:
    return len({one.service for one in services}) == len(services) <= THRESHOLDS_MAX and all(
        -EXACT_MAX <= one.suspend_below <= one.resume_at <= EXACT_MAX for one in services
    )


def set_thresholds(change: AccountChange, wanted: Sequence[Threshold]) -> None:
    """One that stays as it was keeps its state, whoever brings it; any other begins as crossed where it is below, and
    nobody is told."""
    account, found = change.account, []
    known = {_looks(old): old.crossed_ms for old in account.thresholds}
    for one in wanted:
        crossed_ms = known.get(_looks(one))
        if crossed_ms is None:
            crossed_ms = max(change.now_ms, 1) if is_below(one, account.buckets, change.now_ms) else 0
        found.append(msgspec.structs.replace(one, crossed_ms=crossed_ms))
    account.thresholds = found


def _looks(threshold: Threshold) -> tuple[object, ...]:
    """All but its state, and who brings it."""
    return msgspec.structs.astuple(threshold)[:_STATE_AT]


_STATE_AT: Final = Threshold.__struct_fields__.index("crossed_ms")


def set_services(change: AccountChange, wanted: Sequence[ServiceSuspension]) -> None:
    """A line that is moved keeps its state, and is compared with the rest; one that is taken away while it is crossed
    ends so."""
    account = change.account
    known = {old.service: old.suspended_ms for old in account.services}
    gone = known.keys() - {one.service for one in wanted}
    for old in account.services:
        if old.suspended_ms and old.service in gone:
            note_crossing(change, CrossingKind.RESUME, CrossingOf.SERVICE, old.service, old.resume_at, change.settled())
    account.services = [msgspec.structs.replace(one, suspended_ms=known.get(one.service, 0)) for one in wanted]
