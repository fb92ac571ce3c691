"""`ocs ledger close-period`, `periods`: months in which nothing changes any more."""

from __future__ import annotations

from typing import Any, Final

import click

from ocs.cli.ledger_copy import LONG_S
from ocs.cli.output import json_option, rows, say, show
from ocs.cli.remote import Remote, remote

COLUMNS: Final = ("month", "entries", "accounts", "closed", "closed_by")


@click.command("close-period")
@click.argument("month", metavar="YYYY-MM")
@json_option
@remote
def close_period(server: Remote, month: str, as_json: bool) -> None:
    """Close a month of the ledger: a row of each account and bucket keeps what it had at the end."""

    def text(closed: Any) -> None:
        say(f"{closed['month']} is closed: {closed['entries']} entries of {closed['accounts']} accounts")
        for name, books in sorted(closed["sums"].items()):
            say(f"{name}: " + ", ".join(f"{book} {amount}" for book, amount in sorted(books.items())))

    show(server.post("ledger", "periods", month, "close", wait_s=LONG_S), as_json, text)


@click.command("periods")
@json_option
@remote
def periods(server: Remote, as_json: bool) -> None:
    """Months that are closed."""

    def table(found: Any) -> None:
        lines = [[one[name] for name in COLUMNS] for one in found["items"]]
        rows("closed months", COLUMNS, lines, right=("entries", "accounts"))

    show(server.get("ledger", "periods"), as_json, table)
