"""The live stores that `make chaos` plays on, and what can happen to each: one server, a cluster, Sentinels.

With several servers the durability is `replicated`, and of a primary and its replica one is away at a time: what both
had is promised to nobody who loses both.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from random import Random
from typing import ClassVar, Final

import redis

from balances import keys
from balances.redis.topology import SHARD_SLOTS
from ocs.processes.embedded import EmbeddedServer, EmbeddedValkey
from tests.live_cluster import ClusterServer, LiveCluster, until
from tests.live_sentinels import LiveSentinels

FROZEN_S: Final = (0.5, 3.0)
AWAY_S: Final = (0.2, 6.0)
"""Shorter than a failover takes, or longer."""

Happening = Callable[[], Awaitable[str]]
"""Lets something happen; returns it in words."""


class ChaosStore(ABC):
    durability: ClassVar[str]
    settings: ClassVar[tuple[str, ...]] = ()
    """Of the hosts besides."""

    def __init__(self, home: Path, chance: Random) -> None:
        self.chance = chance

    @abstractmethod
    def start(self) -> str:
        """Returns its URL."""

    @abstractmethod
    def stop(self) -> None: ...

    @abstractmethod
    def kinds(self) -> Sequence[tuple[Happening, int]]:
        """What can happen, and how often beside the rest."""

    @abstractmethod
    async def settle(self) -> None:
        """Until all of it is there again."""


class PlainStore(ChaosStore):
    durability = "always"

    def __init__(self, home: Path, chance: Random) -> None:
        super().__init__(home, chance)
        self._server = EmbeddedValkey(home, durability="always")

    def start(self) -> str:
        return self._server.start()

    def stop(self) -> None:
        if self._server.alive:
            thaw(*family(self._server))
        self._server.stop()

    def kinds(self) -> Sequence[tuple[Happening, int]]:
        return (self._restart, 2), (self._kill, 2), (self._freeze, 2)

    async def settle(self) -> None:
        """What happened to it is over when it is told."""

    async def _restart(self) -> str:
        await asyncio.to_thread(self._server.stop)
        await asyncio.to_thread(self._server.start)
        return "the live store was restarted"

    async def _kill(self) -> str:
        await asyncio.to_thread(self._server.kill)
        await asyncio.to_thread(self._server.start)
        return "the live store was killed and started"

    async def _freeze(self) -> str:
        seconds = self.chance.uniform(*FROZEN_S)
        await frozen(seconds, *family(self._server))
        return f"the live store was frozen for {seconds:.1f} s"


class _ManyServers(ChaosStore):
    durability = "replicated"
    settings = ('redis.accept_risks=["replicas"]',)
    """A host that starts while a primary has no replica refuses otherwise, and would have to be started again."""
    SETTINGS: ClassVar = {"maxmemory": "256mb", "min-replicas-to-write": "1", "min-replicas-max-lag": "2"}

    servers: Sequence[ClusterServer]

    def kinds(self) -> Sequence[tuple[Happening, int]]:
        return (self._kill_a_primary, 4), (self._freeze_a_primary, 3), (self._kill_a_replica, 2)

    @abstractmethod
    def is_well(self) -> bool: ...

    async def settle(self) -> None:
        await asyncio.to_thread(until, self.is_well, "all servers are there, and every primary has its replica")

    def _one(self, role: str) -> ClusterServer:
        return self.chance.choice([server for server in self.servers if server.role() == role])

    async def _kill_a_primary(self) -> str:
        return await self._kill(await asyncio.to_thread(self._one, "master"), "primary")

    async def _kill_a_replica(self) -> str:
        return await self._kill(await asyncio.to_thread(self._one, "slave"), "replica")

    async def _kill(self, server: ClusterServer, what: str) -> str:
        seconds = self.chance.uniform(*AWAY_S)
        server.kill()
        await asyncio.sleep(seconds)
        server.start()
        await self.settle()
        return f"{what} {server.name} was killed, and started {seconds:.1f} s later"

    async def _freeze_a_primary(self) -> str:
        server = await asyncio.to_thread(self._one, "master")
        seconds = self.chance.uniform(*AWAY_S)
        server.freeze()
        try:
            await asyncio.sleep(seconds)
        finally:
            server.thaw()
        await self.settle()
        return f"primary {server.name} was frozen for {seconds:.1f} s"


class ClusterStore(_ManyServers):
    def __init__(self, home: Path, chance: Random) -> None:
        super().__init__(home, chance)
        self._cluster = LiveCluster(home, settings=self.SETTINGS)
        self.servers = self._cluster.servers

    def start(self) -> str:
        return self._cluster.start()

    def stop(self) -> None:
        self._cluster.stop()

    def kinds(self) -> Sequence[tuple[Happening, int]]:
        return (*super().kinds(), (self._move_a_slot, 4))

    def is_well(self) -> bool:
        roles = [server.role() for server in self.servers]
        return roles.count("master") == 3 == roles.count("slave") and self._cluster.is_well()

    async def _move_a_slot(self) -> str:
        return await asyncio.to_thread(self._moved, self.chance.randrange(keys.SHARDS))

    def _moved(self, shard: int) -> str:
        """To another primary, and open there: before then it may not be moved on (runbook, "Slots move")."""
        source = self._cluster.primary_of(shard)
        others = [one for one in self.servers if one is not source and one.role() == "master"]
        target, slot = self.chance.choice(others), SHARD_SLOTS[shard]
        node = self._cluster.node_id(target)
        source.client.execute_command("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", node)

        def is_open() -> bool:
            with contextlib.suppress(redis.RedisError):
                published = target.client.get(keys.published(shard)) or b""
                return bool(published.split(b" ")[0].decode() == target.client.info("replication")["master_replid"])
            return False

        until(is_open, f"shard {shard} has arrived at {target.name} and is open")
        return f"shard {shard} moved from {source.name} to {target.name}"


class SentinelStore(_ManyServers):
    def __init__(self, home: Path, chance: Random) -> None:
        super().__init__(home, chance)
        self._live = LiveSentinels(home, replicas=1, settings=self.SETTINGS)
        self.servers = self._live.servers

    def start(self) -> str:
        return self._live.start()

    def stop(self) -> None:
        self._live.stop()

    def kinds(self) -> Sequence[tuple[Happening, int]]:
        return (*super().kinds(), (self._kill_a_sentinel, 2))

    def is_well(self) -> bool:
        """What the Sentinels would tell a former primary after a while, it is told at once."""
        primary = self._live.primary()
        if primary is None or self._live.failing_over():
            return False  # whoever is a master then may be the one that they have just promoted
        for server in self.servers:
            if server is not primary and server.role() == "master":
                self._live.follow(server, primary)
        try:
            return all(
                server.client.info("replication")["master_link_status"] == "up"
                for server in self.servers
                if server is not primary
            )
        except (redis.RedisError, KeyError):
            return False

    async def _kill_a_sentinel(self) -> str:
        number = self.chance.randrange(len(self._live.sentinels))
        seconds = self.chance.uniform(*AWAY_S)
        self._live.sentinels[number].kill()
        await asyncio.sleep(seconds)
        self._live.sentinels[number].start()
        return f"Sentinel {number} was killed, and started {seconds:.1f} s later"


STORES: Final[dict[str, type[ChaosStore]]] = {
    "plain": PlainStore,
    "cluster": ClusterStore,
    "sentinels": SentinelStore,
}


def children_of(pid: int) -> list[int]:
    try:
        return sorted(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    except OSError:
        return []


def family(server: EmbeddedServer) -> list[int]:
    """The server and all processes it has started."""
    found, left = list[int](), [server.pid] if server.pid else []
    while left:
        found.append(one := left.pop())
        left += children_of(one)
    return found


async def frozen(seconds: float, *pids: int) -> None:
    try:
        signal_all(signal.SIGSTOP, *pids)
        await asyncio.sleep(seconds)
    finally:
        thaw(*pids)


def thaw(*pids: int) -> None:
    signal_all(signal.SIGCONT, *pids)


def signal_all(what: signal.Signals, *pids: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, what)
