"""What a NAS says to a CoA or a Disconnect, and where it is reached (RFC 5176)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, Protocol

from balances.structs.session import Session
from ocs.enforcement.machine import JobEvent
from ocs.enforcement.session_requests import NO_ROUTE, TIMEOUT, RequestReceipt
from protocol.radius.codes import PacketCode
from protocol.radius.dictionary.values import ErrorCause

AGAIN: Final = (NO_ROUTE, TIMEOUT)
GONE: Final = f" {ErrorCause.SESSION_CONTEXT_NOT_FOUND.value} "


class NasAnswer(Protocol):
    """The part of ocs.net.radius.dynamic_authorization.NasReply that is needed here."""

    @property
    def is_ack(self) -> bool: ...
    @property
    def result(self) -> str: ...


AskNas = Callable[[PacketCode, bytes, tuple[str, int], bytes], Awaitable[NasAnswer]]
"""code, attributes, address and port, secret"""


class NasRoute(NamedTuple):
    """How the NAS of a session is reached."""

    address: tuple[str, int]
    secret: bytes


def receipt_of(answer: NasAnswer, route: NasRoute) -> RequestReceipt:
    host = f"{route.address[0]}:{route.address[1]}"
    return RequestReceipt("", answer.result, host, host if answer.result != TIMEOUT else "")


def judged(receipt: RequestReceipt) -> JobEvent:
    """503: the session is not there any more (RFC 5176 section 3.5)."""
    result = str(receipt.result)
    if result in AGAIN:
        return JobEvent.UNDELIVERED
    if GONE in f"{result} ":
        return JobEvent.GONE
    return JobEvent.ACCEPTED if "-ACK" in result else JobEvent.REFUSED


def names_of(session: Session) -> bytes:
    """By what its NAS knows the session; nothing where it cannot be named."""
    return bytes.fromhex(session.identification)
