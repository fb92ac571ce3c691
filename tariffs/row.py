"""One row of a tariff: when it prices, how far, and what it makes of a price."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from tariffs.counters import CounterRule
from tariffs.destinations import DestinationRow
from tariffs.draft import LadderDraft
from tariffs.elements.element import TariffElement
from tariffs.ladder import Step
from tariffs.match import ENDS, Condition, Facts
from tariffs.notation import Column, Given, laid_at
from tariffs.terms import Terms


def columns_of(element: TariffElement) -> Iterator[Column]:
    for field in element.__struct_fields__:
        value = getattr(element, field)
        if isinstance(value, Given) and isinstance(value.written, Column):
            yield value.written


class PriceRow:
    """Rows that match a line are taken from the top: each prices until its limit is reached (`first`, `below`, the
    units of a bundle), and the first one without a limit is the last."""

    def __init__(
        self,
        name: str,
        conditions: Iterable[Condition],
        elements: Iterable[TariffElement],
        *,
        bands: int = 0,
        first: int = 0,
        tally: CounterRule | None = None,
        below: object = None,
    ) -> None:
        """
        bands:  bits of the bands in any of which it prices; 0: at all times
        first:  it ends at this many units of the line; 0: not so
        tally:  it ends when this counter ...
        below:  ... has this value, as written
        """
        self.name, self.bands, self.first, self.tally = name, bands, first, tally
        self.below = Column.read(below) or (tally.limit(below) if tally else 0)
        self.conditions = tuple(conditions)
        self.elements = tuple(elements)
        self.tags = next((tags for element in self.elements if (tags := element.charging_tags())), {})
        self.ends = not (first or tally or any(element.included() is not None for element in self.elements))
        """Nothing comes after it."""
        self._entries = {
            place: one.fact for one in self.conditions for place in ENDS if one.fact.startswith(f"{place} ")
        }

    def columns(self) -> Iterator[Column]:
        """Values it takes from a destination or an attribute."""
        if isinstance(self.below, Column):
            yield self.below
        for element in self.elements:
            yield from columns_of(element)

    def holds(self, facts: Facts) -> bool:
        return all(condition.holds(facts) for condition in self.conditions)

    def is_for_emergencies(self, service: str) -> bool:
        """Whether it prices emergencies, of this service as far as it says."""
        said = {"service": service}
        return any(element.for_emergencies() for element in self.elements) and all(
            condition.holds(said) for condition in self.conditions if condition.fact in said
        )

    def limit(self, attributes: Mapping[str, str]) -> int:
        """Of its counter; ValueError where an attribute does not say one."""
        if not isinstance(self.below, Column):
            return self.below
        written = attributes.get(self.below.name)
        if not written or self.tally is None:
            raise ValueError(f"expected the subscriber to have the attribute {self.below.name}")
        with laid_at(self.below):
            return self.tally.limit(written)

    def entries(self, facts: Facts) -> Mapping[str, DestinationRow]:
        """Of the tables it asks, by "to" and "from"."""
        return {place: facts[fact] for place, fact in self._entries.items()}

    def draft(self, service: str, facts: Facts, terms: Terms) -> LadderDraft:
        """Its price; ValueError where that cannot be computed."""
        draft = LadderDraft(service, self.entries(facts), terms)
        for element in self.elements:
            element.apply(draft)
        return draft

    def bounded(
        self, steps: Iterable[Step], counter: str, limit: int, until_ms: int, dues: int, ends_ms: int
    ) -> Iterator[Step]:
        """Steps within its limits, and before `until_ms` (0: for good); their blocks end at `ends_ms` (0: never)."""
        for step in steps:
            reach = min(step.reach or self.first, self.first or step.reach)
            yield msgspec.structs.replace(
                step,
                reach=reach,
                counter=counter,
                counter_reach=limit if counter else 0,
                until_ms=until_ms,
                dues=dues,
                ends_ms=ends_ms,
            )
