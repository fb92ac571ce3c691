"""What a subscriber proves with an Access-Request, and what the answer has to prove in turn (RFC 2865 section 4.1, RFC
2548, RFC 2759). Pure.
"""

from __future__ import annotations

import hmac
from enum import StrEnum
from typing import Final, NamedTuple

from protocol.radius.authenticator import EAP_MESSAGE
from protocol.radius.chap import is_chap_of
from protocol.radius.dictionary.microsoft import (
    MICROSOFT,
    MS_CHAP2_RESPONSE,
    MS_CHAP2_SUCCESS,
    MS_CHAP_MPPE_KEYS,
    MS_CHAP_RESPONSE,
    MS_MPPE_RECV_KEY,
    MS_MPPE_SEND_KEY,
)
from protocol.radius.dictionary.standard import CHAP_PASSWORD, USER_PASSWORD
from protocol.radius.hidden import hide_password, hide_salted, reveal_password
from protocol.radius.mschap import (
    MsChapErrorCode,
    is_mschap1_of,
    mschap1_keys,
    mschap2_proof,
    mschap_error,
    nt_hash,
)
from protocol.radius.packet import Packet
from protocol.radius.refused import PacketFault, RadiusError
from protocol.radius.vendor import vendor_octets


class LoginMethod(StrEnum):
    """How the password is proven; a value of the label `method`."""

    PAP = "pap"
    CHAP = "chap"
    MSCHAP = "mschap"
    MSCHAP2 = "mschap2"
    EAP = "eap"
    NONE = "none"
    """No password at all: pre-authorised services, MAC and port authentication."""


CHALLENGED: Final = frozenset({LoginMethod.CHAP, LoginMethod.MSCHAP, LoginMethod.MSCHAP2})
"""Methods that need the password itself; a hash of it does not do."""


MS_CHAP_ERROR_TYPE: Final = 2
WRONG_PASSWORD: Final = MsChapErrorCode.AUTHENTICATION_FAILURE


class LoginVerdict(NamedTuple):
    """Whether the password was the right one, and what the answer carries because of the method."""

    ok: bool
    attributes: bytes = b""
    """Attributes of the answer as octets: MS-CHAP2-Success and MPPE keys in an Accept, MS-CHAP-Error in a Reject."""


def method_of(packet: Packet) -> LoginMethod:
    """RadiusError where two methods come at once (RFC 2865 section 4.1: never both)."""
    found = [
        method
        for method, is_there in (
            (LoginMethod.EAP, packet.carries(EAP_MESSAGE)),
            (LoginMethod.PAP, bool(packet.raw(USER_PASSWORD))),
            (LoginMethod.CHAP, bool(packet.raw(CHAP_PASSWORD))),
            (LoginMethod.MSCHAP, bool(packet.raw(MS_CHAP_RESPONSE))),
            (LoginMethod.MSCHAP2, bool(packet.raw(MS_CHAP2_RESPONSE))),
        )
        if is_there
    ]
    if len(found) > 1:
        raise RadiusError(PacketFault.CREDENTIALS, f"{' and '.join(found)} in one packet")
    return found[0] if found else LoginMethod.NONE


def typed_password(packet: Packet, secret: bytes) -> str | None:
    """What was typed, of PAP. None where it is no text, which no password of ours is: a wrong secret looks like that.
    RadiusError for a value of impossible length."""
    (value,) = packet.raw(USER_PASSWORD)[:1]
    try:
        return reveal_password(value, secret, packet.authenticator).decode()
    except UnicodeDecodeError:
        return None


def judge_password(
    packet: Packet, method: LoginMethod, secret: bytes, password: str, randomness: bytes
) -> LoginVerdict:
    """Whether this is the password.

    password:   as it is
    randomness: 18 octets, for salts and a new challenge; used once
    RadiusError for attributes of impossible length.
    """
    match method:
        case LoginMethod.PAP:
            typed = typed_password(packet, secret)
            return LoginVerdict(typed is not None and hmac.compare_digest(typed.encode(), password.encode()))
        case LoginMethod.CHAP:
            return LoginVerdict(is_chap_of(packet, password.encode()))
        case LoginMethod.MSCHAP:
            hashed = nt_hash(password)
            if not is_mschap1_of(packet, hashed):
                return LoginVerdict(False, refusal_of(packet, method, randomness, WRONG_PASSWORD))
            keys = hide_password(mschap1_keys(hashed), secret, packet.authenticator)
            return LoginVerdict(True, MS_CHAP_MPPE_KEYS.pack(keys))
        case LoginMethod.MSCHAP2:
            proof = mschap2_proof(packet, nt_hash(password))
            if proof is None:
                return LoginVerdict(False, refusal_of(packet, method, randomness, WRONG_PASSWORD))
            send, recv = (
                hide_salted(key, secret, packet.authenticator, salt)
                for key, salt in zip((proof.send_key, proof.recv_key), _salts(randomness), strict=True)
            )
            keys = MS_MPPE_SEND_KEY.pack(send) + MS_MPPE_RECV_KEY.pack(recv)
            return LoginVerdict(True, MS_CHAP2_SUCCESS.pack(proof.success) + keys)
        case _:
            raise ValueError(f"{method} proves no password")


def refusal_of(
    packet: Packet, method: LoginMethod, randomness: bytes, code: MsChapErrorCode = MsChapErrorCode.ACCOUNT_DISABLED
) -> bytes:
    """What a Reject carries because of the method, whatever the reason: MS-CHAP-Error, or nothing."""
    response = {LoginMethod.MSCHAP: MS_CHAP_RESPONSE, LoginMethod.MSCHAP2: MS_CHAP2_RESPONSE}.get(method)
    if response is None:
        return b""
    (value,) = packet.raw(response)[:1]
    said = "wrong user name or password" if code == WRONG_PASSWORD else "access denied"
    error = mschap_error(value[0] if value else 0, code, randomness[:16], said)
    return vendor_octets(MICROSOFT, MS_CHAP_ERROR_TYPE, error)  # its first octet makes it no text


def _salts(randomness: bytes) -> tuple[bytes, bytes]:
    """Two salts that differ, their highest bits set (RFC 2548 section 2.4.2)."""
    first = 0x8000 | int.from_bytes(randomness[16:18])
    return first.to_bytes(2), (first ^ 1).to_bytes(2)
