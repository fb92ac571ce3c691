"""The real thing, driven as a server would drive it: `rate`, then `climb` with small funds, then the counters.

It is what tests/tariffs/oracle.py is compared with. It knows nothing of what a tariff says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from balances.model.sums import SessionSums
from tariffs.catalog import Assignment, Catalog
from tariffs.climb import Climbed, climb
from tariffs.inputs import Inputs
from tariffs.ladder import Count, Counted, Ladder
from tariffs.price import StartPosition
from tariffs.rating import rate
from tariffs.tariff import Rated
from tariffs.units import Kind
from tests.tariffs.oracle_account import OracleAccount, OracleBucket, OraclePiece

KINDS = {"money": Kind.MONEY, "octets": Kind.OCTETS, "seconds": Kind.SECONDS, "units": Kind.UNITS}
SECOND_MS = 1_000
DEBTOR = -1


class HarnessFunds:
    """Buckets in their order. Money that nobody has is owed by the main balance, the last one without scope."""

    def __init__(self, buckets: list[OracleBucket], ladder: Ladder, sums: SessionSums) -> None:
        """sums: of the session; of money what is due is taken, and so much is there as brings that"""
        self._buckets, self._ladder, self._sums = buckets, ladder, sums
        self._exact = 0
        self._taken: list[tuple[int, int, int]] = []

    def payers(self, kind: int, scope: str, *, owing: bool = False) -> list[int]:
        """Which buckets may pay."""
        places = [
            place
            for place, bucket in enumerate(self._buckets)
            if KINDS[bucket.kind] == kind and (not bucket.scope or scope in bucket.scope)
        ]
        return [*places, DEBTOR] if owing else places

    def available(self, kind: int, scope: str, payer: int | None = None) -> int:
        """What they can pay now."""
        if payer == DEBTOR:
            return 10**18
        asked = self.payers(kind, scope) if payer is None else [payer]
        there = sum(max(self._buckets[place].amount, 0) for place in asked)
        return self._sums.within(self._ladder, there, self._exact) if kind == Kind.MONEY else there

    def blocks(self, kind: int, scope: str) -> bool:
        return False

    def take(self, kind: int, scope: str, amount: int, payer: int | None = None) -> int:
        """From one of them, or from all in order."""
        asked = [] if payer == DEBTOR else self.payers(kind, scope) if payer is None else [payer]
        if kind == Kind.MONEY:
            due = self._sums.due(self._ladder, amount, self._exact)
            self._move(0, 0, exact=amount)
            amount = due
        for place in asked:
            part = min(max(self._buckets[place].amount, 0), amount)
            self._move(place, part)
            amount -= part
        if amount:
            assert kind == Kind.MONEY, "units that nobody has"
            main = [place for place in self.payers(kind, scope) if not self._buckets[place].scope]
            self._move(main[-1], amount)
        return 0

    def _move(self, place: int, amount: int, exact: int = 0) -> None:
        if not amount and not exact:
            return
        self._buckets[place].amount -= amount
        self._exact += exact
        self._taken.append((place, amount, exact))

    def mark(self) -> int:
        """How much was taken so far."""
        return len(self._taken)

    def undo(self, mark: int) -> None:
        """Give back what was taken since."""
        while len(self._taken) > mark:
            place, amount, exact = self._taken.pop()
            self._buckets[place].amount += amount
            self._exact -= exact


@dataclass
class ChargingHarness:
    """One line of one account."""

    catalog: Catalog
    assignments: Sequence[Assignment]
    inputs: Inputs
    account: OracleAccount
    group: int | None = None
    service_id: int | None = None
    beside: bool = False
    """It is the line charged besides."""
    counters: dict[str, int] = field(default_factory=dict)
    since_ms: dict[str, int] = field(default_factory=dict)
    """When the windows of counters began."""
    line: StartPosition = field(default_factory=StartPosition)
    others: int = 0
    """What the other lines of the session came to before, in whatever way the session is rounded."""
    sums: SessionSums = field(default_factory=lambda: SessionSums([]))

    def rated(self, at_ms: int, since_ms: int | None = None) -> Rated:
        """What rating says at this instant."""
        lines = [(self.group, self.service_id)]
        currency, spans = self.account.currency, () if since_ms is None else ((since_ms, at_ms),)
        (found,) = rate(self.catalog, self.assignments, currency, lines, self.inputs, at_ms, spans)
        if self.beside:
            assert found.beside is not None, found.why
            return found.beside
        return found

    def begin_with(self, levels: Mapping[str, int], at_ms: int) -> None:
        """Where counters stand at the begin, by their names."""
        ladder = self.rated(at_ms).ladder
        assert ladder is not None
        for key in {count.key for count in ladder.counts} | {step.counter for step in ladder.steps if step.counter}:
            self.counters[key] = levels[key.partition(":")[0]]

    def use(self, pieces: Iterable[OraclePiece]) -> int:
        """Rated anew at the begin of each piece, as a server does that grants until the next report."""
        return sum(self.use_by_one([piece]) for piece in pieces)

    def use_by_one(self, pieces: Iterable[OraclePiece]) -> int:
        """All pieces by the ladder of the first one's begin, for as long as it says that a grant may run."""
        cost, rated = 0, None
        for piece in pieces:
            at_ms, left = piece.at_ms, piece.units
            while left:
                if rated is None or 0 < rated.cut_ms <= at_ms:
                    rated = self.rated(at_ms)
                part = self.within(rated, OraclePiece(at_ms, left))
                cost += self.climb(rated, OraclePiece(at_ms, part))
                at_ms, left = at_ms + part * SECOND_MS, left - part
        return cost

    def within(self, rated: Rated, piece: OraclePiece) -> int:
        """How much of it begins before no grant runs on."""
        if rated.unit != Kind.SECONDS or not rated.cut_ms:
            return piece.units
        return min(piece.units, -(-(rated.cut_ms - piece.at_ms) // SECOND_MS))

    def record(self, piece: OraclePiece) -> int:
        """Use by time that has already happened, rated when it was over: by one ladder after the other."""
        end_ms, cost = piece.at_ms + piece.units * SECOND_MS, 0
        rated = self.rated(end_ms, piece.at_ms)
        assert not rated.known_ms
        later = [(from_ms, one.beside if self.beside else one) for from_ms, one in rated.later]
        at_ms = piece.at_ms
        for until_ms, following in [*later, (end_ms, None)]:
            units = -(-(until_ms - at_ms) // SECOND_MS)
            if units > 0:
                cost += self.climb(rated, OraclePiece(at_ms, units))
                at_ms += units * SECOND_MS
            rated = following or rated
        return cost

    def climb(self, rated: Rated, piece: OraclePiece) -> int:
        """Settle one piece, and raise the counters it feeds."""
        ladder = rated.ladder
        assert ladder is not None, rated.why
        ms = SECOND_MS if rated.unit == Kind.SECONDS else 0
        values = self.counters | {count.key: self._value(count, piece.at_ms) for count in ladder.counts}
        self._begin_sum(ladder)
        funds = HarnessFunds(self.account.buckets, ladder, self.sums)
        done = climb(ladder, self.line, piece.units, values, funds, at_ms=piece.at_ms, ms_per_unit=ms, grant=False)
        assert done.units == piece.units
        due = self.sums.due(ladder, done.cost)
        self.sums.add(ladder, done.cost)
        for count in ladder.counts:
            more = done.cost if count.what == Counted.MONEY else done.units
            if more:
                if count.window_ms and not self._runs(count, piece.at_ms):
                    self.since_ms[count.key] = piece.at_ms
                self.counters[count.key] = values[count.key] + more
        return due

    def _begin_sum(self, ladder: Ladder) -> None:
        if ladder.sum_to and not any(
            (one.to, one.rounding) == (ladder.sum_to, ladder.sum_rounding) for one in self.sums.sums
        ):
            self.sums.add(ladder, self.others)

    def _runs(self, count: Count, at_ms: int) -> bool:
        since_ms = self.since_ms.get(count.key)
        return since_ms is not None and (count.once or at_ms < since_ms + count.window_ms)

    def _value(self, count: Count, at_ms: int) -> int:
        if count.window_ms and not self._runs(count, at_ms):
            return 0
        return self.counters.get(count.key, 0)

    def grant(self, rated: Rated, piece: OraclePiece) -> Climbed:
        """As much of it as the account covers; what it costs at most is taken from its buckets."""
        assert rated.ladder is not None, rated.why
        ms = SECOND_MS if rated.unit == Kind.SECONDS else 0
        values = self.counters | {count.key: self._value(count, piece.at_ms) for count in rated.ladder.counts}
        sums = SessionSums([], held=True)
        funds = HarnessFunds(self.account.buckets, rated.ladder, sums)
        done = climb(rated.ladder, self.line, piece.units, values, funds, at_ms=piece.at_ms, ms_per_unit=ms, grant=True)
        done.cost = sums.due(rated.ladder, done.cost)
        return done

    def levels(self) -> dict[str, list[int]]:
        """What counters have, by their names, whatever the period."""
        found: dict[str, list[int]] = {}
        for key, value in self.counters.items():
            found.setdefault(key.partition(":")[0], []).append(value)
        return {name: sorted(value for value in values if value) for name, values in found.items()}
