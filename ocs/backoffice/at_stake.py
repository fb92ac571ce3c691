"""Totals of money at stake that are shown again for a while: `ocs restart` asks for the status every second."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

LATELY_MS: Final = 60_000
IN_PART_MS: Final = 5_000
"""Of one in which a part could not be read."""


class AtStake(NamedTuple):
    total: dict[str, int]
    """Micro-units by currency, as Exposure.total."""
    complete: bool
    """All open sessions were read."""
    at_ms: int
    unheld: dict[str, int]
    """Micro-units by currency that came in lately and nothing was held for; it is not in the total."""
    unknown: list[str]
    """What could not be read."""


class LatelyAtStake:
    """What was seen last, looked at again after LATELY_MS, or IN_PART_MS."""

    def __init__(self) -> None:
        self._seen: AtStake | None = None
        self._looks = asyncio.Lock()

    async def seen(self, now_ms: Callable[[], int], look: Callable[[int], Awaitable[AtStake | None]]) -> AtStake | None:
        """None: a store does not answer in time."""
        async with self._looks:
            seen = self._seen
            kept_ms = IN_PART_MS if seen is not None and seen.unknown else LATELY_MS
            if seen is None or not 0 <= now_ms() - seen.at_ms < kept_ms:
                self._seen = await look(now_ms())
            return self._seen
