"""How the risks of a live store's settings are called: `redis.accept_risks` takes these words (risks.py says each)."""

from __future__ import annotations

from typing import Literal

StoreRisk = Literal[
    "eviction",
    "maxmemory",
    "persistence",
    "appendonly",
    "appendfsync",
    "replica",
    "replicas",
    "coverage",
    "installation",
    "unseen",
    "version",
    "kind",
]
