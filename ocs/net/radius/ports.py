"""Which session is open at a port, so that who is authenticated again there gets the same Class, and a stale session
does not go on holding. It may be lost: then a hold lapses by itself, and counters tell the sessions apart."""

from __future__ import annotations

import secrets
from typing import Any, Final, Protocol

from balances import keys
from balances.packing import unpack_session
from balances.redis.pending import Pending
from balances.structs.charge import Reply
from balances.structs.posting import Expire
from balances.structs.session import Session, SessionState
from ocs.charging.radius.authorisation import ADOPTED_WITHIN_S
from ocs.charging.radius.names import SessionReference, port_key

OPEN_S: Final = 2 * 86_400
"""A session that is not heard of for so long is not found by its port."""
TOKEN_BYTES: Final = 6


class PortLink(Protocol):
    def command(self, *words: str | bytes | int) -> Pending[Any]: ...


class PortStore(Protocol):
    """The part of balances.redis.store.Store that is needed here."""

    @property
    def link(self) -> PortLink: ...
    def expire(self, expiry: Expire) -> Pending[Reply]: ...


class Ports:
    def __init__(self, store: PortStore) -> None:
        self._store, self._command = store, store.link.command

    async def reference(self, port: str) -> tuple[SessionReference, str]:
        """What is given in Class at this port: the same one as long as somebody waits or is open there; and the session
        that is open, "" where none is known to be."""
        token, _, session = (await self._command("GET", port_key(port)) or b"").decode().partition(" ")
        return SessionReference(port, token or secrets.token_hex(TOKEN_BYTES)), session

    async def authorised(self, reference: SessionReference) -> None:
        """A session is expected."""
        await self._command("SET", port_key(reference.port), f"{reference.token} ", "EX", ADOPTED_WITHIN_S)

    async def began(self, reference: SessionReference, session: str, account: str, now_ms: int) -> None:
        """A session began at the port: another one that was open there, of the same account, holds nothing more."""
        before = (await self.reference(reference.port))[1]
        value = f"{reference.token} {session}"
        await self._command("SET", port_key(reference.port), value, "EX", OPEN_S)
        if before and before != session and account:
            packed = await self._command("HGET", keys.account(account), keys.part(before))
            stale = unpack_session(packed) if packed else None
            if stale is not None and stale.state == SessionState.OPEN:
                await self._store.expire(_ended(account, stale, now_ms))

    async def ended(self, reference: SessionReference, session: str) -> None:
        _, known = await self.reference(reference.port)
        if known == session:
            await self._command("DEL", port_key(reference.port))


def _ended(account: str, session: Session, now_ms: int) -> Expire:
    return Expire(account, session.id, now_ms, touched_ms=session.touched_ms)
