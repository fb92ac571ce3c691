"""Time: bands that never or always hold or are the same, prices that jump where the clock is moved, beginnings in the
middle of something, and band changes no grant can run over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from tariffs.calendar import DAY_S, OtherTimes, TimeBand, zone
from tariffs.draft import LadderDraft, RatingVerdict
from tariffs.lint.atoms import listed
from tariffs.lint.case import LintCase, LintFinding, Occurs, Rule, named_rows, price_text
from tariffs.lint.regions import Region
from tariffs.match import Condition
from tariffs.row import PriceRow
from tariffs.units import Kind
from tariffs.visited_zones import CLOCKS, COUNTRIES, MCC_DIGITS, SPREAD, VISITED_ZONE

PAIRS_MAX: Final = 1_000
"""Band changes that are rated on both sides."""


# --- bands


def bands(case: LintCase) -> Iterator[LintFinding]:
    """Bands that say nothing."""
    walk = case.walk
    used = 0
    for bits in (*(row.bands for row in case.tariff.rows), *(one.bands for _, one in case.parts.changes)):
        used |= bits
    named = {one for place, band in enumerate(walk.bands) if used >> place & 1 for one in band_names(band)}
    held = set(walk.first)
    for place, name in enumerate(walk.names):
        where, bit = f'band "{name}"', 1 << place
        if isinstance(walk.bands[place], OtherTimes):
            continue  # what it says, its bands say
        if walk.never & bit:
            text = f"never holds in the ten years from {walk.when(walk.from_ms)}: past dates, or an empty calendar?"
            yield LintFinding("warning", "band-never", where, text)
            continue
        if name not in named:
            yield LintFinding("note", "band-unused", where, "nothing looks at this band")
        if all(holds & bit for holds in held):
            yield LintFinding("note", "band-always", where, "holds at all times: the same as no `time`")
            continue
        same = [
            other
            for further, other in enumerate(walk.names[place + 1 :], start=place + 1)
            if not isinstance(walk.bands[further], OtherTimes)
            and all(bool(holds & bit) == bool(holds >> further & 1) for holds in held)
        ]
        if same:
            others = listed([f'"{other}"' for other in same])
            yield LintFinding(
                "warning", "band-same", where, f"holds at exactly the same times as {others} in the next two years"
            )


def band_names(band: TimeBand) -> list[str]:
    """The band, or those whose other times it is."""
    return [one.name for one in band.of] if isinstance(band, OtherTimes) else [band.name]


# --- where the clock is moved


def folds(case: LintCase) -> Iterator[LintFinding]:
    """Band edges in an hour that is shown twice, or never."""
    walk = case.walk
    if walk.account or not walk.bands:
        return
    found: dict[tuple[int, int, int, bool], list[int]] = {}
    for fold in walk.folds():
        for edge_ms, before, after in walk.edges(fold):
            clock_s = edge_ms // 1_000 % DAY_S
            found.setdefault((clock_s, before, after, fold.twice), []).append(fold.at_ms)
    for (clock_s, before, after, twice), moved in found.items():
        prices = _prices(case, before, after)
        if prices is None:
            continue
        edge = f"{clock_s // 3_600:02}:{clock_s // 60 % 60:02}"
        names = listed([f'"{name}"' for name in walk.named(before ^ after)])
        shown = "is shown twice" if twice else "is never shown"
        again = "there and back again" if twice else "where the clock is moved"
        more = f", and {len(moved)} times in two years" if len(moved) > 1 else ""
        text = (
            f"its edge at {edge} lies in the hour that {shown} at {walk.when(moved[0])}{more}: the price goes {again},"
            f" {prices[0]} before the edge and {prices[1]} after it"
        )
        yield LintFinding("warning", "clock-change", f"band {names}", text)


def _prices(case: LintCase, before: int, after: int) -> tuple[str, str] | None:
    """Of the first line that costs another price on the other side; None: none does."""
    for region in case.lines.regions:
        facts = case.lines.facts(region.box)
        chains = [case.tariff.chain(facts, holds) for holds in (before, after)]
        if chains[0] == chains[1]:
            continue
        texts = []
        for chain in chains:
            rows = chain.rows
            try:
                terms = case.tariff.terms(chain, facts, case.inputs(facts), None)
                texts.append(_price([row.draft(region.service, facts, terms) for row in rows[:1]]))
            except ValueError:
                texts.append("no price")
        if texts[0] != texts[1]:
            names = [f" ({named_rows(chain.rows[:1])})" if chain.rows else "" for chain in chains]
            return texts[0] + names[0], texts[1] + names[1]
    return None


def _price(drafts: list[LadderDraft]) -> str:
    if not drafts:
        return "no price"
    draft = drafts[0]
    if draft.verdict is not RatingVerdict.PRICED:
        return str(draft.verdict.value)
    return "free" if draft.free else price_text(draft.steps[-1], draft.unit)


# --- beginnings


def beginnings(case: LintCase) -> Iterator[LintFinding]:
    """A tariff that begins in the middle of a band or of a counter's period."""
    from_ms, walk = case.tariff.from_ms, case.walk
    if from_ms <= 0 or walk.account:
        return
    before, now = walk.schedule.at(from_ms - 1).holds, walk.schedule.at(from_ms).holds
    midnight = walk.when(from_ms)[15:23] == "00:00:00"
    inside = [
        name
        for place, name in enumerate(walk.names)
        if before & now & 1 << place and (not midnight or walk.bands[place].tails)
    ]
    if inside:
        names = listed([f'"{name}"' for name in inside])
        text = f"{walk.when(from_ms)} is in the middle of {names}: prices change there, inside the band"
        yield LintFinding("note", "valid-from", "valid_from", text)
    for tally in case.parts.tallies.values():
        if tally.zone in CLOCKS:
            continue
        _, begin_ms, until_ms = tally.period.at(zone(tally.zone) if tally.zone else walk.zone, from_ms)
        if until_ms and begin_ms < from_ms:
            text = (
                f'is in the middle of a period of "{tally.name}" ({tally.period}: {walk.when(begin_ms)} to'
                f" {walk.when(until_ms)}): its whole limit is there for what is left of it"
            )
            yield LintFinding("note", "valid-from", "valid_from", f"{walk.when(from_ms)} {text}")


# --- the clock of the visited country


def visited(case: LintCase) -> Iterator[LintFinding]:
    """Networks whose days are not what one may think, and zones that say nothing."""
    tallies = case.parts.tallies.values()
    for tally in tallies:
        if tally.zone and not tally.moves:
            text = f"`zone` says nothing: a period of {tally.period} does not begin at a midnight"
            yield LintFinding("note", "zone-idle", f'counter "{tally.name}"', text)
    clocks = {case.parts.zone} if case.parts.bands else set()
    if VISITED_ZONE not in clocks | {tally.zone or case.parts.zone for tally in tallies if tally.moves}:
        return
    guarded: list[Any] = [*case.tariff.rows, *tallies, *(one for _, one in case.parts.changes), *case.parts.taxes]
    asked = [one for each in guarded for one in each.conditions if one.fact == "visited" and not one.excludes]
    for code in dict.fromkeys(code for one in asked for code in _country_codes(one)):
        where, (country, named) = f"visited {code}*", COUNTRIES.get(code, ("", ""))
        if not country:
            text = "is of no country whose clock is known: days and bands are those of the account's zone there"
            yield LintFinding("warning", "visited-unknown", where, text)
        elif country in SPREAD:
            text = f"clocks of {country} show different times: days and bands are those of {named} in all of it"
            yield LintFinding("note", "visited-spread", where, text)


def _country_codes(condition: Condition) -> Iterator[str]:
    """As far as its values name a country."""
    for value in condition.wanted:
        code = str(value)[:MCC_DIGITS]
        if len(code) == MCC_DIGITS and code.isascii() and code.isdecimal():
            yield code


# --- grants over a band change


def grants(case: LintCase) -> Iterator[LintFinding]:
    """Band changes at which grants end, whatever the network knows of them."""
    if not case.walk.bands:
        return
    changes = list(case.walk.changes())
    said: set[tuple[tuple[PriceRow, ...], tuple[PriceRow, ...]]] = set()
    for region in case.lines.regions:
        for one, other in changes:
            before, after = case.chain(region.rows, one.holds), case.chain(region.rows, other.holds)
            if before == after or not before or not after or (before, after) in said or len(said) > PAIRS_MAX:
                continue
            said |= {(before, after), (after, before)}
            yield from _change(case, region, before, after, other.from_ms)


def _change(
    case: LintCase, region: Region, before: tuple[PriceRow, ...], after: tuple[PriceRow, ...], at_ms: int
) -> Iterator[LintFinding]:
    rated = case.make_at(region, at_ms - 1_000)
    if rated is None or rated.verdict is RatingVerdict.RATING_FAILED:
        return  # said by money.rating
    where = f"{_row_names(before)} to {_row_names(after)}"
    when = f"{case.of(region)}, first at {case.walk.when(at_ms)}"
    reasons = _reasons(case, region, before, after)
    if reasons:
        text = f"grants end there ({when}): what differs is {listed(reasons)}"
        yield LintFinding("note", "grants-end", where, text)
    elif rated.beside is not None and rated.change_ms == at_ms:
        text = f"grants end there ({when}): what is charged by time and volume together is granted up to a change only"
        yield LintFinding("note", "grants-end", where, text)
    elif rated.unit != Kind.SECONDS and rated.change_ms == at_ms and not rated.dearest:
        text = (
            f"grants end there ({when}), also for clients that know Tariff-Time-Change: the two prices differ in more"
            " than their amount, so it cannot be said which is the dearer; the same blocks, limits and rounding help"
        )
        yield LintFinding("note", "no-dearest", where, text)


def _row_names(rows: tuple[PriceRow, ...]) -> str:
    return f'"{"+".join(row.name for row in rows)}"'


def _reasons(case: LintCase, region: Region, before: tuple[PriceRow, ...], after: tuple[PriceRow, ...]) -> list[str]:
    """What keeps a grant from running over; see build_ladder._goes_on."""
    sides = []
    for rows in (before, after):
        try:
            drafts = case.drafts(Occurs(region, rows, case.walk.spans[0]))
        except ValueError:
            return []
        priced = [draft for draft in drafts if draft.verdict is RatingVerdict.PRICED]
        sides.append(
            {
                "the answer": drafts[0].verdict,
                "the unit": {draft.unit for draft in priced if draft.unit is not None},
                "the unit beside": {draft.beside_unit for draft in priced if draft.beside_unit is not None},
                "whether it is free": drafts[0].free and len(drafts) == 1,
                "the grade": {draft.grade for draft in drafts},
            }
        )
    reasons = [reason for reason, value in sides[0].items() if value != sides[1][reason]]
    return reasons[:1] if "the answer" in reasons else reasons


RULES: Final[tuple[Rule, ...]] = (bands, folds, beginnings, visited, grants)
