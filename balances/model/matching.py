"""Which lines of a session a request is about. Twin of lua/lib/matching.lua."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from balances.structs.blob import NO_BLOB, blob_of
from balances.structs.charge import Ask, Suspense, UsageReport
from balances.structs.session import Line


def is_named(asks: Sequence[Ask], line: Line) -> bool:
    return any((ask.rating_group, ask.service_id) == (line.rating_group, line.service_id) for ask in asks)


def known_line(asks: Sequence[Ask], lines: Sequence[Line], ask: Ask, secondary: int) -> Line | None:
    """A report naming only the rating group matches its only live line, or its only one when none is live, unless
    that is named by another one: a hold that expired, or was not restored, does not make a new line of it."""
    same_group = [line for line in lines if (line.rating_group, line.secondary) == (ask.rating_group, secondary)]
    for line in same_group:
        if line.service_id == ask.service_id:
            return line
    if ask.service_id >= 0:
        return None
    unnamed = [line for line in same_group if not is_named(asks, line)]
    found = [line for line in unnamed if line.due_ms] or (unnamed if ask.reports else [])
    return found[0] if len(found) == 1 else None


def with_beside(asks: Sequence[Ask], lines: Sequence[Line]) -> list[Ask]:
    """What is settled beside a line is what was granted beside it, whatever the tariff says now (charging.md 4): a
    line that was granted with something beside it is settled with that, one that was granted alone with nothing."""
    found = list[Ask]()
    for index, ask in enumerate(asks):
        after = asks[index + 1] if index + 1 < len(asks) and asks[index + 1].secondary else None
        main = known_line(asks, lines, ask, 0)
        found.append(ask)
        if ask.secondary or ask.set_aside == Suspense.TOO_MANY_LINES or main is None or not blob_of(main.ladder):
            continue
        other = known_line(asks, lines, ask, 1)
        if after is not None and (other is None or not blob_of(other.ladder)):
            after.reports = []
        elif after is None and other is not None and blob_of(other.ladder):
            beside = copy.copy(ask)
            beside.unit, beside.secondary, beside.asked, beside.ladder = other.unit, 1, -1, NO_BLOB
            if other.granted:  # not those of another unit
                beside.default = beside.maximum = other.granted
            other.reach_ms = beside.known_ms = 0  # what would come later is not known any more
            found.append(beside)
    return found


def in_other_units(ask: Ask, report: UsageReport, beside: Line | None) -> list[tuple[int, int]]:
    """What a report of the line names in other units than it counts in. All of it is set aside, once: with the line,
    and not what is charged beside it, nor again there (charging.md section 2: nothing reported is lost)."""
    if ask.secondary == 1:
        return []
    amounts = (report.money, report.octets, report.seconds, report.units)
    return [
        (unit, amount) for unit, amount in enumerate(amounts) if amount > 0 and (beside is None or beside.unit != unit)
    ]
