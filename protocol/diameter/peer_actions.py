"""Identities of peers, timers, and the actions that a connection returns to its owner."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from protocol.diameter.dictionary.base import DisconnectCause
from protocol.diameter.types import HostAddress


class LocalPeer(NamedTuple):
    """Our own identity. `vendor_specific` are pairs of vendor and auth application: 4 is advertised in both forms,
    because some clients look at one only."""

    origin_host: str
    origin_realm: str
    host_ip_addresses: tuple[HostAddress, ...]
    product_name: str = "ocs"
    vendor_id: int = 0
    origin_state_id: int | None = None
    auth_applications: tuple[int, ...] = (4,)
    acct_applications: tuple[int, ...] = ()
    vendor_specific: tuple[tuple[int, int], ...] = ((10415, 4),)
    supported_vendors: tuple[int, ...] = (10415,)
    firmware_revision: int | None = None

    @property
    def applications(self) -> frozenset[int]:
        return frozenset((*self.auth_applications, *self.acct_applications, *(app for _, app in self.vendor_specific)))


class RemotePeer(NamedTuple):
    """Identity of the other side, from its CER or CEA. `applications` are those we have in common."""

    origin_host: str
    origin_realm: str
    applications: frozenset[int]
    is_relay: bool
    origin_state_id: int | None
    product_name: str | None
    vendor_id: int | None
    supported_vendors: tuple[int, ...]
    host_ip_addresses: tuple[HostAddress, ...]


@dataclass(frozen=True, slots=True)
class Timers:
    """Milliseconds. Twinit of RFC 3539 is 30 s and at least 6 s; the others are local."""

    connect_ms: int = 10_000
    capabilities_ms: int = 10_000
    watchdog_ms: int = 30_000
    disconnect_ms: int = 5_000
    challenge_ms: int = 2_000  # how long an old connection has to show life when its peer connects again


class ActedOn:
    """The connection that an action concerns: each is one of its own. `peer_connection.py` makes them."""


class Send(NamedTuple):
    connection: ActedOn
    octets: bytes


class Close(NamedTuple):
    """`why` comes from our own tables and can be counted; `detail` may quote what the peer sent, for a log."""

    connection: ActedOn
    why: str
    detail: str = ""


class DeliverRequest(NamedTuple):
    connection: ActedOn
    frame: bytes


class DeliverAnswer(NamedTuple):
    connection: ActedOn
    frame: bytes
    token: Any


class PeerUp(NamedTuple):
    connection: ActedOn
    peer: RemotePeer


class PeerDown(NamedTuple):
    """Only after a PeerUp. `unanswered`: tokens of our requests that will not be answered any more here."""

    connection: ActedOn
    peer: RemotePeer
    unanswered: tuple[Any, ...]


class PeerLeaving(NamedTuple):
    """The peer sent DPR: no new requests to it; those on their way are still answered."""

    connection: ActedOn
    cause: DisconnectCause | None


class Suspect(NamedTuple):
    """Fail over: send nothing new here, repeat the unanswered elsewhere with the T bit (RFC 3539 section 3.4.1)."""

    connection: ActedOn
    unanswered: tuple[Any, ...]


class Recovered(NamedTuple):
    connection: ActedOn


class Restarted(NamedTuple):
    """The Origin-State-Id of a host rose: it lost its sessions."""

    connection: ActedOn
    origin_host: str
    origin_state_id: int


class Dropped(NamedTuple):
    """`why` as in Close."""

    connection: ActedOn
    frame: bytes
    why: str


Action = (
    Send
    | Close
    | DeliverRequest
    | DeliverAnswer
    | PeerUp
    | PeerDown
    | PeerLeaving
    | Suspect
    | Recovered
    | Restarted
    | Dropped
)
Actions = list[Action]
