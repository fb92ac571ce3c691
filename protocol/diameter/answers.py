"""The answer to a request that is refused before, or without, a typed answer (RFC 6733 sections 6.2 and 7.2).

It is built from the octets of the request, for the request may be exactly what could not be decoded.
"""

from protocol.diameter.avp import HEADER, PADDING
from protocol.diameter.dictionary.accounting import AccountingAnswer
from protocol.diameter.dictionary.base import (
    ACCOUNTING_RECORD_NUMBER,
    ACCOUNTING_RECORD_TYPE,
    AUTH_APPLICATION_ID,
    ERROR_MESSAGE,
    FAILED_AVP,
    ORIGIN_HOST,
    ORIGIN_REALM,
    ORIGIN_STATE_ID,
    PROXY_INFO,
    RESULT_CODE,
    SESSION_ID,
)
from protocol.diameter.dictionary.credit_control import CreditControlAnswer
from protocol.diameter.dictionary.credit_values import CC_REQUEST_NUMBER, CC_REQUEST_TYPE
from protocol.diameter.header import ERROR, PROXIABLE, SIZE, Header, with_header
from protocol.errors import ProtocolError, ResultCode

# What the grammar of an answer without the E bit requires as an echo of its request.
ECHOED = {
    CreditControlAnswer.code: (AUTH_APPLICATION_ID.key, CC_REQUEST_TYPE.key, CC_REQUEST_NUMBER.key),
    AccountingAnswer.code: (ACCOUNTING_RECORD_TYPE.key, ACCOUNTING_RECORD_NUMBER.key),
}
MAX_WHY = 200  # characters of an Error-Message


def error_answer(
    request: bytes,
    error: ProtocolError | ResultCode,
    *,
    origin_host: str,
    origin_realm: str,
    origin_state_id: int | None = None,
    why: str = "",
) -> bytes:
    """Session-Id, our identity, the Result-Code with a reason, Failed-AVP, and every Proxy-Info in order as it came.

    The E bit is set for 3xxx only, the P bit copied. The argument must be a request: an answer is never answered.
    """
    if isinstance(error, ProtocolError):
        result_code, failed_avp, why = error.result_code, error.failed_avp, why or error.why
    else:
        result_code, failed_avp = error, b""
    header = Header.of(request.ljust(SIZE, b"\0"))
    found = _top_level(request)
    parts = [
        *found.get(SESSION_ID.key, [])[:1],
        RESULT_CODE.pack(result_code),
        ORIGIN_HOST.pack(origin_host),
        ORIGIN_REALM.pack(origin_realm),
    ]
    if not result_code.e_bit:
        parts += [avp for key in ECHOED.get(header.command, ()) for avp in found.get(key, [])[:1]]
    if origin_state_id is not None:
        parts.append(ORIGIN_STATE_ID.pack(origin_state_id))
    if why:
        parts.append(ERROR_MESSAGE.pack(why[:MAX_WHY]))
    if failed_avp:
        parts.append(FAILED_AVP.pack(failed_avp))
    parts += found.get(PROXY_INFO.key, [])
    return with_header(
        b"".join(parts),
        flags=header.flags & PROXIABLE | (ERROR if result_code.e_bit else 0),
        command=header.command,
        application=header.application,
        hop_by_hop=header.hop_by_hop,
        end_to_end=header.end_to_end,
    )


def _top_level(frame: bytes) -> dict[int, list[bytes]]:
    """The IETF AVPs of the message by code, whole, as far as they can be told apart."""
    found: dict[int, list[bytes]] = {}
    start = SIZE
    while start + 8 <= len(frame):
        code, word = HEADER.unpack_from(frame, start)
        length = word & 0xFFFFFF
        if length < 8 or start + length > len(frame):
            break
        if not word >> 31:
            avp = frame[start : start + length]
            found.setdefault(code, []).append(avp + frame[start + length : start + (length + 3 & ~3)])
        start += length + 3 & ~3
    for avps in found.values():
        avps[:] = [avp + PADDING[len(avp) & 3] for avp in avps]
    return found
