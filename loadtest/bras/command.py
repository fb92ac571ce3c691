"""`python -m loadtest bras`: play a BRAS against a RADIUS server, then audit it."""

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from loadtest.bras import scenario as scenarios
from loadtest.exits import DONE, EXIT_CODES, FAILED, USAGE
from loadtest.scenario import ScenarioError


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


def address(name: str, text: str) -> tuple[str, int]:
    """Of the option --`name`."""
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdecimal()):
        raise ScenarioError(f"--{name} {text}: expected HOST:PORT")
    return host.strip("[]"), int(port)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ocs-load bras", description=__doc__, epilog=EXIT_CODES)
    add = parser.add_argument
    add("scenario", nargs="?", default="rough", help="a shipped one by name (default: rough), or a TOML file")
    add("--list", action="store_true", help="the shipped scenarios")
    server = parser.add_argument_group("the server")
    add = server.add_argument
    add("--auth", default="127.0.0.1:1812", metavar="HOST:PORT", help="default: %(default)s")
    add("--acct", default="127.0.0.1:1813", metavar="HOST:PORT", help="default: %(default)s")
    add("--secret", default="testing123", help="default: that of the demo")
    add("--coa", default="127.0.0.1:3799", metavar="HOST:PORT", help="where the BRAS listens; `off`: nowhere")
    add("--http", default="http://127.0.0.1:8080", metavar="URL", help="default: %(default)s")
    add("--token-file", default="ocs-data/admin.token", metavar="FILE", help="default: %(default)s")
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
    extra = parser.add_argument_group("the run")
    add = extra.add_argument
    add("--no-provision", dest="provisions", action="store_false", help="they are all there, with money")
    add("--no-audit", dest="audits", action="store_false")
    add("--seed", type=int, default=0, help="of everything that is chance")
    add("--json", metavar="FILE", help="the result for programs")
    return parser


def _end(why: str, code: int) -> NoReturn:
    print(f"ocs-load bras: {why}", file=sys.stderr)
    sys.exit(code)
