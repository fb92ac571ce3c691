"""Clients of the live store for everything but the hot path."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import redis.asyncio
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException

from balances.redis.address import ServerPlace, StoreAddress
from balances.redis.client_connections import cancellable
from balances.redis.sentinel_client import SentinelClient

CONNECT_S: Final = 5
PRIMARY_CONNECT_S: Final = 2.0
"""Of a primary that a replica may replace soon."""
ANSWER_S: Final = 10.0
"""For a single reply of such a one: what is frozen is given up, and looked at again."""


class ClusterClient(RedisCluster):
    """Says of a cluster that cannot be reached what the client of one server says: its own exception is no RedisError,
    and who waits for a store to come back would end."""

    async def initialize(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return await super().initialize(*args, **kwargs)
        except RedisClusterException as why:
            raise RedisConnectionError(str(why)) from None

    async def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return await super().execute_command(*args, **kwargs)
        except RedisClusterException as why:  # no node has the slot now
            raise RedisConnectionError(str(why)) from None


def direct(address: StoreAddress, place: ServerPlace, **more: Any) -> redis.asyncio.Redis:
    """To this very server, with the user and TLS of the address. more: what redis.asyncio.Redis takes besides"""
    where: dict[str, Any] = (
        {"unix_socket_path": place.socket}
        if place.socket
        else {"host": place.host, "port": place.port, **_tls(address)}
    )
    client: redis.asyncio.Redis = cancellable(redis.asyncio.Redis(**where, **_login(address), **more))
    return client


def slow_client(url: str | StoreAddress, **how: Any) -> Any:
    """redis.asyncio.Redis, following the primary where Sentinels name it, or RedisCluster: there a transaction holds
    keys of one slot only, and a pipeline without one any keys; what is to be asked of every server goes by
    balances/redis/primaries.py.

    how: what the client takes besides"""
    address = StoreAddress(url) if isinstance(url, str) else url
    more: dict[str, Any] = {"protocol": 2, "health_check_interval": 5, "socket_connect_timeout": CONNECT_S} | how
    if address.kind == "cluster":
        nodes = [ClusterNode(place.host, place.port) for place in address.places]
        login = _login(address)
        del login["db"]
        return cancellable(ClusterClient(startup_nodes=nodes, **login, **_tls(address), **more))
    if address.kind == "sentinel":
        return SentinelClient(address, **_login(address), **_tls(address), **more)
    return direct(address, address.places[0], **more)


@contextlib.asynccontextmanager
async def listening(client: Any) -> AsyncIterator[Any]:
    """A PubSub for as long as the block lasts. What is published is heard at any node of a cluster, so one is chosen
    among those that are there now."""
    if is_cluster(client):
        await client.initialize()
        await client.nodes_manager.initialize()
    async with client.pubsub() as heard:
        yield heard


async def values(client: Any, names: Sequence[str | bytes]) -> list[bytes | None]:
    """What these keys hold; of a cluster not of one instant."""
    found: list[bytes | None] = await (client.mget_nonatomic if is_cluster(client) else client.mget)(names)
    return found


def is_cluster(client: Any) -> bool:
    return isinstance(client, RedisCluster)


def _login(address: StoreAddress) -> dict[str, Any]:
    return {
        "username": address.user or None,
        "password": address.password or None,
        "db": address.database,
    }


def _tls(address: StoreAddress) -> dict[str, Any]:
    return {} if address.tls is None else {"ssl": True, **address.tls_files}
