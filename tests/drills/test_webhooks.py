"""The keeper is killed again and again while it delivers: every event arrives with the id it has, in order."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import defaultdict

import pytest

from loadtest.api import Api
from tests.bench.server import BenchServer, running
from tests.drills.test_kill import children
from tests.ocs.events.webhooks.receiver import OK, Receiver, receiving, status

pytestmark = pytest.mark.serial

ACCOUNTS = ("w1", "w2", "w3")
KILLS = 4
EACH = 6
"""Top-ups of each account between two kills."""


async def kill_keeper(server: BenchServer, keeper: int) -> int:
    """Returns the process that takes its place."""
    known = set(children(server, "ocs.processes.entry"))
    os.kill(keeper, signal.SIGKILL)
    async with asyncio.timeout(60):
        while not (new := set(children(server, "ocs.processes.entry")) - known):
            await asyncio.sleep(0.05)
    return new.pop()


async def arrived(receiver: Receiver, count: int) -> None:
    async with asyncio.timeout(120):
        while len({got.id for got in receiver.got}) < count:
            await asyncio.sleep(0.05)


async def test_the_keeper_is_killed_while_it_delivers() -> None:
    async with (
        running("workers=2", "webhooks.allow_http=true", 'webhooks.allow_private=["127.0.0.1"]') as server,
        Api(server.url, server.token) as api,
        receiving() as receiver,
    ):
        made = await api.post("v1", "webhooks", body={"url": receiver.url, "types": ["top_up.received"], "id": "drill"})
        receiver.secrets.append(made["secret"])
        for account in ACCOUNTS:
            await api.put("v1", "accounts", account, body={"currency": "EUR"})
        sent = 0
        keeper = children(server, "ocs.processes.entry")[0]
        for turn in range(KILLS):
            turns = [status(500), OK, OK]
            receiver.answer = lambda _got, turns=turns: turns.pop() if turns else OK  # type: ignore[misc]
            before = len(receiver.got)
            for number in range(EACH):
                for account in ACCOUNTS:
                    body = {"amount": f"{turn + 1}.{number:02}"}
                    await api.post("v1", "accounts", account, "topups", body=body, key=f"{account}-{turn}-{number}")
                    sent += 1
            async with asyncio.timeout(60):
                while len(receiver.got) == before:
                    await asyncio.sleep(0.01)
            keeper = await kill_keeper(server, keeper)
        await arrived(receiver, sent)
        order: dict[str, list[str]] = defaultdict(list)
        seen: set[str] = set()
        for got in receiver.got:
            assert got.id == got.event["id"]
            if got.id not in seen:
                seen.add(got.id)
                order[got.event["account"]].append(got.event["data"]["buckets"][0]["amount"])
        wanted = [f"{turn + 1}.{number:02}" for turn in range(KILLS) for number in range(EACH)]
        assert order == dict.fromkeys(ACCOUNTS, wanted)
        async with asyncio.timeout(60):
            while (found := await api.get("v1", "webhooks", "drill"))["waiting"]:
                await asyncio.sleep(0.1)
        assert (found["state"], found["dead"]) == ("active", 0)
