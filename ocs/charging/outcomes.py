"""One row for each result of a balance operation: what it becomes in each protocol, and in words."""

from __future__ import annotations

from typing import Final

import msgspec

from balances.structs.charge import Result
from protocol.errors import ResultCode


class OutcomeRow(msgspec.Struct, frozen=True):
    diameter: ResultCode
    http: int
    words: str
    """For people: Error-Message, the detail of a problem document, a line of a log."""


OUTCOMES: Final[dict[Result, OutcomeRow]] = {
    Result.OK: OutcomeRow(ResultCode.SUCCESS, 200, ""),
    Result.CREDIT_LIMIT: OutcomeRow(ResultCode.CREDIT_LIMIT_REACHED, 402, "the balance does not cover it"),
    Result.DENIED: OutcomeRow(ResultCode.END_USER_SERVICE_DENIED, 403, "barred for this subscriber or account"),
    Result.NOT_APPLICABLE: OutcomeRow(
        ResultCode.CREDIT_CONTROL_NOT_APPLICABLE, 200, "not controlled: it may be used freely"
    ),
    Result.RATING_FAILED: OutcomeRow(ResultCode.RATING_FAILED, 422, "no tariff of the subscriber has a price for it"),
    Result.USER_UNKNOWN: OutcomeRow(ResultCode.USER_UNKNOWN, 404, "no subscriber has any of these identities"),
    Result.SESSION_UNKNOWN: OutcomeRow(ResultCode.UNKNOWN_SESSION_ID, 404, "no such session is open"),
    Result.UNABLE: OutcomeRow(ResultCode.UNABLE_TO_COMPLY, 409, "makes no sense in the state the session is in"),
    Result.REMEMBERED: OutcomeRow(ResultCode.SUCCESS, 200, ""),
    Result.NO_GRANT: OutcomeRow(ResultCode.SUCCESS, 200, ""),
    Result.NOT_FOUND: OutcomeRow(ResultCode.UNABLE_TO_COMPLY, 404, "what is to be refunded is not known"),
    Result.TOO_MUCH: OutcomeRow(ResultCode.UNABLE_TO_COMPLY, 409, "the amount is larger than allowed"),
    Result.INVALID: OutcomeRow(
        ResultCode.INVALID_AVP_VALUE, 400, "an amount is negative, too fine or of other currency"
    ),
    Result.STALE_REVISION: OutcomeRow(ResultCode.UNABLE_TO_COMPLY, 412, "changed meanwhile: read it again"),
}

DIAMETER: Final = {result: int(row.diameter) for result, row in OUTCOMES.items()}
