"""Whether buckets may have a price (charging.md section 22): only in a store that is written in format 3."""

from __future__ import annotations

from typing import Any

from balances.ledger.formats import PRICED, stored_format
from ocs.backoffice.errors import Conflict


async def check_prices_kept(pool: Any) -> None:
    """Raises Conflict as long as a process of an older build may work on the store: it would give away what such a
    bucket costs (docs/operations/upgrade.md)."""
    stored = await stored_format(pool)
    if stored.written < PRICED:
        raise Conflict(
            f"buckets with a price need stored format {PRICED}, and this store is written in {stored.written}: "
            "`ocs upgrade` says what holds it back"
        )
