"""Several `ocs run` on one store, each with a name, roles and ports of its own, and a balancer in front of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Final

from balances.redis.pending import ended
from loadtest.api import Api, ApiError
from tests.bench.server import free_ports
from tests.drills.cable import pipe
from tests.servers import ROOT, Servers

READY_S: Final = 90.0


class DrillHost:
    """
    tree:   where the sources of its build are
    probe:  which listener says whether it is ready: "http", or "metrics", which hosts without an API have as well
    """

    def __init__(
        self, name: str, stores: Sequence[str], *settings: str, tree: Path = ROOT, probe: str = "metrics"
    ) -> None:
        self.name, self.tree = name, tree
        self.home = Path(tempfile.mkdtemp(prefix=f"ocs-host-{name}-"))
        self.diameter, self.http, self.metrics = free_ports(3)
        self._probe = f"http://127.0.0.1:{self.http if probe == 'http' else self.metrics}"
        listens = {"diameter.listen": self.diameter, "http.listen": self.http, "metrics.listen": self.metrics}
        self._settings = [
            *(f"{key}=127.0.0.1:{port}" for key, port in listens.items()),
            *("diameter.admit_loopback=true", "radius.auth_listen=off", "radius.acct_listen=off"),
            *("workers=1", "durability=everysec", *stores, *settings),
        ]
        self.process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http}"

    @property
    def token(self) -> str:
        return (self.home / "data" / "admin.token").read_text().strip()

    @property
    def log(self) -> str:
        return (self.home / "log").read_text()

    def api(self) -> Api:
        return Api(self.url, self.token)

    async def start(self) -> None:
        arguments = [word for setting in self._settings for word in ("--set", setting)]
        with (self.home / "log").open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "ocs", "run", "--data", str(self.home / "data"), *arguments),
                cwd=self.home,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(self.tree)},
            )

    async def is_ready(self) -> bool:
        with contextlib.suppress(ApiError, OSError):
            async with Api(self._probe, "", connections=1) as api:
                return (await api.call("GET", ("readyz",))).status == 200
        return False

    async def ready(self) -> None:
        try:
            async with asyncio.timeout(READY_S):
                while not await self.is_ready():
                    assert self.process is not None
                    assert self.process.returncode is None, self.log
                    await asyncio.sleep(0.2)
        except TimeoutError:
            raise AssertionError(f"{self.name} is not ready after {READY_S} s:\n{self.log}") from None

    async def stop(self) -> int:
        """In good order; its exit status."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), 60.0)

    async def kill(self) -> None:
        """Supervisor and children at once: the machine is gone."""
        assert self.process is not None
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for one in (pid, *map(int, children)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        await self.process.wait()

    async def end(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()
            try:
                await asyncio.wait_for(self.process.wait(), 30.0)
            except TimeoutError:
                await self.kill()
        shutil.rmtree(self.home, ignore_errors=True)


def stores_of(servers: Servers) -> tuple[str, str]:
    return f"redis.url={servers.redis_url}", f"postgres.dsn={servers.pg_dsn}"


@contextlib.asynccontextmanager
async def started(*hosts: DrillHost) -> AsyncIterator[None]:
    """All of them ready; stopped afterwards, the last first."""
    try:
        for host in hosts:
            await host.start()
        for host in hosts:
            await host.ready()
        yield
    finally:
        for host in reversed(hosts):
            await host.end()


async def status_of(api: Api) -> dict[str, dict[str, Any]]:
    """The hosts of `GET /v1/status` by name."""
    return {host["name"]: host for host in (await api.get("v1", "status"))["hosts"]}


class Balancer:
    """A TCP balancer: each connection goes to the next host whose /readyz says that it is ready."""

    def __init__(self, hosts: list[DrillHost]) -> None:
        self.hosts = hosts
        self.port = 0
        self._turn = 0
        self._pipes: list[asyncio.Task[None]] = []
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Balancer:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await ended(self._pipes)
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        for _ in range(len(self.hosts)):
            self._turn += 1
            host = self.hosts[self._turn % len(self.hosts)]
            if await host.is_ready():
                with contextlib.suppress(OSError):
                    there = await asyncio.open_connection("127.0.0.1", host.diameter)
                    self._writers.append(there[1])
                    for pair in ((reader, there[1]), (there[0], writer)):
                        self._pipes.append(asyncio.ensure_future(pipe(*pair)))
                    return
        writer.close()
