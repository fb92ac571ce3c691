"""MS-CHAP (RFC 2433), MS-CHAPv2 (RFC 2759) and the MPPE keys they give (RFC 2548, RFC 3079).

Everything starts from the NT hash of the password, MD4 of its UTF-16: keeping the hash is enough, and keeping it is as
good as keeping the password. LAN Manager responses are not taken: they can be reversed in minutes.
"""

import hashlib
import hmac
from enum import IntEnum
from typing import NamedTuple

from protocol.radius.des import des_encrypt
from protocol.radius.dictionary.microsoft import (
    MS_CHAP2_RESPONSE,
    MS_CHAP_CHALLENGE,
    MS_CHAP_RESPONSE,
)
from protocol.radius.dictionary.standard import USER_NAME
from protocol.radius.md4 import md4
from protocol.radius.packet import Packet
from protocol.radius.refused import PacketFault, RadiusError

USE_NT = 1  # of the Flags of an MS-CHAP-Response

_SIGN_1 = b"Magic server to client signing constant"
_SIGN_2 = b"Pad to make it do more than one iteration"
_MASTER = b"This is the MPPE Master Key"
_CLIENT_SENDS = b"On the client side, this is the send key; on the server side, it is the receive key."
_SERVER_SENDS = b"On the client side, this is the receive key; on the server side, it is the send key."


class MsChapErrorCode(IntEnum):
    """E= of MS-CHAP-Error (RFC 2759 section 6)."""

    RESTRICTED_LOGON_HOURS = 646
    ACCOUNT_DISABLED = 647
    PASSWORD_EXPIRED = 648
    NO_DIALIN_PERMISSION = 649
    AUTHENTICATION_FAILURE = 691
    CHANGING_PASSWORD = 709


class MsChapProof(NamedTuple):
    """What an Access-Accept says after MS-CHAPv2: the values of MS-CHAP2-Success, and of MS-MPPE-Send-Key and
    MS-MPPE-Recv-Key before they are hidden."""

    success: bytes
    send_key: bytes
    recv_key: bytes


def nt_hash(password: str) -> bytes:
    return md4(password.encode("utf-16-le"))


def challenge_response(challenge: bytes, password_hash: bytes) -> bytes:
    """The 24 octets of an NT-Response: three blocks of DES, keyed with seven octets each."""
    key = password_hash + bytes(5)
    return b"".join(des_encrypt(_spread(key[at : at + 7]), challenge) for at in (0, 7, 14))


def _spread(seven: bytes) -> bytes:
    """Seven bits into each of eight octets; the eighth is the parity DES ignores."""
    bits = int.from_bytes(seven)
    return bytes(bits >> 49 - 7 * group & 0x7F for group in range(8)).translate(_DOUBLED)


_DOUBLED = bytes(value << 1 & 0xFF for value in range(256))


def challenge_hash(peer_challenge: bytes, authenticator_challenge: bytes, user_name: bytes) -> bytes:
    """The eight octets that MS-CHAPv2 encrypts. Of DOMAIN\\user only the user counts."""
    name = user_name.rpartition(b"\\")[2]
    return _sha1(peer_challenge + authenticator_challenge + name)[:8]


def authenticator_response(password_hash: bytes, nt_response: bytes, challenge: bytes) -> bytes:
    """`S=` and forty digits, by which the server proves that it knows the password too."""
    return _authenticator_response(md4(password_hash), nt_response, challenge)


def _authenticator_response(hash_of_hash: bytes, nt_response: bytes, challenge: bytes) -> bytes:
    digest = _sha1(hash_of_hash + nt_response + _SIGN_1)
    return b"S=" + _sha1(digest + challenge + _SIGN_2).hex().upper().encode()


def mppe_keys(password_hash: bytes, nt_response: bytes) -> tuple[bytes, bytes]:
    """The keys of 128 bits with which the NAS sends and receives."""
    return _mppe_keys(md4(password_hash), nt_response)


def _mppe_keys(hash_of_hash: bytes, nt_response: bytes) -> tuple[bytes, bytes]:
    master = _sha1(hash_of_hash + nt_response + _MASTER)[:16]
    return _start_key(master, _SERVER_SENDS), _start_key(master, _CLIENT_SENDS)


def mschap1_keys(password_hash: bytes) -> bytes:
    """MS-CHAP-MPPE-Keys before it is hidden: no LM key, then the hash of the hash (as NASes read it; RFC 2548
    section 2.4.1 says the hash itself)."""
    return bytes(8) + md4(password_hash)


def _start_key(master: bytes, direction: bytes) -> bytes:
    return _sha1(master + bytes(40) + direction + b"\xf2" * 40)[:16]


def _sha1(data: bytes) -> bytes:
    return hashlib.sha1(data, usedforsecurity=False).digest()


def is_mschap1_of(packet: Packet, password_hash: bytes) -> bool:
    """Whether MS-CHAP-Response was made with this password."""
    challenge, response = packet.get(MS_CHAP_CHALLENGE), packet.get(MS_CHAP_RESPONSE)
    if challenge is None or response is None or len(challenge) != 8 or len(response) != 50:
        raise RadiusError(PacketFault.CREDENTIALS, "MS-CHAP-Challenge and -Response of 8 and 50 octets belong together")
    if not response[1] & USE_NT:
        return False
    return hmac.compare_digest(challenge_response(challenge, password_hash), response[26:])


def mschap2_proof(packet: Packet, password_hash: bytes) -> MsChapProof | None:
    """What the answer has to prove when MS-CHAP2-Response was made with this password, None when it was not."""
    challenge, response = packet.get(MS_CHAP_CHALLENGE), packet.get(MS_CHAP2_RESPONSE)
    names = packet.raw(USER_NAME)
    if challenge is None or response is None or len(challenge) != 16 or len(response) != 50 or not names:
        why = "MS-CHAP-Challenge and MS-CHAP2-Response of 16 and 50 octets and User-Name belong together"
        raise RadiusError(PacketFault.CREDENTIALS, why)
    hashed, nt_response = challenge_hash(response[2:18], challenge, names[0]), response[26:]
    if not hmac.compare_digest(challenge_response(hashed, password_hash), nt_response):
        return None
    twice = md4(password_hash)
    success = response[:1] + _authenticator_response(twice, nt_response, hashed)
    return MsChapProof(success, *_mppe_keys(twice, nt_response))


def mschap_error(identifier: int, code: int, challenge: bytes, message: str) -> bytes:
    """The value of MS-CHAP-Error in an Access-Reject. The challenge is a new random one of 16 octets; no retry."""
    text = f"E={code} R=0 C={challenge.hex().upper()} V=3 M={message}"
    return bytes((identifier,)) + text.encode()
