"""`ocs subscriber ...`"""

from __future__ import annotations

from typing import Any

import click

from ocs.cli.given import given
from ocs.cli.limits import limit_group
from ocs.cli.output import facts, json_option, rows, say, show, tags_text
from ocs.cli.remote import Remote, RequestRefused, remote

NAME = click.argument("name", metavar="SUBSCRIBER")


@click.group()
def subscriber() -> None:
    """Subscribers and their identities."""


subscriber.add_command(limit_group("subscribers"))


def _tariffs(found: Any) -> list[str]:
    return [
        t["tariff"] + (f" from {t['from']}" if t["from"] else "") + (f" until {t['until']}" if t["until"] else "")
        for t in found["tariffs"]
    ]


def subscriber_table(found: Any) -> None:
    facts(
        f"subscriber {found['id']}",
        [
            ("account", found["account"]),
            ("paid by others", [f"{service}={account}" for service, account in sorted(found["payers"].items())]),
            ("identities", found["identities"]),
            ("tariffs", _tariffs(found)),
            ("barred", "yes" if found["barred"] else ""),
            ("attributes", [f"{name}={value}" for name, value in sorted(found["attributes"].items())]),
            ("charging tags", tags_text(found["tags"])),
            ("version", found["version"]),
        ],
    )


def subscribers_table(found: Any) -> None:
    columns = ("id", "account", "identities", "tariffs")
    rows("subscribers", columns, [(s["id"], s["account"], s["identities"], _tariffs(s)) for s in found["items"]])
    if found["next"]:
        say(f"more: --after {found['next']}")


def _changed(known: dict[str, str], named: tuple[str, ...], such_as: str) -> dict[str, str]:
    wanted = dict(known)
    for one in named:
        name, equals, value = one.partition("=")
        if not name or not equals:
            raise click.UsageError(f"expected {such_as}, not {one}")
        wanted[name] = value
    return {name: value for name, value in wanted.items() if value}


@subscriber.command("list")
@click.option("--account", callback=given)
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.option("--after", help="Where the page before ended.")
@json_option
@remote
def list_subscribers(server: Remote, account: str | None, limit: int, after: str | None, as_json: bool) -> None:
    """Subscribers, all or of one account."""
    show(server.get("subscribers", account=account, limit=limit, after=after), as_json, subscribers_table)


@subscriber.command("show")
@NAME
@json_option
@remote
def show_subscriber(server: Remote, name: str, as_json: bool) -> None:
    """A subscriber, by its id or by an identity (msisdn:4917...)."""
    if name.partition(":")[0] in ("msisdn", "imsi", "sip", "nai", "private", "username", "mac"):
        found = server.get("subscribers", identity=name)["items"]
        if not found:
            raise RequestRefused(f"nobody has the identity {name}")
        show(found[0], as_json, subscriber_table)
    else:
        show(server.get("subscribers", name), as_json, subscriber_table)


@subscriber.command("set")
@NAME
@click.option("--account")
@click.option("--identity", "identities", multiple=True, metavar="KIND:IDENTITY", help="All it has: msisdn:4917...")
@click.option("--tariff", "tariffs", multiple=True, help="In order: the first that has a price counts.")
@click.option(
    "--attribute", "attributes", multiple=True, metavar="NAME=VALUE", help="For tariffs and NASes; NAME= removes it."
)
@click.option(
    "--payer", "payers", multiple=True, metavar="SERVICE=ACCOUNT", help="Who pays for a service; SERVICE= ends it."
)
@click.option(
    "--tag", "tags", multiple=True, metavar="KEY=TEXT", help="Charging tag of all it is charged; KEY= removes it."
)
@click.option("--barred/--not-barred", default=None)
@json_option
@remote
def set_subscriber(
    server: Remote,
    name: str,
    account: str | None,
    identities: tuple[str, ...],
    tariffs: tuple[str, ...],
    attributes: tuple[str, ...],
    payers: tuple[str, ...],
    tags: tuple[str, ...],
    barred: bool | None,
    as_json: bool,
) -> None:
    """Create a subscriber, or change what is named of one; the rest stays."""
    try:
        known = server.get("subscribers", name)
    except RequestRefused as why:
        if not why.kind.endswith(":not-found"):
            raise
        if account is None:
            raise click.UsageError("a new subscriber needs --account") from None
        known = {"account": account, "identities": [], "tariffs": [], "barred": False, "attributes": {}}
    body = {
        "account": account or known["account"],
        "identities": identities or known["identities"],
        "tariffs": [{"tariff": tariff} for tariff in tariffs] or known["tariffs"],
        "barred": known["barred"] if barred is None else barred,
        "attributes": _changed(known["attributes"], attributes, "an attribute such as segment=gold"),
        "payers": _changed(known.get("payers", {}), payers, "a payer such as voice=company-7"),
        "tags": _changed(known.get("tags", {}), tags, "a charging tag such as channel=shop"),
    }
    show(server.put("subscribers", name, body=body), as_json, subscriber_table)


@subscriber.command("delete")
@NAME
@remote
def delete_subscriber(server: Remote, name: str) -> None:
    """Forget a subscriber; its account stays."""
    server.delete("subscribers", name)
    say(f"{name} deleted; its account stays")
