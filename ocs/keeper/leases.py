"""Leases for work that one keeper at a time should do. Leases only save work: what two keepers do at once takes effect
once (durability.md, "Around it")."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from balances.ledger.reader import STORE_AWAY, answering
from balances.ledger.supervision import Supervision
from balances.redis.primaries import Primaries, Primary

LEASE_MS: Final = 5_000
ASK_S: Final = 1.0
"""How long a primary has to answer, before the next one is asked."""
RENEWED_S: Final = 2.0
"""How often: one that came to nothing is tried again before the lease has run out."""


class Leases:
    """They are kept by the first primary that answers: two keepers that do not see the same one do the same work for a
    while.

    names: of all of them; they are asked for together
    """

    def __init__(self, supervision: Supervision, primaries: Primaries, names: Sequence[str]) -> None:
        self._supervision, self._primaries, self._names = supervision, primaries, names
        self._at: Primary | None = None
        self._ours: set[str] = set()
        self._until_s = 0.0
        self._loop = asyncio.get_running_loop()

    async def renew(self) -> None:
        """Take those that are free, keep those that are ours."""
        away: BaseException = ConnectionError("no primary is known")
        for primary in sorted(self._primaries.all(), key=lambda one: min(one.shards)):
            asked_s = self._loop.time()
            try:
                async with answering(ASK_S):
                    self._ours = await self._supervision.leases(primary, self._names, LEASE_MS)
            except STORE_AWAY as why:
                away = why
                continue
            self._at, self._until_s = primary, asked_s + LEASE_MS / 1_000
            return
        raise away

    def has(self, name: str) -> bool:
        return name in self._ours and self._loop.time() < self._until_s

    async def release(self) -> None:
        """Give the leases back at the end, so that other keepers need not wait until they run out."""
        ours, self._ours = self._ours, set()
        for name in sorted(ours):
            if self._at is not None:
                await self._supervision.release(self._at, name)
