"""Disconnect-Request: the NAS ends the session, and reports what was used in its Stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from balances.structs.account import Account
from balances.structs.session import Session
from ocs.charging.radius.vendor_profile import VendorProfile
from ocs.enforcement.executors.executor import RADIUS
from ocs.enforcement.executors.radius_answers import AskNas, NasRoute, judged, names_of, receipt_of
from ocs.enforcement.job import Cause, NetworkAction
from ocs.enforcement.machine import JobEvent
from ocs.enforcement.session_requests import NO_ROUTE, RequestReceipt
from protocol.radius.codes import PacketCode

CANNOT: Final = "this client takes no Disconnect: the session ends by its Session-Timeout"
UNNAMED: Final = "the client said nothing by which it would know the session"


class DisconnectExecutor:
    """
    ask:     sends a request to a NAS and waits for what it says
    routes:  the NAS of a session, and how its maker spells things; None: it is not configured any more
    """

    protocol = RADIUS
    kind = "disconnect"
    actions = frozenset({NetworkAction.ABORT, NetworkAction.DISCONNECT})
    ends = True
    fallback: NetworkAction | None = None

    def __init__(self, ask: AskNas, routes: Callable[[Session], tuple[NasRoute, VendorProfile] | None]) -> None:
        self._ask, self._routes = ask, routes

    async def send(self, account: Account, session: Session, cause: Cause) -> RequestReceipt:
        found = self._routes(session)
        if found is None:
            return RequestReceipt("", NO_ROUTE)
        route, vendor = found
        names = names_of(session)
        if not vendor.can_disconnect or not names:
            return RequestReceipt("", CANNOT if names else UNNAMED)
        body = names + vendor.sends("disconnect", {})
        return receipt_of(await self._ask(PacketCode.DISCONNECT_REQUEST, body, *route), route)

    def judged(self, receipt: RequestReceipt, session: Session) -> JobEvent:
        return judged(receipt)
