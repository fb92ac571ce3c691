"""The part of the configuration that charging needs, in the form it uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

import msgspec

from ocs.charging.services import Services


class ClientProfile(Protocol):
    """What a client does otherwise than the RFC says (`ocs.config.diameter.PeerProfile`)."""

    @property
    def reuses_numbers(self) -> bool: ...
    @property
    def session_id_not_unique(self) -> bool: ...
    @property
    def tariff_change(self) -> bool: ...


class Regular(msgspec.Struct, frozen=True):
    """A client that keeps to the RFC."""

    reuses_numbers: bool = False
    session_id_not_unique: bool = False
    tariff_change: bool = False


REGULAR: Final = Regular()


class ChargingSettings(msgspec.Struct, frozen=True):
    services: Services = msgspec.field(default_factory=Services)
    clients: Mapping[str, ClientProfile] = {}
    """By Origin-Host of the client, as it is configured."""
    identity_order: tuple[str, ...] = ()
    """Kinds of identity, the one to be tried first in front; those not named follow in the order sent."""
    jitter_permille: int = 100
    """Part by which a Validity-Time may be shortened."""
    overrun_factor: int = 10
    remember_ms: int = 3_600_000
    idle_ms: int = 172_800_000
    event_ahead_ms: int = 5 * 60_000
    """An Event-Timestamp is believed up to this much ahead of us ..."""
    event_behind_ms: int = 7 * 86_400_000
    """... and this much behind (charging.md section 6)."""
    refund_until_ms: int = 30 * 86_400_000
    """How long units can be used that a refund gives back to a bucket that is gone."""
    by_host: dict[str, ClientProfile] = {}
    """`clients` by Origin-Host in lower case; made here."""

    def __post_init__(self) -> None:
        by_host = {host.lower(): profile for host, profile in self.clients.items()}
        msgspec.structs.force_setattr(self, "by_host", by_host)

    def client(self, origin_host: str) -> ClientProfile:
        """The profile of a client. Identities compare without letter case (RFC 6733 section 4.3.1)."""
        return self.by_host.get(origin_host.lower(), REGULAR) if self.by_host else REGULAR
