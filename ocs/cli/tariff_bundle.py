"""Tariff documents on disk, with the files they name, and the bundle that publishes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from ocs.cli.output import say
from ocs.cli.remote import Remote, RequestRefused
from ocs.master.documents import FILE_NAME, MEDIA_TYPES
from tariffs.document import TariffError, form_of, needs, parse

WAIT_S: Final = 600
"""For the server to compile every tariff that names a large table."""


class Read(NamedTuple):
    """A document, with those of the files it names that lie beside it."""

    path: Path
    id: str
    document: bytes
    files: Mapping[str, bytes]


def read_document(path: Path) -> Read:
    document = read(path)
    files: dict[str, bytes] = {}
    try:
        written = parse(document, source=str(path), form=form_of(path.name))
        for name in needs(document, source=str(path)):
            _add(files, path.parent, name)
        for name in [name for name in files if not name.endswith(".csv")]:  # what is included may name tables
            for inner in needs(files[name], source=name):
                _add(files, path.parent, inner)
    except TariffError as why:
        raise RequestRefused(str(why)) from None
    if "tariff" not in written:
        raise RequestRefused(f'{path}: expected its id to be given, such as tariff = "basic"')
    return Read(path, str(written["tariff"]), document, files)


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as why:
        raise RequestRefused(f"{path}: {why.strerror}") from None


def _add(files: dict[str, bytes], folder: Path, name: str) -> None:
    # A name that the server would refuse is not looked for: a document from elsewhere may name "../../secret.toml".
    if FILE_NAME.fullmatch(name) and (folder / name).exists():
        files[name] = read(folder / name)


def files_of(documents: Iterable[Read]) -> dict[str, bytes]:
    """The files of all documents by name; one name is one file."""
    files: dict[str, tuple[bytes, Path]] = {}
    for one in documents:
        for name, content in one.files.items():
            known, other = files.setdefault(name, (content, one.path))
            if known != content:
                raise RequestRefused(f"{name}: not the same beside {other} and beside {one.path}")
    return {name: content for name, (content, _) in files.items()}


def publish(server: Remote, documents: Iterable[Read], files: Mapping[str, bytes]) -> Any:
    """Publish all in one bundle, conditional on the versions that exist now, so that no other change is overwritten."""
    tariffs, names = _versions(server, "tariffs", "id"), _versions(server, "tariff-files", "name")
    body = {
        "files": [
            {
                "name": name,
                "media_type": MEDIA_TYPES[name.rpartition(".")[2]],
                "content": _text(content, name),
                "if_version": names.get(name, 0),
            }
            for name, content in files.items()
        ],
        "tariffs": [
            {
                "media_type": MEDIA_TYPES[form_of(one.path.name)],
                "document": _text(one.document, str(one.path)),
                "if_version": tariffs.get(one.id, 0),
            }
            for one in documents
        ],
    }
    return server.post("tariffs", body=body, wait_s=WAIT_S)


def _text(content: bytes, source: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as why:
        raise RequestRefused(f"{source}: expected UTF-8: {why.reason} at octet {why.start}") from None


def _versions(server: Remote, path: str, key: str) -> dict[str, int]:
    """The present version of each tariff and file."""
    found: dict[str, int] = {}
    after: str | None = ""
    while after is not None:
        page = server.get(path, limit=1000, after=after)
        found |= {one[key]: one["version"] for one in page["items"]}
        after = page["next"]
    return found


def print_published(published: Any) -> None:
    for key, several in (("name", published["files"]), ("id", published["tariffs"])):
        for one in several:
            say(f"{one[key]}: version {one['version']}{'' if one['new'] else ', unchanged'}")
            for warning in one.get("warnings", ()):
                say(f"{one[key]}: warning: {warning}", err=True)
