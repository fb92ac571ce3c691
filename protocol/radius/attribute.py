"""Attributes: declared once, everything else derives from the declaration.

    ACCT_SESSION_TIME = Attribute("Acct-Session-Time", 46, INTEGER)
    MIKROTIK_RATE_LIMIT = Attribute("Mikrotik-Rate-Limit", 8, TEXT, vendor=14988)
    VOLUME_QUOTA = Attribute("WiMAX-PPAQ-Volume-Quota", "37.2", INTEGER, vendor=24757)

`Attribute` is generic in its Python type: `packet.get(ACCT_SESSION_TIME)` is an `int | None`.
"""

from enum import IntEnum
from typing import Any, Generic, TypeVar

from protocol.radius.types import DataType
from protocol.radius.vendor import (
    EXTENDED,
    LONG_EXTENDED,
    VENDOR_SPECIFIC,
    Key,
    attribute_octets,
    extended_octets,
    vendor_octets,
)

T = TypeVar("T")

MAX_TAG = 0x1F  # RFC 2868 section 3.1


def folded(name: str) -> str:
    """A name as it is looked up: dictionaries differ in capitals and separators."""
    return name.lower().replace("-", "_").replace(".", "_")


class Attribute(Generic[T]):
    """One attribute.

    name     as the dictionaries have it
    code     its number, or a dotted path: "37.2" is TLV 2 inside 37, "241.3" extended type 3, "241.26.9.1" type 1 of
             vendor 9 in the extended space
    type     the data type
    vendor   its enterprise number, 0 = IETF
    tagged   a tag octet groups it with others (RFC 2868); `Packet.get` leaves it out, `Packet.tagged` has it
    encrypt  0 no, 1 as User-Password, 2 as Tunnel-Password; what is read and written here are then the hidden octets,
             see `hidden.py`
    values   names of its numbers, folded as `folded` does
    key      its identity in a packet
    below    the TLV path below the key
    """

    __slots__ = (
        "_head",
        "below",
        "code",
        "concat",
        "encrypt",
        "key",
        "name",
        "read",
        "tagged",
        "type",
        "values",
        "vendor",
    )

    def __init__(
        self,
        name: str,
        code: int | str,
        type: DataType[T],  # noqa: A002
        *,
        vendor: int = 0,
        tagged: bool = False,
        encrypt: int = 0,
        values: type[IntEnum] | dict[str, int] | None = None,
    ) -> None:
        self.name, self.code, self.type, self.vendor = name, str(code), type, vendor
        self.tagged, self.encrypt = tagged, encrypt
        pairs = {} if values is None else values if isinstance(values, dict) else values.__members__
        self.values = {folded(name): int(number) for name, number in pairs.items()}
        self.concat = type.name == "concat"
        path = tuple(map(int, self.code.split(".")))
        if vendor:
            self.key: Key = vendor << 32 | path[0]
            self.below = path[1:]
        elif path[0] in EXTENDED or path[0] in LONG_EXTENDED:
            depth = 4 if path[1:2] == (VENDOR_SPECIFIC,) else 2
            self.key, self.below = path[:depth] if len(path) > 1 else path[0], path[depth:]
        else:
            self.key, self.below = path[0], path[1:]
        whole = not (tagged or self.below or self.concat)
        self.read = type.decode if whole else None  # all that `Packet.get` has to do with the octets
        around = self._around(bytes(type.size or 1))  # ValueError for a number that no packet can say
        # What stands before a value whose length never varies.
        self._head = around[: -type.size] if whole and type.size and not encrypt else b""

    def __repr__(self) -> str:
        return f"{self.name} ({self.code}{f'/{self.vendor}' if self.vendor else ''})"

    def tlv(self, value: T) -> bytes:
        """The TLV alone, to be put with its siblings into what holds them: PPAQ.pack(A.tlv(1) + B.tlv(2))."""
        return attribute_octets(self.below[-1], self._encoded(value, 0))

    def pack(self, value: T, tag: int = 0) -> bytes:
        """All octets in a packet, containers and header included; nothing for an empty text or string, which is not
        sent (RFC 2865 section 5). ValueError for what does not fit."""
        if self._head and not tag:
            return self._head + self.type.encode(value)
        data = self._encoded(value, tag)
        return self._around(data) if data else b""

    def _around(self, data: bytes) -> bytes:
        for kind in reversed(self.below):
            data = attribute_octets(kind, data)
        if isinstance(self.key, tuple):
            return extended_octets(self.key, data)
        if self.vendor:
            return vendor_octets(self.vendor, self.key & 0xFFFFFFFF, data)
        if not self.concat:
            return attribute_octets(self.key, data)
        return b"".join(attribute_octets(self.key, data[at : at + 253]) for at in range(0, len(data), 253))

    def _encoded(self, value: T, tag: int) -> bytes:
        if self.encrypt:
            if not isinstance(value, bytes):
                raise ValueError(f"{self.name} is sent encrypted: see protocol/radius/hidden.py")
            data: bytes = value
        else:
            data = self.type.encode(value)
        if not self.tagged:
            if tag:
                raise ValueError(f"{self.name} has no tag")
            return data
        if not 0 <= tag <= MAX_TAG:
            raise ValueError(f"tag {tag} is not between 0 and {MAX_TAG}")
        if not data:
            return data
        if self.type.size == 4:  # the tag takes the place of the highest octet
            if data[0]:
                raise ValueError(f"{value} does not fit into three octets behind a tag")
            return bytes((tag,)) + data[1:]
        # A text may go without, unless its first octet would be taken for one.
        return bytes((tag,)) + data if tag or self.encrypt or data[0] <= MAX_TAG else data

    def untagged(self, raw: bytes) -> tuple[int, bytes]:
        """The tag (0 where there is none) and the octets without it. ValueError for a number behind what is no tag."""
        if self.type.size == 4 and len(raw) == 4:
            if raw[0] > MAX_TAG:
                raise ValueError(f"{raw[0]} is no tag")
            return raw[0], b"\0" + raw[1:]
        return (raw[0], raw[1:]) if raw and (self.encrypt or raw[0] <= MAX_TAG) else (0, raw)


AnyAttribute = Attribute[Any]
