"""Tokens that requests come with: remembered for some seconds, and for longer while PostgreSQL does not answer."""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from ocs.access import tokens
from ocs.access.roles import Authority, CallerRole, authority_of
from ocs.access.tokens import TokenRow
from ocs.stores.bounded_postgres import Away

FRESH_MS: Final = 5_000
"""Until then nothing is asked again: so soon other processes know of a revocation; the one that makes it, at once."""
STALE_MS: Final = 600_000
"""While PostgreSQL does not answer, a token that was good is good for so long."""
REMEMBERED_MAX: Final = 10_000


class _Remembered(NamedTuple):
    row: TokenRow | None
    at_ms: int


class TokenBook:
    """
    pool:  PostgreSQL; raises Away
    roles: those in force, by name
    """

    def __init__(self, pool: Any, roles: Mapping[str, CallerRole], now_ms: Callable[[], int]) -> None:
        self._pool, self._roles, self._now_ms = pool, roles, now_ms
        self._seen: OrderedDict[str, _Remembered] = OrderedDict()

    async def authority(self, token: str, address: str) -> Authority | None:
        """Who comes with this token; None: it opens nothing. Raises Away where that cannot be known."""
        id_ = tokens.id_in(token)
        if id_ is None:
            return None
        row = await self._row(id_)
        now_ms = self._now_ms()
        if row is None or row.state(now_ms) != "active" or not _opens(row, token, now_ms):
            return None
        if row.last_ms < now_ms - tokens.USED_MS:
            await self._used(row, address, now_ms)
        return authority_of(row.caller, row.roles, self._roles, scopes=row.scopes, address=address, credential=id_)

    def forget(self, id_: str) -> None:
        """It has changed."""
        self._seen.pop(id_, None)

    async def _row(self, id_: str) -> TokenRow | None:
        seen, now_ms = self._seen.get(id_), self._now_ms()
        if seen is not None and now_ms - seen.at_ms < FRESH_MS:
            return seen.row
        try:
            row = await tokens.get(self._pool, id_)
        except Away:
            if seen is None or now_ms - seen.at_ms > STALE_MS:
                raise
            return seen.row
        self._remember(id_, row, now_ms)
        return row

    async def _used(self, row: TokenRow, address: str, now_ms: int) -> None:
        try:
            await tokens.used(self._pool, row.id, address, now_ms)
        except Away:
            return
        self._remember(row.id, await tokens.get(self._pool, row.id), now_ms)

    def _remember(self, id_: str, row: TokenRow | None, now_ms: int) -> None:
        self._seen[id_] = _Remembered(row, now_ms)
        self._seen.move_to_end(id_)
        if len(self._seen) > REMEMBERED_MAX:
            self._seen.popitem(last=False)


def _opens(row: TokenRow, token: str, now_ms: int) -> bool:
    given = tokens.digest_of(token)
    if hmac.compare_digest(row.digest, given):
        return True
    old = row.old_digest
    return old is not None and now_ms < row.old_until_ms and hmac.compare_digest(old, given)
