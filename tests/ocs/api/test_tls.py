"""The API over TLS, as its operator meets it: certificates of both sides, one that is renewed, and a log that tells no
secret."""

import contextlib
import http.client
import json
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.ocs.net.test_third_party_clients import certify, needs
from tests.ocs.running import RunningServer
from tests.servers import ROOT

pytestmark = [needs("openssl"), pytest.mark.serial]

ADMIN = "an-administrator's-token-of-32-characters-or-more".replace("'", "")
CERTIFICATES = '[{subject="one.example.net",caller="shop",roles=["cashier"]}]'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("tls")
    for name in ("ocs", "new", "one", "two", "stranger"):
        certify(folder, f"{'ocs' if name == 'new' else name}.example.net", f"{name}-")
    (folder / "ca.pem").write_text("".join((folder / f"{name}-cert.pem").read_text() for name in ("one", "two")))
    for what in ("cert", "key"):
        shutil.copy(folder / f"ocs-{what}.pem", folder / f"api-{what}.pem")
    (folder / "admin").write_text(ADMIN)
    running = RunningServer(
        folder / "data",
        f"http.tls_cert={folder / 'api-cert.pem'}",
        f"http.tls_key={folder / 'api-key.pem'}",
        f"http.tls_client_ca={folder / 'ca.pem'}",
        f"access.admin_token=file:{folder / 'admin'}",
        f"access.certificates={CERTIFICATES}",
        "log.level=debug",
    ).ready()
    yield running
    running.stop()


def ask(
    server: RunningServer, path: str, body: Any = None, *, ours: str = "ocs", name: str | None = None, token: str = ""
) -> tuple[int, Any]:
    folder = server.data.parent
    context = ssl.create_default_context(cafile=str(folder / f"{ours}-cert.pem"))
    context.check_hostname = False
    if name is not None:
        context.load_cert_chain(folder / f"{name}-cert.pem", folder / f"{name}-key.pem")
    connection = http.client.HTTPSConnection(*server.address("http"), context=context, timeout=30)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with contextlib.closing(connection):
        text = json.dumps(body) if body is not None else None
        connection.request("POST" if body is not None else "GET", path, text, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def test_who_shows_a_certificate_is_known_by_it(server: RunningServer) -> None:
    status, me = ask(server, "/v1/me", name="one")
    assert (status, me["caller"], me["credential"], me["roles"]) == (200, "shop", "certificate", ["cashier"])
    assert ask(server, "/v1/me", name="one", token=ADMIN)[1]["caller"] == "admin"  # a token goes before it
    status, problem = ask(server, "/v1/me", name="two")
    assert (status, "two.example.net" in problem["detail"]) == (401, True)
    assert ask(server, "/v1/me")[0] == 401
    assert ask(server, "/healthz")[0] == 200
    with pytest.raises((ssl.SSLError, ConnectionError)):
        ask(server, "/v1/me", name="stranger")
    plain = http.client.HTTPConnection(*server.address("http"), timeout=30)
    plain.request("GET", "/healthz")
    with pytest.raises((http.client.HTTPException, OSError)):
        plain.getresponse()
    plain.close()


def test_the_commands_speak_tls(server: RunningServer) -> None:
    host, port = server.address("http")
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "SSL_CERT_FILE": str(server.data.parent / "ocs-cert.pem")}
    command = [sys.executable, "-m", "ocs", "account", "show", "demo-1", "--token", ADMIN, "--url"]
    done = subprocess.run([*command, f"https://ocs.example.net:{port}"], env=environ, capture_output=True, text=True)
    assert "no server at" in done.stderr  # nobody resolves that name here
    environ["OCS_HTTP__LISTEN"] = f"{host}:{port}"
    for what in ("cert", "key"):
        environ[f"OCS_HTTP__TLS_{what.upper()}"] = str(server.data.parent / f"api-{what}.pem")
    done = subprocess.run(command[:-1], env=environ, capture_output=True, text=True, cwd=server.data)
    assert done.returncode == 0, done.stderr
    assert "20.00" in done.stdout


def test_no_secret_is_in_the_log(server: RunningServer) -> None:
    made = ask(server, "/v1/tokens", {"caller": "anna", "roles": ["care"]}, token=ADMIN)[1]["token"]
    assert ask(server, "/v1/me", token=made)[0] == 200
    assert ask(server, "/v1/me", token=made[:-3] + "AAA")[0] == 401
    status, _ = ask(server, "/v1/webhooks", {"url": "https://hooks.example.net/x"}, token=ADMIN)
    assert status == 201
    log = server.text
    for secret in (ADMIN, made, made.split("_", 2)[2], made[:-3] + "AAA", "testing123", "whsec_", "password=demo"):
        assert secret not in log, secret[:8]
    assert '"event"' in log


def test_a_renewed_certificate_is_served(server: RunningServer) -> None:
    folder = server.data.parent
    shutil.copy(folder / "new-key.pem", folder / "api-key.pem")
    server.wait(lambda: "api.certificate_unusable" in server.text)  # half of it: the one before goes on
    assert ask(server, "/healthz")[0] == 200
    shutil.copy(folder / "new-cert.pem", folder / "api-cert.pem")
    server.wait(lambda: "api.certificate_loaded" in server.text)
    assert ask(server, "/healthz", ours="new")[0] == 200
