"""Counters a tariff keeps: what was used or spent over a period, for tiers, caps and rentals."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal
from zoneinfo import ZoneInfo

import msgspec

from tariffs.calendar import CounterPeriod, zone
from tariffs.ladder import Count, Counted
from tariffs.match import Condition, Facts, Match
from tariffs.notation import Amount, Quantity
from tariffs.units import Kind

KINDS: Final = {"octets": Kind.OCTETS, "seconds": Kind.SECONDS, "units": Kind.UNITS, "money": Kind.MONEY}


class CounterDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """As written: `[counters.<name>]`. It belongs to the account: all its subscribers and tariffs that name it feed the
    same one."""

    counts: Literal["octets", "seconds", "units", "money"]
    """Units of the lines that match, or what they cost."""
    period: CounterPeriod
    """day, week, month, year, "month from 15", ever; or so long from its first use: "48 h", "7 d once"."""
    when: Match = Match()
    zone: str = ""
    """On whose clock its periods begin: a name, "account" or "visited"; that of the tariff unless given."""
    by: str = ""
    """A fact, such as service_id: one counter for each of its values. "subscriber": one for each member."""


class CounterRule:
    """A counter, ready for use."""

    def __init__(self, name: str, written: CounterDocument, conditions: Iterable[Condition]) -> None:
        self.name, self.kind, self.period, self.by = name, KINDS[written.counts], written.period, written.by
        self.conditions, self.zone = tuple(conditions), written.zone
        self.moves = self.period.at(zone("UTC"), 0)[2] > 0
        """Its key changes with the calendar."""

    def fed_by(self, facts: Facts, unit: Kind | None) -> bool:
        """What a line without a unit of its own counts in, is not known here: it feeds counters of money only."""
        if self.kind not in (Kind.MONEY, unit):
            return False
        return all(condition.holds(facts) for condition in self.conditions)

    def limit(self, written: object) -> int:
        """A row's `below`; ValueError when it is of another kind."""
        if self.kind == Kind.MONEY:
            return Amount.read(written).micro
        quantity = Quantity.read(written)
        if quantity.kind != self.kind:
            raise ValueError(f"expected {self.kind.name.lower()}, what the counter {self.name} counts, not {written!r}")
        return quantity.amount

    def count(self, facts: Facts, of: ZoneInfo, at_ms: int) -> Count:
        """The counter of this line at this time: its key in the account, and how long it lives."""
        period, _, until_ms = self.period.at(of, at_ms)
        value = facts[self.by] if self.by else None
        key = ":".join(part for part in (self.name, period, "" if value is None else str(value)) if part)
        what = Counted.MONEY if self.kind == Kind.MONEY else Counted.UNITS
        return Count(key, what, until_ms, self.period.window_ms, self.period.once)
