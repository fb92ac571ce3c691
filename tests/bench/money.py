"""What money moved by hand costs: CPU of each process per top-up and per transfer between accounts, beside a plain
EVALSHA of the same minute."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable

from loadtest.api import Api
from tests.bench import whole
from tests.bench.server import BenchServer, running

ACCOUNTS = 200
SETTLED_S = 1.5
"""After the last answer: what it leaves to be done is done, and the children have said what they spent."""
IN_FLIGHT = {"top-up": 8, "transfer": 64}
"""A transfer waits for the copy of its first leg, and costs nothing meanwhile."""


async def measure(seconds: float) -> dict[str, float]:
    """Microseconds by role, and how many a second there were."""
    plain = await whole.yard("always", whole.Length(seconds / 2, seconds / 4, 64))
    found = {"plain EVALSHA us": round(plain.redis_us, 1)}
    async with (
        running("durability=always", "transfers.day_count=1000000", "transfers.day_limit=999999999") as server,
        Api(server.url, server.token, connections=max(IN_FLIGHT.values())) as api,
    ):
        numbers = itertools.count()
        for number in range(ACCOUNTS):
            await api.put("v1", "accounts", f"purse{number}", body={"currency": "EUR"})

        async def top_up() -> None:
            number = next(numbers)
            path = ("v1", "accounts", f"purse{number % ACCOUNTS}", "topups")
            await api.post(*path, body={"amount": "100.00"}, key=f"top-up-{number}")

        async def transfer() -> None:
            number = next(numbers)
            ends = {"from": f"purse{number % ACCOUNTS}", "to": f"purse{(number + 1) % ACCOUNTS}"}
            body = ends | {"amount": "0.01", "reason": "bench"}
            await api.post("v1", "transfers", body=body, key=f"transfer-{number}")

        for what, one in (("top-up", top_up), ("transfer", transfer)):
            found |= {f"{what}: {name}": value for name, value in (await _spent(server, one, what, seconds)).items()}
    return found


async def _spent(
    server: BenchServer, one: Callable[[], Awaitable[None]], what: str, seconds: float
) -> dict[str, float]:
    await asyncio.gather(*(one() for _ in range(ACCOUNTS)))
    await asyncio.sleep(SETTLED_S)
    before, begun_s, done = await server.cpu_s(), time.monotonic(), 0

    async def again() -> None:
        nonlocal done
        while time.monotonic() < begun_s + seconds:
            await one()
            done += 1

    await asyncio.gather(*(again() for _ in range(IN_FLIGHT[what])))
    rate = done / (time.monotonic() - begun_s)
    await asyncio.sleep(SETTLED_S)
    after = await server.cpu_s()
    spent = {role: (after[role] - before.get(role, 0.0)) / done * 1e6 for role in after}
    return {"a second": round(rate), **{f"{role} us": round(value) for role, value in sorted(spent.items())}}
