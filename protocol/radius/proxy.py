"""What a proxy changes in what it passes on (RFC 2865 sections 2.3 and 5.33): secrets and authenticators, what is
hidden under them, and Proxy-State. State gets the tag of the server that gave it, so that whoever sees it next knows
with which server the conversation is.
"""

from __future__ import annotations

from typing import Final

from protocol.radius.attribute_table import AttributeTable
from protocol.radius.authenticator import MESSAGE_AUTHENTICATOR
from protocol.radius.dictionary.standard import PROXY_STATE, STATE, USER_NAME
from protocol.radius.hidden import HidingKey, rehidden
from protocol.radius.packet import Packet
from protocol.radius.vendor import attribute_octets, separate

TAG: Final = 6
"""Octets of the tag of a server."""
VALUE_MAX: Final = 253


def tag_in(packet: Packet) -> bytes:
    """The tag in front of its State, b"" where there is none."""
    states = packet.raw(STATE)
    return states[0][:TAG] if states and len(states[0]) > TAG else b""


def passed_to(packet: Packet, tag: bytes, identifier: int, authenticator: bytes) -> Packet:
    """A request as it goes to a server, still to be signed: with a Proxy-State of ours behind those that came.

    tag:            of the server
    authenticator:  16 random octets
    """
    attributes = []
    for code, value in packet.attributes:
        if code == STATE.key and value.startswith(tag):
            attributes.append((code, value[len(tag) :]))
        elif code != MESSAGE_AUTHENTICATOR:
            attributes.append((code, value))
    passed = Packet(packet.code, identifier, authenticator, attributes)
    return passed.add(PROXY_STATE, tag + bytes((identifier,)))


def passed_back(
    reply: Packet, tag: bytes, before: HidingKey, after: HidingKey, table: AttributeTable
) -> list[tuple[int, bytes]]:
    """The attributes of an answer as they go back, without all Proxy-States: those that came are repeated by
    `authenticator.answer`. RadiusError for what is hidden and has an impossible length.

    before, after:  what values are hidden under on the way to us, and from us on
    table:          says which are
    """
    attributes: list[tuple[int, bytes]] = []
    for key, value, octets in separate(reply.attributes):
        if key in (PROXY_STATE.key, MESSAGE_AUTHENTICATOR):
            continue
        if key == STATE.key and len(value) + len(tag) <= VALUE_MAX:
            octets = attribute_octets(int(STATE.code), tag + value)
        else:
            attribute = table.at(key)
            if attribute is not None and attribute.encrypt:
                octets = octets[: -len(value)] + rehidden(attribute, value, before, after)
        attributes.append((octets[0], octets[2:]))
    return attributes


def renamed(packet: Packet, user: str) -> Packet:
    """The same request with another User-Name."""
    rest = [pair for pair in packet.attributes if pair[0] != USER_NAME.key]
    return Packet(packet.code, packet.identifier, packet.authenticator, rest).add(USER_NAME, user)
