"""`ocs tariff rates ...`"""

from __future__ import annotations

import re
from typing import Any

import click

from ocs.cli.output import json_option, rows, show
from ocs.cli.remote import Remote, remote

PAIR = re.compile(r"([A-Z]{3})/([A-Z]{3})=([0-9.]+)")


@click.group()
def rates() -> None:
    """Exchange rates of currencies, day by day."""


def rates_table(found: Any) -> None:
    lines = [(f"{rate['of']}/{rate['into']}", rate["rate"], rate["day"]) for rate in found["items"]]
    rows(f"rates in force on {found['on']}", ("pair", "rate", "since"), lines, right=("rate",))


@rates.command("set")
@click.argument("day", metavar="DAY")
@click.argument("pairs", metavar="USD/EUR=0.9231...", nargs=-1, required=True)
@json_option
@remote
def set_rates(server: Remote, day: str, pairs: tuple[str, ...], as_json: bool) -> None:
    """What one unit of a currency is in another, from 00:00 UTC of DAY (2026-03-01) until the next day with a rate."""
    found = [PAIR.fullmatch(pair) for pair in pairs]
    if not all(found):
        wrong = next(pair for pair, match in zip(pairs, found, strict=True) if match is None)
        raise click.UsageError(f"expected a pair and its rate, such as USD/EUR=0.9231, not {wrong}")
    body = {"rates": [dict(zip(("of", "into", "rate"), match.groups(), strict=True)) for match in found if match]}
    show(server.ask("PUT", "exchange-rates", day, body=body)[0], as_json, rates_table)


@rates.command("show")
@click.option("--on", metavar="DAY", help="Default: today, in UTC.")
@json_option
@remote
def show_rates(server: Remote, on: str | None, as_json: bool) -> None:
    """The rates in force on a day."""
    show(server.get("exchange-rates", on=on), as_json, rates_table)
