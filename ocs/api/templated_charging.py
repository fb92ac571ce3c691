"""Charging requests that are like others before them, from their head to their answer without ASGI.

What is asked of any request is asked of these too, of the same objects: who it is, what that one may do, how many
requests a second, how many at once, what the operation takes (server.py, operation.py). Where the answer is not at hand
or not yes, and wherever something about the request is unusual, the application is given the request, and says so.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from http import HTTPStatus
from typing import Final, NamedTuple

from starlette.responses import Response

from balances.structs.charge import Phase
from ocs.access.rates import RequestRates
from ocs.access.roles import Authority
from ocs.api.auth import Callers
from ocs.api.http_connection import HttpExchange, RequestsUnderWay
from ocs.api.operation import CURL, ID, KEY, response_of
from ocs.api.refusals import problem_with, refused
from ocs.api.routes_charging import OPERATIONS, replied
from ocs.backoffice.charging import ChargingDesk
from ocs.backoffice.charging_templates import PreparedCharge, TemplateCharge
from ocs.charging.http import translate
from ocs.charging.http.messages import ChargingMessage
from ocs.charging.http.template import FORMS, ChargingForm
from ocs.charging.http.translate import PlatformCall
from ocs.charging.request import ChargingAnswer, ChargingRequest
from ocs.clock import monotonic_us
from ocs.config.http import Http
from ocs.telemetry.log import logger
from ocs.telemetry.metrics import REQUEST_TIME, REQUESTS, Meter

START_PATH: Final = "/v1/charging/sessions"
TARGET: Final = re.compile(f"{START_PATH}(?:/({ID.pattern})/(update|stop))?".encode())
START: Final = FORMS[Phase.START]
FORM_OF: Final = {None: START, b"update": FORMS[Phase.UPDATE], b"stop": FORMS[Phase.STOP]}
"""By the end of the path."""
BY_NAME: Final = {operation.name: operation for operation in OPERATIONS}
"""Operations, as the application has them."""
UNUSUAL: Final = frozenset((b"transfer-encoding", b"expect", b"upgrade", b"if-match", b"if-none-match"))
MEDIA_TYPES: Final = frozenset(
    (
        *(b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8"),
        *(b"application/json; charset=UTF-8", CURL.encode(), b""),
    )
)
"""As clients mostly write what the application takes for JSON."""


class ChargingHead(NamedTuple):
    """What the head of such a request says."""

    form: ChargingForm
    session: str
    """Id in its path."""
    key: str
    """Idempotency-Key of a start."""
    authority: Authority
    """Of who asks."""
    began_us: int


class TemplatedCharging:
    """
    tags:       keys that charging tags may have
    under_way:  requests that are being served, whichever way
    """

    def __init__(
        self,
        desk: ChargingDesk,
        tags: Collection[str],
        callers: Callers,
        http: Http,
        rates: RequestRates,
        meter: Meter,
        under_way: RequestsUnderWay,
    ) -> None:
        self.desk, self.under_way = desk, under_way
        self._tags, self._callers, self._http, self._rates = tags, callers, http, rates
        self._requests = meter.counts(REQUESTS)
        self._times = {name: meter.histogram(REQUEST_TIME, "http", name) for name in BY_NAME}

    def takes(
        self, method: bytes, target: bytes, headers: list[tuple[bytes, bytes]], certified: Collection[str]
    ) -> ChargingHead | None:
        found, desk = TARGET.fullmatch(target), self.desk
        if found is None or method != b"POST" or not desk.templates:
            return None
        if desk.is_watched and self._http.proxies:  # it may be watched by the address that only its headers say
            return None
        said = dict(headers)
        if len(said) != len(headers) or not UNUSUAL.isdisjoint(said):
            return None
        length = said.get(b"content-length", b"")
        if not length.isdigit() or int(length) > self._http.body_bytes_max:
            return None
        if said.get(b"content-type", b"") not in MEDIA_TYPES or self.under_way.now >= self._http.in_flight_max:
            return None
        session, what = found.groups()
        form, key = FORM_OF[what], ""
        if form is START:
            key = said.get(b"idempotency-key", b"").decode("latin-1")
            if not KEY.fullmatch(key):
                return None
        authority = self._callers.at_hand(said.get(b"authorization", b"").decode("latin-1"), certified)
        if authority is None or not authority.may(BY_NAME[form.name].permission):
            return None
        return ChargingHead(form, "" if session is None else session.decode(), key, authority, monotonic_us())

    def serves(self, head: ChargingHead, body: bytes, exchange: HttpExchange) -> bool:
        authority = head.authority
        call = PlatformCall(authority.caller, head.key, head.session, self._tags)
        charge = self.desk.prepared(head.form, call, body, exchange.address)
        if charge is None:
            return False
        rate = authority.rate(self._http.rate_max)
        if rate and self._rates.wait_s(authority.caller, rate, monotonic_us() / 1e6):
            return False
        TemplateCharge(self.desk, charge, AnsweredExchange(self, head, exchange, charge))
        return True

    def gone(self, head: ChargingHead) -> None:
        self.count(head, HTTPStatus.BAD_REQUEST)

    def count(self, head: ChargingHead, status: int) -> None:
        self._requests["http", head.form.name, "POST", str(int(status))] += 1
        self._times[head.form.name].add(monotonic_us() - head.began_us)


class AnsweredExchange:
    """Who waits for a charge: writes its answer in the exchange of its request."""

    __slots__ = ("_charge", "_exchange", "_head", "_owner")

    def __init__(
        self, owner: TemplatedCharging, head: ChargingHead, exchange: HttpExchange, charge: PreparedCharge
    ) -> None:
        self._owner, self._head, self._exchange, self._charge = owner, head, exchange, charge

    def answered(self, octets: bytes) -> None:
        headers = (b"content-length", b"%d" % len(octets)), (b"content-type", b"application/json")
        self._write(self._charge.form.status, headers, octets)

    def decided(self, body: ChargingMessage, request: ChargingRequest, answer: ChargingAnswer) -> None:
        try:
            call = self._charge.call
            reply = translate.reply_of(translate.id_of(body, call), request, answer)
            done = replied(reply, request, answer, self._charge.form.status)
            self._respond(response_of(BY_NAME[self._head.form.name], done))
        except Exception as why:
            self.failed(why)

    def failed(self, why: Exception) -> None:
        head, name = self._head, self._head.form.name
        of_session = f"/{head.session}/{head.form.phase.name.lower()}"
        path = START_PATH if head.form is START else START_PATH + of_session
        self._respond(refused(path, problem_with(why, name)))

    def _respond(self, response: Response) -> None:
        self._write(response.status_code, response.raw_headers, bytes(response.body))

    def _write(self, status: int, headers: Collection[tuple[bytes, bytes]], body: bytes) -> None:
        """It was charged, and whoever called is of the store: nothing may be raised."""
        try:
            self._exchange.answer(status, headers, body)
        except Exception:
            logger().exception("api.failed", operation=self._charge.form.name)
            self._exchange.abort()
        self._owner.count(self._head, status)
