"""What is charged over HTTP has no connection of its own: its platform is told by an event, which webhooks and streams
deliver (docs/http-charging.md).

An event may arrive late, so a platform does what the answer to its next update says: one that is told to end a session
which was topped up since gets a grant and goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from balances.structs.account import Account
from balances.structs.session import Session
from ocs.enforcement.executors.executor import HTTP
from ocs.enforcement.job import Cause, NetworkAction
from ocs.enforcement.machine import JobEvent
from ocs.enforcement.session_requests import RequestReceipt
from ocs.events.outbox import emit
from ocs.events.types import SessionAsked

EMITTED = "emitted"


class NoticeExecutor:
    """
    asked:     `report` or `end`
    fallback:  what is done where nothing comes of it
    """

    protocol = HTTP

    def __init__(
        self,
        pool: Any,
        now_ms: Callable[[], int],
        asked: Literal["report", "end"],
        fallback: NetworkAction | None = None,
    ) -> None:
        self._pool, self._now_ms, self._asked, self.fallback = pool, now_ms, asked, fallback
        self.kind, self.ends = f"event-{asked}", asked == "end"
        soft, hard = (NetworkAction.REAUTHORIZE, NetworkAction.CHANGE), (NetworkAction.ABORT, NetworkAction.DISCONNECT)
        self.actions = frozenset(hard if self.ends else soft)

    async def send(self, account: Account, session: Session, cause: Cause) -> RequestReceipt:
        now_ms = self._now_ms()
        told = SessionAsked(
            session.id, session.peer, account.id, session.subscriber, session.service, self._asked, str(cause)
        )
        async with self._pool.acquire() as pg, pg.transaction():
            await emit(
                pg,
                "session.asked",
                told,
                at_ms=now_ms,
                key=f"{session.id}/{session.incarnation}/{now_ms}",
                subject=session.id,
                account=account.id,
                service=session.service,
            )
        return RequestReceipt("", EMITTED, session.peer)

    def judged(self, receipt: RequestReceipt, session: Session) -> JobEvent:
        return JobEvent.ACCEPTED
