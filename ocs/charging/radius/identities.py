"""Whom a RADIUS packet is about. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from ocs.charging.identity import IdentityKind, number_in, spelled
from protocol.radius.dictionary.standard import CALLING_STATION_ID, USER_NAME
from protocol.radius.dictionary.tgpp import TGPP_IMSI
from protocol.radius.packet import Packet

_MAC: Final = re.compile(r"(?:[0-9a-f]{2}[:.-]?){5}[0-9a-f]{2}|(?:[0-9a-f]{4}[:.-]){2}[0-9a-f]{4}", re.IGNORECASE)
_NUMBER: Final = re.compile(r"\+?[0-9]{7,15}")


def identities_of(packet: Packet) -> tuple[str, ...]:
    """In the order in which they are to be tried: the user name is what was authenticated, so whatever it may be comes
    first, and where it comes from is only asked where that is nobody's."""
    user, calling, imsi = packet.get(USER_NAME), packet.get(CALLING_STATION_ID), packet.get(TGPP_IMSI)
    return _identities(user or "", calling or "", imsi or "")


@lru_cache(65_536)
def _identities(user: str, calling: str, imsi: str) -> tuple[str, ...]:
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
