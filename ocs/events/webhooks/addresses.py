"""Which addresses a webhook may be delivered to: public ones, and the private networks that are configured.

Whoever may add a webhook chooses where this server connects to. Without a rule that would be every service of its own
network that trusts addresses: databases on loopback, the metadata service of a cloud, neighbours. The rule is
applied to the address that is connected to (ocs/events/webhooks/client.py), not to a name, which may mean another
address a moment later.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from ocs.config.values import Network

URL_MAX: Final = 2_048

_NOT_PUBLIC_V4: Final = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # unspecified, "this network"
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carriers' NAT; metadata of one cloud
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # the platform of one cloud, on each of its machines
        "169.254.0.0/16",  # link-local; metadata of most clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # IETF protocols; metadata of one cloud
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays, withdrawn
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved; broadcast
    )
)
_PUBLIC_V6: Final = ipaddress.IPv6Network("2000::/3")
"""Outside it: unspecified, loopback, IPv4-mapped and -compatible, NAT64 (64:ff9b::/96, 64:ff9b:1::/48), unique
local, link- and site-local, multicast."""
_NOT_PUBLIC_V6: Final = tuple(
    ipaddress.IPv6Network(text)
    for text in (
        "2001::/23",  # IETF protocols; Teredo, which has an IPv4 address inside
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, which has an IPv4 address inside
        "3fff::/20",  # documentation
    )
)


def refused_address(text: str, allowed: Sequence[Network] = ()) -> str:
    """Why this address may not be connected to, "" when it may. allowed: networks that are wanted all the same."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return f"{text} is no IP address"
    if any(address in network for network in allowed if network.version == address.version):
        return ""
    if isinstance(address, ipaddress.IPv4Address):
        public = not any(address in network for network in _NOT_PUBLIC_V4)
    else:
        public = address in _PUBLIC_V6 and not any(address in network for network in _NOT_PUBLIC_V6)
    return "" if public else f"{text} is no public address (webhooks.allow_private)"


def refused_url(url: str, *, allow_http: bool, allowed: Sequence[Network] = ()) -> str:
    """Why a webhook may not have this URL, "" when it may. A name is looked up at each connection, not here."""
    if len(url) > URL_MAX or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return f"up to {URL_MAX} visible ASCII characters (a name in another script as xn--...)"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as why:
        return f"a URL that can be read: {why}"
    if parts.scheme not in (("https", "http") if allow_http else ("https",)):
        return "an https:// URL" + ("" if allow_http else " (http:// only with webhooks.allow_http)")
    if "@" in parts.netloc:
        return "no user or password in it: who calls is known by the signature"
    if parts.fragment:
        return "no # in it"
    if not parts.hostname or port == 0:
        return "a host and, if any, a port from 1 to 65535"
    try:
        ipaddress.ip_address(parts.hostname)
    except ValueError:
        return ""
    return refused_address(parts.hostname, allowed)
