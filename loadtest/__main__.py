"""`python -m loadtest` and `ocs-load`: play a scenario against a charging server, then audit it. Behind the words
`bras` and `voip` it plays RADIUS instead of Diameter: `ocs-load bras --help`."""

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from loadtest import scenario as scenarios
from loadtest.bras import command as bras
from loadtest.exits import DONE, EXIT_CODES, FAILED, USAGE
from loadtest.shelf import ScenarioError
from loadtest.voip import command as voip

RADIUS = {"bras": bras.main, "voip": voip.main}


def main() -> None:
    """The console script."""
    if sys.argv[1:2] and sys.argv[1] in RADIUS:
        RADIUS[sys.argv[1]](sys.argv[2:])
        return
    parser = _parser()
    options = parser.parse_args()
    if options.list:
        for name in scenarios.shipped():
            print(f"{name:10} {scenarios.load(name).about}")
        return
    host, colon, port = options.diameter.rpartition(":")
    if not colon or not (port.isascii() and port.isdecimal()):
        parser.error(f"--diameter {options.diameter}: expected HOST:PORT")
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
        _end(str(why), USAGE)

    # Only now: --help and a slip of the pen should not wait for these.
    import uvloop
    from rich.console import Console

    from loadtest import run
    from loadtest.api import ApiError
    from loadtest.faults import FaultPlan
    from loadtest.link import Target

    console = Console()
    try:
        needs_api = options.provisions or options.audits
        choices = run.Options(
            target=Target(host.strip("[]"), int(port), options.realm, options.origin, options.realm),
            http=options.http,
            token=Path(options.token_file).read_text().strip() if needs_api else "",
            provisions=options.provisions,
            audits=options.audits,
            saturate=options.saturate,
            faults=FaultPlan(options.duplicate, options.cut),
            seed=options.seed,
        )
        pace = f"{options.saturate} in flight" if options.saturate else f"{scenario.rate:g} requests a second"
        console.print(f"{scenario.name}: {scenario.about}; {pace}", highlight=False)
        outcome = uvloop.run(run.play(scenario, choices, console))
        run.tell(outcome, console)
        if options.json:
            run.save(outcome, Path(options.json))
    except (ApiError, OSError) as why:
        _end(str(why), FAILED)
    except KeyboardInterrupt:
        _end("interrupted: sessions are left open and nothing was audited", FAILED)
    sys.exit(DONE if outcome.is_good else FAILED)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ocs-load", description=__doc__, epilog=EXIT_CODES)
    add = parser.add_argument
    add("scenario", nargs="?", default="mixed", help="a shipped one by name (default: mixed), or a TOML file")
    add("--list", action="store_true", help="the shipped scenarios")
    server = parser.add_argument_group("the server")
    add = server.add_argument
    add("--diameter", default="127.0.0.1:3868", metavar="HOST:PORT", help="default: %(default)s")
    add("--http", default="http://127.0.0.1:8080", metavar="URL", help="default: %(default)s")
    add("--token-file", default="ocs-data/admin.token", metavar="FILE", help="default: %(default)s")
    add("--realm", default="example.net", help="ours and the server's; default: %(default)s")
    add("--origin", default="load.example.net", help="connection n is n.ORIGIN; default: %(default)s")
    change = parser.add_argument_group("instead of what the scenario says")
    add = change.add_argument
    add("--provision", type=int, metavar="N", help="subscribers; those that are missing are made")
    add("--rate", type=float, help="requests per second")
    add("--pacing", choices=["poisson", "fixed"])
    add("--duration", type=float, metavar="SECONDS")
    add("--sessions", type=int, metavar="N", help="open at the same time, at most")
    add("--connections", type=int, metavar="N")
    add("--saturate", type=int, default=0, metavar="N", help="closed loop, N in flight, instead of a rate")
    extra = parser.add_argument_group("the run")
    add = extra.add_argument
    add("--no-provision", dest="provisions", action="store_false", help="they are all there, with money")
    add("--no-audit", dest="audits", action="store_false")
    add("--duplicate", type=float, default=0.0, metavar="SHARE", help="of the requests is sent twice")
    add("--cut", type=float, default=0.0, metavar="SECONDS", help="connections are cut this often, on average")
    add("--seed", type=int, default=0, help="of everything that is chance")
    add("--json", metavar="FILE", help="the result for programs")
    return parser


def _end(why: str, code: int) -> NoReturn:
    print(f"ocs-load: {why}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
