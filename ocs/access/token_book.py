"""Tokens that requests come with: remembered for some seconds, and for longer while PostgreSQL does not answer."""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from msgspec import structs

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
    authority: Authority | None
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
        known = await self._known(id_)
        row, now_ms = known.row, self._now_ms()
        if row is None or known.authority is None:
            return None
        if row.state(now_ms) != "active" or not _opens(row, tokens.digest_of(token), now_ms):
            return None
        if row.last_ms < now_ms - tokens.USED_MS:
            await self._used(row, address, now_ms)
        return structs.replace(known.authority, address=address)

    def at_hand(self, token: str, digest: bytes) -> Authority | None:
        """The same, but for the address, where nothing has to be asked or written; None: `authority` says it.

        digest: of the token
        """
        id_ = tokens.id_in(token)
        seen = None if id_ is None else self._seen.get(id_)
        if seen is None or seen.row is None:
            return None
        row, now_ms = seen.row, self._now_ms()
        if now_ms - seen.at_ms >= FRESH_MS or row.last_ms < now_ms - tokens.USED_MS or row.state(now_ms) != "active":
            return None
        return seen.authority if _opens(row, digest, now_ms) else None

    def forget(self, id_: str) -> None:
        """It has changed."""
        self._seen.pop(id_, None)

    async def _known(self, id_: str) -> _Remembered:
        seen, now_ms = self._seen.get(id_), self._now_ms()
        if seen is not None and now_ms - seen.at_ms < FRESH_MS:
            return seen
        try:
            row = await tokens.get(self._pool, id_)
        except Away:
            if seen is None or now_ms - seen.at_ms > STALE_MS:
                raise
            return seen
        return self._remember(id_, row, now_ms)

    async def _used(self, row: TokenRow, address: str, now_ms: int) -> None:
        try:
            await tokens.used(self._pool, row.id, address, now_ms)
        except Away:
            return
        self._remember(row.id, structs.replace(row, last_ms=now_ms), now_ms)

    def _remember(self, id_: str, row: TokenRow | None, now_ms: int) -> _Remembered:
        authority = None
        if row is not None:
            authority = authority_of(row.caller, row.roles, self._roles, scopes=row.scopes, credential=id_)
        self._seen[id_] = seen = _Remembered(row, authority, now_ms)
        self._seen.move_to_end(id_)
        if len(self._seen) > REMEMBERED_MAX:
            self._seen.popitem(last=False)
        return seen


def _opens(row: TokenRow, given: bytes, now_ms: int) -> bool:
    if hmac.compare_digest(row.digest, given):
        return True
    old = row.old_digest
    return old is not None and now_ms < row.old_until_ms and hmac.compare_digest(old, given)
