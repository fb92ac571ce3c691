"""Ten thousand subscribers whose assignment ends at one instant: a queue of a known length, and no storm."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection
from typing import Any

import asyncpg
import pytest

from balances.packing import fresh_account
from balances.redis.pending import ended
from balances.structs.account import Account
from balances.structs.session import Line, Session, SessionState
from ocs.enforcement.book import JobBook
from ocs.enforcement.choosing import NetworkPolicy
from ocs.enforcement.due_changes import ASSIGNMENTS_AT_ONCE
from ocs.enforcement.due_sessions import DueSessions
from ocs.enforcement.enforcer import DUE_WAITING_MAX, Enforcer
from ocs.enforcement.executors.executor import Executors
from ocs.enforcement.executors.reauthorize import ReauthorizeExecutor
from ocs.enforcement.job_rows import JobTable
from ocs.enforcement.machine import JobEvent
from ocs.enforcement.pacing import Pacing
from ocs.enforcement.session_grades import SessionGrades
from ocs.enforcement.session_requests import RequestReceipt
from ocs.keeper.due import DueChanges
from ocs.telemetry.log import logger
from tests.ocs.enforcement.test_due_changes import NIGHT, NOON, people

COUNT, RATE, TICK_MS = 10_000, 200, 100
ONE_TICK = RATE * TICK_MS // 1_000
"""What the peer is sent in one tick, which is also what it may be sent at once."""


class Obedient(ReauthorizeExecutor):
    """Its clients come back at once."""

    def judged(self, receipt: RequestReceipt, session: Session) -> JobEvent:
        return JobEvent.RETURNED


class Spread:
    def __init__(self, pool: Any) -> None:
        self.now_ms = NIGHT
        self.asked: Counter[str] = Counter()
        self.most_waiting = self.most_open = 0
        self.book = JobBook(jobs_max=2_000, return_ms=30_000)
        grades = SessionGrades(lambda: None, self.nobody, {}, lambda: self.now_ms)
        self.enforcer = Enforcer(
            self, self, JobTable(pool), Executors((Obedient(self.ask),)), NetworkPolicy({}, lambda _host: False),
            self.book, Pacing(rate=RATE, window=50), self.all, logger(), now_ms=lambda: self.now_ms, trouble=(OSError,),
            timed=DueSessions(grades).of,
        )  # fmt: skip
        self.due = DueChanges(pool, self.enforcer, None, now_ms=lambda: self.now_ms, mine=lambda: True)

    def expire(self, expiry: Any) -> Any:
        raise AssertionError(expiry)

    async def nobody(self, _subscribers: Collection[str]) -> dict[str, Any]:
        return {}

    async def all(self, _account: str, subscribers: Collection[tuple[str, str]]) -> Collection[tuple[str, str]]:
        return subscribers

    def session(self, account: str) -> Session:
        line = Line(10, -1, 1, touched_ms=NOON, due_ms=NIGHT + NIGHT)
        return Session(
            1, f"{account};1", f"s{account}", "data", SessionState.OPEN, "pgw", "r", "dra", 0, 7, 0, 0, [], [], [line]
        )

    async def open_sessions(self, account: str) -> tuple[Account, list[Session]]:
        return fresh_account(account, "EUR"), [self.session(account)]

    async def account_and_session(self, account: str, _session: str) -> tuple[Account, Session]:
        return fresh_account(account, "EUR"), self.session(account)

    async def ask(self, _kind: str, session: Session) -> RequestReceipt:
        self.asked[session.id] += 1
        self.most_open = max(self.most_open, len(self.book.open))
        self.most_waiting = max(self.most_waiting, len(self.enforcer._due))
        return RequestReceipt("1", 2001, "dra", "pgw")


@pytest.fixture
async def pool(pg_dsn: str) -> AsyncIterator[Any]:
    async with asyncpg.create_pool(pg_dsn, min_size=1, max_size=4) as made:
        yield made


async def test_they_are_told_one_after_the_other_at_the_rate_of_their_peer(pool: Any) -> None:
    await people(pool, COUNT, until_ms=NIGHT)
    spread = Spread(pool)

    async def again(work: Any) -> None:
        while True:
            await work()

    async with asyncio.TaskGroup() as group:
        enforcer = spread.enforcer
        tasks = [
            group.create_task(again(one)) for one in (spread.due.step, enforcer.look, enforcer.send, enforcer.save)
        ]
        async with asyncio.timeout(120):
            ticks = 0
            while len(spread.asked) < COUNT:
                before = sum(spread.asked.values())
                while len(spread.book.open) + before < min(before + ONE_TICK, COUNT):
                    await asyncio.sleep(0.002)
                spread.now_ms += TICK_MS
                ticks += 1
                enforcer.wake()
                await asyncio.sleep(0.005)
        await ended(tasks)
    await enforcer.save_now()
    assert set(spread.asked.values()) == {1}
    assert spread.most_waiting <= DUE_WAITING_MAX + ASSIGNMENTS_AT_ONCE
    assert spread.most_open <= 1_000 + DUE_WAITING_MAX + ASSIGNMENTS_AT_ONCE
    assert enforcer.dropped == 0
    assert ticks >= COUNT // ONE_TICK - 1  # what it may be sent at once comes first
    assert await pool.fetchval("SELECT count(*) FROM intents WHERE jobs IS NULL") == 0
    assert await pool.fetchval("SELECT count(*) FROM jobs WHERE state = 'effective' AND cause = 'price'") == COUNT
