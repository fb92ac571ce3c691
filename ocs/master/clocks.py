"""The clock of an account, by which its buckets have hours, follows its time zone (charging.md section 22).

Whoever makes a bucket with hours brings the clock of the zone that the row had when it was read, and another zone may
be set meanwhile. So whoever brings a clock looks at the zone afterwards, and whoever sets a zone looks at the clock: of
two at the same time one sees what the other one did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from balances.structs.posting import AccountSettings
from tariffs.week_hours import clock_of

if TYPE_CHECKING:
    from balances.redis.pending import Pending
    from balances.structs.charge import Reply


class ClockStore(Protocol):
    def settings(self, settings: AccountSettings) -> Pending[Reply]: ...


async def keep_clock(pool: Any, store: ClockStore, account: str, clock: list[int], now_ms: int) -> None:
    """Set it, where it is not that of the account's zone. clock: as it is, or was brought; []: it has none"""
    if not clock:
        return
    zone = await pool.fetchval("SELECT time_zone FROM accounts WHERE id = $1", account)
    wanted = clock_of(zone or "UTC", now_ms)
    if wanted != clock:
        await store.settings(AccountSettings(account, now_ms, None, clock=wanted)).wait()
