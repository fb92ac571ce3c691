"""The keeper process: opens shards, copies the streams to PostgreSQL, ends what is due, has sessions asked to report.

No request waits for it: while the keeper is down open shards charge on, and the keeper does its work later with the
same result. Several keepers on one store, on several hosts, are safe; leases keep them from doing the same work.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from balances.ledger import debts, months, standings
from balances.ledger.debts import OwedMoney
from balances.ledger.dropping import What
from balances.ledger.opening import Opened
from balances.ledger.reader import STORE_AWAY, Client, Pulse
from balances.ledger.record import RecordId
from balances.ledger.restore import purge, rebuild
from balances.ledger.supervision import Supervision
from balances.ledger.writer import AWAY, Pool
from balances.redis.libraries import drop_unused
from balances.redis.pending import Pending
from balances.redis.primaries import ALL, OnePrimary, Primaries, Primary
from balances.redis.replicas import ONE, ReplicaPromise
from balances.structs.account import Account
from balances.structs.charge import Reply
from balances.structs.posting import AccountClosing, Post
from ocs.access import overdue
from ocs.audit import chain, settling
from ocs.config.events import Webhooks
from ocs.enforcement.book import JobBook
from ocs.enforcement.choosing import NetworkPolicy, Use
from ocs.enforcement.due_sessions import DueSessions, none_due
from ocs.enforcement.enforcer import EnforcementStore, Enforcer, all_served, nowhere
from ocs.enforcement.executors.abort import AbortExecutor
from ocs.enforcement.executors.executor import Executor, Executors
from ocs.enforcement.executors.notice import NoticeExecutor
from ocs.enforcement.executors.reauthorize import ReauthorizeExecutor
from ocs.enforcement.job import NetworkAction
from ocs.enforcement.job_rows import JobTable
from ocs.enforcement.job_times import JobTimes
from ocs.enforcement.pacing import Pacing
from ocs.enforcement.restarts import Restarts
from ocs.enforcement.session_grades import SessionGrades
from ocs.enforcement.session_requests import SessionRequester
from ocs.enforcement.settings import EnforcementSettings
from ocs.events.pump import EventPump
from ocs.events.webhooks.dispatcher import LEASE as WEBHOOKS
from ocs.events.webhooks.dispatcher import Dispatcher
from ocs.events.webhooks.sealed_secrets import WebhookSecrets
from ocs.keeper.copy import PACE_S
from ocs.keeper.counts import KeeperStats
from ocs.keeper.due import DueChanges, GradedCatalog
from ocs.keeper.events import LEASE as EVENTS
from ocs.keeper.events import EventKeeping, EventSettings
from ocs.keeper.expire import GROUPS, Expirer, lease_of
from ocs.keeper.fees import LEASE as FEES
from ocs.keeper.fees import FeeRun, FeeStore
from ocs.keeper.formats import FormatStep
from ocs.keeper.leases import RENEWED_S, Leases
from ocs.keeper.news import News
from ocs.keeper.opening import LOOK_S, OpenerSettings
from ocs.keeper.primary_copies import PrimaryCopies
from ocs.keeper.reauthorize import Reauthorizer
from ocs.keeper.retention import KEPT_FOR_EVER, RETENTION_S, Retention
from ocs.keeper.rounds import LATER, Rounds, Work, nothing
from ocs.keeper.settling import finish
from ocs.keeper.totals import Totals
from ocs.keeper.transferring import finish_transfers
from ocs.keeper.verifying import DAILY_S, SAMPLED_S, Verifying
from ocs.keeper.verifying import LEASE as VERIFY
from ocs.keeper.watch import LagWatch
from ocs.master import voucher_tries
from ocs.stores.guard import Guard
from ocs.stores.hosts import listed
from ocs.stores.unheld_money import UnheldBook
from ocs.telemetry.standing_alarms import AlarmLog, StandingAlarms

KEPT_MS: Final = 30 * 86_400_000
"""How long PostgreSQL answers for requests that were seen before."""


ASKED_S: Final = 5.0
"""Where nothing is written PostgreSQL is asked so often what a person may have done there."""
SAVED_S: Final = 0.2
"""Between two writes of jobs that have changed."""
CAUGHT_UP_S: Final = 5.0
SELDOM_S: Final = 60.0
"""So often PostgreSQL is asked for intents that no keeper has looked at: after records were copied, and else."""
DEFAULTS_S: Final = 3.0
"""What tariffs bring to accounts follows them within seconds (charging.md section 7)."""
ASKED_TO_REPORT: Final = NetworkPolicy({}, lambda _origin_host: False)
FORMAT_S: Final = 2.0
"""How often the stored format is published again where it was lost, and brought a step on."""
LEASES: Final = ("copy", "restarts", EVENTS, WEBHOOKS, FEES, VERIFY, *map(lease_of, range(GROUPS)))


class Paces(NamedTuple):
    """How often the streams with news are read, and how often it is asked whether all may have some."""

    copy_s: float = PACE_S
    look_s: float = LOOK_S


class KeeperStore(EnforcementStore, FeeStore, Protocol):
    """The part of balances.redis.store.Store that is needed here."""

    def account(self, account_id: str) -> Pending[Account | None]: ...
    def post(self, post: Post) -> Pending[Reply]: ...
    def close(self, close: AccountClosing) -> Pending[Reply]: ...
    def remark(self, peer: str, mark: str) -> Pending[Any]: ...


class Keeper:
    """
    project:   brings the projection of master data up to date; called every second while shards are open
    bring_defaults: gives accounts the thresholds that their tariffs bring; likewise
    bring_in:  restores one account into Redis if it is absent
    served:    which of these uses an account pays for (ocs.master.subscribers)
    label:     a peer by a name of a bounded set
    policy:    what the network is told of a suspended account's sessions
    executors: those of protocols besides Diameter
    tariffs:   the published ones, for their grades; None: nobody is told of grades
    grades:    that sessions are served by
    jitter:    a factor around 1, for each wait before an attempt is made again
    paces:     how often the streams are read; what is urgent does not wait for that
    ignores_origin_state:  of a host whose Origin-State-Id says nothing
    pump:      delivers events to a sink
    primaries: the servers that have the shards; None: `redis` has all
    tries_s:   how long wrong codes of vouchers count
    sample_rate: accounts a second that are compared between the stores; 0: none
    verify_at: "03:30" in UTC, when the whole ledger is proved; "": never
    keep_months: of usage records and entries, whole months before the present one; 0: for ever
    format_after_s: how long all hosts read a newer stored format before it is written
    fees_rate: assignments whose recurring fees are looked at in a second, at most
    """

    def __init__(
        self,
        redis: Client,
        pool: Pool,
        store: KeeperStore,
        log: AlarmLog,
        *,
        now_ms: Callable[[], int],
        token: str,
        project: Work = nothing,
        bring_defaults: Work = nothing,
        bring_in: Callable[[str], Awaitable[object]] | None = None,
        served: Callable[[str, Collection[Use]], Awaitable[Collection[Use]]] = all_served,
        label: Callable[[str], str] = lambda _origin_host: "other",
        ignores_origin_state: Callable[[str], bool] = lambda _origin_host: False,
        validity_ms: int = 600_000,
        alarm_ms: int = 60_000,
        durability: str = "everysec",
        promise: ReplicaPromise = ONE,
        accept_risks: Collection[str] = (),
        guard_s: float = 5.0,
        without_postgres: bool = False,
        policy: NetworkPolicy = ASKED_TO_REPORT,
        enforcement: EnforcementSettings = EnforcementSettings(),  # noqa: B008
        executors: Sequence[Executor] = (),
        tariffs: GradedCatalog | None = None,
        grades: SessionGrades | None = None,
        jitter: Callable[[], float] = lambda: 1.0,
        paces: Paces = Paces(),  # noqa: B008
        events: EventSettings = EventSettings(),  # noqa: B008
        pump: EventPump | None = None,
        webhooks: Webhooks = Webhooks(),  # noqa: B008
        secrets: WebhookSecrets = WebhookSecrets(None),  # noqa: B008
        tries_s: int = 3_600,
        primaries: Primaries | None = None,
        fees_rate: int = 1_000,
        sample_rate: int = 10,
        verify_at: str = "",
        keep_months: Mapping[What, int] = KEPT_FOR_EVER,
        format_after_s: int = 3_600,
    ) -> None:
        self.stats = stats = KeeperStats()
        self.owed: dict[str, OwedMoney] = {}
        """By currency, as of the last look; empty where another keeper looks."""
        self._unheld = UnheldBook(self.stats.unheld)
        self._redis, self._pool, self._store, self._log = redis, pool, store, log
        self.now_ms = self._now_ms = now_ms
        self._project, self._bring_in, self._guard_s = project, bring_in, guard_s
        self._tries_s = tries_s
        self._bring_defaults = bring_defaults
        self._paces = paces
        self._primaries = primaries = primaries or OnePrimary(redis)
        self._asked_s = 0.0
        self._unmeasured = True
        """Something was written since the store's room was measured."""
        self._rounds = rounds = Rounds(stats, log, now_ms, alarm_ms)
        self._supervision = supervision = Supervision(redis, token)
        self._leases = leases = Leases(supervision, primaries, LEASES)
        self.standing = StandingAlarms(log, now_ms, alarm_ms)
        self.totals = Totals(primaries)
        self.dispatcher = Dispatcher(
            pool, webhooks, log, self.standing, secrets, now_ms=now_ms, jitter=jitter, failed=rounds.failed
        )
        self.guard = Guard(
            primaries, pool, self.standing, durability=durability, accepted=accept_risks, promise=promise
        )
        self.watch = LagWatch(redis, primaries, pool, self.standing, now_ms, self._cursors)
        self.events = EventKeeping(
            pool, leases, self.standing, events, now_ms=now_ms, open_=lambda: not self.why, pump=pump
        )
        self._requester = SessionRequester(redis, STORE_AWAY)
        self.job_times = JobTimes()
        self._jobs, self._enforcement = JobTable(pool), enforcement
        self.enforcer = Enforcer(
            store,
            supervision,
            self._jobs,
            Executors(
                (
                    ReauthorizeExecutor(self._requester.ask, NetworkAction.ABORT if enforcement.escalate else None),
                    AbortExecutor(self._requester.ask),
                    NoticeExecutor(pool, now_ms, "report", NetworkAction.ABORT if enforcement.escalate else None),
                    NoticeExecutor(pool, now_ms, "end"),
                    *executors,
                )
            ),
            policy,
            JobBook(jobs_max=enforcement.jobs_max, return_ms=enforcement.return_s * 1_000, jitter=jitter),
            Pacing(rate=enforcement.peer_rate, window=enforcement.peer_window),
            served,
            log,
            now_ms=now_ms,
            trouble=(*STORE_AWAY, *AWAY),
            label=label,
            mine=lambda: leases.has("copy"),
            bring_in=bring_in or nowhere,
            alarm=self.standing.lasting,
            remark=store.remark,
            timed=none_due if grades is None else DueSessions(grades).of,
            times=self.job_times,
        )
        self.due = DueChanges(
            pool, self.enforcer, tariffs, now_ms=now_ms, mine=lambda: not self.why and leases.has("copy")
        )
        self.fees = FeeRun(
            pool,
            store,
            tariffs,
            bring_in,
            now_ms=now_ms,
            mine=lambda: not self.why and leases.has(FEES),
            rate=fees_rate,
        )
        self.verifying = Verifying(
            redis,
            pool,
            getattr(pool, "patient", pool),
            now_ms=now_ms,
            mine=lambda: not self.why and leases.has(VERIFY),
            copied=lambda: self.watch.now.well,
            counted=lambda: stats.copied,
            alarm=rounds.alarm,
            rate=sample_rate,
            at=verify_at,
        )
        self.retention = Retention(
            getattr(pool, "patient", pool),
            log,
            now_ms=now_ms,
            mine=lambda: not self.why and leases.has(VERIFY),
            lasting=self.standing.lasting,
            keep_months=keep_months,
        )
        self.formats = FormatStep(redis, pool, log, primaries=primaries.all, now_ms=now_ms, after_s=format_after_s)
        self._caught_up_s, self._copied = 0.0, 0
        self._news = news = News(redis, self._doubt)
        self._reauthorizer = reauthorizer = Reauthorizer(leases, news, self.enforcer, self.totals, stats, log)
        self.copies = PrimaryCopies(
            primaries,
            pool,
            supervision,
            self.guard,
            leases,
            news,
            reauthorizer,
            rounds,
            stats,
            log,
            OpenerSettings(2 * validity_ms, without_postgres, paces.look_s),
            now_ms=now_ms,
            felt=self._felt,
            opened=self._opened,
            begin=self.formats.publish,
            copy_s=paces.copy_s,
        )
        self._unwalked: set[int] = set()
        """Shards of which an opening may have left accounts to PostgreSQL alone."""
        self._bring_in = bring_in
        self._expirer = Expirer(
            store,
            supervision,
            primaries,
            leases,
            news,
            rounds,
            stats,
            now_ms=now_ms,
            open_shards=lambda: self.copies.open_shards,
        )
        self._restarts = Restarts(redis, store, now_ms=now_ms, ignores=ignores_origin_state, alarm=rounds.remark)

    @property
    def why(self) -> str:
        """Why no request can be charged; "" when some can."""
        return self.copies.why

    @property
    def refused(self) -> str:
        """Why this store may not be used at all, also not later; "" when it may."""
        return self.copies.refused

    @property
    def shut(self) -> str:
        """Which shards cannot be charged while others can, and why; "" when all can."""
        return self.copies.shut

    async def start(self) -> None:
        """Try to open the shards, then keep at it in the background."""
        await self._rounds.once("leases", self._hold)
        await self._rounds.once("primaries", self.copies.look)
        await self._rounds.once("format", self.formats.publish)
        await self.copies.first()
        for name, work, every_s in (
            ("leases", self._hold, RENEWED_S),
            ("news", self._news.listen, 0.0),
            ("primaries", self.copies.keep_up, 0.0),
            ("sweep", self._expirer.expire, 1.0),
            ("look", self.enforcer.look, 0.0),
            ("tell", self._tell, 0.0),
            ("jobs", self.enforcer.save, SAVED_S),
            ("tend", self._tend_jobs, 1.0),
            ("wishes", self._hear_wishes, 0.0),
            ("due", self.due.step, 0.0),
            ("fees", self.fees.step, 0.0),
            ("sample", self.verifying.sample, SAMPLED_S),
            ("daily proof", self.verifying.daily, DAILY_S),
            ("restarts", self._end_lost, 2.0),
            ("receipts", self._requester.listen, 0.0),
            ("measure", self._measure, 1.0),
            ("totals", self._count, 1.0),
            ("store", self._measure_store, 5.0),
            ("guard", self.guard.look, self._guard_s),
            ("projection", self._project_if_open, 1.0),
            ("default thresholds", self._bring_defaults_if_open, DEFAULTS_S),
            ("walk", self._walk, 1.0),
            ("months", self._make_months, 3_600.0),
            ("purge", self._purge, 3_600.0),
            ("retention", self.retention.step, RETENTION_S),
            ("settle", self._settle, 5.0),
            ("audit", self._go_on_with_audit, 5.0),
            ("approvals", self._expire_approvals, 30.0),
            ("transfers", self._finish_transfers, 5.0),
            ("owed", self._look_at_debts, 60.0),
            ("voucher tries", self._forget_tries, 60.0),
            ("standings", self._fill_standings, 60.0),
            ("libraries", self._drop_libraries, 600.0),
            ("format", self._go_on_with_format, FORMAT_S),
            ("bell", self.events.bell.listen, 0.0),
            ("outbox", self.events.move, 0.0),
            ("deliver", self.events.deliver, 0.0),
            ("expiring", self.events.expiring, 10.0),
            ("consumers", self.events.look, 30.0),
            ("old events", self.events.delete, 600.0),
            ("webhooks", self._look_at_webhooks, 2.0),
            ("events of webhooks", self._follow_events, 0.05),
            ("webhooks purge", self.dispatcher.purge, 60.0),
        ):
            self._rounds.begin(name, work, every_s)

    async def stop(self, drain_s: float = 5.0) -> None:
        """Copy what is there, then stop."""
        await self._rounds.stop()
        await self.enforcer.stop()
        await self.dispatcher.stop()
        try:
            async with asyncio.timeout(drain_s):
                await self._leases.release()
                await self.copies.last()
                await self.enforcer.save_now()
        except LATER as why:
            self._log.info("keeper.copy_left", why=repr(why))

    async def _hold(self) -> None:
        """Keep the leases, and write that a keeper is alive."""
        self.standing.lasting("shut shards", self.shut)
        await self._leases.renew()
        await self.copies.alive()
        if self._news.copy and self._leases.has("copy"):  # what came while it was another's
            self._news.wake()

    def _felt(self, primary: Primary, pulse: Pulse) -> None:
        """What is stopped or behind may go on without anything being written."""
        self._news.felt(primary, pulse if self.watch.now.well else pulse._replace(appended=None))

    def _doubt(self) -> None:
        self.copies.doubt()

    def _opened(self, opened: Opened) -> None:
        self._unwalked |= opened.shards
        self._news.of(opened.shards)

    def _cursors(self) -> Mapping[int, RecordId] | None:
        """As the copies know them; None where another keeper copies, or one is not sure of them."""
        return self.copies.known() if self._leases.has("copy") else None

    async def _walk(self) -> None:
        """After an opening, bring back what only PostgreSQL has; requests bring theirs sooner."""
        shards = self._unwalked & self.copies.open_shards
        if self._bring_in is None or not shards:
            return
        self._unwalked -= shards
        try:
            async for restored in rebuild(self._primaries, self._pool, self._bring_in, shards=shards):
                self.stats.restored += restored
        except LATER:
            self._unwalked |= shards
            raise

    # --- what is measured

    async def _measure(self) -> None:
        """Measure the lag when something was written or is behind; else only what PostgreSQL has, seldom."""
        now_s = asyncio.get_running_loop().time()
        moved = self._news.stirred or not self.watch.now.well
        if self.why or (not moved and now_s - self._asked_s < ASKED_S):
            return
        self._asked_s = now_s
        if not moved:
            if await self.watch.look_again():
                self._news.of(ALL)
            return
        self._news.stirred, self._unmeasured = False, True
        try:
            await self.watch.measure()
        except BaseException:
            self._news.stirred = True
            raise

    async def _count(self) -> None:
        """Go on counting what is open, if we read the records: those say what becomes of it."""
        if not self._leases.has("copy"):
            self.totals.forget()
        elif self.watch.heads and not self.why:
            await self.totals.look(self.watch.heads)
            if self.totals.over:
                self._rounds.failed("totals", OverflowError("more sessions are open than are counted"))

    async def _measure_store(self) -> None:
        """Measure memory, of the fullest primary, and streams of the store when something was written."""
        if not self._unmeasured:
            return
        self._unmeasured = False
        rooms = await self.copies.rooms()
        fullest = max(rooms, key=lambda room: room.used_bytes / (room.limit_bytes or math.inf))
        stats = self.stats
        stats.memory_bytes, stats.memory_limit_bytes = fullest.used_bytes, fullest.limit_bytes
        stats.stream_entries = sum(room.entries for room in rooms)

    # --- what is done while shards are open

    async def _tell(self) -> None:
        """Wait until something is due for the network, and begin to send it."""
        await self.enforcer.send()
        stats, enforcer = self.stats, self.enforcer
        stats.reauthorized, stats.unknown, stats.dropped = enforcer.asked, enforcer.ended, enforcer.dropped

    async def _tend_jobs(self) -> None:
        """Take over what another keeper has left; look now and then for what none has seen."""
        enforcer, now_s = self.enforcer, asyncio.get_running_loop().time()
        if self.why:
            return
        if not self._leases.has("copy"):
            enforcer.forget()
        elif not enforcer.loaded:
            await enforcer.take_over()
            await enforcer.hear()
        elif now_s - self._caught_up_s >= (CAUGHT_UP_S if self._copied != self.stats.copied else SELDOM_S):
            self._caught_up_s, self._copied = now_s, self.stats.copied
            await enforcer.catch_up()
            await enforcer.hear()

    async def _hear_wishes(self) -> None:
        """Wait until a person wishes something of a job, and do it."""
        await self._news.wishes.wait()
        self._news.wishes.clear()
        if not self.why and self._leases.has("copy"):
            await self.enforcer.hear()

    async def _end_lost(self) -> None:
        """End sessions of hosts that restarted, a shard at a time."""
        while not self.why and self._leases.has("restarts"):
            if await self._restarts.step() is None:
                return
            self.stats.lost = self._restarts.ended

    async def _project_if_open(self) -> None:
        if not self.why:
            await self._project()

    async def _bring_defaults_if_open(self) -> None:
        if not self.why:
            await self._bring_defaults()

    async def _make_months(self) -> None:
        """Also while shards are shut: records of the first minutes would stand in no month for ever."""
        for name in await months.make_ahead(self._pool, self._now_ms()):
            self._log.info("keeper.partition_made", name=name)
        for table in await months.unplaced(self._pool):
            self._log.warning("keeper.without_partition", table=table)

    async def _purge(self) -> None:
        if not self.why:
            await purge(self._pool, before_ms=self._now_ms() - KEPT_MS)
            await self._jobs.purge(self._enforcement.kept_s, self._now_ms())
            await overdue.purge(self._pool, self._now_ms())

    async def _go_on_with_audit(self) -> None:
        if not self.why:
            await settling.settle(self._pool)
            while await chain.go_on(self._pool):
                pass

    async def _expire_approvals(self) -> None:
        while not self.why and await overdue.expire(self._pool, self._now_ms()):
            pass

    async def _forget_tries(self) -> None:
        if not self.why:
            await voucher_tries.forget(self._pool, self._now_ms() - self._tries_s * 1_000, self._now_ms())

    async def _fill_standings(self) -> None:
        if not self.why:
            await standings.fill(self._pool)

    async def _drop_libraries(self) -> None:
        if not self.why:
            used = {name for host in await listed(self._pool) if host.alive for name in host.libraries}
            for name in await drop_unused(self._redis, self._primaries.all(), used):
                self._log.info("keeper.library_dropped", name=name)

    async def _go_on_with_format(self) -> None:
        if not self.why:
            await self.formats.step()

    async def _settle(self) -> None:
        if not self.why:
            await finish(self._pool, self._store, self._log, self._now_ms, self._bring_in)

    async def _look_at_debts(self) -> None:
        """By one keeper, so that each debt is told once."""
        is_ours = not self.why and self._leases.has("copy")
        self.owed = await debts.owed(self._pool) if is_ours else {}
        if is_ours:
            await self._unheld.add(self._pool)

    async def _finish_transfers(self) -> None:
        if not self.why and self._leases.has("copy"):
            await finish_transfers(self._pool, self._store, self._log, self._now_ms, self._bring_in)

    async def _look_at_webhooks(self) -> None:
        await self.dispatcher.look(ours=self._leases.has(WEBHOOKS))

    async def _follow_events(self) -> None:
        """Tell the webhooks how far the events are, whenever there are more."""
        rings = self.events.bell.rings
        await self.dispatcher.follow()
        await self.events.bell.wait(rings)
