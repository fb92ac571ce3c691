"""Where platforms charge over HTTP: a request goes the way that Diameter's and RADIUS's go, from the waist to the store
and back, under the same admission."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from balances.structs.charge import Flag
from ocs.backoffice.errors import Conflict, FateUnknown, KeyReused, Unavailable
from ocs.charging.decide import session_key
from ocs.charging.handle import ChargingContext, handle
from ocs.charging.http.translate import word
from ocs.charging.request import Busy, ChargingAnswer, ChargingRequest
from ocs.charging.services import Services
from ocs.clock import monotonic_us
from ocs.net.admission import Admission
from ocs.net.step import stepped
from ocs.telemetry import metrics
from ocs.telemetry.metrics import Meter
from ocs.tracing.traced_request import TracedRequest
from ocs.tracing.tracer import NOBODY, Tracer

PROTOCOL: Final = "http"


class ChargingDesk:
    def __init__(
        self,
        context: ChargingContext,
        admission: Admission,
        now_ms: Callable[[], int],
        meter: Meter,
        why_not: Callable[[], str] = lambda: "",
        tracer: Tracer = NOBODY,
    ) -> None:
        """why_not: why nothing can be charged by this process now; "" when it can"""
        self._tracer = tracer
        self._context, self._admission, self._now_ms, self._why_not = context, admission, now_ms, why_not
        self._lines, self._finals = meter.counts(metrics.LINES), meter.counts(metrics.FINAL_UNITS)
        meter.read(metrics.IN_FLIGHT, PROTOCOL, by=lambda: admission.in_flight)
        meter.read(metrics.ADMISSION, PROTOCOL, by=lambda: admission.limit.now)

    @property
    def services(self) -> Services:
        return self._context.settings.services

    def traced(self, request: ChargingRequest, body: Any, address: str, heard_us: int) -> TracedRequest | None:
        """Where somebody wants to see it; None: nobody does.

        body:      what the platform said
        address:   where it came from
        heard_us:  when it came, on the running clock
        """
        if not self._tracer.watched:
            return None
        octets, caller = msgspec.json.encode(body), request.origin.client
        about = request.identities, session_key(request, self._context.settings)
        names = (caller, caller.removeprefix(f"{PROTOCOL}:"), address)
        found = self._tracer.wanting(octets + request.key.session.encode(), names, lambda: about)
        if not found:
            return None
        trace = self._tracer.request(found, PROTOCOL, caller, ("", 0), (address, 0), heard_us)
        trace.received(octets)
        trace.understood(*about)
        return trace

    async def charge(self, request: ChargingRequest, trace: TracedRequest | None = None) -> ChargingAnswer:
        """Charge it, once. Raises Unavailable (nothing was done), FateUnknown (the same again is safe), KeyReused.

        trace:  gets what was asked of the store
        """
        if why := self._why_not():
            raise Unavailable(f"{why}; nothing was charged: try again")
        admission, report = self._admission, request.settles()
        admission.step(monotonic_us())
        urgent_only = not admission.admits(report, 0)
        if urgent_only and report:
            raise Unavailable("too much is outstanding; try again")
        admission.take(report)
        context = self._context if trace is None else trace.context(self._context)
        try:
            answer = await stepped(handle(request, context, self._now_ms(), urgent_only=urgent_only))
        finally:
            admission.off(report)
        if answer is None:
            raise FateUnknown("the live store did not answer: it may have been charged, or not")
        if isinstance(answer, Busy):
            raise Unavailable(f"{answer.reason}; nothing was charged: try again")
        if answer.marks & Flag.CONFLICT:
            raise KeyReused if request.key.message else Conflict("this number came with another report: use the next")
        self._count(request.inputs.service, answer)
        return answer

    def _count(self, service: str, answer: ChargingAnswer) -> None:
        service = service if service in self.services.by_name else "none"
        for line in answer.lines:
            self._lines[PROTOCOL, service, word(line.result)] += 1
            if line.final is not None:
                self._finals[PROTOCOL, service, line.final.action.name.lower()] += 1
