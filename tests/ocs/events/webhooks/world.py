"""The back office with a dispatcher that delivers, as a keeper has it, over real stores."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from balances.ledger.event_filter import EventFilter
from balances.redis.pending import ended
from ocs.config.events import Webhooks
from ocs.events import log
from ocs.events.webhooks.dispatcher import Dispatcher
from ocs.telemetry.log import logger
from ocs.telemetry.standing_alarms import StandingAlarms
from tests.ocs.api_harness import ApiHarness, api_harness
from tests.servers import Servers

SETTINGS = Webhooks(allow_private=("127.0.0.1",), allow_http=True, timeout_s=1)


class DeliveryWorld:
    """The back office with a dispatcher, as a keeper has it."""

    def __init__(self, harness: ApiHarness, settings: Webhooks) -> None:
        self.harness, self.settings = harness, settings
        harness.backoffice.webhooks = settings
        self.failures: list[str] = []
        self.dispatcher = self._dispatcher()
        self._task: asyncio.Task[None] | None = None
        self._one_copies = asyncio.Lock()

    def _dispatcher(self) -> Dispatcher:
        return Dispatcher(
            self.harness.pool,
            self.settings,
            logger(),
            StandingAlarms(logger(), self.harness.now_ms, 60_000),
            self.harness.backoffice.secrets,
            now_ms=self.harness.now_ms,
            jitter=lambda: 1.0,
            failed=lambda name, why: self.failures.append(f"{name}: {why!r}"),
        )

    async def begin(self) -> None:
        async def rounds() -> None:
            while True:
                await self.dispatcher.look(ours=True)
                await self.dispatcher.follow()
                await self._copy()
                await asyncio.sleep(0.02)

        self._task = asyncio.create_task(rounds())

    async def _copy(self) -> None:
        async with self._one_copies:
            await self.harness.sync()

    async def end(self) -> None:
        assert self._task is not None
        await ended((self._task,))
        await self.dispatcher.stop()

    async def kill(self) -> None:
        """As a process that ends without a word: nothing that was not written is."""
        assert self._task is not None
        running = [one.task for one in self.dispatcher._running.values()]
        senders = [task for one in self.dispatcher._running.values() for task in one.deliverer._sending]
        for one in self.dispatcher._running.values():
            one.deliverer._end = no_end  # type: ignore[method-assign]
        await ended((self._task, *running, *senders))
        for one in self.dispatcher._running.values():
            await one.deliverer._client.close()  # as the system does with its sockets
        self.dispatcher = self._dispatcher()

    async def webhook(self, url: str, **more: Any) -> dict[str, Any]:
        made = await self.harness.call("POST", "/v1/webhooks", {"url": url, "types": ["top_up.received"], **more})
        assert made.status_code == 201, made.text
        return dict(made.json())

    async def shown(self, webhook: str) -> dict[str, Any]:
        return dict((await self.harness.call("GET", f"/v1/webhooks/{webhook}")).json())

    async def events(self) -> list[log.NumberedEvent]:
        await self._copy()
        return list((await log.read(self.harness.pool, 0, EventFilter(("top_up.received",)))).events)

    async def top_ups(self, *accounts: str, each: int = 1) -> None:
        for number in range(each):
            for account in accounts:
                made = await self.harness.top_up(f"1.{number:02}", account)
                assert made.status_code in (200, 201), made.text


async def no_end() -> None:
    pass


@contextlib.asynccontextmanager
async def a_world(servers: Servers, settings: Webhooks = SETTINGS) -> AsyncIterator[DeliveryWorld]:
    async with api_harness(servers) as harness:
        world = DeliveryWorld(harness, settings)
        for account in ("a1", "a2", "a3"):
            await harness.account(account)
        await world.begin()
        try:
            yield world
        finally:
            await world.end()
            assert world.failures == []


async def until(condition: Callable[[], object], what: str = "") -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)
