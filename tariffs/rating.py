"""Rating: what these lines cost by the tariffs of this subscriber at this instant.

Pure, and defined for every input. If an equal line was rated before, it is a dict look-up of the packed ladder.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from tariffs.build_ladder import find, sooner
from tariffs.catalog import Assignment, Catalog
from tariffs.draft import RatingVerdict
from tariffs.inputs import Inputs
from tariffs.limits import SpendingLimit, limited
from tariffs.stated_tags import tagged
from tariffs.tariff import NextPricing, Rated, Tariff
from tariffs.units import Kind

Quote = list[Rated]
"""One for each line, in their order."""

UNASSIGNED: Final = Rated(verdict=RatingVerdict.RATING_FAILED, why="no tariff of the subscriber is in force")
BY_TIME: Final = (Kind.SECONDS, None)
"""Units of lines that may count time."""

PIECES_MAX: Final = 64
"""Of use by time: more of it is not rated at once."""

UNMATCHED: Final = Rated(verdict=RatingVerdict.RATING_FAILED, why="no row of the subscriber's tariffs matches")


def rate(
    catalog: Catalog,
    assignments: Sequence[Assignment],
    currency: str,
    lines: Iterable[tuple[int | None, int | None]],
    inputs: Inputs,
    at_ms: int,
    spans: Sequence[tuple[int, int]] = (),
    limits: Sequence[SpendingLimit] = (),
) -> Quote:
    """The first assignment in force whose tariff has a row for a line prices it.

    lines:   (rating group, service identifier) of each
    at_ms:   instant of the event, by which assignments and versions are chosen
    spans:   of each line when its use by time begins and ends, if that is known and no grant follows: it is priced from
             there, by what is in force at each instant
    limits:  of the subscriber, and of who pays
    """
    quote = _at(catalog, assignments, currency, lines, inputs, at_ms, limits)
    for place, (line, span) in enumerate(zip(lines, spans, strict=True) if spans else ()):
        quote[place] = _over(catalog, assignments, currency, line, inputs, at_ms, quote[place], *span, limits)
    return quote


def _at(
    catalog: Catalog,
    assignments: Sequence[Assignment],
    currency: str,
    lines: Iterable[tuple[int | None, int | None]],
    inputs: Inputs,
    at_ms: int,
    limits: Sequence[SpendingLimit] = (),
) -> Quote:
    chain, next_ms = in_force(catalog, assignments, at_ms)
    if not chain:
        return [_cut(UNASSIGNED, next_ms) if next_ms else UNASSIGNED for _ in lines]
    quote = []
    has_tags = inputs.tags or inputs.subscriber_tags
    for line in lines:
        rated, until_ms = _line(catalog, chain, currency, line, inputs, at_ms), next_ms
        if has_tags:
            rated = tagged(rated, inputs)
        if limits:
            rated, limits_ms = limited(rated, limits, inputs, at_ms)
            until_ms = sooner(next_ms, limits_ms)
        quote.append(_cut(rated, until_ms) if until_ms else rated)
    return quote


def _over(
    catalog: Catalog,
    assignments: Sequence[Assignment],
    currency: str,
    line: tuple[int | None, int | None],
    inputs: Inputs,
    at_ms: int,
    now: Rated,
    from_ms: int,
    to_ms: int,
    limits: Sequence[SpendingLimit],
) -> Rated:
    """The lines as rated now, but lines that count time are priced from the begin of their use to its end."""
    first = now.unit in BY_TIME
    counted = now if first else now.beside
    if counted is None or counted.unit not in BY_TIME or from_ms >= to_ms:
        return now
    if from_ms == at_ms and not 0 < now.cut_ms < to_ms:
        return now
    (began,) = _at(catalog, assignments, currency, [line], inputs, from_ms, limits)
    part = began if first else began.beside
    if part is None or part.unit not in BY_TIME:
        return now
    if 0 < began.cut_ms < to_ms:
        later, known_ms = goes_on(catalog, assignments, currency, line, inputs, began.cut_ms, to_ms, limits)
        part = msgspec.structs.replace(part, cut_ms=began.cut_ms, later=later, known_ms=known_ms)
    return part if first else msgspec.structs.replace(now, beside=part)


def goes_on(
    catalog: Catalog,
    assignments: Sequence[Assignment],
    currency: str,
    line: tuple[int | None, int | None],
    inputs: Inputs,
    from_ms: int,
    to_ms: int,
    limits: Sequence[SpendingLimit] = (),
) -> tuple[tuple[NextPricing, ...], int]:
    """What prices use by time between two instants, each piece until the next one's begin: no ladder knows more than
    some bands, nor what comes after the end of a counter's period or of a version. And how far that reaches, 0: to the
    end."""
    pieces: list[NextPricing] = []
    while from_ms < to_ms and len(pieces) < PIECES_MAX:
        (rated,) = _at(catalog, assignments, currency, [line], inputs, from_ms, limits)
        pieces.append(NextPricing(from_ms, rated))
        if rated.cut_ms <= from_ms:
            return tuple(pieces), 0
        from_ms = rated.cut_ms
    return tuple(pieces), from_ms if from_ms < to_ms else 0


def going_on(rated: Rated, more: tuple[tuple[NextPricing, ...], int]) -> Rated:
    """With what prices use by time that goes on, whatever prices the line now."""
    later, known_ms = more
    beside = rated.beside
    if beside is not None:
        beside = msgspec.structs.replace(beside, later=later, known_ms=known_ms)
    return msgspec.structs.replace(rated, later=later, known_ms=known_ms, beside=beside)


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


def same_from(catalog: Catalog, assignments: Sequence[Assignment], currency: str, at_ms: int) -> int | None:
    """From when on, and as long as the catalog is this one, `rate` says of any line what it says of it at an instant;
    None where the clock has a say: bands, periods, rates of exchange, or a change that is published already."""
    chain, next_ms = in_force(catalog, assignments, at_ms)
    if next_ms or any(tariff.moves or tariff.currency != currency for tariff in chain):
        return None
    from_ms = 0
    for assignment in assignments:
        tariff, _ = catalog.in_force(assignment.tariff, at_ms)
        begun = [assignment.from_ms, assignment.until_ms, tariff.from_ms if tariff is not None else 0]
        from_ms = max([from_ms, *(instant for instant in begun if instant <= at_ms)])
    return from_ms


def _line(
    catalog: Catalog,
    chain: list[Tariff],
    currency: str,
    line: tuple[int | None, int | None],
    inputs: Inputs,
    at_ms: int,
) -> Rated:
    ahead_ms = 0  # from when on a tariff in front of the one that prices now will
    for tariff in chain:
        exchange, another_ms, pair = None, 0, (tariff.currency, currency)
        if tariff.currency != currency:
            exchange = catalog.exchanges.at(*pair, at_ms)
            another_ms = catalog.exchanges.another_ms(*pair, at_ms)
        rated = find(tariff, line[0], line[1], inputs, at_ms, exchange)
        if rated is None:
            continue
        if rated.verdict is RatingVerdict.NOT_YET:
            ahead_ms = sooner(ahead_ms, rated.cut_ms)
        elif rated.verdict is RatingVerdict.PRICED and exchange is None and tariff.currency != currency:
            return _no_exchange(*pair)
        else:
            until_ms = sooner(ahead_ms, another_ms)
            return _cut(rated, until_ms) if until_ms else rated
    return _cut(UNMATCHED, ahead_ms) if ahead_ms else UNMATCHED


def _no_exchange(of: str, into: str) -> Rated:
    why = f"no exchange rate from {of} into {into}, the currency of the account"
    return Rated(verdict=RatingVerdict.RATING_FAILED, why=why)


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
