"""A task that is cancelled ends, in whatever moment of a call to the live store that comes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from balances.redis.clients import slow_client
from balances.redis.pending import ended

MOMENTS = 12
"""Turns of the event loop that a call takes, and more."""


@pytest.mark.parametrize("moment", range(MOMENTS))
async def test_a_cancellation_is_never_lost(redis_url: str, moment: int) -> None:
    client: Any = slow_client(redis_url)

    async def ask_on() -> None:
        while True:
            await client.get("nothing")

    async with client:
        await client.ping()
        task = asyncio.create_task(ask_on())
        for _ in range(20 + moment):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=5)
        lost = not done
        await ended((task,))
        assert not lost


@pytest.mark.parametrize("moment", range(MOMENTS))
async def test_a_time_limit_is_a_limit(redis_url: str, moment: int) -> None:
    client: Any = slow_client(redis_url)
    loop = asyncio.get_running_loop()

    def expire_after(limit: asyncio.Timeout, turns: int) -> None:
        if turns:
            loop.call_soon(expire_after, limit, turns - 1)
        else:
            limit.reschedule(loop.time())

    async def ask_until_it_ends() -> None:
        async with asyncio.timeout(None) as limit:
            for call in range(10_000):
                if call == 3:
                    expire_after(limit, moment)
                await client.get("nothing")

    async with client:
        await client.ping()
        with pytest.raises(TimeoutError):
            await ask_until_it_ends()
