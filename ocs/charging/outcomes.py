"""One row for each result of a balance operation: what it becomes in each protocol, and in words. A protocol that comes
adds its column here."""

from __future__ import annotations

from enum import Enum
from typing import Final

import msgspec

from balances.structs.charge import Result
from protocol.errors import ResultCode


class RadiusAnswer(Enum):
    """What an Access-Request gets. Accounting that is on record is acknowledged, whatever it got (charging.md 5)."""

    ACCEPT = "accept"
    REJECT = "reject"
    """The words are its Reply-Message."""
    SILENCE = "silence"
    """No request of that protocol comes to this."""


class OutcomeRow(msgspec.Struct, frozen=True):
    diameter: ResultCode
    radius: RadiusAnswer
    http: int
    words: str
    """For people: Error-Message, Reply-Message, the detail of a problem document, a line of a log."""


_ACCEPT, _REJECT, _SILENCE = RadiusAnswer

# fmt: off
OUTCOMES: Final[dict[Result, OutcomeRow]] = {
    result: OutcomeRow(*row)
    for result, row in {
        Result.OK: (ResultCode.SUCCESS, _ACCEPT, 200, ""),
        Result.CREDIT_LIMIT: (ResultCode.CREDIT_LIMIT_REACHED, _REJECT, 402, "the balance does not cover it"),
        Result.DENIED: (ResultCode.END_USER_SERVICE_DENIED, _REJECT, 403, "barred for this subscriber or account"),
        Result.NOT_APPLICABLE:
            (ResultCode.CREDIT_CONTROL_NOT_APPLICABLE, _ACCEPT, 200, "not controlled: it may be used freely"),
        Result.RATING_FAILED:
            (ResultCode.RATING_FAILED, _REJECT, 422, "no tariff of the subscriber has a price for it"),
        Result.USER_UNKNOWN: (ResultCode.USER_UNKNOWN, _REJECT, 404, "there is no subscriber with this id or identity"),
        Result.SESSION_UNKNOWN: (ResultCode.UNKNOWN_SESSION_ID, _REJECT, 404, "no such session is open"),
        Result.UNABLE: (ResultCode.UNABLE_TO_COMPLY, _REJECT, 409, "makes no sense in the state the session is in"),
        Result.REMEMBERED: (ResultCode.SUCCESS, _ACCEPT, 200, ""),
        Result.NO_GRANT: (ResultCode.SUCCESS, _ACCEPT, 200, ""),
        Result.NOT_FOUND: (ResultCode.UNABLE_TO_COMPLY, _SILENCE, 404, "what is to be refunded is not known"),
        Result.TOO_MUCH: (ResultCode.UNABLE_TO_COMPLY, _SILENCE, 409, "the amount is larger than allowed"),
        Result.INVALID:
            (ResultCode.INVALID_AVP_VALUE, _REJECT, 400, "an amount is negative, too fine or of other currency"),
        Result.TOO_MANY_SESSIONS:
            (ResultCode.UNABLE_TO_COMPLY, _REJECT, 409, "as many sessions are open as are allowed"),
        Result.STALE_REVISION: (ResultCode.UNABLE_TO_COMPLY, _SILENCE, 412, "changed meanwhile: read it again"),
        Result.LIMITED: (ResultCode.UNABLE_TO_COMPLY, _SILENCE, 409, "more than may be moved in this period"),
    }.items()
}
# fmt: on

DIAMETER: Final = {result: int(row.diameter) for result, row in OUTCOMES.items()}
