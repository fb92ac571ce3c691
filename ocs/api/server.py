"""The HTTP server: everything around an operation (who, how large, how many at once, what went wrong)."""

from __future__ import annotations

import asyncio
import contextlib
import math
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Message, Receive, Scope, Send

from ocs.access.permissions import KNOWN
from ocs.access.rates import RequestRates
from ocs.access.roles import Authority
from ocs.api import (
    routes_accounts,
    routes_approvals,
    routes_audit,
    routes_charging,
    routes_copy,
    routes_corrections,
    routes_events,
    routes_export,
    routes_exposure,
    routes_fees,
    routes_hosts,
    routes_import,
    routes_jobs,
    routes_ledger,
    routes_limits,
    routes_offers,
    routes_payouts,
    routes_peers,
    routes_periods,
    routes_prices,
    routes_radius,
    routes_rates,
    routes_refunds,
    routes_reservations,
    routes_search,
    routes_server,
    routes_sessions,
    routes_statements,
    routes_subscribers,
    routes_suspense,
    routes_tariff_files,
    routes_tariffs,
    routes_thresholds,
    routes_tmf_actions,
    routes_tmf_balances,
    routes_tmf_hub,
    routes_tmf_reservations,
    routes_tokens,
    routes_traces,
    routes_transfers,
    routes_usage,
    routes_vouchers,
    routes_webhooks,
)
from ocs.api.auditing import performed
from ocs.api.auth import Callers
from ocs.api.docs import HEADERS, assets, page
from ocs.api.http_connection import CERTIFIED, HttpConnection, RequestsUnderWay
from ocs.api.live import LEAVE
from ocs.api.openapi import openapi
from ocs.api.operation import Operation, heads_of, perform
from ocs.api.path_index import PathIndex
from ocs.api.problems import Problem
from ocs.api.refusals import problem_with, refused
from ocs.api.templated_charging import TemplatedCharging
from ocs.api.waiting import wait
from ocs.backoffice.backoffice import BackOffice
from ocs.backoffice.errors import Forbidden
from ocs.clock import monotonic_us
from ocs.config.http import Http
from ocs.net.room import ConnectionRoom
from ocs.telemetry.metrics import REQUEST_TIME, REQUESTS, LabelledCounts, Meter

ALONE: Final[Sequence[Operation]] = (
    *routes_charging.OPERATIONS,  # first: paths are looked for in this order, and these are asked for most
    *routes_accounts.OPERATIONS,
    *routes_search.OPERATIONS,
    *routes_statements.OPERATIONS,
    *routes_corrections.OPERATIONS,
    *routes_refunds.OPERATIONS,
    *routes_transfers.OPERATIONS,
    *routes_usage.OPERATIONS,
    *routes_payouts.OPERATIONS,
    *routes_reservations.OPERATIONS,
    *routes_subscribers.OPERATIONS,
    *routes_limits.OPERATIONS,
    *routes_offers.OPERATIONS,
    *routes_fees.OPERATIONS,
    *routes_thresholds.OPERATIONS,
    *routes_import.OPERATIONS,
    *routes_export.OPERATIONS,
    *routes_tariffs.OPERATIONS,
    *routes_tariff_files.OPERATIONS,
    *routes_rates.OPERATIONS,
    *routes_prices.OPERATIONS,
    *routes_sessions.OPERATIONS,
    *routes_suspense.OPERATIONS,
    *routes_vouchers.OPERATIONS,
    *routes_webhooks.OPERATIONS,
    *routes_jobs.OPERATIONS,
    *routes_ledger.OPERATIONS,
    *routes_exposure.OPERATIONS,
    *routes_events.OPERATIONS,
    *routes_hosts.OPERATIONS,
    *routes_peers.OPERATIONS,
    *routes_periods.OPERATIONS,
    *routes_radius.OPERATIONS,
    *routes_traces.OPERATIONS,
    *routes_copy.OPERATIONS,
    *routes_tokens.OPERATIONS,
    *routes_audit.OPERATIONS,
    *routes_tmf_balances.OPERATIONS,
    *routes_tmf_actions.OPERATIONS,
    *routes_tmf_reservations.OPERATIONS,
    *routes_tmf_hub.OPERATIONS,
    *routes_server.OPERATIONS,
)
"""What one person does, where the configuration does not demand a second one."""
OPERATIONS: Final[Sequence[Operation]] = (*ALONE, *routes_approvals.operations(ALONE))

STREAMED: Final = frozenset(operation.path for operation in OPERATIONS if operation.streamed)

if TYPE_CHECKING:
    import socket

ANONYMOUS: Final = Authority("")
Endpoint = Callable[[Request], Awaitable[Response]]


def our_version() -> str:
    try:
        return version("ocs")
    except PackageNotFoundError:
        return "0"


@cache
def _documents() -> tuple[bytes, str]:
    """/openapi.json and /docs/plain, once for each process: they depend on nothing but the build."""
    return msgspec.json.encode(openapi(OPERATIONS, our_version())), page(OPERATIONS)


def application(backoffice: BackOffice, callers: Callers, http: Http, meter: Meter | None = None) -> Application:
    """The ASGI application; `backoffice` is what it works on, `meter` counts requests by operation."""
    meter = meter or Meter()
    document, readable = _documents()

    async def serve_document(_request: Request) -> Response:
        return Response(document, media_type="application/json")

    async def serve_page(_request: Request) -> Response:
        return Response(readable, media_type="text/html")

    reference = assets()

    async def serve_reference(request: Request) -> Response:
        content, media_type = reference[request.url.path]
        return Response(content, headers=HEADERS, media_type=media_type)

    rates, under_way = RequestRates(), RequestsUnderWay()
    charging = None
    if backoffice.charging is not None:
        charging = TemplatedCharging(backoffice.charging, backoffice.tags, callers, http, rates, meter, under_way)
    paths: dict[str, list[Operation]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, []).append(operation)
    routes: list[BaseRoute] = [Route("/openapi.json", serve_document), Route("/docs/plain", serve_page)]
    routes += [Route(path, serve_reference) for path in reference]
    large: list[tuple[Route, int]] = []
    known: list[tuple[str, str, Endpoint]] = []
    for path, operations in paths.items():
        methods = {operation.method: operation for operation in operations}
        endpoint = _counted(_endpoint(backoffice, callers, methods, http, rates), methods, meter)
        known += [(method, path, endpoint) for method in methods]
        routes.append(Route(path, endpoint, methods=list(methods)))
        large += [(Route(path, endpoint, methods=[o.method]), o.body_bytes_max) for o in operations if o.body_bytes_max]
    requests = meter.counts(REQUESTS)

    async def http_problem(request: Request, why: Exception) -> Response:
        made = await _http_problem(request, why)
        requests["http", "none", "", str(made.status_code)] += 1
        return made

    app = Starlette(
        routes=routes,
        exception_handlers={HTTPException: http_problem, Problem: _problem},
    )
    return Application(app, PathIndex(known), http, large, requests, under_way, charging)


def _endpoint(
    backoffice: BackOffice, callers: Callers, methods: dict[str, Operation], http: Http, rates: RequestRates
) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        operation = methods["GET" if request.method == "HEAD" else request.method]
        try:
            authority = ANONYMOUS
            if not operation.open:
                address = request.client.host if request.client is not None else ""
                names = request.scope.get(CERTIFIED, frozenset())
                authority = await callers.authority(_authorization(request), address, names)
                rate = authority.rate(http.rate_max)
                if rate and (wait_s := rates.wait_s(authority.caller, rate, monotonic_us() / 1e6)):
                    why = f"{authority.caller} may make {rate} requests a second"
                    raise Problem("too-many", why, retry_after_s=math.ceil(wait_s))
                if operation.permission != KNOWN and not authority.may(operation.permission):
                    raise Forbidden(f"{authority.caller} lacks the permission {operation.permission}")
            return await perform(operation, backoffice, authority, request, http.body_s, wait, performed)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it
        except Exception as why:
            return refused(request.url.path, problem_with(why, operation.name))

    return endpoint


def _authorization(request: Request) -> str | None:
    given = heads_of(request.scope).get(b"authorization")
    return None if given is None else given.decode("latin-1")


def _counted(endpoint: Endpoint, methods: dict[str, Operation], meter: Meter) -> Endpoint:
    requests = meter.counts(REQUESTS)
    commands = {method: operation.handle.__name__ for method, operation in methods.items()}
    times = {method: meter.histogram(REQUEST_TIME, "http", command) for method, command in commands.items()}

    async def counted(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        began_us = monotonic_us()
        answered = await endpoint(request)
        requests["http", commands[method], method, str(answered.status_code)] += 1
        times[method].add(monotonic_us() - began_us)
        return answered

    return counted


async def _problem(request: Request, why: Exception) -> Response:
    assert isinstance(why, Problem)
    return refused(request.url.path, why)


async def _http_problem(request: Request, why: Exception) -> Response:
    """Refusals by starlette itself, of unknown paths and methods, as problem details."""
    assert isinstance(why, HTTPException)
    kind = {404: "not-found", 405: "method-not-allowed"}.get(why.status_code, "malformed")
    known = {404: "there is no such path", 405: "the path is there, the method is not"}.get(why.status_code, why.detail)
    made = refused(request.url.path, Problem(kind, f"{request.method} {request.url.path}: {known}: see /docs"))
    made.headers.update(why.headers or {})
    return made


class Application:
    """The bounds of a request before anything is read: how many at once, how large."""

    def __init__(
        self,
        app: Starlette,
        index: PathIndex[Endpoint],
        http: Http,
        large: Sequence[tuple[Route, int]],
        requests: LabelledCounts,
        under_way: RequestsUnderWay,
        charging: TemplatedCharging | None,
    ) -> None:
        """
        app:      takes what is not in the index
        large:    what takes larger bodies than others, and how large
        charging: what a connection may do without asking this application
        """
        self.charging, self.under_way = charging, under_way
        self._requests = requests
        self._app, self._index = app, index
        self._http = http
        self._large = large

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = _length(scope)
        body_bytes_max = self._body_bytes_max(scope, length)
        problem = self._refusal(scope, length, body_bytes_max)
        if problem is not None:
            self._requests["http", "none", "", str(problem.status)] += 1
            await refused(scope["path"], problem)(scope, receive, send)
            return
        self.under_way.now += 1
        counted = True

        def leave() -> None:
            nonlocal counted
            self.under_way.now -= counted
            counted = False

        scope[LEAVE] = leave
        try:
            # What says its length has no more than that: the parser sees to it.
            await self._answer(scope, receive if length is not None else _Counted(receive, body_bytes_max), send)
        finally:
            leave()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._index.find(scope["method"], scope["path"])
        if found is None:
            await self._app(scope, receive, send)
            return
        scope["path_params"] = found.values
        response = await found.handler(Request(scope, receive, send))
        await response(scope, receive, send)

    def _body_bytes_max(self, scope: Scope, length: int | None) -> int:
        if length is not None and length <= self._http.body_bytes_max:
            return self._http.body_bytes_max
        found = [most for route, most in self._large if route.matches(scope)[0] is Match.FULL]
        return max(self._http.body_bytes_max, *found) if found else self._http.body_bytes_max

    def _refusal(self, scope: Scope, length: int | None, body_bytes_max: int) -> Problem | None:
        under_way = self.under_way.now
        if under_way >= self._http.in_flight_max and scope["path"] not in ("/healthz", "/readyz"):
            return Problem("busy", f"{under_way} requests are being served; try again")
        return too_large(body_bytes_max) if length is not None and length > body_bytes_max else None


def _length(scope: Scope) -> int | None:
    """Of the body, as its head says; None: it says nothing, and what comes is counted."""
    headers = heads_of(scope)
    length = headers.get(b"content-length", b"0")
    return int(length) if length.isdigit() and b"transfer-encoding" not in headers else None


def too_large(most: int) -> Problem:
    return Problem("too-large", f"a body has at most {most} bytes")


class _Counted:
    """A body that says nothing of its length (chunked) is counted as it comes."""

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive = receive
        self._left = most
        self._most = most

    async def __call__(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise too_large(self._most)
        return message


@contextlib.asynccontextmanager
async def serving(
    app: Any, listener: socket.socket, http: Http | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[None]:
    """Serve on a socket that listens already, for as long as the block lasts; then finish what is under way."""
    http = http or Http()
    charging = app.charging if isinstance(app, Application) else None
    room = ConnectionRoom[HttpConnection](
        most=http.connections_max, silent_max=http.connections_max, of_address=http.address_connections_max
    )
    config = uvicorn.Config(
        app,
        loop="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=bool(http.proxies),
        forwarded_allow_ips=list(http.proxies),
        timeout_graceful_shutdown=5,
        http=cast(type[HttpConnection], partial(HttpConnection, room, http, STREAMED, charging)),
    )
    config.load()
    config.ssl = tls
    server = _Server(config)
    task = asyncio.create_task(server.serve([listener]))
    try:
        yield
    finally:
        server.leave()
        await task


class _Server(uvicorn.Server):
    """Signals belong to the process, not to the HTTP server in it, which does not look ten times a second whether it
    is to end."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._leaving = asyncio.Event()

    def leave(self) -> None:
        self.should_exit = True
        self._leaving.set()

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self._leaving.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield
