"""Which client a packet is from: the block of the configuration with the longest prefix that has its address."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

import msgspec

from ocs.charging.radius.nas import NasProfile
from ocs.config import RadiusClient
from ocs.config_values import networks

REMEMBERED_MAX: Final = 65_536
"""Addresses whose client is known by heart; anybody can send from any address."""


class NasClient(msgspec.Struct, frozen=True):
    """A client, ready for use."""

    name: str
    """As counters and logs call it: its group."""
    secret: bytes
    profile: NasProfile
    signed_only: bool
    """An Access-Request without Message-Authenticator is dropped."""


def made_of(config: RadiusClient) -> NasClient:
    profile = NasProfile(
        config.group or config.address,
        config.service,
        config.wraps,
        config.port_mbps,
        config.interim_s,
        config.input_group,
        config.output_group,
    )
    secret = config.secret.reveal().encode()
    return NasClient(profile.group, secret, profile, config.message_authenticator == "require")


class NasClients:
    def __init__(self, configured: Sequence[RadiusClient]) -> None:
        found = [(network, made_of(one)) for one in configured for network in networks((one.address,))]
        self._networks = sorted(found, key=lambda pair: pair[0].prefixlen, reverse=True)
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


def plain(host: str) -> IPv4Address | IPv6Address:
    """Without a zone, and an IPv4 address as such where a socket of IPv6 shows it mapped."""
    address = ip_address(host.partition("%")[0])
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
