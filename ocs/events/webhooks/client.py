"""One attempt to deliver over HTTP, with bounds on everything the other side decides.

- The address is checked when it is connected to: a name is looked up, each address compared with the rule
  (ocs/events/webhooks/addresses.py), and a checked address is connected to, not the name again.
- No redirect is followed: it would lead past the rule, and a POST away from whom it is for.
- The status decides. Of a body so much is read that the connection can be used again, or that a person sees what
  was wrong; an endless one is cut. A head is at most 100 kB (h11), everything together takes `timeout_s`.
- No proxy, cookie or credential of this process is used.

Each webhook has a client of its own, with connections and a thread for names of its own: one that is slow takes
nothing from the others.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Literal

import httpcore
from msgspec import Struct

from ocs.config.values import Network
from ocs.events.webhooks.addresses import refused_address

BODY_BYTES_MAX: Final = 16_384
"""Of an answer; beyond it the connection ends."""
DRAIN_S: Final = 2.0
"""For the body of an answer whose status is known."""
SHOWN_MAX: Final = 200
"""Characters of a refusal that are kept for people."""
IDLE_S: Final = 5.0
"""How long a connection without work is kept."""
ADDRESSES_MAX: Final = 4
"""Of one name that are tried."""
RETRY_AFTER_S_MAX: Final = 3_600

AttemptResult = Literal["delivered", "refused", "silent", "forbidden"]
"""A 2xx; any other status; no answer; an address that is not called."""


class Attempt(Struct, frozen=True):
    """What became of one attempt."""

    result: AttemptResult
    text: str
    """For people: the status, or what went wrong."""
    status: int = 0
    retry_after_s: int = 0
    """As the receiver asks for (429, 503), in bounds."""


class AddressRefused(httpcore.ConnectError):
    """Every address of the name is one that is not called."""


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Connects to addresses that were checked. names: the thread that looks names up."""

    def __init__(self, allowed: Sequence[Network], names: ThreadPoolExecutor) -> None:
        self._allowed, self._names = allowed, names
        self._inner = httpcore.AnyIOBackend()
        self._abandoned: set[asyncio.Task[None]] = set()
        """Connections that nobody waits for any more, on their way to be closed."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  as httpcore asks
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await self.look_up(host, port)
        fit = [address for address in addresses if not refused_address(address, self._allowed)]
        if not fit:
            raise AddressRefused("; ".join(refused_address(address, self._allowed) for address in addresses))
        why = ""
        for address in fit[:ADDRESSES_MAX]:
            try:
                return await self._connected(
                    self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failed:
                why = f"{address} port {port}: {_reason(failed)}"
        raise httpcore.ConnectError(why)

    async def _connected(
        self, connecting: Coroutine[Any, Any, httpcore.AsyncNetworkStream]
    ) -> httpcore.AsyncNetworkStream:
        """The connection. Who stops waiting for it leaves none behind: the library forgets one that was made in the
        moment of the cancellation."""
        task = asyncio.create_task(connecting)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            closing = asyncio.create_task(_closed(task))
            self._abandoned.add(closing)
            closing.add_done_callback(self._abandoned.discard)
            raise

    async def close(self) -> None:
        """Returns when every connection that was given up is closed; each is made or refused within its timeout."""
        if self._abandoned:
            await asyncio.wait(self._abandoned)

    async def look_up(self, host: str, port: int) -> list[str]:
        """The addresses of a name, each once; of an address in any spelling that the system takes, itself."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._names, _addresses, host, port)
        except OSError as why:
            raise httpcore.ConnectError(f"{host}: {why.strerror or why}") from None
        return list(dict.fromkeys(found))

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def _closed(connecting: asyncio.Task[httpcore.AsyncNetworkStream]) -> None:
    """Waits for a connection and ends it."""
    try:
        stream = await connecting
    except (httpcore.NetworkError, httpcore.TimeoutException, OSError):
        return
    await stream.aclose()


def _addresses(host: str, port: int) -> list[str]:
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def tls_context(ca: str = "") -> ssl.SSLContext:
    """Checks certificates against the authorities of the system, or those of a PEM file. Raises ValueError."""
    try:
        return ssl.create_default_context(cafile=ca or None)
    except OSError as why:  # and ssl.SSLError
        raise ValueError(f"webhooks.tls_ca: {ca}: expected a readable PEM file, but {why.strerror or why}") from None


class WebhookClient:
    """
    allowed:         private networks that may be called
    timeout_s:       for an attempt, from looking up the name to the status
    connections_max: at once
    """

    def __init__(
        self, context: ssl.SSLContext, *, allowed: Sequence[Network], timeout_s: float, connections_max: int
    ) -> None:
        self._timeout_s = timeout_s
        self._names = ThreadPoolExecutor(1, "webhook-names")
        self._backend = GuardedBackend(allowed, self._names)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context,
            max_connections=connections_max,
            keepalive_expiry=IDLE_S,
            network_backend=self._backend,
        )

    async def deliver(self, url: str, headers: Mapping[str, str], body: bytes) -> Attempt:
        """POST the body; what went wrong is a result, not an exception."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._post(url, {"user-agent": "ocs-webhooks", **headers}, body)
        except TimeoutError:
            return Attempt("silent", f"no answer within {self._timeout_s:g} s")
        except AddressRefused as why:
            return Attempt("forbidden", str(why))
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError) as why:
            return Attempt("silent", _shown(str(why) or type(why).__name__))

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> Attempt:
        bounds = dict.fromkeys(("connect", "read", "write", "pool"), self._timeout_s)
        async with self._pool.stream(
            "POST", url, headers=[*headers.items()], content=body, extensions={"timeout": bounds}
        ) as answer:
            said = await _beginning(answer)
        if 200 <= answer.status < 300:
            return Attempt("delivered", str(answer.status), answer.status)
        asked = {name.lower(): value for name, value in answer.headers}
        if 300 <= answer.status < 400:
            said = "redirects are not followed"
        text = f"{answer.status}: {said}" if said else str(answer.status)
        return Attempt("refused", text, answer.status, _seconds(asked.get(b"retry-after", b"")))

    async def close(self) -> None:
        await self._pool.aclose()
        await self._backend.close()
        self._names.shutdown(wait=False, cancel_futures=True)


def _reason(failed: BaseException) -> str:
    """What the system said of a connection; the libraries between say only that there is none."""
    at: BaseException | None = failed
    while at is not None:
        if isinstance(at, OSError) and at.errno:
            return os.strerror(at.errno)
        at = at.__cause__ or at.__context__
    return str(failed) or type(failed).__name__


async def _beginning(answer: httpcore.Response) -> str:
    """The first characters of the body, read up to its bound in octets and time."""
    read = bytearray()
    try:
        async with asyncio.timeout(DRAIN_S):
            async for piece in answer.aiter_stream():
                read += piece
                if len(read) > BODY_BYTES_MAX:
                    break
    except (TimeoutError, httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError):
        pass  # the status is known
    return _shown(bytes(read[: SHOWN_MAX * 4]).decode(errors="replace"))


def _shown(text: str) -> str:
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())[:SHOWN_MAX]


def _seconds(retry_after: bytes) -> int:
    """Retry-After in seconds; a date, or anything else, is passed over."""
    text = retry_after.strip()
    return min(int(text), RETRY_AFTER_S_MAX) if text.isdigit() and len(text) < 10 else 0
