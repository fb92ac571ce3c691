"""The allow-list: who may be a Diameter peer, from where, with which certificate, and how many times at once."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable
from typing import Final

from ocs.config.diameter import PeerConfig, PeerProfile
from ocs.config.values import networks

GUEST_CONNECTIONS: Final = 8
"""Of a peer that is admitted without being listed."""


GUEST: Final = "guest"


class Peers:
    def __init__(self, peers: Iterable[PeerConfig], *, admit_loopback: bool = False) -> None:
        self._peers = {peer.origin_host.lower(): peer for peer in peers}
        self._networks = {host: networks(peer.addresses) for host, peer in self._peers.items()}
        self._admit_loopback = admit_loopback

    def objection(self, origin_host: str, address: str, certified: Collection[str] | None) -> str:
        """Why this peer is refused, "" when it is accepted. `certified`: the names in its certificate, None without
        TLS."""
        host = origin_host.lower()
        peer = self._peers.get(host)
        if peer is None:
            if self._admit_loopback and ipaddress.ip_address(address).is_loopback and certified is None:
                return ""
            return "not in diameter.peers"
        if self._networks[host] and not any(ipaddress.ip_address(address) in net for net in self._networks[host]):
            return "not from an address in its diameter.peers entry"
        return self.misnamed(origin_host, certified)

    def misnamed(self, origin_host: str, certified: Collection[str] | None) -> str:
        """Why its certificate is not for this peer, "" when it is, or when there is no TLS."""
        peer = self._peers.get(origin_host.lower())
        expected = (peer.tls_subject if peer is not None and peer.tls_subject else origin_host).lower()
        if certified is None or expected in certified:
            return ""
        return f"its certificate is for {', '.join(sorted(certified)) or 'nobody'}, not for {expected}"

    def may_come_from(self, address: str) -> bool:
        """Whether any peer connects from there, as far as an address can tell."""
        one = ipaddress.ip_address(address)
        if self._admit_loopback and one.is_loopback:
            return True
        return any(not networks or any(one in network for network in networks) for networks in self._networks.values())

    def several(self, origin_host: str) -> int:
        """How many connections it may hold at once."""
        peer = self._peers.get(origin_host.lower())
        return peer.connections if peer is not None else GUEST_CONNECTIONS

    @property
    def names(self) -> list[str]:
        """Of the configured ones, as they are configured."""
        return [peer.origin_host for peer in self._peers.values()]

    def name(self, origin_host: str) -> str:
        """The configured spelling of a peer's name, else GUEST: what an unknown peer sends never becomes a metric
        label."""
        peer = self._peers.get(origin_host.lower())
        return peer.origin_host if peer is not None else GUEST

    def ignores_origin_state(self, origin_host: str) -> bool:
        return self.profile(origin_host).origin_state == "ignore"

    def never_reauthorizes(self, origin_host: str) -> bool:
        """It does not come back after a RAR."""
        return self.profile(origin_host).reauthorize == "never"

    def profile(self, origin_host: str) -> PeerProfile:
        """The profile of the peer: where it differs from the RFC."""
        peer = self._peers.get(origin_host.lower())
        return peer.profile if peer is not None else PeerProfile()
