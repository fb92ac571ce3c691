"""One credit-control request that is served the general way, until its answer is written."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from balances.structs.charge import Outcome
from ocs.charging.diameter.translate import LocalIdentity
from ocs.charging.handle import Sent
from ocs.charging.request import Busy, ChargingAnswer, ChargingRequest
from ocs.charging.services import Services
from ocs.charging.settings import ChargingSettings
from ocs.clock import monotonic_us
from ocs.net.admission import Admission
from ocs.net.diameter.connection import DiameterConnection
from ocs.net.diameter.node import Node
from ocs.net.step import Stepped
from ocs.telemetry.metrics import Histogram
from protocol.diameter.dictionary.credit_control import CreditControlAnswer, CreditControlRequest
from protocol.errors import ResultCode

WANTED_US: Final = 10_000_000
"""An answer that is later than this is wanted by nobody (charging.md 11)."""

Answer = ChargingAnswer | Busy
Plain = list[tuple[Sent, Outcome]]


def is_late(heard_us: int) -> bool:
    return monotonic_us() - heard_us > WANTED_US


class TemplateMemory(Protocol):
    """Where later requests find what this one had in common with them (`templates.Templates`)."""

    def learn(
        self,
        frame: bytes,
        link: DiameterConnection,
        request: ChargingRequest,
        sent: Sent,
        outcome: Outcome,
        answer: bytes,
        settings: ChargingSettings,
    ) -> None: ...


class ExchangeOwner(Protocol):
    """What an exchange asks of whom it is served by (`credit_control.CreditControl`)."""

    admission: Admission
    settings: ChargingSettings
    node: Node
    local: LocalIdentity
    times: Histogram
    to_cca: Callable[[CreditControlRequest, ChargingAnswer, LocalIdentity, Services], CreditControlAnswer]

    @property
    def templates(self) -> TemplateMemory: ...
    def silence(self, why: str) -> None: ...
    def count(self, ccr: CreditControlRequest, answer: Answer, link: DiameterConnection, service: str) -> None: ...
    def failed(self, frame: bytes, link: DiameterConnection, bug: Exception) -> None: ...
    def violated(self, frame: bytes, link: DiameterConnection, bug: Exception) -> None: ...


class CreditControlExchange(Stepped[Answer | None]):
    """One credit-control request until its answer is written."""

    __slots__ = ("_ccr", "_heard_us", "_link", "_plain", "_report", "_request", "_service")

    def __init__(
        self,
        service: ExchangeOwner,
        link: DiameterConnection,
        ccr: CreditControlRequest,
        request: ChargingRequest,
        report: bool,
        handled: Coroutine[Any, Any, Answer | None],
        plain: Plain | None = None,
        heard_us: int = 0,
    ) -> None:
        """
        plain:     what `handled` fills where a template can be learnt from it
        heard_us:  when the request came, unless just now
        """
        self._service, self._link, self._ccr, self._report = service, link, ccr, report
        self._request, self._plain, self._heard_us = request, plain, heard_us or link.heard_us
        super().__init__(handled)

    def done(self, answer: Answer | None) -> None:
        service, link, ccr = self._service, self._link, self._ccr
        service.admission.off(self._report)
        octets = b""
        if answer is None:  # charging.md section 3: of unknown fate, so the client must repeat
            service.silence("fate unknown")
        elif is_late(self._heard_us):
            service.silence("too late")
        else:
            try:
                if isinstance(answer, Busy):  # certainly not charged: its sender may try another server
                    octets = service.node.error(ccr.frame, ResultCode.TOO_BUSY, answer.reason)
                else:
                    octets = service.to_cca(ccr, answer, service.local, service.settings.services).answer(ccr)
                link.write(octets)
                service.count(ccr, answer, link, self._request.inputs.service or "none")
                service.times.add(monotonic_us() - self._heard_us)
            except Exception as bug:
                service.failed(ccr.frame, link, bug)
            else:
                self._remember(octets)
        link.answered()

    def _remember(self, octets: bytes) -> None:
        """For later requests. This one is answered: a fault of ours is nothing to its peer."""
        service, ccr = self._service, self._ccr
        try:
            if self._plain:
                service.templates.learn(ccr.frame, self._link, self._request, *self._plain[0], octets, service.settings)
        except Exception as bug:
            service.violated(ccr.frame, self._link, bug)

    def failed(self, error: Exception) -> None:
        self._service.admission.off(self._report)
        self._service.failed(self._ccr.frame, self._link, error)
        self._link.answered()
