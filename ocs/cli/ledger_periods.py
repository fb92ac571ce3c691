"""`ocs ledger close-period`, `periods`: months in which nothing changes any more."""

from __future__ import annotations

from typing import Any, Final

import click

from ocs.cli.ledger_copy import LONG_S
from ocs.cli.output import json_option, rows, say, show
from ocs.cli.remote import Remote, remote

COLUMNS: Final = ("month", "entries", "accounts", "closed", "closed_by", "usage_dropped", "entries_dropped")


@click.command("close-period")
@click.argument("month", metavar="YYYY-MM")
@json_option
@remote
def close_period(server: Remote, month: str, as_json: bool) -> None:
    """Close a month of the ledger: a row of each account and bucket keeps what it had at the end.

    One that is closed stays as it was closed; says since when, and by whom.
    """

    def text(closed: Any) -> None:
        say(f"{closed['month']} is closed since {closed['closed']}, by {closed['closed_by']}:")
        say(f"{closed['entries']} entries of {closed['accounts']} accounts")
        for name, books in sorted(closed["sums"].items()):
            say(f"{name}: " + ", ".join(f"{book} {amount}" for book, amount in sorted(books.items())))

    show(server.post("ledger", "periods", month, "close", wait_s=LONG_S), as_json, text)


@click.command("drop-period")
@click.argument("month", metavar="YYYY-MM")
@click.option("--usage", "only_usage", is_flag=True, help="Only its usage records: the entries stay.")
@click.option("--dry-run", is_flag=True, help="Say what would go, and what stands in the way.")
@json_option
@remote
def drop_period(server: Remote, month: str, only_usage: bool, dry_run: bool, as_json: bool) -> None:
    """Drop the entries and usage records of a closed month, for good: what each account had at its end is kept."""
    path = "ledger", "periods", month, "usage" if only_usage else "entries"
    if dry_run:
        found = server.ask("GET", *path, wait_s=LONG_S)[0]
        show(found, as_json, _plan)
        if found["obstacles"]:
            raise SystemExit(1)
        return
    show(server.ask("DELETE", *path, wait_s=LONG_S)[0], as_json, _dropped)


def _plan(found: Any) -> None:
    for name, size in sorted(found["would_go"].items()):
        room = f"{size['octets']:,} octets" if size["octets"] else "in one table with other months"
        say(f"{found['month']}, {name}: {size['rows']:,} rows, {room}")
    if not found["would_go"]:
        say(f"{found['month']} is dropped already")
    for text in found["obstacles"]:
        say(f"not now: {text}")


def _dropped(found: Any) -> None:
    say(f"{found['month']} is dropped: {', '.join(sorted(found['dropped']))}")
    if not found["deleted"]:
        say("the keeper deletes what is left of it on the disk, once no query reads it")


@click.command("periods")
@json_option
@remote
def periods(server: Remote, as_json: bool) -> None:
    """Months that are closed."""

    def table(found: Any) -> None:
        lines = [[one[name] for name in COLUMNS] for one in found["items"]]
        rows("closed months", COLUMNS, lines, right=("entries", "accounts"))

    show(server.get("ledger", "periods"), as_json, table)
