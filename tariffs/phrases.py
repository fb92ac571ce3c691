"""Prices, quantities, instants and steps in words, for people. Exact: what is rounded for reading says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Final
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from tariffs.climb import Rung
from tariffs.ladder import Counted, Ladder, Step, StepDues
from tariffs.units import MICRO, Kind, Rounding, SumRounding, round_sum

DIGITS: Final = 12
"""Decimals shown of an amount that has no end."""

SIZES: Final = {
    Kind.OCTETS: ((2**30, "GB"), (2**20, "MB"), (2**10, "KB"), (1, "octets")),
    Kind.SECONDS: ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")),
    Kind.UNITS: ((1, "units"),),
}
SUM_DIRECTIONS: Final = {rounding: rounding.name.lower().replace("_", " ") for rounding in SumRounding}
DIRECTIONS: Final = {Rounding.UP: "up", Rounding.DOWN: "down", Rounding.HALF_UP: "half up"}


def amount(exact: Fraction) -> str:
    """ "0.0015", or "0.000833333333..." """
    scaled = exact.numerator * 10**DIGITS // exact.denominator
    whole = f"{scaled // 10**DIGITS}.{scaled % 10**DIGITS:0{DIGITS}}"
    if Fraction(whole) == exact:
        plain = whole.rstrip("0").rstrip(".")
        return plain or "0"
    return f"{whole}..."


def money(micro: int) -> str:
    return amount(Fraction(micro, MICRO))


def counted(count: int, name: str) -> str:
    """ "1 octet", "2 octets": of a name that stands for several."""
    return f"{count} {name.removesuffix('s') if count == 1 and name != 's' else name}"


def quantity(kind: int | None, units: int) -> str:
    """ "3 MB", "61 s": in the largest unit of which it is a whole number, unless that is one nobody would say."""
    for size, name in SIZES.get(Kind(kind), ()) if kind is not None and kind != Kind.MONEY else ():
        if units and units % size == 0 and ((size > 1 and units // size <= 9_999) or size == 1):
            if kind == Kind.SECONDS and size == 60 and units // size < 2:
                continue
            return counted(units // size, name)
    return counted(units, Kind(kind).name.lower() if kind is not None else "units")


def limit(kind: int | None, value: int, currency: str) -> str:
    """Of a counter."""
    return f"{money(value)} {currency}" if kind == Kind.MONEY else quantity(kind, value)


def rounded(to: int, rounding: int) -> str:
    return f"rounded {SUM_DIRECTIONS[SumRounding(rounding)]} to {money(to)}"


def bucket_prices(priced: int) -> list[str]:
    """What of the cost of a use is for prices that buckets of units have of their own (charging.md section 22)."""
    return [f"price of the units of buckets: {money(priced)}"] if priced else []


def session_sum(ladder: Ladder, exact: int) -> list[str]:
    """Of what all lines of the session came to; nothing where they are not rounded together."""
    if not ladder.sum_to:
        return []
    due = round_sum(exact, ladder.sum_to, ladder.sum_rounding)
    how = rounded(ladder.sum_to, ladder.sum_rounding)
    return [f"the session so far: {money(exact)}, {how} = {money(due)}"]


def instant(at_ms: int, zone: ZoneInfo) -> str:
    seconds, rest = divmod(at_ms, 1_000)
    text = datetime.fromtimestamp(seconds, zone).isoformat(sep=" ", timespec="seconds")
    return f"{text[:19]}.{rest:03}{text[19:]}" if rest else text


def step(step: Step, unit: int | None, zone: ZoneInfo, below: str) -> str:
    """What a step costs, who pays it and where it ends.

    below:  the limit of its counter
    """
    block = quantity(unit, step.block)
    if step.kind == Kind.MONEY:
        price = amount(Fraction(step.price, step.per * MICRO))
        text = f"{price} for each {block} begun"
        if step.per > 1:
            text += f", the sum rounded {DIRECTIONS[Rounding(step.rounding)]}"
    else:
        text = f"{quantity(step.kind, step.price)} of a bundle for each {block} begun"
    if step.single:
        text += ", each by one balance"
    ends = []
    if step.reach:
        ends.append(f"up to {quantity(unit, step.reach)} of the line")
    if step.counter:
        ends.append(f"while {step.counter} is below {below}")
    if step.until_ms:
        ends.append(f"until {instant(step.until_ms, zone)}")
    if step.stop:
        ends.append("but nothing is granted here")
    if step.ends_ms:
        ends.append(f"what is left of a block lapses at {instant(step.ends_ms, zone)}")
    if step.grade:
        ends.append(f"delivered as {step.grade}")
    return ", ".join([text, *ends])


def dues(due: StepDues) -> Iterator[str]:
    """What is due besides the steps."""
    if due.fee:
        yield f"set-up fee {money(due.fee)} with the first {'block that money pays' if due.waived else 'unit'}"
    if due.off:
        yield f"the first {money(due.off)} of what money pays is not charged"
    if due.least:
        yield f"what money pays costs at least {money(due.least)}"
    if due.most:
        then = "then nothing more is granted" if due.ends else "then it is free"
        yield f"what money pays costs at most {money(due.most)}, {then}"
    if due.to:
        yield f"the sum of what money pays is {rounded(due.to, due.rounding)}"


def ladder(ladder: Ladder, unit: int | None, zone: ZoneInfo, currency: str) -> list[str]:
    """All that is due, in order.

    currency:  the account's
    """
    text = []
    for number, due in enumerate(ladder.dues, start=1):
        at = [str(place) for place, one in enumerate(ladder.steps, start=1) if one.dues == number]
        where = f", from step {at[0]} to {at[-1]}" if len(at) < len(ladder.steps) else ""
        text += [f"{what}{where}" for what in dues(due)]
    for place, one in enumerate(ladder.steps, start=1):
        below = level(ladder, unit, one.counter, one.counter_reach, currency)
        text.append(f"{place}. {step(one, unit, zone, below)}")
    if ladder.sum_to:
        text.append(f"what the lines of the session cost together is {rounded(ladder.sum_to, ladder.sum_rounding)}")
    text += [f"counts into {count.key}" for count in ladder.counts]
    parts = [part.partition("=") for part in ladder.terms.split(";") if part]
    tags = [f"{name.removeprefix('tag.')} = {unquote(value)}" for name, _, value in parts if name.startswith("tag.")]
    money = [_money_term(name, value) for name, _, value in parts if not name.startswith("tag.")]
    if money:
        text.append(f"contains {', '.join(money)}")
    if tags:
        text.append(f"tagged {', '.join(tags)}")
    return text


def _money_term(name: str, value: str) -> str:
    """A tax, how it is rounded, an exchange rate."""
    if name == "tax":
        return f"tax of {Decimal(value).scaleb(-4).normalize():f} %"
    if name == "tax_to":
        to, _, rounding = value.partition("/")
        return f"which of the sum is {rounded(int(to), SumRounding[rounding.upper()])}"
    return f"{name}={value}"


def level(ladder: Ladder, unit: int | None, counter: str, value: int, currency: str) -> str:
    """What a counter has; a bare number where the line does not move it, because what it counts is not kept then."""
    what = next((count.what for count in ladder.counts if count.key == counter), None)
    if what is None:
        return str(value)
    return limit(Kind.MONEY if what == Counted.MONEY else unit, value, currency)


def stood(ladder: Ladder, unit: int | None, counters: Mapping[str, int], currency: str) -> list[str]:
    """Counters before a use."""
    return [f"{key} stood at {level(ladder, unit, key, value, currency)}" for key, value in counters.items()]


def rungs(ladder: Ladder, unit: int | None, trace: Sequence[Rung]) -> list[str]:
    """How a use was climbed."""
    text = []
    for rung in trace:
        if rung.step < 0:
            text.append(f"set-up fee: {money(rung.due)}")
            continue
        of = ladder.steps[rung.step]
        covered = quantity(unit, rung.units)
        if of.kind != Kind.MONEY:
            text.append(f"step {rung.step + 1}: {covered}, paid with {quantity(of.kind, rung.due)} of bundles")
            continue
        price = amount(Fraction(of.price, of.per * MICRO))
        blocks = "1 block" if rung.blocks == 1 else f"{rung.blocks} blocks"
        line = f"step {rung.step + 1}: {covered} in {blocks} at {price} = {money(rung.amount)}"
        text.append(line if rung.due == rung.amount else f"{line}, of which {money(rung.due)} is due")
    return text
