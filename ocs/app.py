"""The one place where the objects of a process are built, started and stopped: worker, keeper, api.

Each is a coroutine over the configuration and the supervisor (`SupervisorLink`) that serves until it is told to drain.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import itertools
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, Final

import asyncpg
import msgspec
import redis.asyncio
from redis.exceptions import RedisError

from balances.migrations.migrate import MigrationError, migrate
from balances.redis.connection import RedisConnection
from balances.redis.pending import ended
from balances.redis.store import Store
from ocs.charging.handle import ChargingContext
from ocs.charging.settings import ChargingSettings
from ocs.config import Config
from ocs.enforcement.push import Pusher
from ocs.keeper.keeper import Keeper
from ocs.keeper.metrics import kept_counts
from ocs.lasting import Lasting
from ocs.master.bring_in import bring_in
from ocs.master.profiles import ProfileCache
from ocs.master.projection import Projector, teller
from ocs.master.subscribers import served
from ocs.metered import MeteredStore
from ocs.net.admission import Admission
from ocs.net.clock import now_ms, skew
from ocs.net.control import Connection
from ocs.net.credit_control import CreditControl
from ocs.net.diameter import Node
from ocs.net.origins import Origins
from ocs.net.peers import Peers
from ocs.net.push import Pushes
from ocs.net.templates import Templates
from ocs.net.tls import client_context, server_context
from ocs.parent import SupervisorLink, Unfit
from ocs.rescue import SlowPaths
from ocs.shelf import CatalogFollower
from ocs.telemetry import metrics
from ocs.telemetry.log import logger
from ocs.watch import stopped_text
from ocs.witness import Witness, witnessing
from protocol.diameter.peer import LocalPeer, Timers
from protocol.diameter.types import HostAddress
from tariffs.catalog import Catalog

Redis = redis.asyncio.Redis

TROUBLE: Final = (OSError, RedisError)
LOOK_S: Final = 0.25
"""How often a process looks whether it is ready."""
EVER_MS: Final = 200 * 365 * 86_400_000
"""A price may be asked for any time."""
CLOSE_S: Final = 2.0
"""For questions to PostgreSQL that are under way when a process ends."""
QUESTION_PERCENT: Final = 75
"""Part of the time in which an answer is due that one question to PostgreSQL may take: the charge comes after it."""
IPV4, IPV6 = 1, 2


# ---- worker


async def worker(config: Config, parent: SupervisorLink) -> None:
    async with (
        live_store(config, parent) as (redis, store),
        lasting_store(config, parent, 2) as pool,
        witnessed(store, pool),
    ):
        due_s = config.charging.answer_ms_max / 1_000
        lasting = Lasting(pool, within_s=due_s * QUESTION_PERCENT / 100)
        shop = build_shop(config, redis, store, lasting, due_s)
        admission = build_admission(config, store)
        shelf = CatalogFollower(store.link, redis, shop, TROUBLE, admission, in_force=parent.prices_by)
        origins = Origins(store.link, Peers(config.diameter.peers).ignores_origin_state)
        node = build_node(config, parent, shop, admission, origins)
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

        parent.connected, parent.verdict, parent.probed = connected, node.verdict, node.probed
        parent.dismissed = node.dismiss
        pushes = asyncio.ensure_future(Pushes(node, redis, TROUBLE).run())
        for peer in config.diameter.peers:
            if peer.connect:
                files = config.diameter.tls_cert, config.diameter.tls_key, config.diameter.tls_ca
                by = client_context(*files) if peer.connect_tls else None
                node.dial(peer.connect.host, peer.connect.port, peer.origin_host, by)
        while not await told_to_drain(parent):
            why = not_ready(store.link) or shelf.why
            parent.report(not why, why)
            origins.look()
        parent.report(False, "draining")
        await drain(node, config.diameter.drain_s, parent)
        await ended((pushes,))


# ---- keeper


async def keeper(config: Config, parent: SupervisorLink) -> None:
    """Opens and copies; see ocs/keeper/keeper.py."""
    async with (
        live_store(config, parent) as (redis, store),
        lasting_store(config, parent, config.postgres.connections_max) as pool,
    ):
        projector = Projector(pool, redis, teller(store, now_ms))
        peers = Peers(config.diameter.peers)
        it = Keeper(
            redis,
            pool,
            store,
            logger(),
            now_ms=now_ms,
            token=secrets.token_hex(8),
            project=projector.project,
            bring_in=lambda account: bring_in(pool, redis, store, account, now_ms()),
            served=lambda account, asked: served(pool, account, asked),
            label=peers.name,
            ignores_origin_state=peers.ignores_origin_state,
            validity_ms=config.charging.validity_s * 1_000,
            alarm_ms=config.ledger.alarm_s * 1_000,
            durability=config.durability,
            accept_risks=config.redis.accept_risks,
            without_postgres=config.open_without_postgres,
        )
        tell = kept_counts(it, parent.meter)
        await it.start()
        while not await told_to_drain(parent):
            tell()
            if it.refused:
                parent.unfit(it.refused)
            # Stopped shards are charged on: what they ask for is a person, not another server.
            stopped = stopped_text(it.watch.now.stopped)
            degraded = "degraded: " if config.ledger.when_stopped == "degraded" else ""
            parent.report(not it.why, it.why or (stopped and degraded + stopped))
        parent.report(False, "draining")
        await it.stop()


# ---- api


async def api(config: Config, parent: SupervisorLink) -> None:
    """The HTTP server; see ocs/api."""
    # Here and not above: a worker does without an HTTP server and its dictionaries.
    from ocs.api.auth import Callers, token_of
    from ocs.api.desk import BackOffice
    from ocs.api.server import application, serving

    async with (
        live_store(config, parent) as (redis, store),
        lasting_store(config, parent, config.postgres.connections_max) as pool,
        witnessed(store, pool),
        Pusher(redis, TROUBLE).running() as pusher,
    ):
        lasting = Lasting(pool, within_s=config.http.store_ms_max / 1_000)
        shop = build_shop(config, redis, store, lasting, config.http.store_ms_max / 1_000)
        shop.settings = msgspec.structs.replace(shop.settings, event_ahead_ms=EVER_MS, event_behind_ms=EVER_MS)
        shelf = CatalogFollower(store.link, redis, shop, TROUBLE)
        desk = BackOffice(
            lasting,
            redis,
            store,
            Projector(lasting, redis, teller(store, now_ms)),
            now_ms,
            push=pusher.push,
            processes=lambda: others(parent),
            priced_by=lambda: priced_by(parent),
            shop=shop,
            newest=shelf.newest,
            store_ms_max=config.http.store_ms_max,
            adjustments=config.adjustments,
        )
        callers = Callers({token_of(config.data): "admin"})
        if parent.listener is None:  # http.listen is off
            while not await told_to_drain(parent):
                parent.report(True)
            return
        async with serving(application(desk, callers, config.http, parent.meter), parent.listener, config.http):
            while not await told_to_drain(parent):
                parent.report(True)
        parent.report(False, "draining")


async def others(parent: SupervisorLink) -> dict[str, str]:
    """`ok` or what is wrong of each other process, by role and number, as /readyz says it."""
    return {
        f"{child.role} {child.number}": child.reason or ("ok" if child.ready else "not ready")
        for child in await parent.children()
        if child.role != "api"
    }


async def priced_by(parent: SupervisorLink) -> int:
    """The oldest version of the tariffs that a worker of this host prices by; 0: none of them prices."""
    workers = [child for child in await parent.children() if child.role == "worker" and child.ready]
    return min((worker.catalog for worker in workers), default=0)


# ---- what they are made of


async def drain(node: Node, patience_s: float, parent: SupervisorLink) -> None:
    draining = asyncio.ensure_future(node.drain(patience_s))
    hurry = asyncio.ensure_future(parent.fast.wait())
    await asyncio.wait((draining, hurry), return_when=asyncio.FIRST_COMPLETED)
    node.abort()
    await draining
    hurry.cancel()


async def told_to_drain(parent: SupervisorLink) -> bool:
    """Waits for it a moment. Unfit when no restart can help this process."""
    try:
        async with asyncio.timeout(LOOK_S):
            await parent.draining.wait()
    except TimeoutError:
        if parent.why_unfit:
            raise Unfit(parent.why_unfit) from None
        return False
    return True


def not_ready(link: RedisConnection) -> str:
    """Why the live store cannot be called from here, "" when it can."""
    if link.epoch is None:
        return link.why
    return skew("the live store", link.clock_offset_ms)


@contextlib.asynccontextmanager
async def live_store(config: Config, parent: SupervisorLink) -> AsyncIterator[tuple[Redis, MeteredStore]]:
    """The live store: a client for everything slow, and the connection of the hot path."""
    url = config.redis.url.reveal()
    link = RedisConnection(url, now_ms=now_ms, answer_ms_max=config.charging.answer_ms_max)
    async with Redis.from_url(url, protocol=2, health_check_interval=5, socket_connect_timeout=5) as redis:
        await link.start(0)
        try:
            yield redis, MeteredStore(link, parent.meter, Witness(logger(), partial(_count_lost, parent)))
        finally:
            await link.stop()


def _count_lost(parent: SupervisorLink, count: int) -> None:
    parent.meter.counts(metrics.LOST_ANSWERS)[()] += count


@contextlib.asynccontextmanager
async def witnessed(store: MeteredStore, pool: Any) -> AsyncIterator[None]:
    """What was answered is compared with PostgreSQL whenever the live store came back, while the block lasts."""
    assert store.witness is not None
    looking = asyncio.ensure_future(witnessing(store.witness, pool, lambda: store.link.epoch))
    try:
        yield
    finally:
        await ended((looking,))


@contextlib.asynccontextmanager
async def lasting_store(config: Config, parent: SupervisorLink, connections_max: int) -> AsyncIterator[Any]:
    """A pool that connects when it is asked something: every process starts and serves without PostgreSQL. The first
    connection brings the database up to date; whichever process is first does it for all."""
    dsn = config.postgres.dsn.reveal()
    up_to_date = False

    async def check(_connection: Any) -> None:
        nonlocal up_to_date
        if not up_to_date:
            try:
                applied = await migrate(dsn)
            except MigrationError as why:
                parent.unfit(str(why))
                raise
            if applied:
                logger().info("migrated", applied=applied)
            up_to_date = True

    pool = await asyncpg.create_pool(dsn, min_size=0, max_size=connections_max, init=check)
    try:
        yield pool
    finally:
        try:
            await asyncio.wait_for(pool.close(), CLOSE_S)
        except TimeoutError:
            pool.terminate()  # it hangs: there is nothing to wait for


def jitter() -> Callable[[], int]:
    """0 to 1000, evenly: 619 has no factor in common with 1001. What has to differ is one grant from the next, so a
    walk does as well as chance, without a system call a request."""
    walk = itertools.count(secrets.randbelow(1_001))
    return lambda: next(walk) * 619 % 1_001


def build_shop(config: Config, redis: Redis, store: Store, lasting: Lasting, within_s: float) -> ChargingContext:
    """within_s: how long one slow path may take"""
    rescue = SlowPaths(lasting, redis, store, now_ms, TROUBLE, within_s)
    charging = config.charging
    return ChargingContext(
        catalog=Catalog([], 0),
        profiles=ProfileCache(store.link, charging.profiles_max),
        store=store,
        settings=ChargingSettings(
            services=charging.table(),
            clients={peer.origin_host: peer.profile for peer in config.diameter.peers},
            identity_order=charging.identity_order,
            jitter_permille=int(charging.validity_jitter * 1_000),
            overrun_factor=charging.overrun_factor,
            remember_ms=charging.remember_s * 1_000,
        ),
        restore=rescue.restore,
        session_known=rescue.session_known,
        request_known=rescue.request_known,
        refundable=rescue.refundable,
        event_known=rescue.event_known,
        jitter=jitter(),
    )


def build_admission(config: Config, store: MeteredStore) -> Admission:
    diameter = config.diameter
    return Admission(
        diameter.in_flight_max,
        diameter.peer_in_flight_max,
        wait_us=config.charging.answer_ms_max * 1_000 // 2,
        waits=store.waits,
        oldest_us=store.link.oldest_us,
    )


def build_node(
    config: Config, parent: SupervisorLink, shop: ChargingContext, admission: Admission, origins: Origins
) -> Node:
    diameter = config.diameter
    return Node(
        LocalPeer(
            diameter.origin_host, diameter.origin_realm, our_addresses(diameter.listen.host), diameter.product_name
        ),
        Peers(diameter.peers, admit_loopback=diameter.admit_loopback),
        parent.meter,
        parent,
        lambda node: CreditControl(node, admission, shop, origins, Templates(config.charging.templates_max)),
        timers=Timers(
            capabilities_ms=diameter.handshake_s * 1_000,
            watchdog_ms=diameter.watchdog_s * 1_000,
        ),
        message_bytes_max=diameter.message_bytes_max,
        origin_state=origins.note,
    )


def our_addresses(host: str) -> tuple[HostAddress, ...]:
    """Host-IP-Address: where we listen, or where the name of this machine leads when that is everywhere."""
    try:
        found = {ipaddress.ip_address(info[4][0]) for info in socket.getaddrinfo(host, None)}
        if any(address.is_unspecified for address in found):
            found = {ipaddress.ip_address(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), None)}
    except OSError:
        found = set()
    addresses = sorted(found, key=str) or [ipaddress.ip_address("127.0.0.1")]
    return tuple(HostAddress(IPV4 if one.version == 4 else IPV6, one.packed) for one in addresses)
