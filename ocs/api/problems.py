"""Every refusal of the API, one row each: RFC 9457 problem details with a `type` that never changes.

Here, and nowhere else, an error of the back office becomes one of HTTP.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final, NamedTuple

import msgspec

from ocs.backoffice import errors
from ocs.backoffice.errors import BackOfficeError
from ocs.charging.http.translate import word
from ocs.charging.outcomes import OUTCOMES
from ocs.tmf654.resources import TmfError
from ocs.tmf654.words import BASE

TYPE: Final = "urn:ocs:problem:"


class ProblemRow(NamedTuple):
    status: int
    title: str
    error: type[BackOfficeError] | None = None
    """What the back office says no with; None: only HTTP does."""


CHARGING: Final = "charging-"
"""What the types of refusals by charging begin with: one for each result that is an error over HTTP."""

PROBLEMS: Final[dict[str, ProblemRow]] = {
    "malformed": ProblemRow(400, "The request cannot be read"),
    "key-required": ProblemRow(400, "A POST that moves money needs an Idempotency-Key"),
    "unauthorized": ProblemRow(401, "A bearer token is required"),
    "forbidden": ProblemRow(403, "The caller may not do this", errors.Forbidden),
    "not-found": ProblemRow(404, "There is no such thing", errors.NotFound),
    "method-not-allowed": ProblemRow(405, "Not done this way"),
    "conflict": ProblemRow(409, "The request contradicts what is there", errors.Conflict),
    "identity-taken": ProblemRow(409, "An identity belongs to another subscriber", errors.IdentityTaken),
    "immutable": ProblemRow(409, "This can no longer be changed", errors.Immutable),
    "key-reused": ProblemRow(409, "This Idempotency-Key came with another request before", errors.KeyReused),
    "insufficient-funds": ProblemRow(409, "The account's free own money does not cover this", errors.InsufficientFunds),
    "no-room": ProblemRow(
        409, "The account cannot take this: too many buckets, or an amount past what is exact", errors.NoRoom
    ),
    "still-held": ProblemRow(409, "Something of the account is held for use under way", errors.StillHeld),
    "balance-remains": ProblemRow(
        409, "The account has or owes something: say what becomes of it", errors.BalanceRemains
    ),
    "account-closed": ProblemRow(409, "The account is closed", errors.AccountClosed),
    "account-barred": ProblemRow(409, "The account is suspended: nothing leaves it", errors.AccountBarred),
    "limit-passed": ProblemRow(409, "More than may be moved at once or in a period", errors.LimitPassed),
    "transfer-returned": ProblemRow(
        409, "The other account did not take the transfer: all of it is back", errors.TransferReturned
    ),
    "forgotten": ProblemRow(410, "It is not kept any more", errors.Forgotten),
    "version-conflict": ProblemRow(412, "It has changed since you read it", errors.VersionConflict),
    "too-large": ProblemRow(413, "The request is too large"),
    "media-type": ProblemRow(415, "Not a media type that is understood here"),
    "invalid": ProblemRow(422, "A value is not what it must be", errors.Invalid),
    "unresolved": ProblemRow(422, "It names something that does not exist", errors.Unresolved),
    "version-required": ProblemRow(428, "Send If-Match with the version you read", errors.VersionRequired),
    "too-many": ProblemRow(429, "More requests a second than the caller may make"),
    "locked-out": ProblemRow(429, "Too many wrong codes: wait", errors.LockedOut),
    "internal": ProblemRow(500, "Our mistake"),
    "busy": ProblemRow(503, "Too many requests at once"),
    "store-unavailable": ProblemRow(503, "A store cannot be reached: nothing was done", errors.Unavailable),
    "fate-unknown": ProblemRow(
        504, "No answer from the store: repeat with the same Idempotency-Key", errors.FateUnknown
    ),
    **{
        f"{CHARGING}{word(result)}": ProblemRow(row.http, f"Not charged: {row.words}")
        for result, row in OUTCOMES.items()
        if row.http >= HTTPStatus.BAD_REQUEST
    },
}


KIND_OF: Final = {row.error: kind for kind, row in PROBLEMS.items() if row.error is not None}


class Problem(Exception):
    """What is wrong with a request as HTTP, of which the back office knows nothing; answered as it stands."""

    def __init__(self, kind: str, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.more = more

    @property
    def status(self) -> int:
        return PROBLEMS[self.kind].status

    def body(self, instance: str) -> bytes:
        row = PROBLEMS[self.kind]
        about = {"type": TYPE + self.kind, "title": row.title, "status": row.status, "detail": self.detail}
        return msgspec.json.encode(about | {"instance": instance} | self.more)


class RefusedAnswer(NamedTuple):
    """What is answered in the place of what was asked for."""

    status: int
    body: bytes
    media_type: str


def refusal_of(problem: Problem, path: str) -> RefusedAnswer:
    """A problem as it is answered at this path: each standard has a form of its own."""
    if not path.startswith(BASE):
        return RefusedAnswer(problem.status, problem.body(path), media_type_of(path))
    status = status_at(path, problem.status)
    row = PROBLEMS[problem.kind]
    error = TmfError(
        code=problem.kind,
        reason=row.title,
        message=problem.detail,
        status=str(status),
        reference_error=TYPE + problem.kind,
    )
    return RefusedAnswer(status, msgspec.json.encode(error), media_type_of(path))


def status_at(path: str, status: int) -> int:
    """Of a refusal at this path: TMF654 knows no 422."""
    return int(HTTPStatus.BAD_REQUEST) if path.startswith(BASE) and status == 422 else status


def media_type_of(path: str) -> str:
    """Of a refusal at this path."""
    return "application/json" if path.startswith(BASE) else "application/problem+json"


def problem_of(error: BackOfficeError) -> Problem:
    """The problem that is answered for an error."""
    return Problem(KIND_OF[type(error)], error.detail, **error.more)


class ProblemDetails(msgspec.Struct):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
