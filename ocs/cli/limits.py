"""`ocs subscriber limit ...` and `ocs account limit ...`"""

from __future__ import annotations

from typing import Any

import click

from ocs.cli.output import json_option, rows, say, show
from ocs.cli.remote import Remote, remote


def limits_table(found: Any) -> None:
    columns = ("limit", "period", "about", "amount", "used", "held", "left", "until")
    lines = [
        (
            f"{one['name']} (all of the account)" if one["shared"] else one["name"],
            one["period"],
            _about(one),
            one["amount"],
            one["used"],
            one["held"],
            one["left"],
            one["until"],
        )
        for one in found["items"]
    ]
    rows("limits", columns, lines, right=("amount", "used", "held", "left"))


def _about(one: Any) -> str:
    parts = [", ".join(one["services"]) or "all services"]
    parts += [f"in {', '.join(one['visited'])}"] if one["visited"] else []
    parts += [f"not in {', '.join(one['not_visited'])}"] if one["not_visited"] else []
    unit = one["kind"] if one["kind"] != "money" else ""
    return " ".join([*([f"{unit} of"] if unit else []), *parts])


def limit_group(owners: str) -> click.Group:
    """owners: `subscribers` or `accounts`"""
    owner = click.argument("owner", metavar=owners[:-1].upper())
    together = " Of all its subscribers together." if owners == "accounts" else ""

    @click.group("limit", help=f"What may be spent or used in a period, and what is left of it.{together}")
    def limit() -> None:
        pass

    @limit.command("set")
    @owner
    @click.argument("name")
    @click.argument("amount")
    @click.option("--period", default="month", show_default=True, help='day, week, month, "month from 15", year, ever.')
    @click.option("--kind", type=click.Choice(["money", "octets", "seconds", "units"]), default="money")
    @click.option("--service", "services", multiple=True, help="Only this one; more than once for several.")
    @click.option("--visited", multiple=True, metavar="NETWORK", help='Only in these: 26201, "262*".')
    @click.option("--not-visited", multiple=True, metavar="NETWORK", help="Not in these, which are those at home.")
    @json_option
    @remote
    def set_limit(
        server: Remote,
        owner: str,
        name: str,
        amount: str,
        period: str,
        kind: str,
        services: tuple[str, ...],
        visited: tuple[str, ...],
        not_visited: tuple[str, ...],
        as_json: bool,
    ) -> None:
        """Set the limit NAME, or replace it: AMOUNT in a period. It counts from the next grant on."""
        body = {"amount": amount, "period": period, "kind": kind}
        lists = {"services": list(services), "visited": list(visited), "not_visited": list(not_visited)}
        answer = server.ask("PUT", owners, owner, "limits", name, body=body | lists)[0]
        show(answer, as_json, lambda one: limits_table({"items": [one]}))

    @limit.command("list")
    @owner
    @json_option
    @remote
    def list_limits(server: Remote, owner: str, as_json: bool) -> None:
        """Limits with what is used, held and left of each now."""
        show(server.get(owners, owner, "limits"), as_json, limits_table)

    @limit.command("delete")
    @owner
    @click.argument("name")
    @remote
    def delete_limit(server: Remote, owner: str, name: str) -> None:
        """Take the limit NAME away."""
        server.ask("DELETE", owners, owner, "limits", name)
        say(f"{owner}: no limit {name} any more")

    return limit
