"""`ocs ledger ...`"""

from __future__ import annotations

from typing import Any, Final

import click

from ocs.cli.given import given, tag_wanted
from ocs.cli.ledger_copy import LONG_S, lost, quarantine, recover, resume, status
from ocs.cli.ledger_periods import close_period, drop_period, periods
from ocs.cli.output import json_option, rows, say, show, tags_text
from ocs.cli.remote import Remote, RequestRefused, remote

ENTRY: Final = (
    *("seq", "time", "bucket", "amount", "tax", "balance_after", "why"),
    *("service", "session", "reference", "reason", "tags"),
)
USAGE: Final = (
    *("usage", "time", "subscriber", "service", "rating_group", "phase", "used", "granted", "unit", "cost"),
    *("result", "tariff", "tags"),
)


@click.group()
def ledger() -> None:
    """The ledger: entries of an account, and its proof."""


ledger.add_command(status)
ledger.add_command(resume)
ledger.add_command(recover)
ledger.add_command(lost)
ledger.add_command(quarantine)
ledger.add_command(close_period)
ledger.add_command(drop_period)
ledger.add_command(periods)


@ledger.command("verify")
@json_option
@remote
def verify(server: Remote, as_json: bool) -> None:
    """Prove that nothing was lost: every entry, every balance, every hold, all sums."""

    def text(proof: Any) -> None:
        say(
            f"{proof['accounts']} accounts in Redis compared with {proof['entries']} entries in PostgreSQL;"
            f" {proof['absent']} accounts in PostgreSQL alone"
        )
        if proof["dropped"]:
            say(f"{proof['dropped']} entries of dropped months stand in their closings")
        for currency, books in sorted(proof["sums"].items()):
            say(f"{currency}: " + ", ".join(f"{book} {amount}" for book, amount in sorted(books.items())))
        if proof["recovered"] or proof["orphaned"]:
            say(f"{proof['recovered']} entries recovered, {proof['orphaned']} records orphaned")
        if proof["sound"]:
            say("sound")

    proof = server.post("ledger", "verify", wait_s=LONG_S)
    show(proof, as_json, text)
    if not proof["sound"]:
        for found in proof["findings"]:
            say(f"WRONG {found['what']}: {found['account']}: {found['detail']}", err=True)
        raise RequestRefused(f"{len(proof['findings'])} findings")


@ledger.command("usage")
@click.argument("account")
@click.option("--from", "from_", help="Used at this instant and later: 2026-03-01T00:00:00Z")
@click.option("--until", help="Used before this instant.")
@click.option("--subscriber", callback=given, help="Only of this subscriber.")
@click.option("--service", callback=given, help="Only of this service.")
@click.option("--tag", metavar="KEY=TEXT", callback=tag_wanted, help="Only with this charging tag.")
@click.option("--after", default="", help="Behind this usage record.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@json_option
@remote
def show_usage(server: Remote, account: str, as_json: bool, **wanted: Any) -> None:
    """What was used, granted and refused, also at price 0, in the order in which it was charged."""

    def table(found: Any) -> None:
        items = [item | {"tags": tags_text(item["tags"])} for item in found["items"]]
        lines = [[item[name] for name in USAGE] for item in items]
        rows(f"usage of {account}", USAGE, lines, right=("used", "granted", "cost"))
        if found["next_after"]:
            say(f"more: --after {found['next_after']}")

    wanted["from"] = wanted.pop("from_")
    show(server.get("accounts", account, "usage", **wanted), as_json, table)


@ledger.command("rebuild")
@json_option
@remote
def rebuild(server: Remote, as_json: bool) -> None:
    """Bring every account into Redis that only PostgreSQL has; they would also come one by one, when needed."""
    done = server.post("ledger", "rebuild", wait_s=LONG_S)
    show(done, as_json, lambda answer: say(f"{answer['accounts']} accounts brought in"))


@ledger.command("show")
@click.argument("account")
@click.option("--newest", is_flag=True, help="The newest first.")
@click.option("--after-seq", type=click.IntRange(min=0), default=0)
@click.option("--before-seq", type=click.IntRange(min=1))
@click.option("--from", "from_", help="From this instant on: 2026-03-01T00:00:00Z")
@click.option("--until", help="Before this instant.")
@click.option("--kind", type=click.Choice(["money", "octets", "seconds", "units"]), help="Of the bucket.")
@click.option("--why", help="usage, top-up, adjustment, ...")
@click.option("--tag", metavar="KEY=TEXT", callback=tag_wanted, help="Only with this charging tag.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@json_option
@remote
def show_ledger(server: Remote, account: str, newest: bool, as_json: bool, **wanted: Any) -> None:
    """Every change of every bucket, oldest first."""

    def table(found: Any) -> None:
        items = [entry | {"tags": tags_text(entry["tags"])} for entry in found["items"]]
        lines = [[entry[name] for name in ENTRY] for entry in items]
        columns = [name.removeprefix("balance_") for name in ENTRY]
        rows(f"ledger of {account}", columns, lines, right=("seq", "amount", "tax", "after"))
        if found["kept_from"]:
            say(f"entries before {found['kept_from']} are not kept any more")
        if found["next_after_seq"]:
            say(f"more: --after-seq {found['next_after_seq']}")
        if found["next_before_seq"]:
            say(f"more: --newest --before-seq {found['next_before_seq']}")

    wanted["from"] = wanted.pop("from_")
    order = "newest" if newest else "oldest"
    show(server.get("accounts", account, "ledger", order=order, **wanted), as_json, table)
