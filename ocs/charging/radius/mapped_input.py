"""Attributes of RADIUS that tariffs may ask for under a name of the configuration (`[radius.inputs]`). Pure.

pool = "Framed-Pool"
policy = "Cisco-AVPair=ip:sub-qos-policy-in"    # of attributes with pairs: the pair of that name
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from ocs.charging.radius.class_mark import OURS
from protocol.radius.attribute import AnyAttribute
from protocol.radius.attribute_table import AttributeTable
from protocol.radius.dictionary.standard import CLASS, USER_PASSWORD
from protocol.radius.packet import Packet
from protocol.radius.refused import RadiusError
from tariffs.match import ATTRIBUTE
from tariffs.network_facts import in_one_text

INPUTS_MAX: Final = 8
NAME_MAX: Final = 32


class MappedInput:
    """A fact, and the attribute that tells it. ValueError says what is wrong with it."""

    __slots__ = ("attribute", "begins", "name")

    def __init__(self, name: str, written: str, table: AttributeTable) -> None:
        attribute_name, _, pair = written.partition("=")
        if not ATTRIBUTE.fullmatch(name) or len(name) > NAME_MAX:
            raise ValueError(f"a name of at most {NAME_MAX} letters, digits, '-' and '_', not {name!r}")
        attribute: AnyAttribute | None = table.get(attribute_name.strip())
        if attribute is None:
            raise ValueError(f"an attribute for {name}, but none has the name {attribute_name.strip()}")
        if attribute.encrypt or attribute.key == USER_PASSWORD.key:
            raise ValueError(f"an attribute for {name} that may be read, but {attribute.name} is secret")
        self.name, self.attribute = name, attribute
        self.begins = f"{pair.strip()}=" if pair.strip() else ""

    def value(self, packet: Packet) -> str:
        """Of the first one; "" where there is none, or none that is of its type."""
        try:
            found = [as_text(value) for value in packet.get_all(self.attribute)]
        except RadiusError:
            return ""  # what only a price asks about is no reason to drop what is to be charged
        if self.attribute.key == CLASS.key:
            found = [text for text in found if not text.startswith(OURS)]
        return next((text[len(self.begins) :] for text in found if text.startswith(self.begins)), "")


def mapped_inputs(written: Mapping[str, str], table: AttributeTable) -> tuple[MappedInput, ...]:
    """Those of the configuration. ValueError says what was expected instead."""
    if len(written) > INPUTS_MAX:
        raise ValueError(f"at most {INPUTS_MAX} inputs, not {len(written)}")
    return tuple(MappedInput(name, attribute, table) for name, attribute in sorted(written.items()))


def told_in(packet: Packet, mapped: Iterable[MappedInput]) -> str:
    """All that a packet tells, as `Inputs.network` has it."""
    return in_one_text({one.name: one.value(packet) for one in mapped})


def as_text(value: Any) -> str:
    """Numbers in digits, also where they have names; octets that are no text in hex."""
    if not isinstance(value, bytes):
        return str(int(value)) if isinstance(value, int) else str(value)
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = ""
    return text if text.isprintable() and text else value.hex()
