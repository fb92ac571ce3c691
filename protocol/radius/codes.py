"""The Code octet of a packet (RFC 2865 section 3, RFC 5176 section 2.1, RFC 5997)."""

from enum import IntEnum


class PacketCode(IntEnum):
    ACCESS_REQUEST = 1
    ACCESS_ACCEPT = 2
    ACCESS_REJECT = 3
    ACCOUNTING_REQUEST = 4
    ACCOUNTING_RESPONSE = 5
    ACCESS_CHALLENGE = 11
    STATUS_SERVER = 12
    STATUS_CLIENT = 13
    DISCONNECT_REQUEST = 40
    DISCONNECT_ACK = 41
    DISCONNECT_NAK = 42
    COA_REQUEST = 43
    COA_ACK = 44
    COA_NAK = 45
    PROTOCOL_ERROR = 52


# Requests whose authenticator proves the secret. That of an Access-Request and a Status-Server is a random number.
PROVEN_REQUESTS = frozenset((PacketCode.ACCOUNTING_REQUEST, PacketCode.DISCONNECT_REQUEST, PacketCode.COA_REQUEST))
RANDOM_REQUESTS = frozenset((PacketCode.ACCESS_REQUEST, PacketCode.STATUS_SERVER))

# What may answer what. PROTOCOL_ERROR may answer any of them (RFC 7930 section 4).
ANSWERS: dict[int, frozenset[int]] = {
    PacketCode.ACCESS_REQUEST: frozenset(
        (PacketCode.ACCESS_ACCEPT, PacketCode.ACCESS_REJECT, PacketCode.ACCESS_CHALLENGE, PacketCode.PROTOCOL_ERROR)
    ),
    PacketCode.ACCOUNTING_REQUEST: frozenset((PacketCode.ACCOUNTING_RESPONSE, PacketCode.PROTOCOL_ERROR)),
    PacketCode.STATUS_SERVER: frozenset((PacketCode.ACCESS_ACCEPT, PacketCode.ACCOUNTING_RESPONSE)),
    PacketCode.DISCONNECT_REQUEST: frozenset(
        (PacketCode.DISCONNECT_ACK, PacketCode.DISCONNECT_NAK, PacketCode.PROTOCOL_ERROR)
    ),
    PacketCode.COA_REQUEST: frozenset((PacketCode.COA_ACK, PacketCode.COA_NAK, PacketCode.PROTOCOL_ERROR)),
}
