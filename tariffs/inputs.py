"""What rating may look at besides the line itself. Every protocol fills in what it knows."""

from __future__ import annotations

from typing import Final

import msgspec


class Inputs(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Facts about a request. Kept on its usage record as a map of those that were given, so that a price can be
    explained, and history rated again, years later. Texts are "" and numbers None where unknown."""

    service: str
    """Name of its row in the service table: "data", "voice", "sms"."""
    service_context: str = ""
    apn: str = ""
    """Lower case."""
    rat_type: int | None = None
    """3GPP-RAT-Type as the radio access is numbered there: 6 is E-UTRAN."""
    visited: str = ""
    """MCC-MNC of the serving network."""
    location: str = ""
    """3GPP-User-Location-Info, or an access network text, as hexadecimal or text."""
    calling: str = ""
    """Digits, or a SIP user@host, normalised as identities are."""
    called: str = ""
    role: int | None = None
    """Role-Of-Node: 0 originating, 1 terminating, 2 forwarding."""
    event_type: str = ""
    """SIP method or event package, kind of message."""
    media: str = ""
    charging_characteristics: str = ""
    node: str = ""
    """NAS, gateway or content server."""
    port_type: int | None = None
    user_time_zone: str = ""
    """3GPP-MS-TimeZone, hexadecimal."""
    equipment: str = ""
    """IMEI(SV) or MAC."""
    network: str = ""
    """What it tells besides in attributes of its own, under configured names (network_facts.py)."""
    attributes: dict[str, str] = {}
    """What the master data says of the subscriber: segment, contract, entitlements."""
    time_zone: str = ""
    """Of the account."""
    subscriber: str = ""
    """Its id, where counters are kept by member."""
    tags: str = ""
    """Charging tags of this use, as JSON: {"channel":"web"}. They change no price (tags.py)."""
    subscriber_tags: str = ""
    """Those of the subscriber, likewise."""


TOLD: Final = (
    "apn", "rat_type", "visited", "location", "calling", "called", "role", "event_type", "media",
    "charging_characteristics", "node", "port_type", "user_time_zone", "equipment", "network", "tags",
)  # fmt: skip
"""Facts that requests tell, and that are remembered of a session when a later one does not (charging.md section 5), by
number: sessions are stored with these numbers, so a new one is only ever added at the end. The others are told by every
request, or come from the master data."""
