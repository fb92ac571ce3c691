"""How fast and how hard the network is told, as the configuration says (`[enforcement]`)."""

from __future__ import annotations

from typing import NamedTuple


class EnforcementSettings(NamedTuple):
    """Each as its key of ocs/config/charging.py."""

    peer_rate: int = 200
    peer_window: int = 50
    jobs_max: int = 100_000
    return_s: int = 30
    escalate: bool = True
    kept_s: int = 7 * 86_400
