"""`ocs fees ...`: recurring fees, and the run that settles them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from ocs.cli.output import facts, json_option, rows, say, show
from ocs.cli.remote import Remote, remote

COLUMNS = ("due", "account", "subscriber", "fee", "from", "until", "amount", "includes")
AT = click.option("--at", metavar="TIME", help="Up to when, RFC 3339; else now.")


@click.group()
def fees() -> None:
    """Recurring fees of tariffs: what is due, what was taken, the run that settles them."""


def _run_table(found: Any) -> None:
    facts(
        "fees",
        (
            ("paused by", found["paused_by"]),
            ("paused since", found["paused_since"]),
            ("due now", found["due"]),
            ("the oldest due", found["oldest"]),
            ("next due", found["next"]),
            ("waiting for money", found["waiting"]),
            ("without a price or room", found["troubled"]),
            ("last run began", found["began"]),
            ("last moved", found["moved"]),
            ("looked at, of all time", found["looked"]),
            ("periods settled", found["taken"]),
            ("tries short of money", found["short"]),
        ),
    )


def _expected(one: Any) -> tuple[str, ...]:
    name = f"{one['tariff']}:{one['fee']}"
    units = ", ".join(one["includes"])
    amount = f"{one['amount']} {one['currency']}"
    return one["due"], one["account"], one["subscriber"], name, one["from_day"], one["until_day"], amount, units


@fees.command("status")
@json_option
@remote
def status(server: Remote, as_json: bool) -> None:
    """How far the run is, what is due and who waits for money."""
    show(server.get("fees", "status"), as_json, _run_table)


@fees.command("pause")
@json_option
@remote
def pause(server: Remote, as_json: bool) -> None:
    """Stop the run after the batch that is under way; what is due stays due."""
    show(server.post("fees", "pause"), as_json, _run_table)


@fees.command("run")
@click.option("--wait", is_flag=True, help="Until nothing is due any more, telling how far it is.")
@json_option
@remote
def run(server: Remote, wait: bool, as_json: bool) -> None:
    """Let the run go on where it was, if it was paused."""
    import asyncio

    found = server.post("fees", "resume")
    while wait and found["due"]:
        say(f"{found['due']} due, the oldest of {found['oldest'] or 'now'}; {found['taken']} settled", err=True)
        asyncio.run(asyncio.sleep(1))
        found = server.get("fees", "status")
    show(found, as_json, _run_table)


def _pages(server: Remote, at: str | None) -> Iterator[Any]:
    after = ""
    while True:
        found = server.get("fees", "due", at=at, after=after or None, limit=500)
        yield from found["items"]
        if found["next"] is None:
            return
        after = found["next"]


@fees.command("due")
@AT
@json_option
@remote
def due(server: Remote, at: str | None, as_json: bool) -> None:
    """A dry run: what would be charged up to a time, if there were money enough. Nothing moves; lines come as they are
    found, with --json each an object."""
    import json

    count, sums = 0, dict[str, int]()
    for one in _pages(server, at):
        say(json.dumps(one) if as_json else "  ".join(part for part in _expected(one) if part))
        count += 1
        whole, _, fraction = one["amount"].lstrip("-").partition(".")
        micro = int(whole) * 1_000_000 + int(fraction.ljust(6, "0"))
        sums[one["currency"]] = sums.get(one["currency"], 0) + (-micro if one["amount"].startswith("-") else micro)
    if not as_json:
        totals = ", ".join(f"{micro / 1_000_000:.2f} {currency}" for currency, micro in sorted(sums.items()))
        say(f"{count} fees{f': {totals}' if totals else ''}")


@fees.command("show")
@click.argument("subscriber")
@json_option
@remote
def show_fees(server: Remote, subscriber: str, as_json: bool) -> None:
    """Fees of a subscriber: how far they are settled, and what comes next."""

    def table(found: Any) -> None:
        columns = ("fee", "account", "state", "settled until", "paid", "ends", "next due", "next amount")
        lines = []
        for one in found["items"]:
            ahead = one["next"] or {"due": None, "amount": None}
            name = f"{one['tariff']}:{one['fee']}"
            state = (one["state"], one["settled_until"], one["paid"], one["ends"])
            lines.append((name, one["account"], *state, ahead["due"], ahead["amount"]))
        rows("fees", columns, lines, right=("paid", "next amount"))

    show(server.get("subscribers", subscriber, "fees"), as_json, table)


@fees.command("history")
@click.argument("account")
@click.option("--units", is_flag=True, help="The units that they included, in place of money.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=100, show_default=True)
@json_option
@remote
def history(server: Remote, account: str, units: bool, limit: int, as_json: bool) -> None:
    """What fees took from an account, and gave back, the newest first."""

    def table(found: Any) -> None:
        columns = ("entry", "time", "why", "bucket", "amount", "after", "reference")
        lines = [
            (one["seq"], one["time"], one["why"], one["bucket"], one["amount"], one["balance_after"], one["reference"])
            for one in found["items"]
        ]
        rows("fees", columns, lines, right=("entry", "amount", "after"))

    found = server.get("accounts", account, "ledger", why="allowance" if units else "fee", order="newest", limit=limit)
    show(found, as_json, table)


@fees.command("quote")
@click.argument("tariff")
@click.option("--subscriber", help="Whose attributes, account and promotions count.")
@click.option("--from", "begin", metavar="TIME", help="When the assignment would begin; else now.")
@click.option("--until", metavar="TIME", help="When it would end; else it goes on.")
@click.option("--at", metavar="TIME", help="Up to when; else for a year.")
@json_option
@remote
def quote(
    server: Remote,
    tariff: str,
    subscriber: str | None,
    begin: str | None,
    until: str | None,
    at: str | None,
    as_json: bool,
) -> None:
    """What an assignment of TARIFF would cost, period by period."""
    asked = {"subscriber": subscriber, "from": begin, "until": until, "at": at}
    show(server.get("explain", "tariffs", tariff, "fees", **asked), as_json, _quoted)


def _quoted(found: Any) -> None:
    columns = ("due", "fee", "from", "until", "amount", "includes")
    lines = [
        (one["due"], one["fee"], one["from_day"], one["until_day"], one["amount"], ", ".join(one["includes"]))
        for one in found["periods"]
    ]
    rows(f"{found['tariff']}, in {found['currency']}", columns, lines, right=("amount",))
    if found["reason"]:
        say(f"no price: {found['reason']}")


def explained(found: Any) -> None:
    """Of `ocs tariff explain fees`."""
    for one in found["fees"]:
        say(f"{found['tariff']}:{one['fee']}")
        for line in one["says"]:
            say(f"  {line}")
    if not found["fees"]:
        say(f"{found['tariff']} has no recurring fees")
    for one in found["periods"]:
        say(
            f"{one['fee']} {one['from_day']} to {one['until_day']}: {one['amount']} {one['currency']}, due {one['due']}"
        )
        for line in one["made_of"]:
            say(f"  {line}")
    if found["reason"]:
        say(f"no price: {found['reason']}")
