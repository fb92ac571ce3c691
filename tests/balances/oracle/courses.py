"""Sessions that their client runs by itself and reports by counters: which incarnation a report is of, what of its
counters is new, who waits for money.

Written from charging.md 8. Not covered: counters that wrap or that cannot be believed, restarts that a client said,
holds of a login.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import msgspec

from balances.structs.charge import Ask, Charge, Course, Phase, Result
from balances.structs.session import SessionState
from tests.balances.oracle.sessions import NaiveAnswer, NaiveOutcome, NaiveSession, NaiveSessions, RememberedAnswer

SAME_MINUTE_MS = 60_000
KNOWN_BEFORE = 2
"""Incarnations that ended whose counters are kept."""


@dataclass
class NaiveCourse(NaiveSession):
    """One incarnation, as its client reports it."""

    token: str = ""
    began_ms: int = 0
    lasted_s: int = -1
    reported_ms: int = 0
    shown: dict[tuple[int, int], int] = field(default_factory=dict)
    """The highest value of each counter, by rating group and place."""
    before: list[NaiveCourse] = field(default_factory=list)
    """The newest first."""

    def is_named(self, charge: Charge) -> bool | None:
        """Whether a report says that it is of this one; None: it does not say."""
        if charge.token and self.token:
            return charge.token == self.token
        if not charge.began_ms or not self.began_ms:
            return None
        return abs(charge.began_ms - self.began_ms) <= SAME_MINUTE_MS

    def is_over(self, charge: Charge) -> bool:
        """`Evidence of a restart`."""
        starts = charge.course == Course.BEGINS
        newer = charge.event_ms > self.reported_ms
        if starts and self.state == SessionState.CLOSED:
            newer = charge.event_ms >= self.reported_ms
        if not newer:
            return False
        below = [value < self.shown[which] for which, value in counters(charge) if which in self.shown]
        if charge.lasted_s > 0 and charge.lasted_s >= self.lasted_s and not any(below):
            return False  # `session time and counters that go on are the same session`
        return starts or 0 <= charge.lasted_s < self.lasted_s or (bool(below) and all(below))

    def gained(self, ask: Ask) -> Ask:
        """The ask, with what its counters show that they did not show before; from then on they did."""
        new = []
        for report in ask.reports:
            which = (ask.rating_group, report.cumulative[0].place)
            units = max(report.octets - self.shown.get(which, 0), 0)
            self.shown[which] = max(report.octets, self.shown.get(which, 0))
            new.append(msgspec.structs.replace(report, octets=units, cumulative=[]))
        return msgspec.structs.replace(ask, reports=new)


def counters(charge: Charge) -> list[tuple[tuple[int, int], int]]:
    return [
        ((ask.rating_group, report.cumulative[0].place), report.octets) for ask in charge.asks for report in ask.reports
    ]


class NaiveCourses(NaiveSessions):
    """Sessions of both kinds."""

    waits = False
    """Whether the client of the last request goes on without money."""

    def request(self, charge: Charge) -> NaiveAnswer:
        self.waits = False
        return self._report(charge) if charge.course else super().request(charge)

    def _report(self, charge: Charge) -> NaiveAnswer:
        kept = self.sessions.get(charge.session)
        known = self._repeat(kept, charge)
        if known is not None:
            return known
        assert kept is None or isinstance(kept, NaiveCourse)
        now_ms = charge.now_ms
        self.account.lapse(now_ms)
        session, late = self._incarnation(kept, charge)
        if not late:
            self.sessions[charge.session] = session
        newest = self.sessions[charge.session]
        newest.touched_ms = now_ms
        grants, result = (False, int(Result.OK)) if late else self._enter(session, charge)
        said = [self._settle(session, session.gained(ask), charge) for ask in charge.asks]
        if not late and charge.course == Course.ENDS:
            session.release()
        self.account.lapse(now_ms)
        self.account.check(now_ms)
        self.check_limits(charge.asks)
        if grants:
            with self.account.late(now_ms - charge.event_ms):
                self._grant(session, charge.asks, said, now_ms)
        if not late and session.state == SessionState.OPEN:
            self.waits = any(self._waits(session, *pair, charge) for pair in zip(charge.asks, said, strict=True))
        if not late and charge.event_ms >= session.reported_ms and (charge.token or charge.lasted_s >= 0):
            session.reported_ms = charge.event_ms
            session.token = charge.token or session.token
            session.began_ms = charge.began_ms or session.began_ms
            session.lasted_s = charge.lasted_s if charge.lasted_s >= 0 else session.lasted_s
        reply = NaiveAnswer(result, said, sum(one.cost for one in said))
        newest.kept.append(RememberedAnswer(charge.key, charge.fingerprint, charge.end_to_end, reply, now_ms))
        return reply

    def _incarnation(self, kept: NaiveCourse | None, charge: Charge) -> tuple[NaiveCourse, bool]:
        """The one that a report is of, and whether that has ended and is charged late."""
        if kept is None:
            return NaiveCourse(charge.subscriber), False
        if charge.token and charge.token != kept.token:
            for one in kept.before:
                if one.token == charge.token:
                    return one, True
        if kept.is_named(charge) is False:
            for one in kept.before:
                if one.is_named(charge):
                    return one, True
            if kept.is_over(charge):
                kept.release()  # `a new incarnation closes the old one with its last counters`
                former = [*kept.kept, *kept.former]
                begun = NaiveCourse(charge.subscriber, former=former)
                begun.before = [dataclasses.replace(kept, before=[]), *kept.before][:KNOWN_BEFORE]
                return begun, False
        return kept, False

    def _enter(self, session: NaiveCourse, charge: Charge) -> tuple[bool, int]:
        """`They run whatever is granted`: whether more is granted, and the result."""
        if session.state == SessionState.CLOSED:
            return False, Result.SESSION_UNKNOWN if charge.phase == Phase.UPDATE else Result.OK
        ends = charge.course == Course.ENDS
        session.state = SessionState.CLOSED if ends else SessionState.OPEN
        return not ends and charge.phase in (Phase.START, Phase.UPDATE), Result.OK

    def _waits(self, session: NaiveCourse, ask: Ask, said: NaiveOutcome, charge: Charge) -> bool:
        """Refused, or granted nothing but the rest of a block that is paid; of one that is only recorded, whether `one
        unit beyond what is paid` could not be granted."""
        line = self._line(session, ask)
        if ask.asked < 0 or line is None:
            return False
        ahead = line.walk.paid_to - line.walk.used
        if charge.phase != Phase.RECORD:
            refused = said.result in (Result.CREDIT_LIMIT, Result.DENIED)
            return refused or (said.final and not any(line.hold.values()) and line.granted <= ahead)
        refusal = self._refusal(ask)
        if refusal:
            return refusal in (Result.CREDIT_LIMIT, Result.DENIED)
        money, units = self.limits_left(line.ladder)
        free = self.account.free(charge.now_ms).within(money)
        walk = line.reach(ahead + 1, line.ladder, free, self.levels(line, line.ladder), charge.event_ms)
        return ahead + 1 > units or walk.paid_to - walk.used <= ahead
