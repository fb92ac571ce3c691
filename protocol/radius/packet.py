"""A packet (RFC 2865 section 3): octets to attributes and back.

    packet = Packet.decode(octets)               # or RadiusError: it is to be dropped
    packet.get(USER_NAME), packet.get_all(REPLY_MESSAGE), packet.tagged(TUNNEL_TYPE)

Lengths and bounds of all attributes are judged before anything else is looked at, crypto included. The value of an
attribute is judged when it is read: what nobody reads harms nobody (RFC 6929 section 2.8).
"""

from collections.abc import Iterable
from struct import Struct
from typing import TypeVar

from protocol.radius.attribute import Attribute
from protocol.radius.codes import PacketCode
from protocol.radius.refused import PacketFault, RadiusError
from protocol.radius.vendor import HOLDERS, Key, Pair, tlvs, unfold

T = TypeVar("T")

MIN_BYTES, MAX_BYTES = 20, 4096  # of a packet; the larger ones of RFC 7930 are not taken
HEADER = Struct(">BBH16s")
NO_AUTHENTICATOR = bytes(16)
CODES: dict[int, PacketCode] = {code.value: code for code in PacketCode}
PROXY_STATE = 33


class Packet:
    """code, identifier (0..255), authenticator (16 octets) and attributes: (type, value) as they are on the wire,
    in order. `octets` is the whole packet without padding, empty for one that was made here."""

    __slots__ = ("_first", "_pairs", "attributes", "authenticator", "code", "identifier", "octets")

    def __init__(
        self,
        code: int,
        identifier: int = 0,
        authenticator: bytes = NO_AUTHENTICATOR,
        attributes: Iterable[tuple[int, bytes]] = (),
        octets: bytes = b"",
    ) -> None:
        self.code, self.identifier, self.authenticator, self.octets = code, identifier, authenticator, octets
        self.attributes = list(attributes)
        self._first: dict[Key, bytes] | None = None  # the first value of each key
        self._pairs: list[Pair] = []

    @classmethod
    def decode(cls, octets: bytes) -> "Packet":
        """The packet of a datagram, or of a frame of a stream. What lies behind its Length is padding."""
        received = len(octets)
        if received < MIN_BYTES:
            raise RadiusError(PacketFault.LENGTH, f"{received} octets are no packet")
        code, identifier, length, authenticator = HEADER.unpack_from(octets)
        if not MIN_BYTES <= length <= MAX_BYTES:
            raise RadiusError(PacketFault.LENGTH, f"Length {length} is not between {MIN_BYTES} and {MAX_BYTES}")
        if received != length:
            if received < length:
                raise RadiusError(PacketFault.LENGTH, f"Length {length}, and {received} octets came")
            octets = octets[:length]
        known = CODES.get(code)
        if known is None:
            raise RadiusError(PacketFault.CODE, f"code {code} is not known")
        attributes: list[tuple[int, bytes]] = []
        at = MIN_BYTES
        try:
            while at < length:
                size = octets[at + 1]
                if size < 2:
                    raise RadiusError(PacketFault.ATTRIBUTE, f"attribute {octets[at]} is {size} octets long")
                attributes.append((octets[at], octets[at + 2 : at + size]))
                at += size
        except IndexError:
            raise RadiusError(PacketFault.ATTRIBUTE, "an attribute without its length at the end") from None
        if at != length:
            raise RadiusError(PacketFault.ATTRIBUTE, f"attribute {attributes[-1][0]} ends behind the packet")
        packet = cls.__new__(cls)
        packet.code, packet.identifier, packet.authenticator, packet.octets = known, identifier, authenticator, octets
        packet.attributes, packet._first = attributes, None
        return packet

    # ---- reading

    def get(self, attribute: Attribute[T]) -> T | None:
        """The first value, None when there is none. RadiusError when its octets are none of its type."""
        first = self._first
        if first is None:
            first = self._index()
        raw = first.get(attribute.key)
        if raw is None:
            return None
        read = attribute.read
        try:
            if read is not None:
                return read(raw)
            found = self._raw(attribute)
            if not found:
                return None
            if attribute.concat:
                return attribute.type.decode(b"".join(found))
            return attribute.type.decode(attribute.untagged(found[0])[1] if attribute.tagged else found[0])
        except ValueError as bad:
            raise RadiusError(PacketFault.VALUE, f"{attribute.name}: {bad}") from None

    def get_all(self, attribute: Attribute[T]) -> list[T]:
        """All values in order."""
        return [value for _, value in self.tagged(attribute)]

    def tagged(self, attribute: Attribute[T]) -> list[tuple[int, T]]:
        """All values in order, each behind its tag (0 = none)."""
        found: list[tuple[int, T]] = []
        raws = self.raw(attribute)
        try:
            for raw in raws:
                tag, data = attribute.untagged(raw) if attribute.tagged else (0, raw)
                found.append((tag, attribute.type.decode(data)))
        except ValueError as bad:
            raise RadiusError(PacketFault.VALUE, f"{attribute.name}: {bad}") from None
        return found

    def raw(self, attribute: Attribute[T]) -> list[bytes]:
        """The octets of all values, tags included; those of a concat attribute joined."""
        try:
            found = self._raw(attribute)
        except ValueError as bad:
            raise RadiusError(PacketFault.VALUE, f"{attribute.name}: {bad}") from None
        return [b"".join(found)] if attribute.concat and found else found

    def has(self, attribute: Attribute[T]) -> bool:
        return bool(self._raw(attribute)) if attribute.below else self.carries(attribute.key)

    def carries(self, key: Key) -> bool:
        """Whether there is a plain attribute of this type, or what else has this key."""
        first = self._first
        return key in (self._index() if first is None else first)

    def _raw(self, attribute: Attribute[T]) -> list[bytes]:
        if self._first is None:
            self._index()
        key = attribute.key
        found = [value for other, value in self._pairs if other == key]
        for kind in attribute.below:
            inner: list[bytes] = []
            for value in found:
                inside = tlvs(value)
                if inside is None:
                    raise ValueError("the TLVs around it do not fit into each other")
                inner += [part for other, part in inside if other == kind]
            found = inner
        return found

    def _index(self) -> dict[Key, bytes]:
        pairs: list[Pair] = self.attributes  # type: ignore[assignment]  # read only
        first: dict[Key, bytes] = dict(reversed(pairs))
        if not HOLDERS.isdisjoint(first):
            pairs = self.attributes + unfold(self.attributes)
            first = dict(reversed(pairs))
        self._pairs, self._first = pairs, first
        return first

    @property
    def proxy_states(self) -> bytes:
        """All Proxy-States as they are on the wire: an answer repeats them unchanged and in order."""
        if not self.carries(PROXY_STATE):
            return b""
        return b"".join(bytes((kind, len(value) + 2)) + value for kind, value in self.attributes if kind == PROXY_STATE)

    # ---- making

    def add(self, attribute: Attribute[T], value: T, tag: int = 0) -> "Packet":
        """One more value behind what is there. ValueError for what does not fit."""
        inside = tlvs(attribute.pack(value, tag))
        assert inside is not None, attribute
        self.attributes += inside
        self._first = None
        return self

    def body(self) -> bytes:
        """All attributes as octets."""
        return b"".join(bytes((kind, len(value) + 2)) + value for kind, value in self.attributes)

    def encode(self) -> bytes:
        """The packet with the authenticator it has. Signing is in `authenticator.py`."""
        return with_header(self.code, self.identifier, self.authenticator, self.body())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Packet) and self.encode() == other.encode()

    __hash__ = None  # type: ignore[assignment]  # it can be changed

    def __repr__(self) -> str:
        return f"Packet({self.code!r}, {self.identifier}, {self.authenticator.hex()}, {self.attributes})"


def with_header(code: int, identifier: int, authenticator: bytes, body: bytes) -> bytes:
    """A whole packet around its attributes. ValueError when it would be longer than a packet may be."""
    length = MIN_BYTES + len(body)
    if length > MAX_BYTES:
        raise ValueError(f"a packet of {length} octets: at most {MAX_BYTES} may be sent")
    return HEADER.pack(code, identifier, length, authenticator) + body
