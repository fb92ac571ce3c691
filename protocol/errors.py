"""What a peer did wrong, and what to answer it with.

Decoding either accepts or raises one of these; any other exception out of this package is a fault of ours.
"""

from enum import IntEnum


class ResultCode(IntEnum):
    """Values of Result-Code: RFC 6733 section 7.1 and, from 4010 and 5030 on, RFC 8506 section 9."""

    MULTI_ROUND_AUTH = 1001
    SUCCESS = 2001
    LIMITED_SUCCESS = 2002
    COMMAND_UNSUPPORTED = 3001
    UNABLE_TO_DELIVER = 3002
    REALM_NOT_SERVED = 3003
    TOO_BUSY = 3004
    LOOP_DETECTED = 3005
    REDIRECT_INDICATION = 3006
    APPLICATION_UNSUPPORTED = 3007
    INVALID_HDR_BITS = 3008
    INVALID_AVP_BITS = 3009
    UNKNOWN_PEER = 3010
    AUTHENTICATION_REJECTED = 4001
    OUT_OF_SPACE = 4002
    ELECTION_LOST = 4003
    END_USER_SERVICE_DENIED = 4010
    CREDIT_CONTROL_NOT_APPLICABLE = 4011
    CREDIT_LIMIT_REACHED = 4012
    AVP_UNSUPPORTED = 5001
    UNKNOWN_SESSION_ID = 5002
    AUTHORIZATION_REJECTED = 5003
    INVALID_AVP_VALUE = 5004
    MISSING_AVP = 5005
    RESOURCES_EXCEEDED = 5006
    CONTRADICTING_AVPS = 5007
    AVP_NOT_ALLOWED = 5008
    AVP_OCCURS_TOO_MANY_TIMES = 5009
    NO_COMMON_APPLICATION = 5010
    UNSUPPORTED_VERSION = 5011
    UNABLE_TO_COMPLY = 5012
    INVALID_BIT_IN_HEADER = 5013
    INVALID_AVP_LENGTH = 5014
    INVALID_MESSAGE_LENGTH = 5015
    INVALID_AVP_BIT_COMBO = 5016
    NO_COMMON_SECURITY = 5017
    USER_UNKNOWN = 5030
    RATING_FAILED = 5031

    @property
    def e_bit(self) -> bool:
        """Protocol errors, and only they, are answered with the E bit (RFC 6733 section 7.1.3)."""
        return 3000 <= self < 4000


class ProtocolError(Exception):
    """The peer broke a rule. `why` is a sentence for the Error-Message and the log."""

    result_code: ResultCode = ResultCode.UNABLE_TO_COMPLY
    failed_avp: bytes = b""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    @property
    def e_bit(self) -> bool:
        return self.result_code.e_bit


class FrameError(ProtocolError):
    """The length of a frame is unusable: the stream cannot be resynchronised, so close (RFC 6733 section 2.1).
    `frames` are the messages that came whole before it; they are to be served first."""

    result_code = ResultCode.INVALID_MESSAGE_LENGTH

    def __init__(self, why: str, frames: list[bytes]) -> None:
        super().__init__(why)
        self.frames = frames


class HeaderError(ProtocolError):
    """Version, length, flags, command or application of the header (RFC 6733 section 3)."""

    def __init__(self, result_code: ResultCode, why: str) -> None:
        super().__init__(why)
        self.result_code = result_code


class AvpError(ProtocolError):
    """An AVP we must refuse. `failed_avp` is what goes into Failed-AVP (RFC 6733 section 7.5), enclosing groups
    around it, always well-formed so that the answer can be read."""

    def __init__(self, result_code: ResultCode, why: str, failed_avp: bytes = b"") -> None:
        super().__init__(why)
        self.result_code = result_code
        self.failed_avp = failed_avp


class UnknownAvp(AvpError):
    """An AVP that we do not know and must (RFC 6733 section 4.1)."""

    def __init__(self, code: int, vendor: int, failed_avp: bytes) -> None:
        why = f"AVP {code}{f' of vendor {vendor}' if vendor else ''} is not known and has the M bit"
        super().__init__(ResultCode.AVP_UNSUPPORTED, why, failed_avp)
        self.code, self.vendor = code, vendor
