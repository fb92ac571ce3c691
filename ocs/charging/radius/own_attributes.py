"""What a subscriber has of its own, and its NAS is told: an address, a pool, a filter, its ends, a speed. Attributes of
the master data say it, and where they do not, the row of the service (`subscriber_defaults`); vendor profiles spell it.
Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final, NamedTuple

from ocs.charging.radius.attribute_template import OWN, AttributeTemplate
from ocs.charging.radius.said_once import beside
from ocs.charging.radius.vendor_profile import TIMEOUT_MAX, OwnOccasion, VendorProfile
from ocs.charging.services import Service

GRADE: Final = "grade"
"""Attribute of a subscriber: the grade it is served by where its price names none."""
SESSION_TIMEOUT: Final = "session_timeout"
"""Attribute of a subscriber: so many seconds after its login a session ends, whatever can be paid for."""
OCTETS_MAX: Final = 2_048
"""Of all these attributes in a packet, which has 4,096."""


class LeftOut(NamedTuple):
    """An attribute that could not be sent."""

    attribute: str
    why: str
    """`value`: it is none of that type; `room`: there is too much of it."""


def own_of(attributes: Mapping[str, str], service: Service) -> Mapping[str, str]:
    """By name, what a subscriber has of its own."""
    return {**service.subscriber_defaults, **attributes} if service.subscriber_defaults else attributes


def own_seconds(own: Mapping[str, str]) -> int | None:
    """After which its session ends; None: it does not say, or what it says is none."""
    text = own.get(SESSION_TIMEOUT, "").strip()
    return int(text) if _is_timeout(text) else None


def told_of(
    vendor: VendorProfile,
    own: Mapping[str, str],
    body: bytes,
    *occasions: OwnOccasion,
    left_out: list[LeftOut] | None = None,
) -> bytes:
    """What is told of it beside `body`, attributes that count before.

    left_out:  what could not be sent is added to it
    """
    if not own:
        return b""
    facts = {OWN + name: value for name, value in own.items()}
    found = b""
    for line in (line for occasion in occasions for line in vendor.own[occasion]):
        try:
            octets = line.exact(facts)
        except ValueError:
            why = "value"
        else:
            if len(found) + len(octets) <= OCTETS_MAX:
                found += octets
                continue
            why = "room"
        if left_out is not None:
            left_out.append(LeftOut(line.attribute.name, why))
    return beside(body, found)


def refused_of(attributes: Mapping[str, str], vendors: Collection[VendorProfile]) -> tuple[str, str] | None:
    """The first attribute of a subscriber that no NAS could be told, and why; None: there is none.

    vendors:  profiles of the clients that are configured
    """
    timeout = attributes.get(SESSION_TIMEOUT)
    if vendors and timeout and not _is_timeout(timeout.strip()):
        return SESSION_TIMEOUT, f"expected seconds, 1 to {TIMEOUT_MAX}, found {timeout!r}"
    facts = {OWN + name: value for name, value in attributes.items()}
    for line in _lines_of(vendors):
        try:
            line.exact(facts)
        except ValueError as why:
            return line.facts[0].removeprefix(OWN), f"no value of {line.attribute.name}: {why}"
    return None


def _lines_of(vendors: Collection[VendorProfile]) -> Iterator[AttributeTemplate]:
    return (line for vendor in vendors for lines in vendor.own.values() for line in lines if line.facts)


def _is_timeout(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 10 and 1 <= int(text) <= TIMEOUT_MAX
