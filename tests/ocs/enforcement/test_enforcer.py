"""The network is told, and what it answers is read: with a stub for the network and for the stores."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Sequence
from typing import Any

import msgspec
import pytest

from balances.ledger.intents import Intent, IntentId
from balances.ledger.record import RecordedCall, RecordId
from balances.packing import fresh_account, pack
from balances.redis.pending import Pending, ended
from balances.structs.account import Account, SuspendReasons, Take
from balances.structs.charge import Phase, Reply
from balances.structs.posting import Expire
from balances.structs.record import Record, Short, Usage
from balances.structs.session import Line, Session, SessionState
from ocs.enforcement import book as book_module
from ocs.enforcement import enforcer as module
from ocs.enforcement.book import AttemptRow, JobBook
from ocs.enforcement.choosing import NetworkPolicy
from ocs.enforcement.enforcer import Enforcer
from ocs.enforcement.executors.abort import AbortExecutor
from ocs.enforcement.executors.executor import Executors
from ocs.enforcement.executors.reauthorize import ReauthorizeExecutor
from ocs.enforcement.job import NetworkAction, NetworkJob
from ocs.enforcement.pacing import Pacing
from ocs.enforcement.session_requests import NO_ROUTE, TIMEOUT, RequestReceipt
from ocs.telemetry.log import logger

MONEY = Short(0, 0)
RETURN_MS = 30_000
SHARD = 3


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book_module, "AGAIN_MS", (0, 0, 0))
    monkeypatch.setattr(module, "IN_WORK_S", 0.0)
    monkeypatch.setattr(module, "AWAY_MS", 0)


def session(
    name: str,
    held: int = 0,
    *,
    final: bool = False,
    subscriber: str = "s",
    touched_ms: int = 7,
    service: str = "data",
    free: bool = False,
) -> Session:
    due_ms = 1 if held or free else 0
    line = Line(10, -1, 1, hold=[Take(0, held)] if held else [], due_ms=due_ms, final=final)
    return Session(
        1, name, subscriber, service, SessionState.OPEN, "pgw.net", "r", "dra.net", 0, touched_ms, 0, 0, [], [], [line]
    )


def settled(value: Any) -> Pending[Any]:
    pending = Pending[Any]()
    pending.resolve(value)
    return pending


class Kept:
    """The tables, in memory."""

    def __init__(self) -> None:
        self.jobs: dict[str, NetworkJob] = {}
        self.attempts: list[AttemptRow] = []
        self.intents: dict[IntentId, Intent] = {}
        """Copied, and not looked at."""
        self.looked: dict[IntentId, int] = {}
        self.away = False
        self.wished: list[tuple[NetworkJob, str, str]] = []

    async def save(
        self, jobs: Sequence[NetworkJob], attempts: Sequence[AttemptRow], looked: dict[IntentId, int]
    ) -> set[IntentId]:
        if self.away:
            raise OSError("away")
        self.jobs.update((job.id, job) for job in jobs)
        assert all(one.job in self.jobs for one in attempts)
        self.attempts += attempts
        there = looked.keys() & self.intents.keys()
        for one in there:
            del self.intents[one]
            self.looked[one] = looked[one]
        return there

    async def open_jobs(self, but: Sequence[str], limit: int) -> list[NetworkJob]:
        return [job for name, job in self.jobs.items() if job.is_open and name not in but][:limit]

    async def unexpanded(self, older_than_s: float, limit: int) -> list[Intent]:
        return list(self.intents.values())[:limit]

    async def wishes(self) -> list[tuple[NetworkJob, str, str]]:
        return self.wished

    async def heard(self, ids: Sequence[str]) -> None:
        self.wished = []


class EnforcerWorld:
    def __init__(self, *sessions: Session, **policy: NetworkAction) -> None:
        self.sessions = {one.id: one for one in sessions}
        self.account: Account | None = fresh_account("acc", "EUR")
        self.asked: list[str] = []
        """RAR by the session's name, ASR with a cross before it."""
        self.sweeps: list[Expire] = []
        self.answers: list[int | str] = []
        """What comes of one request after the other; then 2001."""
        self.by = "pgw.net"
        self.hold: asyncio.Event | None = None
        self.barred: set[str] = set()
        self.never: set[str] = set()
        self.away = 0
        self.now_ms = 1_000_000
        self.n = 0
        self.kept = Kept()
        self.alarms: dict[str, str] = {}
        self.jobs_max = 100
        self.policy = NetworkPolicy(policy, self.never.__contains__)
        self.enforcer = self.anew()
        self.tasks: list[asyncio.Task[None]] = []

    def anew(self) -> Enforcer:
        """A keeper that comes after this one."""
        return Enforcer(
            self, self, self.kept,
            Executors((ReauthorizeExecutor(self.ask, NetworkAction.ABORT), AbortExecutor(self.ask))), self.policy,
            JobBook(jobs_max=self.jobs_max, return_ms=RETURN_MS), Pacing(rate=100_000, window=1_000), self.served,
            logger(), now_ms=lambda: self.now_ms, trouble=(OSError,), label=lambda host: host,
            alarm=lambda about, text: self.alarms.update({about: text}),
        )  # fmt: skip

    def expire(self, expiry: Expire) -> Pending[Reply]:
        self.sweeps.append(expiry)
        return settled(Reply("ok"))

    async def ask(self, kind: str, session: Session) -> RequestReceipt:
        self.asked.append(("†" if kind == "asr" else "") + session.id)
        if self.hold is not None:
            await self.hold.wait()
        return RequestReceipt("1", self.answers.pop(0) if self.answers else 2001, "dra.net", self.by)

    async def open_sessions(self, _account: str) -> tuple[Account, list[Session]] | None:
        if self.away:
            self.away -= 1
            raise OSError("away")
        return None if self.account is None else (self.account, list(self.sessions.values()))

    async def account_and_session(self, _account: str, session: str) -> tuple[Account | None, Session | None]:
        return self.account, self.sessions.get(session)

    async def served(self, _account: str, uses: Collection[tuple[str, str]]) -> Collection[tuple[str, str]]:
        return {one for one in uses if one[0] not in self.barred}

    def record(self, *reauthorize: str, by: str = "", short: list[Short] | None = None, **more: Any) -> RecordedCall:
        """As the call that made it left the account."""
        self.n += 1
        made: dict[str, Any] = {"kind": "post", "at_ms": self.now_ms} | more
        record = Record(
            1, made.pop("kind"), "acc", "EUR", session=by, reauthorize=list(reauthorize), short=short or [], **made
        )
        state = pack(self.account) if self.account is not None else None
        return RecordedCall(RecordId(5, self.n), record, b"", state, None, None, None, None)

    def state(self, **fields: Any) -> None:
        """The account changes, and its generation with it."""
        assert self.account is not None
        for name, value in fields.items():
            setattr(self.account, name, value)
        self.account.generation += 1

    async def see(self, *reauthorize: str, **more: Any) -> None:
        self.enforcer.want(SHARD, self.record(*reauthorize, **more))
        await self.quiet()

    async def suspend(self) -> None:
        self.state(state=SuspendReasons.CREDIT)
        assert self.account is not None
        await self.see(generation=self.account.generation)

    async def resume(self) -> None:
        self.state(state=SuspendReasons.ACTIVE)
        assert self.account is not None
        await self.see("final", generation=self.account.generation)

    async def comes_back(self, name: str, *, phase: Phase = Phase.UPDATE, **more: Any) -> None:
        """The client reports: what it held is released."""
        one = self.sessions[name]
        self.now_ms += 5
        lines = [Line(10, -1, 1, final=more.pop("final", False))]
        again = session(name, touched_ms=self.now_ms, subscriber=one.subscriber, service=one.service)
        again.lines = lines
        self.sessions[name] = again
        if phase == Phase.STOP:
            again.state = SessionState.CLOSED
            del self.sessions[name]
        await self.see(by=name, kind="charge", phase=phase, **more)

    async def later(self, ms: int) -> None:
        self.now_ms += ms
        self.enforcer.wake()
        await self.quiet()

    def run(self) -> None:
        async def again(work: Any) -> None:
            while True:
                with contextlib.suppress(OSError):
                    await work()
                await asyncio.sleep(0)

        self.tasks = [asyncio.create_task(again(work)) for work in (self.enforcer.look, self.enforcer.send)]

    async def stop(self) -> None:
        """As kill -9 does: nothing is written."""
        await ended(self.tasks)
        await self.enforcer.stop()

    async def quiet(self) -> None:
        for _ in range(100):
            await asyncio.sleep(0)

    def states(self) -> dict[str, str]:
        """Of the newest job of each session, saved or not."""
        jobs = {**self.kept.jobs, **self.enforcer.book.unsaved, **self.enforcer.book.open}
        return {job.session: job.state for job in sorted(jobs.values(), key=lambda one: one.intent)}


@contextlib.asynccontextmanager
async def world(*sessions: Session, **policy: NetworkAction) -> AsyncIterator[EnforcerWorld]:
    made = EnforcerWorld(*sessions, **policy)
    made.run()
    yield made
    await made.stop()


# --- whom it tells, and how often


async def test_twenty_refusals_ask_one_holder_once() -> None:
    async with world(session("a", 50), session("b", 500), session("asker", 900)) as w:
        for _ in range(20):
            await w.see("holder", by="asker", short=[MONEY])
        assert w.asked == ["b"]
        w.now_ms += module.HOLDER_EVERY_MS
        await w.see("holder", by="asker", short=[MONEY])
        assert w.asked == ["b", "b"]


async def test_money_that_came_in_is_told_each_time() -> None:
    """The interval is for holders: a second top-up is news."""
    async with world(session("a", 50, final=True), session("b", 500)) as w:
        await w.see("final")
        await w.see("final")
        assert w.asked == ["a", "a"]


async def test_a_barred_subscribers_sessions_and_no_others() -> None:
    async with world(session("a", subscriber="one"), session("b", subscriber="two")) as w:
        await w.see("members", "final")
        assert w.asked == []
        w.barred.add("two")
        await w.see("members", "final")
        assert w.asked == ["b"]


@pytest.mark.parametrize("result", [5012, 3002, TIMEOUT, NO_ROUTE])
async def test_what_came_to_nothing_is_tried_again_and_given_up(result: int | str) -> None:
    async with world(session("a", final=True)) as w:
        w.answers = [result, result, 2001]
        await w.see("final")
        assert w.asked == ["a"] * 3
        w.answers = [result] * 100
        await w.see("final")
        assert w.asked == ["a"] * 7
        assert w.sweeps == []
        assert w.states() == {"a": "given-up"}
        assert w.enforcer.unreached == ({("rar", "pgw.net"): 6} if result == NO_ROUTE else {})
        assert "1 jobs given up" in w.alarms["enforcement of pgw.net"]
        w.answers = []
        await w.see("final")
        assert w.alarms == {"enforcement of pgw.net": ""}


@pytest.mark.parametrize("result", [2001, 2002, 3001, 5001, 5030])
async def test_what_is_an_answer_is_not(result: int) -> None:
    async with world(session("a", final=True)) as w:
        w.answers = [result]
        await w.see("final")
        assert (w.asked, w.sweeps) == (["a"], [])


async def test_a_session_that_has_reported_meanwhile_is_not_asked_again() -> None:
    async with world(session("a", final=True)) as w:
        w.hold, w.answers = asyncio.Event(), [TIMEOUT]
        await w.see("final")
        w.sessions["a"] = session("a", final=True, touched_ms=8)
        w.hold.set()
        await w.quiet()
        assert w.asked == ["a"]
        assert w.states() == {"a": "effective"}


async def test_attempts_for_one_session_are_serial() -> None:
    """And what happens while one is under way is not forgotten: it is asked once more, not once for each."""
    async with world(session("a", final=True)) as w:
        w.hold = asyncio.Event()
        for _ in range(3):
            await w.see("final")
        assert w.asked == ["a"]
        w.hold.set()
        await w.quiet()
        assert w.asked == ["a", "a"]


async def test_its_own_host_does_not_know_it() -> None:
    """charging.md section 5: released and abandoned, unless something touched it since."""
    async with world(session("a", 50, final=True)) as w:
        w.answers = [5002]
        w.by = "PGW.net"  # DiameterIdentity compares without case
        await w.see("final")
        assert [(one.account, one.session, one.touched_ms) for one in w.sweeps] == [("acc", "a", 7)]
        assert (w.asked, w.enforcer.ended, w.states()) == (["a"], 1, {"a": "effective"})


@pytest.mark.parametrize("by", ["dra.net", "other.net", ""])
async def test_a_relay_or_another_host_does_not_know_it(by: str) -> None:
    async with world(session("a", 50, final=True)) as w:
        w.answers, w.by = [5002], by
        await w.see("final")
        assert (w.asked, w.sweeps, w.states()) == (["a"], [], {"a": "failed"})


async def test_a_store_that_is_away_is_asked_later() -> None:
    async with world(session("a", final=True)) as w:
        w.away = 1
        await w.see("final")
        assert w.asked == ["a"]


async def test_room_is_bounded_and_what_has_none_is_looked_at_later() -> None:
    async with world(*(session(f"{number}", final=True) for number in range(5))) as w:
        await w.stop()
        w.jobs_max = 2
        w.enforcer = w.anew()
        w.run()
        w.hold = asyncio.Event()
        w.kept.intents[IntentId(SHARD, 5, 1)] = Intent(IntentId(SHARD, 5, 1), "acc", 0, frozenset({"final"}), 0)
        await w.see("final")
        await w.enforcer.save_now()
        assert (len(w.asked), w.enforcer.dropped) == (2, 3)
        assert list(w.kept.intents) == [IntentId(SHARD, 5, 1)]
        w.hold.set()
        await w.quiet()
        for name in list(w.sessions):
            if name in w.asked:
                await w.comes_back(name)
        await w.enforcer.catch_up(0.0)
        await w.quiet()
        assert len(w.asked) == 4


# --- a suspension, and the way back


async def test_a_suspension_tells_those_who_hold_and_leaves_what_is_free() -> None:
    async with world(session("a", 50), session("portal", free=True), session("idle")) as w:
        await w.suspend()
        assert (w.asked, w.states()) == (["a"], {"a": "acknowledged"})
        await w.comes_back("a", usages=[Usage(10, -1, 1, 9, 0, 9, 30, 0, 0, 0, "", 0)])
        assert w.states() == {"a": "effective"}
        assert (w.enforcer.used_micro, w.enforcer.over_bound) == (30, 0)


async def test_the_service_says_what_is_done() -> None:
    of = ("reauthorize", "abort", "nothing", "change", "disconnect")
    async with world(*(session(one, 50, service=one) for one in of), **{one: NetworkAction(one) for one in of}) as w:
        await w.suspend()
        assert w.asked == ["reauthorize", "†abort", "change", "†disconnect"], "a protocol has one softer and one harder"
        assert w.states() == dict.fromkeys(("reauthorize", "abort", "change", "disconnect"), "acknowledged")


async def test_a_protocol_without_executors_says_so() -> None:
    async with world(msgspec.structs.replace(session("a", 50), peer="radius:bras:nas1")) as w:
        await w.suspend()
        assert (w.asked, w.states()) == ([], {"a": "failed"})
        [why] = [job.why for job in w.enforcer.book.unsaved.values()]
        assert why == "nothing here can reauthorize this session"


async def test_who_agrees_and_does_not_come_back_is_ended() -> None:
    async with world(session("a", 50)) as w:
        await w.suspend()
        await w.later(RETURN_MS - 1)
        assert w.asked == ["a"]
        await w.later(1)
        assert (w.asked, w.enforcer.ignored) == (["a", "†a"], {"pgw.net": 1})
        await w.comes_back("a", phase=Phase.STOP)
        assert w.states() == {"a": "effective"}


async def test_who_refuses_a_rar_is_ended() -> None:
    async with world(session("a", 50)) as w:
        w.answers = [3001]
        await w.suspend()
        assert w.asked == ["a", "†a"]
        await w.later(RETURN_MS)
        assert w.states() == {"a": "effective"}  # it agreed to end, and used no more


async def test_who_waits_for_money_is_never_ended() -> None:
    async with world(session("a", final=True)) as w:
        await w.see("final")
        await w.later(RETURN_MS)
        assert (w.asked, w.states()) == (["a"], {"a": "failed"})


async def test_a_peer_that_never_comes_back_gets_asr_at_once() -> None:
    async with world(session("a", 50), session("b", final=True)) as w:
        w.never.add("pgw.net")
        await w.suspend()
        assert w.asked == ["†a"]
        await w.resume()
        assert w.asked == ["†a"]


async def test_a_top_up_before_anything_was_sent_cancels() -> None:
    async with world(session("a", 50), data=NetworkAction.ABORT) as w:
        await w.stop()
        await w.suspend()
        await w.enforcer.look()  # and nobody sends
        await w.resume()
        await w.enforcer.look()
        w.run()
        await w.quiet()
        assert (w.asked, w.states()) == ([], {"a": "cancelled"})


async def test_an_ending_is_sent_for_the_newest_generation_only() -> None:
    """The keeper was away for an hour, and has not read yet that the account topped up (durability.md rule 10)."""
    async with world(session("a", 50), data=NetworkAction.ABORT) as w:
        await w.stop()
        await w.suspend()
        await w.enforcer.look()
        w.state(state=SuspendReasons.ACTIVE)  # in the live store
        w.run()
        await w.quiet()
        assert (w.asked, w.states()) == ([], {"a": "cancelled"})


async def test_a_generation_that_changes_nothing_does_not_hinder_an_ending() -> None:
    async with world(session("a", 50), data=NetworkAction.ABORT) as w:
        await w.stop()
        await w.suspend()
        await w.enforcer.look()
        w.state(credit_limit=0)
        w.run()
        await w.quiet()
        assert w.asked == ["†a"]


async def test_a_second_crossing_does_not_double_a_job() -> None:
    async with world(session("a", 50)) as w:
        w.hold = asyncio.Event()
        await w.suspend()
        await w.suspend()
        w.hold.set()
        await w.quiet()
        assert w.asked == ["a"]
        assert len(w.enforcer.book.open) == 1


async def test_refused_while_suspended_it_is_told_when_money_comes() -> None:
    async with world(session("a", 50)) as w:
        await w.suspend()
        await w.comes_back("a", final=True)
        await w.resume()
        assert w.asked == ["a", "a"]


# --- what is kept


async def test_what_was_not_written_is_done_again_after_a_kill() -> None:
    """At each point between the crossing and its effect: repeated at most, never missing."""
    async with world(session("a", 50)) as w:
        await w.stop()  # killed before it looked
        w.state(state=SuspendReasons.CREDIT)
        id_ = IntentId(SHARD, 5, 1)
        w.kept.intents[id_] = Intent(id_, "acc", 1, frozenset({"suspend"}), w.now_ms)
        w.enforcer = w.anew()
        await w.enforcer.take_over()
        await w.enforcer.look()
        await w.stop()  # killed before it sent
        w.enforcer = w.anew()
        await w.enforcer.take_over()
        await w.enforcer.look()
        await w.enforcer.save_now()
        assert (w.asked, w.kept.looked) == ([], {id_: 1})
        await w.stop()  # killed after the job was written
        w.enforcer = w.anew()
        await w.enforcer.take_over()
        w.hold = asyncio.Event()
        w.run()
        await w.quiet()
        await w.enforcer.save_now()
        assert w.asked == ["a"]
        await w.stop()  # killed while the RAR is under way
        assert w.kept.jobs.popitem()[1].state == "sent"
        job = next(iter(w.enforcer.book.open.values()))
        w.kept.jobs[job.id] = job
        w.enforcer, w.hold = w.anew(), None
        await w.enforcer.take_over()
        w.run()
        await w.quiet()
        assert w.asked == ["a", "a"]
        await w.comes_back("a")
        await w.enforcer.save_now()
        assert w.kept.jobs[job.id].state == "effective"


async def test_while_postgres_is_away_the_network_is_told() -> None:
    """And it is written when PostgreSQL is back, as one job."""
    async with world(session("a", 50)) as w:
        w.kept.away = True
        await w.suspend()
        assert w.asked == ["a"]
        with pytest.raises(OSError, match="away"):
            await w.enforcer.save_now()
        w.kept.away = False
        id_ = IntentId(SHARD, 5, 1)
        w.kept.intents[id_] = Intent(id_, "acc", 1, frozenset({"suspend"}), w.now_ms)
        await w.enforcer.catch_up(0.0)
        await w.enforcer.save_now()
        await w.quiet()
        assert (w.asked, len(w.kept.jobs), w.kept.looked) == (["a"], 1, {id_: 1})
        assert [(one.number, one.action, one.result) for one in w.kept.attempts] == [(1, "reauthorize", "2001")]


async def test_people_cancel_and_retry() -> None:
    async with world(session("a", 50)) as w:
        w.answers = [TIMEOUT] * 4
        await w.suspend()
        await w.enforcer.save_now()
        [job] = w.kept.jobs.values()
        assert job.state == "given-up"
        w.kept.wished = [(job, "retry", "ops")]
        await w.enforcer.hear()
        await w.quiet()
        assert (w.asked, w.states()) == (["a"] * 5, {"a": "acknowledged"})
        await w.enforcer.save_now()
        w.kept.wished = [(w.kept.jobs[job.id], "cancel", "ops")]
        await w.enforcer.hear()
        assert w.kept.jobs[job.id].state == "cancelled"
        assert w.kept.jobs[job.id].why == "by ops"


async def test_another_keeper_has_the_work() -> None:
    async with world(session("a", 50)) as w:
        w.hold = asyncio.Event()
        await w.suspend()
        w.enforcer.forget()
        assert not w.enforcer.book.open
        w.hold.set()
        await w.quiet()
        assert w.asked == ["a"]
