"""Which client a packet is from: the block of the configuration with the longest prefix that has its address, and by
RadSec the block that names its certificate."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

import msgspec

from ocs.charging.radius.habits import Habit, SignaturePolicy
from ocs.charging.radius.mapped_input import MappedInput, mapped_inputs
from ocs.charging.radius.nas import NasProfile
from ocs.charging.radius.vendor_profile import VendorProfile, vendor_profiles
from ocs.config.radius import Radius, RadiusClient
from ocs.config.values import networks

RADSEC_SECRET: Final = b"radsec"
"""RFC 6614 section 2.3: what is proven is proven by TLS."""
COA_PORT: Final = 3799
"""RFC 5176 section 2.3."""
REMEMBERED_MAX: Final = 65_536
"""Addresses whose client is known by heart; anybody can send from any address."""


class NasClient(msgspec.Struct, frozen=True):
    """A client, ready for use."""

    name: str
    """As counters and logs call it: its group."""
    secret: bytes
    profile: NasProfile
    policies: dict[Habit, SignaturePolicy]
    """What is demanded of its Access-Requests."""
    vendor: VendorProfile
    """How it is told what it is to do."""
    coa: tuple[str, int] | None = None
    """Where CoA and Disconnect go; None: to the address its packets come from."""
    block: str = ""
    """Its addresses."""
    rate_max: int = 1_000_000
    """Requests a second of one address."""
    over: str = ""
    """In front of its addresses where they are told apart: what it comes by, if not UDP."""

    def listens(self, source: str) -> tuple[str, int]:
        """Where it takes CoA and Disconnect, when its packets come from there."""
        return self.coa or (str(plain(source)), COA_PORT)


def made_of(
    config: RadiusClient, vendors: Mapping[str, VendorProfile], inputs: tuple[MappedInput, ...] = ()
) -> NasClient:
    vendor = vendors[config.profile]
    profile = NasProfile(
        config.name,
        config.service,
        config.wraps or vendor.counters_wrap,
        config.port_mbps,
        config.interim_s,
        config.input_group,
        config.output_group,
        config.session_services,
        frozenset(attribute.key for attribute in vendor.names_session if isinstance(attribute.key, int)),
        inputs=inputs,
        passwordless=config.passwordless,
        charged_leg=config.charged_leg,
    )
    secret = config.secret.reveal().encode()
    coa = (config.coa.host, config.coa.port) if config.coa else None
    policies: dict[Habit, SignaturePolicy] = {
        Habit.SIGNED: config.message_authenticator,
        Habit.DIRECT: config.limit_proxy_state,
    }
    return NasClient(profile.group, secret, profile, policies, vendor, coa, config.block, config.rate_max)


class NasClients:
    def __init__(self, config: Radius) -> None:
        table = config.known.attributes
        vendors, inputs = vendor_profiles(config.profiles, table=table), mapped_inputs(config.inputs, table)
        found = [
            (network, made_of(one, vendors, inputs), one.tls_subject.lower())
            for one in config.clients
            for network in networks((one.address,))
        ]
        found.sort(key=lambda entry: entry[0].prefixlen, reverse=True)
        self._networks = [(network, client) for network, client, subject in found if not subject]
        self._certified = [
            (network, msgspec.structs.replace(client, secret=RADSEC_SECRET, over="tls:"), subject)
            for network, client, subject in found
        ]
        self._known: dict[str, NasClient | None] = {}

    def of(self, host: str) -> NasClient | None:
        """None: nobody is configured there."""
        try:
            return self._known[host]
        except KeyError:
            pass
        address = plain(host)
        client = next((client for network, client in self._networks if address in network), None)
        if len(self._known) >= REMEMBERED_MAX:
            self._known.clear()
        self._known[host] = client
        return client

    def certified(self, names: Collection[str], host: str) -> NasClient | None:
        """Of a RadSec connection: the client that names its certificate, else one at that address that names none.
        names: of the certificate, in lower case"""
        address = plain(host)
        there = [(client, subject) for network, client, subject in self._certified if address in network]
        named = next((client for client, subject in there if subject in names), None)
        return named or next((client for client, subject in there if not subject), None)

    def sends_from(self, host: str) -> bool:
        """Whether some client may connect from there."""
        address = plain(host)
        return any(address in network for network, _, _ in self._certified)


def plain(host: str) -> IPv4Address | IPv6Address:
    """Without a zone, and an IPv4 address as such where a socket of IPv6 shows it mapped."""
    address = ip_address(host.partition("%")[0])
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
