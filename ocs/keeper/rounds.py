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
            times = self._seldom.times((name, type(why)))
            if times:
                store = "redis" if of_redis(why) else "postgres"
                text = str(why) or type(why).__name__
                self._log.warning("keeper.store_away", store=store, work=name, why=text, times=times)
            await asyncio.sleep(0.5)
        except CursorMoved:
            self._stats.conflicts += 1
        except NotOpen as why:
            self._log.info("keeper.not_open", work=name, why=str(why))
            await asyncio.sleep(0.2)
        except Exception as why:
            self.failed(name, why)
            await asyncio.sleep(0.5)

    def failed(self, name: str, why: Exception) -> None:
        """Count a failure, and log it at most once an interval, with the number of failures."""
        if times := self._failures.times((name, type(why)), self._now_ms()):
            self.alarm(f"{name}: {why!r}" + (f" ({times} times)" if times > 1 else ""))

    def alarm(self, text: str) -> None:
        """Log an alarm: a person has to act."""
        self._stats.alarms += 1
        self._log.error("keeper.alarm", what=text)

    async def _again(self, name: str, work: Work, every_s: float) -> None:
        loop = asyncio.get_running_loop()
        while not self._stopping:
            await self.once(name, work)
            now_s = loop.time()
            await asyncio.sleep(turn_s(now_s, every_s) - now_s)
