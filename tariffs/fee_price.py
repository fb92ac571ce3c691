"""What a period of a recurring fee costs: changed, taxed, exchanged, the part that is charged, rounded once
(charging.md section 21)."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from tariffs import phrases
from tariffs.fees import FeeRule
from tariffs.inputs import Inputs
from tariffs.notation import Column
from tariffs.stated_tags import with_stated
from tariffs.tariff import Tariff
from tariffs.terms import CurrencyExchange
from tariffs.units import EXACT_MAX, MICRO


class FeePrice(NamedTuple):
    """What a period costs."""

    micro: int
    terms: str
    """Tax and exchange rate, as the ledger keeps them."""
    trace: tuple[tuple[str, Fraction], ...]
    """How it came about: name, amount after it."""
    whole: Fraction = Fraction(0)
    """What a whole period costs, not rounded, in currency units."""


def applies(rule: FeeRule, tariff: Tariff, inputs: Inputs) -> bool:
    """Whether this subscriber pays it."""
    facts = tariff.fee_view.facts(inputs, None, None)
    return all(condition.holds(facts) for condition in rule.conditions)


def fee_price(
    rule: FeeRule,
    tariff: Tariff,
    inputs: Inputs,
    at_ms: int,
    part: Fraction = Fraction(1),
    exchange: CurrencyExchange | None = None,
) -> FeePrice:
    """What a part of a period costs that begins at an instant. ValueError where it has no price.

    tariff:  as promotions of the subscriber change it
    """
    facts = tariff.fee_view.facts(inputs, None, None)
    changes = tariff.changes(facts, tariff.schedule(inputs).at(at_ms).holds)
    terms = tariff.fee_terms(changes, facts, inputs, exchange, rule.written.tags)

    def column(of: Column) -> str:
        found = inputs.attributes.get(of.name)
        if not found:
            raise ValueError(f"expected the subscriber to have the attribute {of.name}")
        return found

    exact: Fraction = rule.written.price.value(column)
    trace = [(f"{rule.name} as written", exact), *terms.trace(exact, fee=True)]
    exact = whole = trace[-1][1]
    if part != 1:
        exact *= part
        trace.append((f"{part.numerator} of {part.denominator} parts of the period", exact))
    rounded = rule.rounded(exact)
    if rounded != exact:
        how = f"rounded {phrases.DIRECTIONS[rule.rounding]} to {phrases.amount(rule.round_to)}"
        trace.append((how, rounded))
    micro = int(rounded * MICRO)
    if micro > EXACT_MAX:
        raise ValueError(f"expected at most 2^53 micro-units, not {phrases.amount(rounded)}")
    return FeePrice(micro, with_stated(str(terms), inputs), tuple(trace), whole)
