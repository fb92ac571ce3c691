"""The data types of attributes (RFC 8044 section 3, and those of common vendors): how octets become Python values and
back. A value that is none raises ValueError, and so do octets that are none."""

from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from struct import Struct
from typing import Generic, TypeVar

T = TypeVar("T")

MAX_ADDRESSES = 16_384  # kept as objects


class DataType(Generic[T]):
    """One data type.

    name    as RFC 8044 calls it
    decode  from octets to the value
    encode  from the value to octets
    size    of the octets where it never varies, else 0
    """

    __slots__ = ("decode", "encode", "name", "size")

    def __init__(self, name: str, decode: Callable[[bytes], T], encode: Callable[[T], bytes], *, size: int = 0) -> None:
        self.name, self.decode, self.encode, self.size = name, decode, encode, size

    def __repr__(self) -> str:
        return self.name


def _number(name: str, form: str) -> DataType[int]:
    layout = Struct(">" + form)
    size, signed = layout.size, form.islower()

    def decode(data: bytes) -> int:
        if len(data) != size:
            raise ValueError(f"{len(data)} octets where {size} belong")
        return int.from_bytes(data, signed=True) if signed else int.from_bytes(data)  # big-endian

    def encode(value: int) -> bytes:
        try:
            return int(value).to_bytes(size, "big", signed=signed)
        except OverflowError:
            raise ValueError(f"{value} does not fit into {size} octets") from None

    return DataType(name, decode, encode, size=size)


def _exact(name: str, size: int, decode: Callable[[bytes], T], encode: Callable[[T], bytes]) -> DataType[T]:
    def checked(data: bytes) -> T:
        if len(data) != size:
            raise ValueError(f"{len(data)} octets where {size} belong")
        return decode(data)

    return DataType(name, checked, encode, size=size)


def tolerant_str(data: bytes) -> str:
    """Text as NASes send it: the NULs of those that end it like C are dropped, octets that are no UTF-8 and NULs
    inside are shown as \\xNN, for no store takes them. Whoever must say it to the NAS again keeps the octets."""
    text = data.decode("utf-8", "backslashreplace")
    return text.rstrip("\0").replace("\0", "\\x00") if "\0" in text else text


def _ipv4_address(data: bytes) -> IPv4Address:
    if len(data) != 4:
        raise ValueError(f"{len(data)} octets where 4 belong")
    return IPv4Address(data)


def _ipv4(value: IPv4Address | str) -> bytes:
    return IPv4Address(value).packed


def _ipv6(value: IPv6Address | str) -> bytes:
    return IPv6Address(value).packed


def _ipv6_prefix(data: bytes) -> IPv6Network:
    # RFC 3162 section 2.3: reserved, length in bits, as many octets of the prefix as the sender likes. Bits behind
    # the length should be zero (RFC 8044 section 3.10) and are cleared where they are not.
    if not 2 <= len(data) <= 18:
        raise ValueError(f"{len(data)} octets where 2 to 18 belong")
    bits = data[1]
    if (bits + 7) // 8 > len(data) - 2:
        raise ValueError(f"a prefix of {bits} bits in {len(data) - 2} octets")
    return IPv6Network((data[2:].ljust(16, b"\0"), bits), strict=False)


def _ipv6_prefix_octets(value: IPv6Network | str) -> bytes:
    network = IPv6Network(value)
    bits = network.prefixlen
    return bytes((0, bits)) + network.network_address.packed[: (bits + 7) // 8]


def _ipv4_prefix(data: bytes) -> IPv4Network:
    # RFC 8044 section 3.11: all six octets are always there.
    if len(data) != 6 or data[1] & 0x3F > 32:
        raise ValueError(f"{data.hex()} is no IPv4 prefix")
    return IPv4Network((data[2:], data[1] & 0x3F), strict=False)


def _ipv4_prefix_octets(value: IPv4Network | str) -> bytes:
    network = IPv4Network(value)
    return bytes((0, network.prefixlen)) + network.network_address.packed


def _any_address(data: bytes) -> IPv4Address | IPv6Address:
    if len(data) not in (4, 16):
        raise ValueError(f"{len(data)} octets where 4 or 16 belong")
    return ip_address(data)


def _any_address_octets(value: IPv4Address | IPv6Address | str) -> bytes:
    return ip_address(value).packed


def _groups(separator: str, step: int) -> tuple[Callable[[bytes], str], Callable[[str], bytes]]:
    def decode(data: bytes) -> str:
        return data.hex(separator, step)

    def encode(value: str) -> bytes:
        return bytes.fromhex("".join(part.rjust(2 * step, "0") for part in value.split(separator)))

    return decode, encode


def _sized(name: str, size: int) -> DataType[str]:
    step, separator = (2, ":") if name == "ifid" else (1, ":")
    decode, encode = _groups(separator, step)

    def checked(value: str) -> bytes:
        data = encode(value)
        if len(data) != size:
            raise ValueError(f"{value} is no {name}")
        return data

    return _exact(name, size, decode, checked)


def _same(data: bytes) -> bytes:
    return data


def _rules(data: bytes) -> tuple[str, ...]:
    return tuple(tolerant_str(rule) for rule in data.split(b"\0") if rule)


def _rules_octets(value: tuple[str, ...]) -> bytes:
    if any("\0" in rule for rule in value):
        raise ValueError("a NUL inside a rule")
    return b"\0".join(rule.encode() for rule in value)


INTEGER: DataType[int] = _number("integer", "I")
ENUM: DataType[int] = _number("enum", "I")  # open: NASes send values that no list has
TIME: DataType[int] = _number("time", "I")  # Unix seconds
INTEGER64: DataType[int] = _number("integer64", "Q")
BYTE: DataType[int] = _number("byte", "B")
SHORT: DataType[int] = _number("short", "H")
SIGNED: DataType[int] = _number("signed", "i")
TEXT: DataType[str] = DataType("text", tolerant_str, str.encode)
STRING: DataType[bytes] = DataType("string", _same, bytes)
CONCAT: DataType[bytes] = DataType("concat", _same, bytes)  # cut over several attributes, joined when read
RULES: DataType[tuple[str, ...]] = DataType("concat", _rules, _rules_octets)  # RFC 4849: a NUL between two rules
TLV: DataType[bytes] = DataType("tlv", _same, bytes)  # the octets of the sub-attributes
# Addresses come again and again, and making one takes longer than all else of an attribute.
IPV4ADDR: DataType[IPv4Address] = DataType("ipv4addr", lru_cache(MAX_ADDRESSES)(_ipv4_address), _ipv4, size=4)
IPV6ADDR: DataType[IPv6Address] = _exact("ipv6addr", 16, IPv6Address, _ipv6)
IPV6PREFIX: DataType[IPv6Network] = DataType("ipv6prefix", _ipv6_prefix, _ipv6_prefix_octets)
IPV4PREFIX: DataType[IPv4Network] = DataType("ipv4prefix", _ipv4_prefix, _ipv4_prefix_octets)
COMBO_IP: DataType[IPv4Address | IPv6Address] = DataType("combo-ip", _any_address, _any_address_octets)
IFID: DataType[str] = _sized("ifid", 8)  # "0000:0000:0000:0001"
ETHER: DataType[str] = _sized("ether", 6)  # "00:01:02:03:04:05"


def octets_of(size: int) -> DataType[bytes]:
    """A string of a fixed number of octets."""

    def checked(value: bytes) -> bytes:
        if len(value) != size:
            raise ValueError(f"{len(value)} octets where {size} belong")
        return bytes(value)

    return DataType("string", checked, checked, size=size)
