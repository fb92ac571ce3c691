"""A real Valkey cluster on loopback: three primaries with a replica each, for tests that kill, freeze and move.

Nodes are configured one by one (SLOTS, MEET, REPLICATE), so that no tool is needed besides the server, in two or three
seconds. Node i below `primaries` begins as a primary, the others as replicas of node i - primaries.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import redis

from balances.redis.topology import SHARD_SLOTS, SLOTS
from ocs.processes.embedded import find_valkey
from tests.secured_store import StoreSecurity

PATIENCE_S: Final = 60
"""A machine may be loaded ten times over."""


class ClusterTrouble(Exception):
    """The cluster did not come to where the test waits for it."""


class ClusterServer:
    """One node, which keeps its data and its place from start to start."""

    def __init__(
        self,
        home: Path,
        port: int,
        binary: Path,
        settings: Mapping[str, str],
        security: StoreSecurity | None = None,
    ) -> None:
        self.home, self.port, self._binary = home, port, binary if security is None else security.binary
        self._settings = dict(settings) | ({"port": str(port)} if security is None else security.settings(port))
        self.child: subprocess.Popen[bytes] | None = None
        self._is_frozen = False
        connect = redis.Redis if security is None else security.client
        self.client: Any = connect(port=port, socket_timeout=5)

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        words = [str(self._binary), "--dir", str(self.home), "--bind", "127.0.0.1"]
        for name, value in self._settings.items():
            words += [f"--{name}", value]
        with (self.home / "log").open("ab") as log:
            self.child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill(self) -> None:
        if self.child is not None:
            self.child.kill()
            self.child.wait()
            self.child, self._is_frozen = None, False

    def freeze(self) -> None:
        assert self.child is not None
        self.child.send_signal(signal.SIGSTOP)
        self._is_frozen = True

    def thaw(self) -> None:
        assert self.child is not None
        self.child.send_signal(signal.SIGCONT)
        self._is_frozen = False

    def role(self) -> str:
        """master, slave, or "" where it does not answer; one that is frozen would be waited for."""
        if self._is_frozen:
            return ""
        try:
            return str(self.client.execute_command("ROLE")[0].decode())
        except redis.RedisError:
            return ""


class LiveCluster:
    """
    timeout_ms:  cluster-node-timeout: a primary is failed over so long after its end
    settings:    of every node besides
    security:    over TLS, with users
    """

    def __init__(
        self,
        home: Path,
        *,
        primaries: int = 3,
        replicas: int = 1,
        timeout_ms: int = 2_000,
        binary: Path | None = None,
        settings: Mapping[str, str] | None = None,
        security: StoreSecurity | None = None,
    ) -> None:
        self._primaries, self._security = primaries, security
        common = {
            "cluster-enabled": "yes",
            "cluster-node-timeout": str(timeout_ms),
            "cluster-replica-validity-factor": "0",
            "cluster-require-full-coverage": "no",
            "repl-diskless-sync-delay": "0",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            "save": "",
            "protected-mode": "no",
        } | ({} if security is None else {"tls-cluster": "yes"})
        self.servers = [
            ClusterServer(home / str(number), port, binary or find_valkey(), common | dict(settings or {}), security)
            for number, port in enumerate(free_ports(primaries * (1 + replicas)))
        ]

    @property
    def url(self) -> str:
        places = [server.name for server in self.servers]
        return (
            f"redis+cluster://{','.join(places)}" if self._security is None else self._security.url("cluster", places)
        )

    def start(self) -> str:
        """Start all; the first time make a cluster of them. Returns its URL."""
        fresh = not (self.servers[0].home / "nodes.conf").exists()
        for server in self.servers:
            server.start()
        until(lambda: all(server.role() for server in self.servers), "all nodes answer")
        if fresh:
            self._join()
        until(self.is_well, "the cluster is well")
        return self.url

    def _join(self) -> None:
        first, step = self.servers[0], -(-SLOTS // self._primaries)
        for number, server in enumerate(self.servers):
            server.client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
            if number < self._primaries:
                last = min((number + 1) * step, SLOTS) - 1
                server.client.execute_command("CLUSTER ADDSLOTSRANGE", number * step, last)
            if server is not first:
                server.client.execute_command("CLUSTER MEET", "127.0.0.1", first.port)
        until(lambda: all(len(self._nodes(server)) == len(self.servers) for server in self.servers), "all have met")
        for number, server in enumerate(self.servers[self._primaries :]):
            of = self.servers[number % self._primaries].client.execute_command("CLUSTER MYID")
            server.client.execute_command("CLUSTER REPLICATE", of)

    def is_well(self) -> bool:
        """Every node says so, and every replica follows its primary."""
        for server in (one for one in self.servers if one.child is not None):
            try:
                info: Any = server.client.execute_command("CLUSTER INFO")
                replication: Any = server.client.info("replication")
            except redis.RedisError:
                return False
            said = info if isinstance(info, dict) else {}
            if said.get("cluster_state") != "ok":
                return False
            if replication["role"] == "slave" and replication["master_link_status"] != "up":
                return False
        return True

    def primary_of(self, shard: int) -> ClusterServer:
        """As the nodes that answer have it now."""
        slot = SHARD_SLOTS[shard]
        for server in (one for one in self.servers if one.child is not None and one.role() == "master"):
            for first, last in self._own_slots(server):
                if first <= slot <= last:
                    return server
        raise ClusterTrouble(f"nobody has shard {shard}")

    def has_primary(self, shard: int) -> bool:
        try:
            self.primary_of(shard)
        except ClusterTrouble:
            return False
        return True

    def shards_of(self, server: ClusterServer) -> list[int]:
        ranges = self._own_slots(server)
        return [shard for shard, slot in enumerate(SHARD_SLOTS) if any(a <= slot <= b for a, b in ranges)]

    def node_id(self, server: ClusterServer) -> str:
        return str(server.client.execute_command("CLUSTER MYID").decode())

    def stop(self) -> None:
        for server in self.servers:
            server.kill()
            server.client.close()

    def _nodes(self, server: ClusterServer) -> list[list[str]]:
        # One word, so that the client does not parse it.
        text = server.client.execute_command("CLUSTER", "NODES").decode()
        return [line.split(" ") for line in text.splitlines()]

    def _own_slots(self, server: ClusterServer) -> list[tuple[int, int]]:
        for words in self._nodes(server):
            if "myself" in words[2]:
                ranges = [word.partition("-") for word in words[8:] if not word.startswith("[")]
                return [(int(first), int(last or first)) for first, _, last in ranges]
        return []


def until(reached: Callable[[], bool], what: str) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not reached():
        if time.monotonic() > end_s:
            raise ClusterTrouble(f"not in {PATIENCE_S} s: {what}")
        time.sleep(0.02)


def free_ports(count: int) -> list[int]:
    """Of the cluster bus too, which is 10,000 above; held all at once, so that none comes twice."""
    held: list[socket.socket] = []
    found: list[int] = []
    try:
        while len(found) < count:
            one = socket.socket()
            held.append(one)
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            bus = socket.socket()
            held.append(bus)
            if port + 10_000 > 65_535:
                port -= 30_000
                one = socket.socket()
                held.append(one)
                try:
                    one.bind(("127.0.0.1", port))
                except OSError:
                    continue
            try:
                bus.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
            found.append(port)
    finally:
        for one in held:
            one.close()
    return found
