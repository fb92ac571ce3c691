"""One run from provisioning to verdict, as loadtest/bras/performance.py, for voice gateways."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from rich.console import Console

from loadtest.api import Api
from loadtest.audit import Audit, AuditVerdict
from loadtest.bras.performance import HELD_S_MAX
from loadtest.bras.report import show_packets
from loadtest.bras.run import BrasStats
from loadtest.bras.wire import RadiusTarget
from loadtest.pricing import text
from loadtest.provision import account_of
from loadtest.report import LiveReport, show_verdict
from loadtest.run import watched
from loadtest.runner import calm_collector
from loadtest.voip.provision import VoipProvision
from loadtest.voip.run import VoipRun
from loadtest.voip.scenario import VoipScenario


class VoipOptions(NamedTuple):
    """What the command line says besides the scenario."""

    target: RadiusTarget
    http: str
    token: str
    provisions: bool = True
    audits: bool = True
    seed: int = 0


class VoipOutcome(NamedTuple):
    total: BrasStats
    run: VoipRun
    verdict: AuditVerdict | None
    overspent: list[str]

    @property
    def is_good(self) -> bool:
        counts = self.run.network.counts
        wrong = (self.verdict is not None and not self.verdict.holds) or counts.unreadable or counts.unsigned
        return bool(self.run.dues.reports and not (wrong or self.run.wrong or self.overspent))

    def show(self, console: Console) -> None:
        show_packets(console, self.total)
        odd = {name.replace("_", " "): count for name, count in vars(self.run.network.counts).items() if name != "sent"}
        odd["calls cut as they were told"] = self.run.cut
        console.print(", ".join(f"{name} {count:,}" for name, count in odd.items() if count) or "nothing unusual")
        if self.verdict is not None:
            show_verdict(console, self.verdict)
        for wrong in (*self.run.wrong[:10], *self.overspent[:10]):
            console.print(f"  {wrong}", style="red", highlight=False)

    @property
    def tree(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "good": self.is_good,
            "answered": self.total.answered,
            "rate": round(self.total.rate, 1),
            "results": dict(sorted(self.total.results.items())),
            "counts": vars(self.run.network.counts),
            "cut": self.run.cut,
            "wrong": len(self.run.wrong),
            "overspent": len(self.overspent),
            "audit": self.verdict and {**self.verdict._asdict(), "holds": self.verdict.holds},
        }


def overspent(run: VoipRun, audit: Audit) -> list[str]:
    """Accounts whose calls, each no longer than it was told, cost more than there was: money was told twice."""
    scenario, found = run.scenario, []
    for index, due in enumerate(run.dues.micro):
        had = audit.balance_before(index)
        if due > had:
            found.append(f"{account_of(scenario, index)}: had {text(had)}, and was told that {text(due)} could be used")
    return found


async def perform(scenario: VoipScenario, options: VoipOptions, console: Console) -> VoipOutcome:
    """Raises OSError or ApiError when there is no server to play against."""
    run = VoipRun(options.target, scenario, seed=options.seed)
    async with Api(options.http, options.token) as api:
        await run.open()
        try:
            with LiveReport(console) as line:
                provision = VoipProvision(api, scenario)
                if options.provisions:
                    await watched(
                        provision.run(), lambda: line.show(f"provisioning {provision.done:,} of {provision.total:,}")
                    )
                audit = Audit(api, [account_of(scenario, index) for index in range(provision.accounts)])
                if options.audits:
                    await watched(audit.before(), lambda: line.show("reading balances"))
                total = await _measured(run, line.show)
                verdict, above = None, list[str]()
                if options.audits:
                    await watched(audit.released(HELD_S_MAX), lambda: line.show("waiting for what is still held"))
                    after = asyncio.ensure_future(audit.after(run.dues.micro, run.dues.left_open))
                    await watched(after, lambda: line.show("auditing"))
                    verdict, above = after.result(), overspent(run, audit)
        finally:
            await run.close()
    return VoipOutcome(total, run, verdict, above)


async def _measured(run: VoipRun, show: Callable[[str], None]) -> BrasStats:
    """The measured part, then the end of every call, which is not measured."""
    calm_collector()
    started_s = time.monotonic()

    def page() -> None:
        stats = run.turn_page()
        show(f"{time.monotonic() - started_s:6.1f} s  {stats.rate:8,.0f}/s  calls {len(run.calls):<6}")

    await watched(run.play(), page)
    run.turn_page()
    total, run.total = run.total, BrasStats()
    total.until_ns = run.total.since_ns
    await watched(run.finish(), page)
    return total
