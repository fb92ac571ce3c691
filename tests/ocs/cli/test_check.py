"""`ocs check` on stores that are there."""

import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from ocs.cli.root import cli
from ocs.clock import now_ms
from ocs.processes.data_lock import serving
from tests.ocs.running import EVERYWHERE
from tests.servers import Servers

FREE = [f"--set={key}=127.0.0.1:0" for key in EVERYWHERE if not key.startswith("radius.")]


def stores(servers: Servers) -> list[str]:
    """The test's own, whose file is synced each second."""
    settings = (f"redis.url={servers.redis_url}", f"postgres.dsn={servers.pg_dsn}", "durability=everysec")
    return [f"--set={setting}" for setting in settings]


def test_stores_that_answer(servers: Servers, tmp_path: str) -> None:
    there = stores(servers)
    done = CliRunner().invoke(cli, ["check", "--data", str(tmp_path), *there, *FREE])
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.count(": ok") == 8 + 3
    for setting in ("fsync", "full_page_writes", "synchronous_commit"):  # as the tests' own has them
        assert f"postgres, unsafe: {setting} is off: " in done.stdout


def test_ports_that_are_taken(servers: Servers, tmp_path: Path) -> None:
    there = stores(servers)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        taken = [*FREE, f"--set=diameter.listen=127.0.0.1:{port}"]
        done = CliRunner().invoke(cli, ["check", "--data", str(tmp_path), *there, *taken])
        assert done.exit_code == 1
        assert f"diameter.listen 127.0.0.1:{port}: cannot listen on 127.0.0.1:{port}: the port is taken" in done.stderr
        with serving(tmp_path):  # the server that is checked runs: the ports are its own
            done = CliRunner().invoke(cli, ["check", "--data", str(tmp_path), *there, *taken])
            assert (done.exit_code, done.stderr) == (0, "")


def test_a_port_of_radius_that_is_taken(servers: Servers, tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        radius = [
            '--set=radius.clients=[{address="10.0.0.1",secret="x"}]',
            f"--set=radius.acct_listen=127.0.0.1:{port}",
            "--set=radius.auth_listen=127.0.0.1:0",
        ]
        done = CliRunner().invoke(cli, ["check", "--data", str(tmp_path), *stores(servers), *FREE, *radius])
        assert done.exit_code == 1
        assert (
            f"radius.acct_listen 127.0.0.1:{port}: cannot listen on 127.0.0.1:{port}: the port is taken" in done.stderr
        )
        assert "radius.auth_listen 127.0.0.1:0: ok" in done.stdout


def test_a_clock_that_is_off(servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = stores(servers)
    for module in ("ocs.cli.checks", "ocs.stores.postgres_check"):
        monkeypatch.setattr(f"{module}.now_ms", lambda: now_ms() - 60_000)
    done = CliRunner().invoke(cli, ["check", "--data", str(tmp_path), *there, *FREE])
    assert done.exit_code == 1
    for whose in ("the live store", "PostgreSQL"):
        assert re.search(rf"our clock is (59|60)\d\d\d ms behind that of {whose};", done.stderr)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not on PATH")
def test_a_key_of_another_certificate(servers: Servers, tmp_path: Path) -> None:
    for name in ("ours", "other"):
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        command += ["-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    there = stores(servers)
    (tmp_path / "no.pem").write_text("nothing of the kind")
    for cert, key, said in (
        ("ours.pem", "ours.key", ""),
        ("ours.pem", "other.key", "the key is not that of the certificate"),
        ("no.pem", "ours.key", "expected PEM"),
        ("gone.pem", "ours.key", "No such file"),
    ):
        files = {"tls_cert": cert, "tls_key": key, "tls_ca": "ours.pem"}
        tls = [f"--set=diameter.{name}={tmp_path / file}" for name, file in files.items()]
        tls.append("--set=diameter.tls_listen=127.0.0.1:0")
        done = CliRunner().invoke(cli, ["check", "--data", str(tmp_path), *there, *FREE, *tls])
        assert done.exit_code == (1 if said else 0), done.stderr
        assert said in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["check", "--data", ""],
        ["run", "--config", ""],
        ["ledger", "verify", "--url", ""],
        ["ledger", "verify", "--data", ""],
        ["tariff", "whatif", "--from", "2026-01-01", "--to", "2026-02-01", "--tariff", "x.toml", "--account", ""],
    ],
)
def test_an_option_given_empty_is_not_one_left_out(words: list[str]) -> None:
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 2
    assert "it is empty: leave the option out" in done.stderr


def test_built_in_contexts_that_nobody_serves(servers: Servers, tmp_path: Path) -> None:
    config = tmp_path / "ocs.toml"
    there = stores(servers)
    for key, said in (("contexts_only", 1), ("contexts", 0)):
        config.write_text(f'[charging.services.sms]\n{key} = ["sms@vendor.example"]\n')
        done = CliRunner().invoke(
            cli, ["check", "--config", str(config), "--data", str(tmp_path / "data"), *there, *FREE]
        )
        assert (done.exit_code, done.stderr) == (0, "")
        assert done.stdout.count("nobody serves now: 32274@3gpp.org") == said


@pytest.mark.parametrize("name", ["OCS_URL", "OCS_TOKEN", "OCS_TOKEN_FILE"])
def test_an_empty_variable_is_not_an_unset_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "")
    done = CliRunner().invoke(cli, ["ledger", "status"])
    assert (done.exit_code, f"{name} is empty" in done.stderr) == (1, True)
