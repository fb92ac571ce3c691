"""Accounting-Requests: charged, then answered."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Final

from balances.redis.calls import Lost, NotSent
from balances.structs.charge import Course, Outcome
from ocs.charging.handle import ChargingContext, Sent, handle
from ocs.charging.radius.accounting import (
    STEPS,
    after_restart,
    believed_ms_of,
    is_mistakable,
    status_of,
    to_charging,
)
from ocs.charging.radius.calls import VOICE, to_leg
from ocs.charging.radius.h323 import is_charged_leg
from ocs.charging.radius.names import SessionReference, client_name, reference_in
from ocs.charging.request import Busy, ChargingRequest
from ocs.charging.services import UNKNOWN
from ocs.net.radius.clients import NasClient
from ocs.net.radius.exchange import Arrived, RadiusReply, both
from ocs.net.radius.interims import InterimTemplates
from ocs.net.radius.ports import Ports
from ocs.net.radius.restarts import NasRestarts
from protocol.radius.codes import PacketCode
from protocol.radius.dictionary.values import AcctStatusType

RESTARTS: Final = (AcctStatusType.ACCOUNTING_ON, AcctStatusType.ACCOUNTING_OFF)
ACKNOWLEDGED: Final = RadiusReply(PacketCode.ACCOUNTING_RESPONSE, "ok")
ANOTHER_LEG: Final = RadiusReply(PacketCode.ACCOUNTING_RESPONSE, "another-leg")
"""Its call is charged by another one."""


class Accounting:
    """
    mark:     counts what was unusual about a request of a client
    silence:  counts why there is no answer
    """

    def __init__(
        self,
        context: ChargingContext,
        restarts: NasRestarts,
        ports: Ports,
        templates: InterimTemplates,
        *,
        mark: Callable[[NasClient, int], None],
        silence: Callable[[str], None],
    ) -> None:
        self._context, self._restarts, self._ports, self._templates = context, restarts, ports, templates
        templates.serves = self.serve
        self._mark, self._silence = mark, silence

    def within(self, context: ChargingContext, silence: Callable[[str], None]) -> Accounting:
        """The same with another context, and with somebody else who is told of silence too."""
        other = copy.copy(self)
        other._context, other._silence = context, both(self._silence, silence)
        return other

    async def serve(self, arrived: Arrived, sent: Sent | None = None) -> RadiusReply | None:
        """sent: the store was asked already; it goes on from its reply"""
        packet, client, source, at_ms, _ = arrived
        status = status_of(packet)
        if status not in STEPS:
            return await self._other(arrived, status)
        settings = self._context.settings
        if client.profile.service == VOICE:
            if not is_charged_leg(packet, client.profile.charged_leg):
                return ANOTHER_LEG
            row = settings.services.by_name.get(client.profile.service, UNKNOWN)
            request = to_leg(packet, client.profile, row, source[0], at_ms, settings)
        else:
            request = to_charging(packet, client.profile, source[0], at_ms, settings)
        if is_mistakable(request.course):
            try:
                restarted_ms = await self._restarts.newest_ms(request.origin.client)
            except (NotSent, Lost):
                self._silence("not charged")
                return None
            request = after_restart(request, restarted_ms)
        plain: list[tuple[Sent, Outcome]] = []
        answer = await handle(request, self._context, at_ms, sent=sent, plain=plain)
        if answer is None or isinstance(answer, Busy):
            self._silence("fate unknown" if answer is None else "not charged")
            return None
        if answer.marks:
            self._mark(client, answer.marks)
        if status == AcctStatusType.STOP:
            self._templates.forget(request.key.session)
        elif plain and sent is None:
            self._templates.learn(arrived, request, *plain[0])
        reference = reference_in(packet)
        # A call ends no other one: who calls may have several.
        if reference is not None and request.course is not None and client.profile.service != VOICE:
            await self._note_port(reference, request, at_ms)
        # It is on record, whatever it was found to be (charging.md section 5).
        return RadiusReply(PacketCode.ACCOUNTING_RESPONSE, answer.result.name.lower().replace("_", "-"))

    async def _note_port(self, reference: SessionReference, request: ChargingRequest, at_ms: int) -> None:
        assert request.course is not None
        try:
            if request.course.step is Course.BEGINS:
                profile = self._context.profiles.of(request.identities) if request.identities else None
                payer = profile.paid_for(request.inputs.service).account if profile is not None else ""
                await self._ports.began(reference, request.key.session, payer, at_ms)
            elif request.course.step is Course.ENDS:
                await self._ports.ended(reference, request.key.session)
        except (NotSent, Lost):
            pass  # it is charged; what stands at a port may be lost

    async def _other(self, arrived: Arrived, status: int) -> RadiusReply | None:
        if status in RESTARTS:
            at_s = believed_ms_of(arrived.packet, arrived.at_ms, self._context.settings) // 1_000
            try:
                await self._restarts.note(client_name(arrived.client.profile, arrived.packet), at_s)
            except (NotSent, Lost):
                self._silence("not noted")
                return None
        return ACKNOWLEDGED
