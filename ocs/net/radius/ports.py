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
        that is open as far as is known here (`is_open`), "" where none is."""
        token, session = await self._kept(port)
        return (SessionReference(port, token) if token else self.fresh(port)), session

    @staticmethod
    def fresh(port: str) -> SessionReference:
        """A Class of its own for the next session of the port."""
        return SessionReference(port, secrets.token_hex(TOKEN_BYTES))

    async def is_open(self, session: str, account: str, nas: str, now_ms: int) -> bool:
        """Whether the session of a port goes on. Its end may not have been noted, or its NAS has restarted; then its
        Class would make the next session a part of it.

        account: of who logs in there; nas: as its sessions know it
        """
        [found] = await self._stored(account, session)
        if found is None or found.state != SessionState.OPEN:
            return False
        restarted_s = float(await self._command("ZSCORE", keys.ORIGINS, nas.lower()) or 0)
        if not 0 < found.origin_state < restarted_s:
            return True
        # What it holds is given back, as the keeper will do with all sessions of that NAS.
        await self._store.expire(_ended(account, found, now_ms))
        return False

    async def _kept(self, port: str) -> tuple[str, str]:
        """(token, session) of a port, "" for what is not known."""
        token, _, session = (await self._command("GET", port_key(port)) or b"").decode().partition(" ")
        return token, session

    async def _stored(self, account: str, *sessions: str) -> list[Session | None]:
        found = await self._command("HMGET", keys.account(account), *(keys.part(one) for one in sessions))
        return [None if packed is None else unpack_session(packed) for packed in found]

    async def authorised(self, reference: SessionReference) -> None:
        """A session is expected."""
        await self._command("SET", port_key(reference.port), f"{reference.token} ", "EX", ADOPTED_WITHIN_S)

    async def began(self, reference: SessionReference, session: str, account: str, now_ms: int) -> None:
        """A session began at the port: another one that was open there before, of the same account, holds nothing more.
        A Start that comes late, of a session that has ended or that another one followed, changes nothing."""
        _, before = await self._kept(reference.port)
        stale = None
        if account:
            mine, other = await self._stored(account, session, before or session)
            if mine is not None and mine.state != SessionState.OPEN:
                return
            if before and before != session and other is not None and other.state == SessionState.OPEN:
                if mine is not None and other.opened_ms > mine.opened_ms:
                    return
                stale = other
        value = f"{reference.token} {session}"
        await self._command("SET", port_key(reference.port), value, "EX", OPEN_S)
        if stale is not None:
            await self._store.expire(_ended(account, stale, now_ms))

    async def ended(self, reference: SessionReference, session: str) -> None:
        _, known = await self._kept(reference.port)
        if known == session:
            await self._command("DEL", port_key(reference.port))


def _ended(account: str, session: Session, now_ms: int) -> Expire:
    return Expire(account, session.id, now_ms, touched_ms=session.touched_ms)
