"""Sessions are asked to report, and what they answer is read: with a stub for the network and for the store."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection
from typing import Any

import pytest

from balances.redis.pending import Pending
from balances.structs.account import Take
from balances.structs.charge import Reply
from balances.structs.posting import Expire
from balances.structs.record import Record, Short
from balances.structs.session import Line, Session, SessionState
from ocs.enforcement import telling as module
from ocs.enforcement.session_requests import NO_ROUTE, TIMEOUT, RequestReceipt
from ocs.enforcement.telling import Telling
from ocs.telemetry.log import logger

MONEY = Short(0, 0)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN_S", (0.0, 0.0, 0.0))
    monkeypatch.setattr(module, "IN_WORK_S", 0.0)


def session(name: str, held: int = 0, *, final: bool = False, subscriber: str = "s", touched_ms: int = 7) -> Session:
    line = Line(10, -1, 1, hold=[Take(0, held)] if held else [], due_ms=1 if held else 0, final=final)
    return Session(
        1, name, subscriber, "data", SessionState.OPEN, "pgw.net", "r", "dra.net", 0, touched_ms, 0, 0, [], [], [line]
    )


def settled(value: Any) -> Pending[Any]:
    pending = Pending[Any]()
    pending.resolve(value)
    return pending


class World:
    def __init__(self, *sessions: Session) -> None:
        self.sessions = {one.id: one for one in sessions}
        self.rars: list[str] = []
        self.sweeps: list[Expire] = []
        self.answers: list[int | str] = []
        """What comes of one RAR after the other; then 2001."""
        self.by = "pgw.net"
        self.hold: asyncio.Event | None = None
        self.barred: set[str] = set()
        self.away = 0
        self.now_ms = 1_000_000
        self.telling = Telling(
            self, self.ask, self.read, self.served, logger(), now_ms=lambda: self.now_ms, trouble=(OSError,),
            label=lambda host: host,
        )  # fmt: skip

    def session(self, account_id: str, session: str) -> Pending[Session | None]:
        return settled(self.sessions.get(session))

    def expire(self, expiry: Expire) -> Pending[Reply]:
        self.sweeps.append(expiry)
        return settled(Reply("ok"))

    async def ask(self, kind: str, session: Session) -> RequestReceipt:
        self.rars.append(session.id)
        if self.hold is not None:
            await self.hold.wait()
        return RequestReceipt("1", self.answers.pop(0) if self.answers else 2001, "dra.net", self.by)

    async def read(self, _account: str) -> list[Session]:
        if self.away:
            self.away -= 1
            raise OSError("away")
        return list(self.sessions.values())

    async def served(self, _account: str, subscribers: Collection[str]) -> Collection[str]:
        return set(subscribers) - self.barred

    async def see(self, *reauthorize: str, by: str = "asker", short: list[Short] | None = None) -> None:
        self.telling.want(
            Record(1, "charge", "acc", "EUR", session=by, reauthorize=list(reauthorize), short=short or [])
        )
        await self.telling.step()
        await self.quiet()

    async def quiet(self) -> None:
        for _ in range(50):
            await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def world(*sessions: Session) -> AsyncIterator[World]:
    made = World(*sessions)
    yield made
    await made.telling.stop()


async def test_twenty_refusals_ask_one_holder_once() -> None:
    async with world(session("a", 50), session("b", 500), session("asker", 900)) as w:
        for _ in range(20):
            await w.see("holder", short=[MONEY])
        assert w.rars == ["b"]
        w.now_ms += module.HOLDER_EVERY_MS
        await w.see("holder", short=[MONEY])
        assert w.rars == ["b", "b"]


async def test_money_that_came_in_is_told_each_time() -> None:
    """The interval is for holders: a second top-up is news."""
    async with world(session("a", 50, final=True), session("b", 500)) as w:
        await w.see("final")
        await w.see("final")
        assert w.rars == ["a", "a"]


async def test_a_barred_subscribers_sessions_and_no_others() -> None:
    async with world(session("a", subscriber="one"), session("b", subscriber="two")) as w:
        await w.see("members", "final")
        assert w.rars == []
        w.barred.add("two")
        await w.see("members", "final")
        assert w.rars == ["b"]


@pytest.mark.parametrize("result", [5012, 3002, TIMEOUT, NO_ROUTE])
async def test_what_came_to_nothing_is_tried_again_and_given_up(result: int | str) -> None:
    async with world(session("a", final=True)) as w:
        w.answers = [result, result, 2001]
        await w.see("final")
        assert w.rars == ["a"] * 3
        w.answers = [result] * 100
        await w.see("final")
        assert w.rars == ["a"] * 7
        assert w.sweeps == []
        assert w.telling.unreached == ({"pgw.net": 6} if result == NO_ROUTE else {})


@pytest.mark.parametrize("result", [2001, 2002, 3001, 5001, 5030])
async def test_what_is_an_answer_is_not(result: int) -> None:
    async with world(session("a", final=True)) as w:
        w.answers = [result]
        await w.see("final")
        assert (w.rars, w.sweeps) == (["a"], [])


async def test_a_session_that_has_reported_meanwhile_is_not_asked_again() -> None:
    async with world(session("a", final=True)) as w:
        w.hold, w.answers = asyncio.Event(), [TIMEOUT]
        await w.see("final")
        w.sessions["a"] = session("a", final=True, touched_ms=8)
        w.hold.set()
        await w.quiet()
        assert w.rars == ["a"]


async def test_attempts_for_one_session_are_serial() -> None:
    """And what happens while one is under way is not forgotten: it is asked once more, not once for each."""
    async with world(session("a", final=True)) as w:
        w.hold = asyncio.Event()
        for _ in range(3):
            await w.see("final")
        assert w.rars == ["a"]
        w.hold.set()
        await w.quiet()
        assert w.rars == ["a", "a"]


async def test_its_own_host_does_not_know_it() -> None:
    """charging.md section 5: released and abandoned, unless something touched it since."""
    async with world(session("a", 50, final=True)) as w:
        w.answers = [5002]
        w.by = "PGW.net"  # DiameterIdentity compares without case
        await w.see("final")
        assert [(one.account, one.session, one.touched_ms) for one in w.sweeps] == [("acc", "a", 7)]
        assert (w.rars, w.telling.ended) == (["a"], 1)


@pytest.mark.parametrize("by", ["dra.net", "other.net", ""])
async def test_a_relay_or_another_host_does_not_know_it(by: str) -> None:
    async with world(session("a", 50, final=True)) as w:
        w.answers, w.by = [5002], by
        await w.see("final")
        assert (w.rars, w.sweeps) == (["a"], [])


async def test_a_store_that_is_away_is_asked_later() -> None:
    async with world(session("a", final=True)) as w:
        w.away = 1
        with pytest.raises(OSError, match="away"):
            await w.see("final")
        await w.telling.step()
        await w.quiet()
        assert w.rars == ["a"]


async def test_room_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SESSIONS_MAX", 2)
    async with world(*(session(f"{number}", final=True) for number in range(5))) as w:
        w.hold = asyncio.Event()
        await w.see("final")
        assert (len(w.rars), w.telling.dropped) == (2, 3)
