"""The report of a tally as JSON, from which tables and pages are made. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from ocs.api.texts import time_of
from ocs.backoffice.amounts import money
from ocs.rerating.job import Job
from ocs.rerating.tally import Affected, Correction, MoneySums, RatingTally, Refusal, UsageSums, changes_of
from tariffs.whatif.replay import AGAIN, KEPT, NOT_SOLD, SAME, UNSAID

DAY_MS: Final = 86_400_000
HOWS: Final = {KEPT: "kept", SAME: "same", AGAIN: "again", NOT_SOLD: "not_sold", UNSAID: "not_said"}
PERCENTILES: Final = (1, 10, 50, 90, 99)
BINS_MAX: Final = 12
"""On each side of no change."""

OF_BOTH: Final = (
    "from", "to", "tariff", "instead_of", "only", "records", "unused", "priced_by", "pieces", "reasons",
)  # fmt: skip

LIMITS: Final = (
    "The use is as it was: nobody is assumed to use more or less, or to be granted otherwise, because of a price.",
    "A piece is rated again where the record says that one of these tariffs priced it. Who had which tariff at another"
    " time is not kept, so what another tariff of the subscriber would have priced instead is not looked for.",
    "Counters begin where the records say they stood. One that no record has seen, because the draft adds or renames"
    " it, begins at 0 with the first record.",
    "Units of bundles pay as far as they paid for the same line in the record: a bundle that was not used then is not"
    " there, and units that are not needed now are left over.",
    "What accounts could not have paid is reckoned by the balances in the ledger, and by today's credit limits.",
    "Prices in another currency are multiplied by the rate that is stored for the day now.",
    "What is charged beside a line, in another unit, is known only where it was charged beside it then.",
)


def report(job: Job, tariff: str, tally: RatingTally) -> dict[str, Any]:
    """The whole report. Money is decimal strings."""
    window = job.window
    limits = [*LIMITS]
    if tally.estimated:
        limits.append(
            f"{tally.estimated} lines of sessions had begun before the first record: where they stood was estimated."
        )
    return {
        "from": time_of(window.from_ms),
        "to": time_of(window.to_ms),
        "tariff": tariff,
        "instead_of": list(job.instead_of),
        "only": {name: one for name in ("account", "subscriber", "service") if (one := getattr(window, name))},
        "records": tally.records,
        "unused": tally.records - sum(tally.hows),
        "priced_by": _most_first(tally.priced_by),
        "pieces": {HOWS[how]: count for how, count in enumerate(tally.hows)},
        "currencies": {currency: _money(of) for currency, of in sorted(tally.money.items())},
        "refused": {
            "sessions": sum(tally.refused_sessions.values()),
            "by_reason": _most_first(tally.refused_sessions),
            "first": [_refusal(one) for one in tally.refusals],
        },
        "reasons": _most_first(tally.whys),
        "limits": limits,
    }


def corrections(job: Job, tariff: str, tally: RatingTally) -> dict[str, Any]:
    """The corrections that a rerating posts."""
    whole = report(job, tariff, tally)
    return {
        **{name: whole[name] for name in OF_BOTH},
        "sums": {currency: money(of.corrected) for currency, of in sorted(tally.money.items())},
        "corrections": [_correction(one) for one in tally.corrections],
    }


def _most_first(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda one: (-one[1], one[0])))


def percent(change: int, of: int) -> str | None:
    """A percentage with two decimals, rounded half up; None when the base is 0."""
    if not of:
        return None
    hundredths = (2 * abs(change) * 10_000 + abs(of)) // (2 * abs(of))
    return f"{'-' if (change < 0) != (of < 0) and hundredths else ''}{hundredths // 100}.{hundredths % 100:02d}"


def _sums(sums: UsageSums) -> dict[str, Any]:
    change = sums.after - sums.before
    return {
        "pieces": sums.pieces,
        "before": money(sums.before),
        "after": money(sums.after),
        "change": money(change),
        "percent": percent(change, sums.before),
        "not_sold": sums.not_sold,
    }


def _money(of: MoneySums) -> dict[str, Any]:
    return {
        "revenue": _sums(of.total) | {"uncovered": money(of.uncovered)},
        "services": {name: _sums(sums) for name, sums in sorted(of.services.items())},
        "days": {time_of(day * DAY_MS)[:10]: _sums(sums) for day, sums in sorted(of.days.items())},
        "subscribers": _distribution(changes_of(of)),
        "dearer": [_affected(one) for one in of.dearer],
        "cheaper": [_affected(one) for one in of.cheaper],
    }


def _affected(one: Affected) -> dict[str, Any]:
    return {
        "account": one.account,
        "subscriber": one.subscriber,
        "before": money(one.before),
        "after": money(one.after),
        "change": money(one.change),
        "percent": percent(one.change, one.before),
        "pieces": one.pieces,
    }


def _refusal(one: Refusal) -> dict[str, Any]:
    return {
        "account": one.account,
        "subscriber": one.subscriber,
        "session": one.session,
        "service": one.service,
        "time": time_of(one.at_ms),
        "why": one.why,
        "before": money(one.before),
        "after": money(one.after),
        "uncovered": money(one.uncovered),
    }


def _correction(one: Correction) -> dict[str, Any]:
    return {
        "account": one.account,
        "subscriber": one.subscriber,
        "service": one.service,
        "session": one.session,
        "time": time_of(one.at_ms),
        "reference": one.reference,
        "recorded": money(one.recorded),
        "corrected": money(one.corrected),
        "target": money(one.target),
        "amount": money(one.amount),
        "currency": one.currency,
        "original_seq": one.original_seq,
        "terms": one.terms,
    }


def _distribution(changes: array[int]) -> dict[str, Any]:
    """Distribution of what each subscriber would pay more, in order."""
    count = len(changes)
    if not count:
        return {"count": 0, "dearer": 0, "same": 0, "cheaper": 0, "percentiles": {}, "histogram": []}
    dearer, cheaper = sum(one > 0 for one in changes), sum(one < 0 for one in changes)
    return {
        "count": count,
        "dearer": dearer,
        "same": count - dearer - cheaper,
        "cheaper": cheaper,
        "least": money(changes[0]),
        "most": money(changes[-1]),
        "percentiles": {str(one): money(changes[(count - 1) * one // 100]) for one in PERCENTILES},
        "histogram": [
            {"from": None if low is None else money(low), "to": None if high is None else money(high), "count": n}
            for low, high, n in histogram(changes)
        ],
    }


Bin = tuple[int | None, int | None, int]
"""From, to, how many: with the end that is farther from zero, without the other; (0, 0) is no change; None: no end."""


def histogram(changes: Sequence[int]) -> list[Bin]:
    """Bins of one width, which is 1, 2 or 5 of a decimal place, without the empty ones at both ends. The few that
    change most are in the outermost ones."""
    count = len(changes)
    reach = max(abs(changes[count // 100]), abs(changes[(count - 1) * 99 // 100]), 1)
    width = next(one for one in _widths() if one * BINS_MAX >= reach)
    last = BINS_MAX - 1
    counts = [0] * (2 * BINS_MAX + 1)
    for change in changes:
        place = min((abs(change) - 1) // width, last) + 1 if change else 0
        counts[BINS_MAX + (place if change > 0 else -place)] += 1
    bins: list[Bin] = []
    for place in range(-BINS_MAX, BINS_MAX + 1):
        low: int | None = (place - 1) * width if place > 0 else place * width
        high: int | None = place * width if place > 0 else (place + 1) * width if place < 0 else 0
        if place == BINS_MAX:
            high = None
        elif place == -BINS_MAX:
            low = None
        bins.append((low, high, counts[BINS_MAX + place]))
    filled = [place for place, one in enumerate(bins) if one[2]]
    return bins[min(filled[0], BINS_MAX) : max(filled[-1], BINS_MAX) + 1]


def _widths() -> Iterator[int]:
    for zeros in range(20):
        for digit in (1, 2, 5):
            yield digit * 10**zeros
