"""`ocs voucher ...`"""

from __future__ import annotations

import asyncio
from typing import Any, Final, TextIO

import click

from ocs.cli.account import posted_table
from ocs.cli.given import given, key_option, tag_option
from ocs.cli.output import facts, json_option, rows, say, show
from ocs.cli.remote import Remote, RequestRefused, remote

BATCH = click.argument("batch")
SERIAL = click.argument("serial", type=int)
LOT: Final = 5_000
"""Codes imported at a time."""


@click.group()
def voucher() -> None:
    """Vouchers: batches of codes, and their redemption."""


def _batch_table(found: Any) -> None:
    unit = found["currency"] or found["kind"]
    names = (
        "state",
        "made",
        "redeemed",
        "credited",
        "blocked",
        "outstanding",
        "expires",
        "codes",
        "length",
        "exported",
    )
    worth = [("worth", f"{found['amount']} {unit}"), ("scope", ", ".join(found["scope"])), ("name", found["name"])]
    worth += [("offer", found["offer"])] if found["offer"] else []
    values = [(f"value {name}", f"{found[f'{name}_value']} {unit}") for name in ("redeemed", "outstanding")]
    facts(f"batch {found['id']}", [*worth, *((name, found[name]) for name in names), *values])


def _voucher_table(found: Any) -> None:
    names = (
        "state",
        "amount",
        "kind",
        "currency",
        "expires",
        "account",
        "redeemed",
        "redeemed_by",
        "source",
        "credited",
    )
    facts(f"voucher {found['serial']} of {found['batch']}", [(name, found[name]) for name in names])


@voucher.command("make")
@BATCH
@click.option("--count", type=int, default=0, help="How many; 0 with imported codes.")
@click.option("--amount", required=True, callback=given, help="Of money: 12.50; else a whole number. Of each voucher.")
@click.option("--kind", type=click.Choice(["money", "octets", "seconds", "units"]), default="money")
@click.option("--currency", callback=given, help="Of money.")
@click.option(
    "--expires", metavar="TIME", callback=given, help="Until when codes are redeemed, RFC 3339; else for ever."
)
@click.option("--valid-for", "valid_for_s", type=int, metavar="SECONDS", help="How long what is credited lasts.")
@click.option("--from-first-use", is_flag=True, help="--valid-for begins with the first use.")
@click.option("--scope", multiple=True, metavar="SERVICE", help="Services it may pay; more than once for several.")
@click.option("--priority", type=int)
@click.option("--name", default="", help="What the bucket is called.")
@click.option("--codes", type=click.Choice(["letters", "digits", "imported"]), default="letters", show_default=True)
@click.option("--length", type=int, help="Characters (default: 64 bits of randomness).")
@click.option("--reference", default="", help="For your books.")
@click.option("--offer", callback=given, help="A top-up offer: what it gives for such a payment comes with the money.")
@json_option
@remote
def make_batch(server: Remote, batch: str, as_json: bool, scope: tuple[str, ...], **given_: Any) -> None:
    """Make a batch and its codes; the same again goes on where it was cut off."""
    body = {name: value for name, value in given_.items() if value is not None} | {"scope": list(scope)}
    show(server.ask("PUT", "voucher-batches", batch, body=body)[0], as_json, _batch_table)


@voucher.command("list")
@json_option
@remote
def list_batches(server: Remote, as_json: bool) -> None:
    """All batches: redeemed and outstanding, in numbers and in value."""
    found: dict[str, Any] = {"items": [], "next": ""}
    while found["next"] is not None:
        page = server.get("voucher-batches", after=found["next"] or None, limit=100)
        found = {"items": found["items"] + page["items"], "next": page["next"]}

    def table(answer: Any) -> None:
        columns = ("id", "state", "worth", "made", "redeemed", "blocked", "outstanding", "value outstanding", "expires")
        lines = [
            (
                one["id"],
                one["state"],
                f"{one['amount']} {one['currency'] or one['kind']}",
                one["made"],
                one["redeemed"],
                one["blocked"],
                one["outstanding"],
                one["outstanding_value"],
                one["expires"],
            )
            for one in answer["items"]
        ]
        rows("batches", columns, lines, right=("made", "redeemed", "blocked", "outstanding", "value outstanding"))

    show(found, as_json, table)


@voucher.command("show")
@BATCH
@click.argument("serial", type=int, required=False)
@json_option
@remote
def show_voucher(server: Remote, batch: str, serial: int | None, as_json: bool) -> None:
    """A batch, or one of its vouchers."""
    if serial is None:
        show(server.get("voucher-batches", batch), as_json, _batch_table)
    else:
        show(server.get("voucher-batches", batch, "vouchers", str(serial)), as_json, _voucher_table)


@voucher.command("find")
@click.argument("code")
@json_option
@remote
def find_voucher(server: Remote, code: str, as_json: bool) -> None:
    """The voucher that has a code; nothing is redeemed."""
    show(server.post("vouchers", "find", body={"code": code}), as_json, _voucher_table)


@voucher.command("activate")
@BATCH
@click.option("--take-back", is_flag=True, help="Of a batch that was moved to another server, where it is blocked now.")
@json_option
@remote
def activate(server: Remote, batch: str, take_back: bool, as_json: bool) -> None:
    """From now on the vouchers of a batch can be redeemed (also: unblock it)."""
    show(_state(server, batch, "active", take_back=take_back), as_json, _batch_table)


@voucher.command("move")
@BATCH
@json_option
@remote
def move(server: Remote, batch: str, as_json: bool) -> None:
    """Out of use here, for another server: `ocs export --vouchers` then says it as it was. See docs/vouchers.md."""
    show(_state(server, batch, "moved"), as_json, _batch_table)


def _state(server: Remote, batch: str, state: str, *, take_back: bool = False) -> Any:
    body = {"state": state} | ({"take_back": True} if take_back else {})
    return server.ask("PUT", "voucher-batches", batch, "state", body=body)[0]


@voucher.command("block")
@BATCH
@click.argument("serial", type=int, required=False)
@json_option
@remote
def block(server: Remote, batch: str, serial: int | None, as_json: bool) -> None:
    """Block a batch, or one of its vouchers."""
    if serial is None:
        show(_state(server, batch, "blocked"), as_json, _batch_table)
    else:
        show(server.post("voucher-batches", batch, "vouchers", str(serial), "block"), as_json, _voucher_table)


@voucher.command("unblock")
@BATCH
@SERIAL
@json_option
@remote
def unblock(server: Remote, batch: str, serial: int, as_json: bool) -> None:
    """Unblock a voucher."""
    show(server.post("voucher-batches", batch, "vouchers", str(serial), "unblock"), as_json, _voucher_table)


@voucher.command("redeem")
@click.argument("code")
@click.option("--account", callback=given)
@click.option("--subscriber", callback=given)
@click.option("--identity", callback=given, help="Such as msisdn:491700000001.")
@click.option("--source", callback=given, help="Where the code was typed.")
@click.option("--reference", default="")
@tag_option
@key_option
@json_option
@remote
def redeem(server: Remote, key: str | None, as_json: bool, **said: Any) -> None:
    """Redeem a voucher for an account, a subscriber or an identity."""
    body = {name: value for name, value in said.items() if value is not None}
    done = server.post_once("vouchers", "redeem", body=body, key=key)
    show(done, as_json, lambda answer: posted_table(answer["posting"]))


@voucher.command("import")
@BATCH
@click.argument("file", type=click.File(encoding="utf-8"))
@json_option
@remote
def import_codes(server: Remote, batch: str, file: TextIO, as_json: bool) -> None:
    """Take in codes that were made elsewhere, a line each; the same file again changes nothing."""
    try:
        codes = [line.strip() for line in file if line.strip()]
    except UnicodeDecodeError:
        raise RequestRefused(f"{file.name}: expected text, a code in each line") from None
    done: dict[str, Any] = {"batch": batch, "made": 0, "known": 0}
    for at in range(0, len(codes), LOT):
        answer = server.post("voucher-batches", batch, "import", body={"codes": codes[at : at + LOT]})
        done = {**answer, "known": done["known"] + answer["known"]}
    show(
        done, as_json, lambda found: say(f"batch {batch}: {found['made']} vouchers, {found['known']} were there before")
    )


@voucher.command("export")
@BATCH
@remote
def export_codes(server: Remote, batch: str) -> None:
    """The plain codes of a batch to standard output, once: a line of JSON for each."""

    async def lines() -> int:
        stream, count = ("voucher-batches", batch, "export"), 0
        async for one in server.stream(*stream, query={}, media_type="application/json", pieces=()):
            say(f'{{"serial": {one["serial"]}, "code": "{one["code"]}"}}')
            count += 1
        return count

    made = server.get("voucher-batches", batch)["made"]
    count = asyncio.run(lines())
    if count < made:
        raise RequestRefused(f"{count} of {made} codes came before the connection was cut: export again")
