"""Limits of what may be spent: counters of a subscriber, or of all subscribers of an account together, that nothing is
granted beyond (charging.md 15). They are added to the ladder of a line; the tariff knows nothing of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from tariffs.build_ladder import sooner
from tariffs.calendar import CounterPeriod, zone
from tariffs.inputs import Inputs
from tariffs.ladder import Count, Counted, Ladder, limit_key
from tariffs.tariff import Rated
from tariffs.units import Kind

LIMITS_MAX: Final = 16
"""Of one subscriber, and as many of an account."""

_pack: Final = msgspec.msgpack.Encoder().encode
_ladder: Final = msgspec.msgpack.Decoder(Ladder).decode
_period: Final = lru_cache(1_024)(CounterPeriod.read)


class SpendingLimit(msgspec.Struct, array_like=True, frozen=True):
    """So much may be used or spent in a period by the lines that it is about."""

    name: str
    kind: int
    """Kind: of money micro-units of what they cost, else units of the lines that count in it, whatever pays them."""
    amount: int
    period: str
    """day, week, month, "month from 15" (the billing day), year, ever."""
    services: tuple[str, ...] = ()
    """Names in the service table; empty: all."""
    visited: tuple[str, ...] = ()
    """Serving networks, MCC and MNC, or the begin of them with a "*" behind it; empty: all..."""
    not_visited: tuple[str, ...] = ()
    """... but not these; nor a request that does not say where it is, where either is given."""
    shared: bool = False
    """All subscribers of the account together."""

    def period_at(self, time_zone: str, at_ms: int) -> tuple[str, int, int]:
        """Key, begin and end of the period around an instant; ("", 0, 0) for ever."""
        return _period(self.period).at(zone(time_zone or "UTC"), at_ms)

    def key(self, subscriber: str, period: str) -> str:
        """Of its counter in the account."""
        return limit_key("" if self.shared else subscriber, self.name, period)

    def concerns(self, inputs: Inputs, unit: Kind | None) -> bool:
        if self.kind not in (Kind.MONEY, unit) or (self.services and inputs.service not in self.services):
            return False
        if not self.visited and not self.not_visited:
            return True
        at = inputs.visited
        return bool(at) and (not self.visited or _is_one_of(at, self.visited)) and not _is_one_of(at, self.not_visited)


def read_period(written: str) -> str:
    """A period of the calendar, or "ever", in its one spelling; ValueError."""
    expected = f'expected day, week, month, "month from 15", year or ever, not {written!r}'
    try:
        period = CounterPeriod.read(written)
    except ValueError as why:  # of a counter, which may have a window too
        raise ValueError(expected if "first use" in str(why) else str(why)) from None
    if period.window_ms:
        raise ValueError(expected)
    return period.written


def _is_one_of(network: str, patterns: Sequence[str]) -> bool:
    return any(network.startswith(one[:-1]) if one.endswith("*") else network == one for one in patterns)


class LimitCounts(NamedTuple):
    """The limits of a line at an instant."""

    counts: tuple[Count, ...]
    until_ms: int
    """When the first of their periods ends; 0: never."""


def counts_of(limits: Sequence[SpendingLimit], inputs: Inputs, unit: Kind | None, at_ms: int) -> LimitCounts:
    """unit: what the line counts in"""
    counts, first_ms = [], 0
    for limit in limits:
        if limit.concerns(inputs, unit):
            period, _, until_ms = limit.period_at(inputs.time_zone, at_ms)
            what = Counted.MONEY if limit.kind == Kind.MONEY else Counted.UNITS
            counts.append(Count(limit.key(inputs.subscriber, period), what, until_ms, limit=limit.amount))
            first_ms = sooner(first_ms, until_ms)
    return LimitCounts(tuple(counts), first_ms)


@lru_cache(16_384)
def with_counts(packed: bytes, counts: tuple[Count, ...]) -> tuple[Ladder, bytes]:
    """A packed ladder that feeds these counters too."""
    ladder = _ladder(packed)
    ladder = msgspec.structs.replace(ladder, counts=(*ladder.counts, *counts))
    return ladder, _pack(ladder)


def limited(rated: Rated, limits: Sequence[SpendingLimit], inputs: Inputs, at_ms: int) -> tuple[Rated, int]:
    """The price of a line with its limits, and until when they are these; 0: for good. What is free by its tariff and
    emergencies are left alone."""
    if rated.ladder is None or rated.free or rated.emergency:
        return rated, 0
    counts, until_ms = counts_of(limits, inputs, rated.unit, at_ms)
    beside = rated.beside
    if beside is not None and beside.ladder is not None:
        of_beside, beside_ms = counts_of(limits, inputs, beside.unit, at_ms)
        if of_beside:
            ladder, packed = with_counts(beside.packed, of_beside)
            beside = msgspec.structs.replace(beside, ladder=ladder, packed=packed)
            until_ms = sooner(until_ms, beside_ms)
    if counts:
        ladder, packed = with_counts(rated.packed, counts)
        dearest = with_counts(rated.dearest, counts)[1] if rated.dearest else b""
        rated = msgspec.structs.replace(rated, ladder=ladder, packed=packed, dearest=dearest)
    return (rated if beside is rated.beside else msgspec.structs.replace(rated, beside=beside)), until_ms
