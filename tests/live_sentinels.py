"""A real Valkey primary with replicas and three Sentinels on loopback, for tests that kill and freeze."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import redis

from ocs.processes.embedded import find_valkey
from tests.live_cluster import ClusterServer, free_ports, until
from tests.secured_store import SENTINEL_ADMIN, SENTINEL_PASSWORD, StoreSecurity

SERVICE: Final = "ocs"


class SentinelProcess:
    """It keeps what it knows in the file that it was started with."""

    def __init__(
        self, home: Path, port: int, primary: int, down_ms: int, quorum: int, security: StoreSecurity | None
    ) -> None:
        self._home, self.port = home, port
        self._file = home / "sentinel.conf"
        self._binary = find_valkey() if security is None else security.binary
        home.mkdir(parents=True)
        listens = {"port": str(port)} if security is None else security.tls(port)
        self._file.write_text(
            "".join(f"{name} {value}\n" for name, value in listens.items())
            + f"bind 127.0.0.1\nprotected-mode no\ndir {home}\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {primary} {quorum}\n"
            f"sentinel down-after-milliseconds {SERVICE} {down_ms}\n"
            f"sentinel failover-timeout {SERVICE} 3000\n"
            f"sentinel parallel-syncs {SERVICE} 2\n" + ("" if security is None else security.of_sentinels(SERVICE))
        )
        self.child: subprocess.Popen[bytes] | None = None
        if security is None:
            self.client: Any = redis.Redis(port=port, socket_timeout=5, protocol=2)
        else:
            self.client = security.client(port, SENTINEL_ADMIN, socket_timeout=5, protocol=2)

    def start(self) -> None:
        with (self._home / "log").open("ab") as log:
            words = [str(self._binary), str(self._file), "--sentinel"]
            self.child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill(self) -> None:
        if self.child is not None:
            self.child.kill()
            self.child.wait()
            self.child = None

    def facts(self) -> dict[str, str]:
        try:
            said = self.client.execute_command("SENTINEL", "MASTER", SERVICE)
        except redis.RedisError:
            return {}
        return {name.decode(): value.decode() for name, value in zip(said[::2], said[1::2], strict=True)}


class LiveSentinels:
    """
    down_ms:   a primary is taken for gone so long after its last word
    settings:  of every server besides
    security:  over TLS, with users
    primary:   the port of the first server
    reached:   where Sentinels and replicas reach it instead
    """

    def __init__(
        self,
        home: Path,
        *,
        replicas: int = 2,
        down_ms: int = 1_000,
        settings: Mapping[str, str] | None = None,
        security: StoreSecurity | None = None,
        primary: int = 0,
        reached: int = 0,
    ) -> None:
        self._security = security
        ports = free_ports(1 + replicas + 3)
        ports[0] = primary or ports[0]
        self.reached = reached or ports[0]
        common = {
            "repl-diskless-sync-delay": "0",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            "save": "",
            "protected-mode": "no",
        } | dict(settings or {})
        self.servers = [
            ClusterServer(
                home / str(number),
                port,
                find_valkey(),
                common | ({"replicaof": f"127.0.0.1 {self.reached}"} if number else {}),
                security,
            )
            for number, port in enumerate(ports[: 1 + replicas])
        ]
        self.sentinels = [
            SentinelProcess(home / f"sentinel{number}", port, self.reached, down_ms, 2, security)
            for number, port in enumerate(ports[1 + replicas :])
        ]

    @property
    def url(self) -> str:
        places = [f"127.0.0.1:{one.port}" for one in self.sentinels]
        if self._security is None:
            return f"redis+sentinel://{','.join(places)}/{SERVICE}"
        login = {"sentinel_username": "ocs", "sentinel_password": SENTINEL_PASSWORD}
        return self._security.url("sentinel", places, f"/{SERVICE}", **login)

    def start(self) -> str:
        for server in self.servers:
            server.start()
        replicas = len(self.servers) - 1
        until(lambda: all(server.role() for server in self.servers), "all servers answer")
        until(lambda: self.servers[0].client.info("replication")["connected_slaves"] == replicas, "all follow")
        for sentinel in self.sentinels:
            sentinel.start()
        wanted = {"num-slaves": str(replicas), "num-other-sentinels": "2", "flags": "master"}
        until(lambda: all(wanted.items() <= one.facts().items() for one in self.sentinels), "the Sentinels know all")
        return self.url

    def primary(self) -> ClusterServer | None:
        """As the Sentinels that answer have it, once they agree and it says so itself."""
        said = {facts["port"] for one in self.sentinels if (facts := one.facts())}
        found = [server for server in self.servers if str(server.port) in said and server.role() == "master"]
        return found[0] if len(said) == len(found) == 1 else None

    def failing_over(self) -> bool:
        """Whether a Sentinel that answers is at it, or may begin at once."""
        return any(facts["flags"] != "master" for one in self.sentinels if (facts := one.facts()))

    def until_failed_over(self, former: ClusterServer) -> ClusterServer:
        until(lambda: self.primary() not in (None, former), "a replica has taken over")
        found = self.primary()
        assert found is not None
        return found

    def follow(self, server: ClusterServer, primary: ClusterServer) -> None:
        """What the Sentinels would say to a former primary that is back, eight seconds later."""
        until(lambda: bool(server.role()), "it answers")
        server.client.execute_command("REPLICAOF", "127.0.0.1", primary.port)

    def stop(self) -> None:
        for sentinel in self.sentinels:
            sentinel.kill()
            sentinel.client.close()
        for server in self.servers:
            server.kill()
            server.client.close()
