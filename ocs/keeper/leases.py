"""Leases for work that one keeper at a time should do. Leases only save work: what two keepers do at once takes effect
once (durability.md, "Around it")."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from balances.ledger.supervision import Supervision

LEASE_MS: Final = 5_000
RENEWED_S: Final = 2.0
"""How often: one that came to nothing is tried again before the lease has run out."""


class Leases:
    """names: of all of them; they are asked for together"""

    def __init__(self, supervision: Supervision, names: Sequence[str]) -> None:
        self._supervision, self._names = supervision, names
        self._ours: set[str] = set()
        self._until_s = 0.0
        self._loop = asyncio.get_running_loop()

    async def renew(self) -> None:
        """Take those that are free, keep those that are ours."""
        asked_s = self._loop.time()
        self._ours = await self._supervision.leases(self._names, LEASE_MS)
        self._until_s = asked_s + LEASE_MS / 1_000

    def has(self, name: str) -> bool:
        return name in self._ours and self._loop.time() < self._until_s

    async def release(self) -> None:
        """Give the leases back at the end, so that other keepers need not wait until they run out."""
        ours, self._ours = self._ours, set()
        for name in sorted(ours):
            await self._supervision.release(name)
