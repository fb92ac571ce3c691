"""One run from provisioning to verdict, as loadtest/run.py, for a BRAS."""

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

from rich.console import Console

from loadtest.api import Api
from loadtest.audit import Audit, AuditVerdict
from loadtest.bras import report
from loadtest.bras.provision import BrasProvision
from loadtest.bras.run import BrasRun, BrasStats
from loadtest.bras.scenario import BrasScenario
from loadtest.bras.wire import RadiusTarget
from loadtest.provision import account_of
from loadtest.report import LiveReport
from loadtest.run import watched
from loadtest.runner import calm_collector

HELD_S_MAX = 90.0
"""What was authorised and not begun lapses within a minute; the keeper looks for it every few seconds."""


class BrasOptions(NamedTuple):
    """What the command line says besides the scenario."""

    target: RadiusTarget
    coa: tuple[str, int] | None
    http: str
    token: str
    provisions: bool = True
    audits: bool = True
    seed: int = 0


class BrasOutcome(NamedTuple):
    total: BrasStats
    run: BrasRun
    verdict: AuditVerdict | None
    cpu_us: float
    """Of this process, per packet answered while it was measured."""

    @property
    def is_good(self) -> bool:
        counts = self.run.network.counts
        wrong = (self.verdict is not None and not self.verdict.holds) or counts.unreadable or counts.unsigned
        served = any(name in self.total.results for name in ("Interim-update", "Stop"))
        return bool(served and not wrong and not self.run.wrong_logins)


async def perform(scenario: BrasScenario, options: BrasOptions, console: Console) -> BrasOutcome:
    """Raises OSError or ApiError when there is no server to play against."""
    run = BrasRun(options.target, scenario, seed=options.seed)
    async with Api(options.http, options.token) as api:
        await run.open(options.coa)
        try:
            with LiveReport(console) as line:
                provision = BrasProvision(api, scenario)
                if options.provisions:
                    await watched(provision.run(), lambda: line.show(_progress(provision)))
                audit = Audit(api, [account_of(scenario, index) for index in range(provision.accounts)])
                if options.audits:
                    await watched(audit.before(), lambda: line.show("reading balances"))
                total, cpu_us = await _measured(run, line.show)
                verdict = None
                if options.audits:
                    await watched(audit.released(HELD_S_MAX), lambda: line.show("waiting for what is still held"))
                    after = asyncio.ensure_future(audit.after(run.dues.micro, run.dues.left_open))
                    await watched(after, lambda: line.show("auditing"))
                    verdict = after.result()
        finally:
            await run.close()
    return BrasOutcome(total, run, verdict, cpu_us)


def _progress(provision: BrasProvision) -> str:
    return f"provisioning {provision.done:,} of {provision.total:,}"


async def _measured(run: BrasRun, show: Callable[[str], None]) -> tuple[BrasStats, float]:
    """The measured part, then the end of every session, which is not measured."""
    calm_collector()
    started_s, cpu_s = time.monotonic(), time.process_time()

    def page() -> None:
        show(report.page(time.monotonic() - started_s, run.turn_page(), run))

    await watched(run.play(), page)
    run.turn_page()
    total, run.total = run.total, BrasStats()
    total.until_ns = run.total.since_ns
    cpu_us = (time.process_time() - cpu_s) / max(1, total.answered) * 1e6
    await watched(run.finish(), page)
    return total, cpu_us
