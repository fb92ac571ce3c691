"""Which primaries a cluster has, and which slots each of them (redis.io "Cluster specification"; CLUSTER SLOTS, NODES).

Nodes may disagree while a failover goes round. Of two that claim a slot the one with the newer configuration epoch has
it; so several nodes are asked whenever one says something new.
"""

from __future__ import annotations

import asyncio
import itertools
from binascii import crc_hqx
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from redis.exceptions import RedisError

from balances import keys
from balances.redis.address import ServerPlace, StoreAddress
from balances.redis.clients import direct

SLOTS: Final = 16_384

ANSWER_S: Final = 1.0
"""A node that does not say more quickly is not waited for."""


def slot_of(key: bytes) -> int:
    """Slot of a key: CRC16 (XMODEM) of what stands in its first braces, or of all of it."""
    opens = key.find(b"{")
    if opens >= 0:
        closes = key.find(b"}", opens + 1)
        if closes > opens + 1:
            key = key[opens + 1 : closes]
    return crc_hqx(key, 0) % SLOTS


SHARD_SLOTS: Final = tuple(slot_of(tag.encode()) for tag in keys.TAGS)
"""Of each shard."""


class SlotClaim(NamedTuple):
    """A node says that a primary has these slots."""

    epoch: int
    """Configuration epoch of the primary."""
    place: ServerPlace
    first: int
    last: int


class Topology:
    """Who has which slot, None where nobody says so."""

    def __init__(self, claims: Iterable[SlotClaim] = ()) -> None:
        owners: list[ServerPlace | None] = [None] * SLOTS
        self.epochs: dict[ServerPlace, int] = {}
        for claim in sorted(set(claims)):
            owners[claim.first : claim.last + 1] = [claim.place] * (claim.last + 1 - claim.first)
            self.epochs[claim.place] = claim.epoch
        self.owners = owners
        self.places = [place for place in self.epochs if place in set(owners)]
        """Of primaries that have slots."""

    def shards_of(self, place: ServerPlace) -> list[int]:
        return [shard for shard, slot in enumerate(SHARD_SLOTS) if self.owners[slot] == place]


def claims_of(slots: Sequence[Any], nodes: bytes, asked: ServerPlace) -> list[SlotClaim]:
    """By the replies of one node to CLUSTER SLOTS and CLUSTER NODES. asked: who it is, where it does not name itself"""
    epochs = {words[0]: int(words[6]) for words in (line.split(b" ") for line in nodes.splitlines()) if len(words) > 7}
    found = []
    for first, last, primary, *_replicas in slots:
        host, port, node_id = primary[:3]
        place = ServerPlace((host or b"").decode() or asked.host, int(port))
        if place.host != "?":
            found.append(SlotClaim(epochs.get(node_id, 0), place, int(first), int(last)))
    return found


class TopologyWatch:
    """Asks the nodes of a cluster."""

    def __init__(self, address: StoreAddress) -> None:
        self.now = Topology()
        self._address = address
        self._clients: dict[ServerPlace, Any] = {}
        self._turn = itertools.count()
        self._refused = ""
        """What a node said last instead of an answer: a wrong password, or that it is in no cluster."""

    async def look(self) -> Topology:
        """One node is asked, in turn; all of them where it says something new, or nothing. The same object as before
        while nothing changed. OSError: nobody answered."""
        places = self.now.places
        if places:
            claims = await self._claims(places[next(self._turn) % len(places)])
            seen = Topology(claims)
            # An epoch alone may be raised too: who opens a shard under an older one is refused (durability.md rule 5a).
            if claims and (seen.owners, seen.epochs) == (self.now.owners, self.now.epochs):
                return self.now
        return await self.look_at_all()

    async def look_at_all(self) -> Topology:
        places = list(dict.fromkeys((*self.now.places, *self._address.places)))
        claims = list(itertools.chain(*await asyncio.gather(*map(self._claims, places))))
        if not claims:
            why = f": {self._refused}" if self._refused else ""
            raise ConnectionError(f"no node of the cluster says who has which slots{why}")
        new = Topology(claims)
        if new.owners != self.now.owners or new.epochs != self.now.epochs:
            self.now = new
            for gone in self._clients.keys() - {*new.places, *self._address.places}:
                await self._clients.pop(gone).aclose()
        return self.now

    async def close(self) -> None:
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()

    async def _claims(self, place: ServerPlace) -> list[SlotClaim]:
        if place not in self._clients:
            self._clients[place] = direct(self._address, place, protocol=2, socket_connect_timeout=ANSWER_S)
        client = self._clients[place]
        try:
            async with asyncio.timeout(ANSWER_S):
                slots = await client.execute_command("CLUSTER", "SLOTS")
                return claims_of(slots, await client.execute_command("CLUSTER", "NODES"), place)
        except (OSError, RedisError, TimeoutError) as why:
            self._refused = f"{place}: {str(why) or type(why).__name__}"
            return []
