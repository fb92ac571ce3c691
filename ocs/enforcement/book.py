"""The jobs that are open, and what becomes of them. Pure: time, network and stores are its caller's.

Of one session one attempt is under way at a time (durability.md rule 10), whatever causes there are to tell it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from balances.ledger.intents import IntentId
from balances.structs.account import Account
from balances.structs.session import Session, SessionState
from ocs.enforcement.choosing import DEPLETED_KIND, Wanted, has_funds, is_depleted, is_suspended, money_held
from ocs.enforcement.job import ENDING, RESTRICTIVE, Cause, NetworkAction, NetworkJob, job_id
from ocs.enforcement.machine import JobEvent, JobState, after

AGAIN_MS: Final = (1_000, 5_000, 25_000)
"""Waits before an attempt that came to nothing is made again."""
OVERTAKEN: Final = "the account has changed since"
WHY: Final = {
    JobEvent.GONE: "the session has ended",
    JobEvent.UNWANTED: "not needed any more",
    JobEvent.UNDONE: "not needed any more",
    JobEvent.REPLACED: "a newer job took its place",
}


class AccountLook(NamedTuple):
    """An account as somebody saw it, and what its sessions need. intent: the newest one that made somebody look."""

    intent: IntentId
    account: Account
    sessions: Mapping[str, Session]
    """Open ones."""
    wanted: Sequence[Wanted]
    judged: Collection[Cause]
    """Causes that were looked for: a job for one of them that is not wanted again is not needed any more."""
    crossed_ms: int


class AttemptRow(NamedTuple):
    """What came of one attempt."""

    job: str
    number: int
    action: str
    at_ms: int
    ended_ms: int
    result: str
    host: str
    by: str


class JobBook:
    """
    jobs_max:   open jobs at once; beyond that none is made, and its intent stays as it is
    return_ms:  how long after it agreed a client may take to come back
    jitter:     a factor around 1, for each wait anew
    """

    def __init__(self, *, jobs_max: int, return_ms: int, jitter: Callable[[], float] = lambda: 1.0) -> None:
        self._jobs_max, self._return_ms, self._jitter = jobs_max, return_ms, jitter
        self.open: dict[str, NetworkJob] = {}
        self.flying: dict[tuple[str, str], NetworkJob] = {}
        """By account and session: the job that somebody works on now; it may have been closed meanwhile."""
        self.unsaved: dict[str, NetworkJob] = {}
        """Jobs that have changed since somebody took them from here ..."""
        self.attempts: list[AttemptRow] = []
        """... and attempts that have ended."""
        self.armed: list[NetworkJob] = []
        """Jobs whose `due_ms` is new, for whoever waits for it to take from here."""
        self.ended: list[NetworkJob] = []
        """Likewise those that have ended."""
        self._of_session: defaultdict[tuple[str, str], dict[str, NetworkJob]] = defaultdict(dict)
        self._of_account: defaultdict[str, dict[str, NetworkJob]] = defaultdict(dict)

    def of_session(self, account: str, session: str) -> list[NetworkJob]:
        """Its open jobs, the oldest first."""
        found = self._of_session.get((account, session))
        return list(found.values()) if found else []

    @property
    def is_half_empty(self) -> bool:
        return len(self.open) < self._jobs_max // 2

    def of_account(self, account: str) -> list[NetworkJob]:
        found = self._of_account.get(account)
        return list(found.values()) if found else []

    # --- what is needed

    def reconcile(self, look: AccountLook, now_ms: int) -> tuple[int, int]:
        """Make, confirm and close the jobs of an account, as it needs them now. Returns how many were made, and how
        many there was no room for."""
        wanted = {one.session.id: one for one in look.wanted}
        for job in self.of_account(look.account.id):
            session = look.sessions.get(job.session)
            if session is None or session.incarnation != job.incarnation:
                self.apply(job, JobEvent.GONE, now_ms)
            elif session.touched_ms != job.touched_ms and job.is_heard and not self._goes_on(job, session, wanted):
                self.apply(job, JobEvent.RETURNED, now_ms)
            elif job.session in wanted:
                if not job.is_heard:
                    job.touched_ms = session.touched_ms
                if self._stands(job, wanted[job.session].cause, look.judged):
                    job.generation = max(job.generation, look.account.generation)
                    job.seq = look.account.seq
                    self._changed(job)
                    del wanted[job.session]
            elif job.cause in look.judged:
                self.apply(job, self._not_wanted(job), now_ms)
        made = dropped = 0
        for one in wanted.values():
            name = job_id(look.intent, one.session.id, one.session.incarnation)
            for job in self.of_session(look.account.id, one.session.id):
                undone = job.cause in RESTRICTIVE and one.cause not in RESTRICTIVE
                self.apply(job, self._not_wanted(job) if undone else JobEvent.REPLACED, now_ms)
            if len(self.open) >= self._jobs_max:
                dropped += 1
                continue
            made += 1
            self.add(self._job(name, look, one, now_ms))
        return made, dropped

    @staticmethod
    def _goes_on(job: NetworkJob, session: Session, wanted: Mapping[str, Wanted]) -> bool:
        """A session that is to be ended came back, and holds what it may not all the same."""
        goes_on = job.action in ENDING and job.session in wanted and wanted[job.session].cause is job.cause
        if goes_on:
            job.touched_ms = session.touched_ms
        return goes_on

    @staticmethod
    def _stands(job: NetworkJob, cause: Cause, judged: Collection[Cause]) -> bool:
        """Whether the job does already what is wanted of its session, which has not come back since."""
        if job.cause in RESTRICTIVE:
            return cause is job.cause or (cause not in RESTRICTIVE and job.cause not in judged)
        if cause is Cause.HOLDER:
            return job.state is not JobState.ACKNOWLEDGED
        # Once something was sent, the client may have come back before this cause.
        return cause is job.cause and job.state is JobState.DUE and not job.attempts

    @staticmethod
    def _not_wanted(job: NetworkJob) -> JobEvent:
        return JobEvent.UNDONE if job.attempts else JobEvent.UNWANTED

    @staticmethod
    def _job(name: str, look: AccountLook, one: Wanted, now_ms: int) -> NetworkJob:
        session = one.session
        return NetworkJob(
            id=name,
            intent=look.intent,
            session=session.id,
            incarnation=session.incarnation,
            account=look.account.id,
            subscriber=session.subscriber,
            service=session.service,
            peer=session.peer,
            cause=one.cause,
            action=one.action,
            generation=look.account.generation,
            seq=look.account.seq,
            touched_ms=session.touched_ms,
            bound_micro=money_held(look.account, session),
            crossed_ms=look.crossed_ms,
            made_ms=now_ms,
            due_ms=now_ms,
        )

    def add(self, job: NetworkJob) -> None:
        """A new job, or one that another process had."""
        self._keep(job)
        self.armed.append(job)
        self._changed(job)

    # --- attempts

    def obstacle(
        self, job: NetworkJob, account: Account | None, session: Session | None, *, ends: bool
    ) -> JobEvent | str:
        """Why nothing is to be sent for a job now, "" when nothing is in the way; OVERTAKEN: the account has to be
        looked at again. ends: the attempt would end or change the session (durability.md rule 10).

        account, session: as the store has them at this instant
        """
        if session is None or account is None or session.state != SessionState.OPEN:
            return JobEvent.GONE
        if session.incarnation != job.incarnation:
            return JobEvent.GONE
        if session.touched_ms != job.touched_ms:
            stays = job.action in ENDING and job.cause is Cause.SUSPENDED and is_suspended(account, session)
            if job.is_heard and not stays:
                return JobEvent.RETURNED
            job.touched_ms = session.touched_ms  # it came back, and holds what it may not all the same
        if not ends:
            return ""
        overtaken = account.generation != job.generation
        if job.cause is Cause.DEPLETED:  # money that comes in crosses no line where there is none
            moved = account.seq != job.seq and has_funds(account)
            overtaken = overtaken or moved or not is_depleted(account, session, {DEPLETED_KIND})
        return OVERTAKEN if overtaken else ""

    def take(self, job: NetworkJob) -> None:
        """Somebody works on its session. Nobody does already."""
        assert job.of not in self.flying, job
        self.flying[job.of] = job

    def release(self, job: NetworkJob) -> None:
        """Nobody does any more: what waited for it may go on."""
        del self.flying[job.of]
        self.armed += self.of_session(*job.of)

    def begin(self, job: NetworkJob, now_ms: int) -> None:
        """An attempt leaves; the job was taken."""
        assert self.flying.get(job.of) is job, job
        self.apply(job, JobEvent.SEND, now_ms)
        assert job.state is JobState.SENT, job
        job.attempts += 1
        job.tries += 1
        if job.sent_ms is None:
            job.sent_ms = now_ms

    def landed(self, job: NetworkJob, event: JobEvent, now_ms: int, fallback: NetworkAction | None = None) -> None:
        """What came of the attempt: ACCEPTED, UNDELIVERED, REFUSED, GONE or RETURNED. fallback: what is tried when it
        was refused. A job that was closed meanwhile stays as it is."""
        if job.state is not JobState.SENT:
            self._changed(job)
            return
        if event is JobEvent.UNDELIVERED:
            if job.tries > len(AGAIN_MS):
                event = JobEvent.EXHAUSTED
            else:
                job.due_ms = now_ms + int(AGAIN_MS[job.tries - 1] * self._jitter())
        elif event is JobEvent.ACCEPTED:
            job.acknowledged_ms, job.due_ms, job.tries = now_ms, now_ms + self._return_ms, 0
        elif event is JobEvent.REFUSED and fallback is not None:
            self._escalate(job, fallback, now_ms, "refused")
            return
        self.apply(job, event, now_ms)

    def silent(self, job: NetworkJob, now_ms: int, *, ends: bool, fallback: NetworkAction | None) -> None:
        """The client agreed and has not come back in its time."""
        if ends:
            self.apply(job, JobEvent.QUIET, now_ms, "no more use was seen")
        elif fallback is not None:
            self._escalate(job, fallback, now_ms, "it agreed to report and did not")
        else:
            self.apply(job, JobEvent.SILENT, now_ms, "it agreed to report and did not")

    def _escalate(self, job: NetworkJob, fallback: NetworkAction, now_ms: int, why: str) -> None:
        why = f"{job.action.value}: {why}"
        job.action, job.due_ms, job.tries = fallback, now_ms, 0
        self.apply(job, JobEvent.ESCALATED, now_ms, why)

    # --- what is seen and wished

    def returned(self, account: str, session: str, at_ms: int, *, ended: bool) -> list[NetworkJob]:
        """The client sent a request of this session then, `ended`: its last. Returns the jobs that had their effect by
        it. One that is to end the session goes on while the session does, and so does one whose client is told nothing
        by an answer."""
        done = [
            job
            for job in self.of_session(account, session)
            if at_ms > job.touched_ms and (ended or (job.is_heard and job.action not in ENDING))
        ]
        for job in done:
            self.apply(job, JobEvent.GONE if ended else JobEvent.RETURNED, at_ms)
        return done

    def retry(self, job: NetworkJob, now_ms: int) -> bool:
        """A person's wish about a job that has ended; False: there is no room for it now."""
        if len(self.open) >= self._jobs_max:
            return False
        if after(job.state, JobEvent.RETRY) is not job.state:
            job.state, job.ended_ms, job.why, job.due_ms, job.tries = JobState.DUE, None, "", now_ms, 0
            self.add(job)
        return True

    def cancel(self, job: NetworkJob, now_ms: int, why: str) -> None:
        self.apply(job, JobEvent.CANCEL, now_ms, why)

    # --- the machine

    def apply(self, job: NetworkJob, event: JobEvent, now_ms: int, why: str = "") -> None:
        before = job.state
        job.state = after(before, event)
        if job.state is before:
            return
        job.why = why or WHY.get(event, "")
        if job.state is JobState.EFFECTIVE and event is not JobEvent.QUIET:
            job.effective_ms = now_ms
        if not job.is_open:
            job.ended_ms = now_ms
            self._drop(job)
            self.ended.append(job)
        self._changed(job)

    def leave(self, job: NetworkJob) -> None:
        """Another process has it now."""
        self._drop(job)

    def _changed(self, job: NetworkJob) -> None:
        self.unsaved[job.id] = job

    def _keep(self, job: NetworkJob) -> None:
        self.open[job.id] = job
        self._of_session[job.of][job.id] = job
        self._of_account[job.account][job.id] = job

    def _drop(self, job: NetworkJob) -> None:
        self.open.pop(job.id, None)
        of_session, of_account = self._of_session[job.of], self._of_account[job.account]
        of_session.pop(job.id, None)
        of_account.pop(job.id, None)
        if not of_session:
            del self._of_session[job.of]
        if not of_account:
            del self._of_account[job.account]

    def counts(self) -> Counter[tuple[str, str]]:
        """Open jobs by action and state."""
        return Counter((job.action.value, job.state.value) for job in self.open.values())


def attempt_row(job: NetworkJob, at_ms: int, ended_ms: int, result: str, host: str, by: str) -> AttemptRow:
    return AttemptRow(job.id, job.attempts, job.action.value, at_ms, ended_ms, result, host, by)


def snapshot(job: NetworkJob) -> NetworkJob:
    """A copy that does not change any more."""
    return msgspec.structs.replace(job)
