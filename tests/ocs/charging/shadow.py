"""Templates beside every request of these tests: what a template would have asked the store and answered is compared
with what the general way did, octet for octet."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from balances.structs.charge import Charge, Outcome
from ocs.charging.diameter.said import SaidInCcrs
from ocs.charging.diameter.template import CcaTemplate, CreditControlTemplate, learn
from ocs.charging.diameter.translate import to_cca
from ocs.charging.handle import ChargingContext, Sent
from ocs.charging.request import Busy, ChargingAnswer, ChargingRequest
from ocs.charging.request_template import LearntPrice, Values, is_usual
from protocol.diameter.dictionary.credit_control import CreditControlRequest
from protocol.diameter.walk import NOBODY
from tests.ocs.charging.wire import LOCAL

Plain = list[tuple[Sent, Outcome]]


class Filled(NamedTuple):
    template: CreditControlTemplate
    values: Values
    sent: Sent
    priced: LearntPrice[CcaTemplate]


class Shadow:
    """Templates of all that was learnt, without bound; `used` counts the requests they would have served."""

    def __init__(self, context: ChargingContext) -> None:
        self._context = context
        self._templates: dict[str, list[CreditControlTemplate]] = {}
        self._said = SaidInCcrs(10_000)
        self.used = self.answered = self.learnt = 0

    def before(self, asked: CreditControlRequest, via: str, now_ms: int) -> Filled | None:
        frame = asked.frame
        for template in self._templates.get(via, ()):
            layout = template.request.layout
            if len(frame) != layout.size:
                continue
            pieces = layout.cut(frame)
            if pieces[::2] != template.request.fixed:
                continue
            values = template.request.values(pieces)
            if values is None:
                continue
            about = tuple(values[place] for place in template.request.about)
            said = self._said.find(template.context, about) or self._said.read(
                template.context, about, template.request.regions, frame, NOBODY, self._context.settings
            )
            made = template.sent(values, said, self._context, now_ms) if said is not None else None
            if made is not None:
                return Filled(template, values, *made)
        return None

    def after(
        self,
        asked: CreditControlRequest,
        via: str,
        request: ChargingRequest,
        plain: Plain,
        answer: ChargingAnswer | Busy | None,
        charged: list[Charge],
        filled: Filled | None,
    ) -> None:
        if filled is not None and charged:
            self.used += 1
            pack = msgspec.msgpack.encode
            assert msgspec.msgpack.decode(pack(filled.sent.charge), type=Charge) == charged[0]
            assert pack(filled.sent.charge) == pack(charged[0])
        if not plain or not isinstance(answer, ChargingAnswer):
            return
        sent, outcome = plain[0]
        octets = to_cca(asked, answer, LOCAL, self._context.settings.services).answer(asked)
        if filled is not None:
            made = filled.sent
            assert made.packed_inputs == sent.packed_inputs
            assert (made.profile, made.quote, made.inputs) == (sent.profile, sent.quote, sent.inputs)
            assert (made.told, made.facts) == (sent.told, sent.facts)
            written = filled.template.answer(filled.values, filled.priced, outcome)
            if written is not None and not answer.marks:
                self.answered += 1
                assert written == octets
        if answer.marks or not is_usual(request, sent, outcome, self._context.settings):
            return
        learnt = learn(asked.frame, request, sent, outcome, octets, self._context.settings, NOBODY)
        if learnt is not None:
            self.learnt += 1
            self._templates.setdefault(via, []).insert(0, learnt)
