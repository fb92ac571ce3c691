"""Comes to what time alone changes when it is due, and no faster than accounts are looked at (docs/enforcement.md)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from balances.ledger.intents import Intent
from ocs.enforcement.due_changes import GradeClock, expand_assignments, expand_grades, next_due_ms, plan, zones
from ocs.enforcement.enforcer import Enforcer
from tariffs.catalog import Catalog
from tariffs.grade_changes import by_account_clock, has_grades, next_grade_change

ASKED_S: Final = 5.0
"""Longest time between two looks: an assignment may have been made that ends before all others."""
PLANNED_S: Final = 600.0
"""Between two plans while no tariff is published: accounts may have come in another zone."""
FULL_S: Final = 0.02
AWAY_S: Final = 1.0


class GradedCatalog(Protocol):
    """The part of ocs.master.graded_tariffs.GradedTariffs that is needed here."""

    @property
    def catalog(self) -> Catalog | None: ...
    @property
    def known(self) -> bool: ...
    @property
    def version(self) -> int: ...
    async def look(self) -> bool: ...


class DueChanges:
    """
    tariffs:  the published ones; None: grades are not looked at
    mine:     whether this keeper does the work now
    """

    def __init__(
        self,
        pool: Any,
        enforcer: Enforcer,
        tariffs: GradedCatalog | None,
        *,
        now_ms: Callable[[], int],
        mine: Callable[[], bool],
    ) -> None:
        self._pool, self._enforcer, self._tariffs = pool, enforcer, tariffs
        self._now_ms, self._mine = now_ms, mine
        self._planned_s: float | None = None
        self.late_ms = 0
        """How long the oldest change has been due whose accounts were not all looked at."""
        self.made = 0
        """Accounts that were looked at, or are about to be."""

    async def step(self) -> None:
        """Do what is due; where nothing is, wait until something is."""
        if not self._mine():
            self.late_ms, self._planned_s = 0, None
            await asyncio.sleep(AWAY_S)
            return
        await self._plan()
        due_ms = await next_due_ms(self._pool)
        self.late_ms = 0 if due_ms is None else max(self._now_ms() - due_ms, 0)
        if due_ms is None or due_ms > self._now_ms():
            await asyncio.sleep(min(ASKED_S, ASKED_S if due_ms is None else (due_ms - self._now_ms()) / 1_000))
            return
        while self._mine() and not self._enforcer.has_room:
            self.late_ms = max(self._now_ms() - due_ms, 0)
            await asyncio.sleep(FULL_S)
        if self._mine() and not await self._expand(self._now_ms()):
            await asyncio.sleep(AWAY_S)  # another keeper has it, or tariffs are not read yet

    async def _expand(self, now_ms: int) -> bool:
        """One step; assignments first. Returns whether anything was due."""
        made: Sequence[Intent] | None = await expand_assignments(self._pool, now_ms)
        if made is None and self._known() is not None:
            made = await expand_grades(self._pool, self._next_change, now_ms)
        if made is None:
            return False
        self.made += len(made)
        self._enforcer.want_due(made)
        return True

    def _known(self) -> Catalog | None:
        return self._tariffs.catalog if self._tariffs is not None else None

    def _next_change(self, clock: GradeClock, after_ms: int) -> int:
        catalog = self._known()
        return 0 if catalog is None else next_grade_change(catalog, clock.tariff, clock.zone, after_ms)

    async def _plan(self) -> None:
        """Note what the grades of the published tariffs do next, once they were read."""
        if self._tariffs is None:
            return
        news, now_s = await self._tariffs.look(), asyncio.get_running_loop().time()
        if not self._tariffs.known:
            return
        if not news and self._planned_s is not None and now_s - self._planned_s < PLANNED_S:
            return
        catalog = self._tariffs.catalog
        clocks: list[GradeClock] = []
        if catalog is not None:
            graded = [name for name in catalog.tariffs if has_grades(catalog, name)]
            by_zone = [name for name in graded if by_account_clock(catalog, name)]
            clocks = [GradeClock(name, "") for name in graded if name not in by_zone]
            if by_zone:
                clocks += [GradeClock(name, zone) for zone in await zones(self._pool) for name in by_zone]
        await plan(self._pool, clocks, self._next_change, self._now_ms())
        self._planned_s = now_s
