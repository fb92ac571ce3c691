"""How fast one peer is told: so many attempts a second, and so many under way at once. Pure.

200,000 sessions that change at one instant are a queue with a known delay, and no storm.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Final

import msgspec

from ocs.enforcement.job import NetworkJob
from ocs.enforcement.machine import JobState

AT_ONCE: Final = 500
BURST_S: Final = 0.1
"""What a peer that was left alone for a while may be sent at once: so many seconds' worth."""


class PeerQueue(msgspec.Struct):
    """Jobs of one peer by the instant they are due, and what it may still be sent."""

    waiting: list[tuple[int, int, str]] = []
    """A heap: due, a number, id of the job. One that is stale is passed over when its turn comes."""
    under_way: int = 0
    allowance: float = 1.0
    """Attempts it may be sent now ..."""
    counted_ms: int = 0
    """... as of then."""


class Pacing:
    """rate: attempts a second; window: attempts under way; both of each peer. total: attempts under way of all"""

    def __init__(self, *, rate: float, window: int, total: int = AT_ONCE) -> None:
        self._rate, self._window, self._total = rate, window, total
        self._burst = max(1.0, rate * BURST_S)
        self._peers: dict[str, PeerQueue] = {}
        self._number = 0
        self._under_way = 0

    def put(self, peer: str, job: NetworkJob) -> None:
        """It is due at `job.due_ms`."""
        queue = self._peers.setdefault(peer, PeerQueue(allowance=self._burst))
        self._number += 1
        heapq.heappush(queue.waiting, (job.due_ms, self._number, job.id))

    def ready(self, jobs: dict[str, NetworkJob], now_ms: int) -> Iterator[tuple[str, NetworkJob]]:
        """Jobs whose turn it is, with their peers. For an attempt that then leaves call `left`."""
        for peer, queue in list(self._peers.items()):
            self._count(queue, now_ms)
            while queue.waiting and queue.waiting[0][0] <= now_ms:
                job = jobs.get(queue.waiting[0][2])
                stale = job is None or job.due_ms != queue.waiting[0][0] or job.state is JobState.SENT
                sends = job is not None and job.state is JobState.DUE
                if not stale and sends and not self._may(queue):
                    break
                heapq.heappop(queue.waiting)
                if not stale and job is not None:
                    yield peer, job
            if not queue.waiting and not queue.under_way and queue.allowance >= self._burst:
                del self._peers[peer]

    def left(self, peer: str) -> None:
        queue = self._peers.setdefault(peer, PeerQueue())
        queue.allowance -= 1
        queue.under_way += 1
        self._under_way += 1

    def landed(self, peer: str) -> None:
        self._peers[peer].under_way -= 1
        self._under_way -= 1

    def wait_ms(self, now_ms: int) -> int | None:
        """When something may be due next, from now; None: nothing waits but for what is under way."""
        if self._under_way >= self._total:
            return None
        waits = []
        for queue in self._peers.values():
            if queue.waiting and queue.under_way < self._window:
                lacks_ms = int(max(1 - queue.allowance, 0) / self._rate * 1_000) + (queue.allowance < 1)
                waits.append(max(queue.waiting[0][0] - now_ms, lacks_ms))
        return max(min(waits), 0) if waits else None

    def late_ms(self, now_ms: int) -> int:
        """How long the attempt that has waited for longest has been due."""
        return max([0, *(now_ms - queue.waiting[0][0] for queue in self._peers.values() if queue.waiting)])

    def forget(self) -> None:
        """Nothing waits any more; what is under way still lands."""
        for queue in self._peers.values():
            queue.waiting.clear()

    def _may(self, queue: PeerQueue) -> bool:
        return queue.allowance >= 1 and queue.under_way < self._window and self._under_way < self._total

    def _count(self, queue: PeerQueue, now_ms: int) -> None:
        passed_ms = max(now_ms - queue.counted_ms, 0) if queue.counted_ms else 0
        queue.allowance = min(self._burst, queue.allowance + passed_ms * self._rate / 1_000)
        queue.counted_ms = now_ms
