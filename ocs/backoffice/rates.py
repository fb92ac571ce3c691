"""Exchange rates, for tariffs in another currency than the account's."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

from ocs.backoffice.errors import Invalid
from ocs.charging.currencies import NUMBERS
from ocs.master import rates
from ocs.master.rates import Rate

if TYPE_CHECKING:
    from ocs.backoffice.backoffice import BackOffice

EPOCH: Final = date(1970, 1, 1)

Pair = tuple[str, str, str]
"""One unit of the first currency in the second, as a decimal."""


async def put(backoffice: BackOffice, day: date, pairs: Sequence[Pair]) -> None:
    """Set rates, in force from 00:00 UTC of the day; pairs that are not named stay as they are."""
    for number, pair in enumerate(pairs):
        _check(f"rates[{number}]", pair)
    if len({pair[:2] for pair in pairs}) < len(pairs):
        raise Invalid("rates", "a pair of currencies is given twice")
    await rates.put(backoffice.pool, day, pairs)
    await backoffice.publish()


def _check(field: str, pair: Pair) -> None:
    of, into, rate = pair
    for currency in (of, into):
        if currency not in NUMBERS:
            raise Invalid(field, f"{currency} is no currency of ISO 4217")
    if of == into:
        raise Invalid(field, f"two currencies, found {of} twice")
    if not rate.strip("0."):
        raise Invalid(f"{field}.rate", f"more than 0, found {rate}")


async def in_force(backoffice: BackOffice, day: date, of: str | None, into: str | None) -> Sequence[Rate]:
    """The rates in force on a day, of all pairs or of those with these currencies."""
    return await rates.in_force(backoffice.pool, day, of, into)


def today(backoffice: BackOffice) -> date:
    """The present day, in UTC."""
    return EPOCH + timedelta(milliseconds=backoffice.now_ms())
