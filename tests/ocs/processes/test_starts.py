"""Starts that cannot go well: each says so in a sentence."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.ocs.running import RunningServer, readyz
from tests.servers import ROOT

pytestmark = pytest.mark.serial


def test_a_taken_port_is_a_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        server = RunningServer(tmp_path, f"diameter.listen=127.0.0.1:{port}")
        assert server.process.wait(20) == 1
        assert f"diameter.listen: cannot listen on 127.0.0.1:{port}: the port is taken" in server.text
        assert "Traceback" not in server.text
        assert not (tmp_path / "valkey").exists()  # nothing was started for nothing


def test_without_postgres_it_says_so_and_waits(tmp_path: Path) -> None:
    server = RunningServer(tmp_path, "postgres.dsn=postgresql://u:secret@127.0.0.1:1/x")
    try:
        server.wait(lambda: '"event":"keeper.store_away"' in server.text)
        host, port = server.listening("http")

        def reason() -> str:
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(f"http://{host}:{port}/readyz")
            return str(json.loads(refused.value.read())["checks"].get("keeper 0"))

        server.wait(lambda: reason().startswith("shards cannot be opened without PostgreSQL: "))
        assert urllib.request.urlopen(f"http://{host}:{port}/healthz").status == 200
    finally:
        assert server.stop() == 0
    assert "Traceback" not in server.text
    assert "secret" not in server.text
    assert '"event":"child.ended"' not in server.text  # nothing is started again and again


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "ocs-test", str(small)], check=False)
    if mounted.returncode != 0:
        pytest.skip("a small file system cannot be mounted here")
    try:
        server = RunningServer(small / "d", log=tmp_path / "run.log")
        try:
            server.wait(lambda: "ocs is up" in server.text)
            with contextlib.suppress(OSError), (small / "ballast").open("wb") as ballast:
                while True:
                    ballast.write(bytes(1 << 16))
                    ballast.flush()
            top_up(server)
            server.wait(lambda: '"why":"the disk is full: nothing can be written to' in server.text)
            server.wait(lambda: readyz(server) == 503)
            (small / "ballast").unlink()
            server.wait(lambda: readyz(server) == 200)  # it goes on by itself
            top_up(server)
        finally:
            assert server.stop() == 0
        assert "Traceback" not in server.text
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def top_up(server: RunningServer) -> None:
    """Some writes, whatever becomes of them."""
    host, port = server.address("http")
    token = (server.data / "admin.token").read_text().strip()
    for number in range(20):
        request = urllib.request.Request(
            f"http://{host}:{port}/v1/accounts/demo-1/topups",
            data=b'{"amount": "1.00"}',
            headers={"Authorization": f"Bearer {token}", "Idempotency-Key": f"k{number}"},
        )
        with contextlib.suppress(OSError):
            urllib.request.urlopen(request, timeout=10).close()


def test_a_second_start_on_one_data_directory_is_a_sentence(tmp_path: Path) -> None:
    server = RunningServer(tmp_path).ready()
    try:
        second = subprocess.run(
            [sys.executable, "-m", "ocs", "run", "--data", str(server.data)]
            + [
                f"--set={key}=127.0.0.1:0"
                for key in (
                    "diameter.listen",
                    "http.listen",
                    "metrics.listen",
                    "radius.auth_listen",
                    "radius.acct_listen",
                )
            ],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert second.returncode == 1
        assert f"is in use by another running server (process {server.process.pid})" in second.stderr
        assert "Traceback" not in second.stderr
        assert readyz(server) == 200
    finally:
        assert server.stop() == 0
