"""Charging sessions: listing them, and asking the network to report or to end them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from balances import keys
from balances.ledger.live_sessions import FoundSession, Place, by_due
from balances.ledger.restore import find_session
from ocs.backoffice import accounts, jobs, suspense
from ocs.backoffice.errors import NotFound
from ocs.backoffice.jobs import WantedJobs
from ocs.stores.bounded_postgres import Away

if TYPE_CHECKING:
    from balances.structs.account import Account
    from balances.structs.session import Session, SessionState
    from ocs.backoffice.backoffice import BackOffice, NetworkAnswer
    from ocs.backoffice.jobs import JobRow
    from ocs.backoffice.suspense import SuspenseRow

JOBS_SHOWN: Final = 20
LOOKED_AT_MAX: Final = 2_000
"""Sessions read for one page, whether they are of the peer and state that is wanted or not."""


class WantedSessions(NamedTuple):
    """None: any."""

    states: Collection[SessionState] | None
    peer: str | None
    """Origin-Host of the client."""
    after: Place
    limit: int

    def fit(self, session: Session) -> bool:
        peer = self.peer.lower() if self.peer is not None else None  # identities compare without letter case
        return (self.states is None or session.state in self.states) and peer in (None, session.peer.lower())


class SessionsFound(NamedTuple):
    sessions: Sequence[FoundSession]
    following: Place | None
    """After which the next page begins; None: there is none."""


async def of_account(backoffice: BackOffice, account: str, wanted: WantedSessions) -> SessionsFound:
    """Sessions of an account, the oldest first: open ones, and closed ones for an hour."""
    owner, sessions = await accounts.read(backoffice, await accounts.find(backoffice, account))
    placed = sorted((Place(session.opened_ms, session.id), session) for session in sessions)
    here = [FoundSession(place, owner, one) for place, one in placed if place > wanted.after and wanted.fit(one)]
    found = here[: wanted.limit]
    return SessionsFound(found, found[-1].place if len(here) > len(found) else None)


async def of_all(backoffice: BackOffice, wanted: WantedSessions) -> SessionsFound:
    """Open sessions of all accounts, first those that hold for longest without a report. A page reads LOOKED_AT_MAX
    sessions at most, so it may be short, or empty, and not be the last."""
    here, looked_at = list[FoundSession](), 0
    async for found in by_due(backoffice.redis, wanted.after):
        if wanted.fit(found.session):
            here.append(found)
        looked_at += 1
        if len(here) == wanted.limit or looked_at == LOOKED_AT_MAX:
            return SessionsFound(here, found.place)
    return SessionsFound(here, None)


async def find(backoffice: BackOffice, session: str) -> tuple[Account, Session]:
    """Find a session by its key, or by its Session-Id as the network sends it."""
    for key in keys.session_keys_of(session):
        of = await account_of(backoffice, key)
        if of is not None:
            account, sessions = await accounts.read(backoffice, await accounts.find(backoffice, of))
            for one in sessions:
                if one.id == key:
                    return account, one
    raise NotFound(f"there is no session {session}: not open, and not closed within the hour")


async def set_aside(backoffice: BackOffice, account: str, session: str) -> Sequence[SuspenseRow] | None:
    """Use of the session that is in suspense; None while PostgreSQL does not answer."""
    try:
        return await suspense.of_session(backoffice, account, session)
    except Away:
        return None


async def told(backoffice: BackOffice, session: str) -> Sequence[JobRow] | None:
    """The newest jobs of the session; None while PostgreSQL does not answer."""
    try:
        return await jobs.page(backoffice, WantedJobs(session=session, limit=JOBS_SHOWN))
    except Away:
        return None


async def account_of(backoffice: BackOffice, session: str) -> str | None:
    """The account of a session; None when no store knows the session. session: its key."""
    known = await backoffice.bounded(backoffice.store.where(session).wait())
    found = known or await find_session(backoffice.pool, session)
    return found[0] if found is not None else None


async def ask_network(
    backoffice: BackOffice, session: str, kind: Literal["rar", "asr"]
) -> tuple[Session, NetworkAnswer]:
    """Send `rar` (report now and ask anew) or `asr` (end the session) and return the result."""
    _, found = await find(backoffice, session)
    return found, await backoffice.ask_network(kind, found)
