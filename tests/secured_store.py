"""A live store over TLS alone, with certificates on both sides, and the user that docs/cluster.md gives to the server.

The embedded Valkey is built without TLS: `redis-server` on PATH is used.
"""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest
import redis

from tests.servers import ROOT

ADMIN: Final = "of-the-operator"
PASSWORD: Final = "p@ss/w:rd"
SENTINEL_ADMIN: Final = "of-the-operator-there"
SENTINEL_PASSWORD: Final = "s@ntinel"


@functools.cache
def redis_with_tls() -> Path | None:
    """The server on PATH, if it can do TLS."""
    found = shutil.which("redis-server")
    if found is None or shutil.which("openssl") is None:
        return None
    linked = subprocess.run(["ldd", found], capture_output=True, text=True, check=False).stdout
    return Path(found) if "libssl" in linked else None


needs_tls: Final = pytest.mark.skipif(redis_with_tls() is None, reason="no redis-server with TLS, or no openssl")


def documented_user(heading: str, password: str) -> list[str]:
    """The rules of the user in the first block behind this heading of docs/cluster.md."""
    text = (ROOT / "docs" / "cluster.md").read_text()
    found = re.search(rf"^## {re.escape(heading)}\n.*?^ACL SETUSER ocs (.*?)\n```", text, re.DOTALL | re.MULTILINE)
    assert found, heading
    return found[1].replace(">PASSWORD", f">{password}").split()


class StoreSecurity:
    """Certificates in a folder; what servers, their operator and `ocs` need to use them."""

    def __init__(self, folder: Path, subject: str = "IP:127.0.0.1") -> None:
        """subject: whom the certificates name"""
        self._subject = subject
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        for name in ("server", "client"):
            self._certify(name)
        self._file("ca").write_text("".join(self._file(f"{name}-cert").read_text() for name in ("server", "client")))
        binary = redis_with_tls()
        assert binary is not None
        self.binary = binary

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.pem"

    def _certify(self, name: str) -> None:
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
        command += ["-addext", f"subjectAltName={self._subject}"]
        command += ["-keyout", str(self._file(f"{name}-key")), "-out", str(self._file(f"{name}-cert"))]
        subprocess.run(command, check=True, capture_output=True)

    def tls(self, port: int) -> dict[str, str]:
        """Settings of a server, or a Sentinel, that listens there over TLS and nowhere else."""
        return {
            "port": "0",
            "tls-port": str(port),
            "tls-cert-file": str(self._file("server-cert")),
            "tls-key-file": str(self._file("server-key")),
            "tls-ca-cert-file": str(self._file("ca")),
            "tls-auth-clients": "yes",
            "tls-replication": "yes",
        }

    def settings(self, port: int) -> dict[str, str]:
        """The same of a server, with its users: the operator's, and the documented one."""
        users = f"user default on >{ADMIN} ~* &* +@all\nuser ocs {' '.join(documented_user('The user', PASSWORD))}\n"
        self._file("users").write_text(users)
        return self.tls(port) | {"aclfile": str(self._file("users")), "masterauth": ADMIN}

    def of_sentinels(self, service: str) -> str:
        """Lines of a Sentinel's configuration: its users, and as whom it looks at servers and at other Sentinels."""
        user = " ".join(documented_user("Sentinels", SENTINEL_PASSWORD))
        return (
            f"requirepass {SENTINEL_ADMIN}\nsentinel sentinel-pass {SENTINEL_ADMIN}\n"
            f"sentinel auth-pass {service} {ADMIN}\nuser ocs {user}\n"
        )

    def client(self, port: int, password: str = ADMIN, **more: Any) -> Any:
        """Of the operator."""
        return redis.Redis(
            host="127.0.0.1",
            port=port,
            password=password,
            ssl=True,
            ssl_check_hostname=self._subject.startswith("IP:"),
            ssl_ca_certs=str(self._file("ca")),
            ssl_certfile=str(self._file("client-cert")),
            ssl_keyfile=str(self._file("client-key")),
            **more,
        )

    def url(self, kind: str, places: Iterable[str], path: str = "", **more: str) -> str:
        """As the server's own user, with the client's certificate. kind: `cluster` or `sentinel`"""
        options = {
            "ssl_ca_certs": str(self._file("ca")),
            "ssl_certfile": str(self._file("client-cert")),
            "ssl_keyfile": str(self._file("client-key")),
        } | more
        query = "&".join(f"{name}={quote(value, safe='/')}" for name, value in options.items())
        return f"rediss+{kind}://ocs:{quote(PASSWORD, safe='')}@{','.join(places)}{path}?{query}"


def refused(client: Any) -> list[str]:
    """What the documented user was refused at a server."""
    denied: list[dict[str, Any]] = client.acl_log()
    return [f"{one['reason']} {one['object']}" for one in denied if one["username"] == "ocs"]
