"""`ocs approval ...`"""

from __future__ import annotations

from typing import Any

import click

from ocs.cli.given import given
from ocs.cli.output import facts, json_option, rows, say, show
from ocs.cli.remote import Remote, remote

ID = click.argument("name", metavar="ID")


@click.group()
def approval() -> None:
    """What waits for a second person: see, approve, reject."""


def _table(one: Any) -> None:
    facts(f"approval {one['approval']}", [(name, one[name]) for name in one if name != "approval"])


@approval.command("list")
@click.option("--state", type=click.Choice(["pending", "approved", "done", "failed", "rejected", "expired"]))
@click.option("--after", callback=given, help='"next" of the page before.')
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@json_option
@remote
def list_approvals(server: Remote, as_json: bool, **wanted: Any) -> None:
    """In the order they were asked for."""

    def table(found: Any) -> None:
        columns = ("approval", "state", "caller", "target", "body", "asked", "expires", "decided_by")
        rows("approvals", columns, [[one[column] for column in columns] for one in found["items"]])
        if found["next"]:
            say(f"more: --after {found['next']}")

    show(server.get("approvals", **wanted), as_json, table)


@approval.command("show")
@ID
@json_option
@remote
def show_approval(server: Remote, name: str, as_json: bool) -> None:
    """One of them, with what came of it."""
    show(server.get("approvals", name), as_json, _table)


@approval.command("approve")
@ID
@click.option("--reason", default="", help="Kept with it.")
@json_option
@remote
def approve(server: Remote, name: str, reason: str, as_json: bool) -> None:
    """Have it done, as who asked for it. It has to be another person."""
    show(server.post("approvals", name, "approve", body={"reason": reason}), as_json, _table)


@approval.command("reject")
@ID
@click.option("--reason", default="", help="Kept with it.")
@json_option
@remote
def reject(server: Remote, name: str, reason: str, as_json: bool) -> None:
    """It will not be done."""
    show(server.post("approvals", name, "reject", body={"reason": reason}), as_json, _table)
