"""How the risks of a live store's settings are called: `redis.accept_risks` takes these words (risks.py says each)."""

from __future__ import annotations

from typing import Final, Literal

StoreRisk = Literal[
    "eviction",
    "maxmemory",
    "persistence",
    "appendonly",
    "appendfsync",
    "replica",
    "replicas",
    "coverage",
    "split",
    "installation",
    "unseen",
    "version",
    "kind",
]

WARNINGS: Final[frozenset[StoreRisk]] = frozenset({"split"})
"""Those that are an alarm and keep nobody from starting: the durability that was chosen promises nothing of it."""
