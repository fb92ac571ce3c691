"""Diameter in a worker: its connections, their peers and timers. The rules are in protocol.diameter.peer; here they get
sockets, a clock and somebody to serve requests."""

from __future__ import annotations

import asyncio
import secrets
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from ocs.clock import monotonic_ms, now_ms
from ocs.net.diameter.claims import HUNG_MS, PROBE_MS
from ocs.net.diameter.connection import CLOSED_BY_PEER, DiameterConnection, Service
from ocs.net.diameter.peers import Peers
from ocs.net.diameter.sightings import DiameterSightings
from ocs.net.tls import certified_names, plainly
from ocs.stores.refusal_book import RefusalKind
from ocs.telemetry import metrics
from ocs.telemetry.log import Seldom, logger
from ocs.tracing.tracer import NOBODY, Tracer
from protocol.diameter.answers import error_answer
from protocol.diameter.dictionary.base import CapabilitiesExchangeRequest, DeviceWatchdogRequest, DisconnectCause
from protocol.diameter.frames import MAX_BYTES
from protocol.diameter.message import DiameterCommand
from protocol.diameter.peer import (
    Action,
    Close,
    DeliverAnswer,
    DeliverRequest,
    Dropped,
    LocalPeer,
    PeerDown,
    PeerLeaving,
    PeerTable,
    PeerUp,
    Recovered,
    Restarted,
    Send,
    Suspect,
    Timers,
)
from protocol.diameter.peer_actions import ActedOn
from protocol.errors import FrameError, ProtocolError, ResultCode

TICK_S: Final = 0.25
REDIAL_S: Final = 30.0
"""Tc of RFC 6733 section 12."""

Answered = Callable[[bytes | None], None]
"""Gets the answer to a request of ours, or None when there will be none."""


Refused = Callable[[RefusalKind, str, str, str], None]
CONNECTED_ALREADY: Final = "connected already, and that connection answers"


def _not_noted(_kind: RefusalKind, _who: str, _by: str, _why: str) -> None:
    """Where nobody keeps a book of it."""


class Arbiter(Protocol):
    """The supervisor, which knows the connections of all workers."""

    def claim(self, connection: int, origin_host: str, several: int) -> None: ...
    def closed(self, connection: int) -> None: ...


class Node:
    """All Diameter connections of this process."""

    def __init__(
        self,
        local: LocalPeer,
        peers: Peers,
        meter: metrics.Meter,
        arbiter: Arbiter,
        service: Callable[[Node], Service],
        *,
        timers: Timers | None = None,
        message_bytes_max: int = MAX_BYTES,
        origin_state: Callable[[str, int], None] = lambda _origin_host, _value: None,
        tracer: Tracer = NOBODY,
        refused: Refused = _not_noted,
    ) -> None:
        """refused: is told who was refused: kind, who, by what, why"""
        self.sightings = DiameterSightings(tracer)
        self.refused = refused
        self.local, self.peers, self.meter, self.message_bytes_max = local, peers, meter, message_bytes_max
        self._arbiter = arbiter
        self._origin_state = origin_state
        self._timers = timers or Timers()
        self._table = PeerTable(
            local,
            self._timers,
            admit=self._admit,
            several=lambda _host: True,  # decided before the CER gets there, by `claim`
            jitter_ms=lambda: secrets.randbelow(4_001) - 2_000,
            # RFC 6733 section 3: 12 bits of the time and 20 random ones, unique also over a restart
            end_to_end=(now_ms() // 1_000 & 0xFFF) << 20 | secrets.randbelow(1 << 20),
        )
        self._links: dict[ActedOn, DiameterConnection] = {}
        self._by_number: dict[int, DiameterConnection] = {}
        self._asking: DiameterConnection | None = None
        self._dirty: list[DiameterConnection] = []
        self._loop = asyncio.get_running_loop()
        self._last_dialled = 0
        self._wanted: dict[int, asyncio.Future[bool]] = {}
        self._dialling: set[asyncio.Task[None]] = set()
        self._adopting: dict[int, asyncio.Task[Any]] = {}
        self._seldom = Seldom()
        self._emptied = asyncio.Event()
        self._draining = False
        self._connections = meter.counts(metrics.CONNECTIONS)
        self._disconnects = meter.counts(metrics.DISCONNECTS)
        self._dropped = meter.counts(metrics.DROPPED)
        self._peer_connections = meter.counts(metrics.PEER_UP)
        for name in peers.names:  # one that is down is a 0, not a gap
            self._peer_connections[name,] = 0
        meter.read(metrics.PEERS, "diameter", by=lambda: sum(link.peer is not None for link in self._links.values()))
        self.service = service(self)
        self._ticker: asyncio.TimerHandle | None = None

    # ---- connections

    async def adopt(
        self, end: socket.socket, number: int, address: str, tls: ssl.SSLContext | None = None
    ) -> DiameterConnection | None:
        """Serve a connection that was accepted elsewhere. `number` is its name at the arbiter."""
        link = DiameterConnection(self, self._table.accepted(monotonic_ms()), number, address)
        self._time()
        task = asyncio.current_task()
        assert task is not None
        self._adopting[number] = task
        try:
            handshake_s = self._timers.capabilities_ms / 1_000 if tls is not None else None
            await self._loop.connect_accepted_socket(lambda: link, end, ssl=tls, ssl_handshake_timeout=handshake_s)
        except (OSError, asyncio.CancelledError) as why:
            dismissed = isinstance(why, asyncio.CancelledError)
            self._connections["diameter", "made room" if dismissed else "tls failed" if tls else "failed"] += 1
            if not dismissed:
                self._say("diameter.not_connected", address, address=address, why=plainly(why))
            link.machine.lost(monotonic_ms())
            self._arbiter.closed(number)
            return None
        finally:
            del self._adopting[number]
        return link

    def dismiss(self, number: int) -> None:
        """There are too many connections that have not said who they are: this one ends if it has not yet."""
        link = self._by_number.get(number)
        if link is not None and not link.admitted:
            link.abort("made room for another")
        elif link is None and number in self._adopting:
            self._adopting[number].cancel()

    def dial(self, host: str, port: int, origin_host: str, tls: ssl.SSLContext | None = None) -> None:
        """Connect, and again whenever the connection ends, until we drain."""
        task = self._loop.create_task(self._keep_dialled(host, port, origin_host, tls))
        self._dialling.add(task)
        task.add_done_callback(self._dialling.discard)

    async def _keep_dialled(self, host: str, port: int, origin_host: str, tls: ssl.SSLContext | None) -> None:
        """Every worker tries; the arbiter lets in as many as the peer may have connections."""
        while not self._draining:
            self._last_dialled -= 1  # the arbiter's own numbers are positive
            number = self._last_dialled
            verdict = self._wanted[number] = self._loop.create_future()
            self._arbiter.claim(number, origin_host, self.peers.several(origin_host))
            if await verdict:
                link = await self._dial_once(host, port, origin_host, number, tls)
                if link is not None:
                    await link.gone.wait()
                else:
                    self._arbiter.closed(number)
            await asyncio.sleep(REDIAL_S)

    async def _dial_once(
        self, host: str, port: int, origin_host: str, number: int, tls: ssl.SSLContext | None
    ) -> DiameterConnection | None:
        machine = self._table.dial(origin_host, monotonic_ms())
        self._time()
        machine.ignored = self.peers.profile(origin_host).ignored
        link = DiameterConnection(self, machine, number, host, dialled=True)
        link.peer_host = origin_host
        try:
            handshake_s = self._timers.capabilities_ms / 1_000
            by: dict[str, Any] = {"ssl": tls, "server_hostname": origin_host, "ssl_handshake_timeout": handshake_s}
            await self._loop.create_connection(lambda: link, host, port, **(by if tls else {}))
        except OSError as why:
            machine.lost(monotonic_ms())
            self._say("diameter.not_connected", (host, port), peer=origin_host, address=host, why=plainly(why))
            return None
        misnamed = self.peers.misnamed(origin_host, link.certified)
        if misnamed:
            self._say("diameter.not_connected", (host, port), peer=origin_host, address=host, why=misnamed)
            link.abort("its certificate is for somebody else")
            return link
        self.act_all(machine.connected(monotonic_ms()), link)
        return link

    def made(self, link: DiameterConnection, transport: asyncio.Transport) -> None:
        end = transport.get_extra_info("socket")
        if end.family in (socket.AF_INET, socket.AF_INET6):
            # Answers are one write per turn already; held back by Nagle they would come 1 to 2 ms late.
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if transport.get_extra_info("ssl_object") is not None:
            link.certified = certified_names(transport.get_extra_info("peercert"))
        self._links[link.machine] = link
        self._by_number[link.number] = link
        self._emptied.clear()

    def lost(self, link: DiameterConnection, error: Exception | None) -> None:
        self.act_all(link.machine.lost(monotonic_ms()), link)
        self._links.pop(link.machine, None)
        self._by_number.pop(link.number, None)
        self._arbiter.closed(link.number)
        why = link.ending or ("connection broken" if error is not None else CLOSED_BY_PEER)
        self._disconnects["diameter", why] += 1
        if link.peer is not None:
            logger().info("diameter.peer_down", peer=link.peer.origin_host, address=link.address, why=why)
            link.peer = None
            self._peer_connections[link.peer_name,] -= 1
        if not self._links:
            self._emptied.set()

    def garbage(self, link: DiameterConnection, error: FrameError) -> None:
        self._say("diameter.garbage", link.address, address=link.address, peer=link.peer_host, why=error.why)
        link.finish("garbage")

    # ---- admission of peers

    def admits(self, link: DiameterConnection, cer: CapabilitiesExchangeRequest) -> bool:
        why = self.peers.objection(cer.origin_host, link.address, link.certified)
        if why:
            self._connections["diameter", "unknown peer"] += 1
            self.refused("peer", cer.origin_host, link.address, why)
            self._say(
                "diameter.unknown_peer", (cer.origin_host, link.address),
                origin_host=cer.origin_host, origin_realm=cer.origin_realm, address=link.address, why=why,
            )  # fmt: skip
        return not why

    def claim(self, link: DiameterConnection) -> None:
        # It has said its CER in time; what takes time now is the other one.
        link.machine.due_ms = monotonic_ms() + 2 * HUNG_MS
        self._arbiter.claim(link.number, link.peer_host, self.peers.several(link.peer_host))

    def verdict(self, number: int, granted: bool) -> None:
        """The arbiter's answer to a claim."""
        wanted = self._wanted.pop(number, None)
        if wanted is not None:
            if not wanted.done():  # cancelled: we drain
                wanted.set_result(granted)
            return
        link = self._by_number.get(number)
        if link is None:
            return
        if not granted:
            self._connections["diameter", "connected already"] += 1
            self.refused("peer", link.peer_host, link.address, CONNECTED_ALREADY)
            logger().warning("diameter.second_connection", peer=link.peer_host, address=link.address)
        self._asking = link
        link.decided(granted)
        self._asking = None

    def probed(self, number: int, tell: Callable[[bool], None]) -> None:
        """Another connection claims to be this peer: check whether this one is alive."""
        link = self._by_number.get(number)
        if link is None:
            tell(False)
            return
        local = self.local
        dwr = DeviceWatchdogRequest(
            origin_host=local.origin_host, origin_realm=local.origin_realm, origin_state_id=local.origin_state_id
        )
        # Beside the machine's own: a DWA is matched by nothing but its command.
        octets = dwr.encode(
            hop_by_hop=self._table.node.next_end_to_end(), end_to_end=self._table.node.next_end_to_end()
        )
        link.probe(octets, PROBE_MS / 1_000, tell)

    def _admit(self, cer: CapabilitiesExchangeRequest) -> bool:
        return self._asking is not None and self._asking.admitted

    # ---- what the machines want done

    def act_all(self, actions: Iterable[Action], link: DiameterConnection) -> None:
        for action in actions:
            if type(action) is DeliverRequest:
                self.service(action.frame, link)
            else:
                self.act(action)

    def heard(self, frame: bytes, action: Action, link: DiameterConnection) -> None:
        """What came of a message that is no request to be served."""
        if self.sightings.tracer.watched:
            self.sightings.received(frame, link)
        self.act(action)

    def act(self, action: Action) -> None:
        link = self._links.get(action.connection)
        if link is None:
            return
        match action:
            case Send(octets=octets):
                if self.sightings.tracer.watched:
                    self.sightings.sent(octets, link)
                link.write(octets)
            case Close(why=why, detail=detail):
                if detail:
                    self._say(
                        "diameter.not_agreed", (link.peer_host, why),
                        peer=link.peer_host, address=link.address, why=why, detail=detail,
                    )  # fmt: skip
                link.finish(why)
            case DeliverRequest(frame=frame):
                self.service(frame, link)
            case DeliverAnswer(frame=frame, token=token):
                token(frame)
            case PeerUp(peer=peer):
                link.peer = peer
                link.peer_host = peer.origin_host
                link.peer_name = self.peers.name(peer.origin_host)
                self._peer_connections[link.peer_name,] += 1
                self._connections["diameter", "open"] += 1
                logger().info(
                    "diameter.peer_up", peer=peer.origin_host, address=link.address, product=peer.product_name
                )
                self._origin_state(peer.origin_host, peer.origin_state_id or 0)
            case PeerDown(unanswered=unanswered):
                for token in unanswered:
                    token(None)
            case PeerLeaving(cause=cause):
                logger().info(
                    "diameter.peer_leaving", peer=link.peer_host, cause=cause.name if cause is not None else ""
                )
            case Suspect():
                logger().warning("diameter.peer_suspect", peer=link.peer_host, address=link.address)
            case Recovered():
                logger().info("diameter.peer_recovered", peer=link.peer_host, address=link.address)
            case Restarted(origin_host=host, origin_state_id=value):
                logger().info("diameter.peer_restarted", peer=host)
                self._origin_state(host, value)
            case Dropped(why=why):
                self._dropped["diameter", why] += 1

    def error(self, request: bytes, error: ProtocolError | ResultCode, why: str = "") -> bytes:
        local = self.local
        return error_answer(
            request, error, origin_host=local.origin_host, origin_realm=local.origin_realm,
            origin_state_id=local.origin_state_id, why=why,
        )  # fmt: skip

    # ---- output, once per turn

    def has_output(self, link: DiameterConnection) -> None:
        if not self._dirty:
            self._loop.call_soon(self._flush)
        self._dirty.append(link)

    def _flush(self) -> None:
        dirty, self._dirty = self._dirty, []
        for link in dirty:
            link.flush()

    # ---- requests of ours

    def is_connected(self, host: str) -> bool:
        return bool(self._usable(host))

    def request(self, host: str, message: DiameterCommand, answered: Answered) -> bool:
        """Sends it to the directly connected peer `host`; False when it is not connected here. Of several connections
        the newest is taken: an older one may be the dead half of a client that came back."""
        usable = self._usable(host)
        if not usable:
            return False
        link = max(usable, key=lambda link: abs(link.number))
        try:
            actions = link.machine.send_request(message, answered, monotonic_ms())
        except ValueError:
            return False
        self.act_all(actions, link)
        return True

    def _usable(self, host: str) -> list[DiameterConnection]:
        """Whether the connection can still receive an answer: not when it is no longer read."""
        links = (self._links.get(machine) for machine in self._table.usable(host))
        return [link for link in links if link is not None and not link.ending]

    # ---- time and the end

    def _time(self) -> None:
        """There is a connection, and so something that may come to be due."""
        if self._ticker is None:
            self._ticker = self._loop.call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        self._ticker = None
        for action in self._table.tick(monotonic_ms()):
            self.act(action)
        if self._table.connections:
            self._time()

    async def drain(self, patience_s: float) -> None:
        """DPR to every peer. What it sent before its DPA is still answered; then the connection closes."""
        self._draining = True
        for task in self._dialling:
            task.cancel()
        for link in list(self._links.values()):
            self.act_all(link.machine.stop(DisconnectCause.REBOOTING, monotonic_ms()), link)
        if self._links:
            try:
                async with asyncio.timeout(patience_s):
                    await self._emptied.wait()
            except TimeoutError:
                for link in list(self._links.values()):
                    link.abort("drained")
        if self._ticker is not None:
            self._ticker.cancel()

    def abort(self) -> None:
        """End what a drain still waits for."""
        for link in list(self._links.values()):
            link.abort("drained in a hurry")

    def _say(self, event: str, kind: Any, **fields: Any) -> None:
        times = self._seldom.times((event, kind))
        if times:
            logger().warning(event, **fields, times=times)
