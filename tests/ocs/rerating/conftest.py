import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ocs.api.auth import Callers, token_of
from ocs.api.server import application, serving
from ocs.cli.root import cli
from ocs.config.http import Http
from tests.ocs.api_harness import ApiHarness, api_harness
from tests.ocs.rerating.network import Network
from tests.servers import Servers

Run = Callable[..., Awaitable[Result]]


@pytest.fixture
async def harness(servers: Servers) -> AsyncIterator[ApiHarness]:
    async with api_harness(servers) as made:
        yield made


@pytest.fixture
def network(harness: ApiHarness, servers: Servers) -> Network:
    return Network(harness, servers.pg_dsn)


@pytest.fixture
async def run(network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Run]:
    """`await run("whatif", "--tariff", "draft.toml")`: `ocs tariff ...` over all there is, with a server that
    listens."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OCS_POSTGRES__DSN", network.dsn)
    app = application(network.harness.backoffice, Callers({token_of(tmp_path): "admin"}), Http())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("OCS_HTTP__LISTEN", f"127.0.0.1:{listener.getsockname()[1]}")

        async def ocs(*words: str) -> Result:
            given = ["tariff", *words, "--data", str(tmp_path), "--processes", "1"]
            if "--from" not in words:
                given += ["--from", "2020-01-01", "--to", "2100-01-01T00:00:00+01:00"]
            return await asyncio.to_thread(CliRunner().invoke, cli, given)

        async with serving(app, listener):
            yield ocs
