"""Traces: who watches requests of a subscriber, a peer or a session as they are served (docs/tracing.md)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from balances import keys
from balances.keys import session_keys_of
from balances.redis import clients
from balances.structs.session import SessionState
from ocs.audit import trail
from ocs.backoffice import search
from ocs.backoffice.errors import Conflict, Forbidden, NotFound
from ocs.charging.identity import spellings
from ocs.stores.bounded_postgres import Away
from ocs.tracing.wish import LEASE_MS, TRACES_MAX, TraceWish, pack_wish, read_wish

if TYPE_CHECKING:
    from ocs.backoffice.backoffice import BackOffice

SESSIONS_MAX: Final = 1_000
"""Open sessions that are looked for from the start; others are learnt as they are seen."""


async def begin(backoffice: BackOffice, trace: str, caller: str, subscriber: str, peer: str, session: str) -> TraceWish:
    """Begin a trace for a caller. It is on the audit trail before anything is seen.

    trace:  its id, which nobody can guess
    """
    running = await listed(backoffice)
    if len(running) >= TRACES_MAX:
        who = ", ".join(sorted({one.caller for one in running}))
        raise Conflict(f"{TRACES_MAX} traces are running already, of {who}: `ocs trace --list` shows them")
    await trail.intend(backoffice.pool, "", "", None)
    now = backoffice.now_ms()
    wish = TraceWish(trace, caller, now, now + LEASE_MS, subscriber, (), peer, session)
    wish = await _found(backoffice, wish)
    await _keep(backoffice, wish)
    return wish


async def renewed(backoffice: BackOffice, wish: TraceWish) -> TraceWish | None:
    """Its viewer is still there. None: somebody ended it."""
    known = await backoffice.bounded(backoffice.store.link.command("HEXISTS", keys.TRACES, wish.id).wait())
    if not known:
        return None
    wish = msgspec.structs.replace(wish, until_ms=backoffice.now_ms() + LEASE_MS)
    wish = await _found(backoffice, wish)
    await _keep(backoffice, wish)
    return wish


async def end(backoffice: BackOffice, trace: str) -> None:
    await trail.intend(backoffice.pool, "", "", None)
    if not await backoffice.bounded(backoffice.store.link.command("HDEL", keys.TRACES, trace).wait()):
        raise NotFound(f"no trace {trace} is running")


async def find(backoffice: BackOffice, trace: str) -> TraceWish:
    for wish in await listed(backoffice):
        if wish.id == trace:
            return wish
    raise NotFound(f"no trace {trace} is running: it ends {LEASE_MS // 1_000} s after its viewer was last there")


async def of_caller(backoffice: BackOffice, trace: str, caller: str) -> TraceWish:
    """The trace, which only who began it may watch: the audit trail says who saw what."""
    wish = await find(backoffice, trace)
    if wish.caller != caller:
        raise Forbidden(f"trace {trace} is watched by {wish.caller}: begin one of your own")
    return wish


async def listed(backoffice: BackOffice) -> list[TraceWish]:
    """Those that are running, the oldest first. What ended by itself is forgotten."""
    command = backoffice.store.link.command
    raw: Sequence[bytes] = await backoffice.bounded(command("HGETALL", keys.TRACES).wait())
    now, running = backoffice.now_ms(), []
    for trace, packed in zip(raw[::2], raw[1::2], strict=True):
        try:
            wish = read_wish(packed)
        except msgspec.MsgspecError:
            wish = None
        if wish is not None and wish.until_ms >= now:
            running.append(wish)
        else:
            await backoffice.bounded(command("HDEL", keys.TRACES, trace).wait())
    return sorted(running, key=lambda one: one.began_ms)


async def published(backoffice: BackOffice, wish: TraceWish) -> AsyncIterator[bytes | None]:
    """Packed sightings of a trace as processes publish them; None: it is being listened for from here on."""
    async with clients.listening(backoffice.redis) as heard:
        await heard.subscribe(keys.trace_channel(wish.id))
        async for message in heard.listen():
            yield message["data"] if message["type"] == "message" else None


async def _keep(backoffice: BackOffice, wish: TraceWish) -> None:
    await backoffice.bounded(backoffice.store.link.command("HSET", keys.TRACES, wish.id, pack_wish(wish)).wait())


async def _found(backoffice: BackOffice, wish: TraceWish) -> TraceWish:
    """With whom and what it is about as it is now. Somebody unknown is looked for by what was said: a trace shows why
    he is refused. While PostgreSQL does not answer it stays as it was."""
    if wish.session:
        return msgspec.structs.replace(wish, sessions=tuple(session_keys_of(wish.session)))
    if not wish.subscriber:
        return wish
    try:
        _, people = await search.search(backoffice, wish.subscriber)
    except Away:
        known = wish.identities or tuple(spellings(wish.subscriber))
        return msgspec.structs.replace(wish, identities=known)
    identities = {identity for one in people for identity in one.identities} or set(spellings(wish.subscriber))
    accounts = {account: one.id for one in people for account in one.accounts}
    sessions: list[str] = []
    for account in accounts:
        ids = {one.id for one in people if account in one.accounts}
        sessions += await _open_sessions(backoffice, account, ids)
    return msgspec.structs.replace(
        wish, identities=tuple(sorted(identities)), sessions=tuple(sessions[:SESSIONS_MAX]), known=bool(people)
    )


async def _open_sessions(backoffice: BackOffice, account: str, subscribers: set[str]) -> list[str]:
    """Keys of the open sessions of some subscribers of an account."""
    found = await backoffice.bounded(backoffice.store.read(account))
    sessions = found[1] if found is not None else ()
    return [one.id for one in sessions if one.state == SessionState.OPEN and one.subscriber in subscribers]
