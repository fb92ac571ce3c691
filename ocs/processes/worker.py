"""A worker: Diameter, RADIUS and charging. It serves until it is told to drain."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from functools import partial
from typing import Any, Final

from balances.redis.pending import ended
from ocs.charging.handle import ChargingContext
from ocs.clock import monotonic_us, now_ms
from ocs.config.tree import Config
from ocs.master.passwords import StoredPasswords
from ocs.master.sealing import sealing_of
from ocs.net.admission import Admission
from ocs.net.diameter.credit_control import CreditControl
from ocs.net.diameter.node import Node
from ocs.net.diameter.origins import LOOK, Origins
from ocs.net.diameter.peers import Peers
from ocs.net.diameter.reauthorize import SessionRequestSender
from ocs.net.diameter.templates import Templates
from ocs.net.radius.accounting import Accounting
from ocs.net.radius.authorisation import Authorisation
from ocs.net.radius.clients import NasClients
from ocs.net.radius.conduct_book import LOOK as LOOK_AT_DEMANDS
from ocs.net.radius.conduct_book import ConductBook
from ocs.net.radius.home_book import HomeBook
from ocs.net.radius.home_pool import HomePool
from ocs.net.radius.interims import InterimTemplates
from ocs.net.radius.password_check import PasswordCheck
from ocs.net.radius.ports import Ports
from ocs.net.radius.radsec import RadSecListener
from ocs.net.radius.restarts import NasRestarts
from ocs.net.radius.server import RadiusEndpoint, RadiusServer, Served
from ocs.net.tls import client_context, server_context
from ocs.processes.catalog_follower import CatalogFollower
from ocs.processes.charging_context import build_admission, build_context, build_tracer
from ocs.processes.control import Connection
from ocs.processes.listeners import RADSEC
from ocs.processes.stores import TROUBLE, bounded_pool, live_store, not_ready, witnessed
from ocs.processes.supervisor_link import SupervisorLink, told_to_drain
from ocs.stores.bounded_postgres import BoundedPostgres
from ocs.stores.metered import MeteredStore
from ocs.stores.refusal_book import RefusalBook
from ocs.stores.shut_shards import shut_shards
from ocs.tracing.tracer import Tracer
from protocol.diameter.peer import LocalPeer, Timers
from protocol.diameter.types import HostAddress
from protocol.radius.codes import PacketCode

QUESTION_PERCENT: Final = 75
"""Part of the time in which an answer is due that one question to PostgreSQL may take: the charge comes after it."""
IPV4, IPV6 = 1, 2
RADIUS_PORTS: Final = {
    "radius.auth_listen": PacketCode.ACCESS_REQUEST,
    "radius.acct_listen": PacketCode.ACCOUNTING_REQUEST,
}


async def worker(config: Config, supervisor: SupervisorLink) -> None:
    async with (
        live_store(config, supervisor) as (redis, store),
        bounded_pool(config, supervisor, 2) as pool,
        witnessed(store, pool, supervisor),
        HomePool(config.radius.home, config.radius.known.attributes, supervisor.meter, monotonic_s).open() as homes,
    ):
        due_s = config.charging.answer_ms_max / 1_000
        postgres = BoundedPostgres(pool, within_s=due_s * QUESTION_PERCENT / 100)
        context = build_context(config, redis, store, postgres, due_s)
        admission = build_admission(config, store)
        catalog = CatalogFollower(store.link, redis, context, TROUBLE, admission, in_force=supervisor.prices_by)
        origins = Origins(store.link, Peers(config.diameter.peers).ignores_origin_state)
        store.link.ask_too(LOOK, origins.looked)
        tracer, refusals = build_tracer(config, supervisor, store), RefusalBook(store.link, now_ms)
        node = build_node(config, supervisor, context, admission, origins, tracer, refusals)
        server = radius_server(config, supervisor, context, admission, store, homes, tracer, refusals)
        radius = RadiusSockets(config, supervisor, server)
        books = conduct_books(config, radius, store)
        telling = [asyncio.ensure_future(refusals.run()), *(asyncio.ensure_future(book.run()) for book in books)]
        if homes:
            telling.append(asyncio.ensure_future(HomeBook(store.link, homes, now_ms).run()))
        tls = None
        if config.diameter.tls_listen:
            tls = server_context(config.diameter.tls_cert, config.diameter.tls_key, config.diameter.tls_ca)
        adopting: set[asyncio.Task[Any]] = set()

        def connected(end: socket.socket, connection: Connection) -> None:
            task = asyncio.ensure_future(
                node.adopt(end, connection.id, connection.host, tls if connection.tls else None)
            )
            adopting.add(task)
            task.add_done_callback(adopting.discard)

        supervisor.connected, supervisor.verdict, supervisor.probed = connected, node.verdict, node.probed
        supervisor.dismissed = node.dismiss
        session_requests = asyncio.ensure_future(SessionRequestSender(node, redis, TROUBLE).run())
        for peer in config.diameter.peers:
            if peer.connect:
                files = config.diameter.tls_cert, config.diameter.tls_key, config.diameter.tls_ca
                by = client_context(*files) if peer.connect_tls else None
                node.dial(peer.connect.host, peer.connect.port, peer.origin_host, by)
        while not await told_to_drain(supervisor):
            why = not_ready(store.link) or catalog.why
            if not why:  # until then what comes waits for us, or is read by the process that we follow
                await radius.listen()
            supervisor.report(not why, why or shut_shards(store.link))
        supervisor.report(False, "draining")
        await asyncio.gather(
            drain(node, config.diameter.drain_s, supervisor),
            radius.drain(0 if supervisor.fast.is_set() else config.diameter.drain_s),
        )
        await ended((session_requests, *telling))
        await refusals.tell()
        for book in books:
            await book.tell()


async def drain(node: Node, patience_s: float, supervisor: SupervisorLink) -> None:
    draining = asyncio.ensure_future(node.drain(patience_s))
    hurry = asyncio.ensure_future(supervisor.fast.wait())
    await asyncio.wait((draining, hurry), return_when=asyncio.FIRST_COMPLETED)
    node.abort()
    await draining
    hurry.cancel()


def radius_server(
    config: Config,
    supervisor: SupervisorLink,
    context: ChargingContext,
    admission: Admission,
    store: MeteredStore,
    homes: HomePool,
    tracer: Tracer,
    refusals: RefusalBook,
) -> RadiusServer:
    serves: dict[PacketCode, Served] = {}
    templates = InterimTemplates(context, config.charging.templates_max)
    server = RadiusServer(
        NasClients(config.radius),
        admission,
        supervisor.meter,
        serves,
        store.remark,
        templates,
        tracer,
        refusals.note,
    )
    ports = Ports(store)
    passwords = PasswordCheck(StoredPasswords(sealing_of(config)), monotonic_s)
    accounting = Accounting(
        context, NasRestarts(store.link), ports, templates, mark=server.mark, silence=server.silence
    )
    authorisation = Authorisation(
        context,
        store,
        ports,
        passwords,
        homes=homes,
        mark=server.mark,
        silence=server.silence,
        left_out=server.left_out,
    )
    serves[PacketCode.ACCOUNTING_REQUEST] = accounting.serve
    serves[PacketCode.ACCESS_REQUEST] = authorisation.serve
    server.traced[PacketCode.ACCOUNTING_REQUEST] = lambda trace: (
        accounting.within(trace.context(context), trace.silent).serve
    )
    server.traced[PacketCode.ACCESS_REQUEST] = lambda trace: (
        authorisation.within(trace.context(context), trace.silent).serve
    )
    return server


class RadiusSockets:
    """What the supervisor gave us to listen on for RADIUS; it keeps them, and gives them to who follows us."""

    def __init__(self, config: Config, supervisor: SupervisorLink, server: RadiusServer) -> None:
        self.server = server
        self._config, self._supervisor = config.radius, supervisor
        self._endpoints: list[RadiusEndpoint] = []
        self._radsec: RadSecListener | None = None
        self._listens = False

    @property
    def given(self) -> bool:
        return bool(self._supervisor.worker_sockets.keys() & RADIUS_PORTS.keys())

    async def listen(self) -> None:
        """Read them from now on; once."""
        if self._listens:
            return
        self._listens = True
        sockets, radius = self._supervisor.worker_sockets, self._config
        for key, code in RADIUS_PORTS.items():
            if key in sockets:
                endpoint = RadiusEndpoint(self.server, code)
                loop = asyncio.get_running_loop()
                await loop.create_datagram_endpoint(partial(_same, endpoint), sock=sockets[key])
                self._endpoints.append(endpoint)
        if RADSEC in sockets:
            tls = server_context(radius.tls_cert, radius.tls_key, radius.tls_ca, "radius")
            self._radsec = RadSecListener(self.server, sockets[RADSEC], tls, self._supervisor.meter)

    async def drain(self, within_s: float) -> None:
        """What comes from now on waits for the process that follows; without one its sender tries another server."""
        if self._radsec is not None:
            self._radsec.stop()
        for endpoint in self._endpoints:
            endpoint.leave()
        await self.server.drained(within_s)
        for endpoint in self._endpoints:
            endpoint.close()
        if self._radsec is not None:
            self._radsec.close()


def monotonic_s() -> float:
    return monotonic_us() / 1_000_000


def conduct_books(config: Config, radius: RadiusSockets, store: MeteredStore) -> list[ConductBook]:
    """Of the RADIUS server, where there is one."""
    if not radius.given:
        return []
    book = ConductBook(store.link, radius.server.conducts, config.radius.learn_s * 1_000, now_ms)
    store.link.ask_too(LOOK_AT_DEMANDS, book.looked)
    return [book]


def _same(endpoint: RadiusEndpoint) -> RadiusEndpoint:
    return endpoint


def build_node(
    config: Config,
    supervisor: SupervisorLink,
    context: ChargingContext,
    admission: Admission,
    origins: Origins,
    tracer: Tracer,
    refusals: RefusalBook,
) -> Node:
    diameter = config.diameter
    return Node(
        LocalPeer(
            diameter.origin_host, diameter.origin_realm, our_addresses(diameter.listen.host), diameter.product_name
        ),
        Peers(diameter.peers, admit_loopback=diameter.admit_loopback),
        supervisor.meter,
        supervisor,
        lambda node: CreditControl(node, admission, context, origins, Templates(config.charging.templates_max)),
        timers=Timers(
            capabilities_ms=diameter.handshake_s * 1_000,
            watchdog_ms=diameter.watchdog_s * 1_000,
        ),
        message_bytes_max=diameter.message_bytes_max,
        origin_state=origins.note,
        tracer=tracer,
        refused=refusals.note,
    )


def our_addresses(host: str) -> tuple[HostAddress, ...]:
    """Values of Host-IP-Address: the listening address, or those of this machine's name when listening on all."""
    try:
        found = {ipaddress.ip_address(info[4][0]) for info in socket.getaddrinfo(host, None)}
        if any(address.is_unspecified for address in found):
            found = {ipaddress.ip_address(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), None)}
    except OSError:
        found = set()
    addresses = sorted(found, key=str) or [ipaddress.ip_address("127.0.0.1")]
    return tuple(HostAddress(IPV4 if one.version == 4 else IPV6, one.packed) for one in addresses)
