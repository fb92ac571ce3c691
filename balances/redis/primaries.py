"""The servers that take writes: which there are now, and which shards each of them has.

A plain store is one primary with all shards. In a cluster the shards are spread over several; a failover puts another
server in the place of one, a slot move takes shards from one to another. What is said here may be old by the time it is
used: whoever reads asks each server who it is (balances/ledger/reader.py), and a server that no longer has a shard says
so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from balances import keys

ALL: frozenset[int] = frozenset(range(keys.SHARDS))


class Primary(NamedTuple):
    name: str
    """What people call it: host:port."""
    client: Any
    """redis.asyncio.Redis, with connections to this very server."""
    shards: frozenset[int] = ALL
    config_epoch: int = 0
    """Of its last failover, where something counts them: of two that claim a shard the newer one has it."""
    clustered: bool = False
    """One command, or one transaction, may name keys of one shard only."""
    watched: bool = False
    """By Sentinels, who may put a replica in its place without its knowing."""


def plain(client: Any) -> Primary:
    """One server with all shards."""
    return Primary("the live store", client)


class Primaries(Protocol):
    def all(self) -> Sequence[Primary]:
        """As of the last look. A shard that nobody has now is missing."""
        ...

    def of(self, shard: int) -> Primary | None: ...

    async def look(self) -> None:
        """Ask which there are now. STORE_AWAY when nobody can be asked: then what was known is kept."""
        ...


class OnePrimary:
    """A plain store: one server, reached through the client that everybody uses."""

    def __init__(self, client: Any) -> None:
        self._it = plain(client)

    def all(self) -> Sequence[Primary]:
        return (self._it,)

    def of(self, shard: int) -> Primary | None:
        return self._it if shard in self._it.shards else None

    async def look(self) -> None:
        """There is nothing to ask."""


def by_primary(primaries: Primaries, shards: Iterable[int]) -> list[tuple[Primary, list[int]]]:
    """These shards, grouped by who has them, in order. Those that nobody has are left out."""
    wanted = sorted(shards)
    grouped = [(primary, [shard for shard in wanted if shard in primary.shards]) for primary in primaries.all()]
    return [(primary, mine) for primary, mine in grouped if mine]
