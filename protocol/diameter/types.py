"""The data formats of AVPs (RFC 6733 sections 4.2 and 4.3): how octets become Python values and back.

A `Type` also says what the verdict on its data depends on (`pin`), which is what lets `walk.py` and `shapes.py` judge
a second frame of the same shape without looking at its data again.
"""

from collections.abc import Callable
from enum import IntEnum
from ipaddress import IPv6Address, ip_address
from struct import Struct
from typing import Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")
E = TypeVar("E", bound=IntEnum)

ANY, ASCII, EXACT = 0x00, 0x80, 0xFF  # bits of every data octet the verdict depends on


class Type(Generic[T]):
    """One data format.

    name    as RFC 6733 calls it
    form    struct letter of a fixed-size format, "" for any length
    decode  from the number (fixed size) or octets (any length) to the value; None when they are the value
    encode  the other way; None when nothing is to be done
    check   raises ValueError for octets that are no value of this type; None when any will do
    least   the shortest legal data in octets, what an example in a Failed-AVP is filled with
    pin     ANY, ASCII or EXACT: on which bits of the data the verdict of `check` depends
    group   the class of a typed group
    """

    __slots__ = ("check", "decode", "encode", "form", "group", "least", "name", "pin", "size")

    def __init__(
        self,
        name: str,
        *,
        form: str = "",
        decode: Callable[[Any], T] | None = None,
        encode: Callable[[T], Any] | None = None,
        check: Callable[[bytes], None] | None = None,
        least: int = 0,
        pin: int = ANY,
        group: type | None = None,
    ) -> None:
        self.name, self.form, self.decode, self.encode, self.check = name, form, decode, encode, check
        self.size = Struct(">" + form).size if form else 0
        self.least, self.pin, self.group = self.size or least, pin, group

    def __repr__(self) -> str:
        return self.name


class HostAddress(NamedTuple):
    """Family as assigned by IANA (1 IPv4, 2 IPv6, 8 E.164) and the octets of the address."""

    family: int
    octets: bytes

    @classmethod
    def of(cls, text: str) -> "HostAddress":
        ip = ip_address(text)
        return cls(1 if ip.version == 4 else 2, ip.packed)

    def __str__(self) -> str:
        if self.family == 1 and len(self.octets) == 4:
            return ".".join(map(str, self.octets))
        if self.family == 2 and len(self.octets) == 16:
            return IPv6Address(self.octets).compressed
        if self.family == 8:
            return self.octets.decode("utf-8", "backslashreplace")
        return f"{self.family}:{self.octets.hex()}"


def address(data: bytes) -> HostAddress:
    # The octets behind the family are not judged: nodes send families we cannot name, and nobody charges by them.
    return HostAddress(int.from_bytes(data[:2], "big"), data[2:])


def address_octets(value: HostAddress) -> bytes:
    return value.family.to_bytes(2, "big") + value.octets


ERA_S = 1 << 32
UNIX_S = 2_208_988_800  # 1970 in seconds since 1900


def unix_seconds(ntp: int) -> int:
    # RFC 6733 section 4.3.1: without the top bit it is a time after the overflow in 2036 (RFC 5905 era 1).
    return ntp - UNIX_S if ntp & 0x8000_0000 else ntp + ERA_S - UNIX_S


def ntp_seconds(unix: int) -> int:
    return (unix + UNIX_S) % ERA_S


def _is_utf8(data: bytes) -> None:
    try:
        data.decode()
    except UnicodeDecodeError as bad:
        raise ValueError(f"not UTF-8: {bad.reason}") from None


def _is_ascii(data: bytes) -> None:
    if not data.isascii():
        raise ValueError("not ASCII")


def tolerant_text(data: bytes) -> str:
    """Text where we do not refuse a wrong octet: it is shown as \\xNN."""
    return data.decode("utf-8", "backslashreplace")


OCTET_STRING: Type[bytes] = Type("OctetString")
INTEGER32: Type[int] = Type("Integer32", form="i")
INTEGER64: Type[int] = Type("Integer64", form="q")
UNSIGNED32: Type[int] = Type("Unsigned32", form="I")
UNSIGNED64: Type[int] = Type("Unsigned64", form="Q")
FLOAT32: Type[float] = Type("Float32", form="f")
FLOAT64: Type[float] = Type("Float64", form="d")
ENUMERATED: Type[int] = Type("Enumerated", form="i")  # open: later releases add values, we take any
APPLICATION_ID: Type[int] = Type("Unsigned32", form="I", pin=EXACT)  # judged together with the header
TIME: Type[int] = Type("Time", form="I", decode=unix_seconds, encode=ntp_seconds)  # Unix seconds
ADDRESS: Type[HostAddress] = Type("Address", decode=address, encode=address_octets, least=2)
UTF8STRING: Type[str] = Type("UTF8String", decode=bytes.decode, encode=str.encode, check=_is_utf8, pin=ASCII)
IDENTITY: Type[str] = Type("DiameterIdentity", decode=bytes.decode, encode=str.encode, check=_is_ascii, pin=ASCII)
URI: Type[str] = Type("DiameterURI", decode=bytes.decode, encode=str.encode, check=_is_ascii, pin=ASCII)
IP_FILTER_RULE: Type[str] = Type("IPFilterRule", decode=bytes.decode, encode=str.encode, check=_is_ascii, pin=ASCII)
GROUPED: Type[bytes] = Type("Grouped")  # known, without a class here: its members are walked, its data kept
OPAQUE: Type[bytes] = Type("Grouped")  # a group whose inside is not looked at: Failed-AVP holds what is malformed
WHOLE: Type[bytes] = Type("Grouped")  # the whole AVP with header and padding: Proxy-Info is echoed octet for octet


def enumerated(values: type[E]) -> Type[E]:
    """A closed enumeration: a value that is not in it is refused with 5004."""
    members = {value.value: value for value in values}

    def check(data: bytes) -> None:
        if int.from_bytes(data, "big", signed=True) not in members:
            raise ValueError(f"{int.from_bytes(data, 'big', signed=True)} is no {values.__name__}")

    return Type("Enumerated", form="i", decode=members.__getitem__, check=check, pin=EXACT)


def grouped(members: type[T]) -> Type[T]:
    """A group with a class."""
    return Type("Grouped", group=members)
