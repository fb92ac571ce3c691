"""The octets of what a BRAS sends. What stays the same in a session is encoded once.

face = face_of(nas, place, user)                              # who and where
octets = access_request(identifier, authenticator, face, password, secret, chap=False)
octets = accounting_request(identifier, known, AccountingFacts(...), secret)   # known: face, Acct-Session-Id, Class
"""

from typing import NamedTuple

from protocol.radius.authenticator import signed_request
from protocol.radius.chap import chap_response
from protocol.radius.codes import PacketCode
from protocol.radius.counters import halves
from protocol.radius.dictionary.standard import (
    ACCT_INPUT_GIGAWORDS,
    ACCT_INPUT_OCTETS,
    ACCT_OUTPUT_GIGAWORDS,
    ACCT_OUTPUT_OCTETS,
    ACCT_SESSION_ID,
    ACCT_SESSION_TIME,
    ACCT_STATUS_TYPE,
    CALLING_STATION_ID,
    CHAP_CHALLENGE,
    CHAP_PASSWORD,
    CLASS,
    EVENT_TIMESTAMP,
    NAS_IDENTIFIER,
    NAS_PORT_ID,
    USER_NAME,
    USER_PASSWORD,
)
from protocol.radius.dictionary.values import AcctStatusType
from protocol.radius.digest import md5
from protocol.radius.hidden import hide_password
from protocol.radius.packet import HEADER, MIN_BYTES, NO_AUTHENTICATOR, Packet
from protocol.radius.vendor import tlvs

ACCOUNTING_REQUEST = int(PacketCode.ACCOUNTING_REQUEST)


class AccountingFacts(NamedTuple):
    """What changes from one packet of a session to the next. Octets since the session began."""

    status: AcctStatusType
    lasted_s: int
    input_octets: int
    output_octets: int
    stamp_s: int
    """Event-Timestamp."""

    @property
    def total(self) -> int:
        return self.input_octets + self.output_octets


def face_of(nas: str, place: int, user: str) -> bytes:
    """Attributes by which a subscriber at its port is known, in all packets."""
    station = f"02-00-{place >> 24 & 255:02X}-{place >> 16 & 255:02X}-{place >> 8 & 255:02X}-{place & 255:02X}"
    return (
        USER_NAME.pack(user)
        + NAS_IDENTIFIER.pack(nas)
        + NAS_PORT_ID.pack(f"ge-0/0/0:{place}")
        + CALLING_STATION_ID.pack(station)
    )


def known_as(face: bytes, acct_session_id: str, classes: tuple[bytes, ...]) -> bytes:
    """What all accounting packets of a session share: each Class as it came, in order (RFC 2865 section 5.25)."""
    return face + ACCT_SESSION_ID.pack(acct_session_id) + b"".join(CLASS.pack(value) for value in classes)


def access_request(
    identifier: int, authenticator: bytes, face: bytes, password: bytes, secret: bytes, *, chap: bool
) -> bytes:
    """Signed, with User-Password or CHAP-Password. The challenge of CHAP is an attribute of its own."""
    packet = Packet(PacketCode.ACCESS_REQUEST, identifier, authenticator, tlvs(face) or ())
    if chap:
        challenge = md5(authenticator).digest()
        packet.add(CHAP_PASSWORD, chap_response(identifier, password, challenge)).add(CHAP_CHALLENGE, challenge)
    else:
        packet.add(USER_PASSWORD, hide_password(password, secret, authenticator))
    return signed_request(packet, secret)


def accounting_request(identifier: int, known: bytes, facts: AccountingFacts, secret: bytes) -> bytes:
    """Without Message-Authenticator, as NASes send it: the authenticator proves the secret (RFC 2866 section 3)."""
    (input_low, input_high), (output_low, output_high) = halves(facts.input_octets), halves(facts.output_octets)
    body = (
        known
        + ACCT_STATUS_TYPE.pack(int(facts.status))
        + EVENT_TIMESTAMP.pack(facts.stamp_s)
        + ACCT_SESSION_TIME.pack(facts.lasted_s)
        + ACCT_INPUT_OCTETS.pack(input_low)
        + ACCT_OUTPUT_OCTETS.pack(output_low)
    )
    if input_high or output_high:
        body += ACCT_INPUT_GIGAWORDS.pack(input_high) + ACCT_OUTPUT_GIGAWORDS.pack(output_high)
    return _proven(identifier, body, secret)


def accounting_on(identifier: int, nas: str, stamp_s: int, secret: bytes) -> bytes:
    """The NAS has lost all that began before."""
    body = (
        NAS_IDENTIFIER.pack(nas)
        + ACCT_SESSION_ID.pack("00000000")
        + ACCT_STATUS_TYPE.pack(int(AcctStatusType.ACCOUNTING_ON))
        + EVENT_TIMESTAMP.pack(stamp_s)
    )
    return _proven(identifier, body, secret)


def _proven(identifier: int, body: bytes, secret: bytes) -> bytes:
    head = HEADER.pack(ACCOUNTING_REQUEST, identifier, MIN_BYTES + len(body), NO_AUTHENTICATOR)
    return head[:4] + md5(head + body + secret).digest() + body
