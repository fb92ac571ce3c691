"""What the answer to a RAR or ASR says about its job (charging.md section 5)."""

from __future__ import annotations

from typing import Final

from balances.structs.session import Session
from ocs.enforcement.machine import JobEvent
from ocs.enforcement.session_requests import NO_ROUTE, TIMEOUT, RequestReceipt

AGAIN: Final = (NO_ROUTE, TIMEOUT, 3002, 3004, 5012)
"""What may be otherwise the next time: nobody there, silence, not delivered, too busy, unable to comply."""
UNKNOWN_SESSION: Final = 5002


def judged(receipt: RequestReceipt, session: Session) -> JobEvent:
    """Only the session's own host knows that it has no such session; a relay or another host does not."""
    result = receipt.result
    if result in AGAIN:
        return JobEvent.UNDELIVERED
    if result == UNKNOWN_SESSION and receipt.by.lower() == session.peer.lower():
        return JobEvent.GONE
    accepted = isinstance(result, int) and 2_000 <= result < 3_000
    return JobEvent.ACCEPTED if accepted else JobEvent.REFUSED
