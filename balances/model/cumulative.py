"""Counters of a client that show all use since its session began: what they gained since they were counted last
(charging.md section 8). Twin of lua/lib/cumulative.lua."""

from __future__ import annotations

from typing import Protocol

from balances.model.account import AccountChange
from balances.model.courses import CourseOwner, counts_since
from balances.structs.charge import SLACK_S, Ask, Cumulative, UsageReport
from balances.structs.session import CounterReading, Line
from tariffs.units import EXACT_MAX, Kind, blocks_started


class CounterOwner(CourseOwner, Protocol):
    """What reading counters asks of the decision it belongs to (`session.SessionDecision`)."""

    change: AccountChange
    asks: list[Ask]
    touched: list[Line | None]
    believed: dict[int, int]


def _shown_by(report: UsageReport, line: Line) -> int:
    return (report.money, report.octets, report.seconds, report.units)[line.unit]


def reading_of(readings: list[CounterReading], counter: Cumulative) -> CounterReading:
    """How far a counter of a line with these readings was counted."""
    for reading in readings:
        if reading.place == counter.place:
            return reading
    readings.append(CounterReading(counter.place, counter.counted, 0))
    return readings[-1]


def most_in(ms: int, per_second: int) -> int:
    """What a counter can gain in that time."""
    seconds = blocks_started(ms, 1_000)
    return EXACT_MAX if seconds > EXACT_MAX // per_second else seconds * per_second


def counted_in(unit: int, ms: int, per_second: int) -> int:
    """The same of one whose line counts in that unit."""
    most = most_in(max(ms, 0), per_second)
    return min(most + SLACK_S, EXACT_MAX) if unit == Kind.SECONDS else most


def plausible_of(decision: CounterOwner, line: Line, counter: Cumulative, at_ms: int) -> int:
    """What it can show at most by then, -1 where nobody knows."""
    since_ms = counts_since(decision) if counter.per_second else None
    if since_ms is None:
        return -1
    return counted_in(line.unit, max(decision.change.now_ms, at_ms) - since_ms, counter.per_second)


def gained_by(decision: CounterOwner, line: Line, report: UsageReport, counter: Cumulative) -> tuple[int, int]:
    """What it gained, never below zero, and how much of that is believed; -1: as much as of any other report. One that
    fell gained nothing, unless it may have wrapped: it can have gained that much since its newest report."""
    reading, at_ms = reading_of(line.readings, counter), report.at_ms
    before = reading.value
    gained = _shown_by(report, line) - (before % counter.wraps_at if counter.wraps_at else before)
    if gained < 0 and counter.wraps_at and counter.per_second and reading.at_ms:
        passed_ms = at_ms - reading.at_ms
        if passed_ms > 0 and gained + counter.wraps_at <= most_in(passed_ms, counter.per_second):
            gained += counter.wraps_at
    gained = min(max(gained, 0), EXACT_MAX - before)
    reading.value, reading.at_ms = before + gained, max(reading.at_ms, at_ms)
    plausible = plausible_of(decision, line, counter, at_ms)
    return gained, -1 if plausible < 0 else min(gained, max(plausible - before, 0))


def read_counters(decision: CounterOwner) -> None:
    """Puts what counters gained in the place of what they show; of units that its line does not count in they say
    nothing."""
    for ask, line in zip(decision.asks, decision.touched, strict=True):
        found = list[UsageReport]()
        for report in ask.reports:
            if not report.cumulative or line is None:
                found.append(report)
            elif _shown_by(report, line) >= 0:
                gained, believed = gained_by(decision, line, report, report.cumulative[0])
                money, octets, seconds, units = (gained if unit == line.unit else -1 for unit in Kind)
                found.append(UsageReport(money, octets, seconds, units, report.at_ms))
                decision.believed[id(found[-1])] = believed
        ask.reports = found


def believed_of(decision: CounterOwner, report: UsageReport, bound: int) -> int:
    """Beyond this goes to suspense, where any other report would be bound by `bound`."""
    believed = decision.believed.get(id(report), -1)
    return bound if believed < 0 else believed
