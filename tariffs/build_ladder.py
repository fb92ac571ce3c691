"""Builds the ladder of a line: the rows that price it now and in the bands that follow, and where a grant must end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import dropwhile, pairwise
from typing import Any, Final

import msgspec

from tariffs import phrases
from tariffs.counters import CounterRule
from tariffs.draft import HALF, LadderDraft, RatingVerdict
from tariffs.inputs import Inputs
from tariffs.ladder import NOTHING_DUE, STEPS_MAX, Count, Counted, Ladder, Step, StepDues, check_ladder
from tariffs.row import PriceRow
from tariffs.tariff import Chain, Rated, Segment, Tariff
from tariffs.terms import CurrencyExchange
from tariffs.units import EXACT_MAX, Kind, SumRounding, round_sum

_pack: Final = msgspec.msgpack.Encoder().encode

REMEMBERED_MAX: Final = 16_384
"""Lines a tariff remembers the price of; what it looks at comes from outside, so there must be a limit."""

Drafts = list[LadderDraft]
"""Of the rows of a chain, in their order."""


def find(
    tariff: Tariff,
    rating_group: int | None,
    service_id: int | None,
    inputs: Inputs,
    at_ms: int = 0,
    exchange: CurrencyExchange | None = None,
) -> Rated | None:
    """The price of a line from an instant on; None if no row matches at that instant or later in its time."""
    look = tariff.look
    since_ms = tariff.since_ms(inputs, at_ms) if tariff.moves else 0
    key = (inputs.service, rating_group, service_id, since_ms, exchange, look(inputs) if look else None)
    try:
        return tariff.remembered[key]
    except KeyError:
        pass
    rated = make(tariff, tariff.view.facts(inputs, rating_group, service_id), inputs, since_ms, exchange)
    if len(tariff.remembered) >= REMEMBERED_MAX:
        tariff.remembered.clear()
    tariff.remembered[key] = rated
    return rated


def make(
    tariff: Tariff,
    facts: Mapping[str, Any],
    inputs: Inputs,
    at_ms: int,
    exchange: CurrencyExchange | None = None,
    to_ms: int = 0,
) -> Rated | None:
    """As `find`, computed.

    to_ms:  how long it will be used at least; 0: as long as a grant is
    """
    try:
        return LadderBuild(tariff, facts, inputs, at_ms, exchange, to_ms).rated()
    except ValueError as bad:
        return Rated(verdict=RatingVerdict.RATING_FAILED, why=f"{tariff.tag}: {bad}")


class LadderBuild:
    """One line being rated. ValueError says why a price cannot be computed."""

    def __init__(
        self,
        tariff: Tariff,
        facts: Mapping[str, Any],
        inputs: Inputs,
        at_ms: int,
        exchange: CurrencyExchange | None,
        to_ms: int,
    ) -> None:
        self._tariff, self._facts, self._inputs, self._exchange = tariff, facts, inputs, exchange
        self._at_ms = at_ms
        self.segments = tariff.timeline(facts, inputs, at_ms, to_ms)

    def rated(self) -> Rated | None:
        now, *later = self.segments
        if not now.chain.rows:
            until_ms = next((one.until_ms for one, after in pairwise(self.segments) if after.chain.rows), 0)
            return Rated(verdict=RatingVerdict.NOT_YET, cut_ms=until_ms) if until_ms else None
        tag = f"{self._tariff.tag}:{'+'.join(row.name for row in now.chain.rows)}"
        drafts = self._drafts(now.chain)
        head = drafts[0]
        if head.verdict is not RatingVerdict.PRICED:
            return Rated(verdict=head.verdict, why=tag, cut_ms=now.until_ms if later else 0)
        spans = [(now, drafts)]
        for segment in later:
            following = self._drafts(segment.chain)
            if not _goes_on(drafts, following):
                break
            spans.append((segment, following))
        rated = self._line(spans, tag, beside=False)
        if any(draft.beside for draft in drafts):  # both are granted and reported together: neither runs over a change
            other = self._line(spans, tag, beside=True)
            cut_ms = sooner(rated.change_ms or rated.cut_ms, other.change_ms or other.cut_ms)
            rated = msgspec.structs.replace(rated, dearest=b"", cut_ms=cut_ms, beside=other)
        return rated

    def _drafts(self, chain: Chain) -> Drafts:
        terms = self._tariff.terms(chain, self._facts, self._inputs, self._exchange)
        return [row.draft(self._inputs.service, self._facts, terms) for row in chain.rows]

    def _line(self, spans: Sequence[tuple[Segment, Drafts]], tag: str, *, beside: bool) -> Rated:
        now, drafts = spans[0]
        head = drafts[0]
        unit = _unit(drafts, beside)
        dues: list[StepDues] = []
        counts, period_ms = self._counts(unit)
        parts: list[list[Step]] = []
        cut_ms = 0
        # Of volume nobody knows when it was used, so of its price one change at most.
        for segment, of_segment in spans if unit == Kind.SECONDS else spans[:2]:
            steps = self._steps(segment, of_segment, beside, dues)
            over = unit != Kind.SECONDS and cut_ms == period_ms
            if parts and (over or sum(map(len, parts)) + len(steps) > STEPS_MAX):
                break
            parts.append(steps)
            cut_ms = sooner(segment.until_ms, period_ms)  # use by time that is reported late goes on by the bands
        parts[-1] = _for_good(parts[-1])
        if len(parts) > 1 and unit != Kind.SECONDS and parts[1] == _for_good(parts[0]):
            parts.pop(0)
        change_ms = now.until_ms if len(parts) > 1 and unit != Kind.SECONDS else 0
        counts = tuple(msgspec.structs.replace(one, cap=_is_cap(one, parts, dues)) for one in counts)
        terms = self._tariff.terms(now.chain, self._facts, self._inputs, self._exchange)
        steps = [step for part in parts for step in part]
        to, rounding = _session_rounding(drafts)
        ladder = Ladder(tuple(steps), tuple(dues), counts, tag, terms=str(terms), sum_to=to, sum_rounding=rounding)
        check_ladder(ladder)
        said = next((draft.grant for draft in drafts if draft.grant is not None), None)
        whole, blocks, minimum, quantum = (False, False, 0, 0) if beside or said is None else said
        return Rated(
            verdict=RatingVerdict.PRICED,
            unit=unit,
            ladder=ladder,
            packed=_pack(ladder),
            free=head.free and len(drafts) == 1,
            emergency=head.emergency and len(drafts) == 1,
            why=tag,
            change_ms=change_ms,
            dearest=_dearest(ladder, parts) if change_ms else b"",
            cut_ms=cut_ms,
            whole=whole,
            blocks=blocks,
            minimum=minimum,
            quantum=quantum,
        )

    def _counts(self, unit: Kind | None) -> tuple[tuple[Count, ...], int]:
        """Counters the line feeds, and when the first of their periods ends."""
        counts, period_ms = [], 0
        for tally in self._tariff.parts.tallies.values():
            if tally.fed_by(self._facts, unit):
                count = self._count(tally)
                counts.append(count)
                period_ms = sooner(period_ms, count.until_ms)
        return tuple(counts), period_ms

    def _count(self, tally: CounterRule) -> Count:
        return tally.count(self._facts, self._tariff.counter_zone(tally, self._inputs), self._at_ms)

    def _steps(self, segment: Segment, drafts: Drafts, beside: bool, dues: list[StepDues]) -> list[Step]:
        """Of one band: its rows one after the other, and the end where the last of them has a limit too. What is due
        besides is added to `dues`."""
        chain, until_ms = segment
        sold = [draft for draft in drafts if draft.verdict is RatingVerdict.PRICED]
        rounding = _rounding(sold)
        if beside:  # of the first row that says so, whatever its limits: they are of the other unit
            found = next((draft.beside for draft in drafts if draft.beside), [Step(scope=self._inputs.service)])
            due = _noted(dues, rounding)
            return [msgspec.structs.replace(step, until_ms=until_ms, dues=due) for step in found]
        steps: list[Step] = []
        for place, (row, draft) in enumerate(zip(chain.rows, sold, strict=False)):
            count = self._count(row.tally) if row.tally else None
            ends_ms = count.until_ms if count is not None and draft.per_period else 0
            limit = self._limit(row)
            due = _noted(dues, _due(sold[place:], rounding))
            steps += row.bounded(draft.steps, count.key if count else "", limit, until_ms, due, ends_ms)
        if not chain.rows[-1].ends or len(sold) < len(drafts):
            steps += self._end(sold, until_ms, dues)
        return steps

    def _limit(self, row: PriceRow) -> int:
        """The limit of the row's counter, which counts money of the account; 0: it has none."""
        if row.tally is None:
            return 0
        limit = row.limit(self._inputs.attributes)
        if row.tally.kind is not Kind.MONEY or self._exchange is None:
            return limit
        return min(int(limit * self._exchange.rate + HALF), EXACT_MAX)

    def _end(self, drafts: Drafts, until_ms: int, dues: list[StepDues]) -> Iterator[Step]:
        """The end of the ladder: nothing is granted here; use that happens all the same is priced by the last row
        with a price."""
        last = next((draft for draft in reversed(drafts) if _paid_by_money(draft)), drafts[-1])
        steps = _paid_by_money(last) or [Step(scope=self._inputs.service)]
        due = _noted(dues, _due([last], _rounding(drafts)))
        for step in steps:
            yield msgspec.structs.replace(step, until_ms=until_ms, stop=True, dues=due)


def _for_good(steps: Iterable[Step]) -> list[Step]:
    return [msgspec.structs.replace(step, until_ms=0) for step in steps]


def _paid_by_money(draft: LadderDraft) -> list[Step]:
    return [step for step in draft.steps if step.kind == Kind.MONEY]


NOT_ROUNDED: Final = (0, int(SumRounding.UP))


def _rounding(drafts: Drafts) -> StepDues:
    """How the price of a line is rounded: as the first of its rows that has it says, until its end."""
    said = next((draft for draft in drafts if draft.round is not None), None)
    to, rounding = NOT_ROUNDED if said is None or said.round is None or said.round_session else said.round
    return StepDues(to=to, rounding=rounding)


def _session_rounding(drafts: Drafts) -> tuple[int, int]:
    """How the sum of the session is rounded that it counts to: the first of its rows that has it says so."""
    said = next((draft for draft in drafts if draft.round is not None), None)
    return NOT_ROUNDED if said is None or said.round is None or not said.round_session else said.round


def _due(drafts: Drafts, rounding: StepDues) -> StepDues:
    """What is due of a line at the first of these rows: each as the first that has one says. (A row at its limit says
    no more.)"""

    def rounded(micro: int) -> int:
        return round_sum(micro, rounding.to, rounding.rounding)

    fee = next((draft for draft in drafts if draft.fee), drafts[0])
    least = next((draft.least for draft in drafts if draft.least), 0)
    most = next((draft for draft in drafts if draft.most), drafts[0])
    off = next((draft.off for draft in drafts if draft.off), 0)
    if most.most and not rounded(most.most):
        raise ValueError(f"the maximum charge of {phrases.money(most.most)} is rounded to nothing")
    return msgspec.structs.replace(
        rounding,
        fee=rounded(fee.fee),
        waived=fee.fee_waived,
        least=rounded(least),
        most=rounded(most.most),
        ends=most.most_ends,
        off=off,
    )


def _noted(dues: list[StepDues], found: StepDues) -> int:
    """Its number among the dues of a ladder, from 1 on; 0: nothing is due."""
    if found == NOTHING_DUE:
        return 0
    if found not in dues:
        dues.append(found)
    return dues.index(found) + 1


def _is_cap(count: Count, parts: Iterable[Sequence[Step]], dues: Sequence[StepDues]) -> bool:
    """Whether a counter is a cap: beyond its bounds nothing costs more, and no grant ends there."""

    def no_dearer(one: Step, other: Step) -> bool:
        before, after = (dues[step.dues - 1] if step.dues else NOTHING_DUE for step in (one, other))
        return (
            one.kind == other.kind == Kind.MONEY
            and not other.stop
            and other.price * one.per * one.block <= one.price * other.per * other.block
            and after.fee <= before.fee
            and (other.price == 0 or bounded_as_low(before, after))
        )

    def bounded_as_low(before: StepDues, after: StepDues) -> bool:
        lowest = before.most == 0 or 0 < after.most <= before.most
        same = (after.to, after.rounding) == (before.to, before.rounding)
        return lowest and after.least <= before.least and after.off >= before.off and same

    if count.what != Counted.MONEY:
        return False
    bounded = [list(dropwhile(lambda step: step.counter != count.key, steps)) for steps in parts]
    return any(bounded) and all(no_dearer(one, other) for steps in bounded for one, other in pairwise(steps))


def _unit(drafts: Iterable[LadderDraft], beside: bool) -> Kind | None:
    units = {unit for draft in drafts if (unit := draft.beside_unit if beside else draft.unit) is not None}
    if len(units) > 1:
        raise ValueError(f"its rows count in {' and '.join(sorted(unit.name.lower() for unit in units))}")
    return next(iter(units), None)


def _goes_on(before: Drafts, after: Drafts) -> bool:
    """Whether a grant may run from one band into the next: the service is the same and only the price differs."""
    if not after or any(draft.verdict is not RatingVerdict.PRICED for draft in (before[0], after[0])):
        return False

    def same(drafts: Drafts) -> tuple[Any, ...]:
        grades = {draft.grade for draft in drafts}
        tags = drafts[0].terms.tags
        free = drafts[0].free and len(drafts) == 1
        return _unit(drafts, False), _unit(drafts, True), free, grades, tags, _session_rounding(drafts)

    return same(before) == same(after)


def sooner(one_ms: int, other_ms: int) -> int:
    """The earlier of two instants, of which 0 means never."""
    return min(one_ms or other_ms, other_ms or one_ms)


def _dearest(ladder: Ladder, parts: Sequence[Sequence[Step]]) -> bytes:
    """The ladder of the dearer price of two bands, step by step; b"" where they differ in more than prices, so that it
    cannot be said which is dearer (charging.md section 6)."""
    before, after = parts
    if len(before) != len(after):
        return b""
    steps = []
    for one, other in zip(before, after, strict=True):
        dearer = one if one.price * other.per >= other.price * one.per else other
        merged = msgspec.structs.replace(one, price=dearer.price, per=dearer.per, until_ms=0)
        if msgspec.structs.replace(other, price=dearer.price, per=dearer.per, until_ms=0) != merged:
            return b""
        steps.append(merged)
    slack = max((1, *(due.to for due in ladder.dues))) if any(step.per > 1 for step in (*before, *after)) else 0
    return _pack(msgspec.structs.replace(ladder, steps=tuple(steps), slack=slack))
