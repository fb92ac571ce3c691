"""Delivers to one webhook: makes deliveries of events, sends them, writes what became of them.

Its connections, its thread for names and its place in memory are its own, so that a receiver that is slow delays no
other. What it holds is bounded: it makes no more deliveries of events while `ROOM` wait, and the events wait in
PostgreSQL. It may be killed at any point: what was not noted is sent again, with the same id.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, Final
from urllib.parse import quote

from msgspec import Struct, structs

from balances.ledger.writer import AWAY
from balances.redis.pending import ended
from ocs.events import log
from ocs.events.webhooks import deliveries, subscriptions
from ocs.events.webhooks.client import Attempt, WebhookClient
from ocs.events.webhooks.deliveries import AttemptOutcome, Made
from ocs.events.webhooks.forms import FORMS
from ocs.events.webhooks.queue import NEVER_MS, DeliveryQueue, QueuePace, Waiting
from ocs.events.webhooks.sealed_secrets import WebhookSecrets
from ocs.events.webhooks.signing import signed_headers
from ocs.events.webhooks.subscriptions import ReceiverHealth, Webhook

ROOM: Final = 500
"""Deliveries that wait; as many more may come with the last batch."""
LOOKED: Final = 500
"""Events looked at for one batch."""
AGAIN_S: Final = 0.5
"""After PostgreSQL did not answer."""
WAIT_S_MAX: Final = 60.0
TEST_TYPE: Final = "webhook.test"
HEADER_SAFE: Final = "!#$&'()*+,/:;=?@[]~"


class Tallies(Struct):
    """Counts of one webhook since this process began."""

    attempts: dict[str, int] = {}
    """By result."""
    dead: int = 0
    waiting: int = 0
    oldest_ms: int = 0
    """When the oldest that waits was made; 0: none."""


class Deliverer:
    """
    source:   of the events of this installation
    few:      bounds how many webhooks use PostgreSQL at once, so that copying never waits behind them
    moved:    called when it was paused or goes on

    Raises CannotOpen where a secret of the webhook cannot be opened.
    """

    def __init__(
        self,
        webhook: Webhook,
        pool: Any,
        client: WebhookClient,
        source: str,
        few: asyncio.Semaphore,
        tallies: Tallies,
        secrets: WebhookSecrets,
        *,
        pace: QueuePace,
        in_flight_max: int,
        now_ms: Callable[[], int],
        jitter: Callable[[], float],
        moved: Callable[[Webhook], None] = lambda _webhook: None,
    ) -> None:
        self.webhook, self.tallies = webhook, tallies
        self._pool, self._client, self._source, self._few = pool, client, source, few
        self._secrets = {
            sealed: secrets.clear(sealed, webhook.id) for sealed in (webhook.secret, webhook.old_secret) if sealed
        }
        self._in_flight_max, self._now_ms, self._moved = in_flight_max, now_ms, moved
        self._queue = DeliveryQueue(pace, jitter, failing_ms=webhook.failing_ms, paused_for=webhook.paused_for)
        self._newest = webhook.seq
        self._sending: set[asyncio.Task[None]] = set()
        self._outcomes: list[AttemptOutcome] = []
        self._shown: set[int] = set()
        self._arrived = 0
        self._why = webhook.why
        self._noted = self._health()
        self._stirred = asyncio.Event()
        self._stopping = False
        self._drain_s: float | None = None

    # ---- what its owner says

    def newest(self, seq: int) -> None:
        """There are events up to this number."""
        if seq > self._newest:
            self._newest = seq
            self._stirred.set()

    def stop(self, drain_s: float | None = None) -> None:
        """Take nothing new, note what is under way, and end `run`. drain_s: how long what is under way is waited for;
        None: as long as an attempt may take."""
        self._stopping, self._drain_s = True, drain_s
        self._stirred.set()

    async def run(self) -> None:
        """Until `stop`. Ends by itself where another process works on this webhook, or it is gone."""
        try:
            await self._load()
            while not self._stopping:
                self._stirred.clear()
                async with self._patiently():
                    await self._note()
                    await self._fill()
                self._send_due()
                self._tell()
                await self._sleep()
        finally:
            await self._end()

    # ---- inside

    async def _load(self) -> None:
        while not self._stopping:
            async with self._patiently():
                async with self._few:
                    found = await deliveries.waiting(self._pool, self.webhook.id)
                for one in found:
                    self._queue.add(one)
                return

    @contextlib.asynccontextmanager
    async def _patiently(self) -> AsyncIterator[None]:
        """While PostgreSQL does not answer nothing new is sent, and it is asked again."""
        try:
            yield
        except AWAY:
            await asyncio.sleep(AGAIN_S)
            self._stirred.set()

    async def _fill(self) -> None:
        """Make deliveries of new events."""
        while self._newest > self.webhook.seq and len(self._queue) < ROOM and not self._stopping:
            if self._queue.paused_for in ("person", "gone"):
                return
            async with self._few:
                batch = await log.read(self._pool, self.webhook.seq, self.webhook.filter, LOOKED)
                if batch.upto == self.webhook.seq:
                    return
                form = FORMS[self.webhook.form]
                made = [
                    Made(one.row.id, one.row.type, one.row.account, form.body(one.row, self._source))
                    for one in batch.events
                    if form.tells(one.row.type)
                ]
                added = await deliveries.enqueue(self._pool, self.webhook, made, batch.upto, self._now_ms())
            if added is None:
                self._stopping = True
                return
            self.webhook = structs.replace(self.webhook, seq=batch.upto)
            for one in added:
                self._queue.add(one)

    def _send_due(self) -> None:
        if self._outcomes or self._stopping:  # not noted: PostgreSQL is away
            return
        for one in self._queue.take(self._now_ms(), self._in_flight_max - self._queue.under_way):
            task = asyncio.create_task(self._send(one), name=f"webhook-{self.webhook.id}")
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _send(self, one: Waiting) -> None:
        event, now_ms = header_id(one.event), self._now_ms()
        valid = [self._secrets[sealed] for sealed in self.webhook.valid_secrets(now_ms)]
        signed = signed_headers(valid, event, now_ms // 1_000, one.body)
        form = FORMS[self.webhook.form]
        url = self.webhook.url + form.place(one.type)
        attempt = await self._client.deliver(url, {"content-type": form.media_type, **signed}, one.body)
        self._over(one, attempt)
        self._stirred.set()

    def _over(self, one: Waiting, attempt: Attempt) -> None:
        """An attempt has ended."""
        now_ms = self._now_ms()
        counts = self.tallies.attempts
        counts[attempt.result] = counts.get(attempt.result, 0) + 1
        if attempt.result == "delivered":
            one.attempts += 1
            self._queue.delivered(one, now_ms)
            self._arrived += 1
            self._why = ""
            self._outcomes.append(_outcome(one, "delivered", now_ms, attempt.text))
        else:
            dead = self._queue.failed(
                one,
                now_ms,
                answered=attempt.result == "refused",
                gone=attempt.status == 410,
                quiet_ms=attempt.retry_after_s * 1_000,
            )
            self._why = attempt.text
            self._outcomes.append(_outcome(one, "dead" if dead else "waiting", now_ms, attempt.text))
            self.tallies.dead += dead
        if one.type == TEST_TYPE:
            self._shown.add(one.seq)

    async def _note(self) -> None:
        """Write what became of attempts, and what is known of the receiver."""
        for one in self._queue.crowding(self._now_ms(), ROOM // 2):
            self._outcomes.append(_outcome(one, "dead", self._now_ms(), "refused, and too many like it waited"))
            self.tallies.dead += 1
        health = self._health()
        if not self._outcomes and health == self._noted:
            return
        outcomes, self._outcomes = self._outcomes, []
        shown, self._shown = self._shown, set()
        arrived, self._arrived = self._arrived, 0
        try:
            async with self._few, self._pool.acquire() as pg, pg.transaction():
                counted = structs.replace(health, delivered=arrived, delivered_ms=self._now_ms() if arrived else 0)
                await subscriptions.note(pg, self.webhook.id, self.webhook.version, counted)
                await deliveries.settle(pg, self.webhook.id, outcomes, shown=shown)
        except BaseException:
            self._outcomes[:0] = outcomes
            self._shown |= shown
            self._arrived += arrived
            raise
        if health.paused_for != self._noted.paused_for:
            self.webhook = structs.replace(
                self.webhook, paused_for=health.paused_for, why=health.why, failing_ms=health.failing_ms
            )
            self._moved(self.webhook)
        self._noted = health

    def _health(self) -> ReceiverHealth:
        """As it is noted: the reason of a failure only while the receiver is down, so that a single one writes no more
        than its own row."""
        down = self._queue.down or bool(self._queue.paused_for)
        return ReceiverHealth(self._queue.paused_for, self._why if down else "", self._queue.failing_ms if down else 0)

    def _tell(self) -> None:
        self.tallies.waiting, self.tallies.oldest_ms = len(self._queue), self._queue.oldest_ms()

    async def _sleep(self) -> None:
        """Until something has happened, or a delivery is due."""
        if self._outcomes:
            return
        wake_ms = NEVER_MS if self._queue.under_way >= self._in_flight_max else self._queue.wake_ms()
        wait_s = min(max((wake_ms - self._now_ms()) / 1_000, 0.001), WAIT_S_MAX)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._stirred.wait()

    async def _end(self) -> None:
        """Note what became of what is under way, if PostgreSQL is there; what was cut is sent again by the next one."""
        if self._sending:
            _, cut = await asyncio.wait(set(self._sending), timeout=self._drain_s)
            await ended(cut)
        with contextlib.suppress(*AWAY):
            await self._note()
        await self._client.close()


def header_id(event: str) -> str:
    """An event's id as `webhook-id`: itself, unless it has what no header may."""
    return event if event.isascii() and event.isprintable() and " " not in event else quote(event, safe=HEADER_SAFE)


def _outcome(one: Waiting, state: deliveries.DeliveryState, now_ms: int, result: str) -> AttemptOutcome:
    return AttemptOutcome(one.seq, state, one.attempts, one.failed_ms, one.next_ms, now_ms, one.answered, result)
