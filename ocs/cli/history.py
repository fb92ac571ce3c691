"""What `ocs tariff whatif` and `ocs tariff rerate` have in common: the time, the tariff, the work and its progress."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ocs.cli.given import PATH, given
from ocs.cli.output import say
from ocs.cli.remote import RequestRefused

if TYPE_CHECKING:
    from ocs.rerating.job import Job
    from ocs.rerating.run import PreparedJob
    from ocs.rerating.tally import RatingTally

F = TypeVar("F", bound=Callable[..., Any])


def history_options(command: F) -> F:
    """Which records, and where they are."""
    for option in (
        click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="One key of the configuration."),
        click.option("--data", type=PATH, help="Data directory of the server (ocs-data)."),
        click.option("--config", type=PATH, help="Configuration that says where PostgreSQL is."),
        click.option("--processes", type=click.IntRange(1, 64), help="Default: as many as there are cores."),
        click.option("--service", default="", callback=given, help="Only this service."),
        click.option("--subscriber", default="", callback=given, help="Only this subscriber."),
        click.option("--account", default="", callback=given, help="Only this account."),
        click.option("--instead-of", multiple=True, metavar="ID", help="Also what this tariff priced; repeatable."),
        click.option("--to", "until", required=True, metavar="TIME", help="Until before this instant."),
        click.option("--from", "since", required=True, metavar="TIME", help="2026-03-01 (UTC), or RFC 3339."),
    ):
        command = option(command)
    return command


def instant(text: str, name: str) -> int:
    """Unix milliseconds; without a zone it is UTC."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(f"--{name}: expected a day such as 2026-03-01, or RFC 3339, not {text}") from None
    whole = (found if found.tzinfo else found.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    return (whole.days * 86_400 + whole.seconds) * 1_000 + whole.microseconds // 1_000


def job_of(
    *,
    since: str,
    until: str,
    tariff: Path | None,
    stored: str | None = None,
    instead_of: tuple[str, ...],
    account: str,
    subscriber: str,
    service: str,
    config: Path | None,
    data: Path | None,
    settings: tuple[str, ...],
    top: int,
    correct: bool = False,
) -> Job:
    """Of the options; `stored` is a published version, ID@N."""
    from balances.ledger.history import UsageWindow
    from ocs.cli.tariff_bundle import read_document
    from ocs.config.load import ConfigError, load
    from ocs.rerating.find_postgres import NotRunning, dsn_of
    from ocs.rerating.job import Job, Written
    from tariffs.document import form_of

    window = UsageWindow(instant(since, "from"), instant(until, "to"), account, subscriber, service)
    if window.to_ms <= window.from_ms:
        raise click.UsageError("--to: expected an instant after --from")
    written = version = None
    if tariff is not None:
        read = read_document(tariff)
        written = Written(read.document, form_of(tariff.name), str(tariff), dict(read.files))
    if stored is not None:
        name, _, number = stored.rpartition("@")
        if not name or not (number.isascii() and number.isdecimal()):
            raise click.UsageError(f"--version: expected a tariff and its version, such as data@3, not {stored}")
        version = name, int(number)
    try:
        found = load(config, settings, data=data)
        dsn = dsn_of(found)
    except (ConfigError, NotRunning) as why:
        raise RequestRefused(str(why)) from None
    rows = found.charging.table().rows
    groups = {row.name: row.rating_group for row in rows if row.rating_group is not None}
    return Job(dsn, window, written, version, instead_of, groups, top, correct)


def rate_again(job: Job, processes: int | None) -> tuple[PreparedJob, RatingTally]:
    """With a progress bar where somebody looks."""
    import asyncio

    from balances.ledger.history import Unreachable
    from balances.ledger.kept import NotKept
    from ocs.rerating.run import CORES, JobError, prepare
    from ocs.rerating.run import rate_again as work
    from ocs.rerating.tariffs_of_job import NoSuchTariff

    async def run() -> tuple[PreparedJob, RatingTally]:
        ready = await prepare(job)
        if ready.set_aside:
            say(f"{ready.set_aside} usage records have use that was not charged: see `ocs suspense list`", err=True)
        with progress("rating again", ready.records) as said:
            return ready, await work(ready.job, said, processes or CORES)

    try:
        return asyncio.run(run())
    except (Unreachable, NotKept, NoSuchTariff, JobError) as why:
        raise RequestRefused(str(why)) from None


def hints(found: Any) -> Iterator[str]:
    """Why nothing may have come of it: options that match nothing."""
    if not found["records"]:
        only = " and ".join(f"{key} {value}" for key, value in found["only"].items())
        of = f" of {only}: the name must be as records have it" if only else ""
        yield f"There is no usage record from {found['from']} until before {found['to']}{of}."
        return
    by = ", ".join(found["priced_by"]) or "none"
    for name in found["instead_of"]:
        if name not in found["priced_by"]:
            yield f"--instead-of {name}: it priced nothing then; these did: {by}."


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """On a terminal; elsewhere nothing is said."""
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(what, total=max(total, 1))
        yield lambda count: shown.advance(task, count)
