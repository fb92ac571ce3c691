"""`ocs ledger ...`"""

from __future__ import annotations

from typing import Any

import click

from ocs.cli.output import json_option, rows, show
from ocs.cli.remote import Remote, remote


@click.group()
def ledger() -> None:
    """The ledger: entries of an account, and its proof."""


@ledger.command("show")
@click.argument("account")
@click.option("--after-seq", type=click.IntRange(min=0), default=0)
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@json_option
@remote
def show_ledger(server: Remote, account: str, after_seq: int, limit: int, as_json: bool) -> None:
    """Every change of every bucket, oldest first."""

    def table(found: Any) -> None:
        columns = ("seq", "time", "bucket", "amount", "after", "why", "service", "session", "reference")
        lines = [
            (
                e["seq"],
                e["time"],
                e["bucket"],
                e["amount"],
                e["balance_after"],
                e["why"],
                e["service"],
                e["session"],
                e["reference"],
            )
            for e in found["items"]
        ]
        rows(f"ledger of {account}", columns, lines, right=("seq", "amount", "after"))
        if found["next_after_seq"]:
            click.echo(f"more: --after-seq {found['next_after_seq']}")

    show(server.get("accounts", account, "ledger", after_seq=after_seq, limit=limit), as_json, table)
