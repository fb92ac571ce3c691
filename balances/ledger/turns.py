"""Work that one at a time should do, by advisory locks of PostgreSQL, for economy: it is right without. So nobody waits
for ever for one whose process stands still and whose connection lives on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

TRIES: Final = 150
AGAIN_S: Final = 0.1
"""15 s in all: longer than such work takes as a rule. Then it is done beside whoever has the lock."""


@asynccontextmanager
async def turn(pg: Any, *lock: int) -> AsyncIterator[None]:
    """pg: a connection that stays with the caller; lock: one number of 64 bits, or two of 32"""
    names = ", ".join(f"${place}" for place in range(1, len(lock) + 1))
    ours = await pg.fetchval(f"SELECT pg_try_advisory_lock({names})", *lock)
    for _ in range(TRIES):
        if ours:
            break
        await asyncio.sleep(AGAIN_S)
        ours = await pg.fetchval(f"SELECT pg_try_advisory_lock({names})", *lock)
    try:
        yield
    finally:
        if ours:
            await pg.execute(f"SELECT pg_advisory_unlock({names})", *lock)
