"""The published tariffs in a process that only asks for their grades and recurring fees: read where any of them may say
some."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from balances import keys
from ocs.master.catalog import FIELDS, Compiled, unpack_catalog

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from tariffs.catalog import Catalog

WORDS: Final = (b"grade", b"fees")
"""Stand in each document that says one, as the key that it is."""


class GradedTariffs:
    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis
        self._version: bytes | None = None
        self._compiled: Mapping[tuple[str, int], Compiled] = {}
        self.catalog: Catalog | None = None
        """None: none says a grade, or they were not read yet."""

    @property
    def known(self) -> bool:
        """They were read once."""
        return self._version is not None

    @property
    def version(self) -> int:
        """Number of the change of master data that they are as of."""
        return int(self._version or 0)

    async def look(self) -> bool:
        """Read them if they are new; returns whether they were."""
        if await self._redis.hget(keys.CATALOG, "version") in (None, self._version):
            return False
        version, *packed = await self._redis.hmget(keys.CATALOG, "version", *FIELDS)
        if version is None:
            return False
        if any(word in part for part in packed[:2] if part is not None for word in WORDS):
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(None, unpack_catalog, int(version), packed, self._compiled)
            self.catalog, self._compiled = found.catalog, found.compiled
        else:
            self.catalog, self._compiled = None, {}
        self._version = version
        return True
