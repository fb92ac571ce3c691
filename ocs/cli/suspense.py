"""`ocs suspense ...`"""

from __future__ import annotations

from typing import Any, Final

import click

from ocs.cli.given import given, key_option, tag_option
from ocs.cli.output import facts, json_option, rows, say, show
from ocs.cli.remote import Remote, remote

ID = click.argument("name", metavar="ID")
WHY = click.option("--reason", required=True, help="Kept with the decision.")
REASONS: Final = ("over-bound", "other-unit", "no-price", "too-large", "unusable", "nobody", "too-many-lines")


@click.group()
def suspense() -> None:
    """Use that was reported and not charged: charge it or write it off."""


@suspense.command("list")
@click.option("--account", callback=given, help="Whose use it was, or who was charged.")
@click.option("--session", callback=given)
@click.option("--reason", type=click.Choice(REASONS))
@click.option("--state", type=click.Choice(["open", "charging", "charged", "written-off"]), help="Default: all.")
@click.option("--from", "from_", metavar="TIME")
@click.option("--until", metavar="TIME")
@click.option("--after", help='"next" of the page before.')
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@json_option
@remote
def list_suspense(server: Remote, from_: str | None, as_json: bool, **filters: Any) -> None:
    """Oldest first."""

    def table(found: Any) -> None:
        columns = ("id", "time", "account", "session", "service", "group", "unit", "amount", "reason", "state")
        lines = [
            (
                one["id"],
                one["time"],
                one["account"],
                one["session"],
                one["service"],
                one["rating_group"],
                one["unit"],
                one["amount"],
                one["reason"],
                one["state"],
            )
            for one in found["items"]
        ]
        rows("suspense", columns, lines, right=("amount",))
        if found["next"]:
            say(f"more: --after {found['next']}")

    show(server.get("suspense", **filters, **{"from": from_}), as_json, table)


def _table(one: Any) -> None:
    settled = one["settled"] or {}
    amount = f"{one['amount']} {one['currency'] if one['unit'] == 'money' else one['unit']}"
    names = ("account", "subscriber", "session", "request", "service", "rating_group", "service_identifier")
    facts(
        f"suspense {one['id']}",
        [
            *((name.replace("_", " "), one[name]) for name in names),
            ("amount", amount),
            ("reason", one["reason"]),
            ("reports", one["reports"]),
            ("first use", one["time"]),
            ("last use", one["last"]),
            ("state", one["state"]),
            ("charged", settled.get("charged")),
            ("to account", settled.get("account")),
            ("entry", settled.get("seq")),
            ("decided by", settled.get("by")),
            ("because", settled.get("reason")),
            ("at", settled.get("time")),
        ],
    )


@suspense.command("show")
@ID
@json_option
@remote
def show_suspense(server: Remote, name: str, as_json: bool) -> None:
    """What it is, and what became of it."""
    show(server.get("suspense", name), as_json, _table)


@suspense.command("charge")
@ID
@click.argument("amount", required=False)
@WHY
@click.option("--account", help="Who pays, where nobody is known to have used it.")
@click.option("--expected", metavar="AMOUNT", help="Refuse if it is not of this amount any more.")
@tag_option
@key_option
@json_option
@remote
def charge(server: Remote, name: str, key: str | None, as_json: bool, **body: Any) -> None:
    """Charge AMOUNT for all of it; without one by the tariff in force when it was used."""
    given = {field: value for field, value in body.items() if value is not None}
    show(server.post_once("suspense", name, "settle", body={"action": "charge"} | given, key=key), as_json, _table)


@suspense.command("write-off")
@ID
@WHY
@click.option("--expected", metavar="AMOUNT", help="Refuse if it is not of this amount any more.")
@tag_option
@key_option
@json_option
@remote
def write_off(server: Remote, name: str, key: str | None, as_json: bool, **body: str | None) -> None:
    """It will not be charged."""
    given = {field: value for field, value in body.items() if value is not None}
    show(server.post_once("suspense", name, "settle", body={"action": "write-off"} | given, key=key), as_json, _table)
