"""The primaries of a cluster, with the shards whose slots they have (primaries.py)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from balances.redis.address import ServerPlace, StoreAddress
from balances.redis.clients import ANSWER_S, PRIMARY_CONNECT_S, direct
from balances.redis.primaries import Primary
from balances.redis.topology import Topology, TopologyWatch


class ClusterPrimaries:
    """Knows of none before its first look."""

    def __init__(self, address: StoreAddress) -> None:
        self._address, self._watch = address, TopologyWatch(address)
        self._seen: Topology | None = None
        self._clients: dict[ServerPlace, Any] = {}
        self._retired: list[Any] = []
        """Clients of servers that are primaries no more: who works with one may end that first."""
        self._all: tuple[Primary, ...] = ()

    def all(self) -> Sequence[Primary]:
        return self._all

    def of(self, shard: int) -> Primary | None:
        return next((primary for primary in self._all if shard in primary.shards), None)

    async def look(self) -> None:
        retired, self._retired = self._retired, []
        for client in retired:
            await client.aclose()
        topology = await self._watch.look()
        if topology is self._seen:
            return
        self._seen = topology
        found = []
        for place in topology.places:
            shards = frozenset(topology.shards_of(place))
            if shards:
                name, client = str(place), self._client(place)
                found.append(Primary(name, client, shards, topology.epochs[place], clustered=True))
        self._all = tuple(found)
        self._retired += [self._clients.pop(gone) for gone in self._clients.keys() - set(topology.places)]

    def _client(self, place: ServerPlace) -> Any:
        if place not in self._clients:
            self._clients[place] = direct(
                self._address, place, protocol=2, socket_connect_timeout=PRIMARY_CONNECT_S, socket_timeout=ANSWER_S
            )
        return self._clients[place]

    async def close(self) -> None:
        await self._watch.close()
        for client in (*self._clients.values(), *self._retired):
            await client.aclose()
        self._clients.clear()
        self._retired.clear()
