"""The real server as a child: `ocs run` in a directory of its own, on ports nobody uses."""

import asyncio
import contextlib
import re
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

from loadtest.api import Api, ApiError
from tests.bench import processes

START_S_MAX = 60.0
STOP_S_MAX = 30.0


class BenchServer(NamedTuple):
    pid: int
    diameter_port: int
    http_port: int
    metrics_port: int
    data: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    async def cpu_s(self) -> dict[str, float]:
        """Seconds of CPU by role: stores and supervisor from /proc, the other children as they count themselves. They
        report twice a second, so this is right when nothing has happened for longer than that."""
        found = processes.cpu_s(self.pid)
        found.pop("python", None)
        text = await self._metrics()
        for role, seconds in re.findall(r'^ocs_cpu_seconds_total\{role="(\w+)"\} (\S+)$', text, re.MULTILINE):
            found[role] = max(found.get(role, 0.0), float(seconds))
        return found

    async def gauge(self, name: str) -> float:
        """The sum over its labels."""
        found = re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", await self._metrics(), re.MULTILINE)
        return sum(map(float, found))

    async def _metrics(self) -> str:
        async with Api(f"http://127.0.0.1:{self.metrics_port}", "", connections=1) as api:
            return str((await api.call("GET", ("metrics",))).body)

    @property
    def token(self) -> str:
        return (self.data / "admin.token").read_text().strip()


@contextlib.asynccontextmanager
async def running(*settings: str, data: Path | None = None, config: Path | None = None) -> AsyncIterator[BenchServer]:
    """`ocs run` with these `--set`s and this file until it is ready; stopped in good order afterwards."""
    home = data or Path(tempfile.mkdtemp(prefix="ocs-bench-"))
    diameter, http, metrics = free_ports(3)
    listens = [
        f"diameter.listen=127.0.0.1:{diameter}",
        "diameter.admit_loopback=true",
        f"http.listen=127.0.0.1:{http}",
        f"metrics.listen=127.0.0.1:{metrics}",
        "radius.auth_listen=off",
        "radius.acct_listen=off",
        "log.level=warning",
    ]
    arguments = [word for setting in [*listens, *settings] for word in ("--set", setting)]
    arguments += ["--config", str(config)] if config is not None else []
    with (home / "log").open("wb") as log:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ocs", "run", "--data", str(home / "data"), *arguments, stdout=log, stderr=log
        )
    server = BenchServer(child.pid, diameter, http, metrics, home / "data")
    try:
        await _ready(server, child, home / "log")
        yield server
        if child.returncode is not None:
            raise SystemExit(f"the server ended meanwhile:\n{_tail(home / 'log')}")
    except ApiError as why:
        raise SystemExit(f"{why}\n{_tail(home / 'log')}") from None
    finally:
        if child.returncode is None:
            child.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(child.wait(), STOP_S_MAX)
            except TimeoutError:
                child.kill()
                await child.wait()
        if data is None:
            shutil.rmtree(home, ignore_errors=True)


async def _ready(server: BenchServer, child: asyncio.subprocess.Process, log: Path) -> None:
    async with Api(server.url, "", connections=1) as api:
        for _ in range(int(START_S_MAX / 0.1)):
            if child.returncode is not None:
                break
            with contextlib.suppress(ApiError):
                if (await api.call("GET", ("readyz",))).status == 200:
                    return
            await asyncio.sleep(0.1)
    raise SystemExit(f"the server did not get ready:\n{_tail(log)}")


def _tail(log: Path) -> str:
    return log.read_text()[-4_000:]


def free_ports(count: int) -> list[int]:
    """Nobody listens there now; the server binds them in a moment."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
