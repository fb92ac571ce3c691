"""`ocs tariff table ...`"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ocs.cli.given import PATH
from ocs.cli.output import json_option, rows, say, show
from ocs.cli.remote import Remote, RequestRefused, remote

NAME = click.argument("name", metavar="NAME")


@click.group("table")
def tables() -> None:
    """Tables of destinations, and other files."""


@tables.command("list")
@json_option
@remote
def list_files(server: Remote, as_json: bool) -> None:
    """All of them."""

    def listed(found: Any) -> None:
        columns = ("name", "version", "published", "octets")
        rows("files", columns, [tuple(f[column] for column in columns) for f in found["items"]], right=("octets",))

    show(server.get("tariff-files", limit=1000), as_json, listed)


@tables.command("export")
@NAME
@click.option("--version", type=int)
@click.option("-o", "--output", type=PATH, help="Into this file.")
@remote
def export(server: Remote, name: str, version: int | None, output: Path | None) -> None:
    """A table as CSV, by prefix; other files as they are."""
    from tariffs.destinations import read_table, write_table

    found = server.get("tariff-files", name, version=version)["content"]
    if name.endswith(".csv"):
        try:
            found = write_table(read_table(name, found.encode(), source=name))
        except ValueError as why:
            raise RequestRefused(str(why)) from None
    if output is None:
        say(found, nl=False)
        return
    try:
        output.write_text(found, encoding="utf-8", newline="")
    except OSError as why:
        raise RequestRefused(f"{output}: {why.strerror}") from None


@tables.command("import")
@click.argument("file", metavar="FILE.csv", type=PATH)
@click.option("--as", "name", metavar="NAME", help="What tariffs call it; default: the name of the file.")
@remote
def import_table(server: Remote, file: Path, name: str | None) -> None:
    """Publish a table, and with it a new version of every tariff that names it."""
    from ocs.cli.tariff_bundle import print_published, publish, read
    from tariffs.destinations import read_table

    content = read(file)
    name = name or file.name
    if not name.endswith(".csv"):
        raise click.UsageError(f"expected a name that ends in .csv, not {name}")
    try:
        read_table(name, content, source=str(file))
    except ValueError as why:
        raise RequestRefused(str(why)) from None
    print_published(publish(server, (), {name: content}))
