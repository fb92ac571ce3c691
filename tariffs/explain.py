"""Why a line is priced as it is: the rows that price it and why the others do not, and how their prices were made.

Pure: from the same tariff, facts and instant it says the same years later.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from tariffs import phrases
from tariffs.build_ladder import LadderBuild
from tariffs.calendar import zone
from tariffs.catalog import Assignment, Catalog
from tariffs.destinations import DestinationRow
from tariffs.draft import LadderDraft
from tariffs.elements.element import WrittenMoney
from tariffs.inputs import Inputs
from tariffs.ladder import Counted
from tariffs.match import Condition
from tariffs.notation import Column, Quantity
from tariffs.price import StartPosition, traced
from tariffs.rating import in_force, rate
from tariffs.row import PriceRow
from tariffs.session_total import SessionTotal
from tariffs.tariff import Chain, NextPricing, Rated, Tariff
from tariffs.terms import CurrencyExchange, Terms
from tariffs.units import Kind


class RowFate(msgspec.Struct, frozen=True):
    """One row of one tariff, and what became of it."""

    tariff: str
    row: str
    fate: Literal["prices", "lost", "not asked"]
    why: str


class PriceChange(msgspec.Struct, frozen=True):
    """What a surcharge, discount, tax or exchange made of a price."""

    name: str
    price: str
    """After it."""


class PriceMade(msgspec.Struct, frozen=True):
    """A price of a row, from what is written to what is debited."""

    row: str
    what: str
    """Element and field: "flat.price", "setup.fee"."""
    written: str
    changes: list[PriceChange]
    """In order: surcharges, discounts, tax, exchange."""


class Span(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    """What prices the line for a while."""

    from_: str
    until: str
    """"" for good."""
    bands: list[str]
    rows: list[str]


class Explanation(msgspec.Struct, frozen=True):
    """Of one line at one instant. Times are of `zone`, amounts decimal texts in the tariff's currency until `changes`
    say otherwise."""

    at: str
    zone: str
    verdict: str
    why: str
    """Tariff, version and rows that price it, or why none does."""
    counts_in: str
    facts: dict[str, str]
    """What the tariff looked at."""
    rows: list[RowFate]
    timeline: list[Span]
    prices: list[PriceMade]
    ladder: list[str]
    beside: list[str]
    """What is charged besides, in another unit."""
    grant: list[str]
    """What a grant made now has to keep to."""

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"{self.at} ({self.zone}): {self.verdict} by {self.why}"
        yield from _section("looked at", [f"{fact} = {value}" for fact, value in self.facts.items()])
        yield from _section("rows", [f"{r.fate:9} {r.tariff}:{r.row}  {r.why}".rstrip() for r in self.rows])
        spans = [f"{s.from_} to {s.until or 'ever'}: {'+'.join(s.rows) or 'no row'}" for s in self.timeline]
        yield from _section("time line", spans)
        made = [
            f"{p.row}: {p.what} {p.written}" + "".join(f" -> {one.price} ({one.name})" for one in p.changes)
            for p in self.prices
        ]
        yield from _section("prices", made)
        yield from _section(f"ladder, in {self.counts_in}" if self.counts_in else "ladder", self.ladder)
        yield from _section("charged besides", self.beside)
        yield from _section("a grant", self.grant)


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    lines = list(lines)
    if lines:
        yield f"{title}:"
        yield from (f"  {line}" for line in lines)


def explain(
    catalog: Catalog,
    assignments: Sequence[Assignment],
    currency: str,
    line: tuple[int | None, int | None],
    inputs: Inputs,
    at_ms: int,
) -> Explanation:
    """The price of a line, as `rating.rate` makes it: arguments as there."""
    (rated,) = rate(catalog, assignments, currency, [line], inputs, at_ms)
    chain, _ = in_force(catalog, assignments, at_ms)
    fates: list[RowFate] = list(_unassigned(catalog, assignments, at_ms, inputs))
    told: _Narration | None = None
    for tariff in chain:
        exchange = catalog.exchanges.at(tariff.currency, currency, at_ms) if tariff.currency != currency else None
        one = _Narration(tariff, line, inputs, at_ms, exchange)
        fates += one.fates(priced=told.tariff.tag if told else "")
        if told is None and one.chain.rows:
            told = one
    of = told.zone if told else zone(inputs.time_zone or "UTC")
    return Explanation(
        at=phrases.instant(at_ms, of),
        zone=of.key,
        verdict=rated.verdict.value,
        why=rated.why,
        counts_in=rated.unit.name.lower() if rated.unit is not None else "",
        facts=told.seen() if told else {},
        rows=fates,
        timeline=list(told.timeline()) if told else [],
        prices=list(told.prices()) if told else [],
        ladder=_ladder(rated, of, currency),
        beside=_ladder(rated.beside, of, currency),
        grant=list(_grant(rated, of)),
    )


def _ladder(rated: Rated | None, of: ZoneInfo, currency: str) -> list[str]:
    if rated is None or rated.ladder is None:
        return []
    return phrases.ladder(rated.ladder, rated.unit, of, currency)


def _grant(rated: Rated, of: ZoneInfo) -> Iterator[str]:
    if rated.change_ms:
        told = ", or holds the dearer of both prices where the client is told" if rated.dearest else ""
        yield f"ends at {phrases.instant(rated.change_ms, of)}, when the price changes{told}"
    if rated.cut_ms:
        yield f"ends at {phrases.instant(rated.cut_ms, of)} at the latest"
    if rated.whole:
        yield "all that is wanted or nothing"
    if rated.blocks:
        yield "to the end of a block"
    if rated.minimum:
        yield f"at least {phrases.quantity(rated.unit, rated.minimum)}, unless it is the last"
    if rated.quantum:
        yield f"a multiple of {phrases.quantity(rated.unit, rated.quantum)}"


def _unassigned(catalog: Catalog, assignments: Iterable[Assignment], at_ms: int, inputs: Inputs) -> Iterator[RowFate]:
    of = zone(inputs.time_zone or "UTC")
    for one in assignments:
        if at_ms < one.from_ms:
            yield RowFate(one.tariff, "", "not asked", f"assigned from {phrases.instant(one.from_ms, of)} on")
        elif one.until_ms and at_ms >= one.until_ms:
            yield RowFate(one.tariff, "", "not asked", f"assigned until {phrases.instant(one.until_ms, of)}")
        elif catalog.in_force(one.tariff, at_ms)[0] is None:
            yield RowFate(one.tariff, "", "not asked", "no version of it is valid then")


class _Narration:
    """One tariff that is asked about a line."""

    def __init__(
        self,
        tariff: Tariff,
        line: tuple[int | None, int | None],
        inputs: Inputs,
        at_ms: int,
        exchange: CurrencyExchange | None,
    ) -> None:
        self.tariff, self._inputs, self._exchange, self._at_ms = tariff, inputs, exchange, at_ms
        self._facts = tariff.view.facts(inputs, *line)
        schedule = tariff.schedule(inputs)
        self.zone = schedule.zone
        self._holds = schedule.at(at_ms).holds
        self.chain: Chain = tariff.chain(self._facts, self._holds)
        self._terms: Terms = tariff.terms(self.chain, self._facts, inputs, exchange)

    def seen(self) -> dict[str, str]:
        shown = {fact: _shown(value) for fact, value in self._facts.items()}
        return {fact: value for fact, value in sorted(shown.items()) if value}

    def _names(self, bits: int) -> list[str]:
        return [name for place, name in enumerate(self.tariff.parts.bands) if bits >> place & 1]

    def fates(self, priced: str) -> Iterator[RowFate]:
        """priced: the tariff in front that prices the line already"""
        ended = ""
        for row in self.tariff.rows:
            if priced:
                yield RowFate(self.tariff.tag, row.name, "not asked", f"{priced} prices it")
            elif ended:
                yield RowFate(self.tariff.tag, row.name, "not asked", f"row {ended} above has no limit")
            elif why := self._lost(row):
                yield RowFate(self.tariff.tag, row.name, "lost", why)
            else:
                yield RowFate(self.tariff.tag, row.name, "prices", self._limit(row))
                ended = row.name if row.ends else ""

    def _lost(self, row: PriceRow) -> str:
        for condition in row.conditions:
            if not condition.holds(self._facts):
                return self._missed(condition)
        if row.bands and not row.bands & self._holds:
            now = " and ".join(self._names(self._holds)) or "no band"
            return f"its time is {' or '.join(self._names(row.bands))}, and {now} holds"
        return ""

    def _missed(self, condition: Condition) -> str:
        found = self._facts[condition.fact]
        shown = _shown(found) or ("no number of its table" if " " in condition.fact else "not given")
        wanted = " or ".join(_wanted(one) for one in condition.wanted)
        return f"{condition.fact} is {shown}, {f'and {wanted} is excluded' if condition.excludes else f'not {wanted}'}"

    def _limit(self, row: PriceRow) -> str:
        limits = []
        if row.first:
            kind = next((blocks.per.kind for one in row.elements if (blocks := one.written_blocks()) is not None), None)
            limits.append(f"the first {phrases.quantity(kind, row.first)} of the line")
        if row.tally is not None:
            limits.append(f"while {row.tally.name} is below {self._below(row.below, row.tally.kind)}")
        if not row.ends and not limits:
            limits.append("as long as there are units in the bundle")
        return ", ".join(limits)

    def _below(self, below: int | Column, kind: Kind) -> str:
        return repr(below) if isinstance(below, Column) else phrases.limit(kind, below, self.tariff.currency)

    def timeline(self) -> Iterator[Span]:
        build = LadderBuild(self.tariff, self._facts, self._inputs, self._at_ms, self._exchange, 0)
        from_ms = self._at_ms
        for segment in build.segments:
            holds = self.tariff.schedule(self._inputs).at(from_ms).holds
            yield Span(
                phrases.instant(from_ms, self.zone),
                phrases.instant(segment.until_ms, self.zone) if segment.until_ms else "",
                self._names(holds),
                [row.name for row in segment.chain.rows],
            )
            from_ms = segment.until_ms

    def prices(self) -> Iterator[PriceMade]:
        for row in self.chain.rows:
            draft = LadderDraft(self._inputs.service, row.entries(self._facts), self._terms)
            for element in row.elements:
                for asked in element.written_money():
                    yield self._made(row, f"{element.key}.{asked.field}", asked, draft)

    def _made(self, row: PriceRow, what: str, asked: WrittenMoney, draft: LadderDraft) -> PriceMade:
        try:
            written = draft.value(asked.price)
            steps = self._terms.trace(written, fee=asked.changes == "fee", changed=asked.changes is not None)
            changes = [PriceChange(name, phrases.amount(after)) for name, after in steps]
        except ValueError as bad:
            return PriceMade(row.name, what, str(bad), [])
        per = f" per {_per(asked.per)}" if asked.per is not None else ""
        return PriceMade(row.name, what + per, phrases.amount(written), changes)


def _per(per: Quantity) -> str:
    return phrases.quantity(per.kind, per.amount)


def _shown(value: Any) -> str:
    if value is None or value == "":
        return ""
    return f"{value.zone} (prefix {value.prefix or 'of all'})" if isinstance(value, DestinationRow) else str(value)


def _wanted(value: Any) -> str:
    return "none" if value in (None, "") else str(value)


def used(rated: Rated, unit: Kind, units: int, at_ms: int) -> tuple[int, list[str]]:
    """What a fresh line costs if money pays it all and nothing was counted before, and how that is climbed.
    ValueError where part of it has no price.

    rated:  over all its time (`rating.rate` with `spans`)
    at_ms:  instant of the first unit
    """
    ms = 1_000 if unit == Kind.SECONDS else 0
    end_ms, line, counters = at_ms + units * ms, StartPosition(), dict[str, int]()
    told: list[str] = []
    total, ladder = SessionTotal(), rated.ladder
    later = [NextPricing(at_ms, rated), *(rated.later if ms else ())]
    if rated.known_ms and ms:
        raise ValueError("it is longer than can be rated at once")
    cost, ends = 0, [one.from_ms for one in later[1:]]
    for one, until_ms in zip(later, [*ends, end_ms], strict=True):
        part = min(-(-(until_ms - at_ms) // ms) if ms else units, units - line.total)
        ladder = one.rated.ladder
        if ladder is None or one.rated.unit not in (None, unit):
            raise ValueError(f"a part of it is not sold: {one.rated.why}")
        paid, trace = traced(ladder, part, counters, at_ms=at_ms, ms_per_unit=ms, line=line)
        for count in ladder.counts:
            counters[count.key] = counters.get(count.key, 0) + (part if count.what == Counted.UNITS else paid)
        told += phrases.rungs(ladder, unit, trace)
        cost, at_ms = cost + total.due(ladder, paid), at_ms + part * ms
    if ladder is not None:
        told += phrases.session_sum(ladder, total.exact(ladder))
    return cost, told
