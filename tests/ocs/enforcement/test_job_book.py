"""The machine of jobs over random interleavings: crossings, top-ups, requests of the client, answers, ends
of the process. The network is told what the account says, once at a time, and is never told to end what the
newest generation lets go on."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from balances.ledger.intents import Intent, IntentId
from balances.packing import fresh_account
from balances.structs.account import SuspendReasons, Take
from balances.structs.session import Line, Session, SessionState
from ocs.enforcement.book import OVERTAKEN, AccountLook, JobBook, snapshot
from ocs.enforcement.choosing import NetworkPolicy, is_suspended, may_be_ended, wanted_of
from ocs.enforcement.job import RESTRICTIVE, Cause, NetworkAction, NetworkJob
from ocs.enforcement.machine import OPEN, TRANSITIONS, JobEvent, JobState, after

NAMES = ("a", "b", "c")
RETURN_MS = 1_000
FALLBACK = {NetworkAction.REAUTHORIZE: NetworkAction.ABORT}


def test_what_has_ended_changes_only_by_a_persons_wish() -> None:
    for state in JobState:
        if state not in OPEN:
            assert {event for (of, event) in TRANSITIONS if of is state} <= {JobEvent.RETRY}
    assert after(JobState.EFFECTIVE, JobEvent.ACCEPTED) is JobState.EFFECTIVE


def test_every_state_is_reached_and_every_open_one_can_end() -> None:
    assert {*TRANSITIONS.values()} == {*JobState}
    for state in OPEN:
        assert {to for (of, _), to in TRANSITIONS.items() if of is state} - OPEN


class Machine(RuleBasedStateMachine):
    """One account with three sessions in the live store; a keeper whose memory ends with it; tables that stay."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ms = 10_000
        self.n = 0
        self.account = fresh_account("acc", "EUR")
        self.sessions: dict[str, Session] = {}
        self.intents: dict[IntentId, Intent] = {}
        """Copied, and not looked at."""
        self.rows: dict[str, NetworkJob] = {}
        self.flying: dict[str, tuple[NetworkJob, NetworkAction]] = {}
        """What the network has got of a process that lives."""
        self.sent: dict[tuple[str, int], list[NetworkAction]] = {}
        """By job and generation at which it was sent."""
        self.lost_news = False

    @initialize(hard=st.booleans())
    def begin(self, hard: bool) -> None:
        self.policy = NetworkPolicy({"data": NetworkAction.ABORT} if hard else {}, lambda _host: False)
        self.book = self.fresh_book()
        for name in NAMES:
            self.grant(name)

    def fresh_book(self) -> JobBook:
        return JobBook(jobs_max=50, return_ms=RETURN_MS)

    # --- the live store

    def touch(self, name: str, lines: list[Line], state: int = SessionState.OPEN) -> None:
        self.now_ms += 1
        before = self.sessions.get(name)
        incarnation = before.incarnation if before else 1
        self.sessions[name] = Session(
            1, name, "s", "data", state, "gw", "r", "gw", 0, self.now_ms, 0, 0, [], [], lines, incarnation=incarnation
        )

    def grant(self, name: str) -> None:
        refused = bool(self.account.state)
        line = Line(10, -1, 1, hold=[] if refused else [Take(0, 50)], due_ms=0 if refused else 1, final=refused)
        self.touch(name, [line])

    def cross(self, *kinds: str) -> None:
        self.now_ms += 1
        self.n += 1
        self.account.generation += 1
        id_ = IntentId(0, 1, self.n)
        self.intents[id_] = Intent(id_, "acc", self.account.generation, frozenset(kinds), self.now_ms)

    @rule()
    def spends_through_the_line(self) -> None:
        if not self.account.state:
            self.account.state = SuspendReasons.CREDIT
            self.cross("suspend")

    @rule()
    def tops_up(self) -> None:
        if self.account.state:
            self.account.state = SuspendReasons.ACTIVE
            self.cross("resume", "final")

    @rule()
    def lower_limit(self) -> None:
        self.cross("all")

    @rule(name=st.sampled_from(NAMES))
    def client_reports(self, name: str) -> None:
        """What it held is settled; it is granted anew, or refused."""
        if self.sessions[name].state == SessionState.OPEN:
            before_ms = self.sessions[name].touched_ms
            self.grant(name)
            assert self.sessions[name].touched_ms > before_ms
            self.book.returned("acc", name, self.now_ms, ended=False)
            self.collect()

    @rule(name=st.sampled_from(NAMES))
    def client_reports_and_the_news_is_lost(self, name: str) -> None:
        if self.sessions[name].state == SessionState.OPEN:
            self.grant(name)

    @rule(name=st.sampled_from(NAMES))
    def client_ends(self, name: str) -> None:
        if self.sessions[name].state == SessionState.OPEN:
            self.touch(name, [], SessionState.CLOSED)
            self.book.returned("acc", name, self.now_ms, ended=True)
            self.collect()

    @rule(name=st.sampled_from(NAMES))
    def client_begins_again(self, name: str) -> None:
        if self.sessions[name].state != SessionState.OPEN:
            self.sessions[name].incarnation += 1
            self.grant(name)

    # --- the keeper

    def collect(self) -> None:
        for job in self.book.ended:  # a top-up cancels what was not sent, and undoes what was: never both
            assert job.state is not JobState.CANCELLED or not job.attempts
            assert job.state is not JobState.SUPERSEDED or job.attempts or "newer job" in job.why
        self.book.armed.clear()
        self.book.ended.clear()

    def look(self, intents: list[Intent], again: NetworkJob | None = None) -> None:
        kinds = frozenset(kind for one in intents for kind in one.kinds)
        if again is not None:
            kinds |= {"all"} if again.cause is Cause.LIMIT else set()
        sessions = {name: one for name, one in self.sessions.items() if one.state == SessionState.OPEN}
        wanted = wanted_of(self.account, sessions.values(), kinds, self.policy)
        id_ = intents[-1].id if intents else again.intent if again is not None else IntentId(0, 1, 0)
        crossed_ms = intents[-1].crossed_ms if intents else self.now_ms
        look = AccountLook(id_, self.account, sessions, wanted, {Cause.SUSPENDED}, crossed_ms)
        _, dropped = self.book.reconcile(look, self.now_ms)
        assert not dropped
        self.save()
        for one in intents:
            del self.intents[one.id]
        self.collect()

    def save(self) -> None:
        self.rows.update((name, snapshot(job)) for name, job in self.book.unsaved.items())
        self.book.unsaved.clear()
        self.book.attempts.clear()

    @precondition(lambda self: self.intents)
    @rule(how_many=st.integers(1, 3))
    def keeper_looks(self, how_many: int) -> None:
        """In the order of the records; some at once."""
        self.look([self.intents[id_] for id_ in sorted(self.intents)][:how_many])

    def due(self) -> list[NetworkJob]:
        jobs = [job for job in self.book.open.values() if job.state is JobState.DUE]
        return [job for job in jobs if job.of not in self.book.flying]

    @precondition(lambda self: self.due())
    @rule(data=st.data())
    def attempt(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.due()))
        self.now_ms = max(self.now_ms, job.due_ms) + 1
        self.start(job)

    def start(self, job: NetworkJob) -> None:
        self.book.take(job)
        ends = job.action is NetworkAction.ABORT
        session = self.sessions[job.session]
        obstacle = self.book.obstacle(job, self.account, session, ends=ends)
        if isinstance(obstacle, JobEvent):
            self.book.apply(job, obstacle, self.now_ms)
        elif obstacle == OVERTAKEN:
            self.book.release(job)
            self.look([], again=job)
            return
        if obstacle:
            self.book.release(job)
            self.collect()
            return
        assert job.session not in self.flying, "two attempts for one session"
        self.book.begin(job, self.now_ms)
        if ends:  # durability.md rule 10
            assert job.generation == self.account.generation
            assert is_suspended(self.account, session)
        self.flying[job.session] = (job, job.action)
        self.collect()

    @precondition(lambda self: self.flying)
    @rule(
        data=st.data(),
        event=st.sampled_from([JobEvent.ACCEPTED, JobEvent.UNDELIVERED, JobEvent.REFUSED, JobEvent.GONE]),
    )
    def answer(self, data: st.DataObject, event: JobEvent) -> None:
        name = data.draw(st.sampled_from(sorted(self.flying)))
        self.land(name, event)

    def land(self, name: str, event: JobEvent) -> None:
        job, action = self.flying.pop(name)
        session = self.sessions[name]
        self.now_ms += 1
        if event is JobEvent.GONE and session.state == SessionState.OPEN:
            if session.touched_ms != job.touched_ms:
                event = JobEvent.RETURNED
            else:
                self.touch(name, [], SessionState.ABANDONED)
        hard = job.cause in RESTRICTIVE and may_be_ended(session)
        self.book.landed(job, event, self.now_ms, FALLBACK.get(action) if hard else None)
        self.book.release(job)
        self.save()
        self.collect()

    def waiting(self) -> list[NetworkJob]:
        jobs = [job for job in self.book.open.values() if job.state is JobState.ACKNOWLEDGED]
        return [job for job in jobs if job.of not in self.book.flying]

    @precondition(lambda self: self.waiting())
    @rule(data=st.data())
    def time_is_over(self, data: st.DataObject) -> None:
        self.expire(data.draw(st.sampled_from(self.waiting())))

    def expire(self, job: NetworkJob) -> None:
        self.now_ms = max(self.now_ms, job.due_ms) + 1
        session = self.sessions[job.session]
        obstacle = self.book.obstacle(job, self.account, session, ends=False)
        if isinstance(obstacle, JobEvent):
            self.book.apply(job, obstacle, self.now_ms)
        else:
            ends = job.action is NetworkAction.ABORT
            hard = job.cause in RESTRICTIVE and is_suspended(self.account, session)
            fallback = FALLBACK.get(job.action) if hard else None
            self.book.silent(job, self.now_ms, ends=ends, fallback=fallback)
        self.save()
        self.collect()

    @rule(written=st.booleans())
    def kill(self, written: bool) -> None:
        """-9, and another one begins. What the network answers now nobody hears."""
        if written:
            self.save()
        self.flying.clear()
        self.book = self.fresh_book()
        for job in sorted(self.rows.values(), key=lambda one: (one.made_ms, one.id)):
            if job.is_open:
                mine = snapshot(job)
                self.book.apply(mine, JobEvent.LOST, self.now_ms)
                self.book.add(mine)
        self.collect()

    # --- what always holds

    @invariant()
    def one_job_of_a_session_at_most_does_the_same(self) -> None:
        for name in NAMES:
            open_ones = self.book.of_session("acc", name)
            causes = [job.cause for job in open_ones]
            assert len(causes) == len(set(causes)), open_ones

    def teardown(self) -> None:
        """Whatever happened: let it come to rest, with a network that obeys, and see that nothing is missing."""
        if not hasattr(self, "book"):
            return
        for name in list(self.flying):
            self.land(name, JobEvent.ACCEPTED)
        for _ in range(30):
            if self.intents:
                self.look([self.intents[id_] for id_ in sorted(self.intents)])
            for job in self.due():
                if job.is_open and job.of not in self.book.flying:
                    self.now_ms = max(self.now_ms, job.due_ms) + 1
                    self.start(job)
                    self.obey(job)
        assert not self.due(), "a job that never comes to an end"
        suspended = [name for name, one in self.sessions.items() if self.is_missed(one)]
        assert not suspended, (suspended, self.rows)

    def obey(self, job: NetworkJob) -> None:
        if job.session not in self.flying:
            return
        _, action = self.flying[job.session]
        self.land(job.session, JobEvent.ACCEPTED)
        if action is NetworkAction.ABORT:
            self.touch(job.session, [], SessionState.CLOSED)
        else:
            self.grant(job.session)
        self.book.returned("acc", job.session, self.now_ms, ended=action is NetworkAction.ABORT)
        self.collect()

    def is_missed(self, session: Session) -> bool:
        """It goes on in spite of a suspension, or waits although money came in, and nobody told its client."""
        if session.state != SessionState.OPEN:
            return False
        told = any(
            job.session == session.id and job.touched_ms == session.touched_ms and job.attempts
            for job in self.rows.values()
        )
        waits = not self.account.state and any(line.final for line in session.lines)
        return (is_suspended(self.account, session) or waits) and not told


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
