"""What is inside attributes that hold others: Vendor-Specific (RFC 2865 section 5.26), the extended and long-extended
attributes (RFC 6929) and TLVs, read into one flat list and written.

Whoever is found in it has a key: the code of a plain attribute, vendor << 32 | type of a vendor's, and a path for the
extended: (241, type), (241, 26, vendor, type). What is malformed inside a container is left whole and unread, as
RFC 2865 wants it of octets it calls undistinguished: the packet stands.
"""

from typing import NamedTuple, TypeAlias

Key: TypeAlias = int | tuple[int, ...]
Pair: TypeAlias = tuple[Key, bytes]

VENDOR_SPECIFIC = 26
EXTENDED = range(241, 245)
LONG_EXTENDED = range(245, 247)
HOLDERS = frozenset((VENDOR_SPECIFIC, *EXTENDED, *LONG_EXTENDED))
MORE = 0x80  # of the flags of a long-extended attribute and of WiMAX's continuation octet


class VendorFormat(NamedTuple):
    """Octets of the type and of the length in front of a vendor's value; `continued` adds WiMAX's octet."""

    type_size: int = 1
    length_size: int = 1
    continued: bool = False

    @property
    def head(self) -> int:
        return self.type_size + self.length_size + self.continued


USUAL = VendorFormat()
WIMAX = VendorFormat(continued=True)
FORMATS: dict[int, VendorFormat] = {  # of FreeRADIUS's dictionaries, all others are as the RFC recommends
    429: VendorFormat(4, 0),  # USR
    637: VendorFormat(2, 1),  # Alcatel-ESAM
    4846: VendorFormat(2, 1),  # Lucent
    5323: WIMAX,  # Telrad
    8164: VendorFormat(2, 2),  # Starent
    16445: VendorFormat(2, 1),  # Kineto
    24757: WIMAX,
}


def unfold(attributes: list[tuple[int, bytes]]) -> list[Pair]:
    """What the attributes hold, in order: the holders themselves first, then what is inside them."""
    found: list[Pair] = []
    joint = _Joint(found)
    for code, value in attributes:
        if code == VENDOR_SPECIFIC and len(value) > 4:
            vendor = int.from_bytes(value[:4])
            form = FORMATS.get(vendor, USUAL)
            if form is USUAL:
                base = vendor << 32
                inside = tlvs(value, 4)
                if inside is not None:
                    joint.end()
                    found += [(base | kind, part) for kind, part in inside]
            else:
                _formatted(vendor, form, value, joint)
        elif code in EXTENDED and len(value) > 1:
            joint.end()
            if value[0] != VENDOR_SPECIFIC:
                found.append(((code, value[0]), value[1:]))
            elif len(value) > 6:
                found.append(((code, VENDOR_SPECIFIC, int.from_bytes(value[1:5]), value[5]), value[6:]))
        elif code in LONG_EXTENDED and len(value) > 2:
            joint.add((code, value[0]), value[2:], bool(value[1] & MORE))
        else:
            joint.end()
    joint.end()
    return found


class _Joint:
    """A value in fragments, as it grows. Fragments follow each other directly (RFC 6929 section 2.3), so anything else
    ends it; the last one says whether it is the last, and is believed even where it says no and none follows."""

    def __init__(self, found: list[Pair]) -> None:
        self.found = found
        self.key: Key = 0
        self.parts: list[bytes] = []

    def add(self, key: Key, value: bytes, more: bool) -> None:
        if key != self.key:
            self.end()
            self.key = key
        self.parts.append(value)
        if not more:
            self.end()

    def end(self) -> None:
        if not self.parts:
            return
        key, value = self.key, b"".join(self.parts)
        self.key, self.parts = 0, []
        if isinstance(key, tuple) and key[1] == VENDOR_SPECIFIC:
            if len(value) < 6:
                return
            key, value = (*key, int.from_bytes(value[:4]), value[4]), value[5:]
        self.found.append((key, value))


def _formatted(vendor: int, form: VendorFormat, value: bytes, joint: _Joint) -> None:
    """The sub-attributes of a vendor with a format of its own."""
    pieces: list[tuple[int, bytes, bool]] = []
    at, end = 4, len(value)
    while at < end:
        if at + form.head > end:
            return
        kind = int.from_bytes(value[at : at + form.type_size])
        length_at = at + form.type_size
        size = int.from_bytes(value[length_at : length_at + form.length_size]) if form.length_size else end - at
        if size < form.head or at + size > end:
            return
        more = form.continued and bool(value[at + form.head - 1] & MORE)
        pieces.append((kind, value[at + form.head : at + size], more))
        at += size
    for kind, part, more in pieces:
        joint.add(vendor << 32 | kind, part, more)


def tlvs(data: bytes, at: int = 0) -> list[tuple[int, bytes]] | None:
    """Types and values of octets that hold TLVs from `at` on, None where they do not."""
    found: list[tuple[int, bytes]] = []
    end = len(data)
    while at < end:
        if at + 2 > end:
            return None
        size = data[at + 1]
        if size < 2 or at + size > end:
            return None
        found.append((data[at], data[at + 2 : at + size]))
        at += size
    return found


def separate(attributes: list[tuple[int, bytes]]) -> list[tuple[Key, bytes, bytes]]:
    """Each attribute alone: its key, its value, and its octets in a packet. What one Vendor-Specific holds is taken out
    of it; values in fragments, and what is not understood, stay in what holds them."""
    found: list[tuple[Key, bytes, bytes]] = []
    for code, value in attributes:
        inside = unfold([(code, value)]) if code == VENDOR_SPECIFIC and not _is_fragment(value) else []
        if not inside:
            found.append((code, value, attribute_octets(code, value)))
        for key, part in inside:
            assert isinstance(key, int)
            found.append((key, part, vendor_octets(key >> 32, key & 0xFFFFFFFF, part)))
    return found


def _is_fragment(value: bytes) -> bool:
    """Of a Vendor-Specific, whether another one goes on with its value."""
    return FORMATS.get(int.from_bytes(value[:4]), USUAL).continued and len(value) > 6 and bool(value[6] & MORE)


def attribute_octets(code: int, value: bytes) -> bytes:
    """One attribute of a packet, or one TLV."""
    if len(value) > 253:
        raise ValueError(f"{len(value)} octets where at most 253 fit")
    if not 0 < code <= 255:
        raise ValueError(f"{code} is no type of an attribute")
    return bytes((code, len(value) + 2)) + value


def vendor_octets(vendor: int, kind: int, value: bytes) -> bytes:
    """Vendor-Specific around one sub-attribute; several of them where the vendor has continuation and needs it."""
    form = FORMATS.get(vendor, USUAL)
    room = 249 - form.head
    if len(value) <= room:
        return _vendor_piece(vendor, form, kind, value, more=False)
    if not form.continued:
        raise ValueError(f"{len(value)} octets where at most {room} fit")
    pieces = [value[at : at + room] for at in range(0, len(value), room)]
    return b"".join(
        _vendor_piece(vendor, form, kind, piece, more=number < len(pieces) - 1) for number, piece in enumerate(pieces)
    )


def _vendor_piece(vendor: int, form: VendorFormat, kind: int, value: bytes, *, more: bool) -> bytes:
    try:
        head = kind.to_bytes(form.type_size)
    except OverflowError:
        raise ValueError(f"type {kind} does not fit into {form.type_size} octets") from None
    if form.length_size:
        head += (form.head + len(value)).to_bytes(form.length_size)
    if form.continued:
        head += bytes((MORE if more else 0,))
    return attribute_octets(VENDOR_SPECIFIC, vendor.to_bytes(4) + head + value)


def extended_octets(path: tuple[int, ...], value: bytes) -> bytes:
    """An extended attribute; path is (241, type) or (241, 26, vendor, type). A long one may take several."""
    code, kind = path[0], path[1]
    if len(path) == 4:
        value = path[2].to_bytes(4) + bytes((path[3],)) + value
    if code in EXTENDED:
        return attribute_octets(code, bytes((kind,)) + value)
    pieces = [value[at : at + 251] for at in range(0, len(value), 251)] or [b""]
    last = len(pieces) - 1
    return b"".join(
        attribute_octets(code, bytes((kind, MORE if number < last else 0)) + piece)
        for number, piece in enumerate(pieces)
    )
