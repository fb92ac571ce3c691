"""What charging has to know of a NAS besides what its packets say; from its block in the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from ocs.charging.radius.h323 import ChargedLeg
from ocs.charging.radius.mapped_input import MappedInput

MBIT_OCTETS: Final = 125_000


class NasProfile(msgspec.Struct, frozen=True):
    group: str
    """Sessions of all clients of one group have one name space: a cluster behind several addresses is one."""
    service: str = "data"
    """Row of the service table that its sessions are charged by."""
    wraps: bool = False
    """Its counters of octets have 32 bits and begin again at 0."""
    port_mbps: int = 10_000
    """Of a port: no counter gains more (charging.md section 2)."""
    interim_s: int = 600
    """How often it reports, as far as it does what it is told."""
    input_group: int | None = None
    """Rating group of what comes from the subscriber; None: counted with the session ..."""
    output_group: int | None = None
    """... and of what goes there."""
    services: Mapping[str, int] = {}
    """By name of a service inside sessions, the rating group of its line."""
    names_session: frozenset[int] = frozenset()
    """Types of the attributes by which it knows a session when it is told something of it."""
    inputs: tuple[MappedInput, ...] = ()
    """Attributes that tariffs may ask for besides the usual ones."""
    passwordless: bool = False
    """Who has no password proves none, and is also known by the port that the NAS says he is at."""
    charged_leg: ChargedLeg = "originate"
    """Of a voice gateway: the legs of a call that it is charged by."""

    @property
    def octets_per_s(self) -> int:
        return self.port_mbps * MBIT_OCTETS
