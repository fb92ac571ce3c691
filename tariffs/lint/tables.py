"""Tables of destinations: prefixes that say nothing, are never used, or have a price unlike their siblings'."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from tariffs.destinations import WHOLE, DestinationRow, Numbers
from tariffs.lint.case import LintCase, LintFinding, Rule, Severity
from tariffs.match import ENDS
from tariffs.notation import Amount

FEW: Final = 5
"""Prefixes of one table that are named; of the rest only the number is said."""

SIBLINGS_MIN: Final = 4
"""Entries of a zone, at least, for one of them to be the odd one out."""


def redundant(case: LintCase) -> Iterator[LintFinding]:
    """Prefixes without which every number would be found the same."""
    for name, entries in case.lines.entries.items():
        lines = (
            (entry.prefix, f"same zone ({entry.zone}) and columns as {before.prefix}: without it nothing changes")
            for entry, before in _nested(entries)
            if entry.zone == before.zone and (entry.columns is before.columns or entry.columns == before.columns)
        )
        yield from _some("note", "prefix-redundant", name, lines)


def _nested(entries: Iterable[DestinationRow]) -> Iterator[tuple[DestinationRow, DestinationRow]]:
    """Entries with the next shorter prefix that is there. Sorted, each follows those it begins with."""
    above: list[DestinationRow] = []
    for entry in entries:
        if not entry.prefix or entry.prefix.startswith(WHOLE):
            continue
        while above and not entry.prefix.startswith(above[-1].prefix):
            above.pop()
        if above:
            yield entry, above[-1]
        above.append(entry)


def dialled(case: LintCase) -> Iterator[LintFinding]:
    """Prefixes as they are dialled, where numbers are looked up in the form of E.164: no country code begins with 0."""
    numbers = case.parts.numbers
    if numbers is None:
        return
    for name, entries in case.lines.entries.items():
        lines = (
            (entry.prefix, f"never matches: numbers are in the form of E.164 here; meant {meant!r}?")
            for entry in entries
            if entry.prefix.startswith("0") and (meant := _normal(entry.prefix, numbers)) != entry.prefix
        )
        yield from _some("warning", "prefix-dialled", name, lines)


def _normal(prefix: str, numbers: Numbers) -> str:
    """Of numbers that begin so and go on, the begin."""
    more = "1" * 12
    normal, _ = numbers.normal(prefix + more)
    return normal.removesuffix(more) or prefix


def unused(case: LintCase) -> Iterator[LintFinding]:
    """Prefixes that longer ones leave nothing to."""
    for name, prefixes in case.lines.unused.items():
        text = "longer prefixes are there for all ten digits that may follow: no longer number uses it"
        yield from _some("note", "prefix-unused", name, ((prefix, text) for prefix in sorted(prefixes)))


def outliers(case: LintCase) -> Iterator[LintFinding]:
    """Prices unlike those of the other prefixes of the zone."""
    for name in case.parts.tables:
        columns = {
            column.name
            for row in case.tariff.rows
            for column in row.columns()
            if column.place in ENDS and any(one.fact == f"{column.place} {name}" for one in row.conditions)
        }
        by_zone: dict[str, list[DestinationRow]] = {}
        for entry in case.lines.entries[name] if columns else ():
            by_zone.setdefault(entry.zone, []).append(entry)
        found = (
            line
            for zone, entries in by_zone.items()
            for column in sorted(columns)
            for line in _odd(zone, column, entries)
        )
        yield from _some("warning", "prefix-outlier", name, found)


def _odd(zone: str, column: str, entries: list[DestinationRow]) -> Iterator[tuple[str, str]]:
    """(prefix, what is odd), where nine of ten siblings agree and nobody else has this value."""
    if len(entries) < SIBLINGS_MIN:
        return
    texts = Counter(entry.columns.get(column) for entry in entries)
    if len(texts) < 2:
        return
    values: Counter[Amount | str | None] = Counter()
    for text, count in texts.items():
        values[_value(text)] += count
    (usual, many), *_ = values.most_common(1)
    if len(values) < 2 or many * 10 < (len(entries) - 1) * 9:
        return
    common = next(text for text in texts if _value(text) == usual)
    odd = {text for text in texts if text is not None and values[_value(text)] == 1}
    for entry in entries if odd else ():
        text = entry.columns.get(column)
        if text in odd:
            yield entry.prefix, f"{column} is {text}, and {common} for {many:,} other prefixes of {zone}"


def _value(text: str | None) -> Amount | str | None:
    """So that "0.10" is "0.1"."""
    try:
        return text if text is None else Amount.read(text)
    except ValueError:
        return text


def _some(severity: Severity, rule: str, table: str, lines: Iterable[tuple[str, str]]) -> Iterator[LintFinding]:
    """The first few, and how many more there are."""
    more = 0
    for number, (prefix, text) in enumerate(lines):
        if number < FEW:
            yield LintFinding(severity, rule, f"{table}:{prefix or 'any other'}", text)
        else:
            more += 1
    if more:
        yield LintFinding(severity, rule, table, f"and {more:,} more prefixes like these")


def unasked(case: LintCase) -> Iterator[LintFinding]:
    """Tables no condition looks at."""
    for name in case.parts.tables:
        if not any(fact.endswith(f" {name}") for fact in case.lines.place):
            yield LintFinding("note", "table-unused", name, "no condition looks at this table")


RULES: Final[tuple[Rule, ...]] = (dialled, redundant, unused, outliers, unasked)
