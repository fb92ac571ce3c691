"""`ocs import FILE`"""

from __future__ import annotations

import asyncio
import csv
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Final

import click

from ocs.cli.given import PATH
from ocs.cli.output import facts, json_option, say, show
from ocs.cli.remote import Remote, RequestRefused, remote

MEDIA_TYPES: Final = {"csv": "text/csv", "ndjson": "application/x-ndjson"}
SUFFIXES: Final = {".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson"}
PIECE_BYTES: Final = 65_536
SHOWN_MAX: Final = 20
"""Errors on the terminal; all of them with --errors."""
TOLD_MAX: Final = 1_000_000


@click.command("import")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path, allow_dash=True))
@click.option("--format", "format_", type=click.Choice([*MEDIA_TYPES]), help="Else by the ending of the name.")
@click.option("--check", is_flag=True, help="Only look: say what would be done, and change nothing.")
@click.option("--errors", type=PATH, help="Write what is wrong there, all of it: CSV of line, field and detail.")
@click.option("--rejected", type=PATH, help="Write the lines that did not go in there, to be mended and imported.")
@json_option
@remote
def import_file(
    server: Remote,
    file: Path,
    format_: str | None,
    check: bool,
    errors: Path | None,
    rejected: Path | None,
    as_json: bool,
) -> None:
    """Accounts and subscribers out of a file, with what the accounts begin with; - is the standard input.

    A line goes in whole or not at all; the others go in all the same. What exists is never changed: a line that says
    the same is unchanged, one that says otherwise is an error. The same file again changes nothing, and after a cut it
    goes on where it ended. Exit code 1 when a line did not go in.
    """
    format_ = format_ or SUFFIXES.get(file.suffix.lower())
    if format_ is None:
        raise click.UsageError(f"{file}: say what it is: --format {' or '.join(MEDIA_TYPES)}")
    if rejected is not None and str(file) == "-":
        raise click.UsageError("--rejected: not of the standard input, which cannot be read again")
    with ExitStack() as stack:
        source = stack.enter_context(_opened(file))
        seen = _ImportLog(stack.enter_context(errors.open("w", newline="")) if errors is not None else None)
        with _ImportBar(source) as bar:
            asyncio.run(_import(server, bar, seen, MEDIA_TYPES[format_], check))
    if rejected is not None:
        _write_rejected(file, rejected, seen.lines, header=format_ == "csv")
    if seen.last["event"] == "stopped":
        raise RequestRefused(f"stopped after {seen.last['lines']} lines: {seen.last['detail']}", seen.last["problem"])
    if seen.last["event"] == "progress":
        after = f"after {seen.last['lines']} lines" if seen.last["lines"] else "before the first lines were in"
        raise RequestRefused(f"the connection was cut {after}; import the same file again, it goes on where it ended")
    show({name: value for name, value in seen.last.items() if name != "event"}, as_json, _table)
    if seen.last["errors"]:
        sys.exit(1)


def _opened(file: Path) -> IO[bytes]:
    if str(file) == "-":
        return sys.stdin.buffer
    try:
        return file.open("rb")
    except OSError as why:
        raise RequestRefused(f"{file}: {why.strerror}") from None


async def _import(server: Remote, bar: _ImportBar, seen: _ImportLog, media_type: str, check: bool) -> None:
    query = {"check": "true" if check else "false", "errors": TOLD_MAX}
    async for event in server.stream("import", query=query, media_type=media_type, pieces=bar.pieces()):
        seen.take(event)
        if event["event"] != "error":
            bar.say(event)


class _ImportLog:
    """What the server has said so far."""

    def __init__(self, errors: IO[str] | None) -> None:
        self.lines: set[int] = set()
        """That did not go in."""
        self.last: dict[str, Any] = {"event": "progress", "lines": 0}
        self._errors = csv.writer(errors) if errors is not None else None
        if self._errors is not None:
            self._errors.writerow(("line", "field", "detail"))

    def take(self, event: dict[str, Any]) -> None:
        if event["event"] != "error":
            self.last = event
            return
        self.lines.add(event["line"])
        if self._errors is not None:
            self._errors.writerow((event["line"], event["field"], event["detail"]))
        if len(self.lines) <= SHOWN_MAX:
            where = f"{event['field']}: " if event["field"] else ""
            say(f"line {event['line']}: {where}{event['detail']}", err=True)
        elif len(self.lines) == SHOWN_MAX + 1 and self._errors is None:
            say("... more are wrong: all of them with --errors FILE", err=True)


class _ImportBar:
    """How much of the file the server has taken, on a terminal."""

    def __init__(self, source: IO[bytes]) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._source = source
        console = Console(stderr=True)
        columns = (
            BarColumn(),
            TextColumn("{task.percentage:3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
        )
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._progress.add_task("", total=_size(source))

    def __enter__(self) -> _ImportBar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def pieces(self) -> Iterator[bytes]:
        while piece := self._source.read(PIECE_BYTES):
            yield piece
            self._progress.advance(self._task, len(piece))

    def say(self, event: dict[str, Any]) -> None:
        self._progress.update(self._task, description=f"{event['lines']:,} lines, {event['errors']:,} errors")


def _size(source: IO[bytes]) -> int | None:
    if not source.seekable():
        return None
    size = source.seek(0, 2)
    source.seek(0)
    return size


def _write_rejected(file: Path, rejected: Path, numbers: set[int], *, header: bool) -> None:
    with file.open("rb") as lines, rejected.open("wb") as out:
        for number, line in enumerate(lines, 1):
            if number in numbers or (header and number == 1):
                out.write(line)


def _table(done: dict[str, Any]) -> None:
    facts(
        "checked: nothing was changed" if done["checked"] else "imported",
        [
            ("lines", done["lines"]),
            ("did not go in", done["errors"]),
            ("accounts", f"{done['accounts_created']} new, {done['accounts_unchanged']} unchanged"),
            ("subscribers", f"{done['subscribers_created']} new, {done['subscribers_unchanged']} unchanged"),
            ("vouchers", f"{done['vouchers_created']} new, {done['vouchers_unchanged']} unchanged"),
            ("given", ", ".join(f"{amount} {currency}" for currency, amount in done["given"].items())),
        ],
    )
