"""Accounting-On and -Off: a NAS lost its sessions (charging.md section 8). The instant is kept in the store, and the
keeper ends what began before it (ocs/enforcement/restarts.py): there an instant in seconds stands where Diameter has an
Origin-State-Id, and a session is known under the second it began.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from balances import keys
from balances.redis.pending import Pending

NASES_MAX: Final = 16_384
"""Of how many hosts an instant is kept."""
NAME_MAX: Final = 255


class RestartNotes(Protocol):
    """The part of balances.redis.connection.RedisConnection that is needed here."""

    def command(self, *words: str | bytes | int) -> Pending[Any]: ...


class NasRestarts:
    def __init__(self, link: RestartNotes) -> None:
        self._link = link

    async def newest_ms(self, nas: str) -> int:
        """When it lost all that began before, as far as it said so; 0."""
        return int(await self._link.command("ZSCORE", keys.ORIGINS, nas.lower()) or 0) * 1_000

    async def note(self, nas: str, at_s: int) -> bool:
        """All that began before then is lost. An older instant than the newest one changes nothing. False: so many are
        known that no other one can be kept."""
        host, command = nas.lower(), self._link.command
        known, count = await command("ZSCORE", keys.ORIGINS, host), await command("ZCARD", keys.ORIGINS)
        if len(host) > NAME_MAX or (known is None and count >= NASES_MAX):
            return False
        await command("ZADD", keys.ORIGINS_ENDED, "NX", 0, host)
        if await command("ZADD", keys.ORIGINS, "GT", "CH", at_s, host):
            await command("INCR", keys.ORIGINS_CHANGES)
        return True
