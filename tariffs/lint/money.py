"""Money: ladders that cannot be made, amounts that could pass 2^53, settings of a row that fight each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any, Final, NamedTuple

from tariffs.draft import LARGEST_USE, LadderDraft, RatingVerdict
from tariffs.elements.element import TariffElement, WrittenMoney
from tariffs.ladder import STEPS_MAX, Ladder
from tariffs.lint.atoms import listed
from tariffs.lint.case import LintCase, LintFinding, Occurs, Rule, money_of, named_rows, row_name, unit_price
from tariffs.lint.regions import Box
from tariffs.match import ENDS
from tariffs.notation import Amount, Column, Given, Percent
from tariffs.phrases import amount, money, quantity
from tariffs.price import price_of
from tariffs.row import PriceRow
from tariffs.tariff import Guarded
from tariffs.terms import Change
from tariffs.units import EXACT_MAX, MICRO, Kind, TooLarge

RATED_MAX: Final = 2_000
"""Chains that are rated."""

A_DAY: Final = {Kind.OCTETS: 10 * 2**30, Kind.SECONDS: 86_400, Kind.UNITS: 1_000}
"""What a line uses in a day at most, for comparison with a minimum charge."""

PERCENT_MAX: Final = 1_000
"""What an attribute of a subscriber may say; see notation.Percent."""

LINES_MIN: Final = 100
"""Lines of the largest use that a counter of money should have room for."""


# --- ladders


def ladders(case: LintCase) -> Iterator[LintFinding]:
    """Chains that cannot be rated."""
    said = set()
    for occurs in case.chains[:RATED_MAX]:
        if not occurs.rows or occurs.rows in said:
            continue
        finding = _failing(case, occurs)
        if finding is not None:
            said.add(occurs.rows)
            yield finding


def _failing(case: LintCase, occurs: Occurs) -> LintFinding | None:

    def finding(rule: str, text: str) -> LintFinding:
        where = " + ".join([row_name(occurs.rows[0]), *(f'"{row.name}"' for row in occurs.rows[1:4])])
        return LintFinding("error", rule, where, f"rating fails (5031) for {case.of(occurs.region)}: {text}")

    try:
        drafts = case.drafts(occurs)
    except ValueError as bad:
        return finding("rating", str(bad))
    if drafts[0].verdict is RatingVerdict.PRICED:
        for units in (_units(occurs.rows, drafts, "unit"), _units(occurs.rows, drafts, "beside_unit")):
            if len(units) > 1:
                counted = listed([f'"{row.name}" counts {kind.name.lower()}' for kind, row in units.items()])
                return finding("units", f"{counted}, and one line can only count one")
        steps = sum(len(draft.steps) for draft in drafts) + (not occurs.rows[-1].ends)
        if steps > STEPS_MAX:
            return finding("steps", f"{len(drafts)} rows make {steps} steps, and a ladder has at most {STEPS_MAX}")
    rated = case.make(occurs)
    if rated is not None and rated.verdict is RatingVerdict.RATING_FAILED:
        return finding("rating", rated.why.partition(": ")[2])
    return None


def _units(rows: tuple[PriceRow, ...], drafts: list[LadderDraft], field: str) -> dict[Kind, PriceRow]:
    found: dict[Kind, PriceRow] = {}
    for row, draft in zip(rows, drafts, strict=True):
        unit = getattr(draft, field)
        if unit is not None and draft.verdict is RatingVerdict.PRICED:
            found.setdefault(unit, row)
    return found


# --- settings that fight


def ignored(case: LintCase) -> Iterator[LintFinding]:
    """Of the rows that price a line together one says what is due at least and at most, one the fee, and the first how
    much is granted."""
    counts: dict[tuple[PriceRow, str], tuple[TariffElement, PriceRow | None]] = {}
    for occurs in case.chains:
        for place, row in enumerate(occurs.rows[:STEPS_MAX]):
            for element in row.elements:
                if not element.said_once:
                    continue
                earlier = _asked_before(occurs.rows[:place], element)
                if earlier is None:
                    counts[row, element.key] = element, None
                else:
                    counts.setdefault((row, element.key), (element, earlier))
    for (row, _), (element, by) in counts.items():
        if by is None or _written(row, element.key) == _written(by, element.key):
            continue
        also = " and says what counts" if not any(asked.beside for asked in element.written_money()) else ""
        why = f'"{by.name}" comes first{also}{_against(element, by)}'
        yield LintFinding("warning", "ignored", row_name(row), f"its `{element.key}` is never looked at: {why}")


def _asked_before(rows: Sequence[PriceRow], element: TariffElement) -> PriceRow | None:
    """Of the rows above, the one that is asked instead."""
    if element.by_first_row:
        return rows[0] if rows else None
    return next((row for row in rows if any(one.said_once == element.said_once for one in row.elements)), None)


def _written(row: PriceRow, key: str) -> list[str]:
    one = next((one for one in row.elements if one.key == key), None)
    values = [getattr(one, field) for field in one.__struct_fields__] if one is not None else []
    return [repr(value.written) if isinstance(value, Given) else repr(value) for value in values]


def _against(element: TariffElement, by: PriceRow) -> str:
    """A charge of at most that is below what is due at least."""
    most = next((asked.price.written for asked in element.written_money() if asked.bound == "most"), None)
    least = next((asked.price.written for _, asked in money_of(by) if asked.bound == "least"), None)
    if most is None or least is None or isinstance(most, Column) or isinstance(least, Column) or most >= least:
        return ""
    return f"; and {amount(most)} at most is below {amount(least)} at least"


def settings(case: LintCase) -> Iterator[LintFinding]:
    """Of one row, by the price it has for the plainest of its lines."""
    said = set()
    for occurs in case.chains[:RATED_MAX]:
        for place, row in enumerate(occurs.rows):
            if row in said or any(column.place == "subscriber" for column in row.columns()):
                continue
            said.add(row)
            try:
                draft = case.drafts(occurs._replace(rows=(row,)))[0]
            except ValueError:
                continue  # said by `ladders`
            for rule, text in (*_grants(row, draft), *_charges(row, draft, alone=not place), *_increments(row, draft)):
                yield LintFinding("warning", rule, row_name(row), text)


def sums(case: LintCase) -> Iterator[LintFinding]:
    """Lines that one session may have, and that are not all rounded together."""
    of_service: dict[str, dict[tuple[int, int] | None, PriceRow]] = {}
    for occurs in case.chains[:RATED_MAX]:
        try:
            drafts = case.drafts(occurs)
        except ValueError:
            continue  # said by `ladders`
        if drafts and drafts[0].verdict is RatingVerdict.PRICED and any(one.steps or one.beside for one in drafts):
            said = next((one for one in drafts if one.round is not None), None)
            rounding = said.round if said is not None and said.round_session else None
            of_service.setdefault(occurs.region.service, {}).setdefault(rounding, occurs.rows[0])
    for service, found in of_service.items():
        if len(found) > 1:
            names = listed([f'"{row.name}"' for row in found.values()])
            text = f"lines of {names} may be of one session, and are not rounded together: what it costs is not rounded"
            yield LintFinding("warning", "round-parts", f'service "{service}"', text)


def _grants(row: PriceRow, draft: LadderDraft) -> Iterator[tuple[str, str]]:
    if draft.grant is None or not draft.steps:
        return
    block = draft.steps[-1].block
    _, _, minimum, quantum = draft.grant
    unit = draft.unit
    for key, size in (("minimum", minimum), ("quantum", quantum)):
        if 0 < size < block:
            text = f"`grant.{key}` of {quantity(unit, size)} is less than one block, which is paid whole"
            yield "grant-block", f"{text}: probably {quantity(unit, block)} was meant"
        elif key == "quantum" and size % block:
            text = (
                f"`grant.quantum` of {quantity(unit, size)} is no multiple of the increment of {quantity(unit, block)}"
            )
            near = -(-size // block) * block
            yield "grant-quantum", f"{text}: grants end inside a paid block; {quantity(unit, near)} would not"
    if draft.most_ends and minimum and draft.most:
        cost = _cost(draft, minimum)
        if cost is not None and cost > draft.most:
            text = f"`grant.minimum` of {quantity(unit, minimum)} costs {money(cost)}, and the line ends at"
            yield "grant-maximum", f"{text} {money(draft.most)}: no whole grant is ever given"


def _cost(draft: LadderDraft, units: int) -> int | None:
    """Of so many units, without fee, minimum and maximum; None where money does not pay or it is too much."""
    if any(step.kind != Kind.MONEY for step in draft.steps):
        return None
    try:
        return price_of(Ladder(tuple(draft.steps)), units)
    except TooLarge:
        return None


def _charges(row: PriceRow, draft: LadderDraft, *, alone: bool) -> Iterator[tuple[str, str]]:
    if draft.fee and draft.most and draft.fee > draft.most:
        text = f"the set-up fee of {money(draft.fee)} is larger than the maximum charge of {money(draft.most)}"
        yield "setup-large", f"{text}, which does not contain it: probably not meant"
    yield from _rounding(draft)
    if draft.off and 0 < draft.most <= draft.off:
        text = f"{money(draft.off)} is off, and of what is left at most {money(draft.most)} is charged"
        yield (
            "off-maximum",
            f"{text}: a line reaches its maximum at {money(draft.most + draft.off)}; probably not meant",
        )
    if draft.off and draft.least:
        text = f"the minimum charge of {money(draft.least)} is due although {money(draft.off)} is off"
        yield "off-minimum", f"{text}: no line costs nothing"
    if draft.unit is None or not (draft.least or draft.off) or not alone or not row.ends:
        return
    day = A_DAY[draft.unit]
    cost = _cost(draft, day)
    if cost is not None and draft.off > cost:
        text = f"{money(draft.off)} is off, more than {quantity(draft.unit, day)} cost, {money(cost)}"
        yield "off-large", f"{text}: in effect it is free; is it in the right unit?"
    if cost is not None and draft.least > cost:
        text = (
            f"the minimum charge of {money(draft.least)} is more than {quantity(draft.unit, day)} cost, {money(cost)}"
        )
        yield "minimum-large", f"{text}: in effect a price for each line; is it in the right unit?"


def _rounding(draft: LadderDraft) -> Iterator[tuple[str, str]]:
    if draft.round is None:
        return
    to, _ = draft.round
    if all(step.kind != Kind.MONEY or step.price % (to * step.per) == 0 for step in (*draft.steps, *draft.beside)):
        yield (
            "round-nothing",
            f"each of its blocks costs a multiple of {money(to)}, to which it is rounded: it never is",
        )
    if draft.round_session:  # these are in the sum, as they are
        return
    charges = ("set-up fee", draft.fee), ("minimum charge", draft.least), ("maximum charge", draft.most)
    for what, charge in charges:
        if charge % to:
            yield "round-charge", f"the {what} of {money(charge)} is rounded to a multiple of {money(to)}"


def _increments(row: PriceRow, draft: LadderDraft) -> Iterator[tuple[str, str]]:
    for element in row.elements:
        one = element.written_blocks()
        if one is None or one.increment is None:
            continue
        steps = draft.beside if one.beside else draft.steps
        block = max((step.block for step in steps), default=0)
        if block > 100 * one.per.amount:
            kind = one.per.kind
            text = (
                f"the increment of {quantity(kind, block)} is more than 100 times the {quantity(kind, one.per.amount)}"
            )
            yield "increment-large", f"{text} that the price is for: is a unit missing, or the wrong one named?"


# --- amounts that are too large


def amounts(case: LintCase) -> Iterator[LintFinding]:
    """Prices that pass 2^53 for the largest use once surcharges and tax are on them."""
    worst: dict[Kind, tuple[Fraction, PriceRow]] = {}
    for row in case.tariff.rows:
        box = case.lines.boxes[row]
        if box is None:
            continue
        for element, asked in money_of(row):
            price = _dearest(case, row, asked.price.written)
            if price is None:
                continue
            charge, what = _largest(box, price, element, asked)
            yield from _too_large(case, row, charge, what)
            if asked.per is not None:
                kind, most = asked.per.kind, _dearer(case, row, charge, 0)[0] * charge.scale
                if kind not in worst or most > worst[kind][0]:
                    worst[kind] = most, row
    yield from _sums(case, worst)


class WrittenCharge(NamedTuple):
    """Money as written, of the lines of a box."""

    box: Box
    price: Fraction
    scale: Fraction
    """Micro-units that are due for each unit of it."""
    fees: bool | None
    """Which surcharges are on it; None: none."""


FEES: Final = {"price": False, "fee": True, None: None}


def _largest(box: Box, price: Fraction, element: TariffElement, asked: WrittenMoney) -> tuple[WrittenCharge, str]:
    """What is due for the largest use, and its name."""
    fees = FEES[asked.changes]
    if asked.per is None:
        return WrittenCharge(box, price, Fraction(MICRO), fees), f"{element.key} of {amount(price)}"
    kind, units = asked.per.kind, asked.per.amount
    scale = Fraction(MICRO * LARGEST_USE[kind], units)
    what = f"{amount(price)} for {quantity(kind, units)}, and {quantity(kind, LARGEST_USE[kind])} of use"
    return WrittenCharge(box, price, scale, fees), what


def _dearest(case: LintCase, row: PriceRow, written: Amount | Column) -> Fraction | None:
    """The largest value it has for any line of the row; None where an attribute says it."""
    if not isinstance(written, Column):
        return written
    condition = next((one for one in row.conditions if one.fact.startswith(f"{written.place} ")), None)
    if written.place not in ENDS or condition is None:
        return None
    zones = case.dearest(condition.fact.partition(" ")[2], written.name)
    wanted = (
        [zone for zone in zones if condition.holds({condition.fact: zone})] if condition.prefixes else condition.exact
    )
    return max((zones[zone] for zone in wanted if zone in zones), default=None)


def _too_large(case: LintCase, row: PriceRow, charge: WrittenCharge, what: str) -> Iterator[LintFinding]:
    """For a line there is, and for a subscriber there may be."""
    for attribute in (0, PERCENT_MAX):
        price, by = _dearer(case, row, charge, attribute)
        if by and price * charge.scale > EXACT_MAX:
            text = (
                f"{what}: with {listed(by)} that passes 2^53 micro-units ({EXACT_MAX // MICRO:,}): rating fails (5031)"
            )
            if attribute:
                text += f" for a subscriber whose attribute says {PERCENT_MAX} percent"
            yield LintFinding("warning" if attribute else "error", "too-large", row_name(row), text)
            return


def _dearer(case: LintCase, row: PriceRow, charge: WrittenCharge, attribute: int) -> tuple[Fraction, list[str]]:
    """What surcharges and a tax make of it, that there is one line for; and their names."""
    box, price, by = charge.box, charge.price, []
    times = {holds for holds in case.walk.first if not row.bands or row.bands & holds}
    for sign, one in case.parts.changes:
        if sign < 0 or one.what.fees is not charge.fees:
            continue
        met, then = _together(case, box, times, one)
        more = one.what.apply(price, charge.price, 1, {one.what.attribute: str(attribute)})
        if met is None or more <= price:
            continue
        box, times, price = met, then, more
        by.append(f'"{one.what.name}"')
        if not one.what.stack:
            break
    taxes = [tax.what for tax in case.parts.taxes if not tax.what.included and _together(case, box, times, tax)[0]]
    if taxes:
        tax = max(taxes, key=lambda tax: int(tax.ppm))
        price += price * Fraction(tax.ppm, MICRO)
        by.append(f'"{tax.name}"')
    return price, by


def _together(case: LintCase, box: Box, times: set[int], one: Guarded) -> tuple[Box | None, set[int]]:
    """The lines and times that are left where this holds too."""
    other = case.lines.box(one.conditions)
    then = {holds for holds in times if not one.bands or one.bands & holds}
    if other is None or not then:
        return None, set()
    return case.lines.meet(box, other), then


def _sums(case: LintCase, worst: dict[Kind, tuple[Fraction, PriceRow]]) -> Iterator[LintFinding]:
    for tally in case.parts.tallies.values():
        for most, row in worst.values() if tally.kind == Kind.MONEY else ():
            many = EXACT_MAX // int(most) if most >= 1 else LINES_MIN
            if many < LINES_MIN and case.lines.box(tally.conditions) is not None:
                text = f'{many} lines of the largest use of "{row.name}" in one period ({tally.period})'
                text += " pass 2^53 micro-units: a shorter period has more room"
                yield LintFinding("note", "counter-large", f'counter "{tally.name}"', text)
                break


# --- discounts


def discounts(case: LintCase) -> Iterator[LintFinding]:
    """Discounts that leave nothing."""
    for fees in (False, True):
        yield from _whole_list(case, fees)
    for sign, one in case.parts.changes:
        change: Change = one.what
        where = f'{"surcharge" if sign > 0 else "discount"} "{change.name}"'
        if change.attribute:
            text = f"subscriber.{change.attribute} may say up to {PERCENT_MAX} percent"
            more = (
                ": from 100 on the price is 0"
                if sign < 0
                else f": the price would be {PERCENT_MAX // 100 + 1} times as high"
            )
            yield LintFinding("note", "percent-attribute", where, text + more)
        elif sign < 0 and change.percent is not None and _percent(change) > 100:
            text = f"{amount(_percent(change))} percent is more than there is: the price is 0"
            yield LintFinding("warning", "discount-large", where, f"{text}; 100 would say so")
        elif sign < 0 and change.amount is not None and not change.fees:
            yield from _eaten(case, one, where)


def _whole_list(case: LintCase, fees: bool) -> Iterator[LintFinding]:
    """Parts of the list price that come to more than all of it, each of them less."""
    box: Box = {}
    times, total, by = set(case.walk.first), Fraction(0), list[str]()
    for sign, one in case.parts.changes:
        change: Change = one.what
        if sign > 0 or change.fees is not fees or change.of != "list" or change.attribute:
            continue
        met, then = _together(case, box, times, one)
        if met is None:
            continue
        box, times, total = met, then, total + _percent(change)
        by.append(f'"{change.name}"')
        if not change.stack:
            break
    if total > 100 and len(by) > 1:
        text = f"with {listed(by[:-1])} it makes {amount(total)} percent of the list price: the price is 0"
        yield LintFinding("warning", "discount-large", f"discount {by[-1]}", text)


def _percent(change: Change) -> Percent:
    assert change.percent is not None
    assert isinstance(change.percent.written, Percent)
    return change.percent.written


def _eaten(case: LintCase, one: Guarded, where: str) -> Iterator[LintFinding]:
    """An amount that is all of the price of each row it applies to."""
    box = case.lines.box(one.conditions)
    met: list[tuple[PriceRow, Any]] = []
    for row in case.tariff.rows:
        held, asked = case.lines.boxes[row], unit_price(row)
        if asked is not None and box is not None and held is not None and case.lines.meet(box, held) is not None:
            met.append((row, _dearest(case, row, asked.price.written)))
    if met and all(price is not None and 0 < price <= one.what.amount for _, price in met):
        text = f"{amount(one.what.amount)} off leaves nothing of the price of {named_rows([row for row, _ in met[:6]])}"
        yield LintFinding("warning", "discount-large", where, f"{text}: amounts are for each `per` of the price")


RULES: Final[tuple[Rule, ...]] = (ladders, ignored, settings, sums, amounts, discounts)
