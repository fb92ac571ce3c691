"""How each worker finds the home servers, in the live store, for people to see."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from balances import keys
from balances.redis.calls import Lost, NotSent
from ocs.net.radius.conduct_book import ConductLink
from ocs.net.radius.home_pool import HomePool
from ocs.net.radius.home_server import HomeServer, HomeState

TELL_S: Final = 5.0
SHOWN_MS: Final = 20_000
"""A worker that has said nothing for so long is gone."""


class HomeSeen(msgspec.Struct, frozen=True):
    """What a worker says of a home server."""

    told_ms: int
    state: HomeState
    since_ms: int
    outstanding: int
    counts: dict[str, int]
    """Answers by kind since the worker began."""


class HomeBook:
    def __init__(self, link: ConductLink, pool: HomePool, now_ms: Callable[[], int]) -> None:
        self._command, self._pool, self._now_ms = link.command, pool, now_ms
        self._worker = secrets.token_hex(4)

    async def run(self) -> None:
        """For as long as the process serves."""
        while True:
            await self.tell()
            await asyncio.sleep(TELL_S)

    async def tell(self) -> None:
        """Nothing where the store is away."""
        try:
            for server in self._pool.servers:
                seen = msgspec.json.encode(self._seen(server))
                await self._command("HSET", keys.RADIUS_HOMES, f"{server.address} {self._worker}", seen).wait()
            gone = gone_in(await self._command("HGETALL", keys.RADIUS_HOMES).wait(), self._now_ms())
            if gone:
                await self._command("HDEL", keys.RADIUS_HOMES, *gone).wait()
        except (NotSent, Lost):
            return

    def _seen(self, server: HomeServer) -> HomeSeen:
        return HomeSeen(self._now_ms(), server.state, server.since_ms, server.outstanding(), server.counts)


def homes_in(raw: Sequence[bytes], now_ms: int) -> dict[str, list[HomeSeen]]:
    """By address, what each worker says that is alive. raw: a reply to HGETALL"""
    found: dict[str, list[HomeSeen]] = {}
    for field, value in zip(raw[::2], raw[1::2], strict=True):
        seen = msgspec.json.decode(value, type=HomeSeen)
        if now_ms - seen.told_ms <= SHOWN_MS:
            found.setdefault(field.decode().partition(" ")[0], []).append(seen)
    return found


def gone_in(raw: Sequence[bytes], now_ms: int) -> list[bytes]:
    """Fields of workers that are gone."""
    pairs = zip(raw[::2], raw[1::2], strict=True)
    return [field for field, value in pairs if now_ms - msgspec.json.decode(value, type=HomeSeen).told_ms > SHOWN_MS]
