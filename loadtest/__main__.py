"""`python -m loadtest` and `ocs-load`: play a scenario against a charging server, then audit it."""

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from loadtest import scenario as scenarios
from loadtest.scenario import Scenario, ScenarioError

PROVISIONED, DIFFERS, USAGE = 0, 1, 2  # exit codes: done, refused or failed, wrong usage


def main() -> None:
    """Exit code 0: played, and every account agrees; 1: it failed or the audit found a difference; 2: wrong usage."""
    options = _parser().parse_args()
    if options.list:
        for name in scenarios.shipped():
            print(f"{name:10} {scenarios.load(name).about}")
        return
    try:
        scenario = scenarios.load(
            options.scenario,
            subscribers=options.provision,
            rate=options.rate,
            duration_s=options.duration,
            sessions=options.sessions,
            connections=options.connections,
            pacing=options.pacing,
        )
    except ScenarioError as why:
        sys.exit(_fail(str(why), USAGE))
    # Only now: --help and a typing error should not wait for these.
    import uvloop

    from loadtest.api import ApiError

    try:
        sys.exit(uvloop.run(play(scenario, options)))
    except (ConnectionError, ApiError, OSError) as why:
        sys.exit(_fail(str(why), DIFFERS))
    except KeyboardInterrupt:
        sys.exit(_fail("interrupted: not audited", DIFFERS))


async def play(scenario: Scenario, options: argparse.Namespace) -> int:
    """One run from provisioning to verdict."""
    import msgspec
    from rich.console import Console

    from loadtest import report
    from loadtest.api import Api
    from loadtest.audit import Audit
    from loadtest.client import Client, Target
    from loadtest.faults import Faults
    from loadtest.faults import Plan as FaultPlan
    from loadtest.provision import Provision, account_of
    from loadtest.stage import Stage, calm_collector

    console = Console(stderr=bool(options.json))
    host, _, port = options.diameter.rpartition(":")
    target = Target(host, int(port), options.realm, options.origin, options.realm)
    api_needed = options.provisions or options.audits
    token = Path(options.token_file).read_text().strip() if api_needed else ""
    async with Api(options.http, token) as api:
        client = Client(
            target, connections=scenario.connections, timeout_s=scenario.timeout_s, seed=options.seed
        )
        await client.start()  # first: a wrong address should not cost a minute of provisioning
        console.print(f"[bold]{scenario.name}[/]: {scenario.about}", highlight=False)
        with report.Line(console) as line:
            provision = Provision(api, scenario)
            if options.provisions:
                await _watched(
                    provision.run(), lambda: line.show(f"provisioning {provision.done:,} of {provision.total:,}")
                )
            audit = Audit(api, [account_of(scenario, index) for index in range(provision.accounts)])
            if options.audits:
                await _watched(audit.before(), lambda: line.show("reading balances"))
            planted = FaultPlan(options.duplicate, options.cut)
            stage = Stage(client, scenario, seed=options.seed)
            if any(planted):
                stage.faults = Faults(client, planted, stage.rng)
            calm_collector()
            started_s, cpu_s = time.monotonic(), time.process_time()

            def show() -> None:
                page = stage.turn_page()
                line.show(report.page(time.monotonic() - started_s, page, client.in_flight, len(stage.open)))

            stage.turn_page()
            run = (
                stage.saturate(options.saturate, scenario.duration_s)
                if options.saturate
                else stage.pace(scenario.rate, scenario.pacing, scenario.duration_s)
            )
            await _watched(run, show)
            played = stage.turn_page()
            total = stage.total
            total.until_ns = played.until_ns
            cpu_us = (time.process_time() - cpu_s) / max(1, total.answered) * 1e6
            await _watched(stage.finish(), show)
            verdict = None
            if options.audits:
                await _watched(
                    after := asyncio.ensure_future(audit.after(stage.dues.micro, stage.dues.left_open)),
                    lambda: line.show("auditing"),
                )
                verdict = after.result()
        report.show(console, total, client.counts, stage.faults, cpu_us)
        if verdict is not None:
            report.show_verdict(console, verdict)
        if options.json:
            Path(options.json).write_bytes(msgspec.json.format(msgspec.json.encode(report.tree(total, client.counts, verdict, cpu_us))))
        await client.stop()
    contradictions = stage.faults.contradictions if stage.faults else []
    for contradiction in contradictions[:10]:
        console.print(contradiction, style="red", highlight=False)
    wrong = (verdict is not None and not verdict.holds) or contradictions or client.counts.misaddressed
    return DIFFERS if wrong or not total.answered else PROVISIONED


async def _watched(work: Awaitable[object], show: Callable[[], None], every_s: float = 1.0) -> None:
    """`work`, with something to look at."""
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({task}, timeout=every_s))[0]:
            show()
    finally:
        if not task.done():
            task.cancel()
    task.result()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ocs-load", description=main.__doc__ and "Play a scenario, then audit it.")
    parser.add_argument("scenario", nargs="?", default="mixed", help="a shipped one by name, or a TOML file")
    parser.add_argument("--list", action="store_true", help="the shipped scenarios")
    parser.add_argument("--diameter", default="127.0.0.1:3868", metavar="HOST:PORT")
    parser.add_argument("--http", default="http://127.0.0.1:8080", metavar="URL")
    parser.add_argument("--token-file", default="ocs-data/admin.token", metavar="FILE", help="default: %(default)s")
    parser.add_argument("--realm", default="example.net")
    parser.add_argument("--origin", default="load.example.net", help="connection n is n.ORIGIN; default: %(default)s")
    parser.add_argument("--provision", type=int, metavar="N", help="subscribers; what is missing is made")
    parser.add_argument("--no-provision", dest="provisions", action="store_false", help="they are all there")
    parser.add_argument("--no-audit", dest="audits", action="store_false")
    parser.add_argument("--rate", type=float, help="requests per second")
    parser.add_argument("--pacing", choices=["poisson", "fixed"])
    parser.add_argument("--duration", type=float, metavar="SECONDS")
    parser.add_argument("--sessions", type=int, metavar="N", help="open at the same time, at most")
    parser.add_argument("--connections", type=int, metavar="N")
    parser.add_argument("--saturate", type=int, metavar="N", help="closed loop, N in flight, instead of a rate")
    parser.add_argument("--duplicate", type=float, default=0.0, metavar="SHARE", help="of requests sent twice")
    parser.add_argument("--cut", type=float, default=0.0, metavar="SECONDS", help="mean time between cut connections")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", metavar="FILE", help="the result for programs; the tables go to stderr")
    return parser


def _fail(why: str, code: int) -> int:
    print(f"ocs-load: {why}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
