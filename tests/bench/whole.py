"""The whole server: CPU per CCR by process at saturation, then latency at fixed rates, each beside its yardsticks."""

import asyncio
import shutil
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from loadtest.api import Api
from loadtest.audit import Audit
from loadtest.client import LoadClient
from loadtest.link import Target
from loadtest.provision import Provision, account_of
from loadtest.runner import LoadRun, LoadStats, calm_collector
from loadtest.scenario import load
from ocs.processes.embedded import Durability
from tests.bench import yardsticks
from tests.bench.driver import Driven, driven
from tests.bench.server import BenchServer, running

RATES = (1_000, 5_000)
WARM_S = 3.0
AUDITED = 2_000
"""Accounts that are audited; of more, every second, third ..."""
SETTLE_S = 2.0  # until the children have reported and the ledger is copied


class Length(NamedTuple):
    """How long things are measured."""

    saturate_s: float = 10.0
    pace_s: float = 10.0
    in_flight: int = 128


class Latency(NamedTuple):
    rate: int
    p50_ms: float
    p99_ms: float
    reached: float
    """Answers per second; less than `rate` says that it did not keep up."""


class Whole(NamedTuple):
    durability: Durability
    subscribers: int
    ccr_s: float
    client_us: float
    cpu_us: dict[str, float]
    """By role, per CCR."""
    latency: list[Latency]
    holds: bool
    """The audit's verdict."""
    lag_s: float
    driven: Driven | None = None
    """The same server under the client in C, as many outstanding as it answers quickest."""
    driven_paced: Driven | None = None
    """And at the first of the rates."""


class Yard(NamedTuple):
    durability: Durability
    evalsha_s: float
    redis_us: float
    evalsha: list[Latency]
    echo: list[Latency]


async def measure(durability: Durability, subscribers: int, length: Length, workers: int) -> Whole:
    """One server, one client, one table."""
    scenario = load("data", subscribers=subscribers, sessions=min(subscribers, 2_000))
    async with running(f"durability={durability}", f"workers={workers}") as server:
        async with Api(server.url, server.token) as api:
            provision = Provision(api, scenario)
            await provision.run()
            audited = range(0, provision.accounts, -(-provision.accounts // AUDITED))
            audit = Audit(api, [account_of(scenario, index) for index in audited])
            await audit.before()
            client = LoadClient(Target("127.0.0.1", server.diameter_port), connections=4, timeout_s=5)
            await client.start()
            load_run = LoadRun(client, scenario, seed=1)
            calm_collector()
            ccr_s, client_us, cpu_us = await _saturated(load_run, server, length)
            latency = [await _paced(load_run, rate, length.pace_s) for rate in RATES]
            await load_run.finish()
            left_open = {at: load_run.dues.left_open[i] for at, i in enumerate(audited) if i in load_run.dues.left_open}
            verdict = await audit.after([load_run.dues.micro[index] for index in audited], left_open)
            await client.stop()
            in_c = await driven(server, subscribers, length.saturate_s)
            in_c_paced = await driven(server, subscribers, length.pace_s, rate=RATES[0])
    for fault in verdict.faults:
        print(fault)
    return Whole(
        durability, subscribers, ccr_s, client_us, cpu_us, latency, verdict.holds, verdict.lag_s, in_c, in_c_paced
    )


async def _saturated(load_run: LoadRun, server: BenchServer, length: Length) -> tuple[float, float, dict[str, float]]:
    """CCR per second, CPU of ours per CCR, CPU of the server's processes per CCR, the copy to PostgreSQL included."""
    await load_run.saturate(length.in_flight, WARM_S)
    await idle(load_run)
    before, client_s = await server.cpu_s(), time.process_time()
    load_run.turn_page()
    await load_run.saturate(length.in_flight, length.saturate_s)
    page, client_s = load_run.turn_page(), time.process_time() - client_s
    await idle(load_run)
    after, rest = await server.cpu_s(), load_run.turn_page()
    count = max(1, page.answered + rest.answered)
    spent = {role: (after[role] - before.get(role, 0.0)) / count * 1e6 for role in after}
    return page.rate, client_s / count * 1e6, spent


async def idle(load_run: LoadRun) -> None:
    await load_run.client.quiet(5.0)
    await asyncio.sleep(SETTLE_S)


async def _paced(load_run: LoadRun, rate: int, seconds: float) -> Latency:
    await load_run.pace(rate, "poisson", 1.0)
    load_run.turn_page()
    await load_run.pace(rate, "poisson", seconds)
    page: LoadStats = load_run.turn_page()
    await load_run.client.quiet(5.0)
    return Latency(rate, page.ms(50), page.ms(99), page.rate)


async def yard(durability: Durability, length: Length) -> Yard:
    """What the machine can do in the same minute."""
    home = Path(tempfile.mkdtemp(prefix="ocs-yard-"))
    try:
        async with yardsticks.evalsha(home, durability) as (pipe, spent_s):
            await pipe.saturate(length.in_flight, 1.0)
            before = spent_s()
            count, seconds = await pipe.saturate(length.in_flight, length.saturate_s / 2)
            redis_us = (spent_s() - before) / count * 1e6
            scripts = [Latency(rate, *await pipe.pace(rate, length.pace_s / 2), rate) for rate in RATES]
        async with yardsticks.echo() as pipe:
            echoes = [Latency(rate, *await pipe.pace(rate, length.pace_s / 2), rate) for rate in RATES]
        return Yard(durability, count / seconds, redis_us, scripts, echoes)
    finally:
        shutil.rmtree(home, ignore_errors=True)
