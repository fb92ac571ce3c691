"""10,000 accounts cross at one instant: all of their sessions are told, at the pace of their peers, and never are more
jobs open than there is room for."""

from __future__ import annotations

import asyncio
from typing import Any

from balances.ledger.intents import Intent, IntentId
from balances.ledger.record import RecordedCall, RecordId
from balances.packing import fresh_account, pack
from balances.redis.pending import Pending, ended
from balances.structs.account import Account, SuspendReasons, Take
from balances.structs.charge import Reply
from balances.structs.posting import Expire
from balances.structs.record import Record
from balances.structs.session import Line, Session, SessionState
from ocs.enforcement.book import JobBook
from ocs.enforcement.choosing import NetworkPolicy
from ocs.enforcement.enforcer import Enforcer, all_served
from ocs.enforcement.executors.executor import Executors
from ocs.enforcement.executors.reauthorize import ReauthorizeExecutor
from ocs.enforcement.pacing import Pacing
from ocs.enforcement.session_requests import RequestReceipt
from ocs.telemetry.log import logger
from tests.ocs.enforcement.test_enforcer import Kept

ACCOUNTS = 10_000
ROOM = 1_000
PEERS = 5
RATE = 50_000


class Crowd:
    """Each account has one session; a client that is told comes back at once."""

    def __init__(self) -> None:
        self.now_ms = 1_000_000
        self.told: list[str] = []
        self.open_most = 0
        self.sessions = {
            f"acc{number}": Session(
                1, f"s{number}", "s", "data", SessionState.OPEN, f"gw{number % PEERS}", "r", "gw", 0, 7, 0, 0, [], [],
                [Line(10, -1, 1, hold=[Take(0, 5)], due_ms=1)],
            )
            for number in range(ACCOUNTS)
        }  # fmt: skip
        self.kept = Kept()
        self.enforcer = Enforcer(
            self, self, self.kept, Executors((ReauthorizeExecutor(self.ask),)),
            NetworkPolicy({}, lambda _host: False), JobBook(jobs_max=ROOM, return_ms=1_000),
            Pacing(rate=RATE, window=100), all_served, logger(), now_ms=lambda: self.now_ms, trouble=(OSError,),
        )  # fmt: skip

    def account(self, name: str) -> Account:
        return fresh_account(name, "EUR", state=SuspendReasons.CREDIT, generation=1)

    async def open_sessions(self, account: str) -> tuple[Account, list[Session]] | None:
        self.open_most = max(self.open_most, len(self.enforcer.book.open))
        return self.account(account), [self.sessions[account]]

    async def account_and_session(self, account: str, session: str) -> tuple[Account | None, Session | None]:
        return self.account(account), self.sessions[account]

    def expire(self, expiry: Expire) -> Pending[Reply]:
        raise AssertionError(expiry)

    async def ask(self, kind: str, session: Session) -> RequestReceipt:
        self.told.append(session.id)
        await asyncio.sleep(0)
        return RequestReceipt("1", 2001, session.peer, session.peer)

    def comes_back(self, account: str) -> None:
        session = self.sessions[account]
        session.touched_ms, session.lines = self.now_ms + 1, [Line(10, -1, 1, final=True)]

    def cross(self) -> None:
        for number, name in enumerate(self.sessions):
            record = Record(1, "charge", name, "EUR", at_ms=self.now_ms, generation=1)
            call = RecordedCall(RecordId(5, number), record, b"", pack(self.account(name)), None, None, None, None)
            self.enforcer.want(0, call)
            id_ = IntentId(0, 5, number)
            self.kept.intents[id_] = Intent(id_, name, 1, frozenset({"changed"}), self.now_ms)


async def again(work: Any) -> None:
    while True:
        await work()
        await asyncio.sleep(0)


async def test_all_are_told_and_memory_is_bounded() -> None:
    crowd = Crowd()
    enforcer = crowd.enforcer
    crowd.cross()
    tasks = [asyncio.create_task(again(work)) for work in (enforcer.look, enforcer.send)]
    back = 0
    async with asyncio.timeout(60):
        while len(crowd.told) < ACCOUNTS:
            await asyncio.sleep(0)
            crowd.now_ms += 1
            enforcer.wake()
            for name in crowd.told[back:]:
                account = f"acc{name[1:]}"
                crowd.comes_back(account)
                enforcer.book.returned(account, name, crowd.now_ms + 1, ended=False)
            back = len(crowd.told)
            if crowd.now_ms % 50 == 0:
                await enforcer.save_now()
                await enforcer.catch_up(0.0)
    await ended(tasks)
    await enforcer.stop()
    assert len(set(crowd.told)) == len(crowd.told) == ACCOUNTS
    assert crowd.open_most <= ROOM
