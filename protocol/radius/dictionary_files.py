"""Operators' own attributes, from dictionary files in the format of FreeRADIUS 3, read once at start by pyrad.

This is the one module of `protocol` that reads files. What is known here already keeps its declaration and gains the
names of values that a file adds. What pyrad cannot hold (extended attributes, TLVs inside TLVs) is left out and named,
for a file of a vendor is used as it comes.
"""

from collections.abc import Iterable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from protocol.radius.attribute import AnyAttribute, Attribute
from protocol.radius.attribute_table import AttributeTable
from protocol.radius.types import (
    BYTE,
    COMBO_IP,
    CONCAT,
    ENUM,
    ETHER,
    IFID,
    INTEGER,
    INTEGER64,
    IPV4ADDR,
    IPV4PREFIX,
    IPV6ADDR,
    IPV6PREFIX,
    SHORT,
    SIGNED,
    STRING,
    TEXT,
    TIME,
    TLV,
    DataType,
    octets_of,
)
from protocol.radius.vendor import FORMATS, USUAL, VendorFormat

TYPES: dict[str, DataType[Any]] = {
    "string": TEXT,
    "octets": STRING,
    "abinary": STRING,
    "integer": INTEGER,
    "uint32": INTEGER,
    "short": SHORT,
    "uint16": SHORT,
    "byte": BYTE,
    "bool": BYTE,
    "signed": SIGNED,
    "integer64": INTEGER64,
    "date": TIME,
    "ipaddr": IPV4ADDR,
    "ipv4prefix": IPV4PREFIX,
    "ipv6addr": IPV6ADDR,
    "ipv6prefix": IPV6PREFIX,
    "combo-ip": COMBO_IP,
    "ifid": IFID,
    "ether": ETHER,
    "tlv": TLV,
}
# Types pyrad skips, as others of the same octets: it only has to keep names and numbers for us.
STAND_INS = {"uint32": "integer", "uint16": "short", "bool": "byte", "ipv4prefix": "octets", "combo-ip": "octets"}


class DictionaryFileError(Exception):
    """Says which file and line, and what was expected there."""


class LoadedDictionary(NamedTuple):
    """attributes: all that is known now; skipped: names of what the files declare and we cannot use."""

    attributes: AttributeTable
    skipped: tuple[str, ...]


class _DictionaryLine(NamedTuple):
    path: str
    number: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.number}"


class _Declaration(NamedTuple):
    """What pyrad does not keep of an ATTRIBUTE line."""

    kind: str
    size: int
    concat: bool
    line: _DictionaryLine


def load_dictionary(paths: Iterable[str | Path], known: AttributeTable) -> LoadedDictionary:
    """`known` and what the files add to it. DictionaryFileError for a file that cannot be read or is wrong."""
    from pyrad.dictionary import Dictionary, ParseError  # with what it imports a tenth of a second: only who asks pays

    lines: list[_DictionaryLine] = []
    declared: dict[str, _Declaration] = {}
    for path in paths:
        lines += _lines(Path(path))
    prepared = [_prepared(line, declared) for line in lines]
    table = AttributeTable(known)
    for line, words in zip(lines, prepared, strict=True):
        if words[:1] == ["VALUE"] and len(words) == 4 and words[1] not in declared and words[1] in table:
            table.enrich(table[words[1]], words[1], {words[2]: _number(line, words[3])})
            words.clear()  # pyrad does not know the attribute
    text = "".join(" ".join(words) + "\n" for words in prepared)
    try:
        read = Dictionary(StringIO(text))
    except ParseError as wrong:
        place = lines[wrong.line - 1] if 0 < wrong.line <= len(lines) else "dictionary"
        raise DictionaryFileError(f"{place}: {wrong.msg}") from None
    for name, found in read.attributes.items():
        _take(table, name, found, read, declared[name])
    return LoadedDictionary(table, tuple(sorted(read.skipped_attributes - read.attributes.keys())))


def _lines(path: Path) -> Iterator[_DictionaryLine]:
    """All lines of a file and of those it includes, and where each stands."""
    from pyrad.dictfile import DictFile
    from pyrad.dictionary import ParseError

    try:
        reader = DictFile(str(path))
        for text in reader:
            yield _DictionaryLine(reader.File(), reader.Line(), text)
    except OSError as wrong:
        raise DictionaryFileError(f"{wrong.filename or path}: {wrong.strerror}") from None
    except UnicodeDecodeError as wrong:
        raise DictionaryFileError(f"{path}: not UTF-8: {wrong.reason}") from None
    except ParseError as wrong:
        raise DictionaryFileError(f"{path}: {wrong}") from None


def _prepared(line: _DictionaryLine, declared: dict[str, _Declaration]) -> list[str]:
    """The words of a line as pyrad takes them: one line for one, so that its numbers are ours."""
    words = line.text.split("#", 1)[0].split()
    if not words:
        return words
    words[0] = keyword = words[0].upper()
    if keyword == "ATTRIBUTE" and len(words) >= 4:
        kind, _, size = words[3].lower().partition("[")
        number = size.rstrip("]")
        flags = words[4].split(",") if len(words) > 4 else []
        declared[words[1]] = _Declaration(kind, int(number) if number.isdigit() else 0, "concat" in flags, line)
        words[3] = STAND_INS.get(kind, kind)
    elif keyword == "VENDOR" and len(words) > 3:
        _check_format(line, words)
        del words[3]  # ours, or refused above; pyrad would skip the whole vendor
    return words


def _number(line: _DictionaryLine, text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise DictionaryFileError(f"{line}: {text} where a number belongs") from None


def _check_format(line: _DictionaryLine, words: list[str]) -> None:
    spelt = words[3].lower().removeprefix("format=").split(",")
    numbers = [int(part) for part in spelt[:2] if part.isdigit()]
    if not words[3].lower().startswith("format=") or len(numbers) != 2:
        raise DictionaryFileError(f"{line}: {words[3]} where format=TYPE,LENGTH belongs")
    form = VendorFormat(numbers[0], numbers[1], spelt[2:] == ["c"])
    if form != FORMATS.get(_number(line, words[2]), USUAL):
        raise DictionaryFileError(
            f"{line}: vendor {words[1]} is not known to use {words[3]} (protocol/radius/vendor.py)"
        )


def _take(table: AttributeTable, name: str, found: Any, read: Any, declared: _Declaration) -> None:
    vendor = read.vendors.GetForward(found.vendor)
    if not vendor and found.code > 255:
        return  # FreeRADIUS's own, which no packet has
    code = f"{found.parent.code}.{found.code}" if found.parent is not None else str(found.code)
    values = {word: int.from_bytes(raw) for word, raw in found.values.forward.items()}
    kind = TYPES[declared.kind]
    if declared.concat:
        kind = CONCAT
    elif found.encrypt or declared.kind == "octets":
        kind = octets_of(declared.size) if declared.size and not found.encrypt else STRING
    elif kind is INTEGER and values:
        kind = ENUM
    try:
        made: AnyAttribute = Attribute(
            name, code, kind, vendor=vendor, tagged=found.has_tag, encrypt=found.encrypt, values=values
        )
    except ValueError as wrong:
        raise DictionaryFileError(f"{declared.line}: {name}: {wrong}") from None
    there = table.at(made.key, made.below)
    taken = table.get(name)
    if taken is not None and taken is not there:
        raise DictionaryFileError(f"{declared.line}: {name} is also {taken!r}")
    if there is None:
        table.add(made)
    else:
        table.enrich(there, name, values)
