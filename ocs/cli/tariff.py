"""`ocs tariff ...`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ocs.cli.output import json_option, rows, show
from ocs.cli.remote import Refused, Remote, remote

if TYPE_CHECKING:
    from tariffs.catalog import Tariff

FILES = click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))


@click.group()
def tariff() -> None:
    """Tariff documents: check, publish, show."""


def _read(file: Path) -> tuple[bytes, Tariff]:
    from tariffs.load import TariffError, load_tariff

    try:
        document = file.read_bytes()
        return document, load_tariff(document, source=str(file))
    except OSError as why:
        raise Refused(f"{file}: {why.strerror}") from None
    except TariffError as why:
        raise Refused(str(why)) from None


@tariff.command("validate")
@FILES
def validate(files: tuple[Path, ...]) -> None:
    """Check documents, without a server."""
    wrong = 0
    for file in files:
        try:
            _, found = _read(file)
            click.echo(f"{file}: {found.name}, {found.currency}, {len(found.rows)} rows")
        except Refused as why:
            wrong += 1
            click.echo(why.message, err=True)
    if wrong:
        raise Refused(f"{wrong} of {len(files)} refused")


@tariff.command("load")
@FILES
@remote
def load(server: Remote, files: tuple[Path, ...]) -> None:
    """Publish documents; all are checked before the first is sent."""
    documents = [(file, *_read(file)) for file in files]
    for file, document, found in documents:
        media_type = "application/json" if file.suffix == ".json" else "application/toml"
        done = server.put("tariffs", found.name, body=document, media_type=media_type)
        click.echo(f"{found.name}: version {done['version']}")


@tariff.command("list")
@json_option
@remote
def list_tariffs(server: Remote, as_json: bool) -> None:
    """All tariffs."""

    def table(found: Any) -> None:
        columns = ("id", "version", "published")
        rows("tariffs", columns, [(t["id"], t["version"], t["published"]) for t in found["items"]])

    show(server.get("tariffs", limit=1000), as_json, table)


@tariff.command("show")
@click.argument("name", metavar="TARIFF")
@click.option("--version", type=int)
@json_option
@remote
def show_tariff(server: Remote, name: str, version: int | None, as_json: bool) -> None:
    """The document, as it was published."""
    found = server.get("tariffs", name, version=version)
    show(found, as_json, lambda answer: click.echo(answer["document"]))
