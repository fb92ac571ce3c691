"""One row for each operation: path, types, what it needs. Routing, decoding and OpenAPI all follow from the row."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct, structs
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from balances.keys import request_key
from ocs.access.permissions import OPEN, can_wait
from ocs.access.roles import Authority
from ocs.api.members import Twice, each_once
from ocs.api.problems import Problem
from ocs.backoffice.errors import Forbidden, Invalid, VersionConflict, VersionRequired
from ocs.patterns import in_words

if TYPE_CHECKING:
    from ocs.backoffice.backoffice import BackOffice

ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+-]{0,63}")
KEY: Final = re.compile(r"[!-~]{1,128}")
encode: Final = msgspec.json.Encoder(decimal_format="number").encode
ETAG: Final = re.compile(r'"(\d{1,18})"')
CURL: Final = "application/x-www-form-urlencoded"
"""What `curl -d` says of any body: where only JSON is taken it is read as that."""
MERGE: Final = "application/merge-patch+json"
"""RFC 7396: what a PATCH of ours is, whether it says so or not."""
DOCUMENTS_BYTES_MAX: Final = 64 << 20
"""For tariffs with their files: a price list of the whole world is 8 MB of CSV."""


class ApiReply(Struct, frozen=True):
    """An answer with status and headers besides its body."""

    value: Any
    status: int = 200
    version: int | None = None
    """SentRequest as ETag."""
    headers: dict[str, str] = {}
    media_type: str = "application/json"
    """Of a value that is a stream: octets as they come."""


class ApiCall(Struct, frozen=True):
    """A request, decoded and authorised."""

    backoffice: BackOffice
    authority: Authority
    operation: Operation
    path: dict[str, str]
    query: Any
    body: Any
    key: str
    """Idempotency-Key, scoped to the caller."""
    fingerprint: str
    """Of what was asked with it."""
    precondition: Precondition
    media_type: str
    last_event_id: str = ""
    """Of one who follows and comes again."""
    stream: AsyncIterator[bytes] | None = None
    """The body, of an operation that is `streamed`."""
    octets: bytes = b""
    """The body as it was sent, of one that is not."""

    @property
    def caller(self) -> str:
        """Whose request it is."""
        return self.authority.caller

    def check_revision(self, rev: int) -> None:
        """If-Match names the revision of an account; without it the change is made to what is there. Raises
        VersionConflict."""
        if self.precondition.match is not None:
            self.precondition.check(rev)

    def require(self, permission: str) -> None:
        """Raises Forbidden where the caller lacks a permission besides that of the operation."""
        if not self.authority.may(permission):
            raise Forbidden(f"{self.caller} lacks the permission {permission}")


class Operation(Struct, frozen=True):
    method: str
    path: str
    """As starlette writes it: `/v1/sessions/{id:path}`."""
    handle: Callable[[ApiCall], Awaitable[ApiReply]]
    summary: str
    permission: str
    """Of ocs.access.permissions; OPEN: it needs no token; KNOWN: any token will do."""
    answer: Any = None
    status: int = 200
    also: tuple[int, ...] = ()
    """Other statuses with the same answer."""
    body: Any = None
    """A Struct, or `bytes` for a body the handler reads itself."""
    media_types: tuple[str, ...] = ("application/json",)
    """Of a body that the handler reads itself."""
    body_bytes_max: int = 0
    """Where it takes more than `http.body_bytes_max`."""
    streamed: bool = False
    """Takes a body of any length, as it comes, each piece within `http.body_s`; answers as it goes on."""
    answer_media_type: str = "application/json"
    live: Callable[[ApiCall], Awaitable[Response]] | None = None
    """Answers instead where Accept asks for text/event-stream."""
    query: type[Struct] | None = None
    keyed: bool = False
    """Moves money: Idempotency-Key."""
    key_optional: bool = False
    """A standard that knows no such header names it: without one the request is done once each time it comes."""
    conditional: bool = False
    """An update: If-Match."""
    problems: tuple[str, ...] = ()
    """Besides those any operation may answer."""
    description: str = ""
    examples: dict[str, Any] = {}
    """Bodies by what they are for."""

    @property
    def name(self) -> str:
        return self.handle.__name__

    @property
    def open(self) -> bool:
        """Needs no token."""
        return self.permission == OPEN

    @property
    def can_wait(self) -> bool:
        """The configuration may let nobody do it alone."""
        return self.method != "GET" and can_wait(self.permission)

    @property
    def audited(self) -> bool:
        """It changes something that a person answers for; use that is charged is on the ledger."""
        return self.method != "GET" and not self.permission.endswith(".read") and self.permission != "charging.charge"

    @property
    def repeatable(self) -> bool:
        """Done twice it does what it did once."""
        return self.keyed or self.method != "POST"


class Precondition(Struct, frozen=True):
    """If-Match and If-None-Match (RFC 9110 section 13.1)."""

    match: frozenset[int] | None = None
    """None: not sent."""
    any: bool = False
    none: bool = False

    @classmethod
    def read(cls, if_match: str | None, if_none_match: str | None) -> Precondition:
        if if_none_match not in (None, "*"):
            raise Problem("malformed", "If-None-Match: only `*` (create, never update) is understood")
        if if_match is None:
            return cls(none=if_none_match == "*")
        if if_match.strip() == "*":
            return cls(any=True)
        found = [ETAG.fullmatch(tag.strip()) for tag in if_match.split(",")]
        if not all(found):
            raise Problem("malformed", 'If-Match: expected an ETag as it was given: "5"')
        return cls(frozenset(int(tag[1]) for tag in found if tag))

    def check(self, version: int | None) -> None:
        """Check whether a thing of this version (None: it does not exist) may be written; raises VersionConflict."""
        if self.none and version is not None:
            raise VersionConflict("it exists already", version=version)
        if version is None and (self.any or self.match is not None):
            raise VersionConflict("it does not exist")
        if self.match is not None and version not in self.match:
            raise VersionConflict(f"its version is {version} now: read it again", version=version)
        if version is not None and self.match is None and not self.any:
            raise VersionRequired(f"it exists, in version {version}: send If-Match", version=version)


class SentRequest(Struct, frozen=True):
    """What there is of a request, as it was sent."""

    path: dict[str, str]
    query: list[tuple[str, str]]
    media_type: str
    keys: list[str]
    """Idempotency-Key."""
    if_match: str | None
    if_none_match: str | None
    body: bytes


def call_of(operation: Operation, backoffice: BackOffice, authority: Authority, sent: SentRequest) -> ApiCall:
    """The call that was asked for. Raises Problem or BackOfficeError for what no operation can be asked."""
    path = {name: _checked(name, value) for name, value in sent.path.items()}
    query = _query(operation.query, sent.query)
    key, fingerprint = _key(operation, authority.caller, path, sent.keys, sent.body)
    return ApiCall(
        backoffice=backoffice,
        authority=authority,
        operation=operation,
        path=path,
        query=query,
        body=_body(operation, sent.body, sent.media_type),
        key=key,
        fingerprint=fingerprint,
        precondition=Precondition.read(sent.if_match, sent.if_none_match),
        media_type=sent.media_type,
        octets=sent.body,
    )


Wait = Callable[[ApiCall, SentRequest, str], Awaitable[Response]]
"""Puts a request on the list of those that a second person has to approve. Given the path too."""


Do = Callable[[ApiCall, str], Awaitable[ApiReply]]
"""Carries out a call. Given method and path too, where it is audited."""


async def perform(
    operation: Operation,
    backoffice: BackOffice,
    authority: Authority,
    request: Request,
    piece_s: float,
    wait: Wait,
    do: Do,
) -> Response:
    """
    piece_s: longest wait for the next piece of a body that is streamed
    do:      carries it out, on the audit trail
    """
    headers = heads_of(request.scope)
    sent = SentRequest(
        path=request.path_params,
        query=request.query_params.multi_items() if request.scope["query_string"] else [],
        media_type=headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower(),
        keys=_keys(headers, request) or _made_key(operation),
        if_match=_text(headers, b"if-match"),
        if_none_match=_text(headers, b"if-none-match"),
        body=await _whole(request.receive) if operation.body is not None and not operation.streamed else b"",
    )
    call = call_of(operation, backoffice, authority, sent)
    if operation.live is not None and b"text/event-stream" in headers.get(b"accept", b""):
        last = headers.get(b"last-event-id", b"").decode("latin-1")
        return await operation.live(structs.replace(call, last_event_id=last))
    if operation.streamed:
        call = structs.replace(call, stream=_pieces(request, piece_s))
    elif operation.can_wait and operation.permission in backoffice.access.waiting:
        return await wait(call, sent, request.url.path)
    target = f"{request.method} {request.url.path}" if operation.audited else ""
    return response_of(operation, await do(call, target))


def heads_of(scope: Scope) -> dict[bytes, bytes]:
    """Headers by name in lower case; of several of one name the first."""
    return dict(reversed(scope["headers"]))


def _text(headers: dict[bytes, bytes], name: bytes) -> str | None:
    value = headers.get(name)
    return None if value is None else value.decode("latin-1")


def _keys(headers: dict[bytes, bytes], request: Request) -> list[str]:
    return request.headers.getlist("idempotency-key") if b"idempotency-key" in headers else []


async def _whole(receive: Receive) -> bytes:
    """The body. Raises ClientDisconnect."""
    pieces = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        pieces.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(pieces) if len(pieces) > 1 else pieces[0]


def _made_key(operation: Operation) -> list[str]:
    """Where none was sent and none has to be. It stays with a request that waits for a second person, which may be
    carried out anew when a process has ended."""
    return [secrets.token_hex(16)] if operation.key_optional else []


def response_of(operation: Operation, reply: ApiReply) -> Response:
    if reply.version is None and not reply.headers and isinstance(reply.value, Struct):
        return JsonResponse(encode(reply.value), reply.status)
    extra = dict(reply.headers)
    if reply.version is not None:
        extra["ETag"] = f'"{reply.version}"'
    if isinstance(reply.value, AsyncGenerator):
        return StreamedResponse(reply.value, reply.status, extra, media_type=reply.media_type)
    content = b"" if reply.value is None else encode(reply.value)
    return Response(content, reply.status, extra, media_type="application/json" if content else None)


async def _pieces(request: Request, piece_s: float) -> AsyncIterator[bytes]:
    """Only the wait for the client is bounded: what is done with a piece takes as long as it takes."""
    pieces = aiter(request.stream())
    with contextlib.suppress(StopAsyncIteration):
        while True:
            try:
                async with asyncio.timeout(piece_s):
                    piece = await anext(pieces)
            except TimeoutError:
                raise Problem("malformed", f"nothing more came within {piece_s:g} s") from None
            yield piece


class JsonResponse(Response):
    """Most of all answers: no header but those of its body, which starlette would encode anew each time."""

    def __init__(self, body: bytes, status: int) -> None:
        self.body, self.status_code, self.media_type, self.background = body, status, "application/json", None
        self.raw_headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]


class StreamedResponse(Response):
    """A response sent piece by piece. Starlette's own class would read the request meanwhile, which the operation
    reads."""

    def __init__(
        self, pieces: AsyncGenerator[bytes, None], status: int, headers: dict[str, str], media_type: str
    ) -> None:
        self._pieces = pieces
        self.status_code, self.media_type, self.background = status, media_type, None
        self.init_headers(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with contextlib.aclosing(self._pieces) as pieces:
            async for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _checked(name: str, value: str) -> str:
    if name in ("id", "limit") and not ID.fullmatch(value):
        raise Invalid(name, f"up to 64 letters, digits and ._:@+- , found {value[:80]!r}")
    if name == "session":  # a network element's own text
        return value
    if len(value) > 512 or any(character < " " for character in value):
        raise Invalid(name, "not a name")
    return value


def _query(kind: type[Struct] | None, items: list[tuple[str, str]]) -> Any:
    given = dict(items)
    if len(given) != len(items):
        raise Invalid("", "a query parameter is given twice")
    if kind is None:
        if given:
            raise Invalid("", f"no query parameters here, found {', '.join(given)}")
        return None
    try:
        query = msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as why:
        raise Invalid("query", readable(why)) from None
    for field, name in zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True):
        if name in given:
            _check_literal(name, given[name], getattr(query, field))
    return query


def _check_literal(name: str, text: str, value: Any) -> None:
    """msgspec reads "1e2" and "5.0" as numbers, and "null" as if nothing was said."""
    if value is None:
        raise Invalid(name, "expected a value, or leave it out")
    if isinstance(value, int) and msgspec.json.encode(value).decode() != text:
        expected = "true or false" if isinstance(value, bool) else "a whole number in digits"
        raise Invalid(name, f"expected {expected}, found {text[:40]!r}")


def _body(operation: Operation, raw: bytes, media_type: str) -> Any:
    if operation.body is None:
        return raw
    if operation.body is bytes:
        if media_type not in operation.media_types:
            expected = " or ".join(operation.media_types)
            how = f"; with curl: -H 'Content-Type: {operation.media_types[0]}'" if media_type in ("", CURL) else ""
            raise Problem("media-type", f"expected {expected}, found {media_type or 'none'}{how}")
        return raw
    if media_type not in ("application/json", CURL, "") and not (media_type == MERGE and operation.method == "PATCH"):
        raise Problem("media-type", f"expected application/json, found {media_type}")
    try:
        body = msgspec.json.decode(raw, type=operation.body)
        each_once(raw)
    except msgspec.ValidationError as why:
        raise Invalid("", readable(why)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as why:
        raise Problem("malformed", f"not JSON: {why}") from None
    except Twice as why:
        raise Problem("malformed", str(why)) from None
    return body


def readable(why: msgspec.ValidationError) -> str:
    """`limit: expected int, got str` out of "Expected `int`, got `str` - at `$.limit`"."""
    field, what = field_and_fault(why)
    return f"{field}: {what}" if field else what


def field_and_fault(why: msgspec.ValidationError) -> tuple[str, str]:
    """The field ("" for the whole), and what is wrong with it in words."""
    what, _, path = in_words(str(why)).partition(" - at `")
    key, _, field = path.removesuffix("`").partition("$")
    field = ("a name in " if key else "") + field.removeprefix(".")
    what = what.replace("`", "")
    if unknown := re.fullmatch(r"Object contains unknown field (.+)", what):
        return ".".join(filter(None, (field, unknown[1]))), "there is no such field"
    if missing := re.fullmatch(r"Object missing required field (.+)", what):
        return ".".join(filter(None, (field, missing[1]))), "expected it to be given"
    return field, f"{what[0].lower()}{what[1:]}" if field else what


def _key(operation: Operation, caller: str, path: dict[str, str], keys: list[str], raw: bytes) -> tuple[str, str]:
    """The key as it is stored with the account, and a hash of what it was used for."""
    if not operation.keyed:
        return "", ""
    if len(keys) != 1:
        raise Problem("key-required", "send one Idempotency-Key, such as a UUID, and the same again when you repeat")
    if not KEY.fullmatch(keys[0]):
        raise Invalid("Idempotency-Key", "1 to 128 visible ASCII characters")
    about = hashlib.sha256(f"{operation.method} {operation.path} {sorted(path.items())}\n".encode() + canonical(raw))
    return request_key(caller, keys[0]), about.hexdigest()


def canonical(raw: bytes) -> bytes:
    """The same JSON, whatever the blanks and the order of its fields."""
    try:
        return msgspec.json.encode(msgspec.json.decode(raw), order="deterministic")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return raw  # refused a moment later
