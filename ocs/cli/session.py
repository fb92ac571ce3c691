"""`ocs session ...`"""

from __future__ import annotations

from typing import Any

import click

from ocs.cli.output import facts, json_option, rows, say, show
from ocs.cli.remote import Refused, Remote, remote

NAME = click.argument("name", metavar="SESSION")


@click.group()
def session() -> None:
    """Charging sessions: what is going on, report or end."""


@session.command("list")
@click.argument("account")
@json_option
@remote
def list_sessions(server: Remote, account: str, as_json: bool) -> None:
    """Sessions of an account: open ones, and closed ones for an hour."""

    def table(found: Any) -> None:
        columns = ("id", "state", "subscriber", "service", "opened", "lines")
        lines = [
            (s["id"], s["state"], s["subscriber"], s["service"], s["opened"], len(s["lines"])) for s in found["items"]
        ]
        rows(f"sessions of {account}", columns, lines, right=("lines",))

    show(server.get("sessions", account=account), as_json, table)


@session.command("show")
@NAME
@json_option
@remote
def show_session(server: Remote, name: str, as_json: bool) -> None:
    """A session, with what each line used and holds."""

    def table(found: Any) -> None:
        names = ("account", "subscriber", "service", "state", "incarnation", "peer", "via", "opened", "touched")
        facts(f"session {found['id']}", [(name, found[name]) for name in names])
        columns = ("group", "service", "unit", "used", "granted", "debited", "held", "until", "tariff")
        lines = [
            (
                line["rating_group"],
                line["service_identifier"],
                line["unit"],
                line["used"],
                line["granted"],
                line["debited"],
                line["held"],
                line["hold_expires"],
                line["tariff"],
            )
            for line in found["lines"]
        ]
        rows("lines", columns, lines, right=("used", "granted", "debited", "held"))

    show(server.get("sessions", name), as_json, table)


def _push(server: Remote, name: str, what: str, as_json: bool) -> None:
    """Shows the receipt; anything but a success of the network element is a failure."""
    answer = server.post("sessions", name, what)
    show(answer, as_json, lambda found: say(f"{found['session']}: {found['result']} {found['host']}".rstrip()))
    if not str(answer["result"]).startswith("2"):
        raise Refused(f"{name}: the network element did not agree ({answer['result']})")


@session.command("reauthorize")
@NAME
@json_option
@remote
def reauthorize(server: Remote, name: str, as_json: bool) -> None:
    """Ask the network to report now (RAR)."""
    _push(server, name, "reauthorize", as_json)


@session.command("abort")
@NAME
@json_option
@remote
def abort(server: Remote, name: str, as_json: bool) -> None:
    """Ask the network to end it (ASR)."""
    _push(server, name, "abort", as_json)
