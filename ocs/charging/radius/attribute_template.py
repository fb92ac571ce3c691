"""An attribute as a vendor profile writes it: `Mikrotik-Rate-Limit = {up_bps}/{down_bps}`.

A name that the dictionary has, a tag behind a colon where the attribute takes one, and the value: text, with facts in
braces. It becomes octets when the facts are known. An attribute with a fact that is not known is not sent. What the
master data says of a subscriber are facts too, by the names of its attributes: `{subscriber.framed_pool}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from protocol.radius.attribute import MAX_TAG, AnyAttribute, folded
from protocol.radius.attribute_table import AttributeTable
from protocol.radius.dictionary.standard import (
    CHAP_PASSWORD,
    CLASS,
    EAP_MESSAGE,
    MESSAGE_AUTHENTICATOR,
    PROXY_STATE,
    STATE,
)
from tariffs.match import ATTRIBUTE

FACTS: Final[dict[str, int | str]] = {
    "up_bps": 1_000_000,
    "down_bps": 5_000_000,
    "up_kbps": 1_000,
    "down_kbps": 5_000,
    "grade": "night",
    "octets": 2**33 + 7,
    "octets_low": 7,
    "octets_high": 2,
    "octets_capped": 2**32 - 1,
    "kilobytes": 2**23 + 1,
    "megabytes": 8_193,
    "seconds": 3_600,
    "url": "https://portal.example.net/",
    "filter": "walled-garden",
    "service": "voip",
}
"""What may stand in braces, each with an example: with these a template is tried out when it is read."""

HALVES: Final = ("octets_low", "octets_high")
"""Of which one may be 0."""

OWN: Final = "subscriber."
"""In front of a fact that is an attribute of the subscriber."""
SAMPLES: Final = {
    "ipv4addr": "192.0.2.1",
    "combo-ip": "192.0.2.1",
    "ipv4prefix": "192.0.2.0/24",
    "ipv6addr": "2001:db8::1",
    "ipv6prefix": "2001:db8::/56",
    "ifid": "0:0:0:1",
    "ether": "00:00:5e:00:53:01",
}
"""By type of an attribute, what such a fact may be; of all others 1."""
UNSAID: Final = frozenset(
    one.key for one in (STATE, CLASS, PROXY_STATE, EAP_MESSAGE, MESSAGE_AUTHENTICATOR, CHAP_PASSWORD)
)
"""What no profile may say: the protocol does, and believes it."""

Facts = Mapping[str, int | str]

_LINE: Final = re.compile(r"(?P<name>[A-Za-z0-9_.-]+?)(?::(?P<tag>[0-9]+))?\s*=\s*(?P<value>.*)", re.DOTALL)
_FACT: Final = re.compile(r"\{([^{}]*)\}")


class AttributeTemplate:
    """One line of a profile. ValueError says what is wrong with it.

    own:  attributes of the subscriber are among its facts
    """

    __slots__ = ("attribute", "facts", "line", "tag", "value")

    def __init__(self, line: str, table: AttributeTable, *, own: bool = False) -> None:
        found = _LINE.fullmatch(line.strip())
        if found is None:
            raise ValueError(f"{line!r}: expected `Attribute = value`")
        attribute = table.get(found["name"])
        if attribute is None:
            raise ValueError(f"{line!r}: no attribute has the name {found['name']}")
        if attribute.encrypt:
            raise ValueError(f"{line!r}: {attribute.name} is sent encrypted and cannot be written in a profile")
        if attribute.key in UNSAID:
            raise ValueError(f"{line!r}: {attribute.name} is said by the server itself")
        self.line, self.attribute, self.value = line, attribute, found["value"].strip()
        self.tag = int(found["tag"] or 0)
        if self.tag > MAX_TAG or (self.tag and not attribute.tagged):
            raise ValueError(f"{line!r}: expected {'a tag of 1 to 31' if attribute.tagged else 'no tag'}")
        self.facts = tuple(_FACT.findall(self.value))
        of_subscriber = {
            fact for fact in self.facts if own and ATTRIBUTE.fullmatch(fact.removeprefix(OWN)) and OWN in fact
        }
        if unknown := sorted({*self.facts} - FACTS.keys() - of_subscriber):
            raise ValueError(f"{line!r}: no fact {', '.join(unknown)}; there are {', '.join(FACTS)}")
        if re.search(r"[{}]", _FACT.sub("", self.value)):
            raise ValueError(f"{line!r}: a brace without its other half")
        try:
            octets = self._octets({**FACTS, **dict.fromkeys(of_subscriber, SAMPLES.get(attribute.type.name, "1"))})
        except ValueError as why:
            raise ValueError(f"{line!r}: {why}") from None
        if not octets:
            raise ValueError(f"{line!r}: expected a value")

    def __repr__(self) -> str:
        return self.line

    def octets(self, facts: Facts) -> bytes:
        """The attribute as it is sent; nothing where a fact is missing, 0 or empty, or where it does not fit."""
        try:
            return self.exact(facts)
        except ValueError:
            return b""

    def exact(self, facts: Facts) -> bytes:
        """The same, but a ValueError says why it does not fit."""
        if any((facts.get(name, "") in ("", 0) and name not in HALVES) or name not in facts for name in self.facts):
            return b""
        return self._octets(facts)

    def _octets(self, facts: Facts) -> bytes:
        text = _FACT.sub(lambda found: str(facts[found[1]]), self.value)
        return self.attribute.pack(value_of(self.attribute, text), self.tag)


def value_of(attribute: AnyAttribute, text: str) -> Any:
    """A value written as text, as the type of its attribute wants it. ValueError for what is none."""
    kind = attribute.type.name
    if kind in ("integer", "enum", "time", "integer64", "byte", "short", "signed"):
        number = attribute.values.get(folded(text))
        if number is not None:
            return number
        try:
            return int(text, 0)
        except ValueError:
            expected = f"a number or one of {', '.join(attribute.values)}" if attribute.values else "a number"
            raise ValueError(f"{attribute.name}: expected {expected}, found {text!r}") from None
    if kind in ("string", "concat", "tlv"):
        return bytes.fromhex(text[2:]) if text.startswith("0x") else text.encode()
    return text


def volume(octets: int) -> dict[str, int]:
    """The facts of a volume limit."""
    return {
        "octets": octets,
        "octets_low": octets & 0xFFFFFFFF,
        "octets_high": octets >> 32,
        "octets_capped": min(octets, 2**32 - 1),
        "kilobytes": -(-octets // 1024),
        "megabytes": -(-octets // 1024**2),
    }


def speed(down_bps: int, up_bps: int) -> dict[str, int]:
    """The facts of a speed; that of a direction that is 0 is not limited, and not sent."""
    return {
        "down_bps": down_bps,
        "up_bps": up_bps,
        "down_kbps": -(-down_bps // 1_000),
        "up_kbps": -(-up_bps // 1_000),
    }
