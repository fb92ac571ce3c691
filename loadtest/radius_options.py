"""Options that `ocs-load bras` and `ocs-load voip` share."""

from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

from loadtest.shelf import ScenarioError


def address(name: str, text: str) -> tuple[str, int]:
    """Of the option --`name`."""
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdecimal()):
        raise ScenarioError(f"--{name} {text}: expected HOST:PORT")
    return host.strip("[]"), int(port)


def server_options(parser: ArgumentParser, scenario: str) -> Callable[..., Any]:
    """What is played, and against whom; returns what adds more of the latter. scenario: the one by default"""
    add = parser.add_argument
    add("scenario", nargs="?", default=scenario, help="a shipped one by name (default: %(default)s), or a TOML file")
    add("--list", action="store_true", help="the shipped scenarios")
    server = parser.add_argument_group("the server")
    add = server.add_argument
    add("--auth", default="127.0.0.1:1812", metavar="HOST:PORT", help="default: %(default)s")
    add("--acct", default="127.0.0.1:1813", metavar="HOST:PORT", help="default: %(default)s")
    add("--secret", default="testing123", help="default: that of the demo")
    add("--http", default="http://127.0.0.1:8080", metavar="URL", help="default: %(default)s")
    add("--token-file", default="ocs-data/admin.token", metavar="FILE", help="default: %(default)s")
    return add


def run_options(parser: ArgumentParser) -> None:
    extra = parser.add_argument_group("the run")
    add = extra.add_argument
    add("--no-provision", dest="provisions", action="store_false", help="they are all there, with money")
    add("--no-audit", dest="audits", action="store_false")
    add("--seed", type=int, default=0, help="of everything that is chance")
    add("--json", metavar="FILE", help="the result for programs")
