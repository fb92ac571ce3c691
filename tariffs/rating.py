"""Rating: what do these lines cost, by the tariffs of this subscriber, at this instant?

Pure and total. For a line whose like was rated before it is a dict look-up of a ladder packed long before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from tariffs.catalog import Assignment, Catalog
from tariffs.draft import Verdict
from tariffs.inputs import Inputs
from tariffs.making import find, sooner
from tariffs.tariff import Rated, Tariff
from tariffs.units import Kind

Quote = list[Rated]
"""One for each line, in their order."""

UNASSIGNED: Final = Rated(verdict=Verdict.RATING_FAILED, why="no tariff of the subscriber is in force")
UNMATCHED: Final = Rated(verdict=Verdict.RATING_FAILED, why="no row of the subscriber's tariffs matches")


def rate(
    catalog: Catalog,
    assignments: Sequence[Assignment],
    currency: str,
    lines: Iterable[tuple[int | None, int | None]],
    inputs: Inputs,
    at_ms: int,
    since_ms: Sequence[int] = (),
) -> Quote:
    """The first assignment in force whose tariff has a row for a line prices it.

    lines:     (rating group, service identifier) of each
    at_ms:     instant of the event, by which assignments and versions are chosen
    since_ms:  of each line where its use by time began, if it may have no ladder of its own and no grant follows
    """
    chain, next_ms = in_force(catalog, assignments, at_ms)
    if not chain:
        return [UNASSIGNED for _ in lines]
    quote = []
    for place, line in enumerate(lines):
        rated = _line(catalog, chain, currency, line, inputs, at_ms)
        if since_ms and since_ms[place] < at_ms:
            rated = since_it_began(rated, _line(catalog, chain, currency, line, inputs, since_ms[place], at_ms))
        quote.append(_cut(rated, next_ms) if next_ms else rated)
    return quote


def since_it_began(now: Rated, began: Rated) -> Rated:
    """What counts time is priced from where its use began, other units as of now."""
    if now.unit == Kind.SECONDS:
        return began
    if now.beside is not None and now.beside.unit == Kind.SECONDS:
        return msgspec.structs.replace(now, beside=began.beside)
    return now


def in_force(catalog: Catalog, assignments: Sequence[Assignment], at_ms: int) -> tuple[list[Tariff], int]:
    """The tariffs a subscriber has at an instant, in the order in which they are tried, as promotions change them; and
    when it will be others, 0 where that is not known."""
    chain: list[Tariff] = []
    promotions: list[Tariff] = []
    next_ms = 0
    for assignment in assignments:
        from_ms, until_ms = assignment.from_ms, assignment.until_ms
        if at_ms < from_ms:
            next_ms = sooner(next_ms, from_ms)
        elif not until_ms or at_ms < until_ms:
            tariff, another_ms = catalog.in_force(assignment.tariff, at_ms)
            if until_ms or another_ms:
                next_ms = sooner(next_ms, sooner(until_ms, another_ms))
            kind = promotions if tariff is not None and tariff.parts.promotion else chain
            if tariff is not None and tariff not in kind:  # assigned twice it is not twice as cheap
                kind.append(tariff)
    if promotions:
        chain = [catalog.changed(tariff, tuple(promotions)) for tariff in chain]
    return chain, next_ms


def _line(
    catalog: Catalog,
    chain: list[Tariff],
    currency: str,
    line: tuple[int | None, int | None],
    inputs: Inputs,
    at_ms: int,
    to_ms: int = 0,
) -> Rated:
    ahead_ms = 0  # from when on a tariff in front of the one that prices now will
    for tariff in chain:
        exchange, another_ms, pair = None, 0, (tariff.currency, currency)
        if tariff.currency != currency:
            exchange = catalog.exchanges.at(*pair, at_ms)
            another_ms = catalog.exchanges.another_ms(*pair, at_ms)
        rated = find(tariff, line[0], line[1], inputs, at_ms, exchange, to_ms)
        if rated is None:
            continue
        if rated.verdict is Verdict.NOT_YET:
            ahead_ms = sooner(ahead_ms, rated.cut_ms)
        elif rated.verdict is Verdict.PRICED and exchange is None and tariff.currency != currency:
            return _no_exchange(*pair)
        else:
            until_ms = sooner(ahead_ms, another_ms)
            return _cut(rated, until_ms) if until_ms else rated
    return UNMATCHED


def _no_exchange(of: str, into: str) -> Rated:
    why = f"no exchange rate from {of} into {into}, the currency of the account"
    return Rated(verdict=Verdict.RATING_FAILED, why=why)


def _cut(rated: Rated, at_ms: int) -> Rated:
    """Another tariff or rate of exchange may price from then on: no grant runs over it."""
    if rated.cut_ms and rated.cut_ms <= at_ms:
        return rated
    keeps = rated.change_ms < at_ms
    return msgspec.structs.replace(
        rated,
        cut_ms=at_ms,
        change_ms=rated.change_ms if keeps else 0,
        dearest=rated.dearest if keeps else b"",
    )
