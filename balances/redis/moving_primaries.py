"""The primaries of the store at an address, of whichever kind it is."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from balances.redis.address import StoreAddress
from balances.redis.clients import slow_client
from balances.redis.cluster_primaries import ClusterPrimaries
from balances.redis.primaries import OnePrimary, Primaries
from balances.redis.sentinel_primaries import SentinelPrimaries


def moving_primaries(address: StoreAddress) -> ClusterPrimaries | SentinelPrimaries | None:
    """Of a store whose primaries are looked for; None: a plain one, which has its place."""
    match address.kind:
        case "cluster":
            return ClusterPrimaries(address)
        case "sentinel":
            return SentinelPrimaries(address)
        case _:
            return None


@contextlib.asynccontextmanager
async def primaries_at(url: str) -> AsyncIterator[Primaries]:
    """The primaries of the store at an address, for as long as the block lasts. STORE_AWAY: nobody says which."""
    address = StoreAddress(url)
    primaries = moving_primaries(address)
    if primaries is None:
        client = slow_client(address)
        try:
            yield OnePrimary(client)
        finally:
            await client.aclose()
        return
    try:
        await primaries.look()
        yield primaries
    finally:
        await primaries.close()
