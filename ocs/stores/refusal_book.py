"""Who was refused lately, why and how often, in the live store: written by all workers of all hosts, read by
`ocs doctor`.

No request waits for it, and it costs nothing where nobody is refused. Each process adds up what it refused and tells it
every few seconds; what it could not tell is forgotten. It is bounded, and so old entries make room for new ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, NamedTuple, Protocol

import msgspec

from balances import keys
from balances.redis.calls import Lost, NotSent
from balances.redis.pending import Pending

RefusalKind = Literal["peer", "client", "subscriber"]
"""A Diameter peer that may not connect; a RADIUS client whose packets are dropped; whose request was refused."""

TELL_S: Final = 5.0
TOLD_MAX: Final = 200
"""Different ones that a process keeps until it tells them; of more only the first are known."""
KEPT_MAX: Final = 1_000
"""In the live store."""
KEPT_MS: Final = 24 * 3_600_000
TEXT_MAX: Final = 120
"""Characters of each part: a peer says what it likes."""


class RefusedParty(NamedTuple):
    kind: RefusalKind
    who: str
    """Origin-Host, address or identity."""
    by: str
    """The address a peer comes from; the peer a request came by."""
    why: str


class RefusalRecord(msgspec.Struct, frozen=True):
    """What the book has of one."""

    refusal: RefusedParty
    times: int
    """Within the time it is kept."""
    last_ms: int


class BookLink(Protocol):
    """The part of balances.redis.connection.RedisConnection that is needed here."""

    def command(self, *words: str | bytes | int) -> Pending[Any]: ...


class RefusalBook:
    def __init__(self, link: BookLink, now_ms: Callable[[], int]) -> None:
        self._command, self._now_ms = link.command, now_ms
        self._counts: dict[RefusedParty, int] = {}

    def note(self, kind: RefusalKind, who: str, by: str, why: str) -> None:
        one = RefusedParty(kind, who[:TEXT_MAX], by[:TEXT_MAX], why[:TEXT_MAX])
        if one in self._counts:
            self._counts[one] += 1
        elif len(self._counts) < TOLD_MAX:
            self._counts[one] = 1

    async def run(self) -> None:
        """For as long as the process serves."""
        while True:
            await asyncio.sleep(TELL_S)
            await self.tell()

    async def tell(self) -> None:
        """What is not in the book yet; it is forgotten where the store is away."""
        counts, self._counts = self._counts, {}
        if not counts:
            return
        command, now_ms = self._command, self._now_ms()
        try:
            for one, times in counts.items():
                field = msgspec.json.encode(one)
                command("HINCRBY", keys.REFUSALS, field, times)
                command("ZADD", keys.REFUSALS_LAST, "GT", now_ms, field)
            await self._make_room(now_ms)
        except (NotSent, Lost):
            return

    async def _make_room(self, now_ms: int) -> None:
        old = await self._command("ZRANGEBYSCORE", keys.REFUSALS_LAST, "-inf", now_ms - KEPT_MS).wait()
        kept = await self._command("ZCARD", keys.REFUSALS_LAST).wait()
        if kept - len(old) > KEPT_MAX:
            old = await self._command("ZRANGE", keys.REFUSALS_LAST, 0, kept - KEPT_MAX - 1).wait()
        if old:
            self._command("ZREM", keys.REFUSALS_LAST, *old)
            await self._command("HDEL", keys.REFUSALS, *old).wait()


async def refusals(redis: Any, now_ms: int) -> list[RefusalRecord]:
    """All that is kept, the newest first. redis: a client of redis.asyncio"""
    last: Sequence[tuple[bytes, float]] = await redis.zrevrangebyscore(
        keys.REFUSALS_LAST, "+inf", now_ms - KEPT_MS, withscores=True
    )
    if not last:
        return []
    times = await redis.hmget(keys.REFUSALS, [field for field, _ in last])
    return [
        RefusalRecord(msgspec.json.decode(field, type=RefusedParty), int(count or 1), int(at_ms))
        for (field, at_ms), count in zip(last, times, strict=True)
    ]
