"""`ocs export FILE`"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

import click

from ocs.cli.importing import MEDIA_TYPES, SUFFIXES
from ocs.cli.output import say
from ocs.cli.remote import Remote, RequestRefused, remote

PATHS: Final = {"csv": "export.csv", "ndjson": "export"}
BEGINS: Final = {
    "csv": (b"account,currency,",),
    "ndjson": (b'{"account":', b'{"subscriber":', b'{"voucher_batch":'),
}
LINE_BYTES_MAX: Final = 1 << 20


@click.command("export")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path, allow_dash=True))
@click.option("--format", "format_", type=click.Choice([*MEDIA_TYPES]), help="Else by the ending of the name.")
@click.option("--passwords", is_flag=True, help="With passwords as they are kept, sealed or hashed.")
@click.option(
    "--vouchers", is_flag=True, help="With batches of vouchers, for a server with the same vouchers.keys; NDJSON."
)
@click.option("--move-vouchers", is_flag=True, help="The same; and from now on none of them is good here.")
@click.option("--resume", is_flag=True, help="Go on after the last whole line of FILE, where it was cut.")
@remote
def export_file(
    server: Remote, file: Path, format_: str | None, passwords: bool, vouchers: bool, move_vouchers: bool, resume: bool
) -> None:
    """All accounts and subscribers into a file that `ocs import` takes; - is the standard output.

    What sessions hold is in the balances. Sessions and entries are not in it, and no code of a voucher in clear.
    """
    format_ = format_ or SUFFIXES.get(file.suffix.lower())
    if format_ is None:
        raise click.UsageError(f"{file}: say what it is to be: --format {' or '.join(MEDIA_TYPES)}")
    if resume and str(file) == "-":
        raise click.UsageError("--resume: not of the standard output, which cannot be read")
    if not resume and str(file) != "-" and file.exists():
        raise click.UsageError(f"{file} is there already: --resume goes on with it")
    with _opened(file, resume=resume) as out:
        if resume and not _is_export(out, format_):
            raise RequestRefused(f"{file}: is no {format_} that `ocs export` wrote: nothing was done")
        after = _last_of(out, format_) if resume else ""
        if move_vouchers:
            if format_ != "ndjson":
                raise click.UsageError("--move-vouchers: only in NDJSON")
            _move_all(server)
        _export(server, out, PATHS[format_], after, passwords=passwords, vouchers=vouchers or move_vouchers)


def _move_all(server: Remote) -> None:
    """Before any of them is written: at no moment is one good on both servers."""
    after: str | None = ""
    while after is not None:
        page = server.get("voucher-batches", after=after or None, limit=100)
        for one in page["items"]:
            if one["state"] != "moved":
                server.ask("PUT", "voucher-batches", one["id"], "state", body={"state": "moved"})
        after = page["next"]


@contextlib.contextmanager
def _opened(file: Path, *, resume: bool) -> Iterator[IO[bytes]]:
    if str(file) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        out = file.open("r+b" if resume and file.exists() else "w+b")
    except OSError as why:
        raise RequestRefused(f"{file}: {why.strerror}") from None
    try:
        with out:
            yield out
    except RequestRefused:
        if not file.stat().st_size:  # the next try finds nothing in its way
            file.unlink()
        raise


def _is_export(out: IO[bytes], format_: str) -> bool:
    """Whether it begins as one, as far as it goes."""
    head = out.read(64)
    return any(head[: len(begin)] == begin[: len(head)] for begin in BEGINS[format_])


def _last_of(out: IO[bytes], format_: str) -> str:
    """Cuts a line that is not whole off, and returns what to go on after."""
    size = out.seek(0, os.SEEK_END)
    begin = max(size - LINE_BYTES_MAX, 0)
    out.seek(begin)
    tail = out.read()
    whole = tail[: tail.rfind(b"\n") + 1]
    out.seek(begin + len(whole))
    out.truncate()
    lines = whole.splitlines()
    if not lines or (format_ == "csv" and begin == 0 and len(lines) == 1):
        out.seek(0)
        out.truncate()
        return ""
    if format_ == "ndjson":
        line = json.loads(lines[-1])
        if "voucher_batch" in line:
            return f"vouchers:{line['voucher_batch']['id']}/0"
        if "vouchers" in line:
            return f"vouchers:{line['vouchers']['batch']}/{line['vouchers']['first']}"
        kind = "account" if "account" in line else "subscriber"
        return f"{kind}:{line[kind]['id']}"
    out.seek(0)
    columns = out.readline().decode().rstrip("\r\n").split(",")
    out.seek(0, os.SEEK_END)
    (cells,) = csv.reader(io.StringIO(lines[-1].decode()))
    row = dict(zip(columns, cells, strict=True))
    return f"subscriber:{row['subscriber']}" if row["subscriber"] else f"account:{row['account']}"


def _export(server: Remote, out: IO[bytes], path: str, after: str, *, passwords: bool, vouchers: bool) -> None:
    from rich.console import Console
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), TimeElapsedColumn())
    lines = 0
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        shown = progress.add_task("")
        with_ = {name: "true" for name, said in (("passwords", passwords), ("vouchers", vouchers)) if said}
        query = with_ | ({"after": after} if after else {})
        try:
            for piece in server.download(path, query=query):
                out.write(piece)
                lines += piece.count(b"\n")
                progress.update(shown, description=f"{lines:,} lines")
        except EOFError:
            raise RequestRefused(f"the connection was cut after {lines} lines: --resume goes on from there") from None
    say(f"{lines} lines", err=True)
