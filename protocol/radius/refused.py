"""Why a packet is dropped. RADIUS has no error answer for it: it is counted by `reason`, and a log line says `why`."""

from enum import StrEnum

from protocol.errors import ProtocolError


class PacketFault(StrEnum):
    """The reasons, as metrics name them."""

    LENGTH = "length"  # of the datagram or of the header
    CODE = "code"  # one we do not know, or one that is no answer to what was asked
    ATTRIBUTE = "attribute"  # an attribute that ends behind the packet, or is shorter than its own header
    VALUE = "value"  # an attribute whose octets are no value of its type
    AUTHENTICATOR = "authenticator"  # wrong secret, or altered on the way
    MESSAGE_AUTHENTICATOR = "message-authenticator"  # there and wrong, or there twice
    MESSAGE_AUTHENTICATOR_MISSING = "message-authenticator-missing"
    PROXY_STATE = "proxy-state"  # with it and without Message-Authenticator
    CREDENTIALS = "credentials"  # an encrypted attribute of impossible length


class RadiusError(ProtocolError):
    """A packet to be dropped in silence (RFC 2865 section 3)."""

    def __init__(self, reason: PacketFault, why: str) -> None:
        super().__init__(why)
        self.reason = reason
