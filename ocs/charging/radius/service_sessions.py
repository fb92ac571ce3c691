"""Services inside a session, which some NASes report in packets of their own: each becomes a line of its session. Pure.

Juniper ERX and MX name the service in ERX-Service-Session; its Acct-Session-Id is that of the session, a colon and a
number. Cisco (SSG, ISG) names it in Cisco-Service-Info behind an N, and the session in the AV pair parent-session-id.
"""

from __future__ import annotations

from typing import Final, NamedTuple
from zlib import crc32

from protocol.radius.dictionary.cisco import CISCO_AVPAIR, CISCO_SERVICE_INFO
from protocol.radius.dictionary.juniper_erx import ERX_SERVICE_SESSION
from protocol.radius.packet import Packet

PARENT: Final = "parent-session-id="
SERVICE_ID_MAX: Final = 2**31 - 1


class ServiceSession(NamedTuple):
    name: str
    """As it is configured at the NAS, without parameters."""
    parent: str
    """Acct-Session-Id of the session it is in."""
    service_id: int
    """Of its line: one that is activated again counts from nothing, and is another line."""


def service_session(packet: Packet, acct_session_id: str) -> ServiceSession | None:
    """None: the packet is about a session, or does not say which one its service is in."""
    named = packet.get(ERX_SERVICE_SESSION)
    if named:
        parent = acct_session_id.rpartition(":")[0]
        return _service(named, parent, acct_session_id) if parent else None
    for info in packet.get_all(CISCO_SERVICE_INFO):
        if info.startswith("N") and len(info) > 1:
            pairs = packet.get_all(CISCO_AVPAIR)
            found = next((pair.removeprefix(PARENT) for pair in pairs if pair.startswith(PARENT)), "")
            return _service(info[1:], found, acct_session_id) if found else None
    return None


def _service(named: str, parent: str, own: str) -> ServiceSession:
    return ServiceSession(named.partition("(")[0].strip(), parent, crc32(own.encode()) & SERVICE_ID_MAX)
