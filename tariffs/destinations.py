"""Where a number leads: numbers in one form, and tables in which the entry with the longest prefix of a number counts.

Number plans and prefixes: ITU-T E.164. A table is a CSV file that a product manager keeps in a spreadsheet.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import StringIO
from typing import Final

import msgspec

PREFIX_DIGITS_MAX: Final = 24
"""E.164 numbers have 15 digits; the rest is room for carrier codes. Each length in use may cost a look-up per call."""

ENTRIES_MAX: Final = 1_000_000
"""A price list of the whole world has some 200,000."""

WHOLE: Final = "="
"""In front of a number that is not the begin of others: "=112"."""

_COLUMN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*", re.ASCII)
_REQUIRED: Final = ("prefix", "zone")
_WHOLE: Final = "whole"
"""Column of CSV that says so instead: a spreadsheet takes "=112" for a formula, and saves 112."""
_YES: Final = frozenset({"yes", "x", "1", "true"})
_NO: Final = frozenset({"", "no", "0", "false"})

REST: Final = "*"
"""Prefix of the entry for all numbers that no other one is for."""


def _are_digits(text: str) -> bool:
    return text.isascii() and text.isdigit()  # isdigit alone takes those of every script


class DestinationRow:
    """A row of a table. Compared and hashed by identity, because it is part of the keys that prices are remembered by;
    immutable by convention."""

    __slots__ = ("columns", "prefix", "table", "zone")

    def __init__(self, table: str, prefix: str, zone: str, columns: Mapping[str, str]) -> None:
        """
        prefix:   digits, with or without "+"; "=112": this whole number only; "*": all that no other entry is for,
                  kept as ""
        columns:  those that are given
        """
        number = "" if prefix == REST else prefix.removeprefix(WHOLE)
        if number.startswith("+") and _are_digits(number[1:]):
            number = number[1:]
        if prefix.startswith(WHOLE):
            if number.split() != [number]:
                raise ValueError(f'expected a whole number such as "=112", not {prefix!r}')
            number = WHOLE + number
        elif number and not _are_digits(number):
            raise ValueError(f'expected a prefix such as "49", "+49" or "=112" (a whole number), not {prefix!r}')
        elif len(number) > PREFIX_DIGITS_MAX:
            raise ValueError(f"expected a prefix of at most {PREFIX_DIGITS_MAX} digits, not {prefix!r}")
        if not zone:
            raise ValueError(f"expected a zone for the prefix {prefix!r}, not an empty one")
        self.table, self.prefix, self.zone, self.columns = table, number, zone, columns

    def __repr__(self) -> str:
        return f"{self.table}:{self.zone} ({self.prefix or 'any number'})"


class PrefixTable:
    """Entries of destinations, found by number."""

    __slots__ = ("_by_length", "_entries", "_rest", "_whole", "columns", "name", "samples", "zones")

    def __init__(self, name: str, entries: Iterable[DestinationRow], columns: Iterable[str] = ()) -> None:
        """columns: their order, and those that no entry has"""
        self.name = name
        self._entries: dict[str, DestinationRow] = {}
        for entry in entries:
            if entry.prefix in self._entries:
                raise ValueError(f"expected each prefix once, not {entry.prefix!r} twice")
            self._entries[entry.prefix] = entry
        if len(self._entries) > ENTRIES_MAX:
            raise ValueError(f"expected at most {ENTRIES_MAX} prefixes, not {len(self._entries)}")
        self.zones = frozenset(entry.zone for entry in self._entries.values())
        self.samples = tuple({(entry.zone, id(entry.columns)): entry for entry in self._entries.values()}.values())
        """One entry of each zone and mapping of columns, which entries share: what prices of these are, all are."""
        shared = {id(entry.columns): entry.columns for entry in self._entries.values()}
        found = {column for each in shared.values() for column in each}
        self.columns = tuple(dict.fromkeys([*columns, *sorted(found)]))
        self._rest = self._entries.get("")
        self._whole: dict[str, DestinationRow] = {}
        by_length: dict[int, dict[str, DestinationRow]] = {}
        for prefix, entry in self._entries.items():
            if prefix.startswith(WHOLE):
                self._whole[prefix[1:]] = entry
            elif prefix:
                by_length.setdefault(len(prefix), {})[prefix] = entry
        self._by_length = [(length, by_length[length].get) for length in sorted(by_length, reverse=True)]

    def __len__(self) -> int:
        return len(self._entries)

    def entries(self) -> list[DestinationRow]:
        """By prefix."""
        return [self._entries[prefix] for prefix in sorted(self._entries)]

    def find(self, number: str, short: bool = False) -> DestinationRow | None:
        """Of this whole number, else the longest prefix, else the row of all other numbers; None where there is none,
        and for what is no number.

        short:  it is a short code and not the begin of any number: only whole numbers are looked at
        """
        entry = self._whole.get(number)
        if entry is not None:
            return entry
        if short:
            return None
        if number.isascii() and number.isdigit():  # _are_digits, without the call
            for length, get in self._by_length:
                entry = get(number[:length])
                if entry is not None:
                    return entry
            return self._rest
        return None


class Numbers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How numbers are dialled where the subscribers are."""

    country: str
    """E.164 country code."""
    international: str | tuple[str, ...] = "00"
    """Dialled before the country code; "+" always is. "": nothing else."""
    national: str = "0"
    """Dialled before the number within the country; "": nothing."""
    short: int = 6
    """So many digits, dialled with nothing before them, are a short code, which has no place in E.164."""
    national_digits: tuple[int, ...] = ()
    """Numbers of so many digits, dialled with nothing before them, are of the country (North America: 10). All others
    that are no short codes are taken for international ones."""
    keep_national: bool = False
    """The national prefix belongs to the number, as the 0 of Italian ones does ("" is read as "0" then)."""

    def __post_init__(self) -> None:
        several = (self.international,) if isinstance(self.international, str) else self.international
        international = sorted(several, key=lambda one: (-len(one), one)) if several != ("",) else []
        for key, example, given in (
            ("country", "49", [self.country]),
            ("international", "00", international),
            ("national", "0", [self.national] if self.national else []),
        ):
            for one in given:
                if not _are_digits(one):
                    raise ValueError(f'{key}: expected digits such as "{example}", not {one!r}')
        if self._national in international:
            raise ValueError(f"national: expected another prefix than an international one, not {self._national!r}")
        if not 0 <= self.short <= 15:
            raise ValueError(f"short: expected 0 to 15 digits, not {self.short}")
        msgspec.structs.force_setattr(self, "international", tuple(international))  # the longest first

    @property
    def _national(self) -> str:
        return self.national or ("0" if self.keep_national else "")

    def normal(self, number: str) -> tuple[str, bool]:
        """Its E.164 digits, or the text as it is where it is no such number; and whether it is a short code."""
        if number.startswith("+"):
            return (number[1:] if _are_digits(number[1:]) else number), False
        if not _are_digits(number):
            return number, False
        abroad = ""
        for prefix in self.international:
            if number.startswith(prefix):
                abroad = prefix
                break
        national = self._national
        # The longer one is meant: "00" is not the national "0" with a number that begins with 0. Nothing but a prefix
        # is no number with a prefix.
        if len(national) > len(abroad) and number.startswith(national) and number != national:
            return self.country + (number if self.keep_national else number[len(national) :]), False
        if abroad and number != abroad:
            return number[len(abroad) :], False
        if len(number) in self.national_digits:
            return self.country + number, False
        return number, len(number) <= self.short


# --- CSV


def read_table(name: str, content: bytes, *, source: str) -> PrefixTable:
    """From CSV: UTF-8, a header with `prefix`, `zone` and further columns, "," or ";" between cells, each row on one
    line. Several prefixes may stand in a cell; "*" is the row of all other numbers; with "yes" in a column `whole` they
    are whole numbers. Blank lines and those that begin with "#" are skipped. ValueError "world.csv line 17: ..."."""
    reading = _Reading()
    try:
        rows = reading.rows(content)
        header = next(rows, [])
        columns = _columns(header)
        return PrefixTable(name, reading.entries(name, rows, header), columns)
    except ValueError as bad:
        raise ValueError(f"{source} line {reading.line}: {bad}") from None


def line_of(entry: DestinationRow, content: bytes) -> int:
    """Where it stands in the CSV it was read from. Looked for when it is asked, which is when something is wrong there:
    a line for each of a million entries would be kept for nothing."""
    reading = _Reading()
    rows = reading.rows(content)
    entries = reading.entries(entry.table, rows, next(rows))
    next(one for one in entries if one.prefix == entry.prefix)
    return reading.line


def write_table(table: PrefixTable) -> str:
    """CSV that `read_table` reads as the same table, for one that it has read."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    entries = table.entries()
    wholes = any(entry.prefix.startswith(WHOLE) for entry in entries)
    writer.writerow([*_REQUIRED, *([_WHOLE] if wholes else []), *table.columns])
    for entry in entries:
        whole = entry.prefix.startswith(WHOLE)
        head = [entry.prefix.removeprefix(WHOLE) or REST, entry.zone, *(["yes" if whole else ""] if wholes else [])]
        writer.writerow([*head, *(entry.columns.get(column, "") for column in table.columns)])
    return text.getvalue()


def _columns(header: Sequence[str]) -> list[str]:
    """All but the required ones."""
    for column in _REQUIRED:
        if column not in header:
            found = ", ".join(header) or "an empty file"
            raise ValueError(f"expected a header with the columns {' and '.join(_REQUIRED)}, not {found}")
    for column in header:
        if not _COLUMN.fullmatch(column):
            raise ValueError(f"expected a column named with letters, digits, '-' and '_', not {column!r}")
        if header.count(column) > 1:
            raise ValueError(f"expected each column once, not {column!r} twice")
    return [column for column in header if column not in (*_REQUIRED, _WHOLE)]


class _Reading:
    """A file being read."""

    def __init__(self) -> None:
        self.line = 0

    def rows(self, content: bytes) -> Iterator[list[str]]:
        """Stripped cells of the rows with something in them; `line` is where the last one stands."""
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as bad:
            self.line = 1 + bad.object.count(b"\n", 0, bad.start)
            raise ValueError("expected UTF-8") from None
        # Comments go first: what is said in them may hold a quote that never ends.
        lines = ["" if line.startswith("#") else line for line in re.split("\r\n?|\n", text)]
        head = next((line for line in lines if line.strip(' "') and not line.startswith('"#')), "")
        reader = csv.reader(lines, delimiter=";" if ";" in head else ",", skipinitialspace=True, strict=True)
        while True:
            self.line += 1
            try:
                row = next(reader, None)
            except csv.Error as bad:
                raise ValueError(f"expected cells as CSV has them, and quotes that end: {bad}") from None
            if row is None:
                self.line -= 1
                return
            if reader.line_num != self.line:
                raise ValueError("expected quotes that end on the line they begin on")
            cells = [cell.strip() for cell in row]
            if any(cells) and not cells[0].startswith("#"):  # a spreadsheet puts quotes around a comment with a comma
                yield cells

    def entries(self, name: str, rows: Iterable[list[str]], header: Sequence[str]) -> Iterator[DestinationRow]:
        prefix_at = header.index("prefix")
        others = [column for column in header if column != "prefix"]
        lines: dict[str, int] = {}
        # A price list has few prices: prefixes of the same zone and prices share them.
        shared: dict[tuple[str, ...], tuple[str, str, Mapping[str, str]]] = {}
        texts: dict[str, str] = {}
        for cells in rows:
            if len(cells) != len(header):
                raise ValueError(f"expected {len(header)} cells ({', '.join(header)}), not {len(cells)}")
            prefixes, rest = cells.pop(prefix_at), tuple(cells)
            if rest not in shared:
                given = {
                    column: texts.setdefault(cell, cell) for column, cell in zip(others, rest, strict=True) if cell
                }
                shared[rest] = given.pop("zone", ""), given.pop(_WHOLE, "").lower(), given
            zone, mark, columns = shared[rest]
            if mark not in _YES | _NO:
                raise ValueError(f'expected "yes" or nothing in the column {_WHOLE}, not {mark!r}')
            if not prefixes:
                raise ValueError(f'expected a prefix, or "{REST}" for all other numbers')
            for prefix in prefixes.split():
                if prefix.startswith(WHOLE):
                    raise ValueError(f'expected "yes" in a column {_WHOLE} for a whole number, not {prefix!r}')
                if prefix == REST and mark in _YES:
                    raise ValueError(f"expected a whole number such as 112, not {REST!r}")
                entry = DestinationRow(name, WHOLE + prefix if mark in _YES else prefix, zone, columns)
                if entry.prefix in lines:
                    before = lines[entry.prefix]
                    raise ValueError(f"expected each prefix once, but {entry.prefix!r} is on line {before} already")
                lines[entry.prefix] = self.line
                yield entry
