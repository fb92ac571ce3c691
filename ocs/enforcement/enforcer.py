"""Carries intents out: looks which sessions of an account the network has to be told about, sends, and follows each job
until it has had its effect (charging.md sections 5 and 7, durability.md rule 10).

Records come from the streams, before PostgreSQL has them and also while it is away. What was done is written behind; a
process that comes after a crash finds intents that nobody has looked at, and jobs that are open.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final, NamedTuple, Protocol

from balances.ledger.intents import Intent, IntentId, intent_of
from balances.ledger.record import RecordedCall
from balances.redis.pending import Pending, ended
from balances.structs.account import Account
from balances.structs.charge import Phase, Reply
from balances.structs.posting import Expire
from balances.structs.record import Short
from balances.structs.session import Session
from ocs.enforcement.book import OVERTAKEN, AccountLook, AttemptRow, JobBook, attempt_row, snapshot
from ocs.enforcement.choosing import (
    MEMBER_KIND,
    REPLACED_KIND,
    NetworkPolicy,
    Use,
    is_depleted,
    is_suspended,
    may_be_ended,
    wanted_of,
)
from ocs.enforcement.due_sessions import kind_again, none_due
from ocs.enforcement.executors.executor import Executor, Executors
from ocs.enforcement.job import RESTRICTIVE, Cause, NetworkJob
from ocs.enforcement.job_times import Hop, JobTimes
from ocs.enforcement.machine import JobEvent, JobState
from ocs.enforcement.pacing import Pacing
from ocs.enforcement.session_requests import NO_ROUTE, RequestReceipt
from ocs.telemetry.log import Seldom

IN_WORK_S: Final = 2.0
"""A request that was in work when its client said 5002 is charged by then, and has touched its session."""
HOLDER_EVERY_MS: Final = 30_000
"""A session is asked so often at most for what it holds and others lack."""
ACCOUNTS_MAX: Final = 100_000
DUE_WAITING_MAX: Final = 500
"""While so many accounts wait to be looked at none is added for what time alone changed."""
HOLDERS_MAX: Final = 10_000
SAVED_AT_ONCE: Final = 2_000
LOADED_AT_ONCE: Final = 1_000
AWAY_MS: Final = 1_000
"""Until an attempt that could not be judged is looked at again."""
UNCOPIED_S: Final = 10.0
"""An intent that nobody has looked at for so long was seen by no keeper that lives."""
UNCOPIED_AGAIN_S: Final = 1.0
UNCOPIED_MS_MAX: Final = 60_000
"""An intent whose record is not copied so long after it was looked at is looked at again when it is."""

IGNORES_RAR: Final = "rar_ignored"
"""Remark about a peer that agrees to report and does not."""

KIND_OF: Final = {Cause.MEMBERS: MEMBER_KIND, Cause.LIMIT: "all", Cause.WAITS: "final"}
"""What makes a look find the cause again; a suspension is always looked for. So is who goes on without money; that what
there is may be too little is said again by the next report."""


class EnforcementStore(Protocol):
    """The part of balances.redis.store.Store that is needed here."""

    def expire(self, expiry: Expire) -> Pending[Reply]: ...


class EnforcementLog(Protocol):
    def info(self, event: str, **fields: object) -> object: ...
    def warning(self, event: str, **fields: object) -> object: ...


class LiveAccounts(Protocol):
    """Accounts as the live store has them (balances.ledger.supervision.Supervision)."""

    async def open_sessions(self, account: str) -> tuple[Account, list[Session]] | None: ...
    async def account_and_session(self, account: str, session: str) -> tuple[Account | None, Session | None]: ...


class JobKeeping(Protocol):
    """Where jobs are kept (ocs/enforcement/job_rows.py)."""

    async def save(
        self, jobs: Sequence[NetworkJob], attempts: Sequence[AttemptRow], looked: dict[IntentId, int]
    ) -> Collection[IntentId]: ...
    async def open_jobs(self, but: Sequence[str], limit: int) -> Sequence[NetworkJob]: ...
    async def unexpanded(self, older_than_s: float, limit: int) -> Sequence[Intent]: ...
    async def wishes(self) -> Sequence[tuple[NetworkJob, str, str]]: ...
    async def heard(self, ids: Sequence[str]) -> None: ...


async def all_served(_account: str, uses: Collection[Use]) -> Collection[Use]:
    """Where nobody says otherwise."""
    return uses


class _Due(NamedTuple):
    """An account that is to be looked at."""

    intents: tuple[IntentId, ...]
    """The newest last; none: it is looked at again for jobs it has ..."""
    again: IntentId
    """... of this intent."""
    kinds: frozenset[str]
    crossed_ms: int
    """Of the first of them."""
    short: frozenset[Short] = frozenset()
    asker: str = ""

    def joined(self, later: _Due) -> _Due:
        return _Due(
            self.intents + tuple(one for one in later.intents if one not in self.intents),
            later.again,
            self.kinds | later.kinds,
            self.crossed_ms,
            self.short | later.short,
            later.asker or self.asker,
        )


class _Looked(NamedTuple):
    """What came of an intent."""

    jobs: int
    at_ms: int


async def nowhere(_account: str) -> None:
    """An account that the live store lacks stays so."""


class Enforcer:
    """
    executors:  what can be done
    served:     which of these uses the account pays for: of a subscriber neither barred nor deleted nor moved away
    trouble:    what stores raise while they are away
    label:      a peer by a name of a bounded set, for what is counted
    mine:       whether this process does the work now
    bring_in:   restores an account the live store lacks
    remark:     (peer, mark) counts what is unusual about a peer
    timed:      which sessions are told of what time changed (due_sessions.py)
    alarm:      (what about, text) a condition that lasts; "" when it is over
    """

    def __init__(
        self,
        store: EnforcementStore,
        live: LiveAccounts,
        kept: JobKeeping,
        executors: Executors,
        policy: NetworkPolicy,
        book: JobBook,
        pacing: Pacing,
        served: Callable[[str, Collection[Use]], Awaitable[Collection[Use]]],
        log: EnforcementLog,
        *,
        now_ms: Callable[[], int],
        trouble: tuple[type[Exception], ...],
        label: Callable[[str], str] = lambda _origin_host: "other",
        mine: Callable[[], bool] = lambda: True,
        bring_in: Callable[[str], Awaitable[object]] = nowhere,
        alarm: Callable[[str, str], object] = lambda _about, _text: None,
        remark: Callable[[str, str], object] = lambda _peer, _mark: None,
        timed: Callable[[Account, Sequence[Session], Collection[str]], Awaitable[Collection[str]]] = none_due,
        times: JobTimes | None = None,
    ) -> None:
        self.asked = 0
        """First attempts of jobs."""
        self.ended = 0
        """Sessions their client did not know any more."""
        self.dropped = 0
        """Jobs that were not made, and accounts not looked at, for want of room: their intents are looked at later."""
        self.unreached: Counter[tuple[str, str]] = Counter()
        """Attempts that nobody had a connection for, by kind of request and peer."""
        self.ignored: Counter[str] = Counter()
        """Requests to report that a peer agreed to and did not follow, by peer."""
        self.finished: Counter[tuple[str, str]] = Counter()
        """Jobs that have ended, by action and state."""
        self.used_micro = self.over_bound = 0
        """Money debited for sessions after the crossing that made their jobs; jobs where it was more than they held."""
        self.book, self.pacing = book, pacing
        self._store, self._live, self._kept, self._executors, self._policy = store, live, kept, executors, policy
        self._served, self._log, self._now_ms, self._trouble = served, log, now_ms, trouble
        self._label, self._alarm, self._remark, self._times = label, alarm, remark, times or JobTimes()
        self._mine, self._bring_in, self._timed = mine, bring_in, timed
        self._due: dict[str, _Due] = {}
        self._looked: dict[IntentId, _Looked] = {}
        """Intents that were looked at; not written yet."""
        self._unreached_now: Counter[str] = Counter()
        """Jobs given up since the peer last answered."""
        self._stirred, self._armed, self._unsaved = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._holders: dict[str, int] = {}
        """When each session was last asked for what it holds."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._seldom = Seldom()
        self.loaded = False
        """What another process has left was taken over."""

    async def stop(self) -> None:
        """Stop sending, and write what there is to write if PostgreSQL takes it."""
        await ended(self._tasks)

    def forget(self) -> None:
        """Another keeper does the work now."""
        self.loaded = False
        for job in list(self.book.open.values()):
            self.book.leave(job)
        self.pacing.forget()
        self._due.clear()

    # --- what is seen

    def want(self, shard: int, call: RecordedCall) -> None:
        """Note the reasons that this record gives, and what it says about sessions that have jobs. Reasons of one
        account are collected until it is looked at."""
        record = call.record
        if record.session and record.kind == "charge" and self.book.open:
            self._see(shard, call)
        intent = None if call.broken else intent_of(shard, call.id, record, call.account_state)
        if intent is not None:
            self._want(intent)

    def want_due(self, intents: Sequence[Intent]) -> None:
        """Look at accounts for what time alone changed. Their intents are in PostgreSQL: what is forgotten here is
        found there."""
        for intent in intents:
            self._want(intent)

    @property
    def has_room(self) -> bool:
        """Whether more accounts may be looked at for what is in no hurry: those that wait are few, and so are jobs."""
        return len(self._due) < DUE_WAITING_MAX and self.book.is_half_empty

    def _see(self, shard: int, call: RecordedCall) -> None:
        record = call.record
        jobs = self.book.of_session(record.account, record.session)
        if not jobs:
            return
        cost = sum(usage.cost for usage in record.usages)
        for job in jobs:
            if record.at_ms > job.touched_ms and job.cause is Cause.SUSPENDED and cost > 0:
                within = job.used_micro <= job.bound_micro
                job.used_micro += cost
                self.used_micro += cost
                self.over_bound += within and job.used_micro > job.bound_micro
                self.book.unsaved[job.id] = job
        if record.phase in (Phase.UPDATE, Phase.STOP):
            granted = any(usage.granted for usage in record.usages)
            ended_ = record.phase == Phase.STOP
            for job in self.book.returned(record.account, record.session, record.at_ms, ended=ended_):
                hop = Hop.GRANTED if granted and job.cause is Cause.WAITS else Hop.RETURNED
                self._times.note(job.cause, hop, record.at_ms - job.crossed_ms)
        self._follow()

    def _want(self, intent: Intent) -> None:
        if intent.account not in self._due and len(self._due) >= ACCOUNTS_MAX:
            self.dropped += 1
            return
        asker = intent.session if intent.short else ""
        ids = (intent.id,)
        self._put(intent.account, _Due(ids, intent.id, intent.kinds, intent.crossed_ms, intent.short, asker))

    def _put(self, account: str, due: _Due) -> None:
        before = self._due.get(account)
        self._due[account] = due if before is None else before.joined(due)
        self._stirred.set()

    def _look_again(self, job: NetworkJob) -> None:
        """The account has changed since the job was made or confirmed."""
        kinds = frozenset({KIND_OF[job.cause]} if job.cause in KIND_OF else ())
        if job.cause is Cause.WAITS:  # it may have been told when its account was suspended
            kinds |= {"resume"}
        if job.cause is Cause.PRICE:
            kinds = frozenset({kind_again(job.crossed_ms)})
        if job.cause is Cause.REPLACED:
            kinds = frozenset({REPLACED_KIND + job.session})
        self._put(job.account, _Due((), job.intent, kinds, job.crossed_ms))

    # --- looking

    async def look(self) -> None:
        """Wait for an account with a reason, and make the jobs it needs."""
        while not self._due:
            self._stirred.clear()
            await self._stirred.wait()
        account = next(iter(self._due))
        due = self._due.pop(account)
        try:
            await self._look(account, due)
        except BaseException:
            later = self._due.get(account)
            self._due[account] = due if later is None else due.joined(later)
            raise

    async def _look(self, name: str, due: _Due) -> None:
        found = await self._live.open_sessions(name)
        if found is None:
            await self._bring_in(name)
            found = await self._live.open_sessions(name)
        made = dropped = 0
        if found is not None:
            account, sessions = found
            gone: Collection[Use] = ()
            if MEMBER_KIND in due.kinds and sessions:
                uses = {(one.subscriber, one.service) for one in sessions}
                gone = uses - set(await self._served(name, uses))
            timed = await self._timed(account, sessions, due.kinds)
            wanted = wanted_of(
                account, sessions, due.kinds, self._policy, gone=gone, short=due.short, asker=due.asker, due=timed
            )
            wanted = [one for one in wanted if one.cause is not Cause.HOLDER or self._is_time(one.session.id)]
            judged = {Cause.SUSPENDED, Cause.DEPLETED, *([Cause.MEMBERS] if MEMBER_KIND in due.kinds else [])}
            by_id = {one.id: one for one in sessions}
            look = AccountLook(due.again, account, by_id, wanted, judged, due.crossed_ms)
            made, dropped = self.book.reconcile(look, self._now_ms())
            self.dropped += dropped
        if due.intents and not dropped:  # else somebody looks at them again when there is room
            self._looked.update(dict.fromkeys(due.intents, _Looked(0, self._now_ms())))
            self._looked[due.intents[-1]] = _Looked(made, self._now_ms())
            while len(self._looked) > ACCOUNTS_MAX:  # PostgreSQL is away: looked at once more when it is back
                self._looked.pop(next(iter(self._looked)))
        self._follow()

    def _is_time(self, session: str) -> bool:
        now_ms = self._now_ms()
        if now_ms - self._holders.get(session, 0) < HOLDER_EVERY_MS:
            return False
        if len(self._holders) >= HOLDERS_MAX:
            self._holders = {one: at_ms for one, at_ms in self._holders.items() if now_ms - at_ms < HOLDER_EVERY_MS}
        self._holders[session] = now_ms
        return True

    def _follow(self) -> None:
        """What has changed in the book is sent, counted and saved."""
        book = self.book
        for job in book.armed:
            if job.is_open:
                self.pacing.put(job.peer.lower(), job)
        for job in book.ended:
            self.finished[job.action, job.state] += 1
        if book.armed:
            self._armed.set()
        if book.unsaved or book.attempts or self._looked:
            self._unsaved.set()
        book.armed.clear()
        book.ended.clear()

    # --- sending

    async def send(self) -> None:
        """Wait until something is due, and begin what may be begun."""
        self._armed.clear()
        if not self._mine():
            self.forget()
        now_ms = self._now_ms()
        for peer, job in self.pacing.ready(self.book.open, now_ms):
            if job.of not in self.book.flying:  # else it is armed again when that has landed
                self._begin(peer, job)
        wait_ms = self.pacing.wait_ms(self._now_ms())
        try:
            async with asyncio.timeout(None if wait_ms is None else wait_ms / 1_000):
                await self._armed.wait()
        except TimeoutError:
            pass

    def wake(self) -> None:
        """Look at what is due now."""
        self._armed.set()

    def _begin(self, peer: str, job: NetworkJob) -> None:
        sends = job.state is JobState.DUE
        if sends:
            self.pacing.left(peer)
        self.book.take(job)
        task = asyncio.create_task(self._turn(peer, job, sends=sends))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _turn(self, peer: str, job: NetworkJob, *, sends: bool) -> None:
        """An attempt, or the look at a session whose client has agreed."""
        try:
            account, session = await self._live.account_and_session(*job.of)
            await (self._attempt if sends else self._silence)(job, account, session)
        except self._trouble as why:  # the live store is away
            job.due_ms = self._now_ms() + AWAY_MS
            if times := self._seldom.times(("enforcement", type(why))):
                self._log.warning("job.store_away", why=str(why) or type(why).__name__, times=times)
        finally:
            self.book.release(job)
            if sends:
                self.pacing.landed(peer)
            self._follow()
            self._armed.set()  # there may be room for another one

    def _is_in_the_way(self, job: NetworkJob, account: Account | None, session: Session | None, *, ends: bool) -> bool:
        obstacle = self.book.obstacle(job, account, session, ends=ends)
        if isinstance(obstacle, JobEvent):
            self.book.apply(job, obstacle, self._now_ms())
        elif obstacle == OVERTAKEN:
            job.due_ms = self._now_ms() + AWAY_MS  # should the look come to nothing
            self._look_again(job)
        return bool(obstacle)

    async def _attempt(self, job: NetworkJob, account: Account | None, session: Session | None) -> None:
        executor = self._executors.of(session, job.action) if session is not None else None
        if self._is_in_the_way(job, account, session, ends=executor is not None and executor.ends):
            return
        assert account is not None
        assert session is not None
        if executor is None:
            self.book.apply(job, JobEvent.IMPOSSIBLE, self._now_ms(), f"nothing here can {job.action} this session")
            return
        first = not job.attempts
        at_ms = self._now_ms()
        self.book.begin(job, at_ms)
        if first:
            self.asked += 1
            self._times.note(job.cause, Hop.SENT, at_ms - job.crossed_ms)
        try:
            receipt = await executor.send(account, session, job.cause)
        except self._trouble as why:
            receipt = RequestReceipt("", f"not sent: {type(why).__name__}")
            await self._landed(job, session, executor, receipt, JobEvent.UNDELIVERED, at_ms)
        except BaseException:
            self.book.apply(job, JobEvent.LOST, self._now_ms())
            raise
        else:
            await self._landed(job, session, executor, receipt, executor.judged(receipt, session), at_ms)

    async def _landed(
        self,
        job: NetworkJob,
        session: Session,
        executor: Executor,
        receipt: RequestReceipt,
        event: JobEvent,
        at_ms: int,
    ) -> None:
        now_ms, peer = self._now_ms(), self._label(session.peer)
        job.result = str(receipt.result)
        self.book.attempts.append(attempt_row(job, at_ms, now_ms, job.result, receipt.host, receipt.by))
        if receipt.result == NO_ROUTE:
            self.unreached[executor.kind, peer] += 1
        if event is JobEvent.GONE:
            event = await self._unknown(job.account, session)
        fallback = executor.fallback if job.cause in RESTRICTIVE and may_be_ended(session) else None
        was_sent = job.state is JobState.SENT
        self.book.landed(job, event, self._now_ms(), fallback)
        if event is JobEvent.ACCEPTED and was_sent:
            self._times.note(job.cause, Hop.ACKNOWLEDGED, now_ms - job.crossed_ms)
        if event is not JobEvent.UNDELIVERED and self._unreached_now.pop(peer, 0):
            self._alarm(f"enforcement of {peer}", "")
        if job.state is JobState.GIVEN_UP:
            self._unreached_now[peer] += 1
            count = self._unreached_now[peer]
            self._alarm(f"enforcement of {peer}", f"{peer} is not reached: {count} jobs given up, last: {job.result}")
            if times := self._seldom.times((peer, job.result)):
                self._log.warning("job.given_up", peer=peer, action=job.action, result=job.result, times=times)

    async def _unknown(self, account: str, session: Session) -> JobEvent:
        """charging.md section 5: the session's own host does not know it. What was in work meanwhile touches the
        session, and then it is left alone."""
        await asyncio.sleep(IN_WORK_S)
        ending = Expire(account, session.id, self._now_ms(), touched_ms=session.touched_ms)
        try:
            if (await self._store.expire(ending).wait()).status != "ok":
                return JobEvent.RETURNED
        except self._trouble:
            return JobEvent.UNDELIVERED
        self.ended += 1
        self._log.info("session.unknown_to_its_host", account=account, session=session.id, peer=session.peer)
        return JobEvent.GONE

    async def _silence(self, job: NetworkJob, account: Account | None, session: Session | None) -> None:
        """The client has agreed and its time is over."""
        if job.state is not JobState.ACKNOWLEDGED or self._is_in_the_way(job, account, session, ends=False):
            return
        assert account is not None
        assert session is not None
        executor = self._executors.of(session, job.action)
        ends = executor is not None and executor.ends
        if not ends:
            self.ignored[self._label(session.peer)] += 1
            self._remark(self._label(session.peer), IGNORES_RAR)
        still = job.cause is Cause.MEMBERS or is_suspended(account, session) or is_depleted(account, session)
        hard = still and job.cause in RESTRICTIVE and may_be_ended(session)
        fallback = executor.fallback if executor is not None and hard else None
        self.book.silent(job, self._now_ms(), ends=ends, fallback=fallback)

    # --- what is kept

    async def save(self) -> None:
        """Wait until there is something to write, and write it."""
        await self._unsaved.wait()
        self._unsaved.clear()
        await self.save_now()

    async def save_now(self) -> None:
        """Write what has changed. What PostgreSQL does not take stays to be written."""
        book = self.book
        while book.unsaved or book.attempts or self._looked:
            jobs = [snapshot(job) for job in list(book.unsaved.values())[:SAVED_AT_ONCE]]
            for job in jobs:
                del book.unsaved[job.id]
            attempts, rest = book.attempts[:SAVED_AT_ONCE], book.attempts[SAVED_AT_ONCE:]
            known = [one for one in attempts if one.job not in book.unsaved]  # its job goes first, or with it
            book.attempts = [one for one in attempts if one.job in book.unsaved] + rest
            looked = {} if book.unsaved else dict(self._looked)  # likewise
            try:
                there = await self._kept.save(jobs, known, {intent: one.jobs for intent, one in looked.items()})
            except BaseException:
                for job in jobs:
                    book.unsaved.setdefault(job.id, book.open.get(job.id, job))
                book.attempts[:0] = known
                self._bound()
                self._unsaved.set()
                raise
            for intent, one in looked.items():
                gone = intent in there or one.at_ms < self._now_ms() - UNCOPIED_MS_MAX
                if gone and self._looked.get(intent) == one:
                    del self._looked[intent]
            if not jobs and not known:
                break
        if self._looked:  # their records are not copied yet
            asyncio.get_running_loop().call_later(UNCOPIED_AGAIN_S, self._unsaved.set)

    def _bound(self) -> None:
        """PostgreSQL is away for long: what has ended is not kept without end."""
        book = self.book
        over = len(book.unsaved) - ACCOUNTS_MAX
        if over > 0:
            for name in [name for name, job in book.unsaved.items() if not job.is_open][:over]:
                del book.unsaved[name]
                self.dropped += 1
        if len(book.attempts) > ACCOUNTS_MAX:
            self.dropped += len(book.attempts) - ACCOUNTS_MAX
            book.attempts = book.attempts[-ACCOUNTS_MAX:]

    async def take_over(self) -> None:
        """Go on with what another process has left: jobs that are open, and intents nobody has looked at."""
        left = await self._kept.open_jobs(list(self.book.open), LOADED_AT_ONCE)
        for job in left:
            if job.id not in self.book.open and job.id not in self.book.unsaved:
                self.book.apply(job, JobEvent.LOST, self._now_ms())
                self.book.add(job)
        self.loaded = len(left) < LOADED_AT_ONCE
        self._follow()
        await self.catch_up(0.0)

    async def catch_up(self, older_than_s: float = UNCOPIED_S) -> None:
        """Look at intents that no keeper has looked at."""
        for intent in await self._kept.unexpanded(older_than_s, LOADED_AT_ONCE):
            due = self._due.get(intent.account)
            if intent.id not in self._looked and (due is None or intent.id not in due.intents):
                self._want(intent)

    async def hear(self) -> None:
        """Do what people wish about jobs."""
        wishes = await self._kept.wishes()
        done = []
        for kept, wish, by in wishes:
            job = self.book.open.get(kept.id, kept)
            if wish == "cancel":
                if job is kept and job.is_open:
                    self.book.add(job)
                self.book.cancel(job, self._now_ms(), f"by {by}")
            elif wish == "retry" and job is kept:
                account, session = await self._live.account_and_session(*job.of)
                if account is not None and session is not None:
                    # What came since does not count: a person wants it to be sent.
                    job.touched_ms, job.seq = session.touched_ms, account.seq
                if not self.book.retry(job, self._now_ms()):
                    continue  # it stays a wish
            done.append(kept.id)
        self._follow()
        if done:
            await self.save_now()
            await self._kept.heard(done)
