"""The network obeys the balance, whatever is killed between a crossing and its effect: the whole server, and gateways
made of octets. What is told may be repeated; none of it may be missing (docs/enforcement.md)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest

from loadtest.api import Api
from protocol.diameter.dictionary.base import AbortSessionAnswer, AbortSessionRequest
from protocol.diameter.dictionary.credit_control import CreditControlAnswer, ReAuthRequest
from tests.bench.server import BenchServer, running
from tests.drills.test_kill import children, kill, until_ready
from tests.drills.test_told import START, STOP, TARIFF, UPDATE, World, raa, rar, silent
from tests.ocs.net.world import OctetPeer

pytestmark = pytest.mark.serial

GW = "gw.example.net"
ACCOUNT = {"currency": "EUR", "suspend_below": "0.60", "resume_at": "0.60"}
TOLD_S = 60.0
"""How long a repeat may take: the wait before the third attempt, and the start of a process."""


class Obeyed(World):
    """Two sessions of one account: `b` spends through the line while `a` holds 0.10."""

    def __init__(self, server: BenchServer, api: Api) -> None:
        super().__init__(api, server.diameter_port)
        self.server = server

    async def begin(self, account: str, a: str, b: str) -> OctetPeer:
        await self.api.put("v1", "tariffs", "told", body=TARIFF)
        await self.account(account, "1.00", a, b)
        await self.api.put("v1", "accounts", account, body=ACCOUNT, match="*")
        gw = await self.gateway(GW)
        assert await self.ask(gw, GW, f"{account}a", a, START, 0, asked=100) == 100
        assert await self.ask(gw, GW, f"{account}b", b, START, 0, asked=500) == 500
        return gw

    async def cross(self, gw: OctetPeer, account: str, b: str) -> None:
        """Nobody reads what comes but the answer, and what came before it."""
        gw.send(self.ccr(GW, f"{account}b", b, UPDATE, 1, asked=100, used=500))

    async def answer(self, gw: OctetPeer) -> list[str]:
        """Read until the answer to a CCR; Session-Ids of RARs that came before it, answered."""
        told = []
        while not isinstance(message := await gw.message(TOLD_S), CreditControlAnswer):
            assert isinstance(message, ReAuthRequest), message
            gw.send(raa(message, GW, 2001))
            told.append(message.session_id)
        return told

    async def job(self, session: str, state: str, cause: str = "suspended") -> dict[str, Any]:
        """The newest job of a session, once it is of that cause and in that state."""
        async with asyncio.timeout(TOLD_S):
            while True:
                page = await self.api.get("v1", "jobs", session=f"{GW};{session}")
                newest: dict[str, Any] = page["items"][0] if page["items"] else {}
                if (newest.get("cause"), newest.get("state")) == (cause, state):
                    return newest
                await asyncio.sleep(0.1)

    async def connected_again(self) -> OctetPeer:
        """As a gateway does whose connection broke: until it is open."""
        async with asyncio.timeout(TOLD_S):
            while True:
                peer = await OctetPeer.connect(self.port)
                try:
                    return await peer.open(GW)
                except AssertionError:  # the worker that took it ended
                    await peer.gone()

    async def told_next(self, gw: OctetPeer, session: str) -> ReAuthRequest:
        """RAR for that session, unanswered; others are answered."""
        while True:
            message = await gw.message(TOLD_S)
            if isinstance(message, ReAuthRequest):
                if message.session_id == f"{GW};{session}":
                    return message
                gw.send(raa(message, GW, 2001))

    async def metrics(self) -> str:
        async with Api(f"http://127.0.0.1:{self.server.metrics_port}", "", connections=1) as api:
            return str((await api.call("GET", ("metrics",))).body)


@contextlib.asynccontextmanager
async def world(*settings: str) -> AsyncIterator[Obeyed]:
    async with running("workers=2", *settings) as server, Api(server.url, server.token) as api:
        yield Obeyed(server, api)


def processes(w: Obeyed) -> list[int]:
    """Keeper, API and workers, in the order in which they were started."""
    return children(w.server, "ocs.processes.entry")


async def told(gw: OctetPeer, session: str, result: int = 2001) -> None:
    """RAR for that session; one for another may come before it, and again."""
    while await rar(gw, GW, result, TOLD_S) != f"{GW};{session}":
        pass


async def test_told_by_a_crossing_and_resumed_by_a_top_up() -> None:
    async with world() as w:
        gw = await w.begin("a1", "4911", "4912")
        await w.cross(gw, "a1", "4912")
        heard = await w.answer(gw)
        if not heard:
            await told(gw, "a1a")
        assert await w.ask(gw, GW, "a1a", "4911", UPDATE, 1, asked=100, used=100) == -4012
        suspended = await w.job("a1a", "effective")
        assert (suspended["attempts"], suspended["held"]) == (1, "0.10")
        assert suspended["used"] == "0.10"
        await w.top_up("a1", "5.00")
        names = {await rar(gw, GW, 2001, TOLD_S), await rar(gw, GW, 2001, TOLD_S)}
        assert names == {f"{GW};a1a", f"{GW};a1b"}
        assert await w.ask(gw, GW, "a1a", "4911", UPDATE, 2, asked=100) == 100
        assert await w.ask(gw, GW, "a1b", "4912", UPDATE, 2, asked=100) == 100
        await w.job("a1a", "effective", "waits")
        hops = re.findall(r'ocs_enforcement_seconds_count\{cause="(\w+)",hop="(\w+)"\} (\d+)', await w.metrics())
        times = {(cause, hop): int(count) for cause, hop, count in hops}
        assert [times["suspended", hop] for hop in ("sent", "acknowledged", "returned")] == [1, 1, 1]
        assert times["waits", "granted"] == 2
        assert times["waits", "sent"] >= 2  # it may be told again
        shown = await w.api.get("v1", "sessions", f"{GW};a1a")
        assert [one["cause"] for one in shown["jobs"]] == ["waits", "suspended"]
        gw.end()


async def test_who_agrees_and_does_nothing_is_ended() -> None:
    async with world("enforcement.return_s=1") as w:
        gw = await w.begin("a1", "4911", "4912")
        await w.cross(gw, "a1", "4912")
        if not await w.answer(gw):
            await told(gw, "a1a")
        while isinstance(asr := await gw.message(TOLD_S), ReAuthRequest):  # repeated, on a busy machine
            gw.send(raa(asr, GW, 2001))
        assert isinstance(asr, AbortSessionRequest)
        assert asr.session_id == f"{GW};a1a"
        gw.send(
            AbortSessionAnswer(
                session_id=asr.session_id, result_code=2001, origin_host=GW, origin_realm="example.net"
            ).answer(asr)
        )
        assert await w.ask(gw, GW, "a1a", "4911", STOP, 1, used=100) == -2001
        ended = await w.job("a1a", "effective")
        assert (ended["action"], ended["why"]) == ("abort", "the session has ended")
        assert ended["attempts"] >= 2
        gw.end()


async def test_the_keeper_is_killed_before_it_sends_and_before_it_hears_the_answer() -> None:
    async with world() as w:
        gw = await w.begin("a1", "4911", "4912")
        before = processes(w)
        os.kill(before[0], signal.SIGSTOP)
        await w.cross(gw, "a1", "4912")
        assert await w.answer(gw) == []
        kill(before[0])
        message = await w.told_next(gw, "a1a")  # by the one that comes next
        [keeper] = set(processes(w)) - set(before)
        kill(keeper)  # and killed before it hears the answer
        gw.send(raa(message, GW, 2001))
        await until_ready(w.server)
        await told(gw, "a1a")
        assert await w.ask(gw, GW, "a1a", "4911", UPDATE, 1, asked=100, used=100) == -4012
        await w.job("a1a", "effective")
        gw.end()


async def test_worker_and_api_are_killed_before_the_answer() -> None:
    async with world() as w:
        gw = await w.begin("a1", "4911", "4912")
        await w.cross(gw, "a1", "4912")
        await w.told_next(gw, "a1a")
        _, api, *workers = processes(w)
        for worker in workers:
            kill(worker)
        await gw.gone()
        gw = await w.connected_again()
        await told(gw, "a1a")
        assert await w.ask(gw, GW, "a1a", "4911", UPDATE, 1, asked=100, used=100) == -4012
        await w.top_up("a1", "5.00")
        kill(api)
        await told(gw, "a1a")
        gw.end()


async def test_a_top_up_while_the_keeper_is_away_is_not_cut() -> None:
    """durability.md rule 10."""
    async with world("charging.services.data.on_suspend=abort") as w:
        gw = await w.begin("a1", "4911", "4912")
        keeper = processes(w)[0]
        os.kill(keeper, signal.SIGSTOP)
        await w.cross(gw, "a1", "4912")
        assert await w.answer(gw) == []
        await w.top_up("a1", "5.00")
        kill(keeper)
        await told(gw, "a1b")  # it waits for money, and some came in
        await silent(gw, but=f"{GW};a1b")  # the other one goes on
        assert (await w.state("a1"))[f"{GW};a1a"] == "open"
        gw.end()
