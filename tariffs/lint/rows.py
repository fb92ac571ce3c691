"""Rows: lines that none prices, rows that never do, limits that are never or already reached."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any, Final

from tariffs.draft import LARGEST_USE
from tariffs.lint.atoms import impossible, listed
from tariffs.lint.case import LintCase, LintFinding, Occurs, Rule, is_paid_by_bundle, named_rows, row_name
from tariffs.lint.regions import WORK_MAX, Region
from tariffs.match import ENDS, NUMBERS, Condition
from tariffs.notation import Column
from tariffs.phrases import money, quantity
from tariffs.row import PriceRow
from tariffs.units import Kind

UNLESS: Final = "rating fails (5031) unless another tariff of the subscriber prices it"
FEW: Final = 3


# --- gaps


def gaps(case: LintCase) -> Iterator[LintFinding]:
    """Times at which no row matches a line that one matches at other times."""
    said = set()
    for region in case.lines.regions:
        if (region.service, region.rows) in said:
            continue
        said.add((region.service, region.rows))
        without = {holds for holds in case.holds(region.rows) if not case.chain(region.rows, holds)}
        if not without or len(without) == len(case.holds(region.rows)):
            continue
        times: list[tuple[int, int]] = []
        for span in case.walk.spans:
            if not case.chain(region.rows, span.holds):
                if times and times[-1][1] == span.from_ms:
                    times[-1] = (times[-1][0], span.until_ms)
                else:
                    times.append((span.from_ms, span.until_ms))
        if not times:
            continue
        from_ms, until_ms = times[0]
        often = f", and {len(times):,} times in two years" if len(times) > 1 else ""
        text = (
            f"{case.of(region)}: no row matches from {case.walk.when(from_ms)} until {case.walk.when(until_ms)}{often}:"
            f" then {UNLESS}. Probably a row without `time` is missing below {named_rows(region.rows[-2:])}"
        )
        yield LintFinding("warning", "gap", f'service "{region.service}"', text)


def unpriced(case: LintCase) -> Iterator[LintFinding]:
    """Lines of a service that no row is for, whatever the time; zones that were forgotten."""
    plain: dict[str, list[str]] = {}
    for region in case.lines.regions:
        if region.rows:
            continue
        zones = dict(_forgotten(case, region))
        if not zones:
            plain.setdefault(region.service, []).append(case.of(region))
        for fact, names in zones.items():
            other = {place: mask for place, mask in region.box.items() if place != case.lines.place[fact]}
            what, table = case.of(region._replace(box=other)), fact.partition(" ")[2]
            text = f"{what}: no row prices {fact} {listed(names)}, while other zones are priced: {UNLESS}"
            yield LintFinding("warning", "gap-zone", f"{table}:{names[0]}", text)
    for service, which in plain.items():
        text = f"no row for {listed(which, 'and', FEW)}: {UNLESS}"
        yield LintFinding("note", "unpriced", f'service "{service}"', text)


def _forgotten(case: LintCase, region: Region) -> Iterator[tuple[str, list[str]]]:
    """Zones of lines without a row, of the tables that rows of their service ask for others."""
    service = case.lines.place.get("service")
    lines = {place: mask for place, mask in region.box.items() if place == service}
    rows = [row for row, box in case.lines.boxes.items() if box is not None and case.lines.meet(lines, box) is not None]
    asked = {condition.fact for row in rows for condition in row.conditions}
    for place, mask in region.box.items():
        for fact, there, missing in case.lines.dimensions[place].parts(mask):
            zones = [zone for zone in there if zone is not None]
            if " " in fact and fact in asked and missing and zones:
                yield fact, zones


def ends(case: LintCase) -> Iterator[LintFinding]:
    """Rows with a limit that nothing comes after."""
    said = set()
    for occurs in case.chains:
        row = occurs.rows[-1] if occurs.rows else None
        if row is None or row.ends or row in said:
            continue
        said.add(row)
        text = (
            f"{case.of(occurs.region)}: nothing is granted {_after(row, _kind(case, occurs))}; if that is meant, fine"
        )
        yield LintFinding("note", "ends", row_name(row), f"{text}, else add a row without a limit below it")


def _kind(case: LintCase, occurs: Occurs) -> Kind | None:
    try:
        return next((draft.unit for draft in case.drafts(occurs) if draft.unit is not None), None)
    except ValueError:
        return None


def _after(row: PriceRow, kind: Kind | None) -> str:
    said = []
    if row.first:
        said.append(f"after {quantity(kind, row.first)}")
    if row.tally is not None:
        said.append(f'once "{row.tally.name}" has {_limit(row)}')
    if is_paid_by_bundle(row):
        said.append("once its bundle is used up")
    return " or ".join(said)


def _limit(row: PriceRow) -> str:
    if isinstance(row.below, Column):
        return repr(row.below)
    kind = row.tally.kind if row.tally is not None else None
    return money(int(row.below)) if kind == Kind.MONEY else quantity(kind, int(row.below))


# --- rows that never price


def never(case: LintCase) -> Iterator[LintFinding]:
    """Rows that no line can ever match, and values that no line ever has."""
    for row in case.tariff.rows:
        text = _contradiction(case, row)
        if text:
            yield LintFinding("warning", "never", row_name(row), f"never matches: {text}")
    guarded: list[tuple[str, Any]] = [(row_name(row), row.conditions) for row in case.tariff.rows]
    guarded += [
        (f'{"surcharge" if sign > 0 else "discount"} "{one.what.name}"', one.conditions)
        for sign, one in case.parts.changes
    ]
    guarded += [(f'tax "{one.what.name}"', one.conditions) for one in case.parts.taxes]
    guarded += [(f'counter "{tally.name}"', tally.conditions) for tally in case.parts.tallies.values()]
    for where, conditions in guarded:
        for condition in conditions:
            yield from _values(case, where, condition)


def _contradiction(case: LintCase, row: PriceRow) -> str:
    """Why it never matches; "" where it may."""
    for condition in row.conditions:
        if not case.lines.mask(condition):
            if " " in condition.fact:
                table = condition.fact.partition(" ")[2]
                return f"every prefix of {condition!r} is covered by longer ones of {table}"
            return f"no line has {condition!r}"
    if row.bands and not row.bands & ~case.walk.never:
        names = listed([f'"{name}"' for name in case.walk.named(row.bands)])
        return f"the bands {names} do not hold in the ten years from {case.walk.when(case.walk.from_ms)}"
    if case.lines.boxes[row] is None:
        return f"no number has all of {listed([repr(one) for one in row.conditions if _of_number(one)])}"
    return ""


def _of_number(condition: Condition) -> bool:
    return " " in condition.fact or condition.fact in ENDS.values()


def _values(case: LintCase, where: str, condition: Condition) -> Iterator[LintFinding]:
    """Values of a condition that say nothing."""
    numbers = case.parts.numbers
    bad = {value: why for value in condition.wanted if (why := impossible(condition.fact, value, numbers))}
    for value, why in bad.items():
        yield LintFinding("warning", "impossible", where, f"{condition.fact} is never {value!r}: {why}")
    dimension = case.lines.dimensions[case.lines.place[condition.fact]]
    unknown = dimension.unknown(condition.fact) if condition.excludes and condition.fact != "service" else 0
    if dimension.mask(condition) & unknown:
        yield LintFinding("note", "not-unknown", where, _where_unknown(condition))
    seen = set()
    for value in condition.wanted:
        if value in seen:
            yield LintFinding("note", "duplicate", where, f"{condition.fact} names {value!r} twice")
        seen.add(value)
    if condition.prefixes:
        for value in seen:
            text = str(value).removesuffix("*")
            by = next((p for p in condition.prefixes if text and text.startswith(p) and f"{p}*" != value), None)
            if by is not None:
                text = f"{condition.fact} {value!r} is contained in {by + '*'!r}"
                yield LintFinding("note", "duplicate", where, text)


def _where_unknown(condition: Condition) -> str:
    end, is_zone, table = condition.fact.partition(" ")
    if is_zone:
        said = f"for a number that {table} has no entry for"
        return (
            f'`not` holds, too, {said}; if those are not meant, give {table} a row "*" and exclude its zone in `{end}`'
        )
    none = '"none"' if condition.fact in NUMBERS else '""'
    return f"`not` holds, too, where {condition.fact} is not known; if those are not meant, exclude {none}"


def shadowed(case: LintCase) -> Iterator[LintFinding]:
    """Rows that earlier ones without a limit leave nothing to."""
    work = 0
    for place, row in enumerate(case.tariff.rows):
        if row in case.used or _contradiction(case, row):
            continue
        before = [one for one in case.tariff.rows[:place] if one.ends and _meets(case, one, row)]
        work += place
        if work > WORK_MAX:
            return
        by = next((one for one in before if _covers(case, one, row)), None)
        if by is None and case.capped:
            continue
        if by is None:
            text = f"never reached: {named_rows(before[:6])} above it take all its lines together"
        elif by.conditions and _same(by, row):
            text = f'never reached: "{by.name}" above it has the same conditions and no limit'
        else:
            text = f'never reached: "{by.name}" above it has no limit and takes all its lines'
        yield LintFinding("warning", "shadowed", row_name(row), f"{text}; probably it was meant to stand above")


def _same(one: PriceRow, other: PriceRow) -> bool:
    def key(row: PriceRow) -> Any:
        asked = {condition.fact: (condition.excludes, frozenset(condition.wanted)) for condition in row.conditions}
        return row.bands, asked

    return bool(key(one) == key(other))


def _meets(case: LintCase, one: PriceRow, other: PriceRow) -> bool:
    box, held = case.lines.boxes[one], case.lines.boxes[other]
    return box is not None and held is not None and case.lines.meet(box, held) is not None


def _covers(case: LintCase, one: PriceRow, other: PriceRow) -> bool:
    box, held = case.lines.boxes[one], case.lines.boxes[other]
    if box is None or held is None or case.lines.remains(held, [box]):
        return False
    return all(
        not one.bands or one.bands & holds for holds in case.walk.first if not other.bands or other.bands & holds
    )


# --- limits


def limits(case: LintCase) -> Iterator[LintFinding]:
    """Rows whose limit is reached already when their turn comes, or never."""
    alive: set[PriceRow] = set()
    by: dict[PriceRow, PriceRow] = {}
    for occurs in case.chains:
        for place, row in enumerate(occurs.rows[:64]):
            before = next((one for one in occurs.rows[:place] if _exhausts(one, row)), None)
            if before is None:
                alive.add(row)
            else:
                by.setdefault(row, before)
    for row, before in by.items():
        if row not in alive:
            kind = next((_kind(case, occurs) for occurs in case.chains if row in occurs.rows), None)
            text = (
                f'never prices: it ends {_after(row, kind)}, and "{before.name}" above it ends {_after(before, kind)}'
            )
            yield LintFinding(
                "warning", "limit-reached", row_name(row), f"{text}; limits of tiers count from the beginning"
            )
    for row in case.tariff.rows:
        kind = next((_kind(case, occurs) for occurs in case.chains if row in occurs.rows), None) if row.first else None
        if kind is not None and row.first > LARGEST_USE[kind]:
            text = f"its `first` of {quantity(kind, row.first)} is more than one line can use"
            yield LintFinding("warning", "limit-never", row_name(row), f"{text} ({quantity(kind, LARGEST_USE[kind])})")
        if row.tally is not None and row.below == 0:
            text = f'never prices: "{row.tally.name}" has its limit of 0 from the beginning'
            yield LintFinding("warning", "limit-reached", row_name(row), text)


def _exhausts(before: PriceRow, row: PriceRow) -> bool:
    """Whichever limit ends the row before, this one has it too, and no larger."""
    said = []
    if before.first:
        said.append(0 < row.first <= before.first)
    if before.tally is not None:
        said.append(row.tally is before.tally and _no_more(row.below, before.below))
    if bundles := _bundles(before):
        said.append(bundles <= _bundles(row))
    return bool(said) and all(said)


def _bundles(row: PriceRow) -> set[Hashable]:
    return {bundle for element in row.elements if (bundle := element.included()) is not None}


def _no_more(limit: Any, than: Any) -> bool:
    if isinstance(limit, Column) or isinstance(than, Column):
        return repr(limit) == repr(than)
    return bool(limit <= than)


RULES: Final[tuple[Rule, ...]] = (gaps, unpriced, ends, never, shadowed, limits)
