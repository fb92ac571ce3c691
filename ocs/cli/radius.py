"""`ocs radius ...`"""

from __future__ import annotations

from typing import Any

import click

from ocs.cli.output import json_option, rows, say, show
from ocs.cli.remote import Remote, remote


@click.group()
def radius() -> None:
    """RADIUS clients: what they send, and what is demanded of them; home servers."""


@radius.command("clients")
@click.option("--before", help='"next" of the page before.')
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@json_option
@remote
def clients(server: Remote, as_json: bool, before: str | None, limit: int) -> None:
    """As configured, and each address that was heard of, the last one first."""

    def tables(found: Any) -> None:
        columns = ("address", "group", "profile", "service", "message_authenticator", "limit_proxy_state", "rate_max")
        rows("clients", columns, [tuple(one[column] for column in columns) for one in found["clients"]])
        rows("addresses", COLUMNS, map(_line, found["items"]), right=("signed", "not signed"))
        if found["next"]:
            say(f"more: --before {found['next']}")

    show(server.get("radius", "clients", before=before, limit=limit), as_json, tables)


COLUMNS = ("address", "client", "group", "profile", "seen", "strictness", "proxies", "signed", "not signed", "dropped")


def _line(one: Any) -> tuple[object, ...]:
    signed, dropped = one["signed"], [f"{why}: {times}" for why, times in sorted(one["dropped"].items())]
    told = (signed["strictness"], one["direct"]["strictness"], signed["kept"], signed["broken"])
    return (one["address"], one["client"], one["group"], one["profile"], one["seen"], *told, dropped)


@radius.command("homes")
@json_option
@remote
def homes(server: Remote, as_json: bool) -> None:
    """Home servers that EAP logins are passed on to, and whether they answer."""

    def table(found: Any) -> None:
        columns = ("address", "state", "since", "workers", "outstanding", "answered", "unanswered", "not proven")
        rows("home servers", columns, map(_home, found["items"]), right=columns[4:])

    show(server.get("radius", "homes"), as_json, table)


def _home(one: Any) -> tuple[object, ...]:
    counts, workers = one["counts"], [f"{state}: {number}" for state, number in one["workers"].items()]
    unproven = counts.get("unsigned", 0) + counts.get("forged", 0)
    told = (counts.get("answered", 0), counts.get("unanswered", 0), unproven)
    return (one["address"], one["state"], one["since"], workers, one["outstanding"], *told)


@radius.command("reset")
@click.argument("address")
@json_option
@remote
def reset(server: Remote, as_json: bool, address: str) -> None:
    """Forget what an address did: nothing is demanded of it until it is learnt anew."""
    show(server.post("radius", "clients", address, "reset"), as_json, lambda one: say(f"{one['address']}: forgotten"))
