"""`ocs run` as its operator meets it: real processes, embedded stores."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from tests.servers import ROOT

READY_S = 240
EVERYWHERE = ("diameter.listen", "http.listen", "metrics.listen", "radius.auth_listen", "radius.acct_listen")
"""Keys of all listeners."""


class RunningServer:
    def __init__(self, data: Path, *settings: str, log: Path | None = None) -> None:
        self.data, self.log = data, log or data / "run.log"
        chosen = [f"{key}=127.0.0.1:0" for key in EVERYWHERE if not any(one.startswith(key) for one in settings)]
        command = [sys.executable, "-m", "ocs", "run", "--demo", "--data", str(data)]
        for setting in (*chosen, "log.format=json", "workers=2", *settings):
            command += ["--set", setting]
        data.mkdir(exist_ok=True)
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                command, cwd=data, stdout=output, stderr=output, stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": str(ROOT)}, start_new_session=True,
            )  # fmt: skip

    def address(self, name: str) -> tuple[str, int]:
        """Where it serves, once it does."""
        found = re.search(rf'"event":"serving".*"{name}":"([^"]+):(\d+)"', self.text)
        assert found, self.text
        return found[1], int(found[2])

    def listening(self, name: str) -> tuple[str, int]:
        """Where it listens, whether it serves or not."""
        found = re.search(rf'"event":"listening".*"{name}":"([^"]+):(\d+)"', self.text)
        assert found, self.text
        return found[1], int(found[2])

    @property
    def text(self) -> str:
        return self.log.read_text()

    def ready(self) -> "RunningServer":
        # The demo data is loaded through the HTTP API when all processes are ready.
        self.wait(lambda: "ocs is up" in self.text and "could not be loaded" not in self.text)
        return self

    def wait(self, condition: Callable[[], object], seconds: float = READY_S) -> None:
        until = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.text
            assert time.monotonic() < until, self.text
            time.sleep(0.05)

    def metrics(self) -> str:
        host, port = self.address("metrics")
        with urllib.request.urlopen(f"http://{host}:{port}/metrics") as answer:
            return str(answer.read().decode())

    def metric(self, name: str) -> float:
        found = re.search(rf"^{re.escape(name)} (.*)$", self.metrics(), re.MULTILINE)
        return float(found[1]) if found else 0.0

    def descendants(self) -> list[int]:
        found: list[int] = []
        parents = [self.process.pid]
        while parents:
            parent = parents.pop()
            with contextlib.suppress(OSError):
                children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
                for thread in Path(f"/proc/{parent}/task").iterdir():
                    children += (thread / "children").read_text().split()
                new = {int(child) for child in children} - set(found)
                found += new
                parents += new
        return found

    def workers(self) -> list[int]:
        return [pid for pid in self.descendants() if b"ocs.processes.entry" in cmdline(pid)]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


def cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def alive(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def readyz(server: RunningServer) -> int:
    host, port = server.address("http")
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/readyz") as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        return int(refused.code)
