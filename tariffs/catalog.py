"""Tariffs with their versions and the exchange rates, as one immutable snapshot."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from functools import cached_property

import msgspec

from tariffs.fees import FEE
from tariffs.tariff import Tariff
from tariffs.terms import CurrencyExchange


class Assignment(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A tariff of a subscriber, from an instant on and until before another."""

    tariff: str
    from_ms: int = 0
    until_ms: int = 0
    """0: for good."""


class Exchanges:
    """Stored rates between currencies, each from an instant on until the next one of the pair."""

    def __init__(self, rates: Mapping[tuple[str, str], Iterable[tuple[int, CurrencyExchange]]] = {}) -> None:
        """rates: (from currency, into currency) -> (first instant, rate)"""
        self._rates = {pair: sorted(each, key=lambda one: one[0]) for pair, each in rates.items()}
        self._from_ms = {pair: [one[0] for one in each] for pair, each in self._rates.items()}

    def at(self, of: str, into: str, at_ms: int) -> CurrencyExchange | None:
        """The rate in force; None where there is none yet."""
        place = bisect_right(self._from_ms.get((of, into), []), at_ms)
        return self._rates[of, into][place - 1][1] if place else None

    def another_ms(self, of: str, into: str, at_ms: int) -> int:
        """When there will be another rate; 0 where that is not known."""
        instants = self._from_ms.get((of, into), [])
        place = bisect_right(instants, at_ms)
        return instants[place] if place < len(instants) else 0


class Catalog:
    """All published tariffs. Never changed: a new one replaces it."""

    def __init__(self, tariffs: Iterable[Tariff] = (), version: int = 0, exchanges: Exchanges | None = None) -> None:
        self.version = version
        self.exchanges = exchanges or Exchanges()
        versions: dict[str, list[Tariff]] = {}
        for tariff in tariffs:
            versions.setdefault(tariff.name, []).append(tariff)
        # Newest first; of two valid from the same instant the later version counts.
        self.tariffs: dict[str, tuple[Tariff, ...]] = {
            name: tuple(sorted(each, key=lambda tariff: (tariff.from_ms, tariff.version), reverse=True))
            for name, each in versions.items()
        }
        self._changed: dict[tuple[Tariff, ...], Tariff] = {}
        self._emergencies: dict[str, bool] = {}

    def in_force(self, name: str, at_ms: int) -> tuple[Tariff | None, int]:
        """The version that counts at an instant, and when another one will; 0: none that is published yet."""
        next_ms = 0
        for tariff in self.tariffs.get(name, ()):
            if tariff.from_ms <= at_ms:
                return tariff, next_ms
            next_ms = tariff.from_ms
        return None, next_ms

    def changed(self, tariff: Tariff, promotions: tuple[Tariff, ...]) -> Tariff:
        """The tariff as these promotions change it."""
        key = (tariff, *promotions)
        found = self._changed.get(key)
        if found is None:
            found = self._changed[key] = tariff.changed_by(promotions)
        return found

    @cached_property
    def scopes(self) -> frozenset[str]:
        """Tags of their own that bundles ask buckets for, beside the names of services; and that of recurring fees."""
        rows = (row for versions in self.tariffs.values() for tariff in versions for row in tariff.rows)
        tags = (getattr(element, "scope", "") for row in rows for element in row.elements)
        has_fees = any(tariff.parts.fees for versions in self.tariffs.values() for tariff in versions)
        return frozenset(tag for tag in tags if tag) | ({FEE} if has_fees else frozenset())

    def has_emergencies(self, service: str) -> bool:
        """Whether there is a row for emergencies that may price a line of this service."""
        found = self._emergencies.get(service)
        if found is None:
            rows = (row for versions in self.tariffs.values() for tariff in versions for row in tariff.rows)
            found = self._emergencies[service] = any(row.is_for_emergencies(service) for row in rows)
        return found
