"""One spelling for each identity of a subscriber: what networks send and what operators type meets here."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final


class IdentityKind(StrEnum):
    MSISDN = "msisdn"
    IMSI = "imsi"
    SIP = "sip"
    NAI = "nai"
    PRIVATE = "private"
    USERNAME = "username"
    MAC = "mac"
    SUBSCRIBER = "subscriber"
    """Our own id of the subscriber: no protocol sends it."""


KINDS: Final = tuple(kind.value for kind in IdentityKind if kind is not IdentityKind.SUBSCRIBER)
"""Those that a protocol sends and an operator gives."""

_SEPARATORS: Final = re.compile(r"[\s().\-]")


def canonical(identity: str) -> str:
    """ "msisdn:+49 170 1234567" -> "msisdn:491701234567"; ValueError says what is wrong."""
    kind, colon, text = identity.partition(":")
    if not colon or kind not in IdentityKind.__members__.values():
        raise ValueError(f"expected <kind>:<identity> with a kind out of {', '.join(IdentityKind)}, not {identity!r}")
    found = spelled(IdentityKind(kind), text)
    if not found:
        raise ValueError(f"expected something after {kind!r}:, not {text!r}")
    return found


def spelled(kind: IdentityKind, text: str) -> str:
    """The one spelling, kind in front; "" where nothing is left of it."""
    if kind is IdentityKind.MSISDN:
        return text and (f"msisdn:{text}" if text.isdecimal() and text.isascii() else _number(text))
    if kind is IdentityKind.SIP:
        return _uri(text)
    text = text.strip()
    if kind is IdentityKind.NAI:
        text = text.lower()
    elif kind is IdentityKind.MAC:
        text = re.sub(r"[:.\-]", "", text).lower()
    elif "@" in text:  # a user name may depend on its case, a realm never does
        user, _, realm = text.rpartition("@")
        text = f"{user}@{realm.lower()}"
    return text and f"{kind.value}:{text}"


def _number(text: str) -> str:
    """E.164 as gateways send it: "+49170...", "tel:+49-170-...;phone-context=...", a SIP URI in the wrong field."""
    text = text.strip().lower()
    if text.startswith(("sip:", "sips:")):
        return _uri(text)
    digits = _SEPARATORS.sub("", text.removeprefix("tel:").partition(";")[0]).removeprefix("+")
    return digits and f"msisdn:{digits}"


def _uri(text: str) -> str:
    """ "sip:+4917...@realm;user=phone" -> "sip:4917...@realm"; a tel URI is a number."""
    text = text.strip().lower()
    if text.startswith("tel:"):
        return _number(text)
    text = _address(text.removeprefix("sips:").removeprefix("sip:")).removeprefix("+")
    return text and f"sip:{text}"


def _address(uri: str) -> str:
    """What a URI without its scheme names: user@host, without headers and parameters. A user that is a number may have
    parameters of its own ("+4917...;npdi@host", RFC 3261 section 19.1.6)."""
    user, at, host = uri.partition("?")[0].partition("@")
    return user.partition(";")[0] + at + host.partition(";")[0]


def spellings(text: str) -> list[str]:
    """The identities that somebody may mean who says this, with or without a kind before it: a number with blanks,
    "+" or "00" before its country code, an address, a MAC address, a name."""
    kind, colon, rest = text.strip().partition(":")
    is_kind = bool(colon) and kind.lower() in KINDS
    kinds = [IdentityKind(kind.lower())] if is_kind else [IdentityKind(one) for one in KINDS]
    said = rest.strip() if is_kind else text.strip()
    found: dict[str, None] = {}
    for one in kinds:
        identity = spelled(one, said)
        found[identity] = None
        if one is IdentityKind.MSISDN:
            found[f"msisdn:{identity.removeprefix('msisdn:').removeprefix('00')}"] = None
        elif one is IdentityKind.SIP:
            found[number_in(identity)] = None
        elif one is IdentityKind.IMSI:
            found[f"imsi:{_SEPARATORS.sub('', said)}"] = None
    return [identity for identity in found if identity]


def number_in(identity: str) -> str:
    """A SIP address whose user part is a number names that subscriber too; "" for any other."""
    user, at, _ = identity.removeprefix("sip:").partition("@")
    return f"msisdn:{user}" if at and user.isdecimal() and user.isascii() and len(user) >= 7 else ""


def party(text: str) -> str:
    """A calling or called party for rating: the digits of a number as they were dialled, with "+" where a country code
    comes first; or user@host, or the text as it is. Tariffs read it (`[numbers]`)."""
    if not text or text.isdecimal():
        return text
    lower = text.strip().lower()
    uri = _URI.match(lower)
    if uri is None:
        return _dialled(lower) or lower
    address = _address(lower[uri.end() :])
    return _dialled(address.partition("@")[0]) or address


_URI: Final = re.compile("tel:|sips?:")


def _dialled(text: str) -> str:
    """ "+49 (30) 123-4" -> "+49301234"; "" for what is no number."""
    digits = _SEPARATORS.sub("", text)
    return digits if digits.isascii() and digits.removeprefix("+").isdecimal() else ""
