"""What a voice gateway says of a call in vendor-specific attributes of Cisco, which others took over: a value repeats
the name of its attribute, `h323-conf-id=...`, and some gateways leave that out or put the pair into Cisco-AVPair. Pure.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, NamedTuple, TypeAlias

from protocol.radius.attribute import Attribute
from protocol.radius.dictionary.cisco import (
    CISCO_AVPAIR,
    H323_CALL_ORIGIN,
    H323_CONF_ID,
    H323_CONNECT_TIME,
    H323_DISCONNECT_TIME,
    H323_SETUP_TIME,
)
from protocol.radius.packet import Packet

ChargedLeg: TypeAlias = Literal["originate", "answer", "any"]
"""Which legs of a call its charge is taken of, as `h323-call-origin` names them."""

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_CLOCK: Final = re.compile(
    r"(?P<unset>[*.]?)(?P<h>\d{1,2}):(?P<m>\d\d):(?P<s>\d\d)(?:\.(?P<ms>\d{1,3}))?\s+(?P<zone>\S+)\s+"
    r"[a-z]{3}\s+(?P<month>[a-z]{3})\s+(?P<day>\d{1,2})\s+(?P<year>\d{4})",
    re.IGNORECASE,
)
"""`14:23:17.123 UTC Tue Nov 14 2023`; `*` or `.` in front: its clock is not synchronised."""
_ISO: Final = re.compile(
    r"(?P<unset>)(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)[T ](?P<h>\d\d):(?P<m>\d\d):(?P<s>\d\d)"
    r"(?:\.(?P<ms>\d{1,3})\d*)?\s?(?P<zone>Z|[+-]\d\d:?\d\d)?\d*"
)
"""`2023-11-14T15:23:17.123456+0100`, as FreeSWITCH writes it."""
_OFFSET: Final = re.compile(r"(?P<sign>[+-])(?P<h>\d\d):?(?P<m>\d\d)")
_UTC: Final = frozenset({"UTC", "GMT", "Z"})
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class ClockReading(NamedTuple):
    """An instant as the clock of the gateway showed it."""

    local_ms: int
    """As if its zone were UTC."""
    zone: str
    offset_ms: int | None
    """Of its zone; None where only the gateway knows what that is."""
    is_set: bool
    """The gateway says that its clock is synchronised."""

    @property
    def at_ms(self) -> int | None:
        """The instant, None where it is not known."""
        return None if self.offset_ms is None else self.local_ms - self.offset_ms


def clock_reading(text: str) -> ClockReading | None:
    """None for what is no such text."""
    found = _CLOCK.fullmatch(text.strip()) or _ISO.fullmatch(text.strip())
    if found is None:
        return None
    month = found["month"]
    try:
        number = int(month) if month.isdecimal() else _MONTHS.index(month.lower()) + 1
        date = int(found["year"]), number, int(found["day"])
        day = datetime(*date, int(found["h"]), int(found["m"]), int(found["s"]), tzinfo=UTC)
    except ValueError:
        return None
    ms = int((found["ms"] or "").ljust(3, "0"))
    zone = (found["zone"] or "").upper()
    return ClockReading((day - _EPOCH) // timedelta(milliseconds=1) + ms, zone, _offset_ms(zone), not found["unset"])


def _offset_ms(zone: str) -> int | None:
    if zone in _UTC:
        return 0
    found = _OFFSET.fullmatch(zone)
    if found is None:
        return None
    minutes = int(found["h"]) * 60 + int(found["m"])
    return (-minutes if found["sign"] == "-" else minutes) * 60_000


def between_ms(earlier: ClockReading, later: ClockReading) -> int | None:
    """How long it was between two readings of one clock; None where its zone changed and nobody knows by how much, or
    where it ran backwards."""
    if earlier.zone == later.zone:
        passed = later.local_ms - earlier.local_ms
    elif earlier.at_ms is not None and later.at_ms is not None:
        passed = later.at_ms - earlier.at_ms
    else:
        return None
    return passed if passed >= 0 else None


class CallTimes(NamedTuple):
    """As they are written, "" for what is not said."""

    setup: str
    connect: str
    disconnect: str


def call_times(packet: Packet) -> CallTimes:
    return CallTimes(*(said(packet, one) for one in (H323_SETUP_TIME, H323_CONNECT_TIME, H323_DISCONNECT_TIME)))


def conference(packet: Packet) -> str:
    """By which all legs of a call name it, in one spelling; "" where none is said."""
    return "".join(said(packet, H323_CONF_ID).split()).lower()


def is_charged_leg(packet: Packet, charged: ChargedLeg) -> bool:
    """Whether the call is charged by this leg. A leg that does not say which one it is, or that is of neither kind, is
    the only one."""
    origin = said(packet, H323_CALL_ORIGIN).lower()
    return charged == "any" or origin not in ("originate", "answer") or origin == charged


def said(packet: Packet, attribute: Attribute[str]) -> str:
    """A value without the name in front of it; "" where there is none."""
    name = attribute.name.lower()
    value = packet.get(attribute)
    if value is not None:
        return _plain(value, name)
    for pair in packet.get_all(CISCO_AVPAIR):
        if pair[: len(name) + 1].lower() == f"{name}=":
            return _plain(pair, name)
    return ""


def _plain(value: str, name: str) -> str:
    return (value[len(name) + 1 :] if value[: len(name) + 1].lower() == f"{name}=" else value).strip()


def written(attribute: Attribute[str], value: object) -> bytes:
    """The attribute as gateways expect it, with its name in front of the value."""
    return attribute.pack(f"{attribute.name}={value}")
