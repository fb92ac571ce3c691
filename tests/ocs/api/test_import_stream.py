"""Import over a real connection: read as it comes, answered meanwhile, cut anywhere."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ocs.api import import_file
from ocs.api.auth import Callers
from ocs.api.import_file import LINE_BYTES_MAX, lines_of
from ocs.api.server import application, serving
from ocs.config.http import Http
from tests.ocs.api.imports import as_lines, person
from tests.ocs.api_harness import TOKEN, ApiHarness

WAIT_S = 30.0
HEAD = (
    "POST /v1/import HTTP/1.1\r\nHost: ocs\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n"
    "Authorization: Bearer {token}\r\n\r\n"
)


class Sender:
    """A client that says when it sends what."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, octets: bytes) -> None:
        self.writer.write(b"%x\r\n%b\r\n" % (len(octets), octets))
        await self.writer.drain()

    async def event(self) -> dict[str, Any]:
        """The next line of the answer, which is a chunk of its own."""
        while True:
            line = await asyncio.wait_for(self.reader.readline(), WAIT_S)
            assert line, "the answer ended"
            if line.startswith(b"{"):
                return dict(json.loads(line))


@contextlib.asynccontextmanager
async def sender(harness: ApiHarness, http: Http = Http(), token: str = TOKEN) -> AsyncIterator[tuple[Sender, Any]]:  # noqa: B008
    app = application(harness.backoffice, Callers({TOKEN: "admin"}), http)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with serving(app, listener, http):
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(HEAD.format(token=token).encode())
            try:
                yield Sender(reader, writer), app
            finally:
                writer.close()


@pytest.fixture
async def harness(harness: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> ApiHarness:
    await harness.tariff()
    monkeypatch.setattr(import_file, "BATCH_LINES", 2)
    return harness


async def until(condition: Any) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.01)


async def test_it_is_answered_while_it_is_sent(harness: ApiHarness) -> None:
    async with sender(harness) as (client, _):
        await client.send(as_lines([person(1), person(2), person(3)])[:-5])
        await client.send(as_lines([person(3)])[-5:] + as_lines([person(4)]))
        assert (await client.event())["lines"] == 2
        assert (await harness.call("GET", "/v1/accounts/a1")).status_code == 200
        await client.send(as_lines([person(5)]))
        client.writer.write(b"0\r\n\r\n")
        seen = [await client.event() for _ in range(3)]
        assert [(event["event"], event["lines"]) for event in seen] == [("progress", 4), ("progress", 5), ("done", 5)]


async def test_a_file_may_be_longer_than_any_other_body(harness: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_file, "BATCH_LINES", 2_000)
    async with sender(harness, Http(body_bytes_max=1_024)) as (client, _):
        await client.send(as_lines([{"account": {"id": f"a{at}", "currency": "EUR"}} for at in range(500)]))
        client.writer.write(b"0\r\n\r\n")
        assert (await client.event())["accounts_created"] == 500


async def test_what_was_cut_off_is_not_taken_for_a_line(harness: ApiHarness) -> None:
    async with sender(harness) as (client, app):
        whole = {"account": {"id": "a3", "currency": "EUR"}}
        await client.send(as_lines([person(1), person(2)]))
        await client.send(as_lines([whole])[:-1])  # all of it but its end
        await client.send(as_lines([whole])[-1:] + b'{"account":{"id":"a4","currency":"EUR"}}')
        await until(lambda: app.under_way.now == 1)
        client.writer.transport.abort()
        await until(lambda: app.under_way.now == 0)
    assert (await harness.call("GET", "/v1/accounts/a4")).status_code == 404


async def test_who_sends_no_more_is_not_waited_for(harness: ApiHarness) -> None:
    async with sender(harness, Http(body_s=1)) as (client, _):
        await client.send(as_lines([person(1), person(2)]) + b'{"account"')
        assert (await client.event())["event"] == "progress"
        last = await client.event()
        assert (last["event"], last["lines"], last["problem"]) == ("stopped", 2, "urn:ocs:problem:malformed")
        assert "nothing more came within 1 s" in last["detail"]


async def test_without_the_token_nothing_is_read(harness: ApiHarness) -> None:
    async with sender(harness, Http(body_s=1), token="no") as (client, _):
        assert (await asyncio.wait_for(client.reader.readline(), WAIT_S)).startswith(b"HTTP/1.1 401")
        await asyncio.wait_for(client.reader.read(), WAIT_S)  # and the connection has an end


async def test_a_line_without_an_end_is_not_kept() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"first\nsec"
        yield b"ond\r\n"
        for _ in range(100):
            yield b"x" * LINE_BYTES_MAX
        yield b"y\nlast"

    assert [line async for line in lines_of(pieces())] == [b"first", b"second", None, b"last"]
