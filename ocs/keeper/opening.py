"""Opens the shards: proves that the live store contains what PostgreSQL has, whenever its history is not the open one
(durability.md rule 5), and brings back afterwards what only PostgreSQL has.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from balances.ledger.opening import Opened, ShardOpening, is_open, misfit, open_without_postgres
from balances.ledger.reader import Client, Pulse, ServerIdentity, StreamReader
from balances.ledger.restore import rebuild
from balances.ledger.supervision import Supervision
from balances.ledger.writer import AWAY, Pool, Writer, read_cursors
from ocs.clock import turn_s
from ocs.keeper.counts import KeeperStats
from ocs.keeper.rounds import LATER
from ocs.stores.guard import Guard
from ocs.telemetry.standing_alarms import AlarmLog

LOOK_S: Final = 2.0
"""How often the live store is asked who it is, and how many records it has, while nothing gives reason to doubt it."""
AGAIN_S: Final = 0.5
"""The same while the shards are shut."""
ASKED_S: Final = 5.0
"""How long PostgreSQL is not asked again while the live store says the same."""
NOTICED_MS: Final = 5_000
"""An absence shorter than this extends no deadline: a restart is quicker."""


class Opener:
    """
    felt:      told how many records the store has been given, at each look
    bring_in:  restores one account into the live store if it is absent
    grace_ms:  how long deadlines stay extended after an absence
    """

    def __init__(
        self,
        redis: Client,
        pool: Pool,
        writer: Writer,
        supervision: Supervision,
        guard: Guard,
        stats: KeeperStats,
        log: AlarmLog,
        *,
        now_ms: Callable[[], int],
        alarm: Callable[[str], None],
        felt: Callable[[Pulse], None],
        bring_in: Callable[[str], Awaitable[object]] | None,
        grace_ms: int,
        without_postgres: bool,
        look_s: float = LOOK_S,
    ) -> None:
        self.why = "shards are not open yet"
        """Why no request can be charged; "" when all is well."""
        self.refused = ""
        """Why this store may not be used at all: no time mends that."""
        self.anew = False
        """A gap was found: open the shards anew."""
        self._doubted = asyncio.Event()
        """Another history may be there than the one that is open."""
        self._redis, self._pool, self._writer = redis, pool, writer
        self._supervision, self._guard, self._stats, self._log = supervision, guard, stats, log
        self._felt, self._look_s = felt, look_s
        self._now_ms, self._alarm, self._bring_in = now_ms, alarm, bring_in
        self._grace_ms, self._without_postgres = grace_ms, without_postgres
        self._reader = StreamReader(redis)
        self._opened_once = False
        self._loop = asyncio.get_running_loop()
        self._server: ServerIdentity | None = None
        """Who the live store said to be when PostgreSQL was last asked."""
        self._asked_s = 0.0
        self._walk_due = False
        """An opening may have left accounts to PostgreSQL alone."""

    def doubt(self) -> None:
        """Check at once whether the shards are still open, also in PostgreSQL."""
        self._doubted.set()

    async def keep_open(self) -> None:
        """Check again and again whether the shards are open; at once after `doubt`."""
        if self.why:
            await asyncio.sleep(AGAIN_S)
        else:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(turn_s(self._loop.time(), self._look_s)):
                    await self._doubted.wait()
        await self.open()

    async def open(self) -> None:
        """Check whether the shards are open, and open those that are not and may be."""
        pulse = await self._reader.pulse()
        server = pulse.server
        self._felt(pulse)
        if not server.master:
            self.why = "the live store is a replica"
            return
        if self._is_known(server):
            return
        self._server, self._asked_s = server, self._loop.time()
        self._doubted.clear()
        try:
            cursors = await read_cursors(self._pool)
        except AWAY as why:
            if server.published_epoch:  # rule 11: open shards charge on
                self.why = ""
            elif self._without_postgres:
                epoch = await open_without_postgres(self._redis, self._now_ms() // 1_000)
                self._alarm(f"shards were opened without PostgreSQL, under epoch {epoch}")
                self.why = ""
            else:
                self.why = f"shards cannot be opened without PostgreSQL: {str(why) or type(why).__name__}"
            raise
        if not self._opened_once and (wrong := await misfit(self._pool)):
            self.why = self.refused = wrong
            return
        if is_open(cursors, server) and not self.anew:
            self.why, self._opened_once = "", True
            return
        self.why = await self._guard.claim()
        if not self._opened_once:  # later it is too late to refuse what was charged already: then there is an alarm
            await self._guard.look()
            self.why = self.refused = self._guard.refused
        if self.why:
            return
        self.why = "shards are being opened"
        self._log.info("keeper.opening", replid=server.replid, published=server.published, epoch=cursors.epoch)
        opening = ShardOpening(self._redis, self._pool, self._writer, alarm=self._alarm)
        opened = await opening.run(self._now_ms() // 1_000, anew=self.anew)
        self.anew = False
        await self._opened(opened)
        self.why, self._opened_once = "", True

    def _is_known(self, server: ServerIdentity) -> bool:
        """Whether nothing has changed since it was found open and PostgreSQL was asked a short time ago."""
        doubted = self.why or self.anew or self._doubted.is_set() or server != self._server
        return not doubted and self._loop.time() - self._asked_s < ASKED_S

    async def _opened(self, opened: Opened) -> None:
        away_ms = await self._supervision.came_back(self._now_ms(), grace_ms=self._grace_ms, noticed_ms=NOTICED_MS)
        stats = self._stats
        stats.openings += 1
        stats.copied += opened.copied
        stats.forgotten += len(opened.forgotten)
        stats.orphaned += opened.orphaned
        stats.recovered += opened.recovered
        self._walk_due = True
        if (
            opened.went_back
        ):  # what came after the last copy, only those know who gave the answers (ocs/stores/witness.py)
            accounts = len(opened.forgotten)
            self._log.warning("keeper.store_came_back_older", shards=opened.went_back, from_postgres=accounts)
        self._log.info(
            "keeper.opened",
            epoch=opened.epoch,
            copied=opened.copied,
            forgotten=len(opened.forgotten),
            orphaned=opened.orphaned,
            recovered=opened.recovered,
            away_ms=away_ms,
        )

    async def walk(self) -> None:
        """After an opening, bring back what only PostgreSQL has; requests bring theirs sooner."""
        if self.why or self._bring_in is None or not self._walk_due:
            return
        self._walk_due = False
        try:
            async for restored in rebuild(self._redis, self._pool, self._bring_in):
                self._stats.restored += restored
        except LATER:
            self._walk_due = True
            raise
