"""`ocs transfer ...`"""

from __future__ import annotations

from typing import Any

import click

from ocs.cli.given import key_option, tag_option
from ocs.cli.output import facts, json_option, rows, show, tags_text
from ocs.cli.remote import Remote, remote


@click.group()
def transfer() -> None:
    """Transfers from one account to another one."""


def transfer_table(found: Any) -> None:
    facts(
        f"transfer {found['id']}",
        [
            ("from", f"{found['from']}, entry {found['sent_seq']}"),
            ("to", found["to"]),
            ("amount", f"{found['amount']} {found['currency']}"),
            ("state", found["state"]),
            ("sent", found["sent"]),
            ("ended", found["ended"]),
            ("by", found["actor"]),
            ("reason", found["reason"]),
            ("reference", found["reference"]),
            ("tags", tags_text(found["tags"])),
        ],
    )


@transfer.command("send")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.argument("amount")
@click.option("--reason", required=True)
@click.option("--reference", default="", help="For your books; not a key.")
@tag_option
@key_option
@json_option
@remote
def send(
    server: Remote,
    source: str,
    target: str,
    amount: str,
    reason: str,
    reference: str,
    tags: dict[str, str],
    key: str | None,
    as_json: bool,
) -> None:
    """Transfer own money: no bonus, no credit, nothing that is held."""
    body = {"from": source, "to": target, "amount": amount, "reason": reason, "reference": reference, "tags": tags}
    show(server.post_once("transfers", body=body, key=key), as_json, transfer_table)


@transfer.command("show")
@click.argument("name", metavar="TRANSFER")
@json_option
@remote
def show_transfer(server: Remote, name: str, as_json: bool) -> None:
    """How far it is."""
    show(server.get("transfers", name), as_json, transfer_table)


@transfer.command("list")
@click.argument("name", metavar="ACCOUNT")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@json_option
@remote
def list_transfers(server: Remote, name: str, limit: int, as_json: bool) -> None:
    """From and to an account, the newest first."""

    def table(answer: Any) -> None:
        columns = ("transfer", "sent", "from", "to", "amount", "state")
        lines = [(t["id"], t["sent"], t["from"], t["to"], t["amount"], t["state"]) for t in answer["items"]]
        rows("transfers", columns, lines, right=("amount",))

    show(server.get("accounts", name, "transfers", limit=limit), as_json, table)
