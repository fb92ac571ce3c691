"""The price that a bucket of units may have of its own (charging.md section 22)."""

from __future__ import annotations

from math import gcd
from typing import Any

from balances.ledger.formats import PRICED, stored_format
from ocs.backoffice.errors import Conflict, Invalid
from tariffs.units import PER_MAX


def reduced(price: int, per: int, field: str = "per") -> tuple[int, int]:
    """The same price in its lowest terms, as it is charged exactly; Invalid where it is too fine for that.

    price:  micro-units; 0: there is none
    per:    for so many units
    """
    if not price:
        return 0, 1
    common = gcd(price, per)
    price, per = price // common, per // common
    if per > PER_MAX or (per > 1 and price > PER_MAX):
        raise Invalid(field, f"price and units of which, without common factors, neither is above {PER_MAX}")
    return price, per


async def check_prices_kept(pool: Any) -> None:
    """Raises Conflict as long as a process of an older build may work on the store: it would give away what such a
    bucket costs (docs/operations/upgrade.md)."""
    stored = await stored_format(pool)
    if stored.written < PRICED:
        raise Conflict(
            f"buckets with a price need stored format {PRICED}, and this store is written in {stored.written}: "
            "`ocs host list` says what holds it back"
        )
