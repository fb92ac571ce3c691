"""What the rules of the linter look at: a tariff, its regions of lines, its two years of time, and the chains of rows
that come about where these meet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple

import msgspec

from tariffs.build_ladder import make
from tariffs.calendar import Stretch
from tariffs.draft import LadderDraft
from tariffs.elements.element import TariffElement, WrittenMoney
from tariffs.inputs import Inputs
from tariffs.ladder import Step
from tariffs.lint.regions import Lines, Region
from tariffs.lint.walk import ClockWalk
from tariffs.notation import Amount, Blocks, Column, Given, WrittenPrice
from tariffs.phrases import money, quantity
from tariffs.row import PriceRow
from tariffs.tariff import Rated, Tariff
from tariffs.terms import Terms
from tariffs.units import Kind

Severity = Literal["error", "warning", "note"]

CHAINS_MAX: Final = 4_000
"""Chains of one tariff that are looked at."""


class LintFinding(msgspec.Struct, frozen=True):
    """A finding: something legal that is probably not meant."""

    severity: Severity
    """error: rating fails; warning: hardly meant; note: to be known."""
    rule: str
    where: str
    """row "x", counter "x", band "x", table:prefix, ..."""
    text: str


class Occurs(NamedTuple):
    """Rows that price a line together, and where they first do."""

    region: Region
    rows: tuple[PriceRow, ...]
    span: Stretch


class LintCase:
    """One tariff, as the rules look at it."""

    def __init__(self, tariff: Tariff, at_ms: int | None) -> None:
        self.tariff, self.parts = tariff, tariff.parts
        self.walk = ClockWalk(tariff, tariff.from_ms if at_ms is None else at_ms)
        self.lines = Lines(tariff)
        self.attributes = _attributes(tariff)
        self.capped = self.lines.capped
        self._dearest: dict[tuple[str, str], dict[str, Amount]] = {}
        self.chains: list[Occurs] = []
        """Each chain of each service once."""
        self.used: set[PriceRow] = set()
        """Rows that are part of any."""
        seen = set()
        for region in self.lines.regions:
            for holds, span in self.holds(region.rows).items():
                rows = self.chain(region.rows, holds)
                self.used.update(rows)
                if (region.service, rows) not in seen and not self.capped:
                    seen.add((region.service, rows))
                    self.chains.append(Occurs(region, rows, span))
                    self.capped = len(self.chains) >= CHAINS_MAX

    def holds(self, rows: Iterable[PriceRow]) -> Mapping[int, Stretch]:
        """Bands that hold together -> where they do first, as far as these rows tell them apart."""
        bits = 0
        for row in rows:
            bits |= row.bands
        found: dict[int, Stretch] = {}
        for holds, span in self.walk.first.items():
            found.setdefault(holds & bits, span)
        return found

    @staticmethod
    def chain(rows: Iterable[PriceRow], holds: int) -> tuple[PriceRow, ...]:
        """Those that price while these bands hold; see Tariff.chain."""
        found = []
        for row in rows:
            if not row.bands or row.bands & holds:
                found.append(row)
                if row.ends:
                    break
        return tuple(found)

    def inputs(self, facts: Mapping[str, Any]) -> Inputs:
        return Inputs(str(facts["service"]), attributes=self.attributes)

    def make(self, occurs: Occurs, to_ms: int = 0) -> Rated | None:
        """The ladder of a region at a time, made as rating makes it."""
        return self.make_at(occurs.region, occurs.span.from_ms, to_ms)

    def make_at(self, region: Region, at_ms: int, to_ms: int = 0) -> Rated | None:
        facts = self.lines.facts(region.box)
        return make(self.tariff, facts, self.inputs(facts), at_ms, to_ms=to_ms)

    def drafts(self, occurs: Occurs) -> list[LadderDraft]:
        """Of its rows, without surcharges, discounts and tax; ValueError where there is no price."""
        facts = self.lines.facts(occurs.region.box)
        terms = Terms(attributes=self.attributes)
        return [row.draft(str(facts["service"]), facts, terms) for row in occurs.rows]

    def feeds(self, region: Region, conditions: Iterable[Any]) -> bool:
        """Whether some line of the region meets these conditions."""
        box = self.lines.box(conditions)
        return box is not None and self.lines.meet(region.box, box) is not None

    def dearest(self, table: str, column: str) -> Mapping[str, Amount]:
        """Zone -> the largest amount of money in this column."""
        found = self._dearest.get((table, column))
        if found is None:
            found = self._dearest[table, column] = {}
            texts = {(entry.zone, entry.columns.get(column)) for entry in self.parts.tables[table].samples}
            for zone, text in texts:
                try:
                    found[zone] = max(Amount.read(text), found.get(zone, Amount(0)))
                except ValueError:
                    continue  # not there, or no money: of no row, or it would not have loaded
        return found

    def of(self, region: Region) -> str:
        """The lines of a region, in words."""
        more = self.lines.describe(region.box)
        return f"{region.service} with {more}" if more else region.service

    def example(self, region: Region) -> str:
        """The plainest of its lines, in words: what it does not name is not there."""
        return ", ".join([region.service, *self.lines.example(region.box)])


Rule = Callable[[LintCase], Iterator[LintFinding]]


def _attributes(tariff: Tariff) -> dict[str, str]:
    """Of a subscriber for whom everything can be computed."""
    found: dict[str, str] = {}
    for row in tariff.rows:
        if isinstance(row.below, Column) and row.tally is not None:
            kind = row.tally.kind
            found[row.below.name] = "1" if kind == Kind.MONEY else f"1 {'s' if kind == Kind.SECONDS else _unit(kind)}"
        for _, given in givens(row):
            if isinstance(given.written, Column) and given.written.place == "subscriber":
                found.setdefault(given.written.name, "0.01" if isinstance(given, WrittenPrice) else "1")
    return found


def _unit(kind: Kind) -> str:
    return "octets" if kind == Kind.OCTETS else "units"


def givens(row: PriceRow) -> Iterator[tuple[str, Given[Any]]]:
    """(key of its element and field, value) of all that may stand in a column."""
    for element in row.elements:
        for field in element.__struct_fields__:
            value = getattr(element, field)
            if isinstance(value, (WrittenPrice, Blocks)):
                yield f"{element.key}.{field}", value


def money_of(row: PriceRow) -> Iterator[tuple[TariffElement, WrittenMoney]]:
    """All that its elements ask for."""
    for element in row.elements:
        for asked in element.written_money():
            yield element, asked


def unit_price(row: PriceRow) -> WrittenMoney | None:
    """Money that is asked for its units; None: none is."""
    return next((asked for _, asked in money_of(row) if asked.per is not None and not asked.beside), None)


def has_fee(row: PriceRow) -> bool:
    return any(asked.changes == "fee" for _, asked in money_of(row))


def is_paid_by_bundle(row: PriceRow) -> bool:
    """Included units pay, as long as there are any."""
    return any(element.included() is not None for element in row.elements)


def free_element(row: PriceRow) -> TariffElement | None:
    """By which its use costs nothing."""
    return next((element for element in row.elements if element.free), None)


def row_name(row: PriceRow) -> str:
    return f'row "{row.name}"'


def named_rows(rows: Iterable[PriceRow]) -> str:
    return " and ".join(f'"{row.name}"' for row in rows)


def price_text(step: Step, kind: Kind | None) -> str:
    """ "0.05 for 1 min"; a price finer than a micro-unit as the fraction it is."""
    if step.kind != Kind.MONEY:
        return "paid by the bundle"
    if step.per == 1:
        return f"{money(step.price)} for {quantity(kind, step.block)}"
    return f"{money(step.price)} for {quantity(kind, step.block * step.per)}"
