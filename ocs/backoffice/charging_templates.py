"""Templates of what platforms ask, and a request that is served by one until its answer is there.

`find` says what the store is to be asked, or nothing, and then nothing has happened. What becomes of a request that is
served so is what becomes of any (charging.py): admission, metrics, and the general way for a reply that the template
has no answer for, from that reply on.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from balances.structs.charge import Outcome, Phase, Reply
from ocs.charging.handle import ChargingContext, Sent, handle, keys_of
from ocs.charging.http.messages import ChargingMessage, ChargingReply
from ocs.charging.http.template import BodyLayout, ChargingForm, PlatformTemplate, ReplyTemplate, cut, learn
from ocs.charging.http.translate import PlatformCall
from ocs.charging.request import Busy, ChargingAnswer, ChargingRequest
from ocs.charging.request_template import LearntPrice, Lessons, SaidBefore, Unlike, Values, is_usual
from ocs.charging.settings import ChargingSettings
from ocs.net.admission import Admission
from ocs.net.step import Stepped

LAYOUTS_MAX: Final = 4_096
BODY_MAX: Final = 8_192
"""Octets; what says more is rare, and not looked at here."""

_outcome: Final = msgspec.msgpack.Decoder(Outcome).decode


class PreparedCharge(NamedTuple):
    """What the store is to be asked for a request, by which template."""

    form: ChargingForm
    call: PlatformCall
    body: bytes
    template: PlatformTemplate
    values: Values
    sent: Sent
    priced: LearntPrice[ReplyTemplate]


class PlatformTemplates:
    """At most `most`, those that served last; one takes about 6 kB. 0: nothing is learnt."""

    def __init__(self, most: int = 0) -> None:
        self.most, self.served = most, 0
        self._said = SaidBefore(most)
        self._layouts: dict[tuple[object, ...], BodyLayout] = {}
        self._kept: OrderedDict[tuple[object, ...], PlatformTemplate] = OrderedDict()
        """By layout, caller, and what else has to be the same."""
        self._lessons = Lessons()

    def __len__(self) -> int:
        return len(self._kept)

    def find(
        self,
        form: ChargingForm,
        call: PlatformCall,
        body: bytes,
        context: ChargingContext,
        now_ms: int,
        is_wanted: Callable[[tuple[str, ...], str], bool] | None = None,
    ) -> PreparedCharge | None:
        """None: it has to be served the general way.

        is_wanted:  whether somebody wants to see what is about these identities and this session
        """
        if len(body) > BODY_MAX:
            return None
        fixed, said = cut(body)
        layout = self._layouts.get((form.name, *fixed))
        if layout is None:
            return None
        key = layout, call.caller, layout.constants(said)
        template = self._kept.get(key)
        if template is None:
            return None
        values = template.request.values(said, call)
        if values is None:
            return None
        octets, reading = tuple([said[place] for place in layout.about]), template.request.context
        about = self._said.find(reading, octets)
        if about is None:
            about = layout.read(body, context.settings.services, call)
            if about is None:
                return None
            self._said.keep(reading, octets, about)
        if is_wanted is not None and is_wanted(about.identities, template.session(values)):
            return None
        made = template.sent(values, about, context, now_ms)
        if made is None:
            return None
        self._kept.move_to_end(key)
        return PreparedCharge(form, call, body, template, values, *made)

    def serves(self) -> None:
        """What was found is sent."""
        self._lessons.served()
        self.served += 1

    def learn(
        self,
        form: ChargingForm,
        call: PlatformCall,
        octets: bytes,
        body: ChargingMessage,
        request: ChargingRequest,
        sent: Sent,
        outcome: Outcome,
        reply: ChargingReply,
        settings: ChargingSettings,
    ) -> None:
        """Of a request that was served the general way, by one call with nothing unusual about it."""
        if len(octets) > BODY_MAX or not is_usual(request, sent, outcome, settings) or not self._lessons.may_learn():
            return
        fixed, said = cut(octets)
        layout = self._layouts.get((form.name, *fixed))
        try:
            layout = layout or BodyLayout(form, octets)
        except Unlike:
            return
        template = learn(layout, body, request, sent, outcome, reply, settings)
        if template is None:
            return
        self._layouts[(form.name, *fixed)] = layout
        if len(self._layouts) > LAYOUTS_MAX:
            del self._layouts[next(iter(self._layouts))]
        known = self._kept.setdefault((layout, call.caller, layout.constants(said)), template)
        if known is not template:
            known.take_over(template)
        elif len(self._kept) > self.most:
            self._kept.popitem(last=False)


class TemplateDesk(Protocol):
    """What serving by templates asks of whom it is done for (`charging.ChargingDesk`)."""

    context: ChargingContext
    admission: Admission
    templates: PlatformTemplates

    def count_granted(self, charge: PreparedCharge) -> None: ...
    def judged(self, request: ChargingRequest, answer: ChargingAnswer | Busy | None) -> ChargingAnswer: ...


class PlatformExchange(Protocol):
    """Who waits for it. One of these is called, once."""

    def answered(self, octets: bytes) -> None:
        """Decided, and nothing about it is unusual."""

    def decided(self, body: ChargingMessage, request: ChargingRequest, answer: ChargingAnswer) -> None: ...

    def failed(self, why: Exception) -> None: ...


class TemplateCharge:
    """One request served by a template, until its answer is there."""

    __slots__ = ("_charge", "_exchange", "_owner", "_report")

    def __init__(self, owner: TemplateDesk, charge: PreparedCharge, exchange: PlatformExchange) -> None:
        self._owner, self._charge, self._exchange = owner, charge, exchange
        self._report = charge.form.phase is not Phase.START
        owner.admission.take(self._report)
        owner.templates.serves()
        sent = charge.sent
        try:
            asking = owner.context.store.charge(sent.charge, sent.packed_inputs, keys_of(sent.charge.account))
            sent.reply = asking
        except Exception as bug:
            self._failed(bug)
        else:
            asking.then(self)

    def __call__(self, reply: Reply | None, error: BaseException | None) -> None:
        charge, octets = self._charge, None
        try:
            if error is None and reply is not None and reply.status == "ok" and not reply.marks:
                octets = charge.template.answer(charge.values, charge.priced, _outcome(reply.outcome))
            if octets is None:
                self._go_on()
                return
            facts, sent = self._owner.context.facts, charge.sent
            if charge.form.phase is Phase.STOP:
                facts.forget(sent.charge.session)
            else:
                facts.keep(sent.charge.session, sent.facts)
            self._owner.count_granted(charge)
        except Exception as bug:
            self._failed(bug)
            return
        self._owner.admission.off(self._report)
        self._exchange.answered(octets)

    def _go_on(self) -> None:
        """Continue the general way from the reply of the store."""
        form, context, charge = self._charge.form, self._owner.context, self._charge
        body = msgspec.json.decode(charge.body, type=form.body)
        request = form.to_request(body, charge.call, context.settings.services)
        handled = handle(request, context, charge.sent.charge.now_ms, sent=charge.sent)
        _GoesOn(self._owner, self._report, body, request, self._exchange, handled)

    def _failed(self, bug: Exception) -> None:
        owner, charge = self._owner, self._charge.sent.charge
        if not self._report:
            owner.context.store.not_opened(charge.account, charge.session, charge.subscriber)
        owner.admission.off(self._report)
        self._exchange.failed(bug)


class _GoesOn(Stepped[ChargingAnswer | Busy | None]):
    __slots__ = ("_body", "_exchange", "_owner", "_report", "_request")

    def __init__(
        self,
        owner: TemplateDesk,
        report: bool,
        body: ChargingMessage,
        request: ChargingRequest,
        exchange: PlatformExchange,
        handled: Any,
    ) -> None:
        self._owner, self._report, self._body, self._request = owner, report, body, request
        self._exchange = exchange
        super().__init__(handled)

    def done(self, result: ChargingAnswer | Busy | None) -> None:
        self._owner.admission.off(self._report)
        try:
            answer = self._owner.judged(self._request, result)
        except Exception as why:
            self._exchange.failed(why)
        else:
            self._exchange.decided(self._body, self._request, answer)

    def failed(self, error: Exception) -> None:
        self._owner.admission.off(self._report)
        self._exchange.failed(error)
