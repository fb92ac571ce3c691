"""`python -m tests.bench stores`: CPU per CCR over one, two and three primaries of a cluster, and what each durability
costs on one primary with a replica.

The nodes share the machine with all else, so what more primaries add in all is seen, and not what more machines bring.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from loadtest.api import Api
from loadtest.client import LoadClient
from loadtest.link import Target
from loadtest.provision import Provision
from loadtest.runner import LoadRun, calm_collector
from loadtest.scenario import load
from tests.bench import processes
from tests.bench.server import BenchServer, running
from tests.bench.whole import WARM_S, idle
from tests.live_cluster import LiveCluster

PRIMARIES: Final = (1, 2, 3)
SUBSCRIBERS: Final = 1_000
IN_FLIGHT: Final = 128
SUCCESS: Final = 2_001
RATE: Final = 500
"""CCR per second at which latency is measured."""

DURABILITIES: Final[dict[str, tuple[str, ...]]] = {
    "everysec": ("durability=everysec",),
    "always": ("durability=always",),
    "replicated": ("durability=replicated",),
    "replicated, always": ("durability=replicated",),
    "replicas_on_disk": ("durability=replicated", "redis.replicas_on_disk=true"),
}
"""By what the row is called; whether servers write their file at once: all but the two that do not say so."""
EVERYSEC: Final = ("everysec", "replicated")


async def measure(seconds: float) -> dict[str, float]:
    """seconds: of each measurement"""
    found: dict[str, float] = {}
    for primaries in PRIMARIES:
        name = f"{primaries} {'primary' if primaries == 1 else 'primaries'}"
        async with loaded(primaries, 0, "everysec", "durability=everysec") as (load_run, server, cluster):
            ccr_s, spent = await _saturated(load_run, server, cluster, seconds)
        found[f"{name}: CCR/s"] = round(ccr_s)
        found |= {f"{name}: {role} us": round(spent[role], 1) for role in processes.ROLES if role in spent}
        found[f"{name}: all us"] = round(sum(spent.values()), 1)
    for name, settings in DURABILITIES.items():
        written = "everysec" if name in EVERYSEC else "always"
        async with loaded(1, 1, written, *settings) as (load_run, _, _):
            await load_run.pace(RATE, "poisson", WARM_S)
            load_run.turn_page()
            await load_run.pace(RATE, "poisson", seconds)
            paced = load_run.turn_page()
            await load_run.saturate(IN_FLIGHT, seconds)
            saturated = load_run.turn_page()
        for percentile in (50, 99):
            found[f"{name}, with a replica: p{percentile} at {RATE}/s ms"] = round(paced.ms(percentile), 2)
        found[f"{name}, with a replica: CCR/s"] = round(saturated.rate)
        found[f"{name}, with a replica: bad answers"] = sum(
            count for page in (paced, saturated) for (_, result), count in page.results.items() if result != SUCCESS
        )
    return found


@contextlib.asynccontextmanager
async def loaded(
    primaries: int, replicas: int, written: str, *settings: str
) -> AsyncIterator[tuple[LoadRun, BenchServer, LiveCluster]]:
    """A server on a cluster of its own. written: `appendfsync` of all nodes"""
    nodes = {"maxmemory": "1gb", "appendfsync": written, "min-replicas-to-write": str(replicas)}
    scenario = load("data", subscribers=SUBSCRIBERS, sessions=SUBSCRIBERS)
    with tempfile.TemporaryDirectory(prefix="ocs-bench-cluster-") as home, contextlib.ExitStack() as stack:
        cluster = LiveCluster(Path(home), primaries=primaries, replicas=replicas, settings=nodes)
        stack.callback(cluster.stop)
        async with running(f"redis.url={cluster.start()}", "workers=2", *settings) as server:
            async with Api(server.url, server.token) as api:
                await Provision(api, scenario).run()
            client = LoadClient(Target("127.0.0.1", server.diameter_port), connections=4, timeout_s=5)
            await client.start()
            load_run = LoadRun(client, scenario, seed=1)
            calm_collector()
            yield load_run, server, cluster
            await load_run.finish()
            await client.stop()


async def _saturated(
    load_run: LoadRun, server: BenchServer, cluster: LiveCluster, seconds: float
) -> tuple[float, dict[str, float]]:
    """CCR per second, and CPU by role per CCR; `redis` of all nodes together."""
    await load_run.saturate(IN_FLIGHT, WARM_S)
    await idle(load_run)
    before = await _cpu_s(server, cluster)
    load_run.turn_page()
    began_s = time.monotonic()
    await load_run.saturate(IN_FLIGHT, seconds)
    seconds = time.monotonic() - began_s
    page = load_run.turn_page()
    await idle(load_run)
    after, rest = await _cpu_s(server, cluster), load_run.turn_page()
    count = max(1, page.answered + rest.answered)
    return page.answered / seconds, {role: (after[role] - before.get(role, 0.0)) / count * 1e6 for role in after}


async def _cpu_s(server: BenchServer, cluster: LiveCluster) -> dict[str, float]:
    found = await server.cpu_s()
    pids = [node.child.pid for node in cluster.servers if node.child is not None]
    return found | {"redis": sum(processes.own_cpu_s(pid) for pid in pids)}
