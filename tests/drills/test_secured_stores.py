"""A cluster, and what Sentinels watch, over TLS alone and as the user that docs/cluster.md gives to the server:
charging, keeper, API, a trace, the doctor, and a failover, without one refusal by the store."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from balances import keys
from protocol.diameter.dictionary.credit_control import CreditControlAnswer
from protocol.errors import HeaderError
from tests.drills.test_trace import ANNA, OTHER, Gateway, request, tracing
from tests.live_cluster import ClusterServer, LiveCluster
from tests.live_sentinels import LiveSentinels
from tests.ocs.net.world import cer
from tests.ocs.running import RunningServer
from tests.secured_store import StoreSecurity, needs_tls, refused

pytestmark = [pytest.mark.serial, needs_tls]

STRANGER = "491799999999"
SETTINGS = {"maxmemory": "256mb", "min-replicas-to-write": "1", "min-replicas-max-lag": "2"}
PATIENCE_S = 60

RARE = ("ASKING", "FUNCTION DELETE x", "XTRIM x MAXLEN 1", "ZSCAN x 0", "SCAN 0", "UNLINK x", "ZREMRANGEBYSCORE x 0 1")
"""What is done while a slot moves, after an upgrade, or of old things."""
OPERATORS = (
    *("FLUSHALL", "CONFIG SET save x", "KEYS *", "SHUTDOWN", "REPLICAOF NO ONE", "ACL LIST", "FUNCTION FLUSH"),
    *("CLUSTER RESET", "DEBUG SLEEP 1", "SWAPDB 0 1", "SCRIPT FLUSH", "MONITOR", "CLIENT KILL x"),
)


@pytest.fixture(params=["cluster", "sentinel"])
def store(request: pytest.FixtureRequest) -> Iterator[LiveCluster | LiveSentinels]:
    with tempfile.TemporaryDirectory(prefix="ocs-secured-") as home:
        security = StoreSecurity(Path(home) / "tls")
        made: LiveCluster | LiveSentinels
        if request.param == "cluster":
            made = LiveCluster(Path(home) / "store", settings=SETTINGS, security=security)
        else:
            made = LiveSentinels(Path(home) / "store", replicas=1, settings=SETTINGS, security=security)
        try:
            made.start()
            yield made
        finally:
            made.stop()


def primary_of(store: LiveCluster | LiveSentinels, account: str) -> ClusterServer:
    if isinstance(store, LiveCluster):
        return store.primary_of(keys.shard_of(account))
    found = store.primary()
    assert found is not None
    return found


async def fail_over(store: LiveCluster | LiveSentinels, victim: ClusterServer) -> None:
    """Its replica is in its place, and it follows that."""
    shards = store.shards_of(victim) if isinstance(store, LiveCluster) else []
    victim.kill()
    if isinstance(store, LiveSentinels):
        primary = await asyncio.to_thread(store.until_failed_over, victim)
        victim.start()
        await asyncio.to_thread(store.follow, victim, primary)
        return
    while not store.has_primary(shards[0]):
        await asyncio.sleep(0.1)
    victim.start()


async def served(server: RunningServer, whose: str, session: str) -> bool:
    """Whether a whole session of it was answered 2001."""
    gateway = Gateway(*await asyncio.open_connection(*server.address("diameter")))
    try:
        await gateway.ask(cer())
        for number in (0, 1, 5):
            answer = CreditControlAnswer.decode(await asyncio.wait_for(gateway.ask(request(number, whose, session)), 2))
            if answer.result_code != 2001:
                return False
    except (HeaderError, TimeoutError, OSError):  # of an error message: 3004
        return False
    finally:
        gateway.close()
    return True


def ocs(server: RunningServer, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ocs", *words, "--data", str(server.data)]
    return subprocess.run(command, cwd=server.data, capture_output=True, text=True, check=False, timeout=PATIENCE_S)


async def test_the_documented_user_is_enough(store: LiveCluster | LiveSentinels, tmp_path: Path) -> None:
    settings = f"redis.url={store.url}", "durability=replicated", "redis.replicas=1"
    server = RunningServer(tmp_path / "data", *settings)
    try:
        url = "http://{}:{}".format(*server.ready().address("http"))
        assert await served(server, ANNA, "gw;first;1")
        assert not await served(server, STRANGER, "gw;stranger;1")

        trace = tracing(server, tmp_path, "--subscriber", "+49 170 0000001", "--json")
        seen = asyncio.create_task(asyncio.to_thread(trace.stdout.readline))  # type: ignore[union-attr]
        number = 0
        async with asyncio.timeout(PATIENCE_S):
            while not seen.done():  # until the worker of the gateway has looked who traces
                number += 1
                assert await served(server, ANNA, f"gw;traced;{number}")
        assert "gw;traced;" in await seen
        trace.terminate()
        trace.communicate()

        # Which of them are refused is told every 5 s.
        doctor = ["doctor", "--no-probe", "--json", *(word for one in settings for word in ("--set", one))]
        async with asyncio.timeout(PATIENCE_S):
            while STRANGER not in (said := await asyncio.to_thread(ocs, server, *doctor)).stdout:
                await asyncio.sleep(0.5)
        of_store: list[Any] = [one for one in json.loads(said.stdout)["findings"] if one["about"] == "live store"]
        assert of_store == []

        victim = primary_of(store, "demo-2")
        await fail_over(store, victim)
        async with asyncio.timeout(PATIENCE_S):
            while not await served(server, OTHER, f"gw;after;{number}"):
                number += 1
                await asyncio.sleep(0.2)
        async with asyncio.timeout(PATIENCE_S):
            while (await asyncio.to_thread(ocs, server, "ledger", "verify", "--url", url)).returncode:
                await asyncio.sleep(0.5)
    finally:
        server.stop()
        server.process.wait(PATIENCE_S)
    for words, may in (*((one, True) for one in RARE), *((one, False) for one in OPERATORS)):
        said = store.servers[0].client.execute_command("ACL", "DRYRUN", "ocs", *words.split())
        assert (said == b"OK") is may, (words, said)
    servers: list[Any] = [*store.servers, *(store.sentinels if isinstance(store, LiveSentinels) else [])]
    assert {one.port: refused(one.client) for one in servers} == {one.port: [] for one in servers}
