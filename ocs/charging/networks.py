"""Which network serves the user: MCC and MNC written one after the other ("26201", "310410"), whatever says so.

An MNC has two digits or three. Cells say how many they mean; host names do not, because TS 23.003 (section 13.2) fills
an MNC of two digits up with a 0 in front. Such a 0 is taken off again except in countries whose MNCs have three digits.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

THREE_DIGITS: Final = frozenset(
    "302 310 311 312 313 314 315 316 330 334 338 342 344 346 348 350 352 354 356 358 360 365 366 376 708 722 732"
    " 750".split()
)
"""Country codes under which MNCs have three digits (ITU-T E.212)."""

_DIGITS: Final = re.compile(r"[0-9]{3}-?[0-9]{2,3}", re.ASCII)
_HOST: Final = re.compile(r"\bmnc([0-9]{2,3})\.mcc([0-9]{3})\b", re.ASCII | re.IGNORECASE)
_CELL: Final = re.compile(
    r'\b(?:cgi-3gpp|utran-cell-id-3gpp|utran-sai-3gpp)\s*=\s*"?([0-9]{5}[0-9a-f]+)', re.ASCII | re.IGNORECASE
)
_QUOTED: Final = re.compile(r'"[^"]*"?')
_TWO: Final = frozenset((13, 16, 20))
_THREE: Final = frozenset((14, 17, 21))
"""Lengths of a cell in text, by the digits of its MNC: MCC and MNC, then an area of four hexadecimal digits and a cell
or service area of four (GSM, SAI) or seven (UTRAN, E-UTRAN), or six and nine (NR): TS 24.229 section 7.2A.4."""


def network(mcc: str, mnc: str) -> str:
    """MCC and MNC, without the 0 that only fills up."""
    return mcc + (mnc[1:] if len(mnc) == 3 and mnc[0] == "0" and mcc not in THREE_DIGITS else mnc)


TEXT_MAX: Final = 512
"""Characters of a text that is looked at: what comes from outside may be as long as a message."""


def in_text(text: str) -> str:
    """Of "26201", "262-01", "ims.mnc001.mcc262.3gppnetwork.org", "3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=262011a2b..."; ""
    where the text names no network."""
    return _in_text(text if len(text) <= TEXT_MAX else text[:TEXT_MAX])


@lru_cache(8_192)
def _in_text(text: str) -> str:
    if _DIGITS.fullmatch(text):
        return network(text[:3], text[3:].removeprefix("-"))
    if host := _HOST.search(text):
        return network(host[2], host[1])
    if cell := _CELL.search(text):
        digits = cell[1]
        short = len(digits) in _TWO or (len(digits) not in _THREE and digits[:3] not in THREE_DIGITS)
        return digits[:5] if short or not digits[:6].isdecimal() else digits[:6]
    return ""


def is_network_provided(access: str) -> bool:
    """Whether the network says so in P-Access-Network-Info, and not the phone. It takes that parameter out of what
    phones say (TS 24.229 section 5.2.6.3), but not out of their quoted texts."""
    return "network-provided" in [part.strip().lower() for part in _QUOTED.sub("", access).split(";")]


def of_location(location: bytes) -> str:
    """Of a 3GPP-User-Location-Info: whatever its type says it is (cell, service, routing or tracking area, node; 2G to
    5G), three octets of MCC and MNC follow (TS 29.061 section 16.4.7.2; also where a gateway passes on what TS 29.274
    section 8.21 calls ULI). "" where these are no digits."""
    if len(location) < 4:
        return ""
    digits = location[1:4].hex()
    mcc, mnc = digits[1] + digits[0] + digits[3], digits[5] + digits[4] + digits[2]
    mnc = mnc.removesuffix("f")
    return mcc + mnc if mcc.isdecimal() and mnc.isdecimal() else ""
