"""A message as plain dicts with every AVP: for tests, debugging and reading. Not for the hot path.

    {"version", "length", "flags", "command", "application", "hop_by_hop", "end_to_end", "avps": [...]}
    AVP: {"code", "vendor", "name", "flags", "length", "type", and "value" or (Grouped) "avps"}

Values: numbers, texts, addresses as text, Time as seconds since 1900 plus "utc", OctetString as hex. An AVP whose data
is not what its type says, or that we do not know, is shown as OctetString: what encode_tree gives is what was decoded,
octet for octet, apart from padding that was not zero or not there.
"""

from datetime import UTC, datetime
from struct import Struct
from typing import Any

from protocol.diameter.avp import Avp, wrap
from protocol.diameter.dictionary import DICTIONARY
from protocol.diameter.header import SIZE, Header, with_header
from protocol.diameter.message import Dictionary, check_header
from protocol.diameter.types import OCTET_STRING, TIME, HostAddress, address, address_octets, unix_seconds
from protocol.diameter.walk import MAX_DEPTH, FrameWalk
from protocol.errors import AvpError

Tree = dict[str, Any]


def decode_tree(frame: bytes, dictionary: Dictionary = DICTIONARY) -> Tree:
    """Raises ProtocolError where header or top-level AVPs do not fit; takes anything inside them."""
    header: Header = check_header(frame)
    return header._asdict() | {"avps": decode_avps(frame[SIZE:], dictionary)}


def encode_tree(tree: Tree) -> bytes:
    return with_header(
        encode_avps(tree["avps"]),
        flags=tree["flags"],
        command=tree["command"],
        application=tree["application"],
        hop_by_hop=tree["hop_by_hop"],
        end_to_end=tree["end_to_end"],
    )


def decode_avps(octets: bytes, dictionary: Dictionary = DICTIONARY, depth: int = 0) -> list[Tree]:
    """The AVPs in these octets; raises AvpError where they do not fit."""
    avps = []
    for found in FrameWalk(octets, dictionary.known).each(0, len(octets)):
        avp = dictionary.known.get(found.key)
        shown = {
            "code": found.key & 0xFFFFFFFF,
            "vendor": found.key >> 32,
            "name": avp.name if avp else "?",
            "flags": found.flags,
            "length": found.stop - found.start,
        }
        data = octets[found.data : found.stop]
        avps.append(shown | (_shown(avp, data, dictionary, depth) or {"type": "OctetString", "value": data.hex()}))
    return avps


def encode_avps(avps: list[Tree]) -> bytes:
    return b"".join(wrap(avp["code"], avp["flags"], avp["vendor"], _data(avp)) for avp in avps)


def dump(frame: bytes) -> str:
    """One line per AVP, groups indented."""
    tree = decode_tree(frame)
    head = "command {command} application {application} flags {flags:#04x} hop {hop_by_hop:#x} end {end_to_end:#x}"
    return "\n".join([head.format(**tree), *_lines(tree["avps"], "  ")])


def _lines(avps: list[Tree], indent: str) -> list[str]:
    lines = []
    for avp in avps:
        lines.append(f"{indent}{avp['name']} ({avp['code']}/{avp['vendor']}) {avp.get('utc', avp.get('value', ''))}")
        lines += _lines(avp.get("avps", []), indent + "  ")
    return lines


def _shown(avp: Avp[Any] | None, data: bytes, dictionary: Dictionary, depth: int) -> Tree | None:
    """Type and value, or None when the data would not come back out of them."""
    if avp is None or avp.type is OCTET_STRING:
        return None
    kind: Tree = {"type": avp.type.name}
    if avp.type.name == "Grouped":
        if depth >= MAX_DEPTH:
            return None
        try:
            kind["avps"] = decode_avps(data, dictionary, depth + 1)
        except AvpError:  # the inside of a Failed-AVP is malformed as often as not
            return None
    elif avp.type.form:
        if len(data) != avp.type.size:
            return None
        (kind["value"],) = Struct(">" + avp.type.form).unpack(data)
        if avp.type is TIME:
            kind["utc"] = datetime.fromtimestamp(unix_seconds(kind["value"]), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    elif avp.type.name == "Address":
        kind["value"] = str(address(data))
    else:
        kind["value"] = data.decode("utf-8", "replace")
    return kind if _data(kind) == data else None


FORMS = {
    "Integer32": "i",
    "Integer64": "q",
    "Unsigned32": "I",
    "Unsigned64": "Q",
    "Float32": "f",
    "Float64": "d",
    "Enumerated": "i",
    "Time": "I",
}


def _data(avp: Tree) -> bytes:
    if "avps" in avp:
        return encode_avps(avp["avps"])
    form, value = FORMS.get(avp["type"]), avp["value"]
    if form:
        return Struct(">" + form).pack(value)
    if avp["type"] == "OctetString":
        return bytes.fromhex(value)
    if avp["type"] == "Address":
        return _address(value)
    return str(value).encode()


def _address(text: str) -> bytes:
    try:
        return address_octets(HostAddress.of(text))
    except ValueError:
        family, colon, octets = text.partition(":")
    try:
        return address_octets(
            HostAddress(int(family), bytes.fromhex(octets)) if colon else HostAddress(8, text.encode())
        )
    except ValueError:
        return b""
