"""Rating: what do these lines cost, by the tariffs of this subscriber, at this instant?

Pure and total. For a tariff without anything that moves it is a dict look-up of a ladder packed long before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from tariffs.catalog import Assignment, Catalog, Rated
from tariffs.draft import Verdict
from tariffs.inputs import Inputs

Quote = list[Rated]
"""One for each line, in their order."""

UNASSIGNED: Final = Rated(Verdict.RATING_FAILED, why="no tariff of the subscriber is in force")
UNMATCHED: Final = Rated(Verdict.RATING_FAILED, why="no row of the subscriber's tariffs matches")
OTHER_CURRENCY: Final = Rated(Verdict.RATING_FAILED, why="the tariff's currency is not the account's")


def rate(
    catalog: Catalog,
    assignments: Sequence[Assignment],
    currency: str,
    lines: Iterable[tuple[int | None, int | None]],
    inputs: Inputs,
    at_ms: int,
) -> Quote:
    """The first assignment in force whose tariff has a row for a line prices it.

    lines:  (rating group, service identifier) of each
    at_ms:  instant of the event, by which assignments and versions are chosen
    """
    chain = []
    for assignment in assignments:
        until_ms = assignment.until_ms
        if assignment.from_ms <= at_ms and (not until_ms or at_ms < until_ms):
            tariff = catalog.in_force(assignment.tariff, at_ms)
            if tariff is not None:
                chain.append(tariff)
    if not chain:
        return [UNASSIGNED for _ in lines]
    quote = []
    for rating_group, service_id in lines:
        for tariff in chain:
            rated = tariff.find(rating_group, service_id, inputs)
            if rated is not None:
                quote.append(rated if tariff.currency == currency else OTHER_CURRENCY)
                break
        else:
            quote.append(UNMATCHED)
    return quote
