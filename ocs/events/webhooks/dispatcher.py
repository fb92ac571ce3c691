"""Who delivers to all webhooks of an installation: one keeper at a time, under a lease, with a deliverer for each.

It looks again and again which webhooks there are and whether a person has changed one, and tells each deliverer how
far the events are. Where the lease goes to another keeper, nothing new is sent here; for as long as attempts of
both can overlap (`webhooks.timeout_s`) an event may arrive twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from balances.redis.pending import ended
from ocs.config.values import networks
from ocs.events import log
from ocs.events.webhooks import deliveries, subscriptions
from ocs.events.webhooks.client import WebhookClient, tls_context
from ocs.events.webhooks.deliverer import Deliverer, Tallies
from ocs.events.webhooks.queue import QueuePace
from ocs.events.webhooks.sealed_secrets import WebhookSecrets
from ocs.events.webhooks.subscriptions import Webhook
from ocs.master.sealing import CannotOpen
from ocs.telemetry.standing_alarms import NAMES_MAX, AlarmLog, StandingAlarms

if TYPE_CHECKING:
    import ssl

    from ocs.config.events import Webhooks

LEASE: Final = "webhooks"
USING_POSTGRES_MAX: Final = 2
"""Deliverers at once."""
DRAIN_S: Final = 2.0
"""For attempts under way when the process ends."""


class Running(Struct):
    """A deliverer at work."""

    webhook: Webhook
    deliverer: Deliverer
    task: asyncio.Task[None]


class Dispatcher:
    """
    jitter:   a factor around 1, new at each call
    failed:   told what of ours went wrong, by name
    """

    def __init__(
        self,
        pool: Any,
        settings: Webhooks,
        alarm_log: AlarmLog,
        standing: StandingAlarms,
        secrets: WebhookSecrets,
        *,
        now_ms: Callable[[], int],
        jitter: Callable[[], float],
        failed: Callable[[str, Exception], None],
    ) -> None:
        self._pool, self._settings, self._log, self._standing = pool, settings, alarm_log, standing
        self._secrets, self._now_ms, self._failed = secrets, now_ms, failed
        self._jitter = jitter
        self._allowed = networks(settings.allow_private)
        self._pace = QueuePace(settings.order_s * 1_000, settings.pause_s * 1_000)
        self._few = asyncio.Semaphore(USING_POSTGRES_MAX)
        self._running: dict[str, Running] = {}
        self._source = ""
        self._tls: ssl.SSLContext | None = None
        self._stopping = False
        self._unopened: dict[str, str] = {}
        """Webhooks that nothing can be signed for, and why."""
        self.newest = 0
        """Number of the last event."""
        self.tallies: dict[str, Tallies] = {}
        """By webhook; of those that are gone too, as long as this process runs."""
        self.paused: dict[str, int] = {}
        """Webhooks that are paused, by why."""

    def delivers_to(self, webhook: str) -> bool:
        """It is there, and ours to deliver to."""
        return webhook in self._running

    async def look(self, *, ours: bool) -> None:
        """Begin and end deliverers as the webhooks are now. ours: this process has the lease."""
        if not ours or self._stopping:
            await self._end([*self._running])
            self._standing.lasting("webhooks", "")
            self.paused = {}
            return
        found = {one.id: one for one in await subscriptions.page(self._pool)}
        if found and not self._source:
            self._source = await log.source(self._pool)
        if found:
            self.newest = await log.newest(self._pool)
        changed = [
            name
            for name, running in self._running.items()
            if running.task.done() or name not in found or found[name].touched != running.webhook.touched
        ]
        await self._end(changed)
        self._unopened = {}
        for name, webhook in found.items():
            if name not in self._running:
                try:
                    self._begin(webhook)
                except CannotOpen as why:
                    self._unopened[name] = f"its secret cannot be used: {why}"
        self._alarm([*found.values()])

    async def follow(self) -> None:
        """Tell the deliverers how far the events are."""
        if self._running:
            self.newest = await log.newest(self._pool)
            for running in self._running.values():
                running.deliverer.newest(self.newest)

    async def purge(self) -> None:
        if self._running:
            await deliveries.purge(self._pool, self._now_ms())

    async def stop(self) -> None:
        """End all; attempts under way have a moment."""
        self._stopping = True
        await self._end([*self._running], DRAIN_S)

    # ---- inside

    def _begin(self, webhook: Webhook) -> None:
        if self._tls is None:
            self._tls = tls_context(self._settings.tls_ca)
        client = WebhookClient(
            self._tls,
            allowed=self._allowed,
            timeout_s=self._settings.timeout_s,
            connections_max=self._settings.in_flight_max,
        )
        deliverer = Deliverer(
            webhook,
            self._pool,
            client,
            self._source,
            self._few,
            self.tallies.setdefault(webhook.id, Tallies()),
            self._secrets,
            pace=self._pace,
            in_flight_max=self._settings.in_flight_max,
            now_ms=self._now_ms,
            jitter=self._jitter,
            moved=self._moved,
        )
        deliverer.newest(self.newest)
        task = asyncio.create_task(deliverer.run(), name=f"webhook-{webhook.id}")
        self._running[webhook.id] = Running(webhook, deliverer, task)

    async def _end(self, names: list[str], drain_s: float | None = None) -> None:
        """Those that have to wait for an attempt do so while the others go on."""
        for name in names:
            self._running[name].deliverer.stop(drain_s)
        if drain_s is not None and names:
            _, late = await asyncio.wait({self._running[name].task for name in names}, timeout=2 * drain_s)
            await ended(late)  # a PostgreSQL that hangs: what is not noted is sent again
        for name in names:
            task = self._running[name].task
            if not task.done():
                continue
            del self._running[name]
            if not task.cancelled() and (why := task.exception()) is not None:
                self._failed(f"webhook {name}", why if isinstance(why, Exception) else RuntimeError(repr(why)))
            self.tallies[name].waiting = self.tallies[name].oldest_ms = 0

    def _moved(self, webhook: Webhook) -> None:
        if webhook.paused_for:
            self._log.error("webhook.paused", webhook=webhook.id, paused_for=webhook.paused_for, why=webhook.why)
        else:
            self._log.info("webhook.resumed", webhook=webhook.id)

    def _alarm(self, webhooks: list[Webhook]) -> None:
        """What its receiver, not a person, has paused is an alarm for as long as it lasts."""
        self.paused = {}
        for one in webhooks:
            if one.paused_for:
                self.paused[one.paused_for] = self.paused.get(one.paused_for, 0) + 1
        why = {one.id: one.why for one in webhooks if one.paused_for in ("failing", "gone")} | self._unopened
        failing = [f"{name} ({text})" for name, text in why.items()]
        names = ", ".join(failing[:NAMES_MAX]) + (" ..." if len(failing) > NAMES_MAX else "")
        text = f"nothing is delivered to {len(failing)} webhooks (`ocs webhook show`): {names}" if failing else ""
        self._standing.lasting("webhooks", text)
