"""`ocs account statement`, `ocs account balance`"""

from __future__ import annotations

from typing import Any

import click

from ocs.cli.given import given
from ocs.cli.output import facts, json_option, rows, say, show
from ocs.cli.remote import Remote, remote


def _sums(title: str, found: Any) -> None:
    columns = ("kind", "why", "counter-account", "tag", "entries", "amount", "net", "tax")
    lines = [
        (e["kind"], e["why"], e["counter_account"], e["tag"], e["entries"], e["amount"], e["net"], e["tax"])
        for e in found["entries"]
    ]
    for one in found["totals"]:
        say(f"{title}: {one['kind']} {one['opening']} at the beginning, {one['closing']} at the end")
    rows("entries", columns, lines, right=("entries", "amount", "net", "tax"))


def _statement(found: Any) -> None:
    facts(
        f"account {found['account']}",
        [
            ("customer", found["customer"]),
            ("period", f"{found['from']} to {found['until']}"),
            ("currency", found["currency"]),
            ("closed", "yes" if found["closed"] else "not yet: entries may still come"),
        ],
    )
    _sums(f"account {found['account']}", found)


def _of_customer(found: Any) -> None:
    for one in found["accounts"]:
        _statement(one)
    for one in found["currencies"]:
        _sums(f"customer {found['customer']}, all in {one['currency']}", one)


@click.command()
@click.argument("name", metavar="[ACCOUNT]", required=False)
@click.option("--customer", callback=given, help="All accounts of this customer.")
@click.option("--from", "since", required=True, metavar="TIME", help="RFC 3339: 2026-03-01T00:00:00+01:00")
@click.option("--until", required=True, metavar="TIME", help="Before this instant.")
@click.option("--group-by", metavar="KEY", callback=given, help="Sum by the charging tag of this key too.")
@json_option
@remote
def statement(
    server: Remote,
    name: str | None,
    customer: str | None,
    since: str,
    until: str,
    group_by: str | None,
    as_json: bool,
) -> None:
    """A period: what there was, what came and went, what there is. Of an ACCOUNT, or of all of a customer."""
    if (name is None) == (customer is None):
        raise click.UsageError("either an ACCOUNT or --customer")
    period = {"from": since, "until": until, "group_by": group_by}
    if customer is not None:
        show(server.get("statement", customer=customer, **period), as_json, _of_customer)
    else:
        show(server.get("accounts", str(name), "statement", **period), as_json, _statement)


@click.command()
@click.argument("name", metavar="ACCOUNT")
@click.option("--as-of", metavar="TIME", help="Of what happened before this instant.")
@click.option("--known-at", metavar="TIME", help="As far as it was posted before this instant.")
@json_option
@remote
def balance(server: Remote, name: str, as_of: str | None, known_at: str | None, as_json: bool) -> None:
    """What an account had at a past moment, as it is known now or as it was known then."""

    def table(found: Any) -> None:
        lines = [(one["bucket"], one["kind"], one["amount"]) for one in found["buckets"]]
        rows(f"account {found['account']}: {found['balance']} {found['currency']}", ("bucket", "kind", "amount"), lines)

    show(server.get("accounts", name, "balance", as_of=as_of, known_at=known_at), as_json, table)
