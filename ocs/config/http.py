"""`[http]`: the listener of the API and its bounds."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from ocs.config.table import ConfigTable, Milliseconds, Octets
from ocs.config.values import Listen, networks


class Http(ConfigTable, frozen=True):
    listen: Listen = Listen("127.0.0.1:8080")
    processes: Annotated[int, Meta(ge=1, le=64)] = 1
    """That share the port: the kernel chooses one for each connection. Every bound of this table is of each of them."""
    body_bytes_max: Octets = 1_048_576
    in_flight_max: Annotated[int, Meta(ge=1, le=10_000)] = 200
    """Requests at once; beyond it 503 at once, but for /healthz and /readyz."""
    connections_max: Annotated[int, Meta(ge=10, le=100_000)] = 1_000
    """Connections; for one more, the one that has been silent for longest is closed."""
    address_connections_max: Annotated[int, Meta(ge=1, le=100_000)] = 500
    """The same for those of one address."""
    proxies: tuple[str, ...] = ()
    """Addresses or networks of reverse proxies. Who comes through one is who its X-Forwarded-For says (audit trail,
    lock-out of vouchers); from any other address that header is ignored, or anybody could name another's address."""
    head_s: Annotated[int, Meta(ge=1, le=600)] = 10
    """A head that is not complete by then ends the connection."""
    body_s: Annotated[int, Meta(ge=1, le=3_600)] = 60
    """A body likewise."""
    store_ms_max: Milliseconds = 3_000
    """Longest wait for a store, for each thing asked of it."""
    rate_max: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    """Requests a second of one caller, unless a role says otherwise; 0: any number."""
    tls_cert: str = ""
    """PEM files of our chain and its key: `listen` speaks TLS then. Read again when they have changed."""
    tls_key: str = ""
    tls_client_ca: str = ""
    """Authorities of clients' certificates: who shows one is the caller that `access.certificates` names."""

    def __post_init__(self) -> None:
        networks(self.proxies)
        if bool(self.tls_cert) != bool(self.tls_key) or (self.tls_client_ca and not self.tls_cert):
            raise ValueError("tls_cert and tls_key together, and both beside tls_client_ca")

    @property
    def scheme(self) -> str:
        return "https" if self.tls_cert else "http"
