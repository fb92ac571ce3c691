"""The authenticators and Message-Authenticator: what proves that a packet was made by who knows the secret.

    signed = check_request(packet, secret)            # RadiusError when it was not; False: it proves nothing
    answer(packet, PacketCode.ACCESS_ACCEPT, secret, body) -> octets to send
    signed_request(packet, secret) -> octets          # as a client: CoA, Disconnect, Status-Server
    check_response(reply, octets_of_request, secret)

RFC 2865 section 3, RFC 2866 section 3, RFC 3579 section 3.2, RFC 5176 section 2.3. All comparisons take the same time
whatever is compared. MD5 is what the standard says; nothing else here relies on it.
"""

from hmac import compare_digest

from protocol.radius.codes import ANSWERS, PROVEN_REQUESTS, RANDOM_REQUESTS, PacketCode
from protocol.radius.digest import hmac_md5, md5
from protocol.radius.packet import HEADER, MAX_BYTES, MIN_BYTES, NO_AUTHENTICATOR, Packet
from protocol.radius.refused import PacketFault, RadiusError

EAP_MESSAGE, MESSAGE_AUTHENTICATOR = 79, 80
# As numbers: a member of an enumeration is looked up at each use.
ACCOUNTING_REQUEST, ACCOUNTING_RESPONSE = int(PacketCode.ACCOUNTING_REQUEST), int(PacketCode.ACCOUNTING_RESPONSE)
STATUS_SERVER = int(PacketCode.STATUS_SERVER)
SIGNATURE = 18  # octets of Message-Authenticator with its header
SIGNATURE_HEAD = bytes((MESSAGE_AUTHENTICATOR, SIGNATURE))
UNSIGNED = SIGNATURE_HEAD + bytes(16)
ROOM = MAX_BYTES - MIN_BYTES - SIGNATURE  # for the attributes of an answer


def check_request(packet: Packet, secret: bytes) -> bool:
    """Whether a valid Message-Authenticator came with it. RadiusError when an authenticator is wrong, or missing where
    it is required: with EAP-Message and in Status-Server. What passes leaves room for an answer without a body."""
    proven = packet.code in PROVEN_REQUESTS
    if not proven and packet.code not in RANDOM_REQUESTS:
        raise RadiusError(PacketFault.CODE, f"code {packet.code} is no request")
    octets = packet.octets
    if len(octets) > ROOM and len(packet.proxy_states) > ROOM:
        raise RadiusError(PacketFault.LENGTH, "its Proxy-States leave no room for an answer")
    if proven and not is_proven(octets, secret):
        raise RadiusError(PacketFault.AUTHENTICATOR, "the Request Authenticator is wrong: secrets differ?")
    signed = _check_signature(packet, secret, NO_AUTHENTICATOR if proven else packet.authenticator)
    if not signed and (packet.code == STATUS_SERVER or packet.carries(EAP_MESSAGE)):
        raise RadiusError(PacketFault.MESSAGE_AUTHENTICATOR_MISSING, "no Message-Authenticator, and it is required")
    return signed


def is_proven(octets: bytes, secret: bytes) -> bool:
    """Whether a request was made with the secret, of a code in PROVEN_REQUESTS."""
    return compare_digest(md5(octets[:4] + NO_AUTHENTICATOR + octets[20:] + secret).digest(), octets[4:20])


def acknowledgement(request: bytes, secret: bytes) -> bytes:
    """The Accounting-Response of a whole Accounting-Request in which no Proxy-State is: it has no attributes."""
    head = HEADER.pack(ACCOUNTING_RESPONSE, request[1], MIN_BYTES, request[4:20])
    return head[:4] + md5(head + secret).digest()


def check_response(reply: Packet, request: bytes, secret: bytes) -> bool:
    """Whether a valid Message-Authenticator came with it. RadiusError when it does not answer `request` (the octets
    that were sent) or was made without the secret."""
    if reply.identifier != request[1] or reply.code not in ANSWERS.get(request[0], ()):
        raise RadiusError(PacketFault.CODE, f"code {reply.code} is no answer to code {request[0]} of that identifier")
    octets, authenticator = reply.octets, request[4:20]
    wanted = md5(octets[:4] + authenticator + octets[20:] + secret).digest()
    if not compare_digest(wanted, reply.authenticator):
        raise RadiusError(PacketFault.AUTHENTICATOR, "the Response Authenticator is wrong: secrets differ?")
    if reply.code == ACCOUNTING_RESPONSE and request[0] == ACCOUNTING_REQUEST:
        authenticator = NO_AUTHENTICATOR
    signed = _check_signature(reply, secret, authenticator)
    if not signed and reply.carries(EAP_MESSAGE):
        raise RadiusError(PacketFault.MESSAGE_AUTHENTICATOR_MISSING, "EAP-Message without Message-Authenticator")
    return signed


def _check_signature(packet: Packet, secret: bytes, authenticator: bytes) -> bool:
    if not packet.carries(MESSAGE_AUTHENTICATOR):
        return False
    at, found = MIN_BYTES, 0
    for kind, value in packet.attributes:
        if kind == MESSAGE_AUTHENTICATOR:
            if found or len(value) != 16:
                why = "it comes twice" if found else f"it has {len(value)} octets"
                raise RadiusError(PacketFault.MESSAGE_AUTHENTICATOR, f"Message-Authenticator: {why}")
            found = at + 2
        at += len(value) + 2
    octets = packet.octets
    zeroed = octets[:4] + authenticator + octets[20:found] + NO_AUTHENTICATOR + octets[found + 16 :]
    if not compare_digest(hmac_md5(secret, zeroed), octets[found : found + 16]):
        raise RadiusError(PacketFault.MESSAGE_AUTHENTICATOR, "Message-Authenticator is wrong: secrets differ?")
    return True


def answer(request: Packet, code: int, secret: bytes, body: bytes = b"", *, sign: bool | None = None) -> bytes:
    """The octets that answer a request: its Proxy-States behind `body` (attributes as octets), Message-Authenticator
    in front of all. RadiusError when that is more than a packet may hold.

    Unless `sign` says otherwise, all are signed but what answers an Accounting-Request. Nobody can add to that request
    without the secret, which is what forging an answer takes (CVE-2024-3596), and no RFC says of which authenticator
    the signature is made: of zeros, FreeRADIUS and pyrad agree, and a client that thinks otherwise drops the answer.
    """
    accounting = code == ACCOUNTING_RESPONSE and request.code == ACCOUNTING_REQUEST
    if sign is None:
        sign = not accounting
    body += request.proxy_states
    length = MIN_BYTES + len(body) + (SIGNATURE if sign else 0)
    if length > MAX_BYTES:
        raise RadiusError(PacketFault.LENGTH, f"an answer of {length} octets: at most {MAX_BYTES} may be sent")
    head = HEADER.pack(code, request.identifier, length, request.authenticator)
    if sign:
        keyed = HEADER.pack(code, request.identifier, length, NO_AUTHENTICATOR) if accounting else head
        body = SIGNATURE_HEAD + hmac_md5(secret, keyed + UNSIGNED + body) + body
    return head[:4] + md5(head + body + secret).digest() + body


def signed_request(packet: Packet, secret: bytes, *, sign: bool = True) -> bytes:
    """The octets of a request of ours, Message-Authenticator first where `sign`. Access-Request and Status-Server keep
    the authenticator they have, which must be random; that of the others is computed."""
    if packet.code not in PROVEN_REQUESTS and packet.code not in RANDOM_REQUESTS:
        raise ValueError(f"code {packet.code} is no request")
    rest = b"".join(
        bytes((kind, len(value) + 2)) + value for kind, value in packet.attributes if kind != MESSAGE_AUTHENTICATOR
    )
    length = MIN_BYTES + len(rest) + (SIGNATURE if sign else 0)
    if length > MAX_BYTES:
        raise ValueError(f"a request of {length} octets: at most {MAX_BYTES} may be sent")
    proven = packet.code in PROVEN_REQUESTS
    head = HEADER.pack(packet.code, packet.identifier, length, NO_AUTHENTICATOR if proven else packet.authenticator)
    if sign:
        rest = SIGNATURE_HEAD + hmac_md5(secret, head + UNSIGNED + rest) + rest
    if proven:
        head = head[:4] + md5(head + rest + secret).digest()
    return head + rest
