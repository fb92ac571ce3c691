"""`ocs tariff rerate`: usage records rated again, and the differences posted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ocs.cli.given import PATH, given
from ocs.cli.history import hints, history_options, job_of, progress, rate_again
from ocs.cli.output import facts, json_option, rows, say, show
from ocs.cli.remote import Remote, RequestRefused, connect

if TYPE_CHECKING:
    from ocs.rerating.tally import Correction

REASON: Final = "rated again"
OF_ONE: Final = ("not-found", "unresolved", "no-room", "invalid")
"""Problems of one correction, which others need not have."""
IN_FLIGHT: Final = 16


@click.command("rerate")
@click.option("--tariff", type=PATH, help="By this document: TOML or JSON.")
@click.option("--version", "stored", metavar="ID@N", help="By this published version.")
@history_options
@click.option("--apply", is_flag=True, help="Post the differences; otherwise they are only listed.")
@click.option("--reason", default=REASON, show_default=True, help="Stands in the ledger with each correction.")
@click.option("--url", callback=given, help="The server (default: as configured, http://127.0.0.1:8080).")
@click.option("--top", type=click.IntRange(0, 1_000_000), default=20, show_default=True, help="Length of the list.")
@json_option
def rerate(
    tariff: Path | None,
    stored: str | None,
    apply: bool,
    reason: str,
    url: str | None,
    top: int,
    processes: int | None,
    as_json: bool,
    **which: Any,
) -> None:
    """Rate recorded use again: list the corrections, or post them, one signed entry for each usage record.

    By a document, by a published version of a tariff, or else every record by its tariff as it is published now. What
    was corrected before counts, so that twice does nothing the second time; never is anything charged again.
    """
    import asyncio

    from ocs.rerating.report import corrections

    if tariff is not None and stored is not None:
        raise click.UsageError("expected either --tariff or --version")
    if which["instead_of"] and tariff is None and stored is None:
        raise click.UsageError("--instead-of: expected --tariff or --version, to stand in its place")
    server = connect(url, which["config"], which["data"]) if apply else None
    job = job_of(tariff=tariff, stored=stored, top=top, correct=True, **which)
    ready, tally = rate_again(job, processes)
    found = corrections(ready.job, ready.tariff, tally)
    failed = list[str]()
    if server is not None:
        with progress("posting", len(tally.corrections)) as said:
            failed = asyncio.run(post_all(server, tally.corrections, reason, said))
    found["applied"] = apply
    found["failed"] = failed
    show(found, as_json, lambda answer: _tables(answer, top))
    if failed:
        for trouble in failed[:top]:
            say(trouble, err=True)
        raise RequestRefused(f"{len(failed)} of {len(tally.corrections)} corrections were not posted")


def key_of(one: Correction) -> str:
    """Of the n-th correction of a usage record: posted twice, whatever became of the first answer, it is posted once;
    another amount under the same key is refused."""
    import hashlib

    name = f"{one.account}\n{one.reference}\n{one.times}"
    return f"rerate-{hashlib.blake2b(name.encode(), digest_size=16).hexdigest()}"


async def post_all(
    server: Remote, corrections: Iterable[Correction], reason: str, said: Callable[[int], None]
) -> list[str]:
    """Post several at once, because each waits for the disk. Returns what is wrong with those that were not posted."""
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    left, failed = iter(corrections), list[str]()
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(IN_FLIGHT) as pool:

        async def some() -> None:
            for one in left:
                trouble = await loop.run_in_executor(pool, post, server, one, reason)
                failed.extend([trouble] if trouble else [])
                said(1)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(IN_FLIGHT):
                    group.create_task(some())
        except* RequestRefused as several:
            raise several.exceptions[0] from None
    return failed


def post(server: Remote, one: Correction, reason: str) -> str:
    """Post one correction; returns what is wrong with it, "" for nothing. Raises RequestRefused if the rest would
    fail too."""
    from ocs.backoffice.amounts import money

    body = {
        "amount": money(one.amount),
        "original_seq": one.original_seq,
        "reason": reason,
        "reference": one.reference,
        "terms": one.terms,
    }
    name = f"account {one.account}, {one.reference}"
    try:
        server.post("accounts", one.account, "corrections", body=body, key=key_of(one))
    except RequestRefused as why:
        problem = why.kind.rpartition(":")[2]
        if problem == "key-reused":
            return f"{name}: another amount was posted, which has not arrived in PostgreSQL yet: run it again"
        if problem in OF_ONE:
            return f"{name}: {why.message}"
        raise RequestRefused(f"{name}: {why.message}; run it again to go on") from None
    return ""


def _tables(found: Any, top: int) -> None:
    count = len(found["corrections"])
    facts(
        f"rated again by {found['tariff']}: {found['from']} to {found['to']}",
        [
            ("usage records", f"{found['records']:,}"),
            ("without use", f"{found['unused']:,}"),
            ("corrections", f"{count:,}"),
            *((f"sum in {currency}", amount) for currency, amount in found["sums"].items()),
        ],
    )
    for hint in hints(found):
        say(hint)
    columns = ("time", "account", "subscriber", "service", "reference", "recorded", "corrected", "target", "amount")
    if count:
        lines = [[one[key] for key in columns] for one in found["corrections"][:top]]
        rows(
            "corrections" + (f": the first {top} of {count:,}" if top < count else ""),
            columns,
            lines,
            right=columns[5:],
        )
    for why, pieces in found["reasons"].items():
        say(f"{pieces:,} pieces are not corrected: {why}")
    if found["applied"]:
        say(f"{count - len(found['failed']):,} posted")
    elif count:
        say("nothing was posted: that is what --apply does")
