"""Events into a Redis stream, for whoever reads it with a consumer group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ocs.events.event import Event

SEEN_MAX: Final = 1_000
"""Entries looked at for events that are there already: as many as a batch has."""


class RedisStreamSink:
    """Fields of an entry: id, type, account, and event, which is all of it in JSON.

    After a restart or a failure the newest entries are looked at first: what was added and not noted is not added
    again, so with one writer each event is there once.
    """

    name = "redis"

    def __init__(self, redis: Any, stream: str, maxlen: int) -> None:
        self._redis, self._stream, self._maxlen = redis, stream, maxlen
        self._sure = False
        """Nothing failed since it was looked what is there."""

    async def deliver(self, events: Sequence[Event]) -> None:
        there = set() if self._sure else await self._newest()
        self._sure = False
        pipe = self._redis.pipeline(transaction=False)
        for event in events:
            if event.id in there:
                continue
            entry = {"id": event.id, "type": event.type, "account": event.account or "", "event": event.json()}
            pipe.xadd(self._stream, entry, maxlen=self._maxlen, approximate=True)
        await pipe.execute()
        self._sure = True

    async def _newest(self) -> set[str]:
        entries = await self._redis.xrevrange(self._stream, count=SEEN_MAX)
        return {fields[b"id"].decode() for _, fields in entries if b"id" in fields}
