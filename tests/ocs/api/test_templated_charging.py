"""Two servers get the same octets over real connections, one of which learns templates: what they answer, ask the store
and count is the same, however the octets come and whatever the store says."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from balances.keys import AccountKeys
from balances.redis.calls import Lost, NotSent
from balances.redis.pending import Pending
from balances.structs.charge import Charge, Flag, Reply
from ocs.access.roles import SHIPPED, CallerRole, authority_of
from ocs.access.token_book import TokenBook
from ocs.access.tokens import TokenRow, digest_of, token_text
from ocs.api.auth import Callers
from ocs.api.server import application, serving
from ocs.backoffice.charging import ChargingDesk
from ocs.backoffice.charging_templates import PlatformTemplates
from ocs.config.access import Access
from ocs.config.http import Http
from ocs.net.admission import Admission
from ocs.telemetry import metrics
from ocs.telemetry.metrics import Meter
from ocs.tracing.sighting import Sighting, read_sighting
from ocs.tracing.tracer import Tracer
from ocs.tracing.wish import TraceWish, pack_wish
from protocol.radius.dictionary import ATTRIBUTES
from tests.ocs.charging.world import EURO, World

ADMIN = "admin-token"
PLATFORM = token_text("0123456789ab", "a" * 43)
"""Of a caller `iptv` in the role `platform`."""
MB = 2**20
WAIT_S = 120
ROLES = {**SHIPPED, "slow": CallerRole(("charging.charge",), rate=2)}


class Row:
    """PostgreSQL, as far as tokens are looked up in it."""

    def __init__(self) -> None:
        self.row = TokenRow(
            id="0123456789ab",
            caller="iptv",
            roles=("platform",),
            digest=digest_of(PLATFORM),
            created_ms=1,
            created_by="admin",
            last_ms=2**62,
        )

    async def fetchrow(self, _sql: str, id_: str) -> dict[str, Any] | None:
        return msgspec.structs.asdict(self.row) if id_ == self.row.id else None


class PlatformServer(World):
    """The API of a process that charges; the store answers at once, or when told (`hold`)."""

    def __init__(self, templates_max: int, http: Http, admission: Admission) -> None:
        super().__init__()
        self.account("a1", 10**6 * EURO)
        self.meter, self.http = Meter(), http
        self.calls: list[tuple[Charge, bytes]] = []
        self.hold = False
        self.held_calls: list[tuple[Charge, bytes, Pending[Reply]]] = []
        self.replies: list[Reply | Exception] = []
        """What the store says next instead of what it would."""
        self.mark = Flag(0)
        self.why_not = ""
        self.jittered = 0
        self.context.jitter = self._jitter
        self.published: list[Sighting] = []
        self.tracer = Tracer(cast(Any, SimpleNamespace(command=self._publish)), "api 0", ATTRIBUTES)
        self.templates = PlatformTemplates(templates_max)
        self.desk = ChargingDesk(
            self.context,
            admission,
            lambda: self.now_ms,
            self.meter,
            lambda: self.why_not,
            self.tracer,
            self.templates,
        )
        self.rows = Row()
        self.book = TokenBook(self.rows, ROLES, lambda: self.now_ms)
        certified = {"box.example.net": authority_of("box", ["platform"], ROLES, credential="certificate")}
        backoffice: Any = SimpleNamespace(charging=self.desk, tags=("channel",), access=Access())
        self.callers = Callers({ADMIN: "admin"}, self.book, certificates=certified)
        self.app = application(backoffice, self.callers, http, self.meter)
        self.port = 0
        self.streams: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    def _jitter(self) -> int:
        self.jittered = (self.jittered + 619) % 1_001
        return self.jittered

    def _publish(self, *words: Any) -> Pending[Any]:
        self.published.append(read_sighting(words[2]))
        pending = Pending[Any]()
        pending.resolve(1)
        return pending

    def trace(self) -> None:
        """Somebody watches the subscriber."""
        wish = TraceWish("t1", "anna", 0, 2**60, identities=("msisdn:491700000001",))
        self.tracer.looked([[b"t1", pack_wish(wish)]])

    def charge(self, charge: Charge, context: bytes, of: AccountKeys | None = None) -> Pending[Reply]:
        self.calls.append((charge, context))
        pending = Pending[Reply]()
        if self.hold:
            self.held_calls.append((charge, context, pending))
        else:
            self.settle(charge, context, pending)
        return pending

    def settle(self, charge: Charge, context: bytes, pending: Pending[Reply]) -> None:
        said = self.replies.pop(0) if self.replies else None
        if isinstance(said, Exception):
            pending.fail(said)
        elif said is not None:
            pending.resolve(said)
        else:
            super().charge(charge, context).then(lambda reply, _error: pending.resolve(self._marked(reply)))

    def _marked(self, reply: Reply) -> Reply:
        reply.marks |= self.mark
        return reply

    def release(self) -> None:
        while self.held_calls:
            self.settle(*self.held_calls.pop(0))

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        streams = await asyncio.open_connection("127.0.0.1", self.port)
        self.streams.append(streams)
        return streams

    def counted(self) -> dict[tuple[str, tuple[str, ...]], int]:
        """Every metric; of durations how many there were."""
        found = {}
        for series in self.meter.snapshot():
            if series.name != metrics.BY_TEMPLATE.name:
                values = series.values[:-1] if len(series.values) > 1 else series.values
                found[series.name, series.labels] = sum(values)
        return found


class PlatformPair:
    """The same for both."""

    def __init__(self, http: Http, in_flight_max: int = 1_000) -> None:
        self.plain = PlatformServer(0, http, Admission(in_flight_max, in_flight_max))
        self.learning = PlatformServer(1_000, http, Admission(in_flight_max, in_flight_max))

    @property
    def served(self) -> int:
        """By templates."""
        return self.learning.templates.served

    def both(self, what: Callable[[PlatformServer], object]) -> None:
        what(self.plain)
        what(self.learning)

    async def sent(self, *pieces: bytes, answers: int = 1) -> list[bytes]:
        """What both answer, on a new connection each."""
        found = [await self._answers(server, pieces, answers) for server in (self.plain, self.learning)]
        self.compare()
        assert found[0] == found[1]
        return found[0]

    async def _answers(self, server: PlatformServer, pieces: tuple[bytes, ...], answers: int) -> list[bytes]:
        reader, writer = await server.connect()
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        found = [await answer_in(reader) for _ in range(answers)]
        writer.close()
        return found

    def compare(self) -> None:
        """What both asked the store, and what they counted."""
        pack = msgspec.msgpack.encode
        assert [pack(one) for one in self.learning.calls] == [pack(one) for one in self.plain.calls]
        assert self.learning.counted() == self.plain.counted()
        assert self.learning.app.under_way.now == self.plain.app.under_way.now
        assert self.learning.desk.admission.in_flight == self.plain.desk.admission.in_flight

    async def learn(self) -> None:
        """A session like those of the tests."""
        await self.sent(start("first"))
        for number in (1, 2):
            await self.sent(update("first", number))
        await self.sent(stop("first", 3))
        assert len(self.learning.templates) == 3


async def answer_in(reader: asyncio.StreamReader) -> bytes:
    """The next one, head and body."""
    async with asyncio.timeout(WAIT_S):
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        return head + (await reader.readexactly(int(length[1])) if length else b"")


@contextlib.asynccontextmanager
async def pair_of(http: Http | None = None, in_flight_max: int = 1_000) -> AsyncIterator[PlatformPair]:
    pair = PlatformPair(http or Http(), in_flight_max)
    async with contextlib.AsyncExitStack() as stack:
        for server in (pair.plain, pair.learning):
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            server.port = listener.getsockname()[1]
            await stack.enter_async_context(serving(server.app, listener, server.http))
        try:
            yield pair
        finally:
            for server in (pair.plain, pair.learning):
                server.hold = False
                server.release()
                for _, writer in server.streams:
                    writer.close()


@pytest.fixture
async def pair() -> AsyncIterator[PlatformPair]:
    async with pair_of() as made:
        yield made


def octets(path: str, body: dict[str, Any], token: str = ADMIN, *heads: str, version: str = "1.1") -> bytes:
    content = msgspec.json.encode({"service": "data", "identity": "msisdn:491700000001"} | body)
    head = [f"POST /v1/charging/sessions{path} HTTP/{version}", "Host: ocs", *heads]
    if token:
        head.append(f"Authorization: Bearer {token}")
    head += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    return "\r\n".join([*head, "", ""]).encode() + content


def line(used: int = 0, wanted: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = {"rating_group": 10}
    if used:
        found["used"] = {"octets": used * MB}
    return found | ({"requested": {"octets": wanted * MB}} if wanted else {})


def start(session: str, token: str = ADMIN, *heads: str, key: str = "", **more: Any) -> bytes:
    heads = (*heads, f"Idempotency-Key: {key or session}")
    return octets("", {"id": session, "lines": [line(wanted=10)]} | more, token, *heads)


def update(session: str, number: int, token: str = ADMIN, *heads: str, used: int = 3, version: str = "1.1") -> bytes:
    body = {"number": number, "lines": [line(used, 10)]}
    return octets(f"/{session}/update", body, token, *heads, version=version)


def stop(session: str, number: int, token: str = ADMIN) -> bytes:
    return octets(f"/{session}/stop", {"number": number, "lines": [line(1)]}, token)


async def test_sessions_are_served_by_templates_and_nobody_can_tell(pair: PlatformPair) -> None:
    await pair.learn()
    for session in ("s1", "s2"):
        (begun,) = await pair.sent(start(session))
        assert begun.startswith(b"HTTP/1.1 201 Created\r\ncontent-length: ")
        for number in range(1, 5):
            await pair.sent(update(session, number, used=number))
        (ended,) = await pair.sent(stop(session, 5))
        assert b'"cost":"0.11"' in ended
    assert pair.served == 1 + 12


async def test_several_requests_in_one_read(pair: PlatformPair) -> None:
    """Answered in their order, also beside requests that are for the application."""
    await pair.learn()
    asked = [start("s1"), update("s1", 1), b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n", update("s1", 2), stop("s1", 3)]
    answers = await pair.sent(b"".join(asked), answers=5)
    assert [answer.split(b" ", 2)[1] for answer in answers] == [b"201", b"200", b"200", b"200", b"200"]
    assert b'"cost":"0.07"' in answers[-1]
    assert pair.served >= 2
    served = pair.served
    await pair.sent(start("s2"), answers=1)
    assert pair.served == served + 1


async def test_requests_behind_one_that_waits_for_the_store(pair: PlatformPair) -> None:
    await pair.learn()
    pair.both(lambda server: setattr(server, "hold", True))
    for server in (pair.plain, pair.learning):
        before = len(server.calls)
        reader, writer = await server.connect()
        writer.write(start("s1") + update("s1", 1) + stop("s1", 2))
        await until(has_called, server, before)
        assert len(server.calls) == before + 1, "one after the other"
        server.hold = False
        server.release()
        assert [(await answer_in(reader))[:15] for _ in range(3)] == [b"HTTP/1.1 201 Cr", *[b"HTTP/1.1 200 OK"] * 2]
    pair.compare()


@pytest.mark.parametrize("size", [1, 7, 150])
async def test_a_request_split_over_many_reads(pair: PlatformPair, size: int) -> None:
    await pair.learn()
    whole = start("s1") + update("s1", 1) + stop("s1", 2)
    pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
    before = pair.served
    answers = await pair.sent(*pieces, answers=3)
    assert b'"cost":"0.04"' in answers[-1]
    assert pair.served > before


async def until(is_so: Callable[..., bool], *of: Any) -> None:
    async with asyncio.timeout(WAIT_S):
        while not is_so(*of):
            await asyncio.sleep(0.001)


def has_called(server: PlatformServer, before: int) -> bool:
    return len(server.calls) > before


def serves(server: PlatformServer, requests: int) -> bool:
    return server.app.under_way.now == requests


def has_ended(reader: asyncio.StreamReader) -> bool:
    return reader.at_eof() or reader.exception() is not None


@pytest.mark.parametrize("leaves", ["in the body", "before the answer"])
async def test_a_client_that_goes_away(pair: PlatformPair, leaves: str) -> None:
    """What it asked is done all the same; nothing counts as under way any more."""
    await pair.learn()
    for server in (pair.plain, pair.learning):
        before = len(server.calls)
        server.hold = True
        reader, writer = await server.connect()
        asked = start("s1")
        if leaves == "in the body":
            writer.write(asked[:-5])
            await until(serves, server, 1)
        else:
            writer.write(asked)
            await until(has_called, server, before)
        writer.transport.abort()
        await until(has_ended, reader)
        if leaves == "before the answer":
            await asyncio.sleep(0.05)  # the server may hear of it, or not yet: it must not matter
            server.hold = False
            server.release()
        await until(serves, server, 0)
        assert len(server.calls) == before + (leaves == "before the answer")
        server.hold = False
    pair.compare()
    await pair.sent(start("s1"))


SAID: dict[str, Callable[[PlatformServer], object]] = {
    "busy": lambda server: server.replies.append(NotSent("the store is away")),
    "lost": lambda server: server.replies.append(Lost("cut")),
    "absent": lambda server: server.replies.append(Reply("absent")),
    "full": lambda server: server.replies.append(Reply("full")),
    "elsewhere": lambda server: server.replies.append(Reply("elsewhere")),
    "a fault of ours": lambda server: server.replies.append(RuntimeError("planted")),
    "marked": lambda server: setattr(server, "mark", Flag.LATE),
    "conflict": lambda server: setattr(server, "mark", Flag.CONFLICT),
    "no money": lambda server: server.account("a1", 1),
    "low": lambda server: server.account("a1", 35_000),
    "no tariffs": lambda server: setattr(server, "why_not", "tariffs are not loaded yet"),
}


@pytest.mark.parametrize("said", SAID)
@pytest.mark.parametrize("what", ["start", "update", "stop"])
async def test_whatever_the_store_says(pair: PlatformPair, said: str, what: str) -> None:
    await pair.learn()
    await pair.sent(start("s1"))
    asked = {"start": start("s2"), "update": update("s1", 1), "stop": stop("s1", 1)}[what]
    pair.both(SAID[said])
    await pair.sent(asked)
    pair.both(lambda server: setattr(server, "mark", Flag(0)))
    pair.both(lambda server: setattr(server, "why_not", ""))
    await pair.sent(asked)


async def test_a_repeat_gets_the_same_answer_and_another_content_none(pair: PlatformPair) -> None:
    await pair.learn()
    await pair.sent(start("s1"))
    first = await pair.sent(update("s1", 1))
    assert await pair.sent(update("s1", 1)) == first
    (refused,) = await pair.sent(update("s1", 1, used=4))
    assert refused.startswith(b"HTTP/1.1 409")
    assert b'"instance":"/v1/charging/sessions/s1/update"' in refused
    assert b"content-type: application/problem+json" in refused


ODD: dict[str, bytes] = {
    "chunked": b"POST /v1/charging/sessions/s1/update HTTP/1.1\r\nHost: ocs\r\nAuthorization: Bearer admin-token\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
    % (len(update("s1", 1).partition(b"\r\n\r\n")[2]), update("s1", 1).partition(b"\r\n\r\n")[2]),
    "a query": update("s1", 1).replace(b"/update ", b"/update?a=1 "),
    "escapes": update("s1", 1).replace(b"/s1/", b"/%731/"),
    "absolute": update("s1", 1).replace(b"POST /", b"POST http://ocs/"),
    "another method": update("s1", 1).replace(b"POST", b"PUT"),
    "no such path": update("s1", 1).replace(b"/update", b"/updates"),
    "a long id": update("s" * 65, 1),
    "another media type": update("s1", 1).replace(b"application/json", b"text/plain"),
    "a charset": update("s1", 1).replace(b"application/json", b"application/json; charset=utf-8"),
    "no token": update("s1", 1, ""),
    "a wrong token": update("s1", 1, "nothing"),
    "another scheme": update("s1", 1).replace(b"Bearer", b"Basic"),
    "two tokens": update("s1", 1, ADMIN, "Authorization: Bearer wrong"),
    "if-match": update("s1", 1, ADMIN, "If-Match: nonsense"),
    "not JSON": update("s1", 1).replace(b'"number":', b'"number";'),
    "a member twice": update("s1", 1).replace(b'"number":1', b'"number":1,"number":1').replace(b": 1", b": 1"),
    "number 0": update("s1", 0),
    "nobody": update("s1", 1).replace(b"491700000001", b"491700000009"),
    "HTTP/1.0": update("s1", 1, version="1.0"),
    "close": update("s1", 1, ADMIN, "Connection: close"),
    "a start without a key": start("s9").replace(b"Idempotency-Key", b"X-Key"),
    "a start with a bad key": start("s9", key="a b"),
    "a start with two keys": start("s9", ADMIN, "Idempotency-Key: k"),
    "no host": update("s1", 1).replace(b"Host: ocs\r\n", b""),
    "an upgrade": update("s1", 1, ADMIN, "Connection: Upgrade", "Upgrade: websocket"),
    "a long head": update("s1", 1, ADMIN, "X-Long: " + "a" * 30_000),
    "no HTTP": b"\x16\x03\x01 nothing of ours\r\n\r\n",
}


@pytest.mark.parametrize("odd", ODD)
async def test_what_is_odd_about_http_is_answered_as_ever(pair: PlatformPair, odd: str) -> None:
    await pair.learn()
    await pair.sent(start("s1"))
    asked = ODD[odd]
    if odd == "a member twice":
        content = update("s1", 1).partition(b"\r\n\r\n")[2].replace(b'"number":1', b'"number":1,"number":1')
        asked = re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % len(content), asked.partition(b"\r\n\r\n")[0])
        asked += b"\r\n\r\n" + content
    await pair.sent(asked)
    await pair.sent(update("s1", 2))


async def test_who_waits_to_be_told_to_continue_is_told(pair: PlatformPair) -> None:
    await pair.learn()
    await pair.sent(start("s1"))
    head, _, content = update("s1", 1, ADMIN, "Expect: 100-continue").partition(b"\r\n\r\n")
    for server in (pair.plain, pair.learning):
        reader, writer = await server.connect()
        writer.write(head + b"\r\n\r\n")
        async with asyncio.timeout(WAIT_S):
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(content)
        assert (await answer_in(reader)).startswith(b"HTTP/1.1 200")
    pair.compare()


async def test_a_connection_that_is_to_be_closed_is_closed(pair: PlatformPair) -> None:
    await pair.learn()
    await pair.sent(start("s1"))
    before = pair.served
    for server in (pair.plain, pair.learning):
        reader, writer = await server.connect()
        writer.write(update("s1", 1, ADMIN, "Connection: close"))
        async with asyncio.timeout(WAIT_S):
            whole = await reader.read()
        assert b"\r\nconnection: close\r\n" in whole
        assert b'"cost":"0.03"' in whole
    assert pair.served == before + 1


async def test_a_body_that_never_comes_ends_the_connection() -> None:
    async with pair_of(Http(body_s=1)) as pair:
        await pair.learn()
        for server in (pair.plain, pair.learning):
            reader, writer = await server.connect()
            writer.write(start("s1")[:-5])
            async with asyncio.timeout(WAIT_S):
                assert await reader.read() == b""
            await until(serves, server, 0)
        pair.compare()


async def test_bodies_have_an_end() -> None:
    async with pair_of(Http(body_bytes_max=1_024)) as pair:
        await pair.learn()
        for session in ("s1", "s2"):
            asked = start(session, facts={"apn": "a" * 120}, tags={"channel": "b" * 200})
            assert len(asked) < 1_000
            await pair.sent(asked)
        assert pair.served == 1
        long = start("s4").replace(b'"lines"', b" " * 2_000 + b'"lines"')
        content = long.partition(b"\r\n\r\n")[2]
        long = re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % len(content), long)
        (refused,) = await pair.sent(long)
        assert refused.startswith(b"HTTP/1.1 413")


async def test_overload_refuses_what_is_new_first_and_then_reports() -> None:
    async with pair_of(in_flight_max=20) as pair:
        await pair.learn()
        await pair.sent(start("s0"))
        pair.both(lambda server: setattr(server, "hold", True))
        for server in (pair.plain, pair.learning):
            streams = []
            for number in range(16):
                before = len(server.calls)
                streams.append(await server.connect())
                streams[-1][1].write(start(f"t{number}"))
                await until(has_called, server, before)
            reader, writer = await server.connect()
            writer.write(start("u"))
            assert (await answer_in(reader)).startswith(b"HTTP/1.1 503")
            before = len(server.calls)
            writer.write(update("s0", 1))
            await until(has_called, server, before)
            server.hold = False
            server.release()
            assert (await answer_in(reader)).startswith(b"HTTP/1.1 200")
            for begun, _ in streams:
                assert (await answer_in(begun)).startswith(b"HTTP/1.1 201")
        pair.compare()


async def test_so_many_at_once_and_no_more() -> None:
    async with pair_of(Http(in_flight_max=1)) as pair:
        await pair.learn()
        for server in (pair.plain, pair.learning):
            server.hold = True
            first, writer = await server.connect()
            writer.write(start("s1"))
            await until(serves, server, 1)
            second, writer = await server.connect()
            writer.write(start("s2"))
            busy = await answer_in(second)
            assert (busy[:12], b"urn:ocs:problem:busy" in busy) == (b"HTTP/1.1 503", True)
            server.hold = False
            server.release()
            assert (await answer_in(first)).startswith(b"HTTP/1.1 201")
        pair.compare()


async def test_a_token_is_one_as_long_as_it_is_good(pair: PlatformPair) -> None:
    await pair.sent(start("p0", PLATFORM))
    before = pair.served
    await pair.sent(start("p1", PLATFORM))
    await pair.sent(start("p2", PLATFORM))
    assert pair.served == before + 2
    assert pair.learning.calls[-1][0].session == "http:iptv;p2"
    pair.both(lambda server: setattr(server.rows, "row", msgspec.structs.replace(server.rows.row, revoked_ms=1)))
    pair.both(lambda server: server.book.forget("0123456789ab"))
    (refused,) = await pair.sent(start("p3", PLATFORM))
    assert refused.startswith(b"HTTP/1.1 401")


async def test_a_token_is_looked_at_again_in_time(pair: PlatformPair) -> None:
    await pair.sent(start("p0", PLATFORM))
    await pair.sent(start("p1", PLATFORM))
    pair.both(
        lambda server: setattr(server.rows, "row", msgspec.structs.replace(server.rows.row, scopes=("charging.read",)))
    )
    pair.both(lambda server: setattr(server, "now_ms", server.now_ms + 6_000))
    (refused,) = await pair.sent(start("p3", PLATFORM))
    assert (refused[:12], b"lacks the permission charging.charge" in refused) == (b"HTTP/1.1 403", True)


async def test_the_rate_of_a_caller_counts_both_ways(pair: PlatformPair, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("ocs.api.server", "ocs.api.templated_charging"):
        monkeypatch.setattr(f"{module}.monotonic_us", lambda: 10**12)
    pair.both(lambda server: setattr(server.rows, "row", msgspec.structs.replace(server.rows.row, roles=("slow",))))
    assert [(await pair.sent(start(f"p{number}", PLATFORM)))[0][9:12] for number in range(4)] == [
        *(b"201", b"201", b"429", b"429")
    ]
    assert pair.served == 1


async def test_who_is_watched_is_seen(pair: PlatformPair) -> None:
    await pair.learn()
    pair.both(lambda server: server.trace())
    await pair.sent(start("s1"))
    for server in (pair.plain, pair.learning):
        (seen,) = server.published
        assert (seen.protocol, seen.peer, seen.session) == ("http", "http:admin", "http:admin;s1")
        assert seen.answer is not None
        assert [call.status for call in seen.calls] == ["ok"]
        server.subscriber("msisdn:491700000002", account="a2")
    before = pair.served
    for number in range(3):
        other = start(f"o{number}").replace(b"491700000001", b"491700000002")
        await pair.sent(other)
    assert pair.served > before, "others are not slowed"
    for server in (pair.plain, pair.learning):
        assert len(server.published) == 1
        wish = TraceWish("t2", "anna", 0, 2**60, peer="127.0.0.1")
        server.tracer.looked([[b"t2", pack_wish(wish)]])
    await pair.sent(start("o9").replace(b"491700000001", b"491700000002"))
    assert [len(server.published) for server in (pair.plain, pair.learning)] == [2, 2]


async def test_who_leaves_finishes_what_is_under_way() -> None:
    """At shutdown a request that waits for the store is answered, and its connection is closed."""
    for templates_max in (0, 100):
        server = PlatformServer(templates_max, Http(), Admission(100, 100))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            server.port = listener.getsockname()[1]
            async with contextlib.AsyncExitStack() as stack:
                await stack.enter_async_context(serving(server.app, listener, server.http))
                reader, writer = await server.connect()
                for session in ("s1", "s2"):
                    writer.write(start(session))
                    await answer_in(reader)
                server.hold = True
                before = len(server.calls)
                writer.write(start("s3"))
                await until(has_called, server, before)
                leaving = asyncio.ensure_future(stack.aclose())
                await asyncio.sleep(0.2)
                server.hold = False
                server.release()
                async with asyncio.timeout(WAIT_S):
                    whole = await reader.read()
                    await leaving
                assert b"HTTP/1.1 201" in whole
                assert b"\r\nconnection: close\r\n" in whole
                assert server.templates.served == (2 if templates_max else 0)
                writer.close()


async def test_a_fault_of_ours_is_answered_and_counted(
    pair: PlatformPair, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await pair.learn()
    before = pair.learning.desk.admission.in_flight

    def broken(*_: object) -> bytes:
        raise RuntimeError("planted")

    monkeypatch.setattr("ocs.charging.http.template.ReplyTemplate.octets", broken)
    reader, writer = await pair.learning.connect()
    writer.write(start("s1"))
    assert (await answer_in(reader)).startswith(b"HTTP/1.1 500")
    assert pair.learning.desk.admission.in_flight == before
    assert pair.learning.app.under_way.now == 0
    monkeypatch.undo()
    writer.write(start("s2"))
    assert (await answer_in(reader)).startswith(b"HTTP/1.1 201")


async def test_who_is_not_let_in_is_told_before_its_body_is_here(pair: PlatformPair) -> None:
    """Or anybody could have as many requests under way as there may be."""
    await pair.learn()
    for token, status in (("wrong", b"401"), (ADMIN, b"")):
        for server in (pair.plain, pair.learning):
            reader, writer = await server.connect()
            writer.write(start("s1", token)[:-5])
            if status:
                assert (await answer_in(reader))[9:12] == status
                await until(serves, server, 0)
            else:
                await until(serves, server, 1)
            writer.transport.abort()
            await until(serves, server, 0)
    pair.compare()


async def test_who_comes_with_a_certificate_is_known_at_once(pair: PlatformPair) -> None:
    callers = pair.learning.callers
    assert callers.at_hand("", {"other.example.net"}) is None
    known = callers.at_hand("", {"box.example.net"})
    assert known == await callers.authority(None, "", {"box.example.net"})
    assert callers.at_hand(f"Bearer {PLATFORM}") is None, "it is not looked up yet"
    for token in (ADMIN, PLATFORM):
        known = await callers.authority(f"Bearer {token}", "192.0.2.1")
        assert callers.at_hand(f"bearer {token}") == msgspec.structs.replace(known, address="")
    assert callers.at_hand("Bearer wrong", {"box.example.net"}) is None


async def test_who_leaves_waits_for_a_body_that_is_on_its_way() -> None:
    """Also of a request that is given to the application after all."""
    server = PlatformServer(100, Http(), Admission(100, 100))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server.port = listener.getsockname()[1]
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(serving(server.app, listener, server.http))
            reader, writer = await server.connect()
            writer.write(start("s1"))
            await answer_in(reader)
            asked = start("s2", tags={})
            writer.write(asked[:-5])
            await until(serves, server, 1)
            leaving = asyncio.ensure_future(stack.aclose())
            await asyncio.sleep(0.2)
            writer.write(asked[-5:])
            async with asyncio.timeout(WAIT_S):
                whole = await reader.read()
                await leaving
            assert b"HTTP/1.1 201" in whole
            assert b"\r\nconnection: close\r\n" in whole
            assert server.templates.served == 0
            writer.close()
