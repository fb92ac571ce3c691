"""`ocs run --demo` as a visitor has it: one command, a printed curl line that works, Ctrl-C, and again."""

import json
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ocs.running import EVERYWHERE

OFF = [f"--set={key}=127.0.0.1:0" for key in EVERYWHERE]


@contextmanager
def running(data: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process, and what it printed up to the curl line."""
    command = [sys.executable, "-m", "ocs", "run", "--demo", "--data", str(data), *OFF, "--set", "workers=1"]
    log = data.parent / "log"
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, text=True)
    try:
        deadline = time.monotonic() + 60
        while "curl" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        time.sleep(0.2)
        yield process, log.read_text()
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(30)


def curl(printed: str) -> dict[str, object]:
    """Does what the printed line does."""
    words = shlex.split(re.search(r"^\s*curl (.*)$", printed, re.MULTILINE)[1])  # type: ignore[index]
    header, url = words[1], words[2]
    token = Path(re.search(r"cat (.*)\)", header)[1]).read_text().strip()  # type: ignore[index]
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return dict(json.loads(answer.read()))


@pytest.mark.serial
def test_run_demo_stop_and_run_again(tmp_path: Path) -> None:
    data = tmp_path / "ocs-data"
    for _ in range(2):
        with running(data) as (process, printed):
            account = curl(printed)
            assert (account["id"], account["balance"], account["seq"]) == ("demo-1", "20.00", 1)
            url = re.search(r"http://127\.0\.0\.1:\d+", printed)
            assert url is not None
            listed = subprocess.run(
                [sys.executable, "-m", "ocs", "subscriber", "list", "--json", "--url", url[0], "--data", str(data)],
                check=True,
                capture_output=True,
                text=True,
            )
            assert len(json.loads(listed.stdout)["items"]) == 6
            with urllib.request.urlopen(f"{url[0]}/readyz", timeout=10) as ready:
                assert json.loads(ready.read())["status"] == "ok"
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
