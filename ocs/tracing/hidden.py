"""Messages as they may be shown: passwords, and what passwords and shared secrets could be guessed from, are zero."""

from __future__ import annotations

from typing import Final

from protocol.diameter.header import SIZE
from protocol.radius.attribute_table import AttributeTable
from protocol.radius.vendor import VENDOR_SPECIFIC

HEADER_BYTES: Final = 20
AUTHENTICATOR: Final = slice(4, 20)
"""Of a RADIUS packet: a digest over the shared secret, or what a password is hidden with."""
PROOFS: Final = frozenset({2, 3, 69, 79, 80, 103})
"""User-Password, CHAP-Password, Tunnel-Password, EAP-Message, Message-Authenticator, Digest-Response."""
MICROSOFT: Final = 311
MICROSOFT_PROOFS: Final = frozenset({1, 2, 3, 4, 5, 6, 12, 16, 17, 25, 26, 27})
"""MS-CHAP-Response, -Error and -CPW, passwords, MPPE keys, MS-CHAP2-Response, -Success and -CPW (RFC 2548)."""
DIAMETER_PROOFS: Final = frozenset({2, 402, 404, 462})
"""User-Password, CHAP-Auth, CHAP-Response, EAP-Payload."""


def radius_hidden(octets: bytes, known: AttributeTable) -> bytes:
    """A packet of the same length and form. One that is no packet is not shown at all.

    known:  says which attributes are sent encrypted
    """
    if len(octets) < HEADER_BYTES:
        return b""
    shown = bytearray(octets)
    shown[AUTHENTICATOR] = bytes(16)
    at = HEADER_BYTES
    while at + 2 <= len(shown) and shown[at + 1] >= 2:
        stop = min(at + shown[at + 1], len(shown))
        if shown[at] in PROOFS or _is_encrypted(shown[at], known):
            shown[at + 2 : stop] = bytes(stop - at - 2)
        elif shown[at] == VENDOR_SPECIFIC:
            _hide_vendor(shown, at + 2, stop, known)
        at = stop
    shown[at:] = bytes(len(shown) - at)  # no attribute: it may be anything
    return bytes(shown)


def _hide_vendor(shown: bytearray, at: int, stop: int, known: AttributeTable) -> None:
    vendor = int.from_bytes(shown[at : at + 4], "big")
    at += 4
    while at + 2 <= stop:
        kind, size = shown[at], shown[at + 1]
        end = min(at + max(size, 2), stop)
        if (vendor == MICROSOFT and kind in MICROSOFT_PROOFS) or _is_encrypted(vendor << 32 | kind, known):
            shown[at + 2 : end] = bytes(end - at - 2)
        at = end


def _is_encrypted(key: int, known: AttributeTable) -> bool:
    attribute = known.at(key)
    return attribute is not None and bool(attribute.encrypt)


def diameter_hidden(frame: bytes) -> bytes:
    """A message of the same length and form."""
    at, shown = SIZE, None
    while at + 8 <= len(frame):
        code, size = int.from_bytes(frame[at : at + 4], "big"), int.from_bytes(frame[at + 5 : at + 8], "big")
        if size < 8:
            break
        if code in DIAMETER_PROOFS and not frame[at + 4] & 0x80:
            shown = shown or bytearray(frame)
            stop = min(at + size, len(frame))
            shown[at + 8 : stop] = bytes(stop - at - 8)
        at += -(-size // 4) * 4
    return frame if shown is None else bytes(shown)
