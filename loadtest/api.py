"""The part of the public HTTP API that the simulator uses: a few keep-alive connections, JSON in and out."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import quote, urlencode, urlsplit

import msgspec

ANSWER_S_MAX = 600.0
"""The proof of the ledger of 600,000 accounts takes a minute."""
HEAD_BYTES_MAX = 65_536
IDLE_S_MAX = 3.0
"""A connection that was idle for longer is not used again: a server closes it (ours after 5 s), and who was busy
meanwhile does not know it yet."""
NDJSON = "application/x-ndjson"
_each_line = msgspec.json.Decoder()


class ApiError(Exception):
    """The API could not be reached or said no; the text is for the user."""

    def __init__(self, why: str, status: int = 0) -> None:
        super().__init__(why)
        self.status = status


class HttpReply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: Any


class KeptConnection(NamedTuple):
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    used_s: float
    """When it was last used, by the clock of the event loop."""


class Api:
    """`async with Api("http://127.0.0.1:8080", token) as api: await api.get("/v1/accounts/x")`"""

    def __init__(self, url: str, token: str, *, connections: int = 16) -> None:
        parts = urlsplit(url if "//" in url else f"http://{url}")
        if parts.scheme != "http" or not parts.hostname:
            raise ApiError(f"{url!r} is no http:// address")
        self._host, self._port, self._token = parts.hostname, parts.port or 80, token
        self._free: asyncio.Queue[KeptConnection | None] = asyncio.Queue()
        for _ in range(connections):
            self._free.put_nowait(None)  # made when first wanted

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while not self._free.empty():
            if (kept := self._free.get_nowait()) is not None:
                kept.writer.close()

    async def get(self, *path: str, **query: object) -> Any:
        reply = await self.call("GET", path, query=query)
        return self._body(reply, path, {200})

    async def find(self, *path: str) -> HttpReply | None:
        """None when there is no such thing."""
        reply = await self.call("GET", path)
        if reply.status == 404:
            return None
        self._body(reply, path, {200})
        return reply

    async def put(self, *path: str, body: object, match: str | None = None) -> Any:
        headers = {} if match is None else {"If-Match": match}
        return self._body(await self.call("PUT", path, body=body, headers=headers), path, {200, 201, 204})

    async def post(self, *path: str, body: object, key: str | None = None) -> Any:
        headers = {} if key is None else {"Idempotency-Key": key}
        return self._body(await self.call("POST", path, body=body, headers=headers), path, {200, 201, 202})

    async def post_lines(self, *path: str, lines: Iterable[object], **query: object) -> list[Any]:
        """A JSON object per line, and the same back."""
        content = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
        reply = await self.call("POST", path, query=query, body=content, headers={"Content-Type": NDJSON})
        found: list[Any] = self._body(reply, path, {200})
        return found

    async def call(
        self,
        method: str,
        path: tuple[str, ...],
        *,
        query: dict[str, object] | None = None,
        body: object = None,
        headers: dict[str, str] | None = None,
    ) -> HttpReply:
        target = "/" + "/".join(quote(part, safe="") for part in path)
        if query := {name: value for name, value in (query or {}).items() if value is not None}:
            target += "?" + urlencode(query)
        content = b"" if body is None else body if isinstance(body, bytes) else msgspec.json.encode(body)
        lines = {
            "Host": f"{self._host}:{self._port}",
            "Authorization": f"Bearer {self._token}",
            "Content-Length": str(len(content)),
            **({"Content-Type": "application/json"} if content else {}),
            **(headers or {}),
        }
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        async with self._connection() as (reader, writer):
            writer.write(head.encode() + b"\r\n" + content)
            async with asyncio.timeout(ANSWER_S_MAX):
                return await _reply(reader)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        kept, loop = await self._free.get(), asyncio.get_running_loop()
        try:
            if kept is not None and (kept.reader.at_eof() or loop.time() - kept.used_s > IDLE_S_MAX):
                kept.writer.close()
                kept = None
            if kept is None:
                reader, writer = await asyncio.open_connection(self._host, self._port, limit=HEAD_BYTES_MAX)
                kept = KeptConnection(reader, writer, loop.time())
            yield kept.reader, kept.writer
            kept = kept._replace(used_s=loop.time())
        except BaseException as why:
            if kept is not None:
                kept.writer.close()
            kept = None
            if isinstance(why, OSError | EOFError | TimeoutError | ValueError):
                raise ApiError(f"http://{self._host}:{self._port}: {type(why).__name__} {why}".rstrip()) from why
            raise
        finally:
            self._free.put_nowait(kept)

    def _body(self, reply: HttpReply, path: tuple[str, ...], fine: set[int]) -> Any:
        if reply.status in fine:
            return reply.body
        problem = reply.body if isinstance(reply.body, dict) else {}
        why = problem.get("detail") or problem.get("title") or reply.body
        raise ApiError(f"/{'/'.join(path)}: {reply.status} {why}", reply.status)


async def _reply(reader: asyncio.StreamReader) -> HttpReply:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(head[0].split(" ", 2)[1])
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    if headers.get("transfer-encoding", "").lower() == "chunked":
        content = b""
        while size := int((await reader.readline()).split(b";")[0], 16):
            content += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
    else:
        content = await reader.readexactly(int(headers.get("content-length", 0)))
    if headers.get("content-type", "") == NDJSON:
        return HttpReply(status, headers, _each_line.decode_lines(content))
    if "json" in headers.get("content-type", ""):
        return HttpReply(status, headers, msgspec.json.decode(content))
    return HttpReply(status, headers, content.decode("utf-8", "replace"))
