"""`ocs job ...`"""

from __future__ import annotations

from typing import Any, Final

import click

from ocs.cli.given import given
from ocs.cli.output import facts, json_option, rows, say, show
from ocs.cli.remote import Remote, remote

ID = click.argument("name", metavar="ID")
STATES: Final = (
    "open", "due", "sent", "acknowledged", "effective", "failed", "given-up", "cancelled", "superseded",
)  # fmt: skip


@click.group()
def job() -> None:
    """What the network is told of which session, and what comes of it."""


@job.command("list")
@click.option("--account", callback=given)
@click.option("--session", callback=given)
@click.option("--peer", callback=given, help="Of this client (Origin-Host).")
@click.option("--state", type=click.Choice(STATES), help="Default: all. open: something may still be sent.")
@click.option("--before", help='"next" of the page before.')
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@json_option
@remote
def list_jobs(server: Remote, as_json: bool, **wanted: Any) -> None:
    """The newest first."""

    def table(found: Any) -> None:
        job_table("jobs", found["items"])
        if found["next"]:
            say(f"more: --before {found['next']}")

    show(server.get("jobs", **wanted), as_json, table)


COLUMNS: Final = ("id", "crossed", "account", "session", "cause", "action", "state", "attempts", "result", "used")


def job_table(title: str, found: Any) -> None:
    lines = [tuple(one[column] for column in COLUMNS) for one in found]
    rows(title, COLUMNS, lines, right=("attempts", "used"))


@job.command("show")
@ID
@json_option
@remote
def show_job(server: Remote, name: str, as_json: bool) -> None:
    """A job with its attempts."""
    show(server.get("jobs", name), as_json, _table)


def _table(one: Any) -> None:
    names = (
        "account", "subscriber", "session", "incarnation", "service", "peer", "cause", "action", "state", "why",
        "attempts", "result", "generation", "crossed", "sent", "acknowledged", "effective", "ended", "due", "held",
        "used", "wish", "made_of",
    )  # fmt: skip
    facts(f"job {one['id']}", [(name.replace("_", " "), one[name]) for name in names])
    if one["tries"]:
        columns = ("number", "action", "time", "ended", "result", "host", "by")
        rows("attempts", columns, [tuple(each[column] for column in columns) for each in one["tries"]])


@job.command("retry")
@ID
@json_option
@remote
def retry(server: Remote, name: str, as_json: bool) -> None:
    """Try it again: one that has failed, was given up or was cancelled."""
    show(server.post("jobs", name, "retry"), as_json, lambda one: say(f"job {one['id']}: to be tried again"))


@job.command("cancel")
@ID
@json_option
@remote
def cancel(server: Remote, name: str, as_json: bool) -> None:
    """End it: nothing more is sent for it."""
    show(server.post("jobs", name, "cancel"), as_json, lambda one: say(f"job {one['id']}: to be cancelled"))
