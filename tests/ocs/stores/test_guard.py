"""Stores that lose money: each setting by name, refused at the start, an alarm at run time, accepted only by name."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import structlog
from click.testing import CliRunner

from balances import keys
from balances.ledger.reader import connect
from balances.ledger.risks import SETTINGS, installation, is_new_enough, judge, risks_at, risks_of
from balances.redis.connection import RedisConnection
from balances.redis.primaries import plain
from balances.redis.replicas import ReplicaPromise
from ocs.cli.root import cli
from ocs.clock import now_ms
from ocs.config.load import load
from ocs.doctor.finding import Severity
from ocs.doctor.live_store import examine_live_store
from ocs.processes.embedded import EmbeddedValkey
from ocs.stores.guard import refused_at_start, store_troubles
from tests.balances.ledger.books import close
from tests.balances.ledger.books import connect as both_stores
from tests.live_cluster import LiveCluster, free_ports, until
from tests.live_sentinels import SentinelProcess
from tests.ocs.keeper.test_keeper import keeping
from tests.servers import LiveValkey, Servers

SAFE = {
    "maxmemory": "1073741824",
    "maxmemory-policy": "noeviction",
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "save": "",
}


@pytest.mark.parametrize(
    ("changed", "durability", "names"),
    [
        ({}, "always", []),
        ({}, "everysec", []),
        ({"appendfsync": "everysec"}, "everysec", []),
        ({"save": "3600 1"}, "always", []),
        ({"appendfsync": "everysec"}, "always", ["appendfsync"]),
        ({"appendfsync": "no"}, "everysec", ["appendfsync"]),
        ({"no-appendfsync-on-rewrite": "yes"}, "always", ["appendfsync"]),
        ({"maxmemory-policy": "allkeys-lru"}, "always", ["eviction"]),
        ({"maxmemory-policy": "volatile-ttl"}, "always", ["eviction"]),
        ({"maxmemory": "0"}, "always", ["maxmemory"]),
        ({"appendonly": "no", "save": "3600 1"}, "everysec", ["appendonly"]),
        ({"appendonly": "no", "save": ""}, "everysec", ["persistence"]),
        ({"appendonly": "no", "maxmemory": "0", "maxmemory-policy": "allkeys-lfu"}, "everysec",
         ["eviction", "maxmemory", "persistence"]),
    ],
)  # fmt: skip
def test_what_loses_money(changed: dict[str, str], durability: str, names: list[str]) -> None:
    found = judge(SAFE | changed, durability)
    assert [risk.name for risk in found] == names
    assert all(risk.text for risk in found)


def test_all_that_is_judged_is_asked_for() -> None:
    assert set(SAFE) == set(SETTINGS)


@pytest.mark.parametrize(
    ("version", "enough"),
    [
        ("6.2.14", False),
        ("6.9", False),
        ("7.0.0", True),
        ("7.2.4", True),
        ("8", True),
        ("10.1.2", True),
        ("255.255.255", True),
    ],
)
def test_it_has_to_have_functions(version: str, enough: bool) -> None:
    assert is_new_enough(version) == enough


async def test_replicated_needs_replicas(redis_url: str) -> None:
    """Without them no call would be answered; and one that is cut off from them would take calls that are lost."""
    redis = connect(redis_url)
    assert "replicas" not in {risk.name for risk in await risks_of(plain(redis), "everysec")}
    found = [
        risk.text for risk in await risks_of(plain(redis), "replicated", ReplicaPromise(2)) if risk.name == "replicas"
    ]
    assert found[0].startswith("it has 0 replicas, and redis.replicas is 2")
    assert found[1].startswith("min-replicas-to-write is 0, below redis.replicas = 2")
    await redis.config_set("min-replicas-to-write", 2)
    try:
        assert (
            len(
                [
                    risk
                    for risk in await risks_of(plain(redis), "replicated", ReplicaPromise(2))
                    if risk.name == "replicas"
                ]
            )
            == 1
        )
    finally:
        await redis.config_set("min-replicas-to-write", 0)
        await redis.aclose()


async def test_replicas_on_disk(redis_url: str, monkeypatch: pytest.MonkeyPatch, settings: StoreSettings) -> None:
    """It is asked with each write, so an fsync once a second is too seldom; and the server has to know the question."""
    server, on_disk = plain(connect(redis_url)), ReplicaPromise(1, on_disk=True)

    async def names(durability: str, promise: ReplicaPromise) -> set[str]:
        return {risk.name for risk in await risks_of(server, durability, promise)}

    assert await names("replicated", ReplicaPromise(1)) == {"replicas"}
    assert await names("replicated", on_disk) == {"replicas", "appendfsync"}
    settings.set("appendfsync", "always")
    assert await names("replicated", on_disk) == {"replicas"}
    monkeypatch.setattr("balances.ledger.risks.WAITAOF_VERSION", (99, 0))
    assert await names("replicated", on_disk) == {"replicas", "version"}
    assert await names("replicated", ReplicaPromise(1)) == {"replicas"}
    assert await names("always", on_disk) == set()
    await server.client.aclose()


async def test_sentinels_that_are_named_as_a_store(tmp_path: Path) -> None:
    sentinel = SentinelProcess(tmp_path / "sentinel", free_ports(1)[0], 1, 1_000, 1, None)
    sentinel.start()
    try:
        until(lambda: bool(sentinel.facts()), "it answers")
        (risk,) = await risks_at(f"redis://127.0.0.1:{sentinel.port}", "always")
        assert (risk.name, "it is a Sentinel" in risk.text, "redis+sentinel://" in risk.text) == ("kind", True, True)
    finally:
        sentinel.kill()
        sentinel.client.close()


async def test_a_cluster_that_refuses_all_calls_for_one_failed_primary(tmp_path: Path) -> None:
    """Judged of each primary, and of a cluster only: every server has the setting."""
    cluster = LiveCluster(
        tmp_path / "cluster",
        replicas=0,
        settings={"appendfsync": "always", "maxmemory": "1073741824"},
    )
    try:
        url = cluster.start()
        assert await risks_at(url, "always") == []
        (kind,) = await risks_at(f"redis://{cluster.servers[0].name}", "always")
        assert kind == ("kind", "it is a node of a cluster: redis.url has to name it as redis+cluster://node,node")
        link = RedisConnection(f"redis://{cluster.servers[0].name}", now_ms=now_ms)
        await link.start(0)
        async with asyncio.timeout(60):
            while "use redis+cluster://" not in link.why:
                await asyncio.sleep(0.01)
        await link.stop()
        second = cluster.servers[1]
        second.client.config_set("cluster-require-full-coverage", "yes")
        (risk,) = await risks_at(url, "always")
        assert risk.name == "coverage"
        assert risk.text.startswith(f"{second.name}: cluster-require-full-coverage is yes: ")
        config = load(overrides=[f"redis.url={url}"], data=tmp_path)
        (trouble,) = await store_troubles(config)
        assert trouble[0] == "redis, coverage"
        assert trouble[1].endswith("set it to no on every node [redis.accept_risks: coverage]")
        assert "[redis.accept_risks: coverage]" in await refused_at_start(config)
        examined = await examine_live_store(config, url)
        (found,) = (one for one in examined.findings if one.severity is Severity.ERROR)
        assert "cluster-require-full-coverage is yes" in found.what
        assert {server.name for server in cluster.servers} <= {*examined.facts}
        accepted = load(overrides=[f"redis.url={url}", 'redis.accept_risks=["coverage"]'], data=tmp_path)
        assert await refused_at_start(accepted) == ""
    finally:
        cluster.stop()


async def test_one_server_is_not_asked_for_coverage(redis_url: str) -> None:
    client: Any = redis.Redis.from_url(redis_url, decode_responses=True)
    assert client.config_get("cluster-require-full-coverage") == {"cluster-require-full-coverage": "yes"}
    client.close()
    assert "coverage" not in {risk.name for risk in await risks_at(redis_url, "everysec")}


async def test_a_store_that_is_too_old_is_named(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("balances.ledger.risks.LEAST_VERSION", (99, 0))
    (risk,) = await risks_at(redis_url, "everysec")
    assert risk.name == "version"
    assert "has no functions before 99.0" in risk.text


@pytest.mark.parametrize("durability", ["always", "everysec"])
async def test_the_embedded_store_passes(tmp_path: Path, durability: Any) -> None:
    valkey = EmbeddedValkey(tmp_path, durability=durability)
    url = valkey.start()
    try:
        assert await risks_at(url, durability) == []
    finally:
        valkey.stop()


class StoreSettings:
    """CONFIG SET, undone at the end."""

    def __init__(self, url: str) -> None:
        self.client: Any = redis.Redis.from_url(url, decode_responses=True)
        self.before: dict[str, str] = {name: str(self.client.config_get(name)[name]) for name in SETTINGS}

    def set(self, name: str, value: str) -> None:
        self.client.config_set(name, value)


@pytest.fixture
def settings(redis_url: str, valkey: LiveValkey) -> Iterator[StoreSettings]:
    made = StoreSettings(redis_url)
    yield made
    made.client.replicaof("NO", "ONE")
    for name, value in made.before.items():
        made.client.config_set(name, value)
    made.client.close()


async def test_a_store_is_asked(redis_url: str, settings: StoreSettings) -> None:
    assert await risks_at(redis_url, "everysec") == []
    settings.set("maxmemory-policy", "allkeys-lru")
    settings.set("maxmemory", "0")
    assert [risk.name for risk in await risks_at(redis_url, "everysec")] == ["eviction", "maxmemory"]
    settings.client.replicaof("127.0.0.1", "1")
    assert [risk.name for risk in await risks_at(redis_url, "everysec")] == ["replica", "eviction", "maxmemory"]


def test_check_says_each_in_one_sentence(servers: Servers, settings: StoreSettings, tmp_path: Path) -> None:
    there = ["--set", f"redis.url={servers.redis_url}", "--set", f"postgres.dsn={servers.pg_dsn}"]
    off = [f"--set={key}.listen=off" for key in ("diameter", "http", "metrics")]
    words = ["check", "--data", str(tmp_path), *there, *off]
    settings.set("maxmemory-policy", "allkeys-lru")
    done = CliRunner().invoke(cli, words)  # durability is `always`, the store's everysec
    assert done.exit_code == 1
    assert "redis, eviction: maxmemory-policy is allkeys-lru: " in done.stderr
    assert "redis, appendfsync: appendfsync is everysec, weaker than durability = always: " in done.stderr
    done = CliRunner().invoke(cli, [*words, "--set", "durability=everysec", "--set", 'redis.accept_risks=["eviction"]'])
    assert (done.exit_code, done.stderr) == (0, "")
    assert "allkeys-lru" in done.stdout
    settings.client.set(keys.INSTALLATION, "another")
    done = CliRunner().invoke(cli, [*words, "--set", "durability=everysec", "--set", 'redis.accept_risks=["eviction"]'])
    assert (done.exit_code, "installation another" in done.stderr) == (1, True)


@pytest.mark.serial
@pytest.mark.parametrize(("name", "value", "says"), [
    ("maxmemory-policy", "allkeys-lru", "redis.accept_risks: eviction"),
    ("appendonly", "no", "redis.accept_risks: persistence"),
])  # fmt: skip
def test_a_start_is_refused(
    servers: Servers, settings: StoreSettings, tmp_path: Path, name: str, value: str, says: str
) -> None:
    settings.set(name, value)
    command = [sys.executable, "-m", "ocs", "run", "--data", str(tmp_path), "--set", f"redis.url={servers.redis_url}"]
    for given in ("diameter.listen=off", "http.listen=off", "metrics.listen=off", "durability=everysec"):
        command += ["--set", given]
    command += ["--set", f"postgres.dsn={servers.pg_dsn}"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr


# --- in the keeper: what comes after the start, and what only PostgreSQL can tell


async def test_what_is_changed_at_run_time_is_an_alarm(servers: Servers, settings: StoreSettings) -> None:
    with structlog.testing.capture_logs() as logs:
        async with keeping(servers, alarm_ms=100, guard_s=0.05) as both:

            def told(event: str) -> list[Any]:
                return [line for line in logs if line["event"] == event and line.get("about") == "redis: eviction"]

            settings.set("maxmemory-policy", "allkeys-lru")
            await both.until(lambda: len(told("keeper.standing_alarm")) >= 3)
            assert [risk.name for risk in both.keeper.guard.found] == ["eviction"]
            assert both.keeper.why == ""
            servers.valkey.restart()  # opened again: charging has begun, and an alarm is told
            await both.until(lambda: both.keeper.stats.openings == 2)
            settings.set("maxmemory-policy", "noeviction")
            await both.until(lambda: len(told("keeper.alarm_over")) >= 1)
            await both.until(lambda: both.keeper.guard.found == [])


async def test_a_store_that_comes_after_the_start_is_not_opened(servers: Servers, settings: StoreSettings) -> None:
    settings.set("maxmemory-policy", "allkeys-lru")
    async with keeping(servers, wait=False) as both:
        await both.until(lambda: "allkeys-lru" in both.keeper.refused)
        assert "allkeys-lru" in both.keeper.why
        assert both.keeper.stats.openings == 0
    async with keeping(servers, accept_risks=["eviction"]) as both:
        assert both.keeper.refused == ""
        await both.until(lambda: [risk.name for risk in both.keeper.guard.found] == ["eviction"])


async def test_another_installation_is_never_opened(servers: Servers) -> None:
    async with keeping(servers) as both:  # an empty store becomes ours
        ours = await installation(both.books.pool)
        assert await both.books.redis.get(keys.INSTALLATION) == ours.encode()
        await both.books.redis.flushall()
        await both.until(lambda: both.keeper.stats.openings == 2)
        assert await both.books.redis.get(keys.INSTALLATION) == ours.encode()
        await both.books.redis.flushall()  # at run time: somebody else's
        await both.books.redis.set(keys.INSTALLATION, "another")
        await both.until(lambda: "installation another" in both.keeper.why)
        assert both.keeper.stats.openings <= 3
    books = await both_stores(servers.redis_url, servers.pg_dsn)
    await books.redis.flushall()
    await books.redis.set(keys.INSTALLATION, "another")
    await close(books)
    async with keeping(servers, wait=False) as both:
        await both.until(lambda: "installation another" in both.keeper.refused)
        assert await both.books.redis.get(keys.INSTALLATION) == b"another"
    async with keeping(servers, accept_risks=["installation"]) as both:
        await both.until(lambda: [risk.name for risk in both.keeper.guard.found] == ["installation"])


async def test_a_store_that_refuses_to_say(redis_url: str) -> None:
    client = connect(redis_url)
    await client.acl_setuser("mute", enabled=True, nopass=True, keys="*", commands=["+@all", "-config"])
    try:
        path = redis_url.removeprefix("unix://")
        found = await risks_at(f"unix://mute:x@{path}", "everysec")
        assert [risk.name for risk in found] == ["unseen"]
    finally:
        await client.acl_deluser("mute")
        await client.aclose()
