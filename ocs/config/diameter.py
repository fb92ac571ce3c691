"""`[diameter]`: the node, its listeners, the peers that may connect."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from ocs.config.table import OFF, ConfigTable, Count, Name, Octets
from ocs.config.values import Listen, networks

VENDORS: Final = {"cisco": 9, "nokia": 94, "ericsson": 193, "huawei": 2011, "starent": 8164, "verizon": 12951}
"""Numbers of vendors (IANA enterprise numbers) whose gateways send AVPs of their own, by names for `ignore_vendors`."""


class PeerProfile(ConfigTable, frozen=True):
    """What a client does otherwise than the RFC says."""

    reuses_numbers: bool = False
    """CC-Request-Number does not rise: the request key includes the End-to-End-Identifier."""
    session_id_not_unique: bool = False
    """Session-Id is not of RFC form: the session key includes Origin-Host."""
    tariff_change: bool = False
    """It knows Tariff-Time-Change and reports use before and after it (RFC 8506 section 8.20). Else its grants of
    volume end where the price changes."""
    origin_state: Literal["believe", "ignore"] = "believe"
    """A raised Origin-State-Id says that it restarted and lost its sessions; `ignore`: it says nothing, for instance
    because several processes use this Origin-Host."""
    reauthorize: Literal["use", "never"] = "use"
    """`never`: after a RAR it does not come back. Its sessions are not asked to report; where they are to stop using
    what they were granted, they are ended (ASR) at once."""
    ignore_vendors: tuple[Annotated[int, Meta(ge=1, le=2**32 - 1)] | str, ...] = ()
    """Vendors whose AVPs we do not know are passed over, although the M bit says that they must be known (else 5001,
    RFC 6733 section 4.1): on connections of this peer, whoever sends over them."""

    def __post_init__(self) -> None:
        for one in self.ignore_vendors:
            if isinstance(one, str) and one not in VENDORS:
                raise ValueError(f"ignore_vendors to be numbers or names of {', '.join(VENDORS)}, not {one!r}")

    @property
    def ignored(self) -> frozenset[int]:
        """Numbers of `ignore_vendors`."""
        return frozenset(VENDORS[one] if isinstance(one, str) else one for one in self.ignore_vendors)


class PeerConfig(ConfigTable, frozen=True):
    """A network element that may connect."""

    origin_host: Name
    addresses: tuple[str, ...] = ()
    """Addresses or networks it connects from; empty for any."""
    tls_subject: str = ""
    """Name (DNS or common name) its certificate must carry; empty: Origin-Host."""
    connections: Annotated[int, Meta(ge=1, le=64)] = 8
    """Connections it may hold at once."""
    connect: Listen = OFF
    """`host:port` we connect to, and again when the connection ends; `off`: it connects to us."""
    connect_tls: bool = False
    """There by TLS from the first octet, with `diameter.tls_cert`, `tls_key` and `tls_ca`."""
    profile: PeerProfile = PeerProfile()

    def __post_init__(self) -> None:
        networks(self.addresses)
        if self.connect_tls and not self.connect:
            raise ValueError("connect beside connect_tls")
        if self.connect and not self.connect.port:
            raise ValueError("connect with a port from 1 to 65535")


class Diameter(ConfigTable, frozen=True):
    listen: Listen = Listen("127.0.0.1:3868")
    tls_listen: Listen = OFF
    tls_cert: str = ""
    """PEM files: our chain, its key, the authorities of the peers."""
    tls_key: str = ""
    tls_ca: str = ""
    origin_host: Name = "ocs.example.net"
    origin_realm: Name = "example.net"
    product_name: Annotated[str, Meta(min_length=1, max_length=64)] = "ocs"
    peers: tuple[PeerConfig, ...] = ()
    admit_loopback: bool = False
    """Any peer that connects from this machine is admitted; `--demo` sets it."""
    peers_max: Count = 1_000
    """Connections of all peers together."""
    strangers_max: Annotated[int, Meta(ge=1, le=100_000)] = 100
    """Connections that have not sent their CER; for one more, the one that has been silent for longest is closed."""
    address_strangers_max: Annotated[int, Meta(ge=1, le=100_000)] = 20
    """The same for those of one address."""
    watchdog_s: Annotated[int, Meta(ge=6, le=3_600)] = 30
    """Tw of RFC 3539 section 3.4.1, at least 6."""
    handshake_s: Annotated[int, Meta(ge=1, le=60)] = 5
    """A connection that has not sent its CER by then is closed, TLS included."""
    message_bytes_max: Octets = 65_536
    in_flight_max: Annotated[int, Meta(ge=1, le=100_000)] = 2_000
    """Requests of one worker without an answer, at most: less when the store does not answer that many in time."""
    peer_in_flight_max: Annotated[int, Meta(ge=1, le=100_000)] = 1_000
    """The same for one connection."""
    drain_s: Annotated[int, Meta(ge=0, le=300)] = 5
    """Time for answers under way when we stop."""

    def __post_init__(self) -> None:
        if self.speaks_tls and not (self.tls_cert and self.tls_key and self.tls_ca):
            raise ValueError("tls_cert, tls_key and tls_ca beside tls_listen or a peer's connect_tls")
        names = [peer.origin_host.lower() for peer in self.peers]  # compared without letter case
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"each origin_host in peers[] once, but {', '.join(sorted(twice))} is there twice")

    @property
    def speaks_tls(self) -> bool:
        return bool(self.tls_listen) or any(peer.connect and peer.connect_tls for peer in self.peers)
