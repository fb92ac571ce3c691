"""Tariff documents (TOML or JSON) -> compiled tariffs. An error names the document, the key and what was expected."""

from __future__ import annotations

import json
import tomllib
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, Literal, TypeVar

import msgspec

from tariffs.catalog import Match, Row, Tariff
from tariffs.elements import BASES, ELEMENTS
from tariffs.notation import Amount, Increment, Quantity

T = TypeVar("T")

Format = Literal["toml", "json"]

ROWS_MAX: Final = 10_000
OCTETS_MAX: Final = 8 * 2**20


class TariffError(ValueError):
    """A document that is refused."""

    def __init__(self, source: str, key: str, why: str) -> None:
        super().__init__(f"{source}: {key}: {why}" if key else f"{source}: {why}")
        self.source, self.key, self.why = source, key, why


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tariff as written."""

    tariff: str
    """Its id."""
    currency: str
    """ISO 4217 letters."""
    rows: list[dict[str, Any]]
    """In order: the first that matches a line prices it."""
    valid_from: datetime | None = None
    """With its zone; from the beginning of time unless given."""
    description: str = ""


def load_tariff(text: str | bytes, *, source: str, form: Format | None = None, version: int = 1) -> Tariff:
    """The compiled tariff, or TariffError.

    source:   what errors call the document: its file name or URL
    form:     by the ending of `source` unless given
    version:  number under which it is published
    """
    form = form or ("json" if source.endswith(".json") else "toml")
    return compile_tariff(parse(text, source=source, form=form), source=source, version=version)


def parse(text: str | bytes, *, source: str, form: Format) -> dict[str, Any]:
    """The document as plain values; numbers with a fraction are Decimals, never binary floats."""
    if len(text) > OCTETS_MAX:
        raise TariffError(source, "", f"expected at most {OCTETS_MAX} octets")
    try:
        plain = text if isinstance(text, str) else text.decode()
        if form == "toml":
            return tomllib.loads(plain, parse_float=Decimal)
        document = json.loads(plain, parse_float=Decimal, parse_constant=_no_constant, object_pairs_hook=_once_each)
    except RecursionError:
        raise TariffError(source, "", "expected less deeply nested tables") from None
    except ValueError as bad:  # tomllib, json and UTF-8 errors all say where
        raise TariffError(source, "", f"is not {form.upper()}: {bad}") from None
    if not isinstance(document, dict):
        raise TariffError(source, "", "expected an object")
    return document


def compile_tariff(document: dict[str, Any], *, source: str, version: int = 1) -> Tariff:
    head = _convert(document, Document, source, "")
    if not head.tariff or len(head.tariff) > 64 or not all(c.isalnum() or c in "-_." for c in head.tariff):
        raise TariffError(source, "tariff", "expected an id of letters, digits, '-', '_' and '.', at most 64")
    if len(head.currency) != 3 or not (head.currency.isascii() and head.currency.isupper()):
        raise TariffError(source, "currency", f'expected three capital letters such as "EUR", not {head.currency!r}')
    if not 1 <= len(head.rows) <= ROWS_MAX:
        raise TariffError(source, "rows", f"expected 1 to {ROWS_MAX} rows, not {len(head.rows)}")
    if head.valid_from is not None and head.valid_from.tzinfo is None:
        raise TariffError(source, "valid_from", "expected a time with its zone: 2030-01-31T00:00:00+01:00")
    # Whole milliseconds by whole-number arithmetic: timestamp() is a float.
    since = head.valid_from - datetime(1970, 1, 1, tzinfo=UTC) if head.valid_from else None
    from_ms = since.days * 86_400_000 + since.seconds * 1_000 + since.microseconds // 1_000 if since else 0
    rows = [_row(row, f"rows[{number}]", source) for number, row in enumerate(head.rows, start=1)]
    return Tariff(head.tariff, version, head.currency, from_ms, rows)


def _row(written: dict[str, Any], at: str, source: str) -> Row:
    known = {"name", "when", *ELEMENTS}
    for key in written:
        if key not in known:
            raise TariffError(source, f"{at}.{key}", f"unknown key; expected one of {', '.join(sorted(known))}")
    bases = [key for key in BASES if written.get(key, False) is not False]
    if len(bases) != 1:
        raise TariffError(
            source, at, f"expected exactly one of {', '.join(BASES)}, not {' and '.join(bases) or 'none'}"
        )
    name = _convert(written.get("name", at[5:-1]), str, source, f"{at}.name")
    match = _convert(written.get("when", {}), Match, source, f"{at}.when")
    elements = []
    for key, element in ELEMENTS.items():
        value = written.get(key, False)
        if value is not False:
            elements.append((key, _convert({} if value is True else value, element, source, f"{at}.{key}")))
    try:
        row = Row(name, match, (element for _, element in elements))
    except ValueError as bad:
        raise TariffError(source, f"{at}.when", str(bad)) from None
    _try_out(row, [key for key, _ in elements], at, source)
    return row


def _try_out(row: Row, keys: list[str], at: str, source: str) -> None:
    """Build its ladder once, growing, so that a fault is found now and laid at the right door."""
    for count, key in enumerate(keys, start=1):
        try:
            Row(row.name, Match(), row.elements[:count]).rate("", "")
        except ValueError as bad:
            raise TariffError(source, f"{at}.{key}", str(bad)) from None


def _convert(value: Any, kind: type[T], source: str, at: str) -> T:
    try:
        return msgspec.convert(value, kind, dec_hook=_read)
    except msgspec.ValidationError as bad:
        why, _, path = str(bad).partition(" - at `")
        key = (at + path.rstrip("`").removeprefix("$")).lstrip(".")
        raise TariffError(source, key, why[:1].lower() + why[1:]) from None


def _read(kind: type, value: Any) -> Any:
    if kind in (Amount, Quantity, Increment):
        return kind.read(value)
    raise NotImplementedError(kind)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is given twice in one object")
    return found
