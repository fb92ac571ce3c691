"""The connections of redis-py, for the clients of everything but the hot path, with writes that a cancellation ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from redis.asyncio.cluster import RedisCluster
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import TimeoutError as NoAnswer

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection as _Base
else:
    _Base = object


class CancellableWrites(_Base):
    """redis-py limits the time of a write by asyncio.wait_for, and that of Python 3.11 forgets a cancellation that
    comes in the moment when the write ends: a task that was cancelled would go on, and a time limit around a call
    would be none. asyncio.timeout does not."""

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        if not self.is_connected:
            await self.connect_check_health(check_health=False)
        if check_health:
            await self.check_health()  # type: ignore[no-untyped-call]
        limit_s, self.socket_timeout = self.socket_timeout, None
        try:
            async with asyncio.timeout(limit_s):
                await super().send_packed_command(command, check_health=False)
        except TimeoutError:
            raise NoAnswer("Timeout writing to socket") from None
        finally:
            self.socket_timeout = limit_s


class ClientConnection(CancellableWrites, Connection):
    """Over TCP."""


class ClientTlsConnection(ClientConnection, SSLConnection):
    """Over TLS."""


class ClientSocketConnection(CancellableWrites, UnixDomainSocketConnection):
    """Over a Unix socket."""


OURS: dict[Any, Any] = {
    Connection: ClientConnection,
    SSLConnection: ClientTlsConnection,
    UnixDomainSocketConnection: ClientSocketConnection,
}


def cancellable(client: Any) -> Any:
    """The same client, before its first call, with these connections."""
    if isinstance(client, RedisCluster):
        client.connection_kwargs["connection_class"] = OURS[client.connection_kwargs["connection_class"]]
        for node in client.startup_nodes:
            node.connection_class = OURS[node.connection_class]
    else:
        pool = client.connection_pool
        pool.connection_class = OURS[pool.connection_class]
    return client
