"""One run from provisioning to verdict."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from rich.console import Console

from loadtest import report
from loadtest.api import Api
from loadtest.audit import Audit, AuditVerdict
from loadtest.client import LoadClient
from loadtest.faults import FaultPlan, PlantedFaults
from loadtest.link import Target
from loadtest.provision import Provision, account_of
from loadtest.runner import LoadRun, LoadStats, calm_collector
from loadtest.scenario import Scenario

SUCCESS = 2001


class Options(NamedTuple):
    """What the command line says besides the scenario."""

    target: Target
    http: str
    token: str
    provisions: bool = True
    audits: bool = True
    saturate: int = 0
    """In flight, all the time; 0: at the scenario's rate."""
    faults: FaultPlan = FaultPlan()
    seed: int = 0


class RunOutcome(NamedTuple):
    total: LoadStats
    load_run: LoadRun
    verdict: AuditVerdict | None
    cpu_us: float
    """Of this process, per request answered while it was measured."""

    @property
    def is_good(self) -> bool:
        counts, faults = self.load_run.client.counts, self.load_run.faults
        wrong = (self.verdict is not None and not self.verdict.holds) or counts.misaddressed or counts.unreadable
        served = any(result == SUCCESS for _, result in self.total.results)  # a run of refusals proves nothing
        beyond = self.load_run.obedience.sums().beyond
        return served and not wrong and not beyond and not (faults and faults.contradictions)


async def play(scenario: Scenario, options: Options, console: Console) -> RunOutcome:
    """Raises ConnectionError or ApiError when there is no server to play against."""
    client = LoadClient(
        options.target, connections=scenario.connections, timeout_s=scenario.timeout_s, seed=options.seed
    )
    async with Api(options.http, options.token) as api:
        await client.start()  # first: a wrong address should not cost a minute of provisioning
        with report.LiveReport(console) as line:
            provision = Provision(api, scenario)
            if options.provisions:
                progress = lambda: line.show(f"provisioning {provision.done:,} of {provision.total:,}")  # noqa: E731
                await watched(provision.run(), progress)
            audit = Audit(api, [account_of(scenario, index) for index in range(provision.accounts)])
            if options.audits:
                await watched(audit.before(), lambda: line.show("reading balances"))
            balances = audit.balance_before if options.audits else None
            load_run = LoadRun(client, scenario, seed=options.seed, balances=balances)
            load_run.faults = PlantedFaults(client, options.faults, load_run.rng) if any(options.faults) else None
            total, cpu_us = await _perform(load_run, options.saturate, line)
            verdict = None
            if options.audits:
                after = asyncio.ensure_future(audit.after(load_run.dues.micro, load_run.dues.left_open))
                await watched(after, lambda: line.show("auditing"))
                verdict = after.result()
        await client.stop()
    return RunOutcome(total, load_run, verdict, cpu_us)


async def _perform(load_run: LoadRun, in_flight: int, line: report.LiveReport) -> tuple[LoadStats, float]:
    """The measured part, then the end of every session, which is not measured."""
    scenario = load_run.scenario
    calm_collector()
    load_run.turn_page()
    started_s, cpu_s = time.monotonic(), time.process_time()

    def show() -> None:
        page = load_run.turn_page()
        line.show(report.page(time.monotonic() - started_s, page, load_run.client.in_flight, len(load_run.open)))

    if in_flight:
        await watched(load_run.saturate(in_flight, scenario.duration_s), show)
    else:
        await watched(load_run.pace(scenario.rate, scenario.pacing, scenario.duration_s), show)
    load_run.turn_page()
    total, load_run.total = load_run.total, LoadStats()
    total.until_ns = load_run.total.since_ns
    cpu_us = (time.process_time() - cpu_s) / max(1, total.answered) * 1e6
    await watched(load_run.finish(), show)
    return total, cpu_us


async def watched(work: Awaitable[object], show: Callable[[], None], every_s: float = 1.0) -> None:
    """`work`, with something to look at."""
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({task}, timeout=every_s))[0]:
            show()
    finally:
        if not task.done():
            task.cancel()
    task.result()


def tell(outcome: RunOutcome, console: Console) -> None:
    """The tables, and what is wrong in words."""
    report.show(console, outcome.total, outcome.load_run.client.counts, outcome.load_run.faults, outcome.cpu_us)
    for contradiction in (outcome.load_run.faults.contradictions if outcome.load_run.faults else [])[:10]:
        console.print(f"  {contradiction}", style="red", highlight=False)
    report.show_obedience(console, outcome.load_run.obedience)
    if outcome.verdict is not None:
        report.show_verdict(console, outcome.verdict)


def save(outcome: RunOutcome, path: Path) -> None:
    """For programs."""
    tree: dict[str, Any] = report.tree(outcome.total, outcome.load_run.client.counts, outcome.verdict, outcome.cpu_us)
    tree["obedience"] = report.obedience_tree(outcome.load_run.obedience)
    path.write_bytes(msgspec.json.format(msgspec.json.encode({"good": outcome.is_good, **tree})))
