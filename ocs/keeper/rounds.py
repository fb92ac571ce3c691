"""Work that is repeated at an interval, and goes on after every failure."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from balances.ledger.reader import STORE_AWAY, of_redis
from balances.ledger.sync import Gap, NotOpen
from balances.ledger.writer import AWAY, CursorMoved
from balances.redis.pending import ended
from ocs.clock import turn_s
from ocs.keeper.counts import KeeperStats
from ocs.telemetry.log import Periodic, Seldom
from ocs.telemetry.standing_alarms import AlarmLog

Work = Callable[[], Awaitable[object]]

LATER: Final[tuple[type[Exception], ...]] = (*STORE_AWAY, *AWAY, NotOpen, Gap, CursorMoved)
"""What can be done later, by the same keeper or by another one."""


async def nothing() -> None:
    """Work that does nothing."""


class Rounds:
    """One task for each kind of work; failures are counted in `stats` and logged."""

    def __init__(self, stats: KeeperStats, log: AlarmLog, now_ms: Callable[[], int], alarm_ms: int) -> None:
        self._stats, self._log, self._now_ms = stats, log, now_ms
        self._seldom, self._failures = Seldom(burst=2), Periodic(alarm_ms)
        self._tasks: dict[str, list[asyncio.Task[None]]] = {}
        """By what they are of."""
        self._stopping = False

    def begin(self, name: str, work: Work, every_s: float, *, of: str = "") -> None:
        """Do this work and wait this many seconds, again and again until `stop`, or `end` of what it is of."""
        task = asyncio.create_task(self._again(name, work, every_s), name=f"keeper-{name}")
        self._tasks.setdefault(of, []).append(task)

    async def end(self, of: str) -> None:
        await ended(self._tasks.pop(of, []))

    async def stop(self) -> None:
        self._stopping = True
        await ended([task for tasks in self._tasks.values() for task in tasks])

    async def once(self, name: str, work: Work) -> None:
        """Do the work once; a failure is counted and logged, and other work goes on."""
        try:
            await work()
        except (*STORE_AWAY, *AWAY) as why:
            await self._store_away(name, why)
        except CursorMoved:
            self._stats.conflicts += 1
        except NotOpen as why:
            self._log.info("keeper.not_open", work=name, why=str(why))
            await asyncio.sleep(0.2)
        except Exception as why:
            if of_redis(why):
                await self._store_away(name, why)
                return
            self.failed(name, why)
            await asyncio.sleep(0.5)

    async def _store_away(self, name: str, why: Exception) -> None:
        if times := self._seldom.times((name, type(why))):
            store = "redis" if of_redis(why) else "postgres"
            text = str(why) or type(why).__name__
            self._log.warning("keeper.store_away", store=store, work=name, why=text, times=times)
        await asyncio.sleep(0.5)

    def failed(self, name: str, why: Exception) -> None:
        """Count an error that nobody foresaw, and log it at most once an interval, with the number of failures. It says
        nothing about the books: that is `alarm`."""
        failures = self._stats.failures
        failures[name,] = failures.get((name,), 0) + 1
        if times := self._failures.times((name, type(why)), self._now_ms()):
            self._log.error("keeper.failed", work=name, why=repr(why), times=times)

    def alarm(self, text: str) -> None:
        """Log that what the server promises does not hold: a person has to act, and it counts as a failed proof."""
        self._stats.alarms += 1
        self._log.error("keeper.alarm", what=text)

    def remark(self, text: str) -> None:
        """Log what a person has to look at, with the books in order."""
        self._log.error("keeper.alarm", what=text)

    async def _again(self, name: str, work: Work, every_s: float) -> None:
        loop = asyncio.get_running_loop()
        while not self._stopping:
            await self.once(name, work)
            now_s = loop.time()
            await asyncio.sleep(turn_s(now_s, every_s) - now_s)
