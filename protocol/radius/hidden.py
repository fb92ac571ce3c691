"""Values that travel encrypted with the shared secret: User-Password (RFC 2865 section 5.2), and what is salted, as
Tunnel-Password (RFC 2868 section 3.5) and the MPPE keys (RFC 2548 section 2.4.2).

`authenticator` is always that of the request, in answers too; 16 zeros in a CoA-Request, whose own is made of what is
hidden here. A length that cannot be is refused before any MD5.
"""

from typing import Any, NamedTuple

from protocol.radius.attribute import Attribute
from protocol.radius.digest import md5
from protocol.radius.packet import Packet
from protocol.radius.refused import PacketFault, RadiusError

MAX_PASSWORD = 128
MAX_SALTED = 239  # octets that fit behind salt, length octet and tag


def _xor(a: bytes, b: bytes) -> bytes:
    return (int.from_bytes(a) ^ int.from_bytes(b)).to_bytes(16)


def _hide(plain: bytes, secret: bytes, start: bytes) -> bytes:
    """Blocks of 16, each under MD5 of the secret and the block before it; `start` stands before the first."""
    out, last = b"", start
    for at in range(0, len(plain), 16):
        last = _xor(plain[at : at + 16], md5(secret + last).digest())
        out += last
    return out


def _reveal(data: bytes, secret: bytes, start: bytes) -> bytes:
    out, last = b"", start
    for at in range(0, len(data), 16):
        block = data[at : at + 16]
        out += _xor(block, md5(secret + last).digest())
        last = block
    return out


def _padded(plain: bytes) -> bytes:
    return plain + bytes(-len(plain) % 16)


def hide_password(password: bytes, secret: bytes, authenticator: bytes) -> bytes:
    """The value of User-Password. ValueError for one of more than 128 octets."""
    if len(password) > MAX_PASSWORD:
        raise ValueError(f"a password of {len(password)} octets: at most {MAX_PASSWORD} can be sent")
    return _hide(_padded(password) or bytes(16), secret, authenticator)


def reveal_password(value: bytes, secret: bytes, authenticator: bytes) -> bytes:
    """What was typed. With a wrong secret it is rubbish: nothing here can tell."""
    if not 16 <= len(value) <= MAX_PASSWORD or len(value) % 16:
        raise RadiusError(PacketFault.CREDENTIALS, f"User-Password of {len(value)} octets is no whole number of blocks")
    return _reveal(value, secret, authenticator).rstrip(b"\0")


def hide_salted(plain: bytes, secret: bytes, authenticator: bytes, salt: bytes) -> bytes:
    """Salt and encrypted octets. The salt is two octets, the highest bit set, no two alike in one packet."""
    if len(plain) > MAX_SALTED:
        raise ValueError(f"{len(plain)} octets to encrypt: at most {MAX_SALTED} fit")
    if len(salt) != 2 or not salt[0] & 0x80:
        raise ValueError(f"{salt.hex()} is no salt")
    return salt + _hide(_padded(bytes((len(plain),)) + plain), secret, authenticator + salt)


def reveal_salted(value: bytes, secret: bytes, authenticator: bytes) -> bytes:
    """The octets inside a salted value, without tag."""
    if len(value) < 18 or (len(value) - 2) % 16:
        raise RadiusError(PacketFault.CREDENTIALS, f"a salted value of {len(value)} octets is no number of blocks")
    plain = _reveal(value[2:], secret, authenticator + value[:2])
    if plain[0] > len(plain) - 1:
        raise RadiusError(PacketFault.CREDENTIALS, "a salted value longer than itself: secrets differ?")
    return plain[1 : plain[0] + 1]


def hidden(attribute: Attribute[Any], plain: bytes, secret: bytes, authenticator: bytes, salt: bytes = b"") -> bytes:
    """What `Attribute.pack` and `Packet.add` take as the value of an attribute with `encrypt`."""
    if attribute.encrypt == 1:
        return hide_password(plain, secret, authenticator)
    if attribute.encrypt == 2:
        return hide_salted(plain, secret, authenticator, salt)
    raise _unlike(attribute)


def revealed(packet: Packet, attribute: Attribute[Any], secret: bytes, authenticator: bytes) -> bytes | None:
    """The first value of an attribute with `encrypt`, decrypted; None when it is not there."""
    if attribute.encrypt not in (1, 2):
        raise _unlike(attribute)
    found = packet.raw(attribute)
    if not found:
        return None
    if attribute.encrypt == 1:
        return reveal_password(found[0], secret, authenticator)
    return reveal_salted(found[0][1:] if attribute.tagged else found[0], secret, authenticator)


class HidingKey(NamedTuple):
    """What a value is hidden under; authenticator: that of the request."""

    secret: bytes
    authenticator: bytes


def rehidden(attribute: Attribute[Any], value: bytes, before: HidingKey, after: HidingKey) -> bytes:
    """A hidden value as a proxy passes it on, from under one secret to under another. Tag and salt stay, so that no two
    salts of a packet become alike."""
    if attribute.encrypt not in (1, 2):
        raise _unlike(attribute)
    head = 0 if attribute.encrypt == 1 else 2 + attribute.tagged
    salt, data = value[attribute.tagged : head], value[head:]
    if not data or len(data) % 16:
        raise RadiusError(PacketFault.CREDENTIALS, f"{attribute.name} of {len(value)} octets is no number of blocks")
    plain = _reveal(data, before.secret, before.authenticator + salt)
    return value[:head] + _hide(plain, after.secret, after.authenticator + salt)


def _unlike(attribute: Attribute[Any]) -> ValueError:
    return ValueError(f"{attribute.name} is not sent encrypted, or in a way that is not known here")
