"""`python -m loadtest bras`: play a BRAS against a RADIUS server, then audit it."""

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from loadtest.bras import scenario as scenarios
from loadtest.exits import DONE, EXIT_CODES, FAILED, USAGE
from loadtest.radius_options import address, run_options, server_options
from loadtest.shelf import ScenarioError


def main(words: list[str]) -> None:
    """words: the command line behind `bras`."""
    parser = _parser()
    options = parser.parse_args(words)
    if options.list:
        for name in scenarios.shipped():
            print(f"{name:10} {scenarios.load(name).about}")
        return
    try:
        addresses = {name: address(name, getattr(options, name)) for name in ("auth", "acct")}
        coa = None if options.coa == "off" else address("coa", options.coa)
        if addresses["auth"][0] != addresses["acct"][0]:
            raise ScenarioError("--auth and --acct: expected two ports of one host")
        overrides = {key: getattr(options, key) for key in OVERRIDES}
        scenario = scenarios.load(options.scenario, **overrides)
    except ScenarioError as why:
        _end(str(why), USAGE)

    # Only now: --help and a slip of the pen should not wait for these.
    import msgspec
    import uvloop
    from rich.console import Console

    from loadtest.api import ApiError
    from loadtest.bras import performance, report
    from loadtest.bras.wire import RadiusTarget
    from loadtest.report import show_verdict

    console = Console()
    try:
        needs_api = options.provisions or options.audits
        host, auth, acct = addresses["auth"][0], addresses["auth"][1], addresses["acct"][1]
        choices = performance.BrasOptions(
            target=RadiusTarget(host, auth, acct, options.secret.encode()),
            coa=coa,
            http=options.http,
            token=Path(options.token_file).read_text().strip() if needs_api else "",
            provisions=options.provisions,
            audits=options.audits,
            seed=options.seed,
        )
        console.print(f"{scenario.name}: {scenario.about}; {scenario.rate:g} packets a second", highlight=False)
        outcome = uvloop.run(performance.perform(scenario, choices, console))
        report.show(console, outcome.total, outcome.run, outcome.cpu_us)
        if outcome.verdict is not None:
            show_verdict(console, outcome.verdict)
        if options.json:
            tree = report.tree(outcome.total, outcome.run, outcome.verdict, outcome.cpu_us)
            content = msgspec.json.encode({"good": outcome.is_good, **tree})
            Path(options.json).write_bytes(msgspec.json.format(content))
    except (ApiError, OSError) as why:
        _end(str(why), FAILED)
    except KeyboardInterrupt:
        _end("interrupted: sessions are left open and nothing was audited", FAILED)
    sys.exit(DONE if outcome.is_good else FAILED)


OVERRIDES = (
    "subscribers",
    "rate",
    "pacing",
    "duration_s",
    "sessions",
    "nases",
    "loss",
    "repeat",
    "reorder",
    "reboots",
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ocs-load bras", description=__doc__, epilog=EXIT_CODES)
    add = server_options(parser, "rough")
    add("--coa", default="127.0.0.1:3799", metavar="HOST:PORT", help="where the BRAS listens; `off`: nowhere")
    change = parser.add_argument_group("instead of what the scenario says")
    add = change.add_argument
    add("--provision", dest="subscribers", type=int, metavar="N", help="subscribers; those that are missing are made")
    add("--rate", type=float, help="packets per second")
    add("--pacing", choices=["poisson", "fixed"])
    add("--duration", dest="duration_s", type=float, metavar="SECONDS")
    add("--sessions", type=int, metavar="N", help="open at the same time, at most")
    add("--nases", type=int, metavar="N")
    add("--loss", type=float, metavar="SHARE", help="of packets, each way")
    add("--repeat", type=float, metavar="SHARE", help="of packets is sent once more")
    add("--reorder", type=float, metavar="SHARE", help="of Interim-Updates is overtaken")
    add("--reboots", type=int, metavar="N", help="of a NAS, within the run")
    run_options(parser)
    return parser


def _end(why: str, code: int) -> NoReturn:
    print(f"ocs-load bras: {why}", file=sys.stderr)
    sys.exit(code)
