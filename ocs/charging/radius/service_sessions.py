"""Services inside a session, which some NASes report in packets of their own: each becomes a line of its session. Pure.

Juniper ERX and MX name the service in ERX-Service-Session; its Acct-Session-Id is that of the session, a colon and a
number. Cisco (SSG, ISG) names it in Cisco-Service-Info behind an N, and the session in the AV pair parent-session-id.
Huawei (EDSG) names it in HW-Service-Info behind a letter, or in HW-Policy-Name where the router is told to, and the
session in Acct-Multi-Session-Id. Nokia names it in Alc-Sub-Serv-Activate, which goes on in a second one where it is
long, and the session like Huawei.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from zlib import crc32

from protocol.radius.dictionary.cisco import CISCO_AVPAIR, CISCO_SERVICE_INFO
from protocol.radius.dictionary.huawei import HUAWEI_POLICY_NAME, HUAWEI_SERVICE_INFO
from protocol.radius.dictionary.juniper_erx import ERX_SERVICE_SESSION
from protocol.radius.dictionary.nokia_sr import ALC_SUB_SERV_ACTIVATE
from protocol.radius.dictionary.standard import ACCT_MULTI_SESSION_ID
from protocol.radius.packet import Packet

PARENT: Final = "parent-session-id="
SERVICE_ID_MAX: Final = 2**31 - 1
PARAMETERS: Final = re.compile(r"[(;]")
"""What begins the parameters behind a name: of Juniper's services a bracket, of Nokia's, by custom, a semicolon."""


class ServiceSession(NamedTuple):
    name: str
    """As it is configured at the NAS, without parameters."""
    parent: str
    """Acct-Session-Id of the session it is in."""
    service_id: int
    """Of its line: one that is activated again counts from nothing, and is another line."""


def service_session(packet: Packet, acct_session_id: str) -> ServiceSession | None:
    """None: the packet is about a session, or does not say which one its service is in."""
    for names in (_juniper, _cisco, _huawei, _nokia):
        name, parent = names(packet, acct_session_id)
        if name and parent and parent != acct_session_id:
            own = crc32(acct_session_id.encode()) & SERVICE_ID_MAX
            return ServiceSession(PARAMETERS.split(name, 1)[0].strip(), parent, own)
    return None


def _juniper(packet: Packet, own: str) -> tuple[str, str]:
    """Service and session, as in those below."""
    return packet.get(ERX_SERVICE_SESSION) or "", own.rpartition(":")[0]


def _cisco(packet: Packet, _own: str) -> tuple[str, str]:
    named = next((info[1:] for info in packet.get_all(CISCO_SERVICE_INFO) if info.startswith("N")), "")
    pairs = packet.get_all(CISCO_AVPAIR)
    return named, next((pair.removeprefix(PARENT) for pair in pairs if pair.startswith(PARENT)), "")


def _huawei(packet: Packet, _own: str) -> tuple[str, str]:
    info = packet.get(HUAWEI_SERVICE_INFO)
    named = info[1:] if info else packet.get(HUAWEI_POLICY_NAME) or ""
    return named, packet.get(ACCT_MULTI_SESSION_ID) or ""


def _nokia(packet: Packet, _own: str) -> tuple[str, str]:
    return "".join(packet.get_all(ALC_SUB_SERV_ACTIVATE)), packet.get(ACCT_MULTI_SESSION_ID) or ""
