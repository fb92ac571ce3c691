"""Tariff documents and the files they name, and the new versions that a bundle of them makes. Pure: a bundle is read,
compared and compiled in a thread, away from the loop that serves."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from ocs.charging.currencies import NOT_KNOWN, NUMBERS
from ocs.tags import undeclared
from tariffs.destinations import read_table
from tariffs.document import Format, IncludedPart, TariffError, convert, form_of, needs, parse
from tariffs.lint.linter import never_price
from tariffs.load import load_tariff
from tariffs.tariff import Tariff
from tariffs.thresholds import DefaultThreshold

FORMATS: Final[dict[str, Format]] = {"application/toml": "toml", "application/json": "json"}
"""Of documents."""

MEDIA_TYPES: Final = {"csv": "text/csv", "toml": "application/toml", "json": "application/json"}
"""Of files, by the ending of their names."""

ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""A tariff's, as it can stand in a path of the API."""

FILE_NAME: Final = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9._-]*/)*[A-Za-z0-9_][A-Za-z0-9._-]*\.(csv|toml|json)")
"""As documents name it; it never leads out of their folder."""
FILE_NAME_MAX: Final = 128

FROM_MS_MIN: Final = -62_135_596_800_000
FROM_MS_MAX: Final = 253_402_300_799_999
"""What can be shown as a date."""


class DocumentVersion(msgspec.Struct, frozen=True, array_like=True):
    """One version of a tariff, as it was sent. A field is only ever added at the end, with a default."""

    id: str
    version: int
    media_type: str
    document: bytes
    published_ms: int = 0
    valid_from_ms: int = 0
    """0: always."""
    files: dict[str, int] = {}
    """Those it was compiled with: name -> version."""


class TariffFile(msgspec.Struct, frozen=True):
    """One version of a file, as it was sent."""

    name: str
    version: int
    media_type: str
    content: bytes
    published_ms: int = 0


ExpectEach = Callable[[str, int | None], None]
"""Given a name and its current version (None: there is none yet), raises when the caller expected another one."""


class NewFile(msgspec.Struct, frozen=True):
    """To be published."""

    name: str
    media_type: str
    content: bytes
    expect: ExpectEach


class NewTariff(msgspec.Struct, frozen=True):
    """To be published."""

    media_type: str
    document: bytes
    expect: ExpectEach
    source: str
    """What errors call it while its id is not known."""
    id: str = ""
    """The id it must have; "": the document says which."""


class DocumentBundle(msgspec.Struct, frozen=True):
    """Documents and files to be published together, by id and by name."""

    files: Mapping[str, NewFile]
    tariffs: Mapping[str, NewTariff]
    named: frozenset[str]
    """Files that the documents name."""


Warnings = Mapping[tuple[str, int], tuple[str, ...]]
"""What is legal in a new version and hardly meant, by id and version: its rows that never price."""


class Newest(msgspec.Struct, frozen=True):
    """The newest versions of everything that a bundle concerns."""

    change: int
    """Of the last publication."""
    files: Mapping[str, TariffFile]
    tariffs: Mapping[str, DocumentVersion]
    in_use: Sequence[DocumentVersion]
    """All versions that price something at some time and name a file of the bundle, by the time they begin."""
    now_ms: int = 0
    standing: Sequence[DocumentVersion] = ()
    """All versions of the bundle's tariffs that price something at some time."""


class PublicationPlan(msgspec.Struct, frozen=True):
    """The new versions that a bundle makes."""

    files: Mapping[str, TariffFile]
    tariffs: Sequence[DocumentVersion]
    warnings: Warnings = {}
    thresholds: Mapping[tuple[str, int], Sequence[DefaultThreshold]] = {}
    """Of the new versions, by id and version."""
    fees: Mapping[tuple[str, int], bool] = {}
    """Of the new versions, likewise: whether they bring recurring fees."""
    priced: bool = False
    """A fee of them gives units with a price of their own."""


def bundle(files: Iterable[NewFile], tariffs: Iterable[NewTariff]) -> DocumentBundle:
    """A bundle whose parts are checked, each by itself."""
    by_name: dict[str, NewFile] = {}
    for file in files:
        _check_name(file)
        if file.name in by_name:
            raise TariffError(file.name, "", "expected once in a bundle")
        by_name[file.name] = file
    by_id: dict[str, NewTariff] = {}
    named: set[str] = set()
    for one in tariffs:
        form = FORMATS[one.media_type]
        found = parse(one.document, source=one.source, form=form).get("tariff")
        if not isinstance(found, str) or not ID.fullmatch(found):
            why = f"expected an id of letters, digits, '-', '_' and '.', at most 64, not {found!r}"
            raise TariffError(one.source, "tariff", why)
        if one.id not in ("", found):
            raise TariffError(one.source, "tariff", f"expected {one.id}, not {found}")
        if found in by_id:
            raise TariffError(one.source, "tariff", f"expected once in a bundle, not again {found}")
        by_id[found] = one
        named.update(needs(one.document, source=found, form=form))
    return DocumentBundle(by_name, by_id, frozenset(named))


def _check_name(file: NewFile) -> None:
    name = FILE_NAME.fullmatch(file.name)
    if name is None or len(file.name) > FILE_NAME_MAX:
        why = f"expected a name such as prices/world.csv (.csv, .toml or .json; at most {FILE_NAME_MAX} characters)"
        raise TariffError(file.name[:FILE_NAME_MAX], "name", why)
    if file.media_type != MEDIA_TYPES[name[1]]:
        why = f"expected {MEDIA_TYPES[name[1]]}, as its name says, not {file.media_type or 'none'}"
        raise TariffError(file.name, "media_type", why)


def named_by(files: Mapping[str, bytes]) -> set[str]:
    """Files that these files name."""
    return {name for source, content in files.items() for name in _needs(source, content)}


def _needs(name: str, content: bytes) -> list[str]:
    return [] if name.endswith(".csv") else needs(content, source=name)


def plan(sent: DocumentBundle, newest: Newest, tags: Collection[str]) -> PublicationPlan:
    """New versions of the bundle, and of tariffs that name a file with a new version, all compiled. Raises
    TariffError.

    tags: keys of charging tags that are declared
    """
    files: dict[str, TariffFile] = {}
    for name, file in sent.files.items():
        known = newest.files.get(name)
        if known is None or known.content != file.content:
            file.expect(name, known.version if known else None)
            _check_file(name, file.content)
            files[name] = TariffFile(name, known.version + 1 if known else 1, file.media_type, file.content)
    there = {**newest.files, **files}
    wanted: dict[str, Pinned] = {}
    for id_, one in sent.tariffs.items():
        before = newest.tariffs.get(id_)
        # The same again is nothing new: also a repeat whose answer was lost (RFC 9110 section 13.1.1).
        if before is None or (before.media_type, before.document) != (one.media_type, one.document):
            one.expect(id_, before.version if before else None)
            wanted[id_] = _pinned(DocumentVersion(id_, 0, one.media_type, one.document), there, newest.now_ms, tags)
    followers = [
        _pinned(one, there, newest.now_ms, tags)
        for one in newest.in_use
        # What is sent replaces those that begin with it or later.
        if not files.keys().isdisjoint(one.files)
        and (one.id not in wanted or one.valid_from_ms < wanted[one.id].document.valid_from_ms)
    ]
    numbers = {id_: document.version for id_, document in newest.tariffs.items()}
    made, warnings, thresholds, fees, priced = [], {}, {}, {}, False
    for document, found, brought, has_fees, is_priced in (*followers, *wanted.values()):
        if document.version == 0:  # sent, and no follower of a file
            found = (*found, *_hidden(document, newest.standing, now_ms=newest.now_ms))
        number = numbers[document.id] = numbers.get(document.id, 0) + 1
        made.append(msgspec.structs.replace(document, version=number))
        thresholds[document.id, number] = brought
        fees[document.id, number] = has_fees
        priced = priced or is_priced
        if found:
            warnings[document.id, number] = found
    return PublicationPlan(files, made, warnings, thresholds, fees, priced)


def _hidden(document: DocumentVersion, standing: Iterable[DocumentVersion], *, now_ms: int) -> Iterator[str]:
    """The newest version that is valid counts, and newest is what was published last: one that begins earlier takes the
    place of those that begin later."""
    for one in standing:
        if one.id == document.id and one.valid_from_ms > document.valid_from_ms:
            begins = "in force" if one.valid_from_ms <= now_ms else "to come"
            yield (
                f"version {one.version}, {begins}, is valid from later on and was published before: this one takes its"
                " place; publish it once more to keep it"
            )


def _check_file(name: str, content: bytes) -> None:
    if not name.endswith(".csv"):
        convert(parse(content, source=name, form=form_of(name)), IncludedPart, name, "")
        return
    try:
        read_table(name, content, source=name)
    except ValueError as bad:
        line, _, why = str(bad).removeprefix(f"{name} ").partition(": ")
        raise TariffError(name, line, why) from None


class Pinned(NamedTuple):
    document: DocumentVersion
    warnings: tuple[str, ...]
    thresholds: Sequence[DefaultThreshold]
    fees: bool
    priced: bool


def check_declared(tariff: Tariff, tags: Collection[str], source: str) -> None:
    """TariffError where it says charging tags of a key that is not among these."""
    for where, said in tariff.said_tags():
        if why := undeclared(said, tags):
            raise TariffError(source, where, why)


def _pinned(document: DocumentVersion, files: Mapping[str, TariffFile], now_ms: int, tags: Collection[str]) -> Pinned:
    """The compiled tariff, with the versions of the files it was compiled with."""
    named = needs(document.document, source=document.id, form=FORMATS[document.media_type])
    for name in tuple(named):
        if name in files:
            named += _needs(name, files[name].content)
    there = {name: files[name] for name in named if name in files}
    tariff = compiled(document, {name: file.content for name, file in there.items()}, document.id)
    if tariff.currency not in NUMBERS:
        raise TariffError(document.id, "currency", NOT_KNOWN.format(tariff.currency))
    check_declared(tariff, tags, document.id)
    if not FROM_MS_MIN <= tariff.from_ms <= FROM_MS_MAX:
        raise TariffError(document.id, "valid_from", "expected a time in the years 1 to 9999, in UTC")
    pinned = {name: file.version for name, file in there.items()}
    found = never_price(tariff, max(tariff.from_ms, now_ms))
    return Pinned(
        msgspec.structs.replace(document, valid_from_ms=tariff.from_ms, files=pinned),
        tuple([f"{one.where}: {one.text}" for one in found]),
        tariff.parts.thresholds,
        bool(tariff.parts.fees),
        any(one.price for fee in tariff.parts.fees for one in fee.allowances),
    )


def compiled(document: DocumentVersion, files: Mapping[str, bytes], source: str = "") -> Tariff:
    """source: what errors call it, unless by id and version"""
    return load_tariff(
        document.document,
        source=source or f"{document.id}@{document.version}",
        form=FORMATS[document.media_type],
        version=document.version,
        files=files,
    )
