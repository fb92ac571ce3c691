"""Which lines there are, as far as the conditions of a tariff tell them apart, and which rows match them.

The one idea: a row is a box: a set of atoms (atoms.py) in each dimension. Boxes are intersected and subtracted exactly.
Time is not among the facts here: case.py lays the bands over these regions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from tariffs.destinations import DestinationRow
from tariffs.lint.atoms import OTHER, dimensions, named, never_used
from tariffs.match import Condition
from tariffs.row import PriceRow
from tariffs.tariff import Tariff

Box = Mapping[int, int]
"""Dimension -> the atoms it may have; all, for one that is not there."""

WORK_MAX: Final = 2_000_000
"""Boxes compared before regions are given up: conditions that cross each other can make too many."""

ANY: Final = "data"
"""The service of a line for which it does not matter."""


class Region(NamedTuple):
    """Lines of one service that the same rows match, whatever the time."""

    service: str
    """As it is called in texts."""
    box: Box
    rows: tuple[PriceRow, ...]
    """In their order, up to the first that prices at all times and has no limit."""


class Lines:
    """All lines of a tariff, in regions."""

    def __init__(self, tariff: Tariff) -> None:
        parts = tariff.parts
        self.rows = tariff.rows
        guarded: list[Any] = [*self.rows, *(one for _, one in parts.changes), *parts.taxes, *parts.tallies.values()]
        by_fact: dict[str, list[Condition]] = {}
        for condition in (condition for each in guarded for condition in each.conditions):
            by_fact.setdefault(condition.fact, []).append(condition)
        self.entries = {name: table.entries() for name, table in parts.tables.items()}
        """By prefix."""
        self.unused = {name: never_used(entries) for name, entries in self.entries.items()}
        """Prefixes that no number uses, but those that are just that."""
        self.dimensions = list(dimensions(by_fact, parts.tables, self.unused, parts.numbers))
        """Numbers and zones last: see `without`."""
        self.place = {fact: place for place, dimension in enumerate(self.dimensions) for fact in dimension.facts}
        self._named = {tally.by: "" for tally in parts.tallies.values() if tally.by}
        self.boxes = {row: self.box(row.conditions) for row in self.rows}
        self.capped = False
        self.regions = list(self._regions())

    def mask(self, condition: Condition) -> int:
        """The atoms of its dimension for which it holds."""
        return self.dimensions[self.place[condition.fact]].mask(condition)

    def box(self, conditions: Iterable[Condition]) -> Box | None:
        """None: no line can meet all of them."""
        box: dict[int, int] = {}
        for condition in sorted(conditions, key=lambda one: self.place[one.fact]):
            place = self.place[condition.fact]
            box[place] = box.get(place, self.dimensions[place].full) & self.mask(condition)
            if not box[place]:
                return None
        return box

    def meet(self, one: Box, other: Box) -> Box | None:
        met = dict(one)
        for place, mask in other.items():
            both = met.get(place, mask) & mask
            if not both:
                return None
            met[place] = both
        return met

    def without(self, one: Box, other: Box) -> Iterator[Box]:
        """What is left of one, in boxes that do not overlap. They meet. The dimensions of `other` are gone through in
        their order, so a piece that differs in its destination is inside all other conditions."""
        held = dict(one)
        for place, mask in other.items():
            had = held.get(place, self.dimensions[place].full)
            if had & ~mask:
                yield held | {place: had & ~mask}
            held[place] = had & mask

    def remains(self, box: Box, others: Iterable[Box]) -> bool:
        """Something of the box is in none of the others; also where that takes too long to tell."""
        left = [box]
        for other in others:
            following: list[Box] = []
            for one in left:
                following += [one] if self.meet(one, other) is None else self.without(one, other)
            left = following
            if not left or len(left) > 1_000:
                break
        return bool(left)

    def _services(self) -> Iterator[tuple[str, Box]]:
        """Those to look at, as they are called; others, where a row is for any."""
        place = self.place.get("service")
        if place is None:
            yield "any service", {}
            return
        dimension, asked = self.dimensions[place], 0
        for row in self.rows:
            own = next((one for one in row.conditions if one.fact == "service"), None)
            asked |= dimension.full if own is None else dimension.mask(own)
        for bit, (key,) in enumerate(dimension.keys):
            if key and asked >> bit & 1:
                yield "any other service" if key == OTHER else named(key), {place: 1 << bit}

    def _regions(self) -> Iterator[Region]:
        if not self.rows:
            return
        work = 0
        for service, of_service in self._services():
            left: list[tuple[Box, tuple[PriceRow, ...]]] = [(of_service, ())]
            for row in self.rows:
                box = self.boxes[row]
                if box is None or self.meet(of_service, box) is None:
                    continue
                work += len(left)
                if work > WORK_MAX:
                    self.capped = True
                    return
                following = []
                for one, rows in left:
                    inside = self.meet(one, box)
                    if inside is None:
                        following.append((one, rows))
                        continue
                    following += [(piece, rows) for piece in self.without(one, box)]
                    if row.ends and not row.bands:
                        yield Region(service, inside, (*rows, row))
                    else:
                        following.append((inside, (*rows, row)))
                left = following
            yield from (Region(service, one, rows) for one, rows in left)

    def facts(self, box: Box) -> dict[str, Any]:
        """Of a line in this box: the plainest that is there."""
        found: dict[str, Any] = {**self._named, "service": ANY, "rating_group": None, "service_id": None}
        for place, dimension in enumerate(self.dimensions):
            sample = dimension.samples[dimension.plainest(box.get(place, dimension.full))]
            found.update(zip(dimension.facts, sample, strict=True))
        if self.place.get("service") not in box:
            found["service"] = ANY
        return found

    def describe(self, box: Box) -> str:
        """In words, service apart: "apn internet, to world Germany"; "" for all lines of the service."""
        places = [place for place in box if place != self.place.get("service")]
        return ", ".join(filter(None, (self.dimensions[place].describe(box[place]) for place in places)))

    def example(self, box: Box) -> list[str]:
        """What the line of `facts` names, in words."""
        said = []
        for place, dimension in enumerate(self.dimensions):
            atom = dimension.plainest(box.get(place, dimension.full))
            for fact, key, sample in zip(dimension.facts, dimension.keys[atom], dimension.samples[atom], strict=True):
                if isinstance(sample, DestinationRow):
                    said.append(f"{fact} {sample.zone} ({sample.prefix or 'any other number'})")
                elif fact != "service" and key is not None and key != "":
                    said.append(f"{fact} {'other' if key == OTHER else named(key)}")
        return said
