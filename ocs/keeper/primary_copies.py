"""What is done for each primary by tasks of its own: its shards are opened, its streams copied and trimmed, and read at
once where it is urgent. One that is slow, frozen or shut keeps no other waiting.

Primaries come and go: a failover puts another server in the place of one, a slot move changes which shards two of them
have. What was done for one that has changed is ended, wherever it was: every step may be repeated.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from balances.ledger.opening import Opened
from balances.ledger.reader import STORE_AWAY, Pulse, StreamReader, StreamRoom, answering
from balances.ledger.record import RecordId
from balances.ledger.supervision import Supervision
from balances.ledger.sync import Sync
from balances.ledger.writer import Pool, Writer
from balances.redis.primaries import ALL, Primaries, Primary
from ocs.keeper.copy import Copier
from ocs.keeper.counts import KeeperStats
from ocs.keeper.leases import Leases
from ocs.keeper.news import News
from ocs.keeper.opening import Opener, OpenerSettings
from ocs.keeper.reauthorize import URGENT_S, Reauthorizer
from ocs.keeper.rounds import Rounds
from ocs.stores.guard import Guard
from ocs.telemetry.standing_alarms import AlarmLog

ASKED_S: Final = 2.0
"""How often it is asked which primaries there are."""
TROUBLED_S: Final = 0.2
"""The same at most, while one of them gives reason to doubt it."""
ALIVE_S: Final = 1.0
TRIM_S: Final = 5.0


class PrimaryCopy:
    """Of one primary."""

    def __init__(self, sync: Sync, opener: Opener, copier: Copier) -> None:
        self.primary: Final = sync.primary
        self.sync, self.opener, self.copier = sync, opener, copier


class PrimaryCopies:
    """
    felt:    told how many records a primary has been given
    opened:  told which shards were opened
    begin:   done before shards are opened
    """

    def __init__(
        self,
        primaries: Primaries,
        pool: Pool,
        supervision: Supervision,
        guard: Guard,
        leases: Leases,
        news: News,
        reauthorizer: Reauthorizer,
        rounds: Rounds,
        stats: KeeperStats,
        log: AlarmLog,
        settings: OpenerSettings,
        *,
        now_ms: Callable[[], int],
        felt: Callable[[Primary, Pulse], None],
        opened: Callable[[Opened], None],
        begin: Callable[[], Awaitable[object]],
        copy_s: float,
    ) -> None:
        self._primaries, self._pool, self._supervision, self._guard = primaries, pool, supervision, guard
        self._leases, self._news, self._reauthorizer = leases, news, reauthorizer
        self._rounds, self._stats, self._log, self._settings = rounds, stats, log, settings
        self._now_ms, self._felt, self._opened, self._copy_s = now_ms, felt, opened, copy_s
        self._before = begin
        self._writer = Writer(pool, alarm=rounds.alarm)
        # An opening keeps a connection for its lock and needs another one: if all were kept, none would ever go on.
        self._opening = asyncio.Semaphore(max(1, (pool.get_max_size() - 1) // 2))
        self._failovers: dict[int, int] = {}
        self._each: list[PrimaryCopy] = []
        self._troubled = asyncio.Event()
        """A primary may have been replaced, or given shards away."""

    # --- what is so

    @property
    def open_shards(self) -> frozenset[int]:
        return frozenset().union(*(one.opener.open_shards for one in self._each))

    @property
    def why(self) -> str:
        """Why no request can be charged; "" when some can."""
        return "" if any(one.opener.open_shards for one in self._each) else self._first_why()

    @property
    def refused(self) -> str:
        return next((one.opener.refused for one in self._each if one.opener.refused), "")

    @property
    def shut(self) -> str:
        """Which shards are shut while others are open, and why; "" when none is."""
        shut = len(ALL) - len(self.open_shards)
        if not shut or self.why:
            return ""
        whys = [f"{one.primary.name}: {one.opener.why}" for one in self._each if one.opener.why]
        nobody = len(ALL.difference(*(one.primary.shards for one in self._each)))
        whys += [f"no server has {nobody} of them"] if nobody else []
        return f"{shut} of {len(ALL)} shards are shut: {'; '.join(whys) or 'they are being looked at'}"

    def _first_why(self) -> str:
        whys = (one.opener.why for one in self._each if one.opener.why)
        return next(whys, "no primary of the live store is known")

    def known(self) -> dict[int, RecordId] | None:
        """The cursors, None where one of the copies is not sure of them."""
        cursors: dict[int, RecordId] = {}
        for one in self._each:
            if one.sync.known is None:
                return None
            cursors.update((shard, one.sync.known[shard]) for shard in one.primary.shards)
        return cursors if len(cursors) == len(ALL) else None

    # --- what is done

    def doubt(self) -> None:
        """Look at once who is there, and whether the shards are still open."""
        self._troubled.set()
        for one in self._each:
            one.opener.doubt()

    async def keep_up(self) -> None:
        """Ask again and again which primaries there are; sooner where there is reason to."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ASKED_S):
                await self._troubled.wait()
                await asyncio.sleep(TROUBLED_S)
        self._troubled.clear()
        await self.look()

    async def look(self) -> None:
        """Begin with primaries that are new or have changed, and end with those that are gone."""
        await self._primaries.look()
        there = self._primaries.all()
        for one in [one for one in self._each if one.primary not in there]:
            self._each.remove(one)
            await self._rounds.end(one.primary.name)
            self._news.leave(one.primary)
        known = [one.primary for one in self._each]
        for primary in there:
            if primary not in known and primary.shards:
                self._begin(primary)

    async def first(self) -> None:
        """Try once to open all; the tasks go on."""
        each = list(self._each)
        await asyncio.gather(*(self._rounds.once("opening", one.opener.open) for one in each))
        for one in each:
            self._begin_tasks(one)
        self._begun = True

    _begun = False

    def _begin(self, primary: Primary) -> None:
        sync = Sync(primary, self._pool, alarm=self._rounds.alarm, writer=self._writer)
        opener = Opener(
            primary,
            self._pool,
            self._writer,
            self._supervision,
            self._guard,
            self._stats,
            self._log,
            self._settings,
            now_ms=self._now_ms,
            alarm=self._rounds.alarm,
            felt=self._felt,
            opened=self._opened,
            begin=self._before,
            trouble=self._troubled.set,
            turn=self._opening,
            failovers=self._failovers,
        )
        copier = Copier(
            sync, self._leases, self._news, opener, self._reauthorizer, self._stats, alarm=self._rounds.alarm
        )
        one = PrimaryCopy(sync, opener, copier)
        self._each.append(one)
        if self._begun:
            self._begin_tasks(one)

    def _begin_tasks(self, one: PrimaryCopy) -> None:
        for work, do, every_s in (
            ("opening", one.opener.keep_open, 0.0),
            ("copy", one.copier.copy, self._copy_s),
            ("urgent", lambda: self._reauthorizer.look_at_once(one.sync), URGENT_S),
            ("trim", one.copier.trim, TRIM_S),
        ):
            self._rounds.begin(work, do, every_s, of=one.primary.name)

    async def alive(self) -> None:
        """Write at each primary that a keeper is at work there."""
        now_ms = self._now_ms()
        written = [self._alive(one.primary, now_ms) for one in self._each if one.opener.open_shards]
        for what in await asyncio.gather(*written, return_exceptions=True):
            if isinstance(what, BaseException):
                raise what

    async def _alive(self, primary: Primary, now_ms: int) -> None:
        async with answering(ALIVE_S):
            await self._supervision.alive(primary, now_ms)

    async def rooms(self) -> list[StreamRoom]:
        """Of those that answer."""
        rooms = await asyncio.gather(*(StreamReader(one.primary).room() for one in self._each), return_exceptions=True)
        found = [room for room in rooms if isinstance(room, StreamRoom)]
        if not found:
            raise ConnectionError("no primary of the live store answers")
        return found

    async def last(self) -> None:
        """Copy everything before this keeper stops; what cannot be copied now is left to the next keeper."""
        for one in self._each:
            with contextlib.suppress(*STORE_AWAY):
                await self._supervision.alive(one.primary, self._now_ms())
        for what in await asyncio.gather(*(one.copier.last() for one in self._each), return_exceptions=True):
            if isinstance(what, BaseException):
                raise what
