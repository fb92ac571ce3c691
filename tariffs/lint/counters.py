"""Counters that nobody reads or nothing feeds; surcharges, discounts and taxes that never apply."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from tariffs.counters import CounterRule
from tariffs.fees import FEE
from tariffs.lint.atoms import listed
from tariffs.lint.case import LintCase, LintFinding, Occurs, Rule, free_element, has_fee, money_of, row_name, unit_price
from tariffs.lint.regions import Box, Region
from tariffs.match import MANY_VALUED
from tariffs.row import PriceRow
from tariffs.tariff import Guarded
from tariffs.units import Kind

# --- counters


def counters(case: LintCase) -> Iterator[LintFinding]:
    """What is counted and by what."""
    units = [_units(case, occurs) for occurs in case.chains]
    for tally in case.parts.tallies.values():
        where = f'counter "{tally.name}"'
        read = [row for row in case.tariff.rows if row.tally is tally]
        if not read:
            text = "no row reads it with `below`; if another tariff of the account does, fine"
            yield LintFinding("note", "counter-unread", where, text)
        met = [
            (occurs, of)
            for occurs, of in zip(case.chains, units, strict=True)
            if occurs.rows and case.feeds(occurs.region, tally.conditions)
        ]
        feeding = [occurs for occurs, of in met if tally.kind in of]
        if not case.capped and not feeding and not case.parts.promotion:
            text = _unfed(tally, met)
            if read:
                text += f'; the limit of "{read[0].name}" is never reached'
            yield LintFinding("warning", "counter-unfed", where, text)
        elif feeding:
            yield from _elsewhere(tally, read, feeding, case)
        yield from _by(tally, where)


def _units(case: LintCase, occurs: Occurs) -> set[Kind]:
    """What lines of this chain count in, and money where some is due."""
    try:
        drafts = case.drafts(occurs)
    except ValueError:
        return set(Kind)  # nothing can be said
    money = any(unit_price(row) is not None or has_fee(row) for row in occurs.rows)
    return {draft.unit for draft in drafts if draft.unit is not None} | ({Kind.MONEY} if money else set())


def _unfed(tally: CounterRule, met: list[tuple[Occurs, set[Kind]]]) -> str:
    counts = tally.kind.name.lower()
    if not met:
        return f"no row is for lines that meet its conditions ({', '.join(map(repr, tally.conditions)) or 'none'})"
    found = {kind.name.lower() for _, of in met for kind in of if kind != Kind.MONEY}
    if not found:
        return f"it counts {counts}, but all lines that meet its conditions are free without `unit`, or not sold"
    return f"it counts {counts}, but lines that meet its conditions count {listed(sorted(found))}"


def _elsewhere(
    tally: CounterRule, read: list[PriceRow], feeding: list[Occurs], case: LintCase
) -> Iterator[LintFinding]:
    for row in read:
        own = [occurs for occurs in feeding if row in occurs.rows]
        if not own and row in case.used:
            text = f'it ends by "{tally.name}", which its own lines do not move'
            yield LintFinding("note", "counter-elsewhere", row_name(row), f"{text}; if others are meant to, fine")


def _by(tally: CounterRule, where: str) -> Iterator[LintFinding]:
    if not tally.by:
        return
    if tally.by in MANY_VALUED:
        text = f"one counter for each value of {tally.by}: as many as there are, each kept for {tally.period}"
        yield LintFinding("warning", "counter-by", where, f"{text}; probably a zone or a service was meant")
        return
    own = next((one for one in tally.conditions if one.fact == tally.by and not (one.prefixes or one.excludes)), None)
    if own is not None and len(own.exact) == 1:
        yield LintFinding(
            "note", "counter-by", where, f"`by` {tally.by} says nothing: `when` lets one value through ({own!r})"
        )
    elif tally.by not in ("subscriber", "service"):
        text = f"lines that name no {tally.by} share one counter"
        if not any(one.fact == tally.by for one in tally.conditions):
            yield LintFinding(
                "note", "counter-by", where, f"{text}; if they are not to be counted, name the values in `when`"
            )


def free_rows(case: LintCase) -> Iterator[LintFinding]:
    """Free use that a counter of units would count, if it were said in what."""
    said = set()
    tallies = [tally for tally in case.parts.tallies.values() if tally.kind != Kind.MONEY]
    for occurs in case.chains if tallies else ():
        free = [row for row in occurs.rows if (one := free_element(row)) is not None and one.counts_in() is None]
        if not free or free[0] in said or _units(case, occurs) - {Kind.MONEY}:
            continue
        met = [tally for tally in tallies if case.feeds(occurs.region, tally.conditions)]
        if met:
            said.add(free[0])
            names = listed([f'"{tally.name}"' for tally in met])
            text = f'its use is not counted in {names}: if it should be, say `free = {{ unit = "..." }}`'
            yield LintFinding("note", "free-uncounted", row_name(free[0]), text)


def outliving(case: LintCase) -> Iterator[LintFinding]:
    """Blocks bought under the bound of a period that are used in the next one."""
    said = set()
    for occurs in case.chains:
        for place, row in enumerate(occurs.rows):
            tally, lasting = row.tally, any(one.ends_with_period() is False for one in row.elements)
            if not lasting or tally is None or row in said or not isinstance(row.below, int):
                continue
            if not tally.moves and not tally.period.window_ms:
                continue
            try:
                step = case.drafts(occurs)[place].steps[-1]
            except ValueError:
                continue  # said by `ladders`
            size = step.price if tally.kind == Kind.MONEY else step.block * step.per
            if size < row.below * step.per or step.block == 1:  # nothing is left of a block of one
                continue
            said.add(row)
            text = (
                f'one block reaches the limit of "{tally.name}", and what is left of it is used in the next period too'
            )
            meant = ": if it should end with its own, say `per_period = true` in `flat`" if tally.moves else ""
            yield LintFinding("warning", "block-outlives", row_name(row), text + meant)


def free_counted(case: LintCase) -> Iterator[LintFinding]:
    """Free use that moves the counter by which another row ends, for lines of another kind."""
    for tally in case.parts.tallies.values():
        read = [row for row in case.tariff.rows if row.tally is tally and row in case.used]
        for occurs in case.chains if read else ():
            free = next((row for row in occurs.rows if free_element(row) is not None), None)
            element = free_element(free) if free is not None else None
            if (
                free is None
                or element is None
                or tally.kind is not element.counts_in()
                or not case.feeds(occurs.region, tally.conditions)
            ):
                continue
            if any(row in occurs.rows for row in read):
                continue
            text = f'its free use counts in "{tally.name}", by which "{read[0].name}" ends: if it should not, say so in'
            yield LintFinding("note", "free-counted", row_name(free), f"{text} `when` of the counter")
            break


# --- surcharges, discounts, taxes


def changes(case: LintCase) -> Iterator[LintFinding]:
    """Surcharges and discounts that never apply, or never after another that stands alone."""
    for place, (sign, one) in enumerate(case.parts.changes):
        where = f'{"surcharge" if sign > 0 else "discount"} "{one.what.name}"'
        box = case.lines.box(one.conditions)
        if box is None or (one.bands and not one.bands & ~case.walk.never):
            yield LintFinding("warning", "change-never", where, "never applies: its conditions or bands never hold")
            continue
        if one.what.fees and case.parts.fees:
            continue  # it changes recurring fees
        if case.tariff.rows and not case.capped and not _touches(case, one, box):
            what = "set-up fee" if one.what.fees else "price"
            text = f"never applies: no row that has a {what} is for its lines"
            yield LintFinding("warning", "change-never", where, text)
            continue
        alone = [
            other
            for other_sign, other in case.parts.changes[:place]
            if (other_sign, other.what.fees, other.what.stack) == (sign, one.what.fees, False)
            and _whenever(case, one, other)
        ]
        if alone and not case.lines.remains(
            box, [b for other in alone if (b := case.lines.box(other.conditions)) is not None]
        ):
            names = listed([f'"{other.what.name}"' for other in alone])
            text = f"never applies: {names} above it applies whenever it would, and has `stack = false`"
            yield LintFinding("warning", "change-never", where, text)


def _touches(case: LintCase, one: Guarded, box: Box) -> bool:
    """Some line pays a price that it changes."""

    def changed(row: PriceRow) -> bool:
        return has_fee(row) if one.what.fees else any(asked.changes == "price" for _, asked in money_of(row))

    return any(
        case.lines.meet(region.box, box) is not None and _at_some_time(case, one, region, changed)
        for region in case.lines.regions
    )


def _at_some_time(case: LintCase, one: Guarded, region: Region, changed: Any) -> bool:
    return any(map(changed, region.rows)) and any(
        (not one.bands or one.bands & holds) and any(map(changed, case.chain(region.rows, holds)))
        for holds in case.walk.first
    )


def _whenever(case: LintCase, one: Guarded, other: Guarded) -> bool:
    """At every time at which one holds, the other does."""
    return all(
        not other.bands or other.bands & holds for holds in case.walk.first if not one.bands or one.bands & holds
    )


def _of_fees(one: Guarded) -> bool:
    """Whether it may hold for a recurring fee, which is of a service of its own."""
    return all(condition.fact != "service" or condition.holds({"service": FEE}) for condition in one.conditions)


def taxes(case: LintCase) -> Iterator[LintFinding]:
    """Tax schemes that are never the first that holds."""
    before: list[Box] = []
    for tax in case.parts.taxes:
        where, box = f'tax "{tax.what.name}"', case.lines.box(tax.conditions)
        if box is None:
            yield LintFinding("warning", "tax-never", where, "never applies: its conditions never hold")
            continue
        if not case.lines.remains(box, before):
            text = "never applies: those above it hold whenever it does, and the first counts"
            yield LintFinding("warning", "tax-never", where, text)
        elif (
            not case.capped
            and not (case.parts.fees and _of_fees(tax))
            and not any(region.rows and case.lines.meet(region.box, box) is not None for region in case.lines.regions)
        ):
            yield LintFinding("warning", "tax-never", where, "never applies: no row is for its lines")
        before.append(box)


RULES: Final[tuple[Rule, ...]] = (counters, free_rows, free_counted, outliving, changes, taxes)
