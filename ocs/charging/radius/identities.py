"""Whom a RADIUS packet is about. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from ocs.charging.identity import IdentityKind, number_in, spelled
from ocs.charging.radius.names import nas_name, reference_in
from ocs.charging.radius.nas import NasProfile
from protocol.radius.dictionary.adsl_forum import ADSL_AGENT_CIRCUIT_ID
from protocol.radius.dictionary.standard import CALLING_STATION_ID, NAS_PORT_ID, USER_NAME
from protocol.radius.dictionary.tgpp import TGPP_IMSI
from protocol.radius.packet import Packet

_MAC: Final = re.compile(r"(?:[0-9a-f]{2}[:.-]?){5}[0-9a-f]{2}|(?:[0-9a-f]{4}[:.-]){2}[0-9a-f]{4}", re.IGNORECASE)
_NUMBER: Final = re.compile(r"\+?[0-9]{7,15}")


def identities_at(packet: Packet, nas: NasProfile) -> tuple[str, ...]:
    """The same, and behind them the port, where its client tells who is at it: as user name Agent-Circuit-Id, then the
    NAS and its NAS-Port-Id as `bras1/ge-1/0/3.7`."""
    found = identities_of(packet)
    if not nas.passwordless:
        return found
    circuit, port = packet.get(ADSL_AGENT_CIRCUIT_ID), packet.get(NAS_PORT_ID)
    ports = (circuit.decode(errors="replace") if circuit else "", f"{nas_name(packet)}/{port}" if port else "")
    return tuple(dict.fromkeys((*found, *filter(None, (spelled(IdentityKind.USERNAME, one) for one in ports)))))


def identities_of(packet: Packet) -> tuple[str, ...]:
    """In the order in which they are to be tried: the user name is what was authenticated, so whatever it may be comes
    first, and where it comes from is only asked where that is nobody's."""
    user, calling, imsi = packet.get(USER_NAME), packet.get(CALLING_STATION_ID), packet.get(TGPP_IMSI)
    reference = reference_in(packet)
    if reference is not None and reference.user:
        user = reference.user  # what the NAS has may be a pseudonym
    return identities_named(user or "", calling or "", imsi or "")


@lru_cache(65_536)
def identities_named(user: str, calling: str, imsi: str = "") -> tuple[str, ...]:
    """Of a user name and where it comes from, "" for what is not said."""
    found = [spelled(IdentityKind.USERNAME, user)]
    if user.lower().startswith(("sip:", "sips:", "tel:")):
        found.append(spelled(IdentityKind.SIP, user))
        found.append(number_in(found[-1]))
    elif "@" in user:
        found.append(spelled(IdentityKind.NAI, user))
    found += _of_station(user)
    if imsi:
        found.append(spelled(IdentityKind.IMSI, imsi))
    found += _of_station(calling)
    return tuple(dict.fromkeys(filter(None, found)))


def is_mac(text: str) -> bool:
    """Twelve digits alone are rather a number: both are looked for."""
    return _MAC.fullmatch(text) is not None and not text.isdecimal()


def _of_station(text: str) -> list[str]:
    number = [spelled(IdentityKind.MSISDN, text)] if _NUMBER.fullmatch(text) else []
    return [*number, spelled(IdentityKind.MAC, text)] if _MAC.fullmatch(text) else number
