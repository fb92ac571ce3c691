"""Charging over HTTP while processes are killed: every answer holds, nothing twice, nothing lost.

The platforms here know the public API alone. Each plays one session after the other and some events, repeats what was
not answered under the same key until it is, and adds up what it used: what its account paid is the price of that.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from loadtest.api import Api, ApiError
from tests.bench.server import BenchServer, running
from tests.drills.test_kill import children, kill, postgres, redis, until_ready, verify

pytestmark = pytest.mark.serial

PLATFORMS = 12
TARIFF = {
    "tariff": "tv",
    "currency": "EUR",
    "rows": [
        {"when": {"rating_group": 30}, "flat": {"price": "0.001", "per": "1 s"}},
        {"when": {"rating_group": 40}, "flat": {"price": "0.25", "per": "1 unit"}},
    ],
}
SECOND_MICRO, TITLE_MICRO, PAID_IN_MICRO = 1_000, 250_000, 1_000_000_000
ANSWERED_S = 60.0


class Box:
    """A set-top box with an account of its own, and the platform that charges for it."""

    def __init__(self, api: Api, number: int) -> None:
        self.api, self.name = api, f"box{number}"
        self.due_micro = self.answers = 0

    async def ask(self, *path: str, key: str = "", **body: Any) -> dict[str, Any]:
        """Until it is answered: the same again, however often the server dies."""
        body |= {"service": "generic", "subscriber": self.name}
        headers = {"Idempotency-Key": key} if key else {}
        async with asyncio.timeout(ANSWERED_S):
            while True:
                try:
                    answer = await self.api.call("POST", ("v1", "charging", *path), body=body, headers=headers)
                except ApiError:
                    answer = None
                if answer is not None and answer.status < 500:
                    assert answer.status in (200, 201), answer
                    self.answers += 1
                    assert isinstance(answer.body, dict)
                    return answer.body
                await asyncio.sleep(0.1)

    async def watch(self, evening: int) -> None:
        session, wanted = f"{self.name}-{evening}", {"rating_group": 30, "requested": {"seconds": 600}}
        await self.ask("sessions", key=session, id=session, lines=[wanted])
        seconds = 0
        for number in range(1, 5):
            used = 7 * number + evening
            seconds += used
            await self.ask("sessions", session, "update", number=number, lines=[wanted | {"used": {"seconds": used}}])
        title = {"rating_group": 40, "requested": {"units": 1}}
        now = datetime.now(UTC).isoformat(timespec="seconds")
        bought = await self.ask("events", key=f"{session}-title", lines=[title], time=now)
        if evening % 3 == 0:
            back = {"action": "refund", "refund_token": bought["refund_token"], "lines": [{"rating_group": 40}]}
            await self.ask("events", key=f"{session}-back", **back)
        else:
            self.due_micro += TITLE_MICRO
        ended = await self.ask(
            "sessions", session, "stop", number=5, lines=[{"rating_group": 30, "used": {"seconds": 3}}]
        )
        assert ended["cost"] == f"{(seconds + 3) / 1000:.3f}".rstrip("0").ljust(4, "0")
        self.due_micro += (seconds + 3) * SECOND_MICRO


async def the_api(server: BenchServer) -> None:
    kill(children(server, "ocs.processes.entry")[1])


async def test_nothing_is_lost_and_nothing_is_charged_twice() -> None:
    async with running("durability=always") as server, Api(server.url, server.token) as api:
        await api.put("v1", "tariffs", "tv", body=TARIFF)
        boxes = [Box(api, number) for number in range(PLATFORMS)]
        for box in boxes:
            await api.put("v1", "accounts", box.name, body={"currency": "EUR"})
            await api.post("v1", "accounts", box.name, "topups", body={"amount": "1000.00"}, key=box.name)
            who = {"account": box.name, "identities": [f"username:{box.name}"], "tariffs": [{"tariff": "tv"}]}
            await api.put("v1", "subscribers", box.name, body=who)
        over = asyncio.Event()

        async def evenings(box: Box) -> None:
            evening = 0
            while not over.is_set():
                await box.watch(evening)
                evening += 1

        playing = [asyncio.ensure_future(evenings(box)) for box in boxes]
        for disaster in (the_api, redis, postgres, the_api):
            answered = sum(box.answers for box in boxes)
            async with asyncio.timeout(ANSWERED_S):
                while sum(box.answers for box in boxes) < answered + 100:
                    await asyncio.sleep(0.05)
            await disaster(server)
        await until_ready(server)
        over.set()
        await asyncio.gather(*playing)
        for box in boxes:
            found = await api.get("v1", "accounts", box.name)
            spent = PAID_IN_MICRO - round(float(found["balance"]) * 1_000_000)
            assert (spent, found["held"]) == (box.due_micro, "0.00"), box.name
        await verify(server)
