"""Where an account would stand while its recorded use is rated again: its lines, the units of bundles they have, its
counters. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from tariffs.climb import climb
from tariffs.ladder import Count, Counted, Ladder
from tariffs.price import StartPosition
from tariffs.units import EXACT_MAX, Kind, TooLarge, share
from tariffs.whatif.prices import Known

SKIPPED_MAX: Final = 256
"""Uses a line keeps until its position is wanted."""

NOTHING: Final[Mapping[str, int]] = {}

_json: Final = msgspec.json.Decoder(dict[str, int]).decode


class ReplayedFunds:
    """The units that buckets have paid for a line and that it has not used again yet; and any amount of money."""

    def __init__(self, *, endless: bool = False) -> None:
        """endless: any amount of units too"""
        self._left: dict[tuple[int, int], int] = {}
        self._endless = endless

    def add(self, kind: int, bucket: int, units: int) -> None:
        self._left[kind, bucket] = self._left.get((kind, bucket), 0) + units

    def payers(self, kind: int, scope: str, *, owing: bool) -> list[int | None]:
        return [None] if owing else [bucket for of, bucket in self._left if of == kind]

    def available(self, kind: int, scope: str, payer: int | None = None) -> int:
        if kind == Kind.MONEY or self._endless:
            return EXACT_MAX
        return sum([left for (of, bucket), left in self._left.items() if of == kind and payer in (None, bucket)])

    def blocks(self, kind: int, scope: str) -> bool:
        return False

    def take(self, kind: int, scope: str, amount: int, payer: int | None = None) -> int:
        for key, left in self._left.items():
            if key[0] == kind and payer in (None, key[1]):
                part = min(left, amount)
                self._left[key] = left - part
                amount -= part
        return 0

    def mark(self) -> int:
        return 0

    def undo(self, mark: int) -> None:
        """Only grants are undone."""


MONEY_ONLY: Final = ReplayedFunds()
ENDLESS: Final = ReplayedFunds(endless=True)


class Use(NamedTuple):
    """What was used of a line at a time."""

    units: int
    from_ms: int
    ms_per_unit: int
    counters: str | None
    """As the record has them."""
    paid: Sequence[tuple[int, int, int]]
    """(kind, bucket, units) of bundles."""


class ReplayedGrant(NamedTuple):
    """What a ladder was made from."""

    at_ms: int
    rating_group: int
    service_id: int
    inputs: str | None
    ladder: bytes | None
    """Hash of the one that charged what was reported with it."""
    unit: int


class ReplayedLine:
    """A line of a session. Its position is only worked out once a ladder differs: until then its uses are kept."""

    __slots__ = ("before", "differs", "ended", "estimated", "funds", "grant", "position", "refused", "skipped", "total")

    def __init__(self, grant: ReplayedGrant | None = None) -> None:
        self.grant = grant
        """The last one."""
        self.refused: ReplayedGrant | None = None
        """One that was not covered, since then: its ladder may have replaced the one before."""
        self.differs = self.estimated = self.ended = False
        self.restart(0)

    def restart(self, units: int) -> None:
        """So many units were used before what comes now, nobody knows how; 0: it begins."""
        self.total = self.before = units
        self.position: StartPosition | None = None
        self.funds = MONEY_ONLY
        self.skipped: list[tuple[Known, Use]] = []
        self.differs = self.differs and units > 0

    def skip(self, known: Known, use: Use) -> None:
        """The use costs what it cost before."""
        self.total += use.units
        self.skipped.append((known, use))
        if len(self.skipped) > SKIPPED_MAX:
            self._catch_up(known, use)

    def keep(self, known: Known | None, use: Use) -> None:
        """The use keeps its recorded cost, although the line would stand elsewhere."""
        if known is None:
            self.restart(self.total + use.units)
        else:
            self.skip(known, use)

    def lose(self, units: int) -> None:
        """It would not have had a price: where the line would stand after it is not known."""
        self.restart(self.total + units)
        self.differs = True

    def climb(self, known: Known, use: Use, counters: Mapping[str, int]) -> int:
        """What it costs, in micro-units; TooLarge."""
        cost = self._climb(known.ladder, self._catch_up(known, use), use, counters)
        self.total += use.units
        self.differs = True
        return cost

    def _catch_up(self, known: Known, use: Use) -> StartPosition:
        """Bring the position of the line to where the next use begins."""
        skipped, self.skipped = self.skipped, []
        if self.position is None:
            self.position = StartPosition()
            if self.before:
                self._estimate(self.position, *(skipped[0] if skipped else (known, use)))
        for of, one in skipped:
            self._climb(of.ladder, self.position, one, _json(one.counters) if one.counters else NOTHING)
        return self.position

    def _estimate(self, position: StartPosition, known: Known, use: Use) -> None:
        """Climb all that was used before, as if without a break. If units paid what comes now, they paid that too."""
        self.estimated = True
        at_ms = use.from_ms - self.before * use.ms_per_unit
        funds, counters = (ENDLESS if use.paid else MONEY_ONLY), _json(use.counters) if use.counters else NOTHING
        try:
            climb(
                known.ladder,
                position,
                self.before,
                counters,
                funds,
                at_ms=at_ms,
                ms_per_unit=use.ms_per_unit,
                grant=False,
            )
        except TooLarge:
            position.total = self.before

    def _climb(self, ladder: Ladder, position: StartPosition, use: Use, counters: Mapping[str, int]) -> int:
        if use.paid:
            if self.funds is MONEY_ONLY:
                self.funds = ReplayedFunds()
            for kind, bucket, units in use.paid:
                self.funds.add(kind, bucket, units)
        return climb(
            ladder,
            position,
            use.units,
            counters,
            self.funds,
            at_ms=use.from_ms,
            ms_per_unit=use.ms_per_unit,
            grant=False,
        ).cost


class Counters:
    """Of one account: where the records say they stood, and where they would stand. One that no record has seen begins
    at 0."""

    def __init__(self) -> None:
        self._recorded: dict[str, int] = {}
        self._simulated: dict[str, int] = {}
        self._until_ms: dict[str, int] = {}
        """End of those that begin with their first use."""

    def stood(self, text: str, windows: frozenset[str]) -> None:
        """Take counter values from a record. Differences up to now remain, unless a window may have begun again."""
        for key, value in _json(text).items():
            apart = 0 if key in windows else self._simulated.get(key, 0) - self._recorded.get(key, 0)
            self._recorded[key], self._simulated[key] = value, max(value + apart, 0)

    def differ(self, known: Known) -> bool:
        """Any that its steps depend on."""
        return any(self._simulated.get(key, 0) != self._recorded.get(key, 0) for key in known.asks)

    def values(self, known: Known, at_ms: int) -> Mapping[str, int]:
        """Where they would stand."""
        for count in known.counts if known.windows else ():
            if count.window_ms:
                self._reach(count, at_ms)
        return self._simulated

    def _reach(self, count: Count, at_ms: int) -> None:
        """End windows that are over at this time."""
        if 0 < self._until_ms.get(count.key, 0) <= at_ms:
            self._simulated[count.key] = EXACT_MAX if count.once else 0
            self._until_ms[count.key] = EXACT_MAX if count.once else 0

    def fed(
        self, recorded: Known | None, units: int, cost: int, simulated: Known, new: int, at_ms: int, granted_ms: int
    ) -> None:
        """By a use of so many units: what it cost, and what it would have cost.

        granted_ms:  windows begin when a grant holds something of them
        """
        _add(self._recorded, recorded, units, cost)
        for count in simulated.counts if simulated.windows else ():
            if count.window_ms:
                for instant_ms in (granted_ms, at_ms):
                    self._reach(count, instant_ms)
                    if not self._until_ms.get(count.key):
                        self._until_ms[count.key] = instant_ms + count.window_ms
        _add(self._simulated, simulated, units, new)

    def turned_back(self, recorded: Known | None, units: int, money: int, simulated: Known | None, back: int) -> None:
        """Turn counters back, because an event or a part of it was refunded."""
        _add(self._recorded, recorded, -units, -money)
        _add(self._simulated, simulated, -units, -back)


def _add(counters: dict[str, int], known: Known | None, units: int, money: int) -> None:
    for count in known.counts if known is not None else ():
        counters[count.key] = counters.get(count.key, 0) + (units if count.what == Counted.UNITS else money)


EVENTS_MAX: Final = 100_000
"""Of one account; the oldest are forgotten, and what is given back of them keeps its cost."""


class ReplayedEvent:
    """What of an event is not given back yet."""

    __slots__ = ("by", "cost", "known", "new", "units")

    def __init__(self, known: Known | None, by: Known | None) -> None:
        """
        known:  the ladder it was charged by ...
        by:     ... and the one it would have been
        """
        self.known, self.by = known, by
        self.units = self.cost = self.new = 0

    def give_back(self, units: int, money: int) -> int:
        """What these units, or this money, would have been of what it would have cost."""
        if units == self.units or 0 < money == self.cost:
            back = self.new
        elif units:
            back = share(self.new, units, max(self.units, units))
        else:
            back = share(self.new, money, max(self.cost, money))
        self.units -= units
        self.cost -= money
        self.new -= back
        return back


class ReplayedEvents:
    """Of one account."""

    def __init__(self) -> None:
        self._by_call: dict[tuple[int, int], ReplayedEvent] = {}
        self._by_session: dict[str, ReplayedEvent] = {}

    def add(
        self,
        call: tuple[int, int],
        session: str,
        units: int,
        cost: int,
        new: int,
        known: Known | None,
        by: Known | None,
    ) -> None:
        """A piece of one; all pieces of a call are one event."""
        event = self._by_call.get(call)
        if event is None:
            if len(self._by_call) >= EVENTS_MAX:
                del self._by_call[next(iter(self._by_call))]
            if len(self._by_session) >= EVENTS_MAX:
                del self._by_session[next(iter(self._by_session))]
            event = self._by_call[call] = ReplayedEvent(known, by)
        event.units += units
        event.cost += cost
        event.new += new
        self._by_session[session] = event

    def of(self, call: tuple[int, int] | None, session: str) -> ReplayedEvent | None:
        """The event of that call; where it is not known, the last one of the session."""
        return self._by_session.get(session) if call is None else self._by_call.get(call)
