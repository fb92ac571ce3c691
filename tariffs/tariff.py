"""One version of a tariff, compiled: which of its rows price a line, now and later."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from tariffs.calendar import Schedule, TimeBand, zone
from tariffs.counters import CounterRule
from tariffs.destinations import Numbers, PrefixTable
from tariffs.draft import RatingVerdict
from tariffs.fees import FeeRule
from tariffs.inputs import Inputs
from tariffs.ladder import STEPS_MAX, Ladder
from tariffs.match import VISITED_CLOCK, Condition, View
from tariffs.notation import Column
from tariffs.row import PriceRow
from tariffs.terms import Change, CurrencyExchange, Terms
from tariffs.thresholds import DefaultThreshold
from tariffs.units import Kind
from tariffs.visited_zones import ACCOUNT_ZONE, CLOCKS, VISITED_ZONE, visited_zone, zone_name

HORIZON_MS: Final = 6 * 3_600_000
"""How far a ladder of time knows the bands beyond their next change: no grant is used for longer."""


class Rated(msgspec.Struct, frozen=True, kw_only=True):
    """The result of rating one line. One object serves all equal lines."""

    verdict: RatingVerdict
    unit: Kind | None = None
    """What the line counts in; None: whatever its service counts in."""
    ladder: Ladder | None = None
    packed: bytes = b""
    """The ladder, ready for the store; b"" where there is none."""
    free: bool = False
    emergency: bool = False
    why: str = ""
    """Tariff, version and rows that priced it, or the reason in words that none did."""
    change_ms: int = 0
    """The price of volume or pieces changes then, inside the ladder; 0: it does not."""
    dearest: bytes = b""
    """A grant that runs over `change_ms` holds by this ladder; b"": none may."""
    cut_ms: int = 0
    """No grant of now may be used beyond this instant; 0: no such instant."""
    whole: bool = False
    blocks: bool = False
    minimum: int = 0
    quantum: int = 0
    """See elements/grant.py."""
    beside: Rated | None = None
    """What is charged besides, in another unit."""
    later: tuple[NextPricing, ...] = ()
    """What prices use by time from `cut_ms` on, where it lasts longer."""
    known_ms: int = 0
    """How far `later` knows; 0: to the end of the use."""


class NextPricing(NamedTuple):
    """What prices use by time from an instant on."""

    from_ms: int
    rated: Rated


class Guarded(NamedTuple):
    """Something that counts where all its conditions hold, and in which bands (0: always)."""

    conditions: tuple[Condition, ...]
    bands: int
    what: Any

    def holds(self, facts: Mapping[str, Any]) -> bool:
        return all(condition.holds(facts) for condition in self.conditions)


class Chain(NamedTuple):
    """What prices a line while the clock shows the same bands."""

    rows: tuple[PriceRow, ...]
    changes: tuple[tuple[int, Change], ...]


class Segment(NamedTuple):
    chain: Chain
    until_ms: int
    """0: for good."""


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What a tariff is made of."""

    name: str
    currency: str
    rows: Sequence[PriceRow] = ()
    version: int = 1
    from_ms: int = 0
    zone: str = ACCOUNT_ZONE
    """A name, or one of CLOCKS."""
    bands: Mapping[str, TimeBand] = {}
    numbers: Numbers | None = None
    tables: Mapping[str, PrefixTable] = {}
    tallies: Mapping[str, CounterRule] = {}
    changes: Sequence[tuple[int, Guarded]] = ()
    """(+1 surcharge or -1 discount, what), in order of application."""
    taxes: Sequence[Guarded] = ()
    tags: Mapping[str, str] = {}
    """Charging tags of all that it prices; rows and fees may say others."""
    promotion: bool = False
    """It has no rows, and changes what others price."""
    thresholds: Sequence[DefaultThreshold] = ()
    """What it brings for the accounts of its subscribers."""
    fees: Sequence[FeeRule] = ()
    """Recurring fees of each assignment of it."""


class Tariff:
    def __init__(self, parts: Parts, tag: str = "") -> None:
        """tag: name and version as they stand on usage records, unless it is just these"""
        self.parts = parts
        self.name, self.version, self.currency, self.from_ms = parts.name, parts.version, parts.currency, parts.from_ms
        self.tag = tag or f"{parts.name}@{parts.version}"
        self.rows = tuple(parts.rows)
        guarded: list[Any] = [*self.rows, *parts.tallies.values(), *(c for _, c in parts.changes), *parts.taxes]
        named = {tally.by for tally in parts.tallies.values() if tally.by}
        columns = [column for row in self.rows for column in row.columns()]
        columns += [Column("subscriber", one.what.attribute) for _, one in parts.changes if one.what.attribute]
        self._moving = [tally for tally in parts.tallies.values() if tally.moves]
        self.moves = bool(parts.bands or self._moving)
        """The clock has a say in its prices."""
        clocks = ({parts.zone} if parts.bands else set()) | {tally.zone or parts.zone for tally in self._moving}
        self._by_account, self._by_network = bool(clocks & {*CLOCKS}), VISITED_ZONE in clocks
        named |= ({"time_zone"} if self._by_account else set()) | ({VISITED_CLOCK} if self._by_network else set())
        asked = (condition for each in guarded for condition in each.conditions)
        self.view = View(asked, columns, named, parts.tables, parts.numbers)
        self._schedules: dict[str, Schedule] = {}
        self._epochs: dict[tuple[str, str], tuple[int, int]] = {}
        self.look = self.view.key()
        self.remembered: dict[Any, Rated | None] = {}
        """Of build_ladder.find."""

    def changed_by(self, promotions: Iterable[Tariff]) -> Tariff:
        """This tariff with the surcharges and discounts of these, after its own of their kind; amounts in another
        currency change nothing."""
        bands, changes, tag = dict(self.parts.bands), list(self.parts.changes), self.tag
        for one in promotions:
            shift, tag = len(bands), f"{tag}+{one.tag}"
            bands |= {f"{one.name}/{name}": band for name, band in one.parts.bands.items()}
            changes += [
                (sign, each._replace(bands=each.bands << shift))
                for sign, each in one.parts.changes
                if each.what.amount is None or one.currency == self.currency
            ]
        changes.sort(key=lambda one: -one[0])  # surcharges first; each list in its order
        return Tariff(msgspec.structs.replace(self.parts, bands=bands, changes=changes), tag)

    # --- when

    def schedule(self, inputs: Inputs) -> Schedule:
        name = zone_name(self.parts.zone, inputs)
        found = self._schedules.get(name)
        if found is None:
            found = self._schedules[name] = Schedule(zone(name), tuple(self.parts.bands.values()))
        return found

    def since_ms(self, inputs: Inputs, at_ms: int) -> int:
        """Since when bands and periods are what they are at this instant."""
        if not self.moves:
            return 0
        clocks = self.clocks(inputs)
        last = self._epochs.get(clocks)
        if last is not None and last[0] <= at_ms and (at_ms < last[1] or not last[1]):
            return last[0]
        stretch = self._epochs[clocks] = self.stretch(inputs, at_ms)
        return stretch[0]

    def stretch(self, inputs: Inputs, at_ms: int) -> tuple[int, int]:
        """Half open, around an instant: in it the clock changes no price and ends no period. Until 0: for good."""
        from_ms, until_ms, _ = self.schedule(inputs).at(at_ms)
        for tally in self._moving:
            _, period_from_ms, period_until_ms = tally.period.at(self.counter_zone(tally, inputs), at_ms)
            from_ms = max(from_ms, period_from_ms)
            until_ms = min(until_ms or period_until_ms, period_until_ms or until_ms)
        return from_ms, until_ms

    def clocks(self, inputs: Inputs) -> tuple[str, str]:
        """What its clocks depend on: two requests that have the same read the same ones."""
        visited = visited_zone(inputs.visited) if self._by_network else ""
        return inputs.time_zone if self._by_account else "", visited

    def counter_zone(self, tally: CounterRule, inputs: Inputs) -> ZoneInfo:
        """On whose clock the periods of a counter begin."""
        return zone(zone_name(tally.zone or self.parts.zone, inputs))

    # --- what

    def chain(self, facts: Mapping[str, Any], bands: int) -> Chain:
        """Rows and changes of price that hold while these bands do."""
        return Chain(tuple(self._rows_of(facts, bands)), self.changes(facts, bands))

    def _rows_of(self, facts: Mapping[str, Any], bands: int) -> Iterator[PriceRow]:
        for row in self.rows:
            if (not row.bands or row.bands & bands) and row.holds(facts):
                yield row
                if row.ends:
                    break

    def changes(self, facts: Mapping[str, Any], bands: int) -> tuple[tuple[int, Change], ...]:
        """Surcharges and discounts that hold while these bands do."""
        changes: list[tuple[int, Change]] = []
        closed = set()
        for sign, one in self.parts.changes:
            key = sign, one.what.fees
            if key not in closed and (not one.bands or one.bands & bands) and one.holds(facts):
                changes.append((sign, one.what))
                if not one.what.stack:
                    closed.add(key)
        return tuple(changes)

    def timeline(self, facts: Mapping[str, Any], inputs: Inputs, at_ms: int, to_ms: int) -> list[Segment]:
        """What prices the line from an instant on, one after the other, as far as it matters: beyond `to_ms` for a
        while."""
        if not self.parts.bands:
            return [Segment(self.chain(facts, 0), 0)]
        schedule = self.schedule(inputs)
        stretch = schedule.at(at_ms)
        segments = [Segment(self.chain(facts, stretch.holds), stretch.until_ms)]
        end_ms = max(stretch.until_ms, to_ms) + HORIZON_MS
        while stretch.until_ms and stretch.until_ms < end_ms and len(segments) < STEPS_MAX:
            stretch = schedule.at(stretch.until_ms)
            chain = self.chain(facts, stretch.holds)
            if chain == segments[-1].chain:
                segments.pop()
            segments.append(Segment(chain, stretch.until_ms))
        return segments

    def terms(self, chain: Chain, facts: Mapping[str, Any], inputs: Inputs, exchange: CurrencyExchange | None) -> Terms:
        tax = next((one.what for one in self.parts.taxes if one.holds(facts)), None)
        tags = next((row.tags for row in chain.rows if row.tags), {})
        return Terms(chain.changes, tax, exchange, inputs.attributes, {**self.parts.tags, **tags})

    def said_tags(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        """Charging tags, and where it says them."""
        yield "tags", self.parts.tags
        for row in self.rows:
            yield f"row {row.name}: tags", row.tags
        for fee in self.parts.fees:
            yield f"fee {fee.name}: tags", fee.written.tags

    # --- recurring fees

    @cached_property
    def fee_view(self) -> View:
        """What the price of a recurring fee depends on: no row has a say."""
        parts = self.parts
        guarded: list[Any] = [*parts.fees, *(one for _, one in parts.changes), *parts.taxes]
        return View(
            (condition for each in guarded for condition in each.conditions),
            (),
            (),
            parts.tables,
            parts.numbers,
        )

    def fee_terms(
        self,
        changes: tuple[tuple[int, Change], ...],
        facts: Mapping[str, Any],
        inputs: Inputs,
        exchange: CurrencyExchange | None,
        tags: Mapping[str, str],
    ) -> Terms:
        terms = self.terms(Chain((), changes), facts, inputs, exchange)
        return Terms(terms.changes, terms.tax, exchange, inputs.attributes, {**terms.tags, **tags})
