"""The whole server with 1, 5 and 20 times as many requests outstanding as it needs to be busy (charging.md 11).

Goodput is what was answered and not refused; it should hardly fall. What is refused is told so at once, and nobody is
left without a word.
"""

import asyncio
from collections import Counter
from typing import Final, NamedTuple

from loadtest.api import Api
from loadtest.client import LoadClient
from loadtest.link import Target
from loadtest.provision import Provision
from loadtest.runner import LoadRun, calm_collector
from loadtest.scenario import load
from loadtest.subscriber import INITIAL
from ocs.processes.embedded import Durability
from protocol.errors import ResultCode
from tests.bench.server import BenchServer, running

CONNECTIONS: Final = 4
OUTSTANDING: Final = 32
"""Of a connection, at 1 x."""
TIMES: Final = (1, 5, 20)
SUBSCRIBERS: Final = 5 * CONNECTIONS * OUTSTANDING * max(TIMES) // 4
WARM_S: Final = 3.0
SILENT_S: Final = 12.0
"""An answer that has not come by then does not come."""


class Load(NamedTuple):
    times: int
    goodput_s: float
    p50_ms: float
    p99_ms: float
    new_refused_s: float
    reports_refused_s: float
    unanswered: int
    limit: float
    """Requests in flight that were admitted, of all workers, at the end."""
    server_us: float
    """CPU of the server for each good answer, what refusals cost included."""


async def measure(durability: Durability, seconds: float) -> list[Load]:
    found = []
    scenario = load("data", subscribers=SUBSCRIBERS, sessions=SUBSCRIBERS)
    async with running(f"durability={durability}") as server:
        async with Api(server.url, server.token) as api:
            await Provision(api, scenario).run()
        calm_collector()
        for times in TIMES:
            found.append(await _loaded(server, times, seconds))
    return found


async def _loaded(server: BenchServer, times: int, seconds: float) -> Load:
    scenario = load("data", subscribers=SUBSCRIBERS, sessions=SUBSCRIBERS)
    client = LoadClient(Target("127.0.0.1", server.diameter_port), connections=CONNECTIONS, timeout_s=120)
    await client.start()
    load_run = LoadRun(client, scenario, seed=times)
    stage_s = WARM_S + seconds
    running_load = asyncio.create_task(load_run.saturate(CONNECTIONS * OUTSTANDING * times, stage_s))
    await asyncio.sleep(WARM_S)
    load_run.turn_page()
    before = await server.cpu_s()
    await asyncio.sleep(seconds)
    page = load_run.turn_page()
    after, limit = await server.cpu_s(), await server.gauge("ocs_admission_limit")
    spent = sum(after.values()) - sum(before.values())
    await running_load
    await client.quiet(SILENT_S)
    unanswered = client.in_flight
    refused: Counter[bool] = Counter()
    for (phase, result), count in page.results.items():
        if result == ResultCode.TOO_BUSY:
            refused[phase is INITIAL] += count
    await client.stop()
    good = page.answered - refused.total()
    return Load(
        times, good / page.seconds, page.ms(50), page.ms(99),
        refused[True] / page.seconds, refused[False] / page.seconds, unanswered,
        limit, spent / max(1, good) * 1e6,
    )  # fmt: skip


def rows(loads: list[Load]) -> dict[str, float]:
    """In named numbers; the share is of the best."""
    found: dict[str, float] = {}
    best = max(load.goodput_s for load in loads)
    for one in loads:
        at = f"{one.times} x {CONNECTIONS * OUTSTANDING}"
        found[f"{at}: goodput/s"] = round(one.goodput_s)
        found[f"{at}: % of the best"] = round(100 * one.goodput_s / max(1e-9, best))
        found[f"{at}: p50 ms"] = round(one.p50_ms, 1)
        found[f"{at}: p99 ms"] = round(one.p99_ms, 1)
        found[f"{at}: limit at the end"] = round(one.limit)
        found[f"{at}: server us per good answer"] = round(one.server_us)
        found[f"{at}: new refused/s"] = round(one.new_refused_s)
        found[f"{at}: reports refused/s"] = round(one.reports_refused_s)
        found[f"{at}: never answered"] = one.unanswered
    return found
