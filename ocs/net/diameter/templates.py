"""CCRs served by a template of their kind, and the templates at hand.

The one way in is `serve`: it serves a request or says that it did not, and then nothing has happened. What becomes of
one that was served is the same as what becomes of any (credit_control.py): admission, metrics, silence when its fate is
unknown. A reply that the template has no answer for is answered the general way, from that reply on.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from balances.structs.charge import Outcome, Phase, Reply
from ocs.charging.diameter.holes import Layout, Pieces
from ocs.charging.diameter.said import SaidInCcrs
from ocs.charging.diameter.template import CcaTemplate, CreditControlTemplate, learn
from ocs.charging.handle import ChargingContext, Sent, keys_of
from ocs.charging.request import ChargingRequest
from ocs.charging.request_template import LearntPrice, Lessons, Values, is_usual
from ocs.charging.settings import ChargingSettings
from ocs.clock import monotonic_us
from ocs.net.diameter.connection import DiameterConnection
from ocs.net.diameter.exchange import Answer, CreditControlExchange, ExchangeOwner, is_late
from ocs.net.diameter.origins import Origins
from protocol.diameter.dictionary.credit_control import CreditControlRequest
from protocol.diameter.walk import Vendors
from protocol.errors import ResultCode

SUCCESS: Final = str(int(ResultCode.SUCCESS))

LAYOUTS_MAX: Final = 8
"""Of requests of one client that have the same length."""
LENGTHS_MAX: Final = 4_096
"""Lengths of requests, by client."""

_outcome: Final = msgspec.msgpack.Decoder(Outcome).decode


class TemplateOwner(ExchangeOwner, Protocol):
    """What serving by templates asks of whom it is done for (`credit_control.CreditControl`)."""

    context: ChargingContext
    origins: Origins
    handle: Callable[..., Coroutine[Any, Any, Answer | None]]
    to_request: Callable[[CreditControlRequest, str, ChargingSettings], ChargingRequest]

    def count_granted(self, link: DiameterConnection, phase: Phase, line: tuple[str, ...], lines: int) -> None: ...


class ClientLength(NamedTuple):
    """Requests that are compared with each other: of one peer, as long as each other, as their Session-Ids are."""

    via: str
    """Origin-Host of the direct peer."""
    ignored: Vendors
    octets: int
    session: bytes
    """Length of the first AVP: Session-Id (RFC 6733 section 8.8). Where it is another one, its template says so."""


class KeptTemplate:
    """A template, and whose requests it serves."""

    __slots__ = ("length", "lines", "recent", "template")

    def __init__(self, template: CreditControlTemplate, length: ClientLength) -> None:
        self.template, self.length = template, length
        self.recent = False
        """It has served since it was last asked whether it does."""
        self.lines = ("diameter", template.service.name, SUCCESS)
        """What each line is counted as."""


class Templates:
    """At most `most`, those that served lately; one takes about 6 kB. 0: nothing is learnt."""

    def __init__(self, most: int = 0) -> None:
        self.most = most
        self.served = 0
        """Requests."""
        self.said = SaidInCcrs(most)
        self._shelves: dict[ClientLength, dict[Layout, dict[Pieces, KeptTemplate]]] = {}
        """By what is compared, layout and fixed octets."""
        self._kept: dict[KeptTemplate, None] = {}
        """In the order in which it is asked whether they are still used."""
        self._lessons = Lessons()

    def __len__(self) -> int:
        return len(self._kept)

    def serve(self, frame: bytes, link: DiameterConnection, service: TemplateOwner) -> bool:
        """Whether the request is served; else it is as if it had not been seen."""
        assert link.peer is not None
        ignored = link.machine.ignored
        shelf = self._shelves.get(ClientLength(link.peer.origin_host, ignored, len(frame), frame[25:28]))
        if shelf is None:
            return False
        for layout, by_fixed in shelf.items():
            pieces: Pieces = layout.cut(frame)
            kept = by_fixed.get(pieces[::2])
            if kept is not None:
                break
        else:
            return False
        template = kept.template
        if template.origin_state and service.origins.heard.get(template.origin_host) != template.origin_state:
            return False
        values = template.request.values(pieces)
        if values is None:
            return False
        context = service.context
        about = tuple([values[place] for place in template.request.about])
        said = self.said.find(template.context, about)
        if said is None:
            said = self.said.read(template.context, about, template.request.regions, frame, ignored, context.settings)
            if said is None:
                return False
        made = template.sent(values, said, context, link.heard_at_ms)
        if made is None:
            return False
        kept.recent = True
        self._lessons.served()
        self.served += 1
        TemplateExchange(service, kept, frame, link, values, *made)
        return True

    def learn(
        self,
        frame: bytes,
        link: DiameterConnection,
        request: ChargingRequest,
        sent: Sent,
        outcome: Outcome,
        answer: bytes,
        settings: ChargingSettings,
    ) -> None:
        """Of a request that was served the general way, by one call with nothing unusual about it."""
        if not is_usual(request, sent, outcome, settings) or not self._lessons.may_learn():
            return
        assert link.peer is not None
        ignored = link.machine.ignored
        template = learn(frame, request, sent, outcome, answer, settings, ignored)
        if template is None:
            return
        self._keep(KeptTemplate(template, ClientLength(link.peer.origin_host, ignored, len(frame), frame[25:28])))

    def _keep(self, kept: KeptTemplate) -> None:
        request = kept.template.request
        shelf = self._shelves.get(kept.length)
        if shelf is None:
            if len(self._shelves) >= LENGTHS_MAX:
                self._forget(*next(iter(self._shelves.values())).values())
            shelf = self._shelves[kept.length] = {}
        if request.layout not in shelf and len(shelf) >= LAYOUTS_MAX:
            self._forget(next(iter(shelf.values())))
            shelf = self._shelves.setdefault(kept.length, shelf)
        known = shelf.setdefault(request.layout, {}).setdefault(request.fixed, kept)
        if known is not kept:
            known.template.take_over(kept.template)
            return
        self._kept[kept] = None
        while len(self._kept) > self.most:
            oldest = next(iter(self._kept))
            if oldest.recent:
                oldest.recent = False
                del self._kept[oldest]
                self._kept[oldest] = None
            else:
                self._forget({oldest.template.request.fixed: oldest})

    def _forget(self, *some: dict[Pieces, KeptTemplate]) -> None:
        for kept in [kept for by_fixed in some for kept in by_fixed.values()]:
            request, shelf = kept.template.request, self._shelves[kept.length]
            del self._kept[kept], shelf[request.layout][request.fixed]
            if not shelf[request.layout]:
                del shelf[request.layout]
            if not shelf:
                del self._shelves[kept.length]


class TemplateExchange:
    """One request served by a template, until its answer is written."""

    __slots__ = ("_frame", "_heard_us", "_kept", "_link", "_priced", "_report", "_sent", "_service", "_values")

    def __init__(
        self,
        service: TemplateOwner,
        kept: KeptTemplate,
        frame: bytes,
        link: DiameterConnection,
        values: Values,
        sent: Sent,
        priced: LearntPrice[CcaTemplate],
    ) -> None:
        self._service, self._kept, self._frame, self._link, self._values = service, kept, frame, link, values
        self._sent, self._priced, self._heard_us = sent, priced, link.heard_us
        self._report = kept.template.phase is not Phase.START
        service.admission.take(self._report)
        link.in_flight += 1
        charge = sent.charge
        try:
            sent.reply = asking = service.context.store.charge(charge, sent.packed_inputs, keys_of(charge.account))
        except Exception as bug:
            self._failed(bug)
        else:
            asking.then(self)

    def __call__(self, reply: Reply | None, error: BaseException | None) -> None:
        answer = None
        try:
            if error is None and reply is not None and reply.status == "ok" and not reply.marks:
                answer = self._kept.template.answer(self._values, self._priced, _outcome(reply.outcome))
            if answer is None:
                self._go_on()
        except Exception as bug:
            self._failed(bug)
        else:
            if answer is not None:
                self._answered(answer)

    def _answered(self, answer: bytes) -> None:
        """What `CreditControlExchange.done` does, without looking at what is known."""
        service, link, kept, sent = self._service, self._link, self._kept, self._sent
        phase = kept.template.phase
        if phase is Phase.STOP:
            service.context.facts.forget(sent.charge.session)
        else:
            service.context.facts.keep(sent.charge.session, sent.facts)
        service.admission.off(self._report)
        if is_late(self._heard_us):
            service.silence("too late")
        else:
            try:
                link.write(answer)
                service.count_granted(link, phase, kept.lines, len(sent.charge.asks))
                service.times.add(monotonic_us() - self._heard_us)
            except Exception as bug:
                service.failed(self._frame, link, bug)
        link.answered()

    def _go_on(self) -> None:
        """Continue the general way from the reply of the store."""
        service, link, sent = self._service, self._link, self._sent
        length = self._kept.length
        ccr = CreditControlRequest.decode(self._frame, length.ignored)
        request = service.to_request(ccr, length.via, service.settings)
        handled = service.handle(request, service.context, sent.charge.now_ms, sent=sent)
        CreditControlExchange(service, link, ccr, request, self._report, handled, heard_us=self._heard_us)

    def _failed(self, bug: Exception) -> None:
        service, charge = self._service, self._sent.charge
        if not self._report:
            service.context.store.not_opened(charge.account, charge.session, charge.subscriber)
        service.admission.off(self._report)
        service.failed(self._frame, self._link, bug)
        self._link.answered()
