"""Documents -> tariffs: includes joined, names resolved, every row tried out once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from tariffs.calendar import Calendar, CompiledBand, OtherTimes, TimeBand, compile_bands, zone
from tariffs.counters import CounterRule
from tariffs.destinations import DestinationRow, PrefixTable, line_of, read_table
from tariffs.document import Format, IncludedPart, TariffDocument, TariffError, convert, form_of, parse
from tariffs.draft import LadderDraft, RatingVerdict
from tariffs.elements.element import TariffElement
from tariffs.elements.known import BASES, ELEMENTS
from tariffs.fees import FEES_MAX, FeeRule
from tariffs.inputs import Inputs
from tariffs.ladder import LIMIT_MARK
from tariffs.match import ENDS, LINE_FIELDS, Condition, Match, Text, conditions, several
from tariffs.notation import Column, Quantity
from tariffs.row import PriceRow, columns_of
from tariffs.tags import check_tags
from tariffs.tariff import Guarded, Parts, Tariff
from tariffs.terms import Terms
from tariffs.thresholds import DEFAULTS_MAX, DefaultThreshold, once_each
from tariffs.visited_zones import ACCOUNT_ZONE, CLOCKS

NOT_OF_A_PROMOTION: Final = "expected none in a promotion: it changes prices of other tariffs"
ROWS_MAX: Final = 10_000
ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
NAME: Final = re.compile(r"[^\x00-\x1f+:]{1,64}")
"""Names of rows stand on usage records, joined by "+" after "tariff@version:"."""


def load_tariff(
    text: str | bytes, *, source: str, form: Format | None = None, version: int = 1, files: Mapping[str, bytes] = {}
) -> Tariff:
    """The compiled tariff, or TariffError.

    source:   what errors call the document: its file name or URL
    form:     by the ending of `source` unless given
    version:  number under which it is published
    files:    what it includes (see `tariffs.document.needs`)
    """
    plain = parse(text, source=source, form=form or form_of(source))
    return compile_tariff(plain, source=source, version=version, files=files)


def compile_tariff(
    document: dict[str, Any], *, source: str, version: int = 1, files: Mapping[str, bytes] = {}
) -> Tariff:
    head = convert(document, TariffDocument, source, "")
    _check_head(head, source)
    return _Loading(head, source, files).tariff(version)


def _check_head(head: TariffDocument, source: str) -> None:
    if not ID.fullmatch(head.tariff):
        raise TariffError(source, "tariff", "expected an id of letters, digits, '-', '_' and '.', at most 64")
    if len(head.currency) != 3 or not (head.currency.isascii() and head.currency.isupper()):
        raise TariffError(source, "currency", f'expected three capital letters such as "EUR", not {head.currency!r}')
    if head.valid_from is not None and head.valid_from.tzinfo is None:
        raise TariffError(source, "valid_from", "expected a time with its zone: 2030-01-31T00:00:00+01:00")
    _check_zone(head.zone, source, "zone")
    if head.promotion and head.zone != ACCOUNT_ZONE:
        raise TariffError(source, "zone", NOT_OF_A_PROMOTION)
    if head.promotion and head.tags:
        raise TariffError(source, "tags", NOT_OF_A_PROMOTION)
    try:
        check_tags(head.tags)
    except ValueError as bad:
        raise TariffError(source, "tags", str(bad)) from None


def _check_zone(written: str, source: str, at: str) -> None:
    if written not in CLOCKS:
        try:
            zone(written)
        except ValueError as bad:
            raise TariffError(source, at, f'{bad}, or "account" or "visited"') from None


@lru_cache(64)
def _table(name: str, content: bytes, source: str) -> PrefixTable:
    """Kept, because a tariff is compiled again with each version while its tables stay."""
    return read_table(name, content, source=source)


class _Loading:
    """One document being compiled, with what it includes."""

    def __init__(self, head: TariffDocument, source: str, files: Mapping[str, bytes]) -> None:
        self._head, self._source, self._files = head, source, files
        self._parts: list[tuple[str, IncludedPart]] = [(source, head)]
        for number, name in enumerate(head.include):
            plain = parse(self._file(name, f"include[{number}]"), source=name, form=form_of(name))
            self._parts.append((name, convert(plain, IncludedPart, name, "")))
        for name, part in self._parts if head.promotion else ():
            for key in ("rows", "tables", "numbers", "counters", "taxes"):
                if getattr(part, key):
                    raise TariffError(name, key, NOT_OF_A_PROMOTION)

    def _file(self, name: str, key: str) -> bytes:
        if name not in self._files:
            raise TariffError(self._source, key, f"expected a file that is there, not {name!r}")
        return self._files[name]

    def tariff(self, version: int) -> Tariff:
        head = self._head
        self._tables = self._gather_tables()
        self._declared = self._gather_bands()
        self._bands: dict[str, TimeBand] = {**self._declared}
        self._band_bits = {name: 1 << place for place, name in enumerate(self._bands)}
        self._tallies = self._gather_tallies()
        numbers = [part.numbers for _, part in self._parts if part.numbers is not None]
        if len(numbers) > 1:
            raise TariffError(self._source, "numbers", "expected once, in the document or in a file it includes")
        # Whole milliseconds by whole-number arithmetic: timestamp() is a float.
        since = head.valid_from - datetime(1970, 1, 1, tzinfo=UTC) if head.valid_from else None
        from_ms = since.days * 86_400_000 + since.seconds * 1_000 + since.microseconds // 1_000 if since else 0
        return Tariff(
            Parts(
                name=head.tariff,
                version=version,
                currency=head.currency,
                from_ms=from_ms,
                rows=self._gather_rows(),
                zone=head.zone,
                bands=self._bands,
                numbers=numbers[0] if numbers else None,
                tables=self._tables,
                tallies=self._tallies,
                changes=[
                    (sign, each)
                    for sign, key in ((1, "surcharges"), (-1, "discounts"))
                    for each in self._gather_guarded(key)
                ],
                taxes=self._gather_guarded("taxes"),
                tags=head.tags,
                promotion=head.promotion,
                thresholds=self._gather_thresholds(),
                fees=self._gather_fees(),
            )
        )

    # --- tables

    def _named(self, key: str) -> Iterable[tuple[str, str, Any]]:
        """(source, name, value) of all parts; a name may be given once."""
        seen = set()
        for source, part in self._parts:
            for name, value in getattr(part, key).items():
                if name in seen:
                    raise TariffError(source, f"{key}.{name}", "expected once: another file has it too")
                seen.add(name)
                yield source, name, value

    def _gather_tables(self) -> dict[str, PrefixTable]:
        tables = {}
        self._written_in: dict[str, str] = {}
        for source, name, value in self._named("tables"):
            at = f"tables.{name}"
            try:
                if isinstance(value, str):
                    tables[name] = _table(name, self._file(value, at), value)
                    self._written_in[name] = value
                else:
                    tables[name] = PrefixTable(
                        name, [DestinationRow(name, prefix, zone, {}) for prefix, zone in value.items()]
                    )
            except TariffError:
                raise
            except ValueError as bad:
                raise TariffError(source, at, str(bad)) from None
        return tables

    def _gather_bands(self) -> dict[str, CompiledBand]:
        calendars, bands = {}, {}
        for source, name, value in self._named("calendars"):
            try:
                calendars[name] = Calendar(value)
            except ValueError as bad:
                raise TariffError(source, f"calendars.{name}", str(bad)) from None
        for source, name, band in self._named("bands"):
            if "/" in name:  # Tariff.changed_by: "promotion/band" is that of a promotion
                raise TariffError(source, f"bands.{name}", 'expected a name without "/"')
            try:
                (bands[name],) = compile_bands({name: band}, calendars)
            except ValueError as bad:
                raise TariffError(source, "bands", str(bad)) from None
        return bands

    def _gather_tallies(self) -> dict[str, CounterRule]:
        tallies = {}
        for source, name, counter in self._named("counters"):
            at = f"counters.{name}"
            if name.startswith(LIMIT_MARK):
                raise TariffError(source, at, f'expected another name: "{LIMIT_MARK}" begins those of spending limits')
            if not NAME.fullmatch(name):
                raise TariffError(source, at, 'expected a name of at most 64 characters, without "+" and ":"')
            if counter.zone:
                _check_zone(counter.zone, source, f"{at}.zone")
            known = set(Inputs.__struct_fields__) | {*LINE_FIELDS}
            known -= {"attributes", "network", "tags", "subscriber_tags"}
            if counter.by and counter.by not in known:
                raise TariffError(source, f"{at}.by", f"expected one of {', '.join(sorted(known))}, not {counter.by!r}")
            if counter.when.time:
                raise TariffError(source, f"{at}.when.time", "expected conditions that stay: a line is counted whole")
            tallies[name] = CounterRule(name, counter, self._conditions(counter.when, source, f"{at}.when"))
        return tallies

    def _gather_guarded(self, key: str) -> list[Guarded]:
        guarded = []
        for source, part in self._parts:
            for number, one in enumerate(getattr(part, key), start=1):
                at = f"{key}[{number}].when"
                if self._head.promotion and (one.when.from_ or one.when.to):
                    raise TariffError(source, at, "expected no destinations in a promotion: its tables are not known")
                if key == "taxes" and one.when.time:
                    raise TariffError(source, f"{at}.time", "expected conditions that stay during a session")
                held = self._conditions(one.when, source, at)
                guarded.append(Guarded(held, self._bits(one.when.time, source, at), one))
        return guarded

    def _conditions(self, match: Match, source: str, at: str) -> tuple[Condition, ...]:
        try:
            return conditions(match, self._tables)
        except ValueError as bad:
            raise TariffError(source, at, str(bad)) from None

    def _bits(self, written: Text, source: str, at: str) -> int:
        """Of the bands named; where they are excluded, of one that is added for all other times."""
        names, excludes = several(written)
        bands = []
        for name in dict.fromkeys(names):
            if name not in self._declared:
                known = ", ".join(self._declared) or "none is there"
                raise TariffError(source, f"{at}.time", f"expected a band ({known}), not {name!r}")
            bands.append(self._declared[name])
        if not excludes:
            return sum(self._band_bits[band.name] for band in bands)
        other = OtherTimes(bands)
        if other.name in self._declared:
            raise TariffError(source, f"{at}.time", f'expected no band that is called "{other.name}"')
        if other.name not in self._bands:
            self._band_bits[other.name] = 1 << len(self._bands)
            self._bands[other.name] = other
        return self._band_bits[other.name]

    def _gather_thresholds(self) -> list[DefaultThreshold]:
        found: list[DefaultThreshold] = []
        for source, part in self._parts:
            for number, written in enumerate(part.thresholds, start=1):
                at = f"thresholds[{number}]"
                try:
                    found.append(written.compiled(self._head.currency))
                except ValueError as bad:
                    key, _, why = str(bad).partition(": ")
                    raise TariffError(source, f"{at}.{key}", why) from None
                if twice := once_each(found):
                    raise TariffError(source, f"{at}.name", f"expected once, not again {twice!r}")
        if len(found) > DEFAULTS_MAX:
            raise TariffError(self._source, "thresholds", f"expected at most {DEFAULTS_MAX}, not {len(found)}")
        return found

    def _gather_fees(self) -> list[FeeRule]:
        found: dict[str, FeeRule] = {}
        for source, part in self._parts:
            for number, written in enumerate(part.fees, start=1):
                at = f"fees[{number}]"
                if not NAME.fullmatch(written.name):
                    raise TariffError(source, f"{at}.name", 'expected 1 to 64 characters, without "+" and ":"')
                if written.name in found:
                    raise TariffError(source, f"{at}.name", f"expected once, not again {written.name!r}")
                held = self._conditions(written.when, source, f"{at}.when")
                if written.when.time or any(not one.fact.startswith("subscriber.") for one in held):
                    raise TariffError(source, f"{at}.when", "expected attributes of the subscriber and nothing else")
                try:
                    found[written.name] = FeeRule(written, held)
                except ValueError as bad:
                    key, _, why = str(bad).partition(": ")
                    raise TariffError(source, f"{at}.{key}", why) from None
        if len(found) > FEES_MAX:
            raise TariffError(self._source, "fees", f"expected at most {FEES_MAX}, not {len(found)}")
        return [*found.values()]

    # --- rows

    def _gather_rows(self) -> list[PriceRow]:
        rows: list[PriceRow] = []
        names: set[str] = set()
        for source, part in self._parts:
            for number, written in enumerate(part.rows, start=1):
                rows.append(self._row(written, f"rows[{number}]", source))
                if rows[-1].name in names:
                    raise TariffError(source, f"rows[{number}].name", f"expected once, not again {rows[-1].name!r}")
                names.add(rows[-1].name)
        least = 0 if any(part.fees for _, part in self._parts) else 1  # a tariff may be nothing but fees
        if not self._head.promotion and not least <= len(rows) <= ROWS_MAX:
            raise TariffError(self._source, "rows", f"expected 1 to {ROWS_MAX} rows, not {len(rows)}")
        return rows

    def _row(self, written: dict[str, Any], at: str, source: str) -> PriceRow:
        known = {"name", "when", "first", "below", *ELEMENTS}
        for key in written:
            if key not in known:
                raise TariffError(source, f"{at}.{key}", f"unknown key; expected one of {', '.join(sorted(known))}")
        bases = [key for key in BASES if written.get(key, False) is not False]
        if len(bases) != 1:
            raise TariffError(
                source, at, f"expected exactly one of {', '.join(BASES)}, not {' and '.join(bases) or 'none'}"
            )
        name = convert(written.get("name", at[5:-1]), str, source, f"{at}.name")
        if not NAME.fullmatch(name):
            raise TariffError(source, f"{at}.name", 'expected 1 to 64 characters, without "+" and ":"')
        match = convert(written.get("when", {}), Match, source, f"{at}.when")
        elements = {key: _element(key, written[key], f"{at}.{key}", source) for key in ELEMENTS if _given(written, key)}
        first = convert(written["first"], Quantity, source, f"{at}.first") if "first" in written else None
        tally, below = self._below(written.get("below"), f"{at}.below", source)
        try:
            row = PriceRow(
                name,
                self._conditions(match, source, f"{at}.when"),
                elements.values(),
                bands=self._bits(match.time, source, f"{at}.when"),
                first=first.amount if first else 0,
                tally=tally,
                below=below,
            )
        except TariffError:
            raise
        except ValueError as bad:
            raise TariffError(source, f"{at}.below", str(bad)) from None
        self._try_out(row, elements, first, at, source)
        for key, element in elements.items():
            if element.ends_with_period() and (tally is None or not tally.moves):
                why = "expected a row `below` a counter of a day, week, month or year, with which its blocks end"
                raise TariffError(source, f"{at}.{key}.per_period", why)
        return row

    def _below(self, written: Any, at: str, source: str) -> tuple[CounterRule | None, object]:
        if written is None:
            return None, None
        if not isinstance(written, dict) or len(written) != 1:
            raise TariffError(source, at, 'expected one counter and its limit, such as { monthly = "10 GB" }')
        ((name, limit),) = written.items()
        if name not in self._tallies:
            known = ", ".join(self._tallies) or "none is there"
            why = f"expected a counter ({known}), not {name!r}: declare [counters.{name}]"
            raise TariffError(source, at, why)
        if (column := Column.read(limit)) is not None and column.place != "subscriber":
            raise TariffError(source, at, f"expected a limit, or an attribute such as subscriber.cap, not {limit!r}")
        return self._tallies[name], limit

    def _try_out(
        self, row: PriceRow, elements: dict[str, TariffElement], first: Quantity | None, at: str, source: str
    ) -> None:
        """Build its price for every value its columns may have, growing, so that a fault is found now and laid at the
        right door."""
        columns = [column for column in row.columns() if column.place in ENDS]
        self._check_columns(row, elements, at, source)
        for entries in self._samples(row, columns):
            draft = LadderDraft("", entries, Terms(attributes=_ANY_ATTRIBUTE))
            for key, element in elements.items():
                try:
                    element.apply(draft)
                except ValueError as bad:
                    raise TariffError(source, f"{at}.{key}", f"{bad}{self._where(entries)}") from None
            if first is not None and draft.unit not in (None, first.kind):
                raise TariffError(source, f"{at}.first", f"expected a quantity of what the price is for, not {first!r}")
            if draft.verdict is not RatingVerdict.PRICED and (first or row.tally):
                raise TariffError(source, at, "expected no limit: nothing is used of what is not sold or not counted")

    def _check_columns(self, row: PriceRow, elements: dict[str, TariffElement], at: str, source: str) -> None:
        of = {place: table for one in row.conditions for place, _, table in [one.fact.partition(" ")] if table}
        excluded = {one.fact.partition(" ")[0] for one in row.conditions if one.excludes}
        for key, element in elements.items():
            for column in columns_of(element):
                table = of.get(column.place)
                if column.place in excluded & {*ENDS}:
                    why = f"expected `{column.place}` to name zones: one that it only excludes may have no such column"
                    raise TariffError(source, f"{at}.{key}", f"{column!r}: {why}")
                if table is None or column.name in self._tables[table].columns:
                    continue
                known = ", ".join(["prefix", "zone", *self._tables[table].columns])
                why = f"expected a column of {self._written_in.get(table, f'tables.{table}')} ({known})"
                raise TariffError(source, f"{at}.{key}", f"{column!r}: {why}, not {column.name!r}")

    def _where(self, entries: Mapping[str, DestinationRow]) -> str:
        """Where these stand: "world.csv line 7"."""
        found = []
        for entry in entries.values():
            file = self._written_in.get(entry.table)
            line = f"{file} line {line_of(entry, self._files[file])}, " if file else f"{entry.table}, "
            found.append(f" ({line}prefix {entry.prefix or 'of all'})")
        return "".join(found)

    def _samples(self, row: PriceRow, columns: list[Column]) -> Iterable[dict[str, DestinationRow]]:
        """One entry for each set of values that the columns of one end have; both ends are tried on their own."""
        ends = {one.fact.partition(" ")[0]: one for one in row.conditions if " " in one.fact} if columns else {}
        found = {place: self._differing(one, place, columns) for place, one in ends.items()}
        some = {place: entries[0] for place, entries in found.items() if entries}
        if not some:
            yield {}
        for place, entries in found.items():
            for entry in entries:
                yield some | {place: entry}

    def _differing(self, condition: Condition, place: str, columns: Iterable[Column]) -> list[DestinationRow]:
        wanted = [column.name for column in columns if column.place == place]
        found: dict[Any, DestinationRow] = {}
        for entry in self._tables[condition.fact.partition(" ")[2]].samples:
            if condition.holds({condition.fact: entry}):
                found.setdefault(tuple([entry.columns.get(name) for name in wanted]), entry)
        return list(found.values())


class _AnyAttribute(dict[str, str]):
    """What a subscriber may have, while a row is tried: an amount, a quantity and a percentage alike."""

    def get(self, name: str, otherwise: Any = None) -> str:
        return "1"


_ANY_ATTRIBUTE: Final = _AnyAttribute()


def _given(written: Mapping[str, Any], key: str) -> bool:
    return written.get(key, False) is not False


def _element(key: str, value: Any, at: str, source: str) -> TariffElement:
    element = ELEMENTS[key]
    if value is True and not element.alone_table:
        value = {}
    elif element.alone and (element.alone_table or not isinstance(value, dict)):
        value = {element.alone: value}
    return convert(value, element, source, at)
