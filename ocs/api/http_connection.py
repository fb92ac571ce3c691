"""A connection of the HTTP server: uvicorn's, with bounds of ours, and a short way for requests that need no ASGI.

The parser itself would take a head without end, wait for one for ever, and keep as many connections as come.

The short way is taken by a request that is alone on its connection and whose head `ShortWay.takes`. Once its body is
here it is served from there, without a Task, or it is given to the application after all, and then it is as if it had
come at once: nothing has happened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from http import HTTPStatus
from typing import Any, Final, Protocol

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ocs.api.live import CUT
from ocs.config.http import Http
from ocs.net.room import ConnectionRoom
from ocs.net.tls import certified_names

CERTIFIED: Final = "ocs.certified"
"""In the scope: names in the client's certificate, where it showed one."""
HEAD_BYTES_MAX: Final = 65_536
STATUS_LINES: Final = {int(one): f"HTTP/1.1 {int(one)} {one.phrase}\r\n".encode() for one in HTTPStatus}


class RequestsUnderWay:
    """How many there are, on all connections of a process."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now = 0


class ShortWay(Protocol):
    """Who serves requests without ASGI (`templated_charging.TemplatedCharging`)."""

    under_way: RequestsUnderWay

    def takes(
        self, method: bytes, target: bytes, headers: list[tuple[bytes, bytes]], certified: Collection[str]
    ) -> Any:
        """What it needs of a head; None: it is not for the short way.

        headers:    their names in lower case
        certified:  names in the certificate of the client
        """

    def serves(self, head: Any, body: bytes, exchange: HttpExchange) -> bool:
        """Whether the request is served: then it is answered by `HttpExchange.answer`. Else nothing has happened."""

    def gone(self, head: Any) -> None:
        """Its client has gone away in the middle of the body."""


class _Nobody:
    """Waits for no event."""

    def set(self) -> None: ...


class HttpExchange:
    """A request on the short way, from the end of its head to its answer; in the place of uvicorn's cycle."""

    __slots__ = ("_connection", "body", "disconnected", "head", "keep_alive", "response_complete")

    message_event = _Nobody()

    def __init__(self, connection: HttpConnection, head: Any, *, keep_alive: bool) -> None:
        self._connection, self.head, self.keep_alive = connection, head, keep_alive
        self.body: list[bytes] = []
        self.disconnected = self.response_complete = False

    @property
    def address(self) -> str:
        """From where the connection comes."""
        client = self._connection.client
        return client[0] if client else ""

    def abort(self) -> None:
        """A fault of ours: nothing more can be said."""
        self._connection.transport.abort()

    def answer(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
        connection = self._connection
        connection.short_way.under_way.now -= 1
        transport = connection.transport
        self.response_complete = True
        if self.disconnected or transport.is_closing():
            return
        lines = [STATUS_LINES[status]]
        for name, value in headers:
            lines += name, b": ", value, b"\r\n"
        lines += b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n", body
        transport.write(b"".join(lines))
        if not self.keep_alive:
            transport.close()
        connection.on_response_complete()


class HttpConnection(HttpToolsProtocol):
    _in_head = True
    _ended = False
    """A head or a message ended in the octets at hand."""
    _head_bytes = 0
    _limit: asyncio.TimerHandle | None = None
    _certified: frozenset[str] = frozenset()

    _arriving: HttpExchange | None = None
    """On the short way, and its body is not all here."""

    def __init__(
        self,
        room: ConnectionRoom[HttpConnection],
        http: Http,
        streamed: Collection[str],
        short_way: ShortWay | None,
        *args: Any,
        **options: Any,
    ) -> None:
        """streamed: paths of operations that take a body of any length"""
        super().__init__(*args, **options)
        self._room, self._http, self._streamed, self._short_way = room, http, streamed, short_way

    @property
    def short_way(self) -> ShortWay:
        """Of an exchange that is on it."""
        assert self._short_way is not None
        return self._short_way

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        goes = self._room.enter(self, self.client[0] if self.client else "")
        if goes is not None:
            goes.transport.abort()
        certificate = transport.get_extra_info("peercert")
        self._certified = certified_names(certificate) if certificate else frozenset()
        self._within(self._http.head_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._room.leave(self)
        self._within(None)
        arriving, self._arriving = self._arriving, None
        if arriving is not None:
            self.short_way.under_way.now -= 1
            self.short_way.gone(arriving.head)
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """What the application is told of it is put together once it is known that it is for the application."""
        self.url, self.headers, self.expect_100_continue = b"", [], False

    def on_headers_complete(self) -> None:
        self._in_head, self._ended = False, True
        self._room.speaks(self)
        self._within(None)
        cycle: Any = self.cycle
        short_way = self._short_way
        if short_way is not None and (cycle is None or cycle.response_complete) and not self.flow.write_paused:
            parser = self.parser
            head = short_way.takes(parser.get_method(), self.url, self.headers, self._certified)
            if head is not None and parser.get_http_version() == "1.1":
                self._arriving = HttpExchange(self, head, keep_alive=parser.should_keep_alive())
                self.cycle = self._arriving  # type: ignore[assignment]
                short_way.under_way.now += 1
                return
        self._tell_application()

    def _tell_application(self) -> None:
        target, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = target, expects
        self.headers += headers
        self.scope[CERTIFIED] = self._certified  # type: ignore[typeddict-unknown-key]
        self.scope[CUT] = self.transport.abort  # type: ignore[typeddict-unknown-key]
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self._arriving is not None:
            self._arriving.body.append(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_head, self._ended = True, True
        self._within(None)
        arrived, self._arriving = self._arriving, None
        if arrived is not None:
            body = b"".join(arrived.body)
            if self.short_way.serves(arrived.head, body, arrived):
                return
            self._give_back(arrived, body)
        super().on_message_complete()
        if self.cycle.response_complete:  # refused before it was all here
            self._room.is_silent(self)

    def _give_back(self, arrived: HttpExchange, body: bytes) -> None:
        """To the application, as if it had just come."""
        self.short_way.under_way.now -= 1
        self.cycle = None  # type: ignore[assignment]
        self._tell_application()
        self.cycle.keep_alive &= arrived.keep_alive  # unless the server is leaving meanwhile
        super().on_body(body)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._in_head:  # answered before the body was all here: nobody reads it any more
            self._within(self._http.body_s)
        if self._in_head and not self.pipeline:
            self._room.is_silent(self)

    def data_received(self, data: bytes) -> None:
        self._ended = False
        super().data_received(data)
        if not self._in_head:
            self._wait_for_body()
        self._head_bytes = self._head_bytes + len(data) if self._in_head and not self._ended else 0
        if self._head_bytes > HEAD_BYTES_MAX:
            self.transport.abort()
        elif self._head_bytes and self._limit is None:  # the next head has begun
            self._within(self._http.head_s)

    def _wait_for_body(self) -> None:
        """A body of any length has a time limit for each of its pieces, kept by the operation that reads them."""
        if self._limit is None and (self._arriving is not None or self.scope["path"] not in self._streamed):
            self._within(self._http.body_s)

    def _within(self, seconds: float | None) -> None:
        """What has begun must be here by then."""
        if self._limit is not None:
            self._limit.cancel()
        self._limit = None if seconds is None else self.loop.call_later(seconds, self._late)

    def _late(self) -> None:
        self._limit = None
        self.transport.abort()
