"""Opens the shards of one primary: proves that it contains what PostgreSQL has, whenever its history is not the open
one (durability.md rule 5).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from balances.ledger.opening import Opened, OpeningRefused, ShardOpening, misfit, open_now, open_without_postgres
from balances.ledger.publication import disown
from balances.ledger.reader import STORE_AWAY, Pulse, ServerIdentity, StreamReader
from balances.ledger.supervision import Supervision
from balances.ledger.writer import AWAY, Pool, Writer, read_cursors
from balances.redis.primaries import Primary
from ocs.clock import turn_s
from ocs.keeper.counts import KeeperStats
from ocs.stores.guard import Guard
from ocs.telemetry.standing_alarms import AlarmLog

LOOK_S: Final = 2.0
"""How often a primary is asked who it is, and how many records it has, while nothing gives reason to doubt it."""
AGAIN_S: Final = 0.5
"""The same while shards of it are shut."""
ASKED_S: Final = 5.0
"""How long PostgreSQL is not asked again while the primary says the same."""
NOTICED_MS: Final = 5_000
"""An absence shorter than this extends no deadline: a restart is quicker."""


class OpenerSettings(NamedTuple):
    grace_ms: int
    """How long deadlines stay extended after an absence."""
    without_postgres: bool
    look_s: float = LOOK_S


class Opener:
    """
    felt:      told how many records the primary has been given, at each look
    opened:    told which shards were opened
    begin:     done before shards are opened: what workers have to find in the store when they may call
    trouble:   told when the primary cannot be asked: another one may have its shards
    turn:      bounds how many primaries are opened at once
    failovers: of each shard the failover epoch of the newest primary that this keeper saw open, for all its openers
    """

    def __init__(
        self,
        primary: Primary,
        pool: Pool,
        writer: Writer,
        supervision: Supervision,
        guard: Guard,
        stats: KeeperStats,
        log: AlarmLog,
        settings: OpenerSettings,
        *,
        now_ms: Callable[[], int],
        alarm: Callable[[str], None],
        felt: Callable[[Primary, Pulse], None],
        opened: Callable[[Opened], None],
        begin: Callable[[], Awaitable[object]],
        trouble: Callable[[], None],
        turn: asyncio.Semaphore,
        failovers: dict[int, int],
    ) -> None:
        self.why = "shards are not open yet"
        """Why shards of this primary cannot be charged; "" when all is well."""
        self.refused = ""
        """Why this store may not be used at all: no time mends that."""
        self.open_shards: frozenset[int] = frozenset()
        self.anew: set[int] = set()
        """A gap was found: open these shards anew."""
        self._doubted = asyncio.Event()
        """Another history may be there than the one that is open."""
        self._primary, self._pool, self._writer = primary, pool, writer
        self._supervision, self._guard, self._stats, self._log = supervision, guard, stats, log
        self._felt, self._settings, self._tell, self._trouble = felt, settings, opened, trouble
        self._now_ms, self._alarm, self._turn, self._begin = now_ms, alarm, turn, begin
        self._failovers = failovers
        self._reader = StreamReader(primary)
        self._loop = asyncio.get_running_loop()
        self._server: ServerIdentity | None = None
        """Who the primary said to be when PostgreSQL was last asked."""
        self._asked_s = 0.0

    def doubt(self) -> None:
        """Check at once whether the shards are still open, also in PostgreSQL."""
        self._doubted.set()

    async def keep_open(self) -> None:
        """Check again and again whether the shards are open; at once after `doubt`."""
        if self.why:
            await asyncio.sleep(AGAIN_S)
        else:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(turn_s(self._loop.time(), self._settings.look_s)):
                    await self._doubted.wait()
        await self.open()

    async def open(self) -> None:
        """Check whether the shards are open, and open those that are not and may be."""
        try:
            pulse = await self._reader.pulse()
        except STORE_AWAY as why:
            if self._primary.clustered:  # others are asked, and say that all is well with theirs
                self._shut(f"it cannot be asked: {str(why) or type(why).__name__}")
            self._trouble()
            raise
        server = pulse.server
        self._felt(self._primary, pulse)
        if not server.master:
            self._shut("the live store is a replica")
            self._trouble()
            return
        if self._is_known(server):
            return
        if server.published.keys() != self._primary.shards:
            self._trouble()  # some are at another server by now
        if self._primary.clustered and (foreign := server.foreign):
            await disown(self._primary, foreign)
        self._server, self._asked_s = server, self._loop.time()
        self._doubted.clear()
        try:
            cursors = await read_cursors(self._pool)
        except AWAY as why:
            await self._without_postgres(server, why)
            raise
        if not self._guard.passed and (wrong := await misfit(self._pool)):
            self.refused = wrong
            self._shut(wrong)
            return
        open_ = open_now(cursors, server)
        if open_ == server.published.keys() and not self.anew:
            self._all_open(open_)
            return
        self.open_shards = frozenset(open_ - self.anew)
        self.why = await self._guard.claim(self._primary)
        if not self._guard.passed:  # later it is too late to refuse what was charged already: then there is an alarm
            await self._guard.look()
            self.why = self.refused = self._guard.refused
        if self.why:
            return
        self.why = "shards are being opened"
        self._log.info(
            "keeper.opening",
            primary=self._primary.name,
            replid=server.replid,
            shards=len(server.published.keys() - open_ | self.anew),
            epoch=cursors.epoch,
        )
        with contextlib.suppress(*STORE_AWAY):  # another primary may have its key: that one's opening does it
            await self._begin()
        opening = ShardOpening(self._primary, self._pool, self._writer, alarm=self._alarm)
        try:
            async with self._turn:
                opened = await opening.run(self._now_ms() // 1_000, anew=self.anew)
        except OpeningRefused as why:
            self.why = str(why)
            self._trouble()
            raise
        self.anew -= opened.shards
        await self._opened(opened)
        shut = server.published.keys() - open_ - opened.shards
        self._all_open(open_ | opened.shards)
        if shut:
            self.why = f"PostgreSQL knows a newer master of {len(shut)} shards"

    def _shut(self, why: str) -> None:
        self.why, self.open_shards = why, frozenset()

    def _all_open(self, shards: set[int]) -> None:
        for shard in shards:
            self._failovers[shard] = max(self._failovers.get(shard, 0), self._primary.config_epoch)
        self.why, self.open_shards, self._guard.passed = "", frozenset(shards), True

    async def _without_postgres(self, server: ServerIdentity, why: Exception) -> None:
        """Rule 11: open shards charge on, others stay shut. So do, as far as this keeper has seen it, those of which
        PostgreSQL knows a newer primary (rule 5a), whatever the operator chose."""
        self.open_shards = frozenset(shard for shard in server.published if server.epoch_of(shard))
        shut = server.published.keys() - self.open_shards
        replaced = {shard for shard in shut if self._failovers.get(shard, 0) > self._primary.config_epoch}
        if shut - replaced and self._settings.without_postgres:
            epoch = await open_without_postgres(self._primary, self._now_ms() // 1_000, but=replaced)
            self._alarm(f"shards were opened without PostgreSQL, under epoch {epoch}")
            self.open_shards = frozenset(server.published.keys() - replaced)
            self.why = f"a newer master of {len(replaced)} shards was open before" if replaced else ""
        elif shut:
            self.why = f"shards cannot be opened without PostgreSQL: {str(why) or type(why).__name__}"
            if replaced:
                self.why = f"a newer master of {len(replaced)} shards was open before; {self.why}"
        else:
            self.why = ""

    def _is_known(self, server: ServerIdentity) -> bool:
        """Whether nothing has changed since it was found open and PostgreSQL was asked a short time ago."""
        doubted = self.why or self.anew or self._doubted.is_set() or server != self._server
        return not doubted and self._loop.time() - self._asked_s < ASKED_S

    async def _opened(self, opened: Opened) -> None:
        if not opened.shards:  # somebody else was faster
            return
        self._tell(opened)
        stats = self._stats
        stats.openings += 1
        stats.copied += opened.copied
        stats.forgotten += len(opened.forgotten)
        stats.orphaned += opened.orphaned
        stats.recovered += opened.recovered
        if opened.went_back:
            # What came after the last copy, only those know who gave the answers (ocs/stores/witness.py).
            accounts = len(opened.forgotten)
            self._log.warning("keeper.store_came_back_older", shards=opened.went_back, from_postgres=accounts)
        away_ms = await self._supervision.came_back(
            self._primary, self._now_ms(), grace_ms=self._settings.grace_ms, noticed_ms=NOTICED_MS
        )
        self._log.info(
            "keeper.opened",
            primary=self._primary.name,
            shards=len(opened.shards),
            epoch=opened.epoch,
            copied=opened.copied,
            forgotten=len(opened.forgotten),
            orphaned=opened.orphaned,
            recovered=opened.recovered,
            away_ms=away_ms,
        )
