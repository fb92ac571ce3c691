"""Recorded use rated again: what would each piece have cost, had another tariff been in force? Pure.

`Replay` goes through the usage records of one account after the other, in the order in which they were charged, and
says of each piece what it would have cost. It follows the rules of charging (charging.md section 4):

- A session's use is priced by the ladder of the grant before it, made at the instant of that grant from what was known
  of the line then; an event's by the ladder of its own instant.
- **If that is the recorded ladder and the line has not differed before, the cost is the recorded one**, and nothing is
  climbed. So a tariff that changes nothing gives exactly the same, whatever else could not be simulated.
- Else the ladder is climbed from where the line would stand. Units of bundles are there for a line as far as buckets
  paid it with them; money is always there (ocs/rerating/funds.py says whose was not).
- Counters begin where the records say they stood, and go on as they would have.
- What was given back of an event is the same part of what it would have cost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from tariffs.build_ladder import sooner
from tariffs.session_total import SessionTotal
from tariffs.units import EXACT_MAX, Kind, TooLarge
from tariffs.whatif.line import Counters, ReplayedEvents, ReplayedGrant, ReplayedLine, Use
from tariffs.whatif.prices import NOT_STORED, REFUSED, UNKNOWN, Known, Ladders, Pair, Priced, PriceList, Prices

UPDATE, STOP, EVENT, RECORD = 2, 3, 4, 5
"""Phases, as in balances/structs/charge.py."""
"""STOP and RECORD: no grant follows, so that time without a ladder of its own is priced since its begin."""
CREDIT_LIMIT: Final = 1
"""Result of a grant that was not covered."""


class ReplayedPiece(NamedTuple):
    """A usage record, with the first entry that pays it: the columns that balances/ledger/history.py reads."""

    account: str
    epoch: int
    n: int
    line: int
    shard: int
    currency: str
    subscriber: str
    session: str
    service: str
    phase: int
    at_ms: int
    rating_group: int
    service_id: int
    secondary: int
    unit: int
    used: int
    suspense: int
    total: int
    """Units of the line after it."""
    cost: int
    granted: int
    result: int
    tag: str
    terms: str | None
    ladder: bytes | None
    """Hash of the one it was charged by."""
    counters: str | None
    """JSON: those its steps depend on, as they stood before it."""
    inputs: str | None
    """JSON of tariffs.inputs.Inputs."""
    incarnation: int
    """How often the Session-Id was begun."""
    seq: int | None
    """Number of the entry in the account; None: nothing was paid."""
    bucket: int | None
    kind: int | None
    amount: int | None
    """Signed: below 0 for what was paid."""
    after: int | None
    """Balance of the bucket."""


_AT: Final = {name: place for place, name in enumerate(ReplayedPiece._fields)}
ACCOUNT, EPOCH, N = _AT["account"], _AT["epoch"], _AT["n"]
CURRENCY, SESSION, PHASE, AT_MS = _AT["currency"], _AT["session"], _AT["phase"], _AT["at_ms"]
INCARNATION = _AT["incarnation"]
GROUP, SERVICE_ID, SECONDARY, UNIT = _AT["rating_group"], _AT["service_id"], _AT["secondary"], _AT["unit"]
USED, SUSPENSE, TOTAL, COST, GRANTED = _AT["used"], _AT["suspense"], _AT["total"], _AT["cost"], _AT["granted"]
RESULT, TAG, LADDER, COUNTERS, INPUTS = _AT["result"], _AT["tag"], _AT["ladder"], _AT["counters"], _AT["inputs"]
SEQ, KIND = _AT["seq"], _AT["kind"]

Row = Sequence[Any]
"""A Piece, or anything as long."""
Entry = Sequence[Any]
"""The last five fields of a Piece: a further entry that pays it."""
Charged = tuple[Row, Sequence[Entry]]

LineKey = tuple[str, str, int, int, int, int]
"""Account, session, incarnation, rating group, service identifier, secondary."""
Call = tuple[str, int, int]
"""Account, epoch, n."""

KEPT: Final = 0
"""By a tariff that stays as it is."""
SAME: Final = 1
"""By the same ladder."""
AGAIN: Final = 2
"""Rated again."""
NOT_SOLD: Final = 3
"""No row, barred, rating fails: it would not have been used."""
UNSAID: Final = 4
"""It cannot be said: the recorded cost stands."""

Result = tuple[Row, Sequence[Entry], int, int, str]
"""Piece, further entries, what it would have cost in micro-units, one of the above, and why."""

OTHER_UNIT: Final = Priced(UNKNOWN, "it would have been counted in another unit")
TOO_LARGE: Final = Priced(UNKNOWN, "its price would have passed 2^53 micro-units")
LINES_MAX: Final = 4_096
"""Of one account, before those that have ended are forgotten."""
NO_UNITS: Final[Sequence[tuple[int, int, int]]] = ()


class LookUps(NamedTuple):
    """What is to be looked up beyond the pieces themselves."""

    grants: dict[LineKey, Row]
    """Lines whose last grant is wanted -> their first piece."""
    originals: list[Row]
    """Pieces that give something back: of which event?"""
    instants: list[Row]
    """Pieces with a grant: when was it made?"""


class Replay:
    """Replays one account after the other; of each, all its pieces in order."""

    def __init__(self, prices: Prices, ladders: Ladders) -> None:
        self._prices, self._ladders = prices, ladders
        self.estimated = 0
        """Lines that had begun before the first piece seen of them, so that where they stood was estimated."""
        self._instants: Mapping[Call, int] = {}
        self._begin("")

    def _begin(self, account: str) -> None:
        self._account = account
        self._lines: dict[tuple[str, int, int, int, int], ReplayedLine] = {}
        self._groups: dict[tuple[str, int, int, int], list[ReplayedLine]] = {}
        self._totals: dict[tuple[Any, ...], SessionTotal] = {}
        """Of sessions that are rounded, and of events."""
        self._counters = Counters()
        self._events = ReplayedEvents()
        self._piece_of: tuple[Any, ReplayedLine] = None, ReplayedLine()
        """The line of the event under way."""

    def wants(self, pieces: Iterable[Charged]) -> LookUps:
        """What it takes to run these; all versions that their tags need are stored."""
        wanted = LookUps({}, [], [])
        account, granted = self._account, {key for key, line in self._lines.items() if line.grant is not None}
        for row, _ in pieces:
            if row[ACCOUNT] != account:
                account, granted = row[ACCOUNT], set()
            used, phase = row[USED], row[PHASE]
            if used < 0 or row[COST] < 0:
                wanted.originals.append(row)
            elif phase in (UPDATE, STOP) or row[GRANTED]:
                key = (row[SESSION], row[INCARNATION], row[GROUP], row[SERVICE_ID], row[SECONDARY])
                if used and key not in granted:
                    granted.add(key)
                    if self._replaced(row[TAG]):
                        wanted.grants[account, *key] = row
                if row[GRANTED]:
                    granted.add(key)
                    if used and row[UNIT] != Kind.SECONDS and self._may_be_moved(row):
                        wanted.instants.append(row)
        return wanted

    def _replaced(self, tag: str) -> bool:
        try:
            return self._prices.of(tag) is not None
        except KeyError:
            return False

    def _may_be_moved(self, row: Row) -> bool:
        """Use of volume is priced before or after a change, as the client says, whatever the time of the report."""
        known = self._ladders.get(row[LADDER])
        return known is not None and not known.untils.isdisjoint((row[AT_MS], row[AT_MS] + 1))

    def run(
        self,
        pieces: Iterable[Charged],
        grants: Mapping[LineKey, ReplayedGrant] = {},
        originals: Mapping[Call, Call] = {},
        instants: Mapping[Call, int] = {},
    ) -> list[Result]:
        """Results for the pieces, in their order. Grants without use are pieces too, but have no result.

        grants:     the last ones of lines that are used here and were granted before the first piece of any run
        originals:  calls that gave something back -> the calls of the events
        instants:   of calls whose pieces may say another than that of the call
        """
        self._instants = instants
        results: list[Result] = []
        for row, more in pieces:
            if row[ACCOUNT] != self._account:
                self._begin(row[ACCOUNT])
            used, cost = row[USED], row[COST]
            if used < 0 or cost < 0:
                results.append(self._given_back(row, more, originals))
            elif row[PHASE] == EVENT:
                if used:
                    results.append(self._event(row, more))
            else:
                line = self._line(row, grants)
                if used:
                    results.append(self._piece(row, more, line))
                self._granted(row, line)
        if len(self._lines) > LINES_MAX:
            self._forget()
        return results

    def _forget(self) -> None:
        """Lines of sessions that have ended: a late report is one of a line that began before."""
        self._lines = {key: line for key, line in self._lines.items() if not line.ended}
        self._groups = {}
        for (session, incarnation, group, _, part), line in self._lines.items():
            self._groups.setdefault((session, incarnation, group, part), []).append(line)

    # --- sessions

    def _line(self, row: Row, grants: Mapping[LineKey, ReplayedGrant]) -> ReplayedLine:
        of, group, service_id, part = (row[SESSION], row[INCARNATION]), row[GROUP], row[SERVICE_ID], row[SECONDARY]
        key = (*of, group, service_id, part)
        line = self._lines.get(key)
        if line is None:
            beside = self._groups.setdefault((*of, group, part), [])
            if service_id < 0:  # a report naming only the rating group is of its only live line
                stands = row[TOTAL] - row[USED]
                live = [one for one in beside if one.grant is not None and one.total == stands]
                if len(live) == 1:
                    return live[0]
            line = self._lines[key] = ReplayedLine(grants.get((self._account, *key)))
            beside.append(line)
        return line

    def _granted(self, row: Row, line: ReplayedLine) -> None:
        line.ended = row[PHASE] == STOP
        if row[GRANTED]:
            line.total = row[TOTAL]
            line.grant, line.refused = self._made(row), None
        elif row[RESULT] == CREDIT_LIMIT:
            line.refused = self._made(row)

    def _made(self, row: Row) -> ReplayedGrant:
        at_ms = self._instants.get((self._account, row[EPOCH], row[N]), row[AT_MS]) if self._instants else row[AT_MS]
        return ReplayedGrant(at_ms, row[GROUP], row[SERVICE_ID], row[INPUTS], row[LADDER], row[UNIT])

    def _piece(self, row: Row, more: Sequence[Entry], line: ReplayedLine) -> Result:
        used, cost, at_ms = row[USED], row[COST], row[AT_MS]
        if line.total != row[TOTAL] - used:
            line.restart(row[TOTAL] - used)
        known = self._ladders.get(row[LADDER])
        ms = 1_000 if row[UNIT] == Kind.SECONDS else 0
        paid = _units_paid(row, more)
        use = Use(used, at_ms - used * ms, ms, row[COUNTERS], paid)
        try:
            places = self._prices.of(row[TAG])
        except KeyError:
            return self._unsaid(row, more, line, known, use, NOT_STORED)
        if places is None:
            line.keep(known, use)
            return row, more, cost, KEPT, ""
        priced = self._priced(row, line, known, places)
        by = priced.known
        if by is None:
            if priced.how == UNKNOWN:
                return self._unsaid(row, more, line, known, use, priced)
            line.lose(used)
            return row, more, 0, NOT_SOLD if priced.how == REFUSED else AGAIN, priced.why
        counters = self._counters
        if use.counters:
            counters.stood(use.counters, by.windows)
        if ms and (made_ms := _before(priced, places, use.from_ms)) < use.from_ms + used * ms:
            return self._pieces(row, more, line, known, use, places, priced, made_ms)
        same = known is not None and known.plain == by.plain
        same = same and not line.differs and not (by.asks and counters.differ(by))
        total = self._total((row[SESSION], row[INCARNATION]), by)
        if same and total is None:
            line.skip(by, use)
            new, exact, how = cost, cost, SAME
        else:
            change_ms = priced.change_ms if line.grant is not None else 0
            if 0 < change_ms <= at_ms and (known is None or change_ms not in known.untils):
                # No client was told of that change: use without a word about it counts before (charging.md section 6).
                use = use._replace(from_ms=change_ms - 1)
            try:
                exact = line.climb(by, use, counters.values(by, use.from_ms))
            except TooLarge:
                return self._unsaid(row, more, line, known, use, TOO_LARGE)
            new, how, line.differs = self._due(total, by, exact, cost if same else None)
            if line.estimated:
                line.estimated = False
                self.estimated += 1
        if by.counts or (known is not None and known.counts):
            granted_ms = use.from_ms if line.grant is None else line.grant.at_ms
            counters.fed(known, used, exact if same else cost, by, exact, use.from_ms, granted_ms)
        return row, more, new, how, ""

    def _total(self, key: tuple[Any, ...], by: Known) -> SessionTotal | None:
        """Of the session, which begins with the first record that is rated again; None: it is not rounded."""
        if not by.ladder.sum_to:
            return None
        if key not in self._totals and len(self._totals) >= LINES_MAX:
            del self._totals[next(iter(self._totals))]
        return self._totals.setdefault(key, SessionTotal())

    def _due(self, total: SessionTotal | None, by: Known, exact: int, cost: int | None) -> tuple[int, int, bool]:
        """Of what a line comes to further, with its session; how that was found, and whether the line differs.

        cost:  the recorded one, where the line comes to the same
        """
        if total is None:
            return exact, AGAIN, True
        due = total.due(by.ladder, exact)
        if cost is not None and not total.differs:
            return cost, SAME, False
        total.differs = True
        return due, AGAIN, cost is None

    def _pieces(
        self,
        row: Row,
        more: Sequence[Entry],
        line: ReplayedLine,
        known: Known | None,
        use: Use,
        places: PriceList,
        priced: Priced,
        until_ms: int,
    ) -> Result:
        """Of use by time in which the price would have changed, piece by piece; where it would have none, the one
        before goes on."""
        counters, by, part, new = self._counters, priced.known, row[SECONDARY], 0
        at_ms, left, before = use.from_ms, use.units, row[COST]
        assert by is not None
        while left:
            units = min(-(-(until_ms - at_ms) // 1_000), left)
            one = use._replace(units=units, from_ms=at_ms, paid=use.paid if left == use.units else NO_UNITS)
            try:
                cost = line.climb(by, one, counters.values(by, at_ms))
            except TooLarge:
                return self._unsaid(row, more, line, known, use, TOO_LARGE)
            counters.fed(known, units, before if left == use.units else 0, by, cost, at_ms, at_ms)
            due, _, _ = self._due(self._total((row[SESSION], row[INCARNATION]), by), by, cost, None)
            at_ms, left, new = at_ms + units * 1_000, left - units, new + due
            pair = places.price(row[CURRENCY], row[GROUP], row[SERVICE_ID], row[INPUTS], at_ms)
            following = _counted(pair[part], row[UNIT])
            by, until_ms = following.known or by, _before(following, places, at_ms)
        if line.estimated:
            line.estimated = False
            self.estimated += 1
        return row, more, new, AGAIN, ""

    def _unsaid(
        self, row: Row, more: Sequence[Entry], line: ReplayedLine, known: Known | None, use: Use, priced: Priced
    ) -> Result:
        line.keep(known, use)
        return row, more, row[COST], UNSAID, priced.why

    def _priced(self, row: Row, line: ReplayedLine, known: Known | None, places: PriceList) -> Priced:
        """By the ladder of its last grant; without any, by that of its own report."""
        currency, part, at_ms, grant = row[CURRENCY], row[SECONDARY], row[AT_MS], line.grant
        if grant is None:
            group, service_id, inputs = row[GROUP], row[SERVICE_ID], row[INPUTS]
            since_ms = at_ms - 1_000 * row[USED]
            pair = places.price_late(currency, group, service_id, inputs, at_ms, since_ms)
            return _counted(pair[part], row[UNIT])
        priced = _by(places, currency, grant, grant.at_ms)[part]
        if row[UNIT] == Kind.SECONDS and priced.known is not None:
            from_ms = at_ms - 1_000 * row[USED]
            if from_ms >= _before(priced, places, grant.at_ms):  # a piece of what went on after its ladder
                goes_on = _by(places, currency, grant, from_ms)[part]
                priced = goes_on if goes_on.known is not None else priced
        if known is not None and (priced.known is None or priced.known.plain != known.plain):
            before = self._ladders.get(grant.ladder) if grant.unit != Kind.SECONDS else None
            others = []
            if before is not None and not before.untils.isdisjoint((grant.at_ms, grant.at_ms + 1)):
                # Volume is on record as of the side of a change on which it was used; its grant may be of the other,
                # or of later: at least before the next change that its ladder knows.
                ends = {grant.at_ms, *known.untils, *(count.until_ms for count in known.counts if count.until_ms)}
                others = [(grant, end_ms - 1) for end_ms in sorted(ends)]
                if grant.at_ms + 1 in before.untils:
                    others.append((grant, grant.at_ms))
                    priced = _by(places, currency, grant, grant.at_ms + 1)[part]
            if line.refused is not None:
                others.append((line.refused, line.refused.at_ms))
            for other, other_ms in others:  # the record knows: if one of these made its ladder, it was that one
                made = _by(places, currency, other, other_ms)[part]
                if made.known is not None and made.known.plain == known.plain:
                    priced = made
        return _counted(priced, row[UNIT])

    # --- events

    def _event_line(self, row: Row) -> ReplayedLine:
        """A line of one event: its pieces follow each other."""
        key = (row[ACCOUNT], row[EPOCH], row[N], row[GROUP], row[SERVICE_ID], row[SECONDARY])
        if self._piece_of[0] != key:
            self._piece_of = key, ReplayedLine()
        return self._piece_of[1]

    def _event(self, row: Row, more: Sequence[Entry]) -> Result:
        used, cost, at_ms = row[USED], row[COST], row[AT_MS]
        try:
            places = self._prices.of(row[TAG])
        except KeyError:
            return row, more, cost, UNSAID, NOT_STORED.why
        if places is None:
            return row, more, cost, KEPT, ""
        ms = 1_000 if row[UNIT] == Kind.SECONDS else 0
        at_ms -= used * ms
        pair = places.price(row[CURRENCY], row[GROUP], row[SERVICE_ID], row[INPUTS], at_ms)
        priced, known = _counted(pair[row[SECONDARY]], row[UNIT]), self._ladders.get(row[LADDER])
        new, how, by = cost, UNSAID, priced.known
        line = self._event_line(row)
        if by is not None:
            use = Use(used, at_ms, ms, row[COUNTERS], _units_paid(row, more))
            counters = self._counters
            if use.counters:
                counters.stood(use.counters, by.windows)
            same = known is not None and known.plain == by.plain and not (by.asks and counters.differ(by))
            same = same and not line.differs
            exact, total = cost, self._total((row[EPOCH], row[N]), by)
            if same and total is None:
                line.skip(by, use)
                how = SAME
            else:
                try:
                    exact = line.climb(by, use, counters.values(by, at_ms))
                    new, how, line.differs = self._due(total, by, exact, cost if same else None)
                except TooLarge:
                    priced = TOO_LARGE
            if by.counts or (known is not None and known.counts):
                counters.fed(known, used, exact if same else cost, by, exact, at_ms, at_ms)
        elif priced.how != UNKNOWN:
            new, how = 0, NOT_SOLD if priced.how == REFUSED else AGAIN
        self._events.add((row[EPOCH], row[N]), row[SESSION], used, cost, new, known, by)
        return row, more, new, how, priced.why

    def _given_back(self, row: Row, more: Sequence[Entry], originals: Mapping[Call, Call]) -> Result:
        original = originals.get((self._account, row[EPOCH], row[N]))
        event = self._events.of(None if original is None else original[1:], row[SESSION])
        if event is None:
            return row, more, row[COST], KEPT, ""
        units, money = -row[USED], -row[COST]
        back = event.give_back(units, money)
        self._counters.turned_back(event.known, units, money, event.by, back)
        return row, more, -back, SAME if back == money else AGAIN, ""


def _by(places: PriceList, currency: str, grant: ReplayedGrant, at_ms: int) -> Pair:
    return places.price(currency, grant.rating_group, grant.service_id, grant.inputs, at_ms)


def _before(priced: Priced, places: PriceList, at_ms: int) -> int:
    """Until when use by time is priced by this, made at an instant."""
    return sooner(priced.cut_ms, places.another_ms(at_ms)) or EXACT_MAX


def _counted(priced: Priced, unit: int) -> Priced:
    return priced if priced.unit is None or priced.unit == unit else OTHER_UNIT


def _units_paid(row: Row, more: Sequence[Entry]) -> Sequence[tuple[int, int, int]]:
    """(kind, bucket, units) of bundles."""
    if not row[KIND] and not more:
        return NO_UNITS
    entries = [row[SEQ:], *more]
    return [(kind, bucket, -amount) for _, bucket, kind, amount, _ in entries if kind and amount < 0]
