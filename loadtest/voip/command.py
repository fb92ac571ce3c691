"""`python -m loadtest voip`: play voice gateways with prepaid calls against a RADIUS server, then audit it."""

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from loadtest.exits import DONE, EXIT_CODES, FAILED, USAGE
from loadtest.radius_options import address, run_options, server_options
from loadtest.shelf import ScenarioError
from loadtest.voip import scenario as scenarios


def main(words: list[str]) -> None:
    """words: the command line behind `voip`."""
    options = _parser().parse_args(words)
    if options.list:
        for name in scenarios.shipped():
            print(f"{name:10} {scenarios.load(name).about}")
        return
    try:
        host, auth = address("auth", options.auth)
        there, acct = address("acct", options.acct)
        if host != there:
            raise ScenarioError("--auth and --acct: expected two ports of one host")
        scenario = scenarios.load(options.scenario, **{key: getattr(options, key) for key in OVERRIDES})
    except ScenarioError as why:
        _end(str(why), USAGE)

    # Only now: --help and a slip of the pen should not wait for these.
    import msgspec
    import uvloop
    from rich.console import Console

    from loadtest.api import ApiError
    from loadtest.bras.wire import RadiusTarget
    from loadtest.voip import performance

    console = Console()
    try:
        needs_api = options.provisions or options.audits
        choices = performance.VoipOptions(
            target=RadiusTarget(host, auth, acct, options.secret.encode(), options.source),
            http=options.http,
            token=Path(options.token_file).read_text().strip() if needs_api else "",
            provisions=options.provisions,
            audits=options.audits,
            seed=options.seed,
        )
        console.print(f"{scenario.name}: {scenario.about}; {scenario.rate:g} packets a second", highlight=False)
        outcome = uvloop.run(performance.perform(scenario, choices, console))
        outcome.show(console)
        if options.json:
            Path(options.json).write_bytes(msgspec.json.format(msgspec.json.encode(outcome.tree)))
    except (ApiError, OSError) as why:
        _end(str(why), FAILED)
    except KeyboardInterrupt:
        _end("interrupted: calls are left open and nothing was audited", FAILED)
    sys.exit(DONE if outcome.is_good else FAILED)


OVERRIDES = ("subscribers", "rate", "duration_s", "calls", "gateways", "charged_leg", "loss", "repeat", "reorder")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ocs-load voip", description=__doc__, epilog=EXIT_CODES)
    add = server_options(parser, "calls")
    add("--source", default="127.0.0.2", metavar="ADDRESS", help="of the gateways; default: that of the demo's gateway")
    change = parser.add_argument_group("instead of what the scenario says")
    add = change.add_argument
    add("--provision", dest="subscribers", type=int, metavar="N", help="callers; those that are missing are made")
    add("--rate", type=float, help="packets per second")
    add("--duration", dest="duration_s", type=float, metavar="SECONDS")
    add("--calls", type=int, metavar="N", help="at the same time, at most")
    add("--gateways", type=int, metavar="N")
    add("--charged-leg", choices=["originate", "answer", "any"], help="as the server's client has it")
    add("--loss", type=float, metavar="SHARE", help="of packets, each way")
    add("--repeat", type=float, metavar="SHARE", help="of packets is sent once more")
    add("--reorder", type=float, metavar="SHARE", help="of Starts is overtaken")
    run_options(parser)
    return parser


def _end(why: str, code: int) -> NoReturn:
    print(f"ocs-load voip: {why}", file=sys.stderr)
    sys.exit(code)
