"""What an action is made of: one executor for each protocol that has it, one file each.

A new protocol brings its executors, and says in `protocol_of` which sessions are its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final, Protocol

from balances.structs.account import Account
from balances.structs.session import Session
from ocs.enforcement.job import Cause, NetworkAction, is_radius
from ocs.enforcement.machine import JobEvent
from ocs.enforcement.session_requests import RequestReceipt

DIAMETER: Final = "diameter"
RADIUS: Final = "radius"
HTTP: Final = "http"
HTTP_CLIENT: Final = "http:"
"""What the name of a platform begins with (ocs/charging/http/translate.py)."""


class Executor(Protocol):
    """`ends`: it ends or changes the session, so it may only be sent for the newest generation of the account
    (durability.md rule 10); a request to report may be repeated freely."""

    @property
    def protocol(self) -> str: ...
    @property
    def kind(self) -> str:
        """Of its request, on metrics: rar, asr, coa, disconnect."""

    @property
    def actions(self) -> Collection[NetworkAction]:
        """What it does. Of the softer two (reauthorize, change) and the harder two (abort, disconnect) a protocol has
        one each; a row of services may name either."""

    @property
    def ends(self) -> bool: ...
    @property
    def fallback(self) -> NetworkAction | None:
        """What is done where the client refuses it, or agrees and nothing comes of it."""

    async def send(self, account: Account, session: Session, cause: Cause) -> RequestReceipt:
        """Send it once and wait for what becomes of it, a bounded time. Raises what the client of Redis raises."""

    def judged(self, receipt: RequestReceipt, session: Session) -> JobEvent:
        """ACCEPTED, UNDELIVERED (it may be otherwise the next time), REFUSED, or GONE: the session's own host does not
        know it."""


class Executors:
    """All that there are."""

    def __init__(self, known: Iterable[Executor]) -> None:
        self._known = {(one.protocol, action): one for one in known for action in one.actions}

    def of(self, session: Session, action: NetworkAction) -> Executor | None:
        """None: the protocol of this session has no such action."""
        return self._known.get((protocol_of(session), action))


def protocol_of(session: Session) -> str:
    if session.peer.startswith(HTTP_CLIENT):
        return HTTP
    return RADIUS if is_radius(session.peer) else DIAMETER
