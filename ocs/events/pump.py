"""Carries events to one place outside, in order, each at least once.

A new way out (Kafka, NATS, a file) is an `EventSink` in a file of its own, its table in the configuration, and a line
in ocs/processes/keeper.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from balances.ledger.event_filter import EventFilter
from ocs.events import log
from ocs.events.event import Event


class EventSink(Protocol):
    """Where events go."""

    name: str
    """Of its consumer: how far it is, is kept under it."""

    async def deliver(self, events: Sequence[Event]) -> None:
        """Returns when they are there for good, in this order. After a failure, or a restart, some may come again, with
        the ids they had. Raises whatever it likes where they cannot be delivered: they come again later."""


class EventPump:
    """Reads for one sink, batch by batch. Several may run at once: then some events are delivered twice."""

    def __init__(self, pool: Any, sink: EventSink, wanted: EventFilter) -> None:
        self._pool, self._sink, self._wanted = pool, sink, wanted
        self._number: int | None = None
        self._source = ""
        self.delivered = 0

    async def step(self) -> bool:
        """Deliver a batch; returns whether there may be more."""
        name = self._sink.name
        if self._number is None:
            self._source = await log.source(self._pool)
            self._number = await log.subscribe(self._pool, name, name, self._wanted)
        number, self._number = self._number, None  # whatever fails, it is read again
        batch = await log.read(self._pool, number, self._wanted)
        if batch.events:
            await self._sink.deliver([one.event(self._source) for one in batch.events])
            self.delivered += len(batch.events)
        if batch.upto != number and not await log.advance(self._pool, name, number, batch.upto):
            return True  # another process did this batch too
        self._number = batch.upto
        return batch.more
