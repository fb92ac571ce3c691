"""ASR: the client ends the session, and reports what was used."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from balances.structs.account import Account
from balances.structs.session import Session
from ocs.enforcement.executors.diameter_answers import judged
from ocs.enforcement.executors.executor import DIAMETER
from ocs.enforcement.job import Cause, NetworkAction
from ocs.enforcement.machine import JobEvent
from ocs.enforcement.session_requests import RequestReceipt


class AbortExecutor:
    """ask: sends a session request and waits for its receipt (SessionRequester.ask)"""

    protocol = DIAMETER
    kind = "asr"
    actions = frozenset({NetworkAction.ABORT, NetworkAction.DISCONNECT})
    ends = True

    def __init__(
        self, ask: Callable[[str, Session], Awaitable[RequestReceipt]], fallback: NetworkAction | None = None
    ) -> None:
        self._ask, self.fallback = ask, fallback

    async def send(self, account: Account, session: Session, cause: Cause) -> RequestReceipt:
        return await self._ask(self.kind, session)

    def judged(self, receipt: RequestReceipt, session: Session) -> JobEvent:
        return judged(receipt, session)
