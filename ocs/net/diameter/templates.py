"""CCRs served by the template of their session, and the sessions whose template is at hand.

The one way in is `serve`: it serves a request or says that it did not, and then nothing has happened. What becomes of
one that was served is the same as what becomes of any (credit_control.py): admission, metrics, silence when its fate is
unknown. A reply that the template has no answer for is answered the general way, from that reply on.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

import msgspec

from balances.structs.charge import Charge, Outcome, Reply
from ocs.charging.diameter.template import SessionTemplate, learn
from ocs.charging.handle import ChargingContext, Sent, keys_of
from ocs.charging.request import ChargingRequest
from ocs.charging.settings import ChargingSettings
from ocs.clock import monotonic_us
from ocs.net.diameter.connection import DiameterConnection
from ocs.net.diameter.exchange import Answer, CreditControlExchange, ExchangeOwner, is_late
from ocs.net.diameter.origins import Origins
from protocol.diameter.dictionary.credit_control import CreditControlRequest
from protocol.errors import ResultCode

SUCCESS: Final = str(int(ResultCode.SUCCESS))

SHAPES_MAX: Final = 4
"""Templates of one session: its requests may take turns, each reporting other rating groups."""
TRIES_MAX: Final = 8
"""A session that was learnt from so often and never served by it is not learnt from again while it is remembered."""

_outcome: Final = msgspec.msgpack.Decoder(Outcome).decode


class TemplateOwner(ExchangeOwner, Protocol):
    """What serving by templates asks of whom it is done for (`credit_control.CreditControl`)."""

    context: ChargingContext
    origins: Origins
    handle: Callable[..., Coroutine[Any, Any, Answer | None]]
    to_request: Callable[[CreditControlRequest, str, ChargingSettings], ChargingRequest]

    def count_update(self, link: DiameterConnection, line: tuple[str, ...], lines: int) -> None: ...


class KeptTemplate:
    """A template, and from whom its requests come."""

    __slots__ = ("ignored", "keys", "lines", "template", "via")

    def __init__(self, template: SessionTemplate, link: DiameterConnection) -> None:
        assert link.peer is not None
        self.template, self.via, self.ignored = template, link.peer.origin_host, link.machine.ignored
        self.keys = keys_of(template.sent.charge.account)
        self.lines = ("diameter", template.service.name, SUCCESS)
        """What each line is counted as."""


class SessionTemplates:
    """Those of one session. tries: how often it was learnt from since it was served by one."""

    __slots__ = ("kept", "tries")

    def __init__(self) -> None:
        self.kept: list[KeptTemplate] = []
        self.tries = 0


class Templates:
    """Of the sessions served last, at most `most` templates; one takes about 6 kB. 0: nothing is learnt."""

    def __init__(self, most: int = 0) -> None:
        self.most = most
        self.served = 0
        """Requests."""
        self._sessions: OrderedDict[bytes, SessionTemplates] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def serve(self, frame: bytes, link: DiameterConnection, service: TemplateOwner) -> bool:
        """Whether the request is served; else it is as if it had not been seen."""
        key = session_avp(frame)
        session = self._sessions.get(key)
        if session is None:
            return False
        for kept in session.kept:
            numbers = kept.template.request.numbers(frame)
            if numbers is not None:
                break
        else:
            return False
        template = kept.template
        assert link.peer is not None
        if kept.via != link.peer.origin_host or kept.ignored != link.machine.ignored:
            return False
        if template.origin_state and service.origins.heard.get(template.origin_host) != template.origin_state:
            return False
        charge = template.charge(numbers, service.context, link.heard_at_ms)
        if charge is None:
            return False
        self._sessions.move_to_end(key)
        session.tries = 0
        self.served += 1
        TemplateExchange(service, kept, frame, link, numbers, *charge)
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
        """Of an UPDATE that was served the general way, by one call with nothing unusual about it."""
        key = session_avp(frame)
        session = self._sessions.get(key)
        if session is not None and session.tries >= TRIES_MAX:
            return
        template = learn(frame, request, sent, outcome, answer, settings)
        if template is None:
            return
        if session is None:
            session = self._sessions[key] = SessionTemplates()
        self._sessions.move_to_end(key)
        session.tries += 1
        like = next((one for one in session.kept if one.template.request.numbers(frame) is not None), None)
        if like is None and len(session.kept) >= SHAPES_MAX:
            like = session.kept[0]
        if like is not None:
            session.kept.remove(like)
            self._count -= 1
        session.kept.append(KeptTemplate(template, link))
        self._count += 1
        while self._count > self.most:
            _, oldest = self._sessions.popitem(last=False)
            self._count -= len(oldest.kept)

    def forget(self, frame: bytes) -> None:
        """Forget the templates of a session that has ended."""
        session = self._sessions.pop(session_avp(frame), None)
        if session is not None:
            self._count -= len(session.kept)


def session_avp(frame: bytes) -> bytes:
    """The first AVP of a message: its Session-Id (RFC 6733 section 8.8). Where it is another one, the template says
    so, for that compares all octets."""
    return frame[20 : 20 + int.from_bytes(frame[25:28], "big")]


class TemplateExchange:
    """One request served by a template, until its answer is written."""

    __slots__ = ("_asking", "_charge", "_frame", "_heard_us", "_jitter", "_kept", "_link", "_numbers", "_service")

    def __init__(
        self,
        service: TemplateOwner,
        kept: KeptTemplate,
        frame: bytes,
        link: DiameterConnection,
        numbers: tuple[int, ...],
        charge: Charge,
        jitter: int,
    ) -> None:
        self._service, self._kept, self._frame, self._link, self._numbers = service, kept, frame, link, numbers
        self._charge, self._jitter, self._heard_us = charge, jitter, link.heard_us
        service.admission.take(True)
        link.in_flight += 1
        try:
            self._asking = asking = service.context.store.charge(charge, kept.template.sent.packed_inputs, kept.keys)
        except Exception as bug:
            self._failed(bug)
        else:
            asking.then(self)

    def __call__(self, reply: Reply | None, error: BaseException | None) -> None:
        answer = None
        try:
            if error is None and reply is not None and reply.status == "ok" and not reply.marks:
                answer = self._kept.template.answer(self._numbers, _outcome(reply.outcome))
            if answer is None:
                self._go_on()
        except Exception as bug:
            self._failed(bug)
        else:
            if answer is not None:
                self._answered(answer)

    def _answered(self, answer: bytes) -> None:
        """What `CreditControlExchange.done` does, without looking at what is known."""
        service, link, template = self._service, self._link, self._kept.template
        service.context.facts.keep(template.session, template.sent.facts)
        service.admission.off(True)
        if is_late(self._heard_us):
            service.silence("too late")
        else:
            try:
                link.write(answer)
                service.count_update(link, self._kept.lines, len(self._charge.asks))
                service.times.add(monotonic_us() - self._heard_us)
            except Exception as bug:
                service.failed(self._frame, link, bug)
        link.answered()

    def _go_on(self) -> None:
        """Continue the general way from the reply of the store."""
        service, kept = self._service, self._kept
        ccr = CreditControlRequest.decode(self._frame, kept.ignored)
        request = service.to_request(ccr, kept.via, service.settings)
        sent = msgspec.structs.replace(kept.template.sent, jitter=self._jitter, charge=self._charge, reply=self._asking)
        handled = service.handle(request, service.context, self._charge.now_ms, sent=sent)
        CreditControlExchange(service, self._link, ccr, request, True, handled, heard_us=self._heard_us)

    def _failed(self, bug: Exception) -> None:
        self._service.admission.off(True)
        self._service.failed(self._frame, self._link, bug)
        self._link.answered()
