"""Around the operations: tokens, sizes, what is not there, and whether we say how we are."""

import asyncio
import contextlib
import html
import socket
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from balances import keys
from ocs.api.auth import Callers, EmptyToken, token_of
from ocs.api.problems import PROBLEMS, Problem
from ocs.api.server import OPERATIONS, application, serving
from ocs.config.http import Http
from ocs.telemetry.metrics import REQUESTS, Meter
from tests.ocs.api_harness import TOKEN, ApiHarness

NO_TOKEN = ["", "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x"]


async def test_without_the_token_nothing(harness: ApiHarness) -> None:
    for header in NO_TOKEN:
        refused = await harness.client.get("/v1/accounts", headers={"authorization": header} if header else {})
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        assert refused.json()["type"] == "urn:ocs:problem:unauthorized"


async def test_what_needs_no_token(harness: ApiHarness) -> None:
    for path in ("/healthz", "/readyz", "/docs", "/docs/plain", "/docs/swagger-ui.css", "/openapi.json"):
        assert (await harness.client.get(path)).status_code == 200, path


async def test_what_is_not_there(harness: ApiHarness) -> None:
    nowhere = await harness.call("GET", "/v1/nothing")
    assert (nowhere.status_code, nowhere.json()["type"]) == (404, "urn:ocs:problem:not-found")
    wrong = await harness.call("DELETE", "/v1/accounts/a1")
    assert (wrong.status_code, wrong.json()["type"]) == (405, "urn:ocs:problem:method-not-allowed")
    assert "PUT" in wrong.headers["allow"]
    assert (await harness.call("GET", "/v1/accounts?limi=3")).status_code == 422
    assert (await harness.call("GET", "/v1/accounts?limit=0")).status_code == 422
    assert (await harness.call("GET", "/v1/accounts?limit=1&limit=2")).status_code == 422
    assert (await harness.call("GET", "/v1/accounts/%0Ax")).status_code in (404, 422)
    assert (await harness.call("PUT", "/v1/accounts/" + "a" * 65, {"currency": "EUR"})).status_code == 422


async def test_bodies_have_an_end(harness: ApiHarness) -> None:
    large = await harness.call("PUT", "/v1/accounts/a1", b"{" + b" " * 100_000 + b"}")
    assert (large.status_code, large.json()["type"]) == (413, "urn:ocs:problem:too-large")

    async def drip() -> object:
        for _ in range(200):
            yield b" " * 1_000

    chunked = await harness.client.put(
        "/v1/accounts/a1",
        content=drip(),  # type: ignore[arg-type]
        headers={"authorization": f"Bearer {TOKEN}", "content-type": "application/json"},
    )
    assert chunked.status_code == 413
    for body in (b"", b"{", b"\xff", b'{"currency": "EUR"} x', b"nul"):
        refused = await harness.call("PUT", "/v1/accounts/a1", body)
        assert (refused.status_code, refused.json()["type"]) == (400, "urn:ocs:problem:malformed"), body[:20]
    assert (await harness.call("PUT", "/v1/accounts/a1", "x", content_type="text/plain")).status_code == 415


async def test_readyz_tells_what_is_wrong(harness: ApiHarness) -> None:
    well = await harness.client.get("/readyz")
    assert well.json() == {"status": "ok", "checks": {"redis": "ok", "postgres": "ok"}}
    await harness.pool.close()
    ill = await harness.client.get("/readyz")
    assert (ill.status_code, ill.json()["status"]) == (503, "unavailable")
    assert (await harness.client.get("/healthz")).status_code == 200
    away = await harness.call("GET", "/v1/accounts")
    assert (away.status_code, away.json()["type"]) == (503, "urn:ocs:problem:store-unavailable")


async def test_a_part_of_the_store_that_is_shut_is_no_reason_to_take_us_away(harness: ApiHarness) -> None:
    """Whoever is in the other shards is served on; a load balancer that took all processes away would shut them out."""
    open_ones = await harness.redis.get(keys.published(7))
    await harness.redis.set(keys.published(7), "f" * 40 + " 9")
    async with asyncio.timeout(30):
        while harness.link.open_shards == keys.SHARDS:
            await asyncio.sleep(0.01)
    partly = await harness.client.get("/readyz")
    assert (partly.status_code, partly.json()["status"]) == (200, "degraded")
    assert partly.json()["checks"]["redis"].startswith("degraded: 1 of 256 shards are shut: the store is not open")
    await harness.redis.delete(*map(keys.published, range(keys.SHARDS)))
    async with asyncio.timeout(30):
        while harness.link.epoch is not None:
            await asyncio.sleep(0.01)
    assert (await harness.client.get("/readyz")).status_code == 503
    await harness.redis.mset({keys.published(shard): open_ones for shard in range(keys.SHARDS)})


async def test_the_token_is_for_its_owner(tmp_path: Path) -> None:
    token = token_of(tmp_path / "data")
    path = tmp_path / "data" / "admin.token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(token) >= 32
    assert token_of(tmp_path / "data") == token
    assert (await Callers({token: "admin"}).authority(f"bearer {token}")).caller == "admin"
    with pytest.raises(Problem):
        await Callers({token: "admin"}).authority(None)
    path.write_text("\n")
    with pytest.raises(EmptyToken):
        token_of(tmp_path / "data")


def test_every_problem_an_operation_names_exists() -> None:
    for operation in OPERATIONS:
        assert set(operation.problems) <= set(PROBLEMS), operation.path


async def test_openapi_has_every_operation(harness: ApiHarness) -> None:
    document = (await harness.client.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    listed = {(method, path) for path, methods in document["paths"].items() for method in methods}
    assert listed == {(o.method.lower(), o.path.replace(":path", "")) for o in OPERATIONS}
    ids = [method["operationId"] for methods in document["paths"].values() for method in methods.values()]
    assert len(ids) == len(set(ids))
    page = (await harness.client.get("/docs/plain")).text
    assert all(html.escape(operation.summary) in page for operation in OPERATIONS)


async def test_a_head_has_an_end(harness: ApiHarness) -> None:
    app = application(harness.backoffice, Callers({TOKEN: "admin"}), Http())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with serving(app, listener):
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n" * 3)  # several in one segment
            for _ in range(3):
                assert (await reader.readuntil(b"{}}")).startswith(b"HTTP/1.1 200")
            head = (
                f"PUT /v1/accounts/a1 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: 90000\r\n"
            )
            writer.write(head.encode() + b"\r\n" + b" " * 90_000)  # a body may be longer than a head
            assert (await reader.readuntil(b'a1"}')).startswith(b"HTTP/1.1 400")
            with contextlib.suppress(ConnectionError):
                writer.write(b"GET /healthz HTTP/1.1\r\nx: ")
                for _ in range(100):
                    writer.write(b"a" * 1_000)
                    await writer.drain()
                assert await asyncio.wait_for(reader.read(), 30) == b""
            writer.close()


async def test_a_client_that_leaves_in_mid_body_is_no_news(
    harness: ApiHarness, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    app = application(harness.backoffice, Callers({TOKEN: "admin"}), Http())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with serving(app, listener):
            _, writer = await asyncio.open_connection(*listener.getsockname())
            head = "PUT /v1/accounts/a1 HTTP/1.1\r\nHost: ocs\r\nContent-Type: application/json\r\n"
            writer.write(f"{head}Authorization: Bearer {TOKEN}\r\nContent-Length: 100\r\n\r\n{{".encode())
            await writer.drain()
            await asyncio.sleep(0.1)
            writer.transport.abort()
            await asyncio.sleep(0.1)  # whatever it says of that, it says at once
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: ocs\r\nConnection: close\r\n\r\n")
            assert (await asyncio.wait_for(reader.read(), 30)).startswith(b"HTTP/1.1 200")
            writer.close()
    said = caplog.text + capsys.readouterr().err
    assert "Traceback" not in said


async def test_requests_are_counted(harness: ApiHarness) -> None:
    meter = Meter()
    app: Any = application(harness.backoffice, Callers({TOKEN: "admin"}), Http(), meter)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://ocs") as client:
        await client.get("/v1/accounts/a1")
        await client.get("/v1/accounts/a1", headers={"authorization": f"Bearer {TOKEN}"})
        await client.get("/v1/nothing-of-ours-0815")
        await client.request("FOO", "/v1/accounts")
        await client.put("/v1/accounts/a1", content=b" " * 2_000_000)
    assert meter.counts(REQUESTS) == {
        ("http", "get_account", "GET", "401"): 1,
        ("http", "get_account", "GET", "404"): 1,
        ("http", "none", "", "404"): 1,
        ("http", "none", "", "405"): 1,
        ("http", "none", "", "413"): 1,
    }


async def test_too_many_at_once(harness: ApiHarness) -> None:
    app: Any = application(harness.backoffice, Callers({TOKEN: "admin"}), Http(in_flight_max=1))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://ocs") as client:
        headers = {"authorization": f"Bearer {TOKEN}"}
        both = await asyncio.gather(*(client.get("/v1/accounts", headers=headers) for _ in range(5)))
    assert sorted(answer.status_code for answer in both) == [200, 503, 503, 503, 503]
    busy = next(answer for answer in both if answer.status_code == 503)
    assert (busy.json()["type"], busy.headers["retry-after"]) == ("urn:ocs:problem:busy", "1")


@pytest.mark.parametrize(
    ("proxies", "seen"), [((), "127.0.0.1"), (("127.0.0.0/8",), "10.9.8.7"), (("10.0.0.1",), "127.0.0.1")]
)
async def test_only_a_proxy_says_from_where_a_request_came(proxies: tuple[str, ...], seen: str) -> None:
    async def tell(scope: Scope, _receive: Receive, send: Send) -> None:
        await Response(scope["client"][0])(scope, _receive, send)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with serving(tell, listener, Http(proxies=proxies)), httpx.AsyncClient() as client:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
            said = await client.get(url, headers={"x-forwarded-for": "10.9.8.7"}, timeout=60)
    assert said.text == seen


@pytest.mark.parametrize("sent", [b"", b"{", b'{"currency"'])
async def test_a_body_that_never_comes_ends_the_connection(harness: ApiHarness, sent: bytes) -> None:
    app = application(harness.backoffice, Callers({TOKEN: "admin"}), Http())
    head = f"PUT /v1/accounts/a1 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: 20\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with serving(app, listener, Http(body_s=1)):
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(head.encode()[:30])
            await writer.drain()
            writer.write(head.encode()[30:] + sent)
            async with asyncio.timeout(120):
                assert await reader.read() == b""
            writer.close()
