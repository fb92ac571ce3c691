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
from tests.servers import Servers

Run = Callable[..., Awaitable[Result]]


@pytest.fixture
async def harness(servers: Servers) -> AsyncIterator[ApiHarness]:
    async with api_harness(servers) as made:
        yield made


@pytest.fixture
async def address(harness: ApiHarness, tmp_path: Path) -> AsyncIterator[str]:
    """Of a server that listens, with its token in `tmp_path`."""
    app = application(harness.backoffice, Callers({token_of(tmp_path): "admin"}, harness.backoffice.tokens), Http())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with serving(app, listener):
            yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def ocs(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`await ocs("account", "show", "a1")`."""
    monkeypatch.chdir(tmp_path)

    async def run(*words: str) -> Result:
        where = ["--url", f"http://{address}", "--data", str(tmp_path)]
        return await asyncio.to_thread(CliRunner().invoke, cli, [*words, *where])

    return run
