"""Every refusal of the API, one row each: RFC 9457 problem details with a `type` that never changes."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

TYPE: Final = "urn:ocs:problem:"


class Row(NamedTuple):
    status: int
    title: str


PROBLEMS: Final[dict[str, Row]] = {
    "malformed": Row(400, "The request cannot be read"),
    "key-required": Row(400, "A POST that moves money needs an Idempotency-Key"),
    "unauthorized": Row(401, "A bearer token is required"),
    "forbidden": Row(403, "The caller may not do this"),
    "not-found": Row(404, "There is no such thing"),
    "method-not-allowed": Row(405, "Not done this way"),
    "conflict": Row(409, "The request contradicts what is there"),
    "identity-taken": Row(409, "An identity belongs to another subscriber"),
    "immutable": Row(409, "This can no longer be changed"),
    "key-reused": Row(409, "This Idempotency-Key came with another request before"),
    "insufficient-funds": Row(409, "The account's free own money does not cover this"),
    "no-room": Row(409, "The account cannot take this: too many buckets, or an amount past what is exact"),
    "account-closed": Row(409, "The account is closed"),
    "version-conflict": Row(412, "It has changed since you read it"),
    "too-large": Row(413, "The request is too large"),
    "media-type": Row(415, "Not a media type that is understood here"),
    "invalid": Row(422, "A value is not what it must be"),
    "unresolved": Row(422, "It names something that does not exist"),
    "version-required": Row(428, "Send If-Match with the version you read"),
    "internal": Row(500, "Our mistake"),
    "busy": Row(503, "Too many requests at once"),
    "store-unavailable": Row(503, "A store cannot be reached: nothing was done"),
    "fate-unknown": Row(504, "No answer from the store: repeat with the same Idempotency-Key"),
}


class Problem(Exception):
    """Raised anywhere below the API; answered as it stands."""

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


class ProblemDetails(msgspec.Struct):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
