"""What is said of a process for which a part of the live store is shut, because one primary of several failed."""

from __future__ import annotations

from balances import keys
from balances.redis.link import StoreLink


def shut_shards(link: StoreLink) -> str:
    """Which part of the live store cannot be called, "" when all can. Whoever is served by the other part is served:
    taking a process away from its load balancer would only shut them out too."""
    shut = keys.SHARDS - link.open_shards
    return f"degraded: {shut} of {keys.SHARDS} shards are shut: {link.why}" if shut else ""
