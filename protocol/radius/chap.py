"""CHAP (RFC 1994) as RADIUS carries it (RFC 2865 sections 2.2 and 5.3)."""

from hmac import compare_digest

from protocol.radius.dictionary.standard import CHAP_CHALLENGE, CHAP_PASSWORD
from protocol.radius.digest import md5
from protocol.radius.packet import Packet
from protocol.radius.refused import PacketFault, RadiusError


def chap_response(identifier: int, password: bytes, challenge: bytes) -> bytes:
    """The value of CHAP-Password: the identifier and 16 octets."""
    head = bytes((identifier,))
    return head + md5(head + password + challenge).digest()


def is_chap_of(packet: Packet, password: bytes) -> bool:
    """Whether CHAP-Password was made with this password. RadiusError when there is none, or of a wrong length."""
    response = packet.get(CHAP_PASSWORD)
    if response is None or len(response) != 17:
        raise RadiusError(PacketFault.CREDENTIALS, "CHAP-Password does not have 17 octets")
    challenge = packet.get(CHAP_CHALLENGE) or packet.authenticator
    return compare_digest(chap_response(response[0], password, challenge), response)
