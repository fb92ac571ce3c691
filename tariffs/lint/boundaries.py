"""The events a tester would try with a tariff: at edges of blocks, limits, charges and bands, each with its price.

For every chain of rows that can come about, the plainest line that has it; at the first time at which it does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final

import msgspec

from tariffs.draft import LARGEST_USE, RatingVerdict
from tariffs.ladder import Ladder, Step
from tariffs.lint.case import LintCase, Occurs, is_paid_by_bundle
from tariffs.lint.regions import Region
from tariffs.phrases import money, quantity
from tariffs.price import price_of
from tariffs.row import PriceRow
from tariffs.tariff import HORIZON_MS, Rated, Tariff
from tariffs.units import Kind, TooLarge

BOUNDARIES_MAX: Final = 2_000
CHANGES_MAX: Final = 32
"""Band changes at which each line is tried."""

BY_BUNDLE: Final = "paid by the bundle"
SECOND_MS: Final = 1_000


class Boundary(msgspec.Struct, frozen=True):
    """One event and what it costs."""

    when: str
    """On the wall of the tariff's zone; UTC where that is the account's."""
    line: str
    """Service, and what else of it matters."""
    what: str
    units: int
    unit: str
    price: str
    """A decimal in the currency of the tariff, or why there is none."""
    tag: str
    """Tariff, version and rows, as usage records name them."""


def boundaries(tariff: Tariff, at_ms: int | None = None) -> list[Boundary]:
    """Not more than can be read: the last one says where more were left out.

    at_ms:  from when on; unless given, from when it is valid on
    """
    case = LintCase(tariff, at_ms)
    found = list(islice(_all(case), BOUNDARIES_MAX + 1))
    if len(found) > BOUNDARIES_MAX or case.capped:
        del found[BOUNDARIES_MAX:]
        found.append(Boundary("", "", f"capped: these are the first {len(found):,}, and there are more", 0, "", "", ""))
    return found


def _all(case: LintCase) -> Iterator[Boundary]:
    for occurs in case.chains:
        for region in _samples(case, occurs):
            yield from _Events(case, region, occurs.rows, occurs.span.from_ms).all()
    yield from _band_changes(case)
    yield from _clock_change(case)


def _samples(case: LintCase, occurs: Occurs) -> Iterator[Region]:
    """The region with its first destination, and with its last where prices are taken from destinations."""
    region = occurs.region
    yield region
    places = {column.place for row in occurs.rows for column in row.columns()}
    last = {
        place: 1 << mask.bit_length() - 1
        for place, mask in region.box.items()
        if any(fact.partition(" ")[0] in places for fact in case.lines.dimensions[place].facts if " " in fact)
    }
    if any(mask != region.box[place] for place, mask in last.items()):
        yield region._replace(box={**region.box, **last})


class _Events:
    """Events of one line that begin at one time."""

    def __init__(self, case: LintCase, region: Region, rows: tuple[PriceRow, ...], at_ms: int) -> None:
        self._case, self._region, self._rows, self._at_ms = case, region, rows, at_ms
        self._rated = case.make_at(region, at_ms)
        self._facts = case.lines.facts(region.box)
        self._line = case.example(region)

    def all(self) -> Iterator[Boundary]:
        rated = self._rated
        if rated is None or rated.verdict is not RatingVerdict.PRICED or rated.ladder is None:
            yield self._say("1 unit", 1, _refusal(rated))
            return
        if any(step.kind != Kind.MONEY for step in rated.ladder.steps):
            if is_paid_by_bundle(self._rows[0]):
                yield self._say("first unit of the bundle", 1, BY_BUNDLE)
                yield self._say("last unit of the bundle", 1, BY_BUNDLE)
            else:
                yield self._say("a unit of the bundle, once rows before it are at their limit", 1, BY_BUNDLE)
        said: set[int] = set()
        for what, units in (*self._blocks(rated.ladder), *self._first(), *self._charges(rated)):
            if units > 0 and units not in said:
                said.add(units)
                yield self.event(what, units)
        yield from self._counters()
        if rated.beside is not None and rated.beside.ladder is not None:
            for what, units in self._blocks(rated.beside.ladder):
                yield self._priced(f"charged besides: {what}", units, rated.beside, {})

    def block(self) -> int:
        """The first that money pays."""
        steps = self._rated.ladder.steps if self._rated is not None and self._rated.ladder is not None else ()
        return _money_steps(steps)[0].block if steps else 1

    def event(self, what: str, units: int, counters: Mapping[str, int] = {}) -> Boundary:
        rated = self._rated
        if rated is None or rated.verdict is not RatingVerdict.PRICED:
            return self._say(what, units, _refusal(rated))
        if rated.unit == Kind.SECONDS and units * SECOND_MS > HORIZON_MS:
            rated = self._case.make_at(self._region, self._at_ms, self._at_ms + units * SECOND_MS)
        return self._priced(what, units, rated, counters)

    def _priced(self, what: str, units: int, rated: Rated | None, counters: Mapping[str, int]) -> Boundary:
        if rated is None or rated.ladder is None:
            return self._say(what, units, _refusal(rated))
        try:
            price = money(self._cost(rated, units, counters))
        except TooLarge:
            price = "passes 2^53"
        return self._say(what, units, price, rated.unit)

    def _cost(self, rated: Rated, units: int, counters: Mapping[str, int] = {}) -> int:
        assert rated.ladder is not None
        ms_per_unit = SECOND_MS if rated.unit == Kind.SECONDS else 0
        return price_of(rated.ladder, units, at_ms=self._at_ms, ms_per_unit=ms_per_unit, counters=counters)

    def _spent(self, rated: Rated, units: int, counters: Mapping[str, int]) -> int:
        try:
            return self._cost(rated, units, counters)
        except TooLarge:
            return 0

    def _say(self, what: str, units: int, price: str, unit: Kind | None = None) -> Boundary:
        rated = self._rated
        if unit is None and rated is not None:
            unit = rated.unit
        name = unit.name.lower() if unit is not None else ""
        tag = rated.why if rated is not None else ""
        return Boundary(self._case.walk.when(self._at_ms), self._line, what, units, name, price, tag)

    def _blocks(self, ladder: Ladder) -> Iterator[tuple[str, int]]:
        yield "1 unit", 1
        steps = _money_steps(ladder.steps)
        block = steps[0].block
        if block > 1:
            yield "one block - 1", block - 1
            yield "one block", block
        yield "one block + 1", block + 1
        if len(steps) > 1 and steps[0].reach == block and steps[1].block not in (1, block):
            yield "first and second block", block + steps[1].block
            yield "first and second block + 1", block + steps[1].block + 1

    def _first(self) -> Iterator[tuple[str, int]]:
        for row in self._rows:
            if row.first:
                for more, text in ((-1, " - 1"), (0, ""), (1, " + 1")):
                    yield f'`first` of "{row.name}"{text}', row.first + more

    def _charges(self, rated: Rated) -> Iterator[tuple[str, int]]:
        """Where the minimum is used up and the maximum reached, as far as the ladder knows the bands."""
        ladder, kind = rated.ladder, rated.unit
        if ladder is None or kind is None:
            return
        most = HORIZON_MS // SECOND_MS if kind == Kind.SECONDS and self._case.walk.bands else LARGEST_USE[kind]
        dues = ladder.dues_of(ladder.steps[0])
        for bound, last, beyond in (
            (0 if dues.off and not dues.least else None, "amount off: the last unit it covers", "amount off: one more"),
            (dues.least or None, "minimum charge: the last unit it covers", "minimum charge: one more"),
            (
                dues.most - 1 if dues.most else None,
                "maximum charge: the last unit before it",
                "maximum charge: reached",
            ),
        ):
            if bound is not None:
                due = dues.fee + bound
                units = self._last(rated, due, most)
                if 0 < units < most:
                    yield last, units
                if units < most:
                    yield beyond, units + 1

    def _last(self, rated: Rated, due: int, most: int) -> int:
        """The most units, up to `most`, that cost no more than this; more never cost less."""
        low, high = 0, most + 1
        while high - low > 1:
            middle = (low + high) // 2
            try:
                covered = self._cost(rated, middle) <= due
            except TooLarge:
                covered = False
            low, high = (middle, high) if covered else (low, middle)
        return low

    def _counters(self) -> Iterator[Boundary]:
        """At the limit of each row by a counter, once the rows before it are at theirs."""
        rated = self._rated
        if rated is None or rated.ladder is None:
            return
        used, reached = 0, dict[str, int]()
        for row in self._rows:
            if row.tally is not None:
                limit = row.limit(self._case.attributes)
                key = row.tally.count(self._facts, self._case.walk.zone, self._at_ms).key
                block = next((step.block for step in rated.ladder.steps if step.counter == key), self.block())
                fed = any(count.key == key for count in rated.ladder.counts)
                others = {name: value for name, value in reached.items() if name != key}
                own = self._spent(rated, used, others) if row.tally.kind == Kind.MONEY else used
                own = own if fed else 0
                for value in (limit - 1, limit, limit + 1):
                    if value >= own:
                        text = money(value) if row.tally.kind == Kind.MONEY else _near(limit, value, row.tally.kind)
                        when = f" after {quantity(rated.unit, used)}: one block more" if used else ": one block"
                        what = f'"{row.tally.name}" has {text}{when}'
                        yield self.event(what, used + block, others | {key: value - own})
                reached[key] = limit
            used = max(used, row.first)


def _near(limit: int, value: int, kind: Kind) -> str:
    return quantity(kind, limit) + {-1: " - 1", 0: "", 1: " + 1"}[value - limit]


def _money_steps(steps: tuple[Step, ...]) -> list[Step]:
    return [step for step in steps if step.kind == Kind.MONEY]


def _refusal(rated: Rated | None) -> str:
    return rated.verdict.value if rated is not None else "no row"


def _band_changes(case: LintCase) -> Iterator[Boundary]:
    """The last second before and the first after, of each line whose price may be another then."""
    said = set()
    for before, after in islice(case.walk.changes(), CHANGES_MAX):
        for region in case.lines.regions:
            facts = case.lines.facts(region.box)
            chains = case.tariff.chain(facts, before.holds), case.tariff.chain(facts, after.holds)
            key = region.service, chains[0].rows, chains[1].rows
            if chains[0] == chains[1] or key in said:
                continue
            said.add(key)
            bands = ", ".join(case.walk.named(before.holds ^ after.holds))
            last = _Events(case, region, chains[0].rows, after.from_ms - SECOND_MS)
            first = _Events(case, region, chains[1].rows, after.from_ms)
            yield last.event(f"one second before {bands} changes: one block", last.block())
            yield last.event(f"one second before {bands} changes: one block + 1", last.block() + 1)
            yield first.event(f"first second after {bands} changes: one block", first.block())


def _clock_change(case: LintCase) -> Iterator[Boundary]:
    """The next time the clock is moved, of each line whose price has to do with it."""
    fold = next(case.walk.folds(), None)
    if fold is None or not case.tariff.moves:
        return
    said = set()
    for region in case.lines.regions:
        if not any(row.bands or row.tally is not None for row in region.rows) or (region.service, region.rows) in said:
            continue
        said.add((region.service, region.rows))
        moved = "put back" if fold.twice else "put forward"
        for more, text in ((-SECOND_MS, "one second before"), (0, "first second after")):
            at_ms = fold.at_ms + more
            rows = case.chain(region.rows, case.walk.schedule.at(at_ms).holds)
            events = _Events(case, region, rows, at_ms)
            yield events.event(f"{text} the clock is {moved}: one block", events.block())
            if more:
                yield events.event(f"{text} the clock is {moved}: one block + 1", events.block() + 1)
