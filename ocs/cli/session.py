"""`ocs session ...`"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import click

from ocs.cli.given import given
from ocs.cli.job import job_table
from ocs.cli.output import facts, json_option, rows, say, show
from ocs.cli.remote import Remote, RequestRefused, remote

NAME = click.argument("name", metavar="SESSION")


@click.group()
def session() -> None:
    """Charging sessions: what is going on, report or end."""


@session.command("list")
@click.argument("account", required=False, callback=given)
@click.option("--peer", callback=given, help="Those of this client (Origin-Host).")
@click.option("--state", type=click.Choice(["open", "closed", "refused", "abandoned", "unknown", "any"]))
@click.option("--after", help="`next` of the page before.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@json_option
@remote
def list_sessions(server: Remote, account: str | None, as_json: bool, **wanted: Any) -> None:
    """Sessions of an account: open ones, and closed ones for an hour. Without an account: open sessions of all, those
    that hold for longest without a report first."""

    def table(found: Any) -> None:
        columns = ("id", "account", "state", "peer", "service", "opened", "touched", "held", "until")
        rows(f"sessions of {account or 'all accounts'}", columns, map(_row, found["items"]), right=("held",))
        if found["next"]:
            say(f"more: --after {found['next']}")

    show(server.get("sessions", account=account, **wanted), as_json, table)


def _row(session: Any) -> tuple[object, ...]:
    lines = [line for line in session["lines"] if line["hold_expires"]]
    held = sum((Decimal(line["held"]) for line in lines), Decimal(0))
    until = min((line["hold_expires"] for line in lines), default=None)
    names = ("id", "account", "state", "peer", "service", "opened", "touched")
    return (*(session[name] for name in names), held if lines else "-", until)


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
        if found["jobs"]:
            job_table("what the network was told", found["jobs"])
        for one in found["suspense"] or ():
            say(f"not charged: {one['amount']} {one['unit']}, {one['reason']} (suspense {one['id']}, {one['state']})")

    show(server.get("sessions", name), as_json, table)


def _ask(server: Remote, name: str, what: str, as_json: bool) -> None:
    """Shows the receipt; anything but a success of the network element is a failure."""
    answer = server.post("sessions", name, what)
    show(answer, as_json, lambda found: say(f"{found['session']}: {found['result']} {found['host']}".rstrip()))
    if not str(answer["result"]).startswith("2"):
        raise RequestRefused(f"{name}: the network element did not agree ({answer['result']})")


@session.command("reauthorize")
@NAME
@json_option
@remote
def reauthorize(server: Remote, name: str, as_json: bool) -> None:
    """Ask the network to report now (RAR)."""
    _ask(server, name, "reauthorize", as_json)


@session.command("abort")
@NAME
@json_option
@remote
def abort(server: Remote, name: str, as_json: bool) -> None:
    """Ask the network to end it (ASR)."""
    _ask(server, name, "abort", as_json)
