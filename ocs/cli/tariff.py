"""`ocs tariff ...`"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ocs.cli.given import PATH
from ocs.cli.output import json_option, rows, say, show
from ocs.cli.remote import Remote, RequestRefused, remote
from ocs.cli.rerate import rerate
from ocs.cli.tariff_prices import explain, quote
from ocs.cli.tariff_rates import rates
from ocs.cli.tariff_table import tables
from ocs.cli.whatif import whatif

FILES = click.argument("files", metavar="FILE...", nargs=-1, required=True, type=PATH)
NAME = click.argument("name", metavar="TARIFF")


@click.group()
def tariff() -> None:
    """Tariff documents: check, publish, show."""


tariff.add_command(tables)
tariff.add_command(rates)
tariff.add_command(quote)
tariff.add_command(explain)
tariff.add_command(whatif)
tariff.add_command(rerate)


@tariff.command("validate")
@FILES
@click.option("--boundaries", is_flag=True, help="Also the events a tester would try, with their prices.")
@click.option("--strict", is_flag=True, help="Warnings fail too.")
@click.option("--config", type=PATH, help="Configuration that says which services there are.")
@json_option
def validate(files: tuple[Path, ...], boundaries: bool, strict: bool, config: Path | None, as_json: bool) -> None:
    """Check documents and the files they name, without a server.

    Also says what is legal and probably not meant: notes, warnings, and errors, which fail.
    """
    from ocs.charging.currencies import NOT_KNOWN, NUMBERS
    from ocs.cli.findings import report
    from ocs.cli.tariff_bundle import read_document
    from ocs.config.load import ConfigError
    from ocs.config.load import load as configured
    from ocs.master.documents import check_declared
    from tariffs.document import TariffError
    from tariffs.load import load_tariff
    from tariffs.tariff import Tariff

    try:
        said = configured(config)
        known = said.charging.table().by_name
        services = {name: service.grades for name, service in known.items()}
    except ConfigError as why:
        raise RequestRefused(str(why)) from None
    checked: list[tuple[str, Tariff | str]] = []
    for file in files:
        try:
            read = read_document(file)
            found = load_tariff(read.document, source=str(file), files=read.files)
            if found.currency not in NUMBERS:
                raise TariffError(str(file), "currency", NOT_KNOWN.format(found.currency))
            if config is not None:
                check_declared(found, said.ledger.tags, str(file))
            checked.append((str(file), found))
        except (RequestRefused, TariffError) as refused:
            checked.append((str(file), str(refused)))
    report(checked, services, with_boundaries=boundaries, as_json=as_json, strict=strict)


@tariff.command("load")
@FILES
@remote
def load(server: Remote, files: tuple[Path, ...]) -> None:
    """Publish documents and the files they name.

    All of it or nothing. Files are looked for beside the document; those that are not there are the server's.
    """
    from ocs.cli.context_checks import twins
    from ocs.cli.tariff_bundle import files_of, print_published, publish, read_document

    documents = [read_document(file) for file in files]
    beside = files_of(documents)
    for file, twin in twins((str(one.path), one.id) for one in documents):
        raise RequestRefused(f"{file}: {twin}")
    print_published(publish(server, documents, beside))


@tariff.command("list")
@json_option
@remote
def list_tariffs(server: Remote, as_json: bool) -> None:
    """All tariffs."""

    def table(found: Any) -> None:
        columns = ("id", "version", "published", "valid from")
        rows("tariffs", columns, [(t["id"], t["version"], t["published"], _since(t)) for t in found["items"]])

    show(server.get("tariffs", limit=1000), as_json, table)


@tariff.command("show")
@NAME
@click.option("--version", type=int)
@json_option
@remote
def show_tariff(server: Remote, name: str, version: int | None, as_json: bool) -> None:
    """The document, as it was published."""
    found = server.get("tariffs", name, version=version)
    show(found, as_json, lambda answer: say(answer["document"]))


@tariff.command("versions")
@NAME
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@json_option
@remote
def list_versions(server: Remote, name: str, limit: int, as_json: bool) -> None:
    """All versions of one, and the files in each."""

    def table(found: Any) -> None:
        columns = ("version", "published", "valid from", "files")
        rows(
            f"versions of {name}",
            columns,
            [(v["version"], v["published"], _since(v), _pins(v["files"])) for v in found["items"]],
        )

    show(server.get("tariffs", name, "versions", limit=limit), as_json, table)


def _since(found: Any) -> str:
    return found["valid_from"] or "always"


def _pins(files: dict[str, int]) -> list[str]:
    return [f"{name} version {version}" for name, version in sorted(files.items())]
