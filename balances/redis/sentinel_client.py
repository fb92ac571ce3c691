"""The client for everything but the hot path where Sentinels name the primary: each of its connections is made to who
that is now, and all are cut when it is another one."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final
from weakref import WeakSet

import redis.asyncio
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError

from balances.redis.address import StoreAddress
from balances.redis.client_connections import ClientConnection, ClientTlsConnection
from balances.redis.pending import ended
from balances.redis.sentinels import POLL_S, SentinelClaim, SentinelWatch

ANSWER_S: Final = 2.0
"""For a new server to say that it is a master."""


class SentinelFollower:
    """Which connections there are, and to whom they are to be."""

    def __init__(self, address: StoreAddress) -> None:
        self.connections = WeakSet[Any]()
        self._watch = SentinelWatch(address)
        self._task: asyncio.Task[None] | None = None

    async def find(self, connection: Any) -> SentinelClaim:
        """For a connection that is about to be made. OSError: nobody says."""
        if self._task is None:
            self._task = asyncio.create_task(self._follow())
        self.connections.add(connection)
        return await self._watch.look()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            with contextlib.suppress(OSError):
                now = await self._watch.look()
                for connection in list(self.connections):
                    if (connection.host, connection.port) != now.place[:2]:
                        await connection.disconnect(nowait=True)

    async def close(self) -> None:
        if self._task is not None:
            await ended((self._task,))
            self._task = None
        await self._watch.close()


class FollowingConnection(ClientConnection):
    def __init__(self, *, follower: SentinelFollower, **more: Any) -> None:
        super().__init__(**more)
        self._follower = follower

    async def _connect(self) -> None:
        self.host, self.port = (await self._follower.find(self)).place[:2]
        await super()._connect()  # type: ignore[no-untyped-call]

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return await super().read_response(*args, **kwargs)
        except ReadOnlyError:
            await self.disconnect(nowait=True)  # it is a replica by now: the next one is made to who is not
            raise


class FollowingTlsConnection(FollowingConnection, ClientTlsConnection):
    """The same over TLS."""


class SentinelClient(redis.asyncio.Redis):
    """more: what redis.asyncio.Redis takes besides"""

    def __init__(self, address: StoreAddress, **more: Any) -> None:
        super().__init__(redis_connect_func=_begin_with_master, **more)
        self._follower = SentinelFollower(address)
        pool = self.connection_pool
        pool.connection_class = FollowingConnection if address.tls is None else FollowingTlsConnection
        pool.connection_kwargs["follower"] = self._follower

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await self._follower.close()
        await super().aclose(close_connection_pool)


async def _begin_with_master(connection: Any) -> None:
    """A Sentinel may be late, and a server that was replaced may be back before it was told."""
    try:
        async with asyncio.timeout(ANSWER_S):
            await connection.on_connect()
            await connection.send_command("INFO", "replication", check_health=False)
            said = await connection.read_response(disable_decoding=True)
    except TimeoutError:
        raise RedisConnectionError("the primary that the Sentinels name says nothing") from None
    if b"role:master" not in said:
        raise RedisConnectionError("the server is not a master")
