"""Counts for the metrics: what a keeper did, and what the records of the streams say. Use that went to suspense is
logged one by one."""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

from balances.structs.charge import Flag, Suspense
from balances.structs.record import Record
from tariffs.units import Kind

_MARKS: Final = sum(Flag) & ~int(Flag.FREE)

Counts = dict[tuple[str, ...], int]


KEPT: Final = (
    "copied", "conflicts", "openings", "forgotten", "orphaned", "recovered", "swept", "reauthorized", "dropped",
    "unknown", "lost", "trimmed", "restored",
)  # fmt: skip
"""Those of Stats that are a metric under their own name."""


class KeeperStats(msgspec.Struct):
    """The counts of this keeper."""

    copied: int = 0
    conflicts: int = 0
    """Steps another keeper was faster with."""
    openings: int = 0
    forgotten: int = 0
    orphaned: int = 0
    recovered: int = 0
    swept: int = 0
    """Holds, sessions and buckets that time ended."""
    sweep_lag_ms: int = 0
    """Of the last sweep: how long what it found had been due."""
    reauthorized: int = 0
    """Sessions asked to report."""
    dropped: int = 0
    """Sessions that were not asked, and accounts not looked at, for want of room."""
    unknown: int = 0
    """Sessions that were ended because their client did not know them any more."""
    lost: int = 0
    """Sessions that were ended because their host restarted."""
    trimmed: int = 0
    restored: int = 0
    alarms: int = 0
    """Promises that did not hold."""
    failures: Counts = {}
    """Errors that nobody foresaw, by work."""
    debited: Counts = {}
    """Micro-units by service and currency, as the records say; refunds are not taken off."""
    posted: Counts = {}
    """Micro-units by why, "in" or "out", and currency: what changed balances otherwise than use."""
    memory_bytes: int = 0
    memory_limit_bytes: int = 0
    """Of the live store: what it uses, and its maxmemory (0: none)."""
    stream_entries: int = 0
    """Records in all streams; those that are copied are trimmed a little later."""
    unheld: Counts = {}
    """Micro-units of use that nothing was held for, by peer, mark and currency."""
    marked: Counts = {}
    """Usage records by service and mark (Flag)."""
    set_aside: Counts = {}
    """Those that were not charged, by service and reason (Suspense)."""


class KeeperLog(Protocol):
    def warning(self, event: str, **fields: object) -> object: ...


UNHELD: Final = Flag.UNMATCHED | Flag.LATE
"""Marks of use that nothing was held for: of a session that was never granted, or had ended."""
PEERS_MAX: Final = 100
"""Peers that are told apart among those; of others it is "other"."""


def count(record: Record, peer: str, tallies: KeeperStats, log: KeeperLog) -> None:
    """Count a record; called once for each. peer: of its session, "" where it is of none"""
    for entry in record.entries:
        if entry.why != "usage" and entry.kind == Kind.MONEY:
            _add(tallies.posted, (entry.why, "in" if entry.amount > 0 else "out", record.currency), abs(entry.amount))
    cost = 0
    for usage in record.usages:
        cost += usage.cost
        if marks := usage.flags & _MARKS:  # hardly any has one
            for flag in Flag(marks):
                mark = str(flag.name).lower()
                _add(tallies.marked, (record.service, mark), 1)
                if flag & UNHELD and usage.cost > 0:
                    known = len(tallies.unheld) < PEERS_MAX or (peer, mark, record.currency) in tallies.unheld
                    _add(tallies.unheld, (peer if known else "other", mark, record.currency), usage.cost)
        if usage.set_aside:  # charging.md section 2: an alarm
            why = Suspense(usage.set_aside).word
            _add(tallies.set_aside, (record.service, why), 1)
            log.warning(
                "usage.suspense",
                account=record.account,
                session=record.session,
                service=record.service,
                rating_group=usage.rating_group,
                why=why,
                unit=Kind(usage.unit).name.lower(),
                amount=usage.suspense,
                used=usage.used,
            )
    if cost > 0:
        _add(tallies.debited, (record.service, record.currency), cost)


def _add(counts: Counts, of: tuple[str, ...], number: int) -> None:
    counts[of] = counts.get(of, 0) + number
