"""The keeper process: opens shards, copies the streams to PostgreSQL, sweeps what is due, passes nudges on.

None of it is on the way of a request: while the keeper is down open shards charge on, and what it then does late it
does the same. Several keepers on one store, on several hosts, are safe; leases keep them from doing the same work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Final, Protocol

from balances import keys, ops
from balances.ledger.opening import Opened, Opening, is_open, misfit, open_without_postgres
from balances.ledger.reader import STORE_AWAY, Client, Reader, of_redis
from balances.ledger.record import START, Call, Id
from balances.ledger.restore import purge, rebuild
from balances.ledger.supervision import Due, Supervision
from balances.ledger.sync import Gap, NotOpen, Sync, calls_of
from balances.ledger.writer import AWAY, CursorMoved, Pool, read_cursors
from balances.pending import Pending, ended
from ocs.counting import Stats, count
from ocs.enforcement.push import Pusher
from ocs.enforcement.restarts import Restarts
from ocs.enforcement.telling import Store as Told
from ocs.enforcement.telling import Telling, all_served
from ocs.guard import Guard
from ocs.settling import finish
from ocs.telemetry.log import Periodic, Seldom
from ocs.totals import Totals
from ocs.watch import Log, Standing, Watch

SWEEP_SHARD_MAX: Final = 50
SWEEP_MAX: Final = 4_000
"""Members looked at in one sweep; more than that at once means that a clock jumped, or that everybody went silent."""

GROUPS: Final = 8
"""Leases of the sweep: each covers every eighth shard."""

LEASE_MS: Final = 5_000
NOTICED_MS: Final = 5_000
"""An absence shorter than this extends no deadline: a restart is quicker."""

KEPT_MS: Final = 30 * 86_400_000
"""How long PostgreSQL answers for requests that were seen before."""


LATER: Final[tuple[type[Exception], ...]] = (*STORE_AWAY, *AWAY, NotOpen, Gap, CursorMoved)
"""What a keeper that stops leaves to the next one."""


class Store(Told, Protocol):
    """What of balances.store.Store is needed here."""

    def post(self, post: ops.Post) -> Pending[ops.Reply]: ...


Hook = Callable[[], Awaitable[object]]


async def nothing() -> None:
    """A hook nobody hung anything on."""


class Keeper:
    """
    project:   brings the projection of master data up to date; called every second while shards are open
    bring_in:  restores one account into Redis if it is absent
    served:    which of these subscribers an account serves (ocs.master.subscribers)
    label:     a peer by a name of a bounded set
    ignores_origin_state:  of a host whose Origin-State-Id says nothing
    """

    def __init__(
        self,
        redis: Client,
        pool: Pool,
        store: Store,
        log: Log,
        *,
        now_ms: Callable[[], int],
        token: str,
        project: Hook = nothing,
        bring_in: Callable[[str], Awaitable[object]] | None = None,
        served: Callable[[str, Collection[str]], Awaitable[Collection[str]]] = all_served,
        label: Callable[[str], str] = lambda _origin_host: "other",
        ignores_origin_state: Callable[[str], bool] = lambda _origin_host: False,
        validity_ms: int = 600_000,
        alarm_ms: int = 60_000,
        durability: str = "everysec",
        accept_risks: Collection[str] = (),
        guard_s: float = 5.0,
        without_postgres: bool = False,
    ) -> None:
        self.stats = Stats()
        self.why = "shards are not open yet"
        """Why no request can be charged; "" when all is well."""
        self._redis = redis
        self._pool = pool
        self._store = store
        self._log = log
        self._now_ms = now_ms
        self._project = project
        self._bring_in = bring_in
        self._grace_ms = 2 * validity_ms
        self._without_postgres = without_postgres
        self._reader = Reader(redis)
        self.standing = Standing(log, now_ms, alarm_ms)
        self.watch = Watch(redis, pool, self.standing, now_ms)
        self.totals = Totals(redis)
        self.guard = Guard(redis, pool, self.standing, durability=durability, accepted=accept_risks)
        self._guard_s = guard_s
        self.refused = ""
        """Why this store may not be used at all: no time mends that."""
        self._opened_once = False
        self._sync = Sync(redis, pool, alarm=self._alarm)
        self._supervision = Supervision(redis, token)
        self._seldom, self._failures = Seldom(burst=2), Periodic(alarm_ms)
        self._anew = False
        """A gap was found: open the shards anew."""
        self._seen: dict[int, Id] = {}
        """Last record of each shard whose nudges were passed on."""
        self._pusher = Pusher(redis, STORE_AWAY)
        self.telling = Telling(
            store,
            self._pusher.push,
            self._supervision.sessions,
            served,
            log,
            now_ms=now_ms,
            trouble=(*STORE_AWAY, *AWAY),
            label=label,
        )
        self._restarts = Restarts(redis, store, now_ms=now_ms, ignores=ignores_origin_state, alarm=self._alarm)
        self._walk_due = False
        """An opening may have left accounts to PostgreSQL alone."""
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    async def start(self) -> None:
        """Try to open the shards, then keep at it in the background."""
        await self._once("opening", self._open)
        for name, work, every_s in (
            ("opening", self._open, 1.0),
            ("copy", self._copy, 0.05),
            ("sweep", self._sweep, 1.0),
            ("tell", self._tell, 0.0),
            ("restarts", self._end_lost, 0.5),
            ("receipts", self._pusher.listen, 0.0),
            ("measure", self._measure, 1.0),
            ("store", self._measure_store, 5.0),
            ("guard", self.guard.look, self._guard_s),
            ("trim", self._trim, 5.0),
            ("projection", self._project_if_open, 1.0),
            ("walk", self._walk, 1.0),
            ("purge", self._purge, 3_600.0),
            ("settle", self._settle, 5.0),
        ):
            self._tasks.append(asyncio.create_task(self._again(name, work, every_s), name=f"keeper-{name}"))

    async def stop(self, drain_s: float = 5.0) -> None:
        """Copy what is there, then stop."""
        self._stopping = True
        await ended(self._tasks)
        await self.telling.stop()
        try:
            async with asyncio.timeout(drain_s):
                await self._supervision.alive(self._now_ms())
                for lease in ("copy", "restarts", *(f"sweep:{group}" for group in range(GROUPS))):
                    await self._supervision.release(lease)
                while (await self._sync.step()).written:
                    pass
        except LATER as why:
            self._log.info("keeper.copy_left", why=repr(why))

    async def _again(self, name: str, work: Hook, every_s: float) -> None:
        while not self._stopping:
            await self._once(name, work)
            await asyncio.sleep(every_s)

    async def _once(self, name: str, work: Hook) -> None:
        """One turn; whatever goes wrong in it is told and does not end the others."""
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
            self.stats.conflicts += 1
        except NotOpen as why:
            self._log.info("keeper.not_open", work=name, why=str(why))
            await asyncio.sleep(0.2)
        except Exception as why:
            self._failed(name, why)
            await asyncio.sleep(0.5)

    def _failed(self, name: str, why: Exception) -> None:
        """Work that cannot be done now is tried again and again: told once an interval, with how often."""
        if times := self._failures.times((name, type(why)), self._now_ms()):
            self._alarm(f"{name}: {why!r}" + (f" ({times} times)" if times > 1 else ""))

    def _alarm(self, text: str) -> None:
        self.stats.alarms += 1
        self._log.error("keeper.alarm", what=text)

    # --- opening

    async def _open(self) -> None:
        server = await self._reader.server()
        if not server.master:
            self.why = "the live store is a replica"
            return
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
        if is_open(cursors, server) and not self._anew:
            self.why, self._opened_once = "", True
            return
        self.why = await self.guard.claim()
        if not self._opened_once:  # later it is too late to refuse what was charged already: then there is an alarm
            await self.guard.look()
            self.why = self.refused = self.guard.refused
        if self.why:
            return
        self.why = "shards are being opened"
        self._log.info("keeper.opening", replid=server.replid, published=server.published, epoch=cursors.epoch)
        opening = Opening(self._redis, self._pool, self._sync.writer, alarm=self._alarm)
        opened = await opening.run(self._now_ms() // 1_000, anew=self._anew)
        self._anew = False
        await self._opened(opened)
        self.why, self._opened_once = "", True

    async def _opened(self, opened: Opened) -> None:
        away_ms = await self._supervision.came_back(self._now_ms(), grace_ms=self._grace_ms, noticed_ms=NOTICED_MS)
        self.stats.openings += 1
        self.stats.copied += opened.copied
        self.stats.forgotten += len(opened.forgotten)
        self.stats.orphaned += opened.orphaned
        self.stats.recovered += opened.recovered
        self._walk_due = True
        if opened.went_back:  # what came after the last copy, only those know who gave the answers (ocs/witness.py)
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

    # --- copy

    async def _copy(self) -> None:
        if not await self._supervision.lease("copy", LEASE_MS):
            return
        try:
            while (step := await self._sync.step(self._see)).written:
                self.stats.copied += step.written
                if not step.full:
                    return
        except Gap as why:
            self._alarm(f"copy: {why}: the shards are opened anew")
            self._anew = True
        except AWAY:
            await self._read_on()
            raise

    async def _read_on(self) -> None:
        """PostgreSQL is away: what sessions are to be told still goes out."""
        if self.why or not self._seen:
            return
        look = await self._reader.after({s: self._seen.get(s, START) for s in self._seen}, 16)
        if look.server.published_epoch:
            self._see(calls_of(look.entries))

    def _see(self, calls: dict[int, list[Call]]) -> None:
        for shard, found in calls.items():
            seen = self._seen.get(shard, START)
            for call in found:
                if call.id <= seen:
                    continue
                record = call.record
                self.telling.want(record)
                count(record, self.stats, self._log)
            self._seen[shard] = max(seen, found[-1].id)

    async def _tell(self) -> None:
        await self.telling.step()
        self.stats.nudged, self.stats.unknown = self.telling.asked, self.telling.ended
        self.stats.dropped = self.telling.dropped

    async def _measure(self) -> None:
        if self.why:
            return
        try:
            await self.watch.measure()
        finally:
            if not await self._supervision.lease("totals", LEASE_MS):
                self.totals.forget()
            elif self.watch.heads:
                await self.totals.walk(self.watch.heads)

    async def _measure_store(self) -> None:
        stats = self.stats
        stats.memory_bytes, stats.memory_limit_bytes, stats.stream_entries = await self._reader.room()

    async def _trim(self) -> None:
        if not self.why:
            self.stats.trimmed += await self._sync.trim()

    async def _purge(self) -> None:
        if not self.why:
            await purge(self._pool, before_ms=self._now_ms() - KEPT_MS)

    async def _settle(self) -> None:
        if not self.why:
            await finish(self._pool, self._store, self._log, self._now_ms(), self._bring_in)

    # --- supervision

    async def _sweep(self) -> None:
        """What is due, a bounded amount. Sessions whose client could not report while we were away get that much
        longer: for two Validity-Times after an opening only what is overdue by more than the absence is ended."""
        if self.why:
            return
        now_ms = min(self._now_ms(), await self._supervision.time_ms())
        extended_ms = await self._supervision.alive(now_ms)
        looked_at = lag_ms = 0
        for group in range(GROUPS):
            if not await self._supervision.lease(f"sweep:{group}", LEASE_MS):
                continue
            due = await self._supervision.due(range(group, keys.SHARDS, GROUPS), now_ms, SWEEP_SHARD_MAX)
            due = [one for one in due if not one.session or one.at_ms <= now_ms - extended_ms]
            looked_at += len(due)
            lag_ms = max((lag_ms, *(now_ms - one.at_ms for one in due)))
            for start in range(0, len(due), 200):
                some = due[start : start + 200]
                swept = [self._sweep_one(one, now_ms, extended_ms) for one in some]
                for one, what in zip(some, await asyncio.gather(*swept, return_exceptions=True), strict=True):
                    if isinstance(what, LATER):
                        raise what
                    if isinstance(what, Exception):  # one that cannot be swept must not keep the others' money
                        self._failed("sweep", what)
                        await self._supervision.put_off(one, now_ms)
            if looked_at >= SWEEP_MAX:
                self._alarm(f"sweep: more than {SWEEP_MAX} members were due at once")
                break
        self.stats.sweep_lag_ms = lag_ms

    async def _sweep_one(self, one: Due, now_ms: int, extended_ms: int) -> None:
        at_ms = now_ms - extended_ms if one.session else now_ms
        reply = await self._store.sweep(ops.Sweep(one.account, one.session, at_ms)).wait()
        if reply.status == "ok":
            self.stats.swept += 1
        if reply.status in ("ok", "gone", "absent") and one.session:
            await self._supervision.forget_where(one.account, [one.session])

    async def _end_lost(self) -> None:
        """Sessions of hosts that restarted, a shard at a time."""
        while not self.why and await self._supervision.lease("restarts", LEASE_MS):
            if await self._restarts.step() is None:
                return
            self.stats.lost = self._restarts.ended

    # --- hooks

    async def _project_if_open(self) -> None:
        if not self.why:
            await self._project()

    async def _walk(self) -> None:
        """After an opening, bring back what only PostgreSQL has; requests bring theirs sooner."""
        if self.why or self._bring_in is None or not self._walk_due:
            return
        self._walk_due = False
        try:
            async for restored in rebuild(self._redis, self._pool, self._bring_in):
                self.stats.restored += restored
        except LATER:
            self._walk_due = True
            raise
