"""The linter: what is legal in a tariff and probably not meant.

A document that loads is valid; here it is compared with what a product manager usually wants. Nothing is guessed from
names: a rule looks at which lines there are (regions.py), which rows price them over two years (walk.py), and what
these make of a price (build_ladder.py). Rules only read; each is a function over a `LintCase`, written out in the
`RULES` of its file: rows.py, counters.py, tables.py, times.py, money.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from tariffs.lint import counters, fees, money, rows, tables, times
from tariffs.lint.case import CHAINS_MAX, LintCase, LintFinding, Rule
from tariffs.tariff import Tariff

SEVERITIES: Final = ("error", "warning", "note")
"""The worst first."""

MEANS: Final = {
    "gap": "at some time no row matches a line that one matches at other times",
    "gap-zone": "zones of a table without a row, while others have one",
    "unpriced": "lines of a service that no row is for",
    "ends": "all rows of a line have a limit: nothing is granted after the last",
    "shadowed": "earlier rows without a limit take all lines of a row",
    "limit-reached": "a row's limit is reached when its turn comes",
    "limit-never": "a row's limit that one line cannot reach",
    "never": "a row that no line can match",
    "impossible": "a value that no line has",
    "duplicate": "a value that another one of the condition contains",
    "not-unknown": "a `not` that holds for lines of which the fact is not known, too",
    "counter-unread": "a counter no row ends by",
    "counter-unfed": "a counter no row moves",
    "counter-elsewhere": "a row ends by a counter that its own lines do not move",
    "counter-by": "`by` a fact with too many values, one value, or none",
    "free-uncounted": "free use that no counter of units counts",
    "free-counted": "free use that moves the counter by which another row ends",
    "block-outlives": "a block bought under a period's bound that is used in the next one",
    "change-never": "a surcharge or discount that never applies",
    "tax-never": "a tax scheme that never counts",
    "prefix-dialled": "a prefix as it is dialled, where numbers are in the form of E.164",
    "prefix-redundant": "a prefix that says what the next shorter one says",
    "prefix-unused": "a prefix whose ten continuations are all there",
    "prefix-outlier": "a price unlike those of the other prefixes of the zone",
    "table-unused": "a table no condition looks at",
    "band-never": "a band that does not hold in ten years",
    "band-always": "a band that always holds",
    "band-same": "bands that hold at the same times",
    "band-unused": "a band nothing looks at",
    "clock-change": "a price that changes inside an hour that is shown twice or never",
    "visited-unknown": "a network of no country whose clock is known, where days are the visited country's",
    "visited-spread": "a network of a country with several clocks, where days are those of its capital",
    "zone-idle": "a zone of a counter whose periods begin at no midnight",
    "valid-from": "the tariff begins in the middle of a band or of a counter's period",
    "grants-end": "a band change that no grant runs over",
    "no-dearest": "a band change that no grant runs over, although only the price changes",
    "rating": "rating fails",
    "units": "rating fails: rows of one line count in different units",
    "steps": "rating fails: too many steps",
    "too-large": "rating fails: amounts of more than 2^53 micro-units",
    "ignored": "a setting of a later row that only the first one's counts of",
    "grant-block": "a grant smaller than a block that is paid whole",
    "grant-quantum": "grants that end inside a paid block",
    "grant-maximum": "a smallest grant that the maximum charge never lets through",
    "minimum-large": "a minimum charge that a day of use does not reach",
    "setup-large": "a set-up fee above the maximum charge",
    "round-nothing": "rounding of what is never anything else",
    "round-charge": "a fee, minimum or maximum charge that is rounded",
    "round-parts": "lines of one service of which not all are rounded with their session, or not alike",
    "off-large": "more off than a day of use costs",
    "off-maximum": "as much off as the maximum charge, which is of what is left",
    "off-minimum": "a minimum charge that is due although something is off",
    "increment-large": "an increment of more than a hundred times what the price is for",
    "counter-large": "a counter of money that could pass 2^53 micro-units",
    "percent-attribute": "a percentage that an attribute may make too large",
    "discount-large": "a discount that leaves nothing",
    "fee-rounding": "a recurring fee that is finer than what it is rounded to",
    "fee-retry": "a recurring fee that is tried again only after its period",
    "fee-grace": "a grace as long as the period of its fee",
    "fee-buckets": "included units that fill half of the buckets of an account",
    "fee-blocked": "included units behind a blocker among them",
    "fee-priced": "included units with a price that pay before such without one",
    "fee-units": "included units that no row takes",
    "capped": "not all lines were looked at",
}
"""Rule -> what it finds."""


def capped(case: LintCase) -> Iterator[LintFinding]:
    """A finding for each part of the tariff that was too large to be checked completely."""
    if case.capped:
        text = (
            f"its conditions cross each other so often that not all lines were looked at (at most {CHAINS_MAX:,} chains"
        )
        yield LintFinding("note", "capped", "rows", f"{text} of rows): gaps and rows never reached may go unsaid")


RULES: Final[tuple[Rule, ...]] = (
    capped,
    *rows.RULES,
    *counters.RULES,
    *tables.RULES,
    *times.RULES,
    *money.RULES,
    *fees.RULES,
)


def lint(tariff: Tariff, at_ms: int | None = None) -> list[LintFinding]:
    """All findings, the worst first.

    at_ms:  from when on two years are looked at; unless given, from when it is valid on
    """
    case = LintCase(tariff, at_ms)
    return worst_first(dict.fromkeys(finding for rule in RULES for finding in rule(case)))


NEVER_PRICE: Final[tuple[Rule, ...]] = (rows.never, rows.shadowed, tables.dialled)


def never_price(tariff: Tariff, at_ms: int) -> list[LintFinding]:
    """Rows that price no line, and values no line has: the findings that publishing a tariff returns as warnings."""
    case = LintCase(tariff, at_ms)
    found = dict.fromkeys(finding for rule in NEVER_PRICE for finding in rule(case))
    return [finding for finding in found if finding.severity != "note"]


def worst_first(findings: Iterable[LintFinding]) -> list[LintFinding]:
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))
