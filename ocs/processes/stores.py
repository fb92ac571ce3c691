"""The stores of a process: opened at its start, watched while it runs, closed at its end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Any, Final

import asyncpg
import redis.asyncio
from redis.exceptions import RedisClusterException, RedisError

from balances.migrations.migrate import MigrationError, migrate
from balances.redis.address import StoreAddress
from balances.redis.clients import slow_client
from balances.redis.link import StoreLink
from balances.redis.links import store_link
from balances.redis.moving_primaries import moving_primaries
from balances.redis.pending import ended
from balances.redis.primaries import OnePrimary, Primaries
from balances.redis.replicas import NOBODY
from ocs.clock import now_ms, skew
from ocs.config.tree import Config
from ocs.processes.supervisor_link import SupervisorLink
from ocs.stores.format_follower import FormatFollower
from ocs.stores.metered import MeteredStore
from ocs.stores.moved_postgres import PostgresHosts
from ocs.stores.plain_connection import WAITS_FOR_DISK, PlainConnection
from ocs.stores.witness import Witness, witnessing
from ocs.telemetry import metrics
from ocs.telemetry.log import logger

Redis = redis.asyncio.Redis

TROUBLE: Final = (OSError, RedisError, RedisClusterException)
LISTENS: Final = 1
"""Connection beside `postgres.connections_max` of a process that listens for events."""
NO_SETTINGS: Final[Mapping[str, str]] = {}
CLOSE_S: Final = 2.0
"""For questions to PostgreSQL that are under way when a process ends."""


def not_ready(link: StoreLink) -> str:
    """Why the live store cannot be called from here, "" when it can."""
    if link.epoch is None:
        return link.why
    return skew("the live store", link.clock_offset_ms)


@contextlib.asynccontextmanager
async def live_store(config: Config, supervisor: SupervisorLink) -> AsyncIterator[tuple[Redis, MeteredStore]]:
    """The live store: a client for everything slow, and the link of the hot path."""
    address = StoreAddress(config.redis.url.reveal())
    replicas = config.redis.promise if config.durability == "replicated" else NOBODY
    link = store_link(address, now_ms=now_ms, answer_ms_max=config.charging.answer_ms_max, replicas=replicas)
    redis = slow_client(address)
    FormatFollower(link)
    try:
        await link.start(0)
        supervisor.at_beat(link.look)
        supervisor.at_beat(partial(_give_up_where_unread, link, supervisor))
        yield redis, MeteredStore(link, supervisor.meter, Witness(logger(), partial(_count_lost, supervisor)))
    finally:
        await link.stop()
        await redis.aclose()


@contextlib.asynccontextmanager
async def primaries_of(config: Config, redis: Redis) -> AsyncIterator[Primaries]:
    """The servers that the live store has, looked for when they are needed first."""
    primaries = moving_primaries(StoreAddress(config.redis.url.reveal()))
    if primaries is None:
        yield OnePrimary(redis)
        return
    try:
        yield primaries
    finally:
        await primaries.close()


def _give_up_where_unread(link: StoreLink, supervisor: SupervisorLink) -> None:
    """What is stored is not read by this build: no restart mends that."""
    if link.refused and not supervisor.why_unfit:
        supervisor.unfit(link.refused)


def _count_lost(supervisor: SupervisorLink, count: int) -> None:
    supervisor.meter.counts(metrics.LOST_ANSWERS)[()] += count


@contextlib.asynccontextmanager
async def witnessed(store: MeteredStore, pool: Any, supervisor: SupervisorLink) -> AsyncIterator[None]:
    """While the block lasts: compare the last answers with PostgreSQL whenever the live store came back."""
    assert store.witness is not None
    looking = asyncio.ensure_future(witnessing(store.witness, pool, lambda: store.link.epochs, supervisor.beat))
    try:
        yield
    finally:
        await ended((looking,))


@contextlib.asynccontextmanager
async def bounded_pool(
    config: Config, supervisor: SupervisorLink, connections_max: int, settings: Mapping[str, str] = NO_SETTINGS
) -> AsyncIterator[Any]:
    """A pool that connects at its first query, so that every process starts and serves without PostgreSQL. The first
    connection brings the database up to date; whichever process is first does it for all.

    settings: of its connections, at the server
    """
    dsn = config.postgres.dsn.reveal()
    up_to_date = False

    async def check(connection: Any) -> None:
        nonlocal up_to_date
        await connection.execute(WAITS_FOR_DISK)
        if not up_to_date:
            try:
                applied = await migrate(dsn, waits=lambda text: logger().warning("migration.waits", detail=text))
            except MigrationError as why:
                supervisor.unfit(str(why))
                raise
            if applied:
                logger().info("migrated", applied=applied)
            up_to_date = True

    hosts = PostgresHosts(dsn, log=lambda text: logger().warning("postgres.moved", detail=text))
    pool = await asyncpg.create_pool(
        dsn,
        min_size=0,
        max_size=connections_max,
        init=check,
        connect=hosts.connect,
        connection_class=PlainConnection,
        server_settings=dict(settings),
    )
    supervisor.at_beat(hosts.look)
    try:
        yield pool
    finally:
        await hosts.stop()
        try:
            async with asyncio.timeout(CLOSE_S):
                await pool.close()
        except TimeoutError:
            pool.terminate()  # it hangs: there is nothing to wait for
