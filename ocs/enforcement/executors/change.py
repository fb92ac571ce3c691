"""CoA: the session goes on otherwise. What it is told is how things are when it is sent: the walled garden while its
account is suspended or has no money, else the speed of its grade now. So the same request undoes what an earlier one
did. Where money ends for a service inside the session and not for the rest of it, that service ends, and nothing else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from copy import deepcopy
from typing import Final

from balances.structs.account import REFUSING, Account, SuspendReasons
from balances.structs.session import Session, waits_for_money
from ocs.charging.radius.affordable import ENDLESS, Affordable
from ocs.charging.radius.delivery import out_of_the_garden, served, walled_garden
from ocs.charging.radius.own_attributes import GRADE, own_seconds, told_of
from ocs.charging.radius.vendor_profile import VendorProfile
from ocs.charging.services import UNKNOWN, Service
from ocs.enforcement.executors.disconnect import UNNAMED
from ocs.enforcement.executors.executor import RADIUS
from ocs.enforcement.executors.radius_answers import AskNas, NasRoute, judged, names_of, receipt_of
from ocs.enforcement.job import RESTRICTIVE, Cause, NetworkAction
from ocs.enforcement.machine import JobEvent
from ocs.enforcement.session_ends import left_of, over_the_session
from ocs.enforcement.session_requests import NO_ROUTE, RequestReceipt
from protocol.radius.codes import PacketCode

CANNOT: Final = "this client takes no CoA"
UNCHANGED: Final = "there is nothing to change"
NO_GARDEN: Final = "the service has no walled garden, or this client no attribute for it"


class ChangeExecutor:
    """
    ask, routes:  as of DisconnectExecutor
    services:     rows by name
    grade:        of a session, now (SessionGrades.now)
    fallback:     what is done where the session cannot be changed
    inside:       rating groups of the services that the client of a session reports by themselves, by name
    hours_left:   seconds until the subscriber of a session may not be logged in any more; None: no such end
    subscriber:   what the subscriber of a session has of its own
    """

    protocol = RADIUS
    kind = "coa"
    actions = frozenset({NetworkAction.REAUTHORIZE, NetworkAction.CHANGE})
    ends = True

    def __init__(
        self,
        ask: AskNas,
        routes: Callable[[Session], tuple[NasRoute, VendorProfile] | None],
        services: Mapping[str, Service],
        grade: Callable[[Account, Session], Awaitable[str]],
        fallback: NetworkAction | None = None,
        *,
        inside: Callable[[Session], Mapping[str, int]] = lambda _session: {},
        hours_left: Callable[[Session], Awaitable[int | None]],
        subscriber: Callable[[Session], Awaitable[Mapping[str, str]]],
        now_ms: Callable[[], int],
    ) -> None:
        self._ask, self._routes, self._services, self.fallback = ask, routes, services, fallback
        self._grade, self._inside, self._hours_left, self._now_ms = grade, inside, hours_left, now_ms
        self._subscriber = subscriber

    async def send(self, account: Account, session: Session, cause: Cause) -> RequestReceipt:
        found = self._routes(session)
        if found is None:
            return RequestReceipt("", NO_ROUTE)
        route, vendor = found
        names = names_of(session)
        if not vendor.can_change or not names:
            return RequestReceipt("", CANNOT if names else UNNAMED)
        short = is_short(account, session.service)
        restricts = short or cause in RESTRICTIVE
        body = self._service_ends(session, vendor) if cause is Cause.DEPLETED and not short else b""
        if not body:
            body = self._garden(session, vendor) if restricts else await self._served(account, session, vendor)
        if not body:
            return RequestReceipt("", NO_GARDEN if restricts else UNCHANGED)
        return receipt_of(await self._ask(PacketCode.COA_REQUEST, names + body, *route), route)

    def _service_ends(self, session: Session, vendor: VendorProfile) -> bytes:
        """What ends a service that waits for money, one at a time, where nothing but services does; nothing where the
        rest of the session does too, or where this client has no words for it."""
        names = {group: name for name, group in self._inside(session).items()}
        waiting = [names.get(line.rating_group, "") for line in session.lines if waits_for_money(line)]
        if not vendor.knows("service_ended") or not waiting or not all(waiting):
            return b""
        return vendor.sends("service_ended", {"service": waiting[0]}) + vendor.sends("change", {})

    def _garden(self, session: Session, vendor: VendorProfile) -> bytes:
        garden = walled_garden(vendor, self._services.get(session.service, UNKNOWN).final)
        return garden and garden + vendor.sends("change", {})

    async def _served(self, account: Account, session: Session, vendor: VendorProfile) -> bytes:
        service, own = self._services.get(session.service, UNKNOWN), await self._subscriber(session)
        grade = await self._grade(account, session) or own.get(GRADE, "")
        left = await self._left(account, session, own) if vendor.can_extend else ENDLESS
        if not vendor.limits_restart:
            left = over_the_session(left, session, self._now_ms())
        body = out_of_the_garden(vendor, service, grade) + served(vendor, service, grade, left)
        body += told_of(vendor, own, body, "subscriber")
        return body and body + vendor.sends("change", {})

    async def _left(self, account: Account, session: Session, own: Mapping[str, str]) -> Affordable:
        now_ms, lasts_s = self._now_ms(), own_seconds(own)
        left = left_of(deepcopy(account), deepcopy(session), self._services, now_ms)
        own_s = None if lasts_s is None else max(lasts_s - (now_ms - session.opened_ms) // 1_000, 0)
        return left.within(await self._hours_left(session)).within(own_s)

    def judged(self, receipt: RequestReceipt, session: Session) -> JobEvent:
        return JobEvent.ACCEPTED if receipt.result == UNCHANGED else judged(receipt)


def is_short(account: Account, service: str) -> bool:
    """Whether its account, or this service of it, is suspended for want of money, or for any other reason."""
    if account.state & REFUSING:
        return True
    own = next((one for one in account.services if one.service == service), None)
    return bool(account.state & SuspendReasons.CREDIT if own is None else own.suspended_ms)
