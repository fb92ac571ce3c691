"""What records of the streams say, added up for whoever measures; what went to suspense is told one by one."""

from __future__ import annotations

from typing import Protocol

from balances.ops import Flag, Record, Suspense
from tariffs.units import Kind

Counts = dict[tuple[str, ...], int]


class Tallies(Protocol):
    """Of `ocs.keeper.Stats`, what is counted here."""

    debited: Counts
    posted: Counts
    marked: Counts
    set_aside: Counts


class Log(Protocol):
    def warning(self, event: str, **fields: object) -> object: ...


def count(record: Record, tallies: Tallies, log: Log) -> None:
    """Once for each record."""
    for usage in record.usages:
        for flag in Flag(usage.flags & ~Flag.FREE):
            _add(tallies.marked, (record.service, str(flag.name).lower()), 1)
    for entry in record.entries:
        if entry.kind == Kind.MONEY and entry.why != "usage":
            _add(tallies.posted, (entry.why, "in" if entry.amount > 0 else "out", record.currency), abs(entry.amount))
    cost = sum(usage.cost for usage in record.usages)
    if cost > 0:
        _add(tallies.debited, (record.service, record.currency), cost)
    for usage in record.usages:
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


def _add(counts: Counts, of: tuple[str, ...], number: int) -> None:
    counts[of] = counts.get(of, 0) + number
