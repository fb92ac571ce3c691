"""The configuration: one frozen tree, read once, at the start.

A file in TOML, then the environment (`OCS_A__B`), then `--set a.b=value`: later ones win. Anything unknown, of a wrong
type or out of range raises `ConfigError`, which names where the value stood, the key and what was expected: a server
that starts with half of its configuration ignored is worse than one that does not start.
"""

from __future__ import annotations

import os
import re
import types
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from balances.ledger.months import KEPT_MONTHS
from balances.ledger.risk_names import StoreRisk
from balances.postgres import hosts, named
from balances.redis.address import KINDS, StoreAddress, is_plain
from balances.redis.replicas import ReplicaPromise
from ocs.access.permissions import can_wait, matching
from ocs.access.roles import SHIPPED, CallerRole
from ocs.charging.radius.h323 import ChargedLeg
from ocs.charging.radius.mapped_input import mapped_inputs
from ocs.charging.radius.own_attributes import refused_of
from ocs.charging.radius.vendor_profile import VendorProfile, vendor_profiles
from ocs.charging.services import QUOTAS, Amount, ServiceQuota, Services, service_table
from ocs.config_values import EMBEDDED, EMPTY, Listen, Secret, key_of, missing_in, networks
from ocs.events.types import unknown_types
from ocs.patterns import in_words, looks
from ocs.tags import TAGS_MAX, TagKey
from protocol.radius.dictionary import ATTRIBUTES
from protocol.radius.dictionary_files import DictionaryFileError, LoadedDictionary, load_dictionary
from tariffs import toml
from tariffs.units import EXACT_MAX

HostRole = Literal["worker", "api", "keeper"]
ROLES: Final[tuple[HostRole, ...]] = ("worker", "api", "keeper")

OF_COMMANDS = ("OCS_URL", "OCS_TOKEN", "OCS_TOKEN_FILE")
"""In the environment: which server the other commands talk to (ocs/cli/remote.py). No keys of the configuration."""

DEFAULT_FILE = Path("ocs.toml")
"""Read when it exists and no other is named."""

Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Milliseconds = Annotated[int, Meta(ge=1, le=86_400_000)]
Seconds = Annotated[int, Meta(ge=1, le=31 * 86_400)]
Octets = Annotated[int, Meta(ge=1_024, le=16_777_215)]
TOKEN_MIN: Final = 32
"""Characters of a token: fewer might be guessed."""
Name = Annotated[str, looks("[!-~]+", "a name without blanks, in ASCII", min_length=1, max_length=255)]


class ConfigError(Exception):
    """The configuration cannot be used; the text is meant for the operator."""


OFF = Listen()

DEMO_CLIENTS: Final = (
    {"address": "127.0.0.0/8", "secret": "testing123", "group": "loopback"},
    {"address": "127.0.0.2", "secret": "testing123", "group": "gateway", "service": "voice", "profile": "cisco-voice"},
)
"""RADIUS for who tries the demo on this machine: a NAS, and a voice gateway."""


class ConfigTable(Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the file."""


# --- protocols ----------------------------------------------------------------------------------------------------


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
        if bool(self.tls_cert) != bool(self.tls_key) or (self.tls_client_ca and not self.tls_cert):
            raise ValueError("tls_cert and tls_key together, and both beside tls_client_ca")

    @property
    def scheme(self) -> str:
        return "https" if self.tls_cert else "http"


class CertifiedCaller(ConfigTable, frozen=True):
    """Who comes with a client certificate (`http.tls_client_ca`)."""

    subject: Annotated[str, Meta(min_length=1, max_length=255)]
    """Name (DNS, or common name where there is no other) in the certificate."""
    caller: Name
    roles: Annotated[tuple[str, ...], Meta(min_length=1)]


class JsonWebTokens(ConfigTable, frozen=True):
    """Tokens of an identity provider."""

    issuer: Annotated[str, Meta(min_length=1)]
    audience: Annotated[str, Meta(min_length=1)]
    jwks: Annotated[str, Meta(min_length=1)]
    """Its keys: a URL, or a file."""
    skew_s: Annotated[int, Meta(ge=0, le=600)] = 30
    """How far its clock and ours may differ."""
    caller_claim: str = "sub"
    roles_claim: str = "roles"
    """Claim that names roles, or a path to it such as realm_access.roles."""
    roles: dict[str, str] = {}
    """What it calls a role -> role; left out: they are called alike."""
    algorithms: tuple[
        Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"], ...
    ] = (
        "RS256",
        "PS256",
        "ES256",
        "EdDSA",
    )

    def __post_init__(self) -> None:
        scheme, colon, _ = self.jwks.partition("://")
        if colon and scheme not in ("http", "https"):
            raise ValueError("jwks as https://, http:// or a file")


class Access(ConfigTable, frozen=True):
    """Who may do what over the API (docs/access.md)."""

    admin_token: Secret = Secret("")
    """The first token, which may do everything; not given: the one in `<data>/admin.token`, made at the first start."""
    roles: dict[Annotated[str, looks("[a-z][a-z0-9-]{0,31}", "a name of small letters, digits and -")], CallerRole] = {}
    """Of one's own, by name; one called as a shipped one takes its place."""
    four_eyes: tuple[str, ...] = ()
    """Permissions, or patterns of them: what they allow waits until a second person approves it."""
    approval_s: Seconds = 86_400
    """How long it waits."""
    jwt: JsonWebTokens | None = None
    certificates: tuple[CertifiedCaller, ...] = ()

    def __post_init__(self) -> None:
        wrong = [one for one in self.four_eyes if not any(map(can_wait, matching((one,))))]
        if wrong:
            raise ValueError(f"four_eyes of permissions that can wait, not {', '.join(map(repr, wrong))}")
        named = [role for one in self.certificates for role in one.roles]
        named += self.jwt.roles.values() if self.jwt is not None else []
        if strange := sorted({role for role in named if role not in self.known_roles}):
            raise ValueError(f"roles that exist ({', '.join(self.known_roles)}), not {', '.join(strange)}")
        if self.admin_token.reveal() and len(self.admin_token.reveal()) < TOKEN_MIN:
            raise ValueError(f"admin_token of at least {TOKEN_MIN} characters")

    @property
    def known_roles(self) -> dict[str, CallerRole]:
        """The shipped ones and those of the file."""
        return {**SHIPPED, **self.roles}

    @property
    def waiting(self) -> frozenset[str]:
        """The permissions whose use waits for a second person."""
        return frozenset(one for one in matching(self.four_eyes) if can_wait(one))


MONEY_PATTERN: Final = r"^[0-9]{1,9}(\.[0-9]{1,6})?$"


class Transfers(ConfigTable, frozen=True):
    """Transfers between accounts (charging.md section 17)."""

    minimum: Annotated[str, Meta(pattern=MONEY_PATTERN)] = "0.01"
    limit: Annotated[str, Meta(pattern=MONEY_PATTERN)] = "100.00"
    """The most that one may move."""
    day_limit: Annotated[str, Meta(pattern=MONEY_PATTERN)] = "500.00"
    """The most that leaves an account in a day of its time zone ..."""
    day_count: Annotated[int, Meta(ge=1, le=1_000_000)] = 50
    """... and in how many transfers."""


class VoucherRules(ConfigTable, frozen=True):
    """Vouchers and who tries wrong codes (docs/vouchers.md)."""

    keys: tuple[Secret, ...] = ()
    """Under which codes are stored, the newest first: each 32 octets in hex or base64, best `file:`. None: with the
    embedded PostgreSQL a key in the data directory; else there are no vouchers."""
    wrong_max: Annotated[int, Meta(ge=0, le=1_000)] = 5
    """Wrong codes of an account, or of a source, within `window_s`, after which it is locked out; 0: never. Only with a
    lock-out may codes have less than 64 bits of randomness, or be made elsewhere."""
    window_s: Annotated[int, Meta(ge=10, le=31 * 86_400)] = 3_600
    locked_s: Annotated[int, Meta(ge=1, le=31 * 86_400)] = 3_600


class FeeRuns(ConfigTable, frozen=True):
    """The due run of recurring fees (docs/fees.md)."""

    rate: Annotated[int, Meta(ge=1, le=100_000)] = 1_000
    """Assignments a second, at most."""


class Webhooks(ConfigTable, frozen=True):
    """Delivery of events to webhooks (docs/webhooks.md)."""

    allow_private: tuple[str, ...] = ()
    """Addresses or networks that are called although they are not public: loopback, private, link-local ..."""
    allow_http: bool = False
    """http:// too, which shows the events to everybody on the way."""
    tls_ca: str = ""
    """PEM file with the authorities of receivers' certificates; empty: those of the system."""
    timeout_s: Annotated[int, Meta(ge=1, le=120)] = 15
    """For an attempt, from looking up the name to the status."""
    in_flight_max: Annotated[int, Meta(ge=1, le=64)] = 8
    """Attempts at once, of one webhook."""
    webhooks_max: Annotated[int, Meta(ge=1, le=1_000)] = 100
    order_s: Seconds = 600
    """How long a failing delivery holds up the later ones of its account."""
    pause_s: Seconds = 900
    """A webhook is paused, with an alarm, when its receiver has been failing for so long."""

    def __post_init__(self) -> None:
        networks(self.allow_private)


class Metrics(ConfigTable, frozen=True):
    listen: Listen = Listen("127.0.0.1:9464")


# --- stores -------------------------------------------------------------------------------------------------------


class RedisConfig(ConfigTable, frozen=True):
    url: Secret = Secret(EMBEDDED)
    """`embedded`: a Valkey of ours in the data directory."""
    memory_bytes_max: Annotated[int, Meta(ge=64 << 20, le=1 << 43)] = 1 << 30
    """Of the embedded one: full, it refuses; it never forgets a balance."""
    replicas: Annotated[int, Meta(ge=1, le=10)] = 1
    """With durability `replicated`: so many have a call before it is answered."""
    replicas_on_disk: bool = False
    """They have it on disk, and so has the primary; else in memory. Redis 7.2 or later, or Valkey."""
    accept_risks: tuple[StoreRisk, ...] = ()
    """Settings of the store that lose money and are wanted all the same; each is an alarm for as long as it lasts."""

    def __post_init__(self) -> None:
        if self.embedded:
            return
        try:
            address = StoreAddress(self.url.reveal())
        except ValueError as why:
            raise ValueError(f"url {why}{', or `embedded`' if str(why).startswith('as one of') else ''}") from None
        if len(address.places) > 1 and address.kind == "plain":
            raise ValueError(
                "url of one server, or as redis+sentinel://SENTINEL,SENTINEL/SERVICE or redis+cluster://NODE,NODE: of"
                " several plain servers nobody says which one is the primary, and two may take themselves for it"
            )

    @property
    def embedded(self) -> bool:
        return self.url.reveal() == EMBEDDED

    @property
    def promise(self) -> ReplicaPromise:
        """Of replicas, with durability `replicated`."""
        return ReplicaPromise(self.replicas, self.replicas_on_disk)


class PostgresConfig(ConfigTable, frozen=True):
    dsn: Secret = Secret(EMBEDDED)
    """`embedded`: a PostgreSQL of ours in the data directory."""
    connections_max: Annotated[int, Meta(ge=2, le=100)] = 8
    """Of each process that uses it (keeper, api), which has one more to listen on."""

    def __post_init__(self) -> None:
        if self.embedded:
            return
        scheme = self.dsn.reveal().partition("://")[0]
        if scheme not in ("postgres", "postgresql"):
            raise ValueError("dsn as postgresql://..., or `embedded`")
        missing = missing_in(self.dsn.reveal())
        if missing:
            raise ValueError(f"dsn with {missing}")
        if not all(named(host.dsn) for host in hosts(self.dsn.reveal())):
            raise ValueError("dsn with a host between its commas")

    @property
    def embedded(self) -> bool:
        return self.dsn.reveal() == EMBEDDED


# --- charging -----------------------------------------------------------------------------------------------------


class QuotaConfig(ConfigTable, frozen=True):
    """What is granted of one unit: when nothing is named, at least, at most. What is not said here is as
    ocs/charging/services.py has it."""

    default: Amount | UnsetType = UNSET
    minimum: Amount | UnsetType = UNSET
    maximum: Amount | UnsetType = UNSET


class Quotas(ConfigTable, frozen=True):
    octets: QuotaConfig = QuotaConfig()
    seconds: QuotaConfig = QuotaConfig()
    units: QuotaConfig = QuotaConfig()
    money: QuotaConfig = QuotaConfig()
    """Micro-units."""

    def __post_init__(self) -> None:
        for unit, said in self.said().items():
            try:
                ServiceQuota(**{**QUOTAS[unit], **said})
            except ValueError as why:
                raise ValueError(f"{unit}: {why}") from None

    def said(self) -> dict[str, dict[str, int]]:
        """The amounts that were given, by unit."""
        found: dict[str, dict[str, int]] = msgspec.to_builtins(self)
        return {unit: amounts for unit, amounts in found.items() if amounts}


class Charging(ConfigTable, frozen=True):
    validity_s: Seconds = 600
    validity_jitter: Annotated[float, Meta(ge=0.0, le=0.5)] = 0.1
    """Part by which a Validity-Time is shortened at random, so that boundaries make no storm."""
    quota: Quotas = Quotas()
    services: dict[str, dict[str, Any]] = {}
    """What a row of ocs/charging/services.py says otherwise, by its name; a new name is a new row."""
    overrun_factor: Annotated[int, Meta(ge=1, le=1_000)] = 10
    """Reported use beyond this many times the grant (the maximum quota, if more) is set aside, with an alarm."""
    identity_order: tuple[Literal["msisdn", "imsi", "sip", "nai", "private", "username", "mac"], ...] = (
        "msisdn",
        "imsi",
        "sip",
        "nai",
        "private",
        "username",
        "mac",
    )
    """Which identity of a request is looked up first."""
    remember_s: Annotated[int, Meta(ge=60, le=7 * 86_400)] = 3_600
    """How long answers of a closed session or an event are kept in Redis."""
    answer_ms_max: Annotated[int, Meta(ge=10, le=60_000)] = 800
    """In which an answer is due: admission aims at half of it, and a call whose reply was lost is sent again until
    then. A late answer goes out all the same."""
    refund_free_micro: Annotated[int, Meta(ge=0, le=EXACT_MAX)] = 0
    """Largest refund without its original; 0: none."""
    profiles_max: Annotated[int, Meta(ge=100, le=10_000_000)] = 50_000
    """Subscribers a worker keeps at hand (about 1 kB each)."""
    templates_max: Annotated[int, Meta(ge=0, le=1_000_000)] = 20_000
    """What a worker knows by heart, so that what is like it costs less: kinds of requests (about 6 kB each), and who
    and what sessions are about (about 3 kB each); 0: nothing."""

    def __post_init__(self) -> None:
        try:
            self.table()
        except ValueError as why:
            raise ValueError(f"services.{why}") from None  # which says the key below that too

    def table(self) -> Services:
        """The services in force."""
        defaults = {"validity_s": self.validity_s, "refund_free_micro": self.refund_free_micro}
        return service_table(defaults | self.quota.said(), self.services)


class EventsRedis(ConfigTable, frozen=True):
    """Events into a Redis stream; docs/events.md."""

    url: Secret = Secret("off")
    """`off`, or of a server, a cluster or Sentinels of yours, as in `redis.url`: not the live store, which has no room
    for it."""
    stream: Annotated[str, Meta(min_length=1, max_length=255)] = "ocs:events"
    maxlen: Annotated[int, Meta(ge=1_000, le=100_000_000)] = 100_000
    """About so many entries are kept."""
    types: tuple[str, ...] = ()
    """As in a filter of subscriptions; empty: all but those that have to be named."""

    def __post_init__(self) -> None:
        url = self.url.reveal()
        scheme = url.partition("://")[0]
        if url != "off" and scheme not in KINDS:
            raise ValueError(f"url as one of {', '.join(f'{one}://' for one in KINDS)}, or `off`")
        if url != "off" and not is_plain(url):
            try:
                StoreAddress(url)
            except ValueError as why:
                raise ValueError(f"url {why}") from None
        unknown = unknown_types(self.types)
        if unknown:
            raise ValueError(f"types that exist (docs/events.md), not {', '.join(unknown)}")

    @property
    def off(self) -> bool:
        return self.url.reveal() == "off"


class EventsConfig(ConfigTable, frozen=True):
    keep_days: Annotated[int, Meta(ge=1, le=366)] = 7
    """Events are kept so long, and longer while a consumer is not done with them."""
    behind_alarm_s: Seconds = 3_600
    """A consumer whose oldest event is older than this is an alarm."""
    followers_max: Annotated[int, Meta(ge=1, le=10_000)] = 100
    """Who may follow server-sent events at once."""
    expiring_soon_s: Seconds = 259_200
    """So long before its end a bucket is `bucket.expiring`."""
    redis: EventsRedis = EventsRedis()


class Enforcement(ConfigTable, frozen=True):
    """How the network is made to obey the balance (docs/enforcement.md)."""

    peer_rate: Annotated[int, Meta(ge=1, le=100_000)] = 200
    """RAR and ASR a second to one peer, at most: what is more waits its turn."""
    peer_window: Annotated[int, Meta(ge=1, le=1_000)] = 50
    """Of these without an answer."""
    jobs_max: Annotated[int, Meta(ge=100, le=10_000_000)] = 100_000
    """Open at once; what else is due is looked at when there is room."""
    return_s: Seconds = 30
    """A client that has agreed to report has so long to do it."""
    escalate: bool = True
    """Then, or where it refuses, its session is ended (ASR) if its account is suspended or serves it no more."""
    kept_s: Seconds = 7 * 86_400
    """How long jobs that have ended are listed."""


class Ledger(ConfigTable, frozen=True):
    when_stopped: Literal["unready", "degraded"] = "unready"
    """What /readyz says while a shard is not copied until a person has looked; charging goes on."""
    alarm_s: Seconds = 60
    """How often an alarm about what lasts is repeated."""
    sample_rate: Annotated[int, Meta(ge=0, le=1_000)] = 10
    """Accounts a second that a keeper compares between the stores, all the time; 0: none."""
    verify_at: Annotated[
        str, looks(r"(([01]\d|2[0-3]):[0-5]\d)?", 'a time of day, such as "03:30", or "" for never')
    ] = "03:30"
    """When a keeper proves the whole ledger, in UTC."""
    nice: Annotated[int, Meta(ge=0, le=19)] = 5
    """By how much the keeper and the embedded PostgreSQL give way to processes that answer requests (nice(2))."""
    tags: Annotated[tuple[TagKey, ...], Meta(max_length=TAGS_MAX)] = ()
    """Keys of charging tags that postings may have."""
    keep_usage_months: Annotated[int, Meta(ge=0, le=1_200)] = 0
    """Whole months before the present one of which usage records are kept; 0: for ever."""
    keep_entries_months: Annotated[int, Meta(ge=0, le=1_200)] = 0
    """The same of ledger entries."""

    def __post_init__(self) -> None:
        usage, entries = self.keep_usage_months, self.keep_entries_months
        if 0 < usage < KEPT_MONTHS or 0 < entries < KEPT_MONTHS:
            raise ValueError(f"keep_usage_months and keep_entries_months of 0 (for ever) or {KEPT_MONTHS} and more")
        if entries and not 0 < usage <= entries:
            raise ValueError("keep_usage_months, no more than keep_entries_months: usage goes with its entries")


class LogConfig(ConfigTable, frozen=True):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "text"] = "auto"
    """auto: text on a terminal, else JSON."""


def cores() -> int:
    """How many CPU cores this process may use."""
    return len(os.sched_getaffinity(0))


def workers_for(cores: int) -> int:
    """One core is for the live store, whose one thread all workers wait for. At least two: one can restart or be busy
    with a slow path while the other answers."""
    return max(2, min(cores - 1, 256))


class HostConfig(ConfigTable, frozen=True):
    """One of the hosts that may share a store (docs/operations/hosts.md)."""

    name: Annotated[str, Meta(max_length=255)] = ""
    """"": the machine's."""
    roles: Annotated[tuple[HostRole, ...], Meta(min_length=1)] = ROLES
    """Which processes run here: all serve one store, whichever host they run on."""
    notice_s: Annotated[int, Meta(ge=0, le=600)] = 0
    """How long /readyz says that it stops before it does: for balancers to send nothing more."""

    def __post_init__(self) -> None:
        if len(set(self.roles)) != len(self.roles):
            raise ValueError("roles: each once")


class Upgrade(ConfigTable, frozen=True):
    """The step to a newer stored format (docs/operations/upgrade.md)."""

    after_s: Annotated[int, Meta(ge=0, le=90 * 86_400)] = 3_600
    """How long all hosts have to read the newer format before it is written: until then one may go back to the build
    before."""


class Config(ConfigTable, frozen=True):
    data: Path = Path("ocs-data")
    demo: bool = False
    workers: Annotated[int, Meta(ge=1, le=256)] = msgspec.field(default_factory=lambda: workers_for(cores()))
    durability: Literal["always", "everysec", "replicated"] = "always"
    open_without_postgres: bool = False
    sealing_keys: tuple[Secret, ...] = ()
    """Keys for secrets in PostgreSQL (ocs/master/sealing.py), the newest first: each 32 octets in hex or base64, best
    `file:`. None: with the embedded PostgreSQL a key in the data directory; else passwords are hashed (PAP only)."""
    host: HostConfig = HostConfig()
    diameter: Diameter = Diameter()
    radius: Radius = Radius()
    http: Http = Http()
    access: Access = Access()
    transfers: Transfers = Transfers()
    vouchers: VoucherRules = VoucherRules()
    fees: FeeRuns = FeeRuns()
    webhooks: Webhooks = Webhooks()
    metrics: Metrics = Metrics()
    redis: RedisConfig = RedisConfig()
    postgres: PostgresConfig = PostgresConfig()
    charging: Charging = Charging()
    enforcement: Enforcement = Enforcement()
    ledger: Ledger = Ledger()
    upgrade: Upgrade = Upgrade()
    events: EventsConfig = EventsConfig()
    log: LogConfig = LogConfig()

    def __post_init__(self) -> None:
        if "keeper" not in self.host.roles and (self.redis.embedded or self.postgres.embedded):
            raise ValueError(
                "host.roles: without keeper nobody opens embedded stores; set redis.url and postgres.dsn to those that"
                " a host with a keeper uses"
            )
        for name, keys in (("sealing_keys", self.sealing_keys), ("vouchers.keys", self.vouchers.keys)):
            for number, one in enumerate(keys):
                try:
                    key_of(one.reveal())
                except ValueError as why:
                    raise ValueError(f"{name}[{number}] to be {why}") from None
        told = [row for row in self.charging.table().rows if row.subscriber_defaults]
        vendors = self.radius.vendors if told else {}
        for row in told:
            if (refused := refused_of(row.subscriber_defaults, vendors.values())) is not None:
                raise ValueError(f"charging.services.{row.name}.subscriber_defaults.{refused[0]}: {refused[1]}")
        diameter = {"diameter.listen": self.diameter.listen, "diameter.tls_listen": self.diameter.tls_listen}
        if self.durability == "replicated" and self.redis.embedded:
            raise ValueError("durability: expected always or everysec: the embedded Valkey has no replicas")
        if self.durability != "replicated" and self.redis.replicas_on_disk:
            raise ValueError("redis.replicas_on_disk: expected durability = replicated: else no replica is waited for")
        listeners = {**diameter, "http.listen": self.http.listen, "metrics.listen": self.metrics.listen}
        taken: dict[str, str] = {}
        for name, address in listeners.items():
            if address and address.port and taken.setdefault(address, name) != name:
                raise ValueError(f"{name}: expected an address of its own, but {address} is {taken[address]} too")


# --- reading ------------------------------------------------------------------------------------------------------


def load(
    file: Path | None = None,
    overrides: Iterable[str] = (),
    environ: Mapping[str, str] | None = None,
    *,
    data: Path | None = None,
    demo: bool = False,
    roles: str | None = None,
) -> Config:
    """Read the configuration. `overrides` are `a.b=value`; `data`, `demo` and `roles` ("worker,api") are options of
    their own. Raises ConfigError."""
    tree: dict[str, Any] = {}
    origin: dict[str, str] = {}
    if file is None and DEFAULT_FILE.exists():
        file = DEFAULT_FILE
    if file is not None:
        tree = _read_file(file)
    for name, text in sorted((os.environ if environ is None else environ).items()):
        if name.startswith("OCS_") and name not in OF_COMMANDS:
            _put(tree, name.removeprefix("OCS_").lower().replace("__", "."), text, origin, f"environment {name}")
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise ConfigError(f"--set {override}: expected key=value")
        _put(tree, key.strip(), text, origin, f"--set {key.strip()}")
    if data is not None:
        tree["data"] = str(data)
    if demo:
        tree["demo"] = True
    if roles is not None:
        tree["host"] = {**tree.get("host", {}), "roles": [role.strip() for role in roles.split(",")]}
        origin["host.roles"] = "--roles"
    if tree.get("demo") is True and isinstance(tree.setdefault("diameter", {}), dict):
        tree["diameter"].setdefault("admit_loopback", True)
    if tree.get("demo") is True and isinstance(tree.setdefault("radius", {}), dict):
        tree["radius"].setdefault("clients", [dict(one) for one in DEMO_CLIENTS])
    return _decode(tree, origin, str(file) if file else "defaults")


def _empty(value: Any, key: str = "") -> str | None:
    """The key of an empty text that was given, None where there is none. It would mean a default nobody asked for."""
    if isinstance(value, str):
        return key if not value.strip() else None
    if isinstance(value, dict):
        found = (_empty(inner, f"{key}.{name}" if key else name) for name, inner in value.items())
    elif isinstance(value, list):
        found = (_empty(inner, f"{key}[{place}]") for place, inner in enumerate(value))
    else:
        return None
    return next((one for one in found if one is not None), None)


def _decode(tree: dict[str, Any], origin: Mapping[str, str], file: str) -> Config:
    empty = _empty(tree)
    if empty is not None:
        raise ConfigError(f"{_source(origin, empty, file)}: {empty}: expected {EMPTY}")
    try:
        return msgspec.convert(tree, Config, dec_hook=_hook)
    except msgspec.ValidationError as why:
        what, at, path = str(why).rpartition(" - at `$")
        what = what if at else path
        path = path if at else ""
        key = path.removesuffix("`").removeprefix(".")
        raise ConfigError(
            f"{_source(origin, key, file)}: {_explain(tree, key, in_words(what).replace('`', ''))}"
        ) from None


def _source(origin: Mapping[str, str], key: str, file: str) -> str:
    """Where the value of a key stood."""
    plain = re.sub(r"\[.*?\]", "", key)
    return next((source for known, source in origin.items() if f"{known}.".startswith(f"{plain}.")), file)


def _explain(tree: dict[str, Any], key: str, what: str) -> str:
    if unknown := re.match(r"Object contains unknown field (.+)", what):
        return f"{key}.{unknown[1]}: no such key".lstrip(".")
    if what.startswith("Object missing"):
        what = f"Expected {what.removeprefix('Object missing required field ')} to be given"
    elif what.startswith("Invalid enum value"):
        what = f"Expected one of {', '.join(get_args(_kind_at(key)))}"
    elif inner := re.match(r"([\w.\[\]]+): (.+)", what, re.DOTALL):  # of a part of it, which says itself what it is
        return f"{key}.{inner[1]}: {inner[2]}".lstrip(".")
    elif not what.startswith("Expected"):
        what = f"Expected {what}"
    return f"{key or 'the file'}: {what[0].lower()}{what[1:]}{_given(tree, key)}"


def _kind_at(key: str) -> Any:
    """The type of `a.b[0].c`."""
    kind: Any = Config
    for name, index in re.findall(r"(\w+)(\[.*?\])?", key):
        kind = get_type_hints(kind)[name]
        kind = get_args(kind)[0] if index else kind
    return kind


def _given(tree: dict[str, Any], key: str) -> str:
    """What stood there instead, unless it could be a secret."""
    value: Any = tree
    for name in key.split("."):
        if not isinstance(value, dict) or name not in value:
            return ""
        value = value[name]
    if isinstance(value, dict | list) or key.rpartition(".")[2] in ("url", "dsn", "secret"):
        return ""
    return f", found {value!r}"


def _hook(kind: type, value: Any) -> Any:
    if kind is Secret or kind is Listen:
        if not isinstance(value, str):
            raise ValueError(f"text, not {type(value).__name__}")
        return kind.read(value)
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError(kind)


def _read_file(file: Path) -> dict[str, Any]:
    try:
        return toml.parse(file.read_text(encoding="utf-8"))
    except OSError as why:
        raise ConfigError(f"{file}: cannot be read: {why.strerror}") from None
    except ValueError as why:
        raise ConfigError(f"{file}: not TOML: {why}") from None


def _put(tree: dict[str, Any], key: str, text: str, origin: dict[str, str], source: str) -> None:
    """One value from the command line or environment, in the type its field has."""
    *parents, last = key.split(".")
    kind: Any = Config
    table = tree
    for name in parents:
        kind = _field(kind, name, key, source)
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{source}: {key}: {name} is a list; give it whole: {name}=[...]")
    kind = _field(kind, last, key, source)
    table[last] = text if _is_text(kind) else _toml_value(text)
    origin[key] = source


def _field(kind: Any, name: str, key: str, source: str) -> Any:
    if isinstance(kind, type) and issubclass(kind, ConfigTable):
        hints = get_type_hints(kind)
        if name in hints:
            return hints[name]
    elif get_origin(kind) is dict:
        return get_args(kind)[1]
    elif kind is Any:
        return Any
    raise ConfigError(f"{source}: {key}: no such key")


def _is_text(kind: Any) -> bool:
    """Whether what was typed is the value as it stands, without quotes."""
    choices = get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    return any(choice in (str, Secret, Listen, Path) or get_origin(choice) is Literal for choice in choices)


def _toml_value(text: str) -> Any:
    try:
        found = toml.parse(f"value = {text}")
    except ValueError:
        return text
    return found["value"] if len(found) == 1 else text  # a line break brings no further keys
