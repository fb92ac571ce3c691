"""Templates beside every request of a platform in these tests: what one would have asked the store and answered is
compared with what the general way did, octet for octet."""

from __future__ import annotations

from typing import Any

import msgspec

from balances.structs.charge import Charge, Outcome
from ocs.api.operation import encode
from ocs.backoffice.charging_templates import PlatformTemplates, PreparedCharge
from ocs.charging.handle import Sent
from ocs.charging.http.messages import ChargingReply
from ocs.charging.http.template import ChargingForm
from ocs.charging.http.translate import PlatformCall
from ocs.charging.request import ChargingRequest
from tests.ocs.charging.world import World

_pack = msgspec.msgpack.encode


class PlatformShadow:
    """`used` counts the requests that a template would have served, `answered` those that it would have answered."""

    def __init__(self, world: World) -> None:
        self._world, self.templates = world, PlatformTemplates(1_000)
        self.used = self.answered = 0

    def before(self, form: ChargingForm, call: PlatformCall, octets: bytes) -> PreparedCharge | None:
        world = self._world
        return self.templates.find(form, call, octets, world.context, world.now_ms)

    def after(
        self,
        prepared: PreparedCharge | None,
        form: ChargingForm,
        call: PlatformCall,
        octets: bytes,
        body: Any,
        request: ChargingRequest,
        plain: list[tuple[Sent, Outcome]],
        charged: list[Charge],
        reply: ChargingReply | None,
        marks: int,
    ) -> None:
        """charged: what the store was asked"""
        if prepared is not None and charged:
            self.used += 1
            assert msgspec.msgpack.decode(_pack(prepared.sent.charge), type=Charge) == charged[0]
            assert _pack(prepared.sent.charge) == _pack(charged[0])
        if not plain or reply is None:
            return
        sent, outcome = plain[0]
        if prepared is not None:
            made = prepared.sent
            assert made.packed_inputs == sent.packed_inputs
            assert (made.profile, made.quote, made.inputs) == (sent.profile, sent.quote, sent.inputs)
            assert (made.told, made.facts) == (sent.told, sent.facts)
            written = prepared.template.answer(prepared.values, prepared.priced, outcome)
            if written is not None and not marks:
                self.answered += 1
                assert written == encode(reply)
        settings = self._world.context.settings
        self.templates.learn(form, call, octets, body, request, sent, outcome, reply, settings)
