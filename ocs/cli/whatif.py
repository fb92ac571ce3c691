"""`ocs tariff whatif`: what would have been charged under a draft."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ocs.cli.given import PATH
from ocs.cli.history import hints, history_options, job_of, rate_again
from ocs.cli.output import facts, json_option, rows, say, show
from ocs.cli.remote import RequestRefused

SUMS = ("before", "after", "change", "%", "not sold")


@click.command("whatif")
@click.option("--tariff", "draft", required=True, type=PATH, help="The draft: TOML or JSON.")
@history_options
@click.option("--html", type=PATH, help="Write a report with plots into this file.")
@click.option("--top", type=click.IntRange(0, 100_000), default=20, show_default=True, help="Length of the lists.")
@json_option
def whatif(draft: Path, html: Path | None, top: int, processes: int | None, as_json: bool, **which: Any) -> None:
    """What recorded use would have cost under a draft: revenue, subscribers, sessions that would have been refused.

    Use that a tariff of the draft's id has priced, in any version, is rated again; nothing is changed.
    """
    from ocs.rerating.page import page
    from ocs.rerating.report import report

    ready, tally = rate_again(job_of(tariff=draft, top=top, **which), processes)
    found = report(ready.job, ready.tariff, tally)
    if html is not None:
        try:
            html.write_text(page(found), encoding="utf-8")
        except OSError as why:
            raise RequestRefused(f"{html}: {why.strerror}") from None
    show(found, as_json, _tables)
    if html is not None and not as_json:
        say(f"report with plots: {html}")


def _sums(of: Any) -> tuple[object, ...]:
    return of["before"], of["after"], of["change"], of["percent"], of["not_sold"]


def _tables(found: Any) -> None:
    pieces = found["pieces"]
    facts(
        f"what if {found['tariff']}: {found['from']} to {found['to']}",
        [
            ("usage records", f"{found['records']:,}"),
            ("without use, not rated", f"{found['unused']:,}"),
            ("rated again", f"{pieces['again']:,}"),
            ("by the same price", f"{pieces['same']:,}"),
            ("by tariffs that stay", f"{pieces['kept']:,}"),
            ("would not have been sold", f"{pieces['not_sold']:,}"),
            ("cannot be said", f"{pieces['not_said']:,}"),
        ],
    )
    for hint in hints(found):
        say(hint)
    if pieces["kept"] and pieces["kept"] == sum(pieces.values()):
        say(f"Nothing was priced by {found['tariff']} then: name the tariff it would replace with --instead-of.")
        return
    for currency, of in found["currencies"].items():
        lines = [(name, f"{one['pieces']:,}", *_sums(one)) for name, one in of["services"].items()]
        lines.append(("all", f"{of['revenue']['pieces']:,}", *_sums(of["revenue"])))
        rows(f"revenue in {currency}", ("service", "pieces", *SUMS), lines, right=("pieces", *SUMS))
        people = of["subscribers"]
        facts(
            f"subscribers, {currency}",
            [
                ("all", f"{people['count']:,}"),
                ("would have paid more", f"{people['dearer']:,}"),
                ("the same", f"{people['same']:,}"),
                ("less", f"{people['cheaper']:,}"),
                ("change, least to most", f"{people.get('least')} to {people.get('most')}"),
                ("percentiles", ", ".join(f"{one} %: {value}" for one, value in people["percentiles"].items())),
                ("could not have paid", f"{of['revenue']['uncovered']} {currency}"),
            ],
        )
        for name in ("dearer", "cheaper"):
            if of[name]:
                keys = ("subscriber", "account", "pieces", "before", "after", "change", "percent")
                people_of = [[one[key] for key in keys] for one in of[name]]
                rows(f"whose use would have become {name} most, {currency}", keys, people_of, right=keys[2:])
    refused = found["refused"]
    if refused["sessions"]:
        columns = ("time", "subscriber", "service", "session", "why", "before", "after", "uncovered")
        first = [[one[key] for key in columns] for one in refused["first"]]
        title = f"{refused['sessions']:,} sessions would have been refused, or cut short; the first ones"
        rows(title, columns, first, right=columns[5:])
    for why, count in found["reasons"].items():
        say(f"{count:,} pieces: {why}")
    say("\n".join(["", "bear in mind:", *(f"- {one}" for one in found["limits"])]))
