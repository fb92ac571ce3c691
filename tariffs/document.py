"""Tariff documents as written: TOML or JSON into plain values, and those into typed tables. Errors name document, key
and what was expected."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Any, Final, Literal, TypeVar, get_args, get_type_hints

import msgspec

from tariffs import toml
from tariffs.calendar import Band, CounterPeriod
from tariffs.counters import CounterDocument
from tariffs.destinations import Numbers
from tariffs.fee_periods import FeePeriod
from tariffs.fees import FeeDocument
from tariffs.notation import Amount, Blocks, Percent, Quantity, Share, WrittenPrice
from tariffs.terms import Change, Tax
from tariffs.thresholds import ThresholdDocument
from tariffs.visited_zones import ACCOUNT_ZONE

T = TypeVar("T")

Format = Literal["toml", "json"]

OCTETS_MAX: Final = 8 * 2**20

UNNAMED: Final = "[...]"
"""msgspec's word for any key of a dict."""
PLACES_MAX: Final = 1_000
"""That are tried to say which it is."""


class TariffError(ValueError):
    """A document that is refused."""

    def __init__(self, source: str, key: str, why: str) -> None:
        super().__init__(f"{source}: {key}: {why}" if key else f"{source}: {why}")
        self.source, self.key, self.why = source, key, why


class IncludedPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What may also stand in a file that a tariff includes."""

    numbers: Numbers | None = None
    tables: dict[str, str | dict[str, str]] = {}
    """Name -> file, or prefix -> zone."""
    calendars: dict[str, str | tuple[str, ...]] = {}
    bands: dict[str, Band] = {}
    counters: dict[str, CounterDocument] = {}
    surcharges: tuple[Change, ...] = ()
    discounts: tuple[Change, ...] = ()
    taxes: tuple[Tax, ...] = ()
    thresholds: tuple[ThresholdDocument, ...] = ()
    fees: tuple[FeeDocument, ...] = ()
    rows: list[dict[str, Any]] = []
    """In order; see tariffs/load.py."""


class TariffDocument(IncludedPart, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A tariff as written."""

    tariff: str
    """Its id."""
    currency: str
    """ISO 4217 letters."""
    valid_from: datetime | None = None
    """With its zone; from the beginning of time unless given."""
    description: str = ""
    zone: str = ACCOUNT_ZONE
    include: tuple[str, ...] = ()
    promotion: bool = False
    tags: dict[str, str] = {}
    """Charging tags of all that it prices."""


def form_of(source: str) -> Format:
    return "json" if source.endswith(".json") else "toml"


def parse(text: str | bytes, *, source: str, form: Format) -> dict[str, Any]:
    """The document as plain values; numbers with a fraction are Decimals, never binary floats."""
    if len(text) > OCTETS_MAX:
        raise TariffError(source, "", f"expected at most {OCTETS_MAX} octets")
    try:
        plain = text if isinstance(text, str) else text.decode()
        if form == "toml":
            return toml.parse(plain, parse_float=Decimal)
        document = json.loads(plain, parse_float=Decimal, parse_constant=_no_constant, object_pairs_hook=_once_each)
    except RecursionError:
        raise TariffError(source, "", "expected less deeply nested tables") from None
    except ValueError as bad:  # tomllib, json and UTF-8 errors all say where
        raise TariffError(source, "", f"is not {form.upper()}: {bad}") from None
    if not isinstance(document, dict):
        raise TariffError(source, "", "expected an object")
    return document


def needs(text: str | bytes, *, source: str, form: Format | None = None) -> list[str]:
    """The files a document, or a file it includes, names: to be given to `load_tariff`."""
    written = parse(text, source=source, form=form or form_of(source))
    tables, include = written.get("tables"), written.get("include")
    named = [one for one in include if isinstance(one, str)] if isinstance(include, list) else []
    if isinstance(tables, dict):
        named += [one for one in tables.values() if isinstance(one, str)]
    return list(dict.fromkeys(named))


def convert(value: Any, kind: type[T], source: str, at: str) -> T:
    """Typed, or a TariffError that names the key."""
    try:
        return msgspec.convert(value, kind, dec_hook=_read)
    except msgspec.ValidationError as bad:
        why, path = _parted(bad)
        why = _choices(why, kind, path) or why.removeprefix("Object contains ").removeprefix("Object ")
        why = why[:1].lower() + why[1:]
        tokens = re.findall(r"\.\w+|\[.*?\]", path)
        places = islice(_places(value, tokens), PLACES_MAX) if UNNAMED in tokens else ()
        named = next((place for place, alone in places if _refused_at(alone, kind) == path), path)
        raise TariffError(source, (at + named).lstrip("."), why) from None


def _choices(why: str, kind: Any, path: str) -> str:
    """What a word may be, where msgspec says only that it is none of these; else nothing."""
    wrong = re.fullmatch(r"Invalid enum value (.+)", why)
    inner = kind
    for token in re.findall(r"\w+|\[", path.replace("[...]", "[")) if wrong else ():
        if token == "[":  # of a list of tables
            inner = next(iter(get_args(inner)), None)
        elif not token.isdigit():
            inner = get_type_hints(inner).get(token) if isinstance(inner, type) else None
    known = get_args(inner)
    return f"expected one of {', '.join(known)}, not {wrong[1]}" if wrong and known else ""


def _parted(bad: msgspec.ValidationError) -> tuple[str, str]:
    """What is wrong, and where."""
    why, _, path = str(bad).partition(" - at `")
    return why, path.rstrip("`").removeprefix("$")


def _refused_at(value: Any, kind: Any) -> str:
    try:
        msgspec.convert(value, kind, dec_hook=_read)
    except msgspec.ValidationError as bad:
        return _parted(bad)[1]
    return ""


def _places(value: Any, tokens: list[str]) -> Iterator[tuple[str, Any]]:
    """Each place that a path with nameless keys may mean, and the value without the others."""
    if not tokens:
        yield "", value
        return
    token, *rest = tokens
    if token == UNNAMED:
        for name, inner in value.items():
            for place, alone in _places(inner, rest):
                yield f".{name}{place}", {name: alone}
    elif token.startswith("."):
        for place, alone in _places(value[token[1:]], rest):
            yield token + place, value | {token[1:]: alone}
    else:
        number = int(token[1:-1])
        for place, alone in _places(value[number], rest):
            yield token + place, [*value[:number], alone, *value[number + 1 :]]


NOTATIONS: Final = (Amount, Blocks, Percent, CounterPeriod, FeePeriod, WrittenPrice, Quantity, Share)


def _read(kind: Any, value: Any) -> Any:
    if kind in NOTATIONS:
        return kind.read(value)
    raise NotImplementedError(kind)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is given twice in one object")
    return found
