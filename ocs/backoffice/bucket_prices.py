"""The price that a bucket of units may have of its own (charging.md section 22)."""

from __future__ import annotations

from math import gcd
from typing import Any

from balances.ledger.formats import PRICED, stored_format
from ocs.backoffice.errors import Conflict, Invalid
from tariffs.units import PER_MAX


def reduced(price: int, per: int, field: str = "per") -> tuple[int, int]:
    """The same price, in lower terms where as it is written it cannot be charged exactly; Invalid where no terms can.

    price:  micro-units; 0: there is none
    per:    for so many units
    """
    if not price:
        return 0, 1
    if _is_exact(price, per):
        return price, per
    common = gcd(price, per)
    price, per = price // common, per // common
    if not _is_exact(price, per):
        raise Invalid(field, f"price and units of which, without common factors, neither is above {PER_MAX}")
    return price, per


def _is_exact(price: int, per: int) -> bool:
    """As of the price of a step (check_ladder of tariffs/ladder.py)."""
    return per <= PER_MAX and (per == 1 or price <= PER_MAX)


async def check_prices_kept(pool: Any) -> None:
    """Raises Conflict as long as a process of an older build may work on the store: it would give away what such a
    bucket costs (docs/operations/upgrade.md)."""
    stored = await stored_format(pool)
    if stored.written < PRICED:
        raise Conflict(
            f"buckets with a price need stored format {PRICED}, and this store is written in {stored.written}: "
            "`ocs host list` says what holds it back"
        )
