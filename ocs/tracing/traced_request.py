"""One request that somebody wants to see, from its octets to those of its answer."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol, TypeVar

from ocs.charging.handle import ChargingContext
from ocs.clock import monotonic_us, now_ms
from ocs.tracing.matching import WatchedFor
from ocs.tracing.sighting import SeenMessage, Sighting
from ocs.tracing.traced_store import TracedStore

T = TypeVar("T")


class TraceTeller(Protocol):
    """Who tells the viewers (`tracer.Tracer`)."""

    def tell(self, watched: Sequence[WatchedFor], sighting: Sighting) -> None: ...


class TracedRequest:
    """heard_us: when it came, on the running clock"""

    __slots__ = ("_heard_us", "_is_told", "_teller", "_wall_us", "_watched", "is_under_way", "sighting")

    def __init__(self, teller: TraceTeller, watched: Sequence[WatchedFor], sighting: Sighting, heard_us: int) -> None:
        self._teller, self._watched, self.sighting, self._heard_us = teller, watched, sighting, heard_us
        self._wall_us = now_ms() * 1_000 - (monotonic_us() - heard_us)
        self._is_told = False
        self.is_under_way = False
        """Its answer is being made."""
        sighting.began_us = self.since_us()

    def since_us(self) -> int:
        return monotonic_us() - self._heard_us

    # ---- what is seen of it

    def received(self, octets: bytes) -> None:
        """octets: without secrets"""
        self.sighting.request = SeenMessage(octets, self._wall_us)

    def answered(self, octets: bytes) -> None:
        since = self.sighting.answered_us = self.since_us()
        self.sighting.answer = SeenMessage(octets, self._wall_us + since)

    def understood(self, identities: tuple[str, ...], session: str) -> None:
        seen = self.sighting
        seen.decoded_us, seen.identities, seen.session = self.since_us(), identities, session

    def silent(self, why: str) -> None:
        self.sighting.why = why

    def context(self, usual: ChargingContext) -> ChargingContext:
        """What charging uses for this request: the usual, with a store that notes what is asked of it."""
        own = copy.copy(usual)
        own.store = TracedStore(usual.store, self.sighting.calls, self.since_us)
        return own

    # ---- its end

    async def watch(self, handled: Coroutine[Any, Any, T]) -> T:
        """The same, which ends what is seen when it is done and its answer is written."""
        self.is_under_way = True
        soon = asyncio.get_running_loop().call_soon
        try:
            result = await handled
        except Exception:
            soon(self.over)
            raise
        soon(self.over)
        return result

    def over(self) -> None:
        """Tell what was seen, once."""
        if not self._is_told:
            self._is_told = True
            self._teller.tell(self._watched, self.sighting)

    def over_unless_under_way(self) -> None:
        if not self.is_under_way:
            self.over()
