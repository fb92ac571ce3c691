"""`[radius]`: its listeners, the clients that may send, the home servers that authenticate for us."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated, Any, Literal

from msgspec import Meta

from ocs.charging.radius.h323 import ChargedLeg
from ocs.charging.radius.mapped_input import mapped_inputs
from ocs.charging.radius.vendor_profile import VendorProfile, vendor_profiles
from ocs.config.table import OFF, ConfigTable, Seconds
from ocs.config.values import Listen, Secret, networks
from protocol.radius.dictionary import ATTRIBUTES
from protocol.radius.dictionary_files import DictionaryFileError, LoadedDictionary, load_dictionary


class RadiusClient(ConfigTable, frozen=True):
    address: str
    """Address or network it sends from."""
    secret: Secret = Secret("")
    """By UDP; by RadSec it is `radsec` (RFC 6614 section 2.3)."""
    tls_subject: str = ""
    """Name (DNS or common name) in its certificate: it comes by RadSec alone, and needs no secret."""
    profile: str = "generic"
    """How its maker spells what it is told: a shipped vendor profile, or one of `radius.profiles`."""
    coa: Listen = OFF
    """Where CoA and Disconnect go; off: to the address its packets come from, port 3799."""
    message_authenticator: Literal["learn", "require", "check"] = "learn"
    """Of its Access-Requests. `learn`: an address that has sent it with all of them for `radius.learn_s` must send it
    from then on; `check`: those without are taken for ever, as older NASes send them."""
    limit_proxy_state: Literal["learn", "require", "check"] = "learn"
    """Access-Requests with Proxy-State and without Message-Authenticator are dropped. `learn`: of an address that has
    sent no such thing for `radius.learn_s`; `check`: never, for an old proxy."""
    rate_max: Annotated[int, Meta(ge=1, le=1_000_000)] = 5_000
    """Requests a second of one address that a worker takes."""
    group: str = ""
    """Clients of one group have one name space of sessions, as a cluster has; empty: `tls_subject`, or `address`."""
    service: str = "data"
    """Row of the services that its sessions are charged by."""
    interim_s: Annotated[int, Meta(ge=60, le=86_400)] = 600
    """Seconds between its Interim-Updates: two of them are held for, and told to it where it asks."""
    wraps: bool = False
    """Its counters of octets begin again at 2^32, and it sends no Gigawords."""
    port_mbps: Annotated[int, Meta(ge=1, le=10_000_000)] = 10_000
    """Of a port: what a session shows beyond that is set aside."""
    input_group: Annotated[int, Meta(ge=0, le=2**32 - 1)] | None = None
    """Rating group of what comes from the subscriber, to be rated by itself; None: counted with the session."""
    output_group: Annotated[int, Meta(ge=0, le=2**32 - 1)] | None = None
    """The same of what goes to the subscriber."""
    session_services: dict[str, Annotated[int, Meta(ge=0, le=2**32 - 1)]] = {}
    """Services inside its sessions (docs/radius.md says of which makers), by name: the rating
    group of their line. One that is not named is charged as a session of its own."""
    passwordless: bool = False
    """Subscribers without a password are let in, also by the port they are at (MAC, line or port authentication)."""
    charged_leg: ChargedLeg = "originate"
    """Of a voice gateway (`service = "voice"`): the legs that a call is charged by, as h323-call-origin names them."""

    def __post_init__(self) -> None:
        networks((self.address,))
        if self.input_group is not None and self.input_group == self.output_group:
            raise ValueError("input_group and output_group of two numbers, or neither")
        if not self.tls_subject and not self.secret.reveal():
            raise ValueError("secret, or tls_subject, to be given")

    @property
    def block(self) -> str:
        """What tells it from all other clients."""
        return f"{self.tls_subject}@{self.address}" if self.tls_subject else self.address

    @property
    def name(self) -> str:
        """As counters, logs and sessions call it."""
        return self.group or self.tls_subject or self.address


class HomeServerConfig(ConfigTable, frozen=True):
    address: Listen
    """Address, as numbers, and port."""
    secret: Secret
    probe: bool = True
    """It answers Status-Server (RFC 5997). Else it is dead after three requests that it did not answer, and gets
    another one half a minute later."""
    probe_s: Annotated[int, Meta(ge=1, le=3_600)] = 10
    """Seconds without anything from it after which it is probed."""

    def __post_init__(self) -> None:
        try:
            ip_address(self.address.host)
        except ValueError:
            raise ValueError(f"address as numbers, not {self.address.host!r}") from None


class RadiusHome(ConfigTable, frozen=True):
    """Who authenticates EAP logins (docs/radius.md)."""

    servers: tuple[HomeServerConfig, ...] = ()
    within_ms: Annotated[int, Meta(ge=300, le=9_000)] = 5_000
    """How long a NAS waits: what is not answered by then is not answered."""
    outstanding_max: Annotated[int, Meta(ge=1, le=2_000)] = 500
    """Logins on their way to home servers at once, in a worker."""

    def __post_init__(self) -> None:
        addresses = [str(server.address) for server in self.servers]
        twice = {address for address in addresses if addresses.count(address) > 1}
        if twice:
            raise ValueError(f"each address in servers[] once, but {', '.join(sorted(twice))} is there twice")


class Radius(ConfigTable, frozen=True):
    """Served where there are clients."""

    auth_listen: Listen = Listen("127.0.0.1:1812")
    acct_listen: Listen = Listen("127.0.0.1:1813")
    radsec_listen: Listen = OFF
    tls_cert: str = ""
    """PEM files of RadSec: our chain, its key, the authorities of the clients."""
    tls_key: str = ""
    tls_ca: str = ""
    learn_s: Seconds = 86_400
    """Of the policy `learn`."""
    home: RadiusHome = RadiusHome()
    clients: tuple[RadiusClient, ...] = ()
    dictionaries: tuple[str, ...] = ()
    """Files in the format of FreeRADIUS 3 with attributes that we do not know: profiles may name these then."""
    profiles: dict[str, dict[str, Any]] = {}
    """Vendor profiles of one's own, and lines that replace those of shipped ones (ocs/charging/radius/vendors)."""
    inputs: dict[str, str] = {}
    """Attributes of packets that tariffs may ask for, by the name they do it by: `network.pool`."""

    def __post_init__(self) -> None:
        if self.clients or self.profiles or self.dictionaries or self.inputs:
            self._know_profiles()
        if self.radsec_listen and not (self.tls_cert and self.tls_key and self.tls_ca):
            raise ValueError("tls_cert, tls_key and tls_ca beside radsec_listen")
        addresses = [f"{networks((client.address,))[0]} {client.tls_subject}".strip() for client in self.clients]
        twice = {address for address in addresses if addresses.count(address) > 1}
        if twice:
            raise ValueError(f"each address in clients[] once, but {', '.join(sorted(twice))} is there twice")

    @property
    def known(self) -> LoadedDictionary:
        """All attributes by name, with those of the files. Raises DictionaryFileError."""
        return load_dictionary(self.dictionaries, ATTRIBUTES) if self.dictionaries else LoadedDictionary(ATTRIBUTES, ())

    @property
    def vendors(self) -> dict[str, VendorProfile]:
        """The vendor profiles of the clients, by name."""
        used = {client.profile for client in self.clients}
        known = vendor_profiles(self.profiles, table=self.known.attributes) if used else {}
        return {name: one for name, one in known.items() if name in used}

    def _know_profiles(self) -> None:
        try:
            table = self.known.attributes
        except DictionaryFileError as why:
            raise ValueError(f"dictionaries that can be read, but {why}") from None
        try:
            known = vendor_profiles(self.profiles, table=table)
        except ValueError as why:
            raise ValueError(f"profiles that can be used, but profiles.{why}") from None
        try:
            mapped_inputs(self.inputs, table)
        except ValueError as why:
            raise ValueError(f"inputs: {why}") from None
        for number, client in enumerate(self.clients):
            if client.profile not in known:
                names = ", ".join(sorted(known))
                raise ValueError(f"clients[{number}].profile as one of {names}, not {client.profile!r}")
