"""What the keeper does for events: moves the outbox, tells what ends soon, delivers to a sink, deletes what is old, and
looks who is behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from ocs.events import outbox, retention
from ocs.events.bell import EventBell
from ocs.events.expiring import forget_ends, tell_expiring
from ocs.events.pump import EventPump
from ocs.events.retention import ConsumerLag
from ocs.keeper.leases import Leases
from ocs.telemetry.standing_alarms import NAMES_MAX, StandingAlarms

LEASE: Final = "events"
AWAY_S: Final = 1.0
"""Between looks of a keeper that has not the lease."""


class EventSettings(NamedTuple):
    """See `[events]` of the configuration."""

    keep_ms: int = 7 * 86_400_000
    behind_alarm_ms: int = 3_600_000
    expiring_soon_ms: int = 259_200_000


class EventKeeping:
    """
    pump:  delivers to a sink; None: there is none
    open:  whether shards are open: PostgreSQL is what it has to be
    """

    def __init__(
        self,
        pool: Any,
        leases: Leases,
        standing: StandingAlarms,
        settings: EventSettings,
        *,
        now_ms: Callable[[], int],
        open_: Callable[[], bool],
        pump: EventPump | None = None,
    ) -> None:
        self._pool, self._leases, self._standing, self._settings = pool, leases, standing, settings
        self._now_ms, self._open, self._pump = now_ms, open_, pump
        self.bell = EventBell(pool)
        self.lags: list[ConsumerLag] = []

    def _ours(self) -> bool:
        return self._open() and self._leases.has(LEASE)

    async def move(self) -> None:
        """Move what the outbox has, then wait for more."""
        if not self._ours():
            await asyncio.sleep(AWAY_S)
            return
        rings = self.bell.rings
        while await outbox.move(self._pool):
            pass
        await self.bell.wait(rings)

    async def deliver(self) -> None:
        """Deliver what there is to the sink, then wait for more."""
        if self._pump is None or not self._ours():
            await asyncio.sleep(AWAY_S)
            return
        rings = self.bell.rings
        while await self._pump.step():
            pass
        await self.bell.wait(rings)

    async def expiring(self) -> None:
        """Tell of buckets that end soon."""
        while self._ours() and await tell_expiring(self._pool, self._now_ms(), self._settings.expiring_soon_ms):
            pass

    async def look(self) -> None:
        """Look who is behind, and say so as long as it lasts."""
        if not self._ours():
            self.lags = []
            self._standing.lasting("events", "")
            return
        self.lags = await retention.lags(self._pool)
        late_ms = self._now_ms() - self._settings.behind_alarm_ms
        late = [one for one in self.lags if 0 < one.oldest_ms < late_ms]
        names = ", ".join(f"{one.name} by {one.behind}" for one in late[:NAMES_MAX])
        text = f"consumers of events are behind, and nothing is deleted for them: {names}" if late else ""
        self._standing.lasting("events", text)

    async def delete(self) -> None:
        """Delete what is old and done with."""
        if not self._ours():
            return
        while await retention.delete_old(self._pool, self._now_ms() - self._settings.keep_ms):
            pass
        await retention.drop_gone(self._pool)
        await forget_ends(self._pool, self._now_ms())
