"""The link to the live store that its address asks for."""

from __future__ import annotations

from collections.abc import Callable

from balances.redis.address import StoreAddress
from balances.redis.connection import RedisConnection
from balances.redis.link import StoreLink
from balances.redis.replicas import NOBODY, ReplicaPromise
from balances.redis.router import ClusterLink
from balances.redis.sentinel_link import SentinelLink


def store_link(
    url: str | StoreAddress,
    *,
    now_ms: Callable[[], int],
    answer_ms_max: int = 800,
    unfenced: bool = False,
    replicas: ReplicaPromise = NOBODY,
) -> StoreLink:
    """ValueError: the URL is none."""
    address = StoreAddress(url) if isinstance(url, str) else url
    if address.kind == "cluster":
        return ClusterLink(address, now_ms=now_ms, answer_ms_max=answer_ms_max, unfenced=unfenced, replicas=replicas)
    if address.kind == "sentinel":
        return SentinelLink(address, now_ms=now_ms, answer_ms_max=answer_ms_max, unfenced=unfenced, replicas=replicas)
    return RedisConnection(address, now_ms=now_ms, answer_ms_max=answer_ms_max, unfenced=unfenced, replicas=replicas)
