"""Where platforms charge over HTTP: a request goes the way that Diameter's and RADIUS's go, from the waist to the store
and back, under the same admission."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgspec

from balances.structs.charge import Flag, Outcome, Phase
from ocs.backoffice.charging_templates import PlatformTemplates, PreparedCharge
from ocs.backoffice.errors import Conflict, FateUnknown, KeyReused, Unavailable
from ocs.charging.decide import session_key
from ocs.charging.handle import ChargingContext, Sent, handle
from ocs.charging.http.messages import ChargingMessage, ChargingReply
from ocs.charging.http.template import ChargingForm
from ocs.charging.http.translate import PlatformCall, word
from ocs.charging.request import Busy, ChargingAnswer, ChargingRequest
from ocs.charging.services import Services
from ocs.clock import monotonic_us
from ocs.net.admission import Admission
from ocs.net.step import stepped
from ocs.telemetry import metrics
from ocs.telemetry.log import logger
from ocs.telemetry.metrics import Meter
from ocs.tracing.traced_request import TracedRequest
from ocs.tracing.tracer import NOBODY, Tracer

PROTOCOL: Final = "http"
Plain = list[tuple[Sent, Outcome]]


class ChargingDesk:
    def __init__(
        self,
        context: ChargingContext,
        admission: Admission,
        now_ms: Callable[[], int],
        meter: Meter,
        why_not: Callable[[], str] = lambda: "",
        tracer: Tracer = NOBODY,
        templates: PlatformTemplates | None = None,
    ) -> None:
        """why_not: why nothing can be charged by this process now; "" when it can"""
        self._tracer = tracer
        self.templates = PlatformTemplates() if templates is None else templates
        self.context, self.admission, self._now_ms, self._why_not = context, admission, now_ms, why_not
        self._lines, self._finals = meter.counts(metrics.LINES), meter.counts(metrics.FINAL_UNITS)
        meter.read(metrics.IN_FLIGHT, PROTOCOL, by=lambda: admission.in_flight)
        meter.read(metrics.ADMISSION, PROTOCOL, by=lambda: admission.limit.now)
        meter.read(metrics.BY_TEMPLATE, PROTOCOL, by=lambda: self.templates.served)

    @property
    def services(self) -> Services:
        return self.context.settings.services

    def traced(self, request: ChargingRequest, body: Any, address: str, heard_us: int) -> TracedRequest | None:
        """Where somebody wants to see it; None: nobody does.

        body:      what the platform said
        address:   where it came from
        heard_us:  when it came, on the running clock
        """
        if not self._tracer.watched:
            return None
        octets, caller = msgspec.json.encode(body), request.origin.client
        about = request.identities, session_key(request, self.context.settings)
        found = self._tracer.wanting(octets + request.key.session.encode(), _names(caller, address), lambda: about)
        if not found:
            return None
        trace = self._tracer.request(found, PROTOCOL, caller, ("", 0), (address, 0), heard_us)
        trace.received(octets)
        trace.understood(*about)
        return trace

    async def charge(
        self, request: ChargingRequest, trace: TracedRequest | None = None, plain: Plain | None = None
    ) -> ChargingAnswer:
        """Charge it, once. Raises Unavailable (nothing was done), FateUnknown (the same again is safe), KeyReused.

        trace:  gets what was asked of the store
        plain:  gets that and its outcome where a template can be learnt from it
        """
        if why := self._why_not():
            raise Unavailable(f"{why}; nothing was charged: try again")
        admission, report = self.admission, request.settles()
        admission.step(monotonic_us())
        urgent_only = not admission.admits(report, 0)
        if urgent_only and report:
            raise Unavailable("too much is outstanding; try again")
        admission.take(report)
        context = self.context if trace is None else trace.context(self.context)
        try:
            answer = await stepped(handle(request, context, self._now_ms(), urgent_only=urgent_only, plain=plain))
        finally:
            admission.off(report)
        return self.judged(request, answer)

    def judged(self, request: ChargingRequest, answer: ChargingAnswer | Busy | None) -> ChargingAnswer:
        """The answer, counted. Raises what `charge` raises where it is none."""
        if answer is None:
            raise FateUnknown("the live store did not answer: it may have been charged, or not")
        if isinstance(answer, Busy):
            raise Unavailable(f"{answer.reason}; nothing was charged: try again")
        if answer.marks & Flag.CONFLICT:
            raise KeyReused if request.key.message else Conflict("this number came with another report: use the next")
        self._count(request.inputs.service, answer)
        return answer

    @property
    def is_watched(self) -> bool:
        """Somebody traces requests."""
        return bool(self._tracer.watched)

    def prepared(self, form: ChargingForm, call: PlatformCall, body: bytes, address: str) -> PreparedCharge | None:
        """What `TemplateCharge` serves by a template; None: `charge` has to say what becomes of it, and nothing has
        happened."""
        if self._why_not():
            return None
        admission = self.admission
        admission.step(monotonic_us())
        if not admission.admits(form.phase is not Phase.START, 0):
            return None
        wanted = partial(self._is_wanted, call, body, address) if self._tracer.watched else None
        return self.templates.find(form, call, body, self.context, self._now_ms(), wanted)

    def _is_wanted(
        self, call: PlatformCall, body: bytes, address: str, identities: tuple[str, ...], session: str
    ) -> bool:
        """Whether somebody wants to see it: the general way shows it."""
        octets = b" ".join((body, session.encode(), *map(str.encode, identities)))
        return bool(self._tracer.wanting(octets, _names(call.client, address), lambda: (identities, session)))

    def learn(
        self,
        form: ChargingForm,
        call: PlatformCall,
        octets: bytes,
        body: ChargingMessage,
        request: ChargingRequest,
        plain: Plain,
        reply: ChargingReply,
    ) -> None:
        """Of a request that `charge` served. It is answered in any case: a fault of ours is nothing to its platform."""
        if not plain or not self.templates.most:
            return
        try:
            self.templates.learn(form, call, octets, body, request, *plain[0], reply, self.context.settings)
        except Exception:
            logger().exception("charging.not_learnt", operation=form.name)

    def count_granted(self, charge: PreparedCharge) -> None:
        """`_count`, of a request that was granted or settled in all its lines and is remarkable in nothing."""
        result = "no-grant" if charge.form.phase is Phase.STOP else "ok"
        self._lines[PROTOCOL, charge.template.service.name, result] += len(charge.sent.charge.asks)

    def _count(self, service: str, answer: ChargingAnswer) -> None:
        service = service if service in self.services.by_name else "none"
        for line in answer.lines:
            self._lines[PROTOCOL, service, word(line.result)] += 1
            if line.final is not None:
                self._finals[PROTOCOL, service, line.final.action.name.lower()] += 1


def _names(client: str, address: str) -> tuple[str, ...]:
    """What a platform is called by those who want to see what it asks."""
    return client, client.removeprefix(f"{PROTOCOL}:"), address
