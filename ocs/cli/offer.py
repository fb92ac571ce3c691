"""`ocs offer ...`"""

from __future__ import annotations

import json
from typing import IO, Any

import click

from ocs.cli.output import json_option, rows, say, show
from ocs.cli.remote import Remote, RequestRefused, remote

NAME = click.argument("name", metavar="OFFER")


@click.group()
def offer() -> None:
    """Top-up offers: what a payment gives besides itself."""


def _table(found: Any) -> None:
    said = f": {found['description']}" if found["description"] else ""
    columns = ("paid", "bonus", "units", "longer validity", "limits anew")
    title = f"offer {found['id']}, version {found['version']}, {found['currency']}{said}"
    rows(title, columns, [_band(band) for band in found["bands"]], right=("paid",))


def _band(band: Any) -> tuple[str, ...]:
    paid = f"{band['minimum']} to {band['maximum']}" if band["maximum"] else f"from {band['minimum']}"
    return (
        paid,
        _bonus(band["bonus"]) if band["bonus"] else "",
        ", ".join(f"{_units(one)}{_until(one)}" for one in band["units"]),
        ", ".join(
            [
                *(f"{one['bucket']}: {one['days']} days" for one in band["extends"]),
                *([f"grace: {band['grace_days']} days"] if band["grace_days"] else []),
            ]
        ),
        ", ".join(band["resets"]),
    )


def _units(units: Any) -> str:
    """With the money in the same bucket, and what they cost."""
    more = f" + {units['money']} money" if units["money"] else ""
    price = f" for {units['price']} per {units['per']}" if units["price"] else ""
    return f"{units['amount']} {units['kind']}{more}{price}"


def _bonus(bonus: Any) -> str:
    parts = [bonus["amount"] or "", f"{bonus['percent']} %" if bonus["percent"] else ""]
    most = f", at most {bonus['maximum']}" if bonus["maximum"] else ""
    return f"{' + '.join(filter(None, parts))}{most}{_until(bonus)}"


def _until(given: Any) -> str:
    return f", {given['days']} days" if given["days"] else ""


@offer.command("put")
@NAME
@click.argument("file", type=click.File("rb"))
@json_option
@remote
def put_offer(server: Remote, name: str, file: IO[bytes], as_json: bool) -> None:
    """Make the offer, or change it: FILE is JSON, as the API takes it; `-` reads it from standard input."""
    try:
        body = json.loads(file.read())
    except ValueError as why:
        raise RequestRefused(f"{file.name}: expected JSON: {why}") from None
    show(server.put("top-up-offers", name, body=body), as_json, _table)


@offer.command("list")
@json_option
@remote
def list_offers(server: Remote, as_json: bool) -> None:
    """All offers."""
    items: list[Any] = []
    after: str | None = ""
    while after is not None:
        found = server.get("top-up-offers", after=after, limit=100)
        items, after = [*items, *found["items"]], found["next"]

    def table(_: Any) -> None:
        columns = ("offer", "version", "currency", "from", "description")
        rows(
            "top-up offers",
            columns,
            [(o["id"], o["version"], o["currency"], o["bands"][0]["minimum"], o["description"]) for o in items],
            right=("from",),
        )

    show({"items": items}, as_json, table)


@offer.command("show")
@NAME
@json_option
@remote
def show_offer(server: Remote, name: str, as_json: bool) -> None:
    """What it gives, by bands of what is paid."""
    show(server.get("top-up-offers", name), as_json, _table)


@offer.command("delete")
@NAME
@remote
def delete_offer(server: Remote, name: str) -> None:
    """Take it away: what it gave stays."""
    server.delete("top-up-offers", name)
    say(f"no offer {name} any more")


@offer.command("quote")
@NAME
@click.argument("account")
@click.argument("amount")
@json_option
@remote
def quote(server: Remote, name: str, account: str, amount: str, as_json: bool) -> None:
    """What a top-up of ACCOUNT with AMOUNT would do now. Nothing is done."""

    def table(found: Any) -> None:
        lines = [("main balance", f"+{found['amount']} money", "")]
        lines += [(f"new bucket {o['name']}", f"+{_units(o)}", o["valid_until"]) for o in found["gives"]]
        lines += [(f"bucket {o['bucket']} {o['name']}", "", o["extended_until"]) for o in found["extends"]]
        lines += [
            (f"limit {o['limit']} of {o['subscriber'] or 'the account'}", "begins anew", "") for o in found["resets"]
        ]
        lines += [("grace", "", found["grace_until"])] if found["grace_until"] else []
        rows(f"{account}: {found['amount']} with offer {name}", ("what", "change", "ends"), lines)

    body = {"amount": amount, "offer": name}
    show(server.ask("POST", "accounts", account, "topups", "quote", body=body)[0], as_json, table)
