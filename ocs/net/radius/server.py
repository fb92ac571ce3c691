"""The RADIUS server of a worker: datagrams in, answers out, for authentication and accounting.

What is not proven is dropped before anything is done for it, with a count and one log line for each client and interval
(RFC 2865 section 3): length, client, authenticators, duplicates, admission, in this order. An answer leaves when the
charge is durable; when it is not known to be, there is none, and the NAS comes again (charging.md sections 3 and 8).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol, cast

from balances.structs.charge import Flag
from ocs.charging.radius.habits import Habit
from ocs.charging.radius.own_attributes import LeftOut
from ocs.clock import monotonic_us, now_ms
from ocs.net.admission import Admission
from ocs.net.radius.clients import NasClient, NasClients
from ocs.net.radius.conduct import Conduct, Conducts
from ocs.net.radius.duplicates import DuplicateWindow, ExchangeKey, Seen
from ocs.net.radius.exchange import AnswerSocket, Arrived, RadiusExchange, RadiusReply
from ocs.net.radius.interims import InterimTemplates
from ocs.net.radius.sightings import RadiusSightings, TracedSocket
from ocs.stores.refusal_book import RefusalKind
from ocs.telemetry import metrics
from ocs.telemetry.log import Periodic, Seldom, logger
from ocs.tracing.traced_request import TracedRequest
from ocs.tracing.tracer import NOBODY, Tracer
from protocol.radius.authenticator import answer, check_request
from protocol.radius.codes import PacketCode
from protocol.radius.dictionary.standard import ACCT_STATUS_TYPE, CALLING_STATION_ID, USER_NAME
from protocol.radius.dictionary.values import AcctStatusType
from protocol.radius.packet import Packet
from protocol.radius.refused import PacketFault, RadiusError

TOLD_MS: Final = 60_000
"""How often it is told of a client what of it is dropped."""
UNSIGNED_TOLD_MS: Final = 3_600_000
"""How often it is told of a client that it lacks a habit."""
TOO_MANY: Final = "rate"
STATUS_ANSWERS: Final = {
    PacketCode.ACCESS_REQUEST: PacketCode.ACCESS_ACCEPT,
    PacketCode.ACCOUNTING_REQUEST: PacketCode.ACCOUNTING_RESPONSE,
}
"""What a Status-Server gets at the port of these (RFC 5997 section 3)."""
REPORTS: Final = frozenset((AcctStatusType.INTERIM_UPDATE, AcctStatusType.STOP))
NAMES: Final = {PacketCode.ACCESS_REQUEST: "Access-Request", PacketCode.ACCOUNTING_REQUEST: "Accounting-Request"}
STATUS: Final = {status.value: status.name.title().replace("_", "-") for status in AcctStatusType}
UNKNOWN_ADDRESS: Final = "unknown address"
ACCOUNTING: Final = bytes((PacketCode.ACCOUNTING_REQUEST,))
CHARGED: Final = "ok"
INTERIM: Final = ("radius", NAMES[PacketCode.ACCOUNTING_REQUEST], STATUS[AcctStatusType.INTERIM_UPDATE], CHARGED)

Served = Callable[[Arrived], Coroutine[Any, Any, RadiusReply | None]]


Refused = Callable[[RefusalKind, str, str, str], None]


def _not_noted(_kind: RefusalKind, _who: str, _by: str, _why: str) -> None:
    """Where nobody keeps a book of it."""


class RadiusSocket(AnswerSocket, Protocol):
    """What packets come by."""

    @property
    def codes(self) -> tuple[PacketCode, ...]:
        """What is served there, besides Status-Server, which gets the answer of the first."""

    @property
    def is_secure(self) -> bool:
        """Nobody on the way can read or forge."""

    @property
    def ours(self) -> tuple[str, int]:
        """Address and port of our end."""


class RadiusServer:
    """
    serves:  by code, what answers a proven packet; None, or what it raises: no answer
    """

    def __init__(
        self,
        clients: NasClients,
        admission: Admission,
        meter: metrics.Meter,
        serves: dict[PacketCode, Served],
        remark: Callable[[str, str], object],
        templates: InterimTemplates,
        tracer: Tracer = NOBODY,
        refused: Refused = _not_noted,
    ) -> None:
        self._refused = refused
        self.clients, self.admission, self.serves, self.templates = clients, admission, serves, templates
        self.sightings = RadiusSightings(tracer)
        self.tracer = tracer
        self.traced: dict[PacketCode, Callable[[TracedRequest], Served]] = {}
        """Like `serves`, of what somebody wants to see."""
        self._trace: TracedRequest | None = None
        """The packet that is looked at just now, if somebody wants to see it."""
        self.conducts = Conducts()
        self.window = DuplicateWindow()
        self.draining = False
        self.in_flight = 0
        self._remark = remark
        self._counts = meter.counts(metrics.REQUESTS)
        self._dropped = meter.counts(metrics.DROPPED)
        self._silent = meter.counts(metrics.SILENT)
        self._violations = meter.counts(metrics.VIOLATIONS)
        self._by_client = meter.counts(metrics.PEER_REQUESTS)
        self._by_client_dropped = meter.counts(metrics.PEER_DROPPED)
        self._lacking = meter.counts(metrics.RADIUS_LACKING)
        self._left_out = meter.counts(metrics.RADIUS_LEFT_OUT)
        self._marks = meter.counts(metrics.PEER_MARKS)
        self._times = {code: meter.histogram(metrics.REQUEST_TIME, "radius", name) for code, name in NAMES.items()}
        meter.read(metrics.BY_TEMPLATE, "radius", by=lambda: templates.served)
        self._told, self._seldom = Periodic(TOLD_MS), Seldom()
        self._unsigned_told = Periodic(UNSIGNED_TOLD_MS)

    def received(self, octets: bytes, source: tuple[str, int], by: RadiusEndpoint) -> None:
        client = self.clients.of(source[0])
        if client is None:
            self.drop(source, None, UNKNOWN_ADDRESS, "no client in radius.clients has that address")
            return
        self.received_of(client, octets, source, by)

    def received_of(self, client: NasClient, octets: bytes, source: tuple[str, int], by: RadiusSocket) -> None:
        """The same from a client that is known."""
        if self.draining:
            self.silence("stopping")
            return
        if self.tracer.watched and self._is_traced(client, octets, source, by):
            return
        if octets[:1] == ACCOUNTING and PacketCode.ACCOUNTING_REQUEST in by.codes:
            try:
                if self.templates.serve(octets, client, source, by, self):
                    return
            except Exception as bug:
                self.violated_by(octets, source, bug)
                return
        self._received_generally(client, octets, source, by)

    def _is_traced(self, client: NasClient, octets: bytes, source: tuple[str, int], by: RadiusSocket) -> bool:
        """Whether somebody wants to see it. Then it is served the general way, which says of a packet all that its
        template would (docs/tracing.md)."""
        trace = self.sightings.request(octets, client, source, by.ours)
        if trace is None:
            return False
        self._trace = trace
        try:
            self._received_generally(client, octets, source, TracedSocket(by, trace, self.tracer))
        finally:
            self._trace = None
            trace.over_unless_under_way()
        return True

    def _received_generally(self, client: NasClient, octets: bytes, source: tuple[str, int], by: RadiusSocket) -> None:
        try:
            packet = Packet.decode(octets)
            if packet.code not in by.codes and packet.code != PacketCode.STATUS_SERVER:
                raise RadiusError(PacketFault.CODE, f"code {packet.code:d} is not served at this port")
            signed = check_request(packet, client.secret)
            at_ms = now_ms()
            conduct = self.conducts.of(source[0], client, at_ms)
            if packet.code == PacketCode.ACCESS_REQUEST and not by.is_secure:
                if self.conducts.demanded is None and not signed:  # nobody knows yet whether it has to be
                    self.silence("starting")
                    return
                lacks = conduct.judge(packet, signed)
                if lacks is not None:
                    self._unsigned(client, source, lacks)
        except RadiusError as error:
            self.drop(source, client, error.reason, error.why)
            return
        except Exception as bug:
            self.violated_by(octets, source, bug)
            return
        arrived = Arrived(packet, client, source, at_ms, monotonic_us())
        if packet.code == PacketCode.STATUS_SERVER:
            by.send(answer(packet, STATUS_ANSWERS[by.codes[0]], client.secret), source)
            self._counts["radius", "Status-Server", "", "ok"] += 1
        elif conduct.within_rate(arrived.at_us):
            self._serve(arrived, by, conduct)
        else:
            self.over_rate(source, client)

    def over_rate(self, source: tuple[str, int], client: NasClient) -> None:
        self.drop(source, client, TOO_MANY, f"more than rate_max = {client.rate_max} requests a second")

    def _serve(self, arrived: Arrived, by: RadiusSocket, conduct: Conduct) -> None:
        packet = arrived.packet
        code, trace = PacketCode(packet.code), self._trace
        serve = self.serves.get(code)
        if serve is None:
            self.silence("not served")
            return
        if trace is not None and code in self.traced:
            serve = self.traced[code](trace)
        report = packet.code == PacketCode.ACCOUNTING_REQUEST and _status(packet) in REPORTS
        at_ms, at_us = arrived.at_ms, arrived.at_us
        if self.admits(arrived.key, packet.authenticator, at_ms, at_us, by, conduct, report=report):
            handled = serve(arrived)
            RadiusExchange(
                self, by, arrived, handled if trace is None else trace.watch(handled), conduct, report=report
            )

    def admits(
        self,
        key: ExchangeKey,
        authenticator: bytes,
        at_ms: int,
        at_us: int,
        by: AnswerSocket,
        conduct: Conduct,
        *,
        report: bool,
    ) -> bool:
        """Whether a packet is to be served: then it is under way. One that was answered before is answered here."""
        seen = self.window.begin(key, authenticator, at_ms)
        if isinstance(seen, bytes):
            by.send(seen, key.source)
            self._dropped["radius", "answered before"] += 1
            return False
        if seen is Seen.UNDER_WAY:
            self._dropped["radius", "under way"] += 1
            if self._trace is not None:
                self._trace.silent("it is under way already")
            return False
        admission = self.admission
        admission.step(at_us)
        if not admission.admits(report, conduct.in_flight):
            self.window.forget(key, authenticator)
            self.silence("too much to do")
            return False
        return True

    # ---- how it ends

    def count(self, arrived: Arrived, reply: RadiusReply) -> None:
        code = arrived.packet.code
        accounting = code == PacketCode.ACCOUNTING_REQUEST
        kind = STATUS.get(_status(arrived.packet), "other") if accounting else ""
        self._counts["radius", NAMES[PacketCode(code)], kind, reply.result] += 1
        self._by_client[arrived.client.name, reply.result] += 1
        if code == PacketCode.ACCESS_REQUEST and reply.code == PacketCode.ACCESS_REJECT:
            self._refused("subscriber", _user(arrived.packet), arrived.client.name, f"login refused: {reply.result}")
        self._times[PacketCode(code)].add(monotonic_us() - arrived.at_us)

    def count_interim(self, client: NasClient, at_us: int) -> None:
        """`count`, of an Interim-Update that was charged."""
        self._counts[INTERIM] += 1
        self._by_client[client.name, CHARGED] += 1
        self._times[PacketCode.ACCOUNTING_REQUEST].add(monotonic_us() - at_us)

    def mark(self, client: NasClient, marks: int) -> None:
        """What was unusual about a request, for the client."""
        for flag in Flag(marks) & ~(Flag.FREE | Flag.OVERRUN):
            mark = str(flag.name).lower()
            self._marks[client.name, mark] += 1
            self._remark(client.name, mark)

    def drop(self, source: tuple[str, int], client: NasClient | None, why: str, words: str) -> None:
        """Silence, as the protocol says; a count, and a line for each client and reason now and then."""
        self._dropped["radius", why] += 1
        if self._trace is not None:
            self._trace.silent(f"{why}: {words}")
        name = UNKNOWN_ADDRESS if client is None else client.name
        self._refused("client", source[0], "" if client is None else client.name, f"{why}: {words}")
        if client is not None:
            self._by_client_dropped[name, why] += 1
            self.conducts.dropped(source[0], client, why, now_ms())
        times = self._told.times((name, why), now_ms())
        if times:
            logger().warning("radius.dropped", client=name, address=source[0], reason=why, why=words, times=times)

    def _unsigned(self, client: NasClient, source: tuple[str, int], lacks: Habit) -> None:
        """It is served; but whoever stands between us could forge the answer."""
        self._lacking[client.name, lacks] += 1
        times = self._unsigned_told.times((client.name, lacks), now_ms())
        if times:
            why = "answers to it can be forged (CVE-2024-3596): let it send Message-Authenticator"
            logger().warning("radius.unsigned", client=client.name, address=source[0], not_yet=lacks, why=why)

    def left_out(self, client: NasClient, one: LeftOut) -> None:
        self._left_out[client.name, one.attribute, one.why] += 1

    def silence(self, why: str) -> None:
        self._silent["radius", why] += 1
        if self._trace is not None:
            self._trace.silent(why)

    def violated(self, arrived: Arrived, bug: Exception) -> None:
        self.violated_by(arrived.packet.octets, arrived.source, bug)

    def violated_by(self, octets: bytes, source: tuple[str, int], bug: Exception) -> None:
        """A fault of ours: the NAS tries again, and goes on being served."""
        self._violations["exception",] += 1
        times = self._seldom.times(type(bug))
        if times:
            # Not the packet itself: there may be a password in it.
            about = {"address": source[0], "code": octets[:1].hex(), "octets": len(octets)}
            logger().error("radius.failed", **about, times=times, exc_info=bug)

    async def drained(self, within_s: float) -> None:
        """No new ones, and those under way are answered."""
        self.draining = True
        step_s = 0.01
        for _ in range(int(within_s / step_s)):
            if not self.admission.in_flight:
                return
            await asyncio.sleep(step_s)


def _user(packet: Packet) -> str:
    try:
        return packet.get(USER_NAME) or packet.get(CALLING_STATION_ID) or ""
    except RadiusError:
        return ""


def _status(packet: Packet) -> int:
    try:
        return packet.get(ACCT_STATUS_TYPE) or 0
    except RadiusError:
        return 0


class RadiusEndpoint(asyncio.DatagramProtocol):
    """One socket. code: what is served there, besides Status-Server"""

    is_secure = False

    def __init__(self, server: RadiusServer, code: PacketCode) -> None:
        self.server, self.codes = server, (code,)
        self.ours = ("", 0)
        self._transport: asyncio.DatagramTransport | None = None
        self._answers: socket.socket | None = None
        """What answers leave by once nothing is read here any more."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        self.ours = self._transport.get_extra_info("sockname")[:2]

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.server.received(data, (addr[0], addr[1]), self)

    def error_received(self, exc: Exception) -> None:
        """A client is gone, as an ICMP message says: it knows best when it comes again."""

    def leave(self) -> None:
        """Read nothing more: what comes waits in the socket, which whoever follows us has too. Answers still go out."""
        if self._transport is None or self._answers is not None:
            return
        own = self._transport.get_extra_info("socket")
        self._answers = socket.socket(own.family, own.type, own.proto, fileno=os.dup(own.fileno()))
        self._answers.setblocking(False)
        self._transport.close()

    def send(self, octets: bytes, source: tuple[str, int]) -> None:
        if self._answers is not None:
            with contextlib.suppress(OSError):  # its sender tries again
                self._answers.sendto(octets, source)
        elif self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(octets, source)

    def close(self) -> None:
        self.leave()
        if self._answers is not None:
            self._answers.close()
