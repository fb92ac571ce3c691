"""Two years of a tariff's clock: which bands hold together, when they change, and where the clock itself is moved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Final, NamedTuple

from tariffs.calendar import DAY_S, DAYS, Schedule, Stretch, TimeBand, zone
from tariffs.inputs import Inputs
from tariffs.tariff import Tariff
from tariffs.visited_zones import CLOCKS

DAY_MS: Final = DAY_S * 1_000
LONG_MS: Final = 731 * DAY_MS
NEVER_DAYS: Final = 3_653
"""A band that holds on none of so many days never does: ten years."""

LAST_MS: Final = 4_000_000_000_000
"""October 2096: what is known of clocks ends in 2100."""

_EPOCH: Final = date(1970, 1, 1).toordinal()


class Fold(NamedTuple):
    """The clock is moved: what it shows between two times is shown twice, or never."""

    at_ms: int
    from_s: int
    """On the clock, as if that were UTC..."""
    until_s: int
    twice: bool


class ClockWalk:
    """What the clock of a tariff goes through from an instant on."""

    def __init__(self, tariff: Tariff, from_ms: int) -> None:
        self.from_ms = min(max(from_ms, 0), LAST_MS)
        self.bands: Sequence[TimeBand] = tuple(tariff.parts.bands.values())
        self.names = tuple(tariff.parts.bands)
        self.account = tariff.parts.zone in CLOCKS
        """Its zone depends on who uses it, and where: walked as if that were UTC, where the clock is never moved."""
        self.schedule = tariff.schedule(Inputs(""))
        self.zone = self.schedule.zone
        self.spans = list(_merged(self._stretches(self.from_ms, self.from_ms + LONG_MS)))
        """One after the other, each as long as the same bands hold."""
        self.first: dict[int, Stretch] = {}
        """Bands that hold together -> where they do first."""
        for span in self.spans:
            self.first.setdefault(span.holds, span)
        seen = 0
        for holds in self.first:
            seen |= holds
        self.never = 0
        """Bits of the bands that do not hold in ten years."""
        for place, band in enumerate(self.bands):
            if not seen >> place & 1:
                day = self._first_day(band)
                if day is None:
                    self.never |= 1 << place
                    continue
                at_ms = (day - _EPOCH) * DAY_MS
                for span in _merged(self._stretches(at_ms - DAY_MS, at_ms + 3 * DAY_MS)):
                    self.first.setdefault(span.holds, span)

    def _stretches(self, from_ms: int, until_ms: int) -> Iterator[Stretch]:
        at_ms = from_ms
        while at_ms < until_ms:
            stretch = self.schedule.at(at_ms)
            yield stretch._replace(from_ms=at_ms)
            if not stretch.until_ms:
                return
            at_ms = stretch.until_ms

    def _first_day(self, band: TimeBand) -> int | None:
        today = _EPOCH + self.from_ms // DAY_MS
        return next((day for day in range(today - 1, today + NEVER_DAYS) if band.spans(date.fromordinal(day))), None)

    def changes(self) -> Iterator[tuple[Stretch, Stretch]]:
        """Stretches that follow each other, the first two of each such pair: a holiday a year ahead is among them."""
        seen = set()
        for one, other in pairwise(self.spans):
            if (one.holds, other.holds) not in seen:
                seen.add((one.holds, other.holds))
                yield one, other

    def folds(self) -> Iterator[Fold]:
        """Where the clock is moved, within the two years. They lie half a year apart, so days are looked at."""
        before_s = self.from_ms // 1_000
        while before_s < (self.from_ms + LONG_MS) // 1_000:
            after_s = before_s + DAY_S
            old_s, new_s = self._offset_s(before_s), self._offset_s(after_s)
            if old_s != new_s:
                at_s = self._moved_s(before_s, after_s)
                yield Fold(at_s * 1_000, at_s + min(old_s, new_s), at_s + max(old_s, new_s), new_s < old_s)
            before_s = after_s

    def _moved_s(self, before_s: int, after_s: int) -> int:
        """First second of the offset that holds at `after_s` and not yet at `before_s`."""
        old_s = self._offset_s(before_s)
        while after_s - before_s > 1:
            middle_s = (before_s + after_s) // 2
            if self._offset_s(middle_s) == old_s:
                before_s = middle_s
            else:
                after_s = middle_s
        return after_s

    def _offset_s(self, at_s: int) -> int:
        offset = datetime.fromtimestamp(at_s, self.zone).utcoffset() or timedelta()
        return offset.days * DAY_S + offset.seconds

    def edges(self, fold: Fold) -> list[tuple[int, int, int]]:
        """Band edges inside what is shown twice or never: (on the clock as if UTC, holds before, holds after)."""
        wall = Schedule(zone("UTC"), self.bands)
        found, at_ms, until_ms = [], fold.from_s * 1_000, fold.until_s * 1_000
        while at_ms < until_ms:
            stretch = wall.at(at_ms)
            if not stretch.until_ms or stretch.until_ms >= until_ms:
                break
            after = wall.at(stretch.until_ms).holds
            if after != stretch.holds:
                found.append((stretch.until_ms, stretch.holds, after))
            at_ms = stretch.until_ms
        return found

    def when(self, at_ms: int) -> str:
        """As the wall shows it: "sat 2026-10-24 22:00:00+02:00"; without the offset where the zone is not known."""
        at = datetime.fromtimestamp(at_ms // 1_000, self.zone)
        text = at.replace(tzinfo=None).isoformat(sep=" ") if self.account else at.isoformat(sep=" ")
        return f"{DAYS[at.weekday()]} {text}"

    def named(self, bits: int) -> list[str]:
        return [name for place, name in enumerate(self.names) if bits >> place & 1]


def _merged(stretches: Iterator[Stretch]) -> Iterator[Stretch]:
    last: Stretch | None = None
    for stretch in stretches:
        if last is not None and last.holds == stretch.holds:
            last = last._replace(until_ms=stretch.until_ms)
            continue
        if last is not None:
            yield last
        last = stretch
    if last is not None:
        yield last
