"""Closed months are dropped when the configuration says so, one after the other (charging.md section 20); and what was
dropped and not deleted to the end, by whom ever, is deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from balances.ledger import dropping
from balances.ledger.dropping import NotDroppable, What, droppable_until_ms
from balances.ledger.kept import kept
from balances.ledger.months import Month
from ocs.telemetry.standing_alarms import AlarmLog

RETENTION_S: Final = 30.0
"""Between two looks whether this keeper does it."""
AGAIN_MS: Final = 900_000
"""Between two tries: each may read a whole month."""
KEPT_FOR_EVER: Final[Mapping[What, int]] = {"usage": 0, "entries": 0}
BY: Final = "retention"
"""Stands in the place of a caller."""


class Retention:
    """
    mine:        whether this keeper does it now
    lasting:     tells people of a condition for as long as it lasts
    keep_months: whole months before the present one; 0: for ever
    """

    def __init__(
        self,
        pool: Any,
        log: AlarmLog,
        *,
        now_ms: Callable[[], int],
        mine: Callable[[], bool],
        lasting: Callable[[str, str], None],
        keep_months: Mapping[What, int],
    ) -> None:
        self._pool, self._log, self._now_ms, self._mine, self._lasting = pool, log, now_ms, mine, lasting
        self._keep_months = keep_months
        self._tried_ms = 0
        self.dropped: dict[str, int] = {}
        """Months, by what went."""
        self.waits: dict[str, str] = {}
        """Why a month that is to go does not, by what; "": none is."""

    async def step(self) -> None:
        if not self._mine():
            self.waits.clear()
            self._tried_ms = 0
            return
        if self._now_ms() - self._tried_ms < AGAIN_MS:
            return
        for what, months in self._keep_months.items():
            if months:
                self.waits[what] = why = await self._drop(what, droppable_until_ms(self._now_ms(), months))
                self._lasting(f"retention of {what}", why)
        await dropping.delete(self._pool, self._now_ms())
        self._tried_ms = self._now_ms()

    async def _drop(self, what: What, until_ms: int) -> str:
        """Drop what ends by then; returns why the next month cannot go, "" where none is left."""
        while True:
            month = await self._next(what, until_ms)
            if month is None:
                return ""
            try:
                await dropping.drop(self._pool, month, what, BY, self._now_ms())
            except NotDroppable as why:
                return str(why)
            self.dropped[what] = self.dropped.get(what, 0) + 1
            self._log.info("keeper.month_dropped", month=month.name, what=what)

    async def _next(self, what: What, until_ms: int) -> Month | None:
        """The first month that is kept, if it ends by then and is closed, or has entries."""
        now = await kept(self._pool)
        from_ms = now.usage_from_ms if what == "usage" else now.entries_from_ms
        closed_ms = await self._pool.fetchval("SELECT min(until_ms) FROM ledger_periods WHERE until_ms > $1", from_ms)
        if closed_ms is not None:
            return Month.at(closed_ms - 1) if closed_ms <= until_ms else None
        first_ms = await self._pool.fetchval(
            "SELECT min(at_ms) FROM ledger_entries WHERE at_ms >= $1 AND at_ms < $2", from_ms, until_ms
        )
        return None if first_ms is None else Month.at(first_ms)
