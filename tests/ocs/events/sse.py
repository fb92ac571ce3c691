"""A client of server-sent events, by httpx, over a real socket."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import httpx
import msgspec

from ocs.api.auth import Callers
from ocs.api.server import application, serving
from ocs.config.http import Http
from tests.ocs.api_harness import TOKEN, ApiHarness

CEILING_S = 30


class SentEvent(NamedTuple):
    id: str
    event: str
    data: Any


@contextlib.asynccontextmanager
async def served(harness: ApiHarness, http: Http | None = None) -> AsyncIterator[str]:
    """Address of a server that listens."""
    http = http or Http()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with serving(application(harness.backoffice, Callers({TOKEN: "admin"}), http), listener, http):
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"


class Follower:
    """Reads one stream."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def next(self) -> SentEvent:
        """The next event; comments are passed over."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(CEILING_S):
            async for line in self._lines:
                if line and not line.startswith(":"):
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif not line and "data" in fields:
                    return SentEvent(fields["id"], fields["event"], msgspec.json.decode(fields["data"]))
        raise EOFError

    async def some(self, count: int) -> list[SentEvent]:
        return [await self.next() for _ in range(count)]


@contextlib.asynccontextmanager
async def following(address: str, query: str = "", last_id: str = "") -> AsyncIterator[Follower]:
    """Events as they come; the stream has begun."""
    headers = {"authorization": f"Bearer {TOKEN}", "accept": "text/event-stream"}
    if last_id:
        headers["last-event-id"] = last_id
    async with (
        httpx.AsyncClient(base_url=address, timeout=CEILING_S) as client,
        client.stream("GET", f"/v1/events{query}", headers=headers) as response,
    ):
        follower = Follower(response)
        if response.status_code == 200:
            async with asyncio.timeout(CEILING_S):
                assert await anext(follower._lines) == "retry: 2000"
        yield follower
