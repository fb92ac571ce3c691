"""A packet in words, one line for each attribute: for tests, debugging and reading. Not for the hot path."""

from collections.abc import Iterator

from protocol.radius.attribute import AnyAttribute
from protocol.radius.attribute_table import AttributeTable
from protocol.radius.dictionary import ATTRIBUTES
from protocol.radius.packet import Packet
from protocol.radius.vendor import HOLDERS, Key, unfold


def dump(octets: bytes, known: AttributeTable = ATTRIBUTES) -> str:
    """Raises RadiusError where it is no packet. An attribute that we do not know, or whose octets are none of its type,
    is shown as octets.

    known:  the attributes that have names
    """
    packet = Packet.decode(octets)
    name = getattr(packet.code, "name", str(packet.code)).replace("_", "-").title()
    return "\n".join([f"{name} id {packet.identifier}", *_lines(packet, known)])


def _lines(packet: Packet, known: AttributeTable) -> Iterator[str]:
    for code, value in packet.attributes:
        inside = unfold([(code, value)]) if code in HOLDERS else []
        for key, part in inside or [(code, value)]:
            yield f"  {_shown(key, part, known.at(key))}"


def _shown(key: Key, value: bytes, attribute: AnyAttribute | None) -> str:
    if attribute is None:
        return f"{_place(key)} {value.hex()}"
    if attribute.encrypt:
        return f"{attribute.name} (hidden)"
    try:
        data = attribute.untagged(value)[1] if attribute.tagged else value
        found = attribute.type.decode(data)
    except ValueError:
        return f"{attribute.name} {value.hex()}"
    if isinstance(found, bytes):
        return f"{attribute.name} {found.hex()}"
    names = {number: word for word, number in attribute.values.items()}
    word = names.get(found) if isinstance(found, int) else None
    return f"{attribute.name} {found}" + (f" ({word})" if word else "")


def _place(key: Key) -> str:
    if isinstance(key, tuple):
        return ".".join(map(str, key))
    return str(key) if key < 1 << 32 else f"{key >> 32}/{key & 0xFFFFFFFF}"
