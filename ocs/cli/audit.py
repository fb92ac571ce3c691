"""`ocs audit ...`"""

from __future__ import annotations

from typing import Any

import click

from ocs.cli.given import given
from ocs.cli.output import json_option, rows, say, show
from ocs.cli.remote import Remote, RequestRefused, remote

LONG_S = 3_600
COLUMNS = ("id", "time", "request", "kind", "caller", "address", "operation", "target", "account", "before", "after")


@click.group()
def audit() -> None:
    """The audit trail: who changed money or master data."""


@audit.command("list")
@click.option("--account", callback=given)
@click.option("--caller", callback=given)
@click.option("--request", callback=given, help="All rows of one request.")
@click.option("--operation", callback=given, help="top_up, adjust, put_account ...")
@click.option("--from", "from_", callback=given, help="From this instant on: 2026-03-01T00:00:00Z")
@click.option("--until", callback=given, help="Before this instant.")
@click.option("--newest", is_flag=True, help="The newest first.")
@click.option("--after", type=click.IntRange(min=0), default=0, help='"next" of the page before.')
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@json_option
@remote
def list_audit(server: Remote, newest: bool, as_json: bool, **wanted: Any) -> None:
    """Its rows, oldest first."""

    def table(found: Any) -> None:
        rows("audit", COLUMNS, [[one[column] for column in COLUMNS] for one in found["items"]])
        if found["next"]:
            say(f"more: --after {found['next']}{' --newest' if newest else ''}")

    wanted["from"] = wanted.pop("from_")
    show(server.get("audit", order="newest" if newest else "oldest", **wanted), as_json, table)


@audit.command("verify")
@json_option
@remote
def verify_audit(server: Remote, as_json: bool) -> None:
    """Compute every hash of its chain again."""

    def text(proof: Any) -> None:
        say(f"{proof['rows']} rows, head {proof['head']}")
        if proof["sound"]:
            say("sound")

    proof = server.post("audit", "verify", wait_s=LONG_S)
    show(proof, as_json, text)
    if not proof["sound"]:
        for found in proof["findings"]:
            say(f"WRONG {found}", err=True)
        raise RequestRefused(f"{len(proof['findings'])} findings")
