import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from balances.redis.pending import ended
from ocs.api.auth import Callers
from ocs.api.server import application, serving
from ocs.config.http import Http
from tests.ocs.api_harness import TOKEN, ApiHarness, api_harness
from tests.servers import Servers

START_S = 300
"""Generous: it makes a database, beside other tests on the same cores."""


@pytest.fixture
async def harness(servers: Servers) -> AsyncIterator[ApiHarness]:
    async with api_harness(servers) as made:
        yield made


@pytest.fixture
def address(servers: Servers) -> Iterator[str]:
    """URL of a server in a thread of its own, for clients that are not async. It has three accounts "0", "A" and "a1",
    each with a subscriber of the same name, and copies what is posted."""
    up, stop = threading.Event(), asyncio.Event()
    where: list[str] = []
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        try:
            await serve_until_told()
        finally:
            up.set()  # a server that cannot start is known at once

    async def serve_until_told() -> None:
        async with api_harness(servers) as harness:
            await fill(harness)
            app = application(harness.backoffice, Callers({TOKEN: "admin"}), Http())
            copying = asyncio.ensure_future(copy(harness))  # or the proof of the ledger waits for it
            with socket.create_server(("127.0.0.1", 0)) as listener:
                async with serving(app, listener):
                    where.append(f"http://127.0.0.1:{listener.getsockname()[1]}")
                    up.set()
                    await stop.wait()
            await ended((copying,))

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert up.wait(START_S), "the server did not start"
    assert where, "the server ended before it served: see the exception of its thread"
    yield where[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


async def copy(harness: ApiHarness) -> None:
    while True:
        await harness.sync()
        await asyncio.sleep(0.05)


async def fill(harness: ApiHarness) -> None:
    """So that some of what is asked for is there."""
    await harness.tariff()
    for name in ("0", "A", "a1"):
        await harness.account(name)
        await harness.subscriber(name, name, f"username:{name}")
    await harness.top_up("20.00", "a1")
