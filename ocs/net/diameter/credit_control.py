"""Requests of an open connection: credit control goes to charging, everything else is refused as RFC 6733 says.

The order of checks is that of RFC 6733 section 6.1.3 and 7: overload, command and application, grammar, destination,
then charging. Under overload (charging.md 11) what is not taken on is refused at once, as long as refusals take no more
than their part of the CPU; beyond that it waits in its link, which is not read from meanwhile, and gets its turn.
Whatever a peer sends, the result is an answer or, where the design says so, silence; never an exception.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

from balances.structs.charge import Flag, Phase, Result
from ocs.charging.decide import session_key
from ocs.charging.diameter.translate import PHASES, LocalIdentity, to_cca, to_request
from ocs.charging.handle import ChargingContext, handle
from ocs.charging.outcomes import DIAMETER, OUTCOMES
from ocs.charging.request import Busy, ChargingAnswer, ChargingRequest
from ocs.charging.services import Services
from ocs.charging.settings import ChargingSettings
from ocs.clock import monotonic_us
from ocs.net.admission import Admission
from ocs.net.diameter.connection import DiameterConnection
from ocs.net.diameter.exchange import Answer, CreditControlExchange, Plain
from ocs.net.diameter.node import Node
from ocs.net.diameter.origins import Origins
from ocs.net.diameter.peers import GUEST
from ocs.net.diameter.templates import Templates
from ocs.net.diameter.traced_link import traced
from ocs.telemetry import metrics
from ocs.telemetry.log import Periodic, Seldom, logger
from ocs.tracing.matching import WhoAndWhat
from ocs.tracing.traced_request import TracedRequest
from protocol.diameter.dictionary import DICTIONARY
from protocol.diameter.dictionary.base import SessionTerminationRequest
from protocol.diameter.dictionary.credit_control import CreditControlAnswer, CreditControlRequest
from protocol.diameter.dictionary.credit_values import CC_REQUEST_TYPE, SERVICE_CONTEXT_ID
from protocol.diameter.peek import first, first_number
from protocol.errors import ProtocolError, ResultCode, UnknownAvp

CCR: Final = CreditControlRequest.code.to_bytes(3, "big")
STR: Final = SessionTerminationRequest.code
NAMES: Final = {CreditControlRequest.code: "CCR", STR: "STR"}
TYPES: Final = {1: "INITIAL", 2: "UPDATE", 3: "TERMINATION", 4: "EVENT"}

CODES: Final = {result: str(code) for result, code in DIAMETER.items()}
SUCCESS: Final = CODES[Result.OK]
GRANTED: Final = {phase: ("diameter", "CCR", TYPES[number], SUCCESS) for number, phase in PHASES.items()}
REPORTS: Final = frozenset({2, 3})
"""Request types that report what an open session used."""
TURN_S: Final = 0.01
"""How often those that wait are looked at again."""
BUSY: Final = 999

EVENT: Final = 4
UNUSUAL: Final = (
    Flag.LATE | Flag.UNMATCHED | Flag.RENUMBERED | Flag.CONFLICT | Flag.REUSED | Flag.OTHER_SUBSCRIBER | Flag.EQUAL
)
"""What is counted for the sender of a request (charging.md section 3)."""
TOLD_MS: Final = 600_000
"""How often it is told of a peer that equal events of it are charged once."""
ADVICE: Final = (
    "events with the Session-Id, number and content of an earlier one are charged once; if each of them is an event of"
    " its own, set reuses_numbers in the profile of this peer"
)

PASS_OVER: Final = "diameter.peers[].profile.ignore_vendors = [{vendor}]"
"""What lets an unknown AVP of a vendor pass: the first thing to be known when a new gateway is refused."""


class CreditControl:
    """The service of a Node."""

    def __init__(
        self,
        node: Node,
        admission: Admission,
        context: ChargingContext,
        origins: Origins,
        templates: Templates | None = None,
        *,
        handle: Callable[..., Coroutine[Any, Any, Answer | None]] = handle,
        to_request: Callable[[CreditControlRequest, str, ChargingSettings], ChargingRequest] = to_request,
        to_cca: Callable[[CreditControlRequest, ChargingAnswer, LocalIdentity, Services], CreditControlAnswer] = to_cca,
    ) -> None:
        self.node, self.admission, self.context, self.settings = node, admission, context, context.settings
        self.tracer = node.sightings.tracer
        self.origins = origins
        self.templates = Templates() if templates is None else templates
        self.handle, self.to_request, self.to_cca = handle, to_request, to_cca
        local = node.local
        self.local = LocalIdentity(local.origin_host, local.origin_realm, local.origin_state_id)
        self._host, self._realm = node.local.origin_host, node.local.origin_realm
        self._counts = node.meter.counts(metrics.REQUESTS)
        self._silent = node.meter.counts(metrics.SILENT)
        self._violations = node.meter.counts(metrics.VIOLATIONS)
        self.times = node.meter.histogram(metrics.REQUEST_TIME, "diameter", "CCR")
        self._by_peer = node.meter.counts(metrics.PEER_REQUESTS)
        self._lines = node.meter.counts(metrics.LINES)
        self._finals = node.meter.counts(metrics.FINAL_UNITS)
        self._peer_marks = node.meter.counts(metrics.PEER_MARKS)
        self._periodic = Periodic(TOLD_MS)
        self._keys: dict[int, tuple[str, ...]] = {}
        self._seldom = Seldom()
        self._turns: deque[DiameterConnection] = deque()
        """Connections with requests that wait."""
        self._turning: asyncio.Handle | None = None
        node.meter.read(metrics.IN_FLIGHT, "diameter", by=lambda: admission.in_flight)
        node.meter.read(metrics.BY_TEMPLATE, "diameter", by=lambda: self.templates.served)
        node.meter.read(metrics.ADMISSION, "diameter", by=lambda: admission.limit.now)

    def __call__(self, frame: bytes, link: DiameterConnection) -> None:
        admission = self.admission
        admission.step(link.heard_us)
        free = admission.in_flight < admission.free_below and link.in_flight < admission.peer_free_below
        if free and not link.waiting:
            self._serve(frame, link)
        elif link.waiting or not self._passed(frame, link):
            self._wait(frame, link)

    # ---- under overload

    def _passed(self, frame: bytes, link: DiameterConnection) -> bool:
        """Whether the request was served or refused; else it has to wait."""
        report = frame[5:8] == CCR and first_number(frame, CC_REQUEST_TYPE.code) in REPORTS
        if self.admission.admits(report, link.in_flight):
            self._serve(frame, link)
            return True
        began_us = monotonic_us()
        if not self.admission.refusing.affords(began_us):
            return False
        if not report and self._may_be_urgent(frame):
            self._serve(frame, link, urgent_only=True)
        else:
            self.refuse(frame, link, ResultCode.TOO_BUSY)
        self.admission.refusing.spend(monotonic_us() - began_us)
        return True

    def _may_be_urgent(self, frame: bytes) -> bool:
        """Whether only rating can tell that it is no emergency, which is never refused."""
        context = first(frame, SERVICE_CONTEXT_ID.code)
        service = self.settings.services.of(context.decode(errors="replace"))
        return service is not None and self.context.catalog.has_emergencies(service.name)

    def _wait(self, frame: bytes, link: DiameterConnection) -> None:
        if not link.waiting:
            self._turns.append(link)
        link.wait(frame)
        self._turn_soon()

    def _turn_soon(self) -> None:
        if self._turning is None:
            self._turning = asyncio.get_running_loop().call_later(TURN_S, self._turn)

    def _turn(self) -> None:
        """One request of each connection after the other, for as long as any is served or refused."""
        self._turning = None
        self.admission.step(monotonic_us())
        turns, stuck = self._turns, 0
        while stuck < len(turns):
            link = turns.popleft()
            if link.waiting and not self._passed(link.waiting[0], link):
                stuck += 1
                turns.append(link)
                continue
            stuck = 0
            if link.waiting:
                link.waiting.popleft()
            if link.waiting:
                turns.append(link)
            else:
                link.waited()
        if turns:
            self._turn_soon()

    # ---- one request

    def _serve(self, frame: bytes, link: DiameterConnection, *, urgent_only: bool = False) -> None:
        if self.tracer.watched and self._is_traced(frame, link, urgent_only):
            return
        try:
            if not urgent_only and frame[5:8] == CCR and self.templates.serve(frame, link, self):
                return
        except Exception as bug:  # of ours: the peer is told, and goes on being served
            self.failed(frame, link, bug)
        else:
            self._serve_generally(frame, link, urgent_only)

    def _serve_generally(
        self, frame: bytes, link: DiameterConnection, urgent_only: bool, trace: TracedRequest | None = None
    ) -> None:
        try:
            if frame[5:8] != CCR:
                self._other(frame, link)
                return
            ccr = CreditControlRequest.decode(frame, link.machine.ignored)
            if ccr.destination_realm != self._realm or ccr.destination_host not in (None, self._host):
                self._check_destination(ccr)
            assert link.peer is not None
            origin_state = ccr.origin_state_id
            if origin_state and self.origins.heard.get(ccr.origin_host) != origin_state and not ccr.is_retransmitted:
                self.origins.note(ccr.origin_host, origin_state)  # a repeat may be from before the restart
            request = self.to_request(ccr, link.peer.origin_host, self.settings)
        except ProtocolError as error:
            self.refuse(frame, link, error)
        except Exception as bug:
            self.failed(frame, link, bug)
        else:
            report = ccr.cc_request_type in REPORTS
            self.admission.take(report)
            link.in_flight += 1
            options: dict[str, Any] = {"urgent_only": True} if urgent_only else {}
            plain: Plain | None = None
            if ccr.cc_request_type != EVENT and self.templates.most:
                plain = options["plain"] = []
            context = self.context
            if trace is not None:
                trace.understood(request.identities, session_key(request, self.settings))
                context = trace.context(context)
            handled = self.handle(request, context, link.heard_at_ms, **options)
            if trace is not None:
                handled = trace.watch(handled)
            CreditControlExchange(self, link, ccr, request, report, handled, plain)

    def _is_traced(self, frame: bytes, link: DiameterConnection, urgent_only: bool) -> bool:
        """Whether somebody wants to see it. Then it is served the general way, which says of a request all that its
        template would (docs/tracing.md)."""
        trace = self.node.sightings.request(frame, link, partial(self._about, frame, link))
        if trace is None:
            return False
        self._serve_generally(frame, traced(link, trace), urgent_only, trace)
        trace.over_unless_under_way()
        return True

    def _about(self, frame: bytes, link: DiameterConnection) -> WhoAndWhat | None:
        if frame[5:8] != CCR or link.peer is None:
            return None
        try:
            ccr = CreditControlRequest.decode(frame, link.machine.ignored)
            request = self.to_request(ccr, link.peer.origin_host, self.settings)
        except ProtocolError:
            return None
        return request.identities, session_key(request, self.settings)

    # ---- what is not for charging

    def _other(self, frame: bytes, link: DiameterConnection) -> None:
        application = int.from_bytes(frame[8:12], "big")
        if application not in self.node.local.applications:
            self.refuse(frame, link, ResultCode.APPLICATION_UNSUPPORTED)
            return
        message = DICTIONARY.decode(frame, link.machine.ignored)
        # RFC 6733 section 8.4: sessions of credit control end with a CCR; a client may say so here as well.
        result = ResultCode.SUCCESS if message.code == STR else ResultCode.COMMAND_UNSUPPORTED
        self.refuse(frame, link, result)

    def _check_destination(self, ccr: CreditControlRequest) -> None:
        """Identities compare without case; behind a relay the realm may be all that is said."""
        if ccr.destination_realm.lower() != self._realm.lower():
            raise NotServed(ResultCode.REALM_NOT_SERVED, f"realm {ccr.destination_realm} is not served here")
        if ccr.destination_host is not None and ccr.destination_host.lower() != self._host.lower():
            raise NotServed(ResultCode.UNABLE_TO_DELIVER, f"{ccr.destination_host} is not known here")

    # ---- how it ends

    def refuse(self, frame: bytes, link: DiameterConnection, error: ProtocolError | ResultCode) -> None:
        """An answer without charging. The Session-Id, Proxy-Info and ids are the request's."""
        result = error.result_code if isinstance(error, ProtocolError) else error
        link.write(self.node.error(frame, error))
        name = NAMES.get(int.from_bytes(frame[5:8], "big"), "other")
        self._counts["diameter", name, "", str(int(result))] += 1
        self._by_peer[link.peer_name, str(int(result))] += 1
        if isinstance(error, ProtocolError):
            about: dict[str, object] = {}
            if isinstance(error, UnknownAvp) and error.vendor:
                about = {"avp": error.code, "vendor": error.vendor, "setting": PASS_OVER.format(vendor=error.vendor)}
            # Of each vendor once: two that send strange AVPs over one connection need two entries.
            times = self._seldom.times((link.peer_host, result, about.get("vendor")))
            if times:
                logger().warning(
                    "diameter.refused", peer=link.peer_host, result=int(result), why=error.why, **about, times=times
                )

    def failed(self, frame: bytes, link: DiameterConnection, bug: Exception) -> None:
        """A fault of ours, as 5012: a repeat would run into it again."""
        self.violated(frame, link, bug)
        self.refuse(frame, link, ResultCode.UNABLE_TO_COMPLY)

    def violated(self, frame: bytes, link: DiameterConnection, bug: Exception) -> None:
        self._violations["exception",] += 1
        times = self._seldom.times(type(bug))
        if times:
            logger().error("diameter.failed", peer=link.peer_host, frame=frame.hex(), times=times, exc_info=bug)

    def count(self, ccr: CreditControlRequest, answer: Answer, link: DiameterConnection, service: str) -> None:
        # A number and not a pair of enumeration members: those hash in Python.
        kind = ccr.cc_request_type * 1_000 + (BUSY if isinstance(answer, Busy) else answer.result)
        key = self._keys.get(kind)
        if key is None:
            result = ResultCode.TOO_BUSY if isinstance(answer, Busy) else DIAMETER[answer.result]
            key = self._keys[kind] = ("diameter", "CCR", TYPES.get(ccr.cc_request_type, ""), str(int(result)))
        self._counts[key] += 1
        self._by_peer[link.peer_name, key[3]] += 1
        if isinstance(answer, ChargingAnswer):
            if answer.result is not Result.OK:
                self._note_refusal(ccr, answer, link)
            if answer.marks:
                self._remark(ccr, answer.marks, link)
            for line in answer.lines:
                self._lines["diameter", service, CODES[line.result]] += 1
                if line.final is not None:
                    self._finals["diameter", service, line.final.action.name.lower()] += 1

    def _note_refusal(self, ccr: CreditControlRequest, answer: ChargingAnswer, link: DiameterConnection) -> None:
        """For who looks for what goes wrong."""
        ids = ccr.subscription_id
        who = ids[0].subscription_id_data if ids else ccr.session_id
        why = f"{CODES[answer.result]} {answer.reason or OUTCOMES[answer.result].words}"
        self.node.refused("subscriber", who, link.peer_host, why)

    def count_granted(self, link: DiameterConnection, phase: Phase, line: tuple[str, ...], lines: int) -> None:
        """`count`, of a request that is answered with success in all its lines and remarkable in nothing.

        line:  what each of them is counted as
        """
        self._counts[GRANTED[phase]] += 1
        self._by_peer[link.peer_name, SUCCESS] += 1
        self._lines[line] += lines

    def _remark(self, ccr: CreditControlRequest, marks: int, link: DiameterConnection) -> None:
        """Count what was unusual for the peer that is configured: the client, else who it came through."""
        peer = self.node.peers.name(ccr.origin_host)
        if peer == GUEST:
            peer = link.peer_name
        for flag in Flag(marks) & UNUSUAL:
            mark = str(flag.name).lower()
            self._peer_marks[peer, mark] += 1
            self.context.store.remark(peer, mark)
        if marks & Flag.EQUAL and ccr.cc_request_type == EVENT:
            times = self._periodic.times(peer, link.heard_at_ms)
            if times:
                logger().warning("peer.equal_events", peer=peer, host=ccr.origin_host, times=times, advice=ADVICE)

    def silence(self, why: str) -> None:
        self._silent["diameter", why] += 1


class NotServed(ProtocolError):
    """A request that this server does not serve."""

    def __init__(self, result_code: ResultCode, why: str) -> None:
        super().__init__(why)
        self.result_code = result_code
