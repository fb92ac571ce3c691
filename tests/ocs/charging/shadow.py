"""Templates beside every request of these tests: what a template would have asked the store and answered is compared
with what the general way did, octet for octet."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from balances.structs.charge import Charge, Outcome
from ocs.charging.diameter.template import SessionTemplate, learn
from ocs.charging.diameter.translate import to_cca
from ocs.charging.handle import ChargingContext, Sent
from ocs.charging.request import Busy, ChargingAnswer, ChargingRequest
from protocol.diameter.dictionary.credit_control import CreditControlRequest
from tests.ocs.charging.wire import LOCAL

Plain = list[tuple[Sent, Outcome]]


class Filled(NamedTuple):
    template: SessionTemplate
    numbers: tuple[int, ...]
    charge: Charge


class Shadow:
    """Templates of all that was learnt, without bound; `used` counts the requests they would have served."""

    def __init__(self, context: ChargingContext) -> None:
        self._context = context
        self._templates: dict[str, list[SessionTemplate]] = {}
        self.used = self.answered = self.learnt = 0

    def before(self, asked: CreditControlRequest, via: str, now_ms: int) -> Filled | None:
        for template in self._templates.get(via, ()):
            numbers = template.request.numbers(asked.frame)
            made = template.charge(numbers, self._context, now_ms) if numbers is not None else None
            if numbers is not None and made is not None:
                return Filled(template, numbers, made[0])
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
            assert msgspec.msgpack.decode(pack(filled.charge), type=Charge) == charged[0]
            assert pack(filled.charge) == pack(charged[0])
        if not plain or not isinstance(answer, ChargingAnswer):
            return
        sent, outcome = plain[0]
        octets = to_cca(asked, answer, LOCAL, self._context.settings.services).answer(asked)
        if filled is not None:
            assert sent.packed_inputs == filled.template.sent.packed_inputs
            assert sent.facts is filled.template.sent.facts
            written = filled.template.answer(filled.numbers, outcome)
            if written is not None and not answer.marks:
                self.answered += 1
                assert written == octets
        learnt = learn(asked.frame, request, sent, outcome, octets, self._context.settings)
        if learnt is not None and not answer.marks:
            self.learnt += 1
            self._templates.setdefault(via, []).insert(0, learnt)
